//! Processes that can never outlive the test that started them.
//!
//! Each one runs in a process group of its own under a small shell, its supervisor. The supervisor's standard input is a
//! pipe whose other end only this process holds; when that end closes, for whatever reason (dropped, panic, Ctrl-C,
//! `kill -9`), the kernel says so to the supervisor, which kills the group. Nothing has to be dropped for this to work,
//! so the shared control plane can live in a static.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::wait::eventually;

/// `$1` is the log. Prints the process id, then waits for the process or for the end of standard input.
/// The guard is a job of its own, so that it still acts when a Ctrl-C ends the supervisor itself. A process that is only
/// stopped for a while has not ended; `wait -f` would say so by itself, but bash 5.2 spins in it for ever when the guard
/// kills the process at the wrong moment ("wait_for: No record of process").
const SUPERVISOR: &str = r#"
set -m
log=$1; shift
exec 2>>"$log"
"$@" </dev/null >>"$log" 2>&1 &
child=$!
echo "$child"
{ cat >/dev/null; kill -KILL -- "-$child"; } <&0 >/dev/null 2>&1 &
guard=$!
while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do sleep 0.1; done
kill -KILL -- "-$guard" 2>/dev/null
exit "$status"
"#;

/// What to start: a binary, its arguments and what it needs in its environment.
#[derive(Clone)]
pub(crate) struct Program {
    name: String,
    command: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running program and its log.
pub(crate) struct Process {
    name: String,
    supervisor: Child,
    /// Closing it ends the program.
    lifeline: Option<ChildStdin>,
    id: u32,
    log: PathBuf,
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, binary: &Path) -> Self {
        Self {
            name: name.into(),
            command: vec![binary.display().to_string()],
            environment: Vec::new(),
        }
    }

    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.command.push(arg.into());
        self
    }

    pub(crate) fn args<A: Into<String>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Starts it; its output is appended to `log`.
    pub(crate) fn start(self, log: PathBuf) -> Process {
        let mut supervisor = Command::new("bash")
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(&log)
            .args(&self.command)
            .envs(self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        let mut first_line = String::new();
        BufReader::new(supervisor.stdout.take().unwrap())
            .read_line(&mut first_line)
            .unwrap();
        let id = first_line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{} did not start", self.name));
        Process {
            name: self.name,
            lifeline: supervisor.stdin.take(),
            supervisor,
            id,
            log,
        }
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal to the program itself, such as `KILL` or `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, &self.id.to_string());
    }

    /// Whether it is still there.
    pub(crate) fn runs(&mut self) -> bool {
        self.supervisor.try_wait().unwrap().is_none()
    }

    /// Waits until it has ended by itself or by a signal, and returns its exit code.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let what = format!("{} ends", self.name);
        eventually(&what, limit, async || {
            self.supervisor
                .try_wait()
                .unwrap()
                .ok_or_else(|| "it still runs".to_owned())
        })
        .await
        .code()
    }

    /// Why it ended, when it could not have its port; the caller then tries other ports.
    pub(crate) fn lost_its_port(&mut self) -> bool {
        !self.runs()
            && fs::read_to_string(&self.log)
                .is_ok_and(|log| log.to_lowercase().contains("address already in use"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.supervisor.wait();
    }
}

/// A program that is killed and started again, always in the same way.
pub(crate) struct Restartable {
    program: Program,
    process: Mutex<Process>,
}

impl Restartable {
    /// A running process of this program.
    pub(crate) fn of(program: Program, process: Process) -> Self {
        let process = Mutex::new(process);
        Self { program, process }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.process().log.clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process().id
    }

    pub(crate) fn runs(&self) -> bool {
        self.process().runs()
    }

    /// `kill -9`; it is gone when this returns.
    pub(crate) fn kill(&self) {
        let mut process = self.process();
        process.signal("KILL");
        let _ = process.supervisor.wait();
    }

    pub(crate) fn start_again(&self) {
        let log = self.log();
        *self.process() = self.program.clone().start(log);
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a signal to a process, or, with a minus before the id, to a process group.
pub(crate) fn send(signal: &str, to: &str) {
    let sent = Command::new("bash")
        .args(["-c", r#"kill -s "$1" -- "$2""#, "send", signal, to])
        .status()
        .unwrap();
    assert!(sent.success(), "no {signal} to {to}");
}

/// Whether a process with this id exists.
pub(crate) fn exists(id: u32) -> bool {
    // A zombie is gone, whatever its parent does about it.
    fs::read_to_string(format!("/proc/{id}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// The processes that have this text in their command line, such as the folder of a run.
pub(crate) fn mentioning(text: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let ids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let mentions = |id: &u32| {
        fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    ids.filter(mentions).collect()
}
