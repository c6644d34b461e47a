//! A server under test as a process of its own on its own core, and what the kernel says that it used.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pointsman::decide::annotation;

use crate::reference::{self, Reference};
use crate::world;

/// The core of the server; the load has the other.
const SERVER_CORE: &str = "0";

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) webhook: SocketAddr,
    pub(crate) extender: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// When its process began, and when it was ready.
    pub(crate) began: Instant,
    pub(crate) ready: Instant,
}

impl Server {
    /// Starts a reference server.
    pub(crate) fn reference(which: Reference, tls: &Path) -> Self {
        let this = std::env::current_exe().expect("a program has a path");
        Self::told(|webhook, extender| {
            let mut command = pinned();
            command
                .arg(&this)
                .args(["--reference", which.name(), webhook, extender])
                .arg(tls);
            command
        })
    }

    /// Starts the Go reference server; `folder` has the certificate, and gets what the server is told of the nodes.
    pub(crate) fn go(binary: &Path, folder: &Path) -> Self {
        let free = folder.join("free.json");
        let nodes = serde_json::to_vec(&reference::free()).expect("plain values");
        std::fs::write(&free, nodes).expect("a file");
        Self::told(|webhook, extender| {
            let mut command = pinned();
            command
                .arg(binary)
                .args(["--webhook", webhook, "--extender", extender])
                .args([
                    "--profile",
                    annotation::PROFILE,
                    "--resources",
                    &world::resource_names(),
                ])
                .arg("--tls")
                .arg(folder)
                .arg("--free")
                .arg(&free)
                .env("GOMAXPROCS", "1");
            command
        })
    }

    /// Starts a server that says in a line when it is ready.
    fn told(command: impl FnOnce(&str, &str) -> Command) -> Self {
        let (webhook, extender, admin) = (free(), free(), free());
        let mut command = command(&webhook.to_string(), &extender.to_string());
        let began = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) is installed");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says when it is ready");
        assert_eq!(line.trim(), "ready");
        Self {
            child,
            webhook,
            extender,
            admin,
            began,
            ready: Instant::now(),
        }
    }

    /// Starts `pointsman serve` and waits until it is ready.
    pub(crate) fn pointsman(kubeconfig: &Path, tls: &Path) -> Self {
        let (webhook, extender, admin) = (free(), free(), free());
        let mut command = pinned();
        command
            .args([env!("CARGO_BIN_EXE_pointsman"), "serve"])
            .args(["--webhook-listen", &webhook.to_string()])
            .args(["--extender-listen", &extender.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .args(["--log-level", "info"])
            .arg("--tls-dir")
            .arg(tls)
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let began = Instant::now();
        let child = command.spawn().expect("taskset (util-linux) is installed");
        let mut server = Self {
            child,
            webhook,
            extender,
            admin,
            began,
            ready: began,
        };
        while !server.is_ready() {
            assert!(
                began.elapsed() < Duration::from_mins(3),
                "serve does not become ready"
            );
            assert!(server.child.try_wait().expect("a child").is_none(), "serve ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        server.ready = Instant::now();
        server
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let Ok(mut stream) = std::net::TcpStream::connect(self.admin) else {
            return false;
        };
        let mut answer = [0; 12];
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .is_ok()
            && stream.read_exact(&mut answer).is_ok()
            && answer.ends_with(b"200")
    }

    /// The number of its process; `taskset` has become the server.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Time on a core so far, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
        let ticks: u64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a count of ticks"))
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Time on a core since `cpu` was asked before.
    pub(crate) fn cpu_since(&self, before: Duration) -> Duration {
        self.cpu().saturating_sub(before)
    }

    /// The most memory it ever held and what it holds now, in KiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let of = |key: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .expect("the kernel tells");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        (of("VmHWM:"), of("VmRSS:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What is run on the core of the server.
fn pinned() -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]);
    command
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
}
