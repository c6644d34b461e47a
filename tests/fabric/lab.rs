//! A simulated InfiniBand fabric with the real OpenSM and the real diagnostic tools on it.
//!
//! ibsim plays switches and adapters; `ibsim-run` makes OpenSM and the tools talk to it in place of a device. Neither
//! needs root, a card or a kernel module. All are ended when the lab is dropped, and by the kernel when this process is
//! killed.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::plan::Plan;

/// The longest that any step of a lab takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(50);

/// What a machine without the tools is told.
const MISSING: &str =
    "is missing: install it with 'apt-get install opensm ibsim-utils infiniband-diags' (Debian, Ubuntu)";

/// A fabric under simulation.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
    simulator: Child,
    socket: String,
}

/// A running OpenSM.
pub(crate) struct Manager {
    process: Child,
    folder: PathBuf,
}

/// How many fabrics this process has begun: each has a socket of its own.
static FABRICS: AtomicU32 = AtomicU32::new(0);

impl Lab {
    /// Brings the fabric up, without a Subnet Manager yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = format!(
            "pointsman-{}-{}",
            std::process::id(),
            FABRICS.fetch_add(1, Ordering::Relaxed)
        );
        let net = folder.path().join("topology.net");
        fs::write(&net, plan.net()).unwrap();
        let log = folder.path().join("ibsim.log");
        let mut simulator = guarded("ibsim")
            .arg("-s")
            .arg(&net)
            .current_dir(folder.path())
            .env("IBSIM_SOCKNAME", &socket)
            .stdin(Stdio::piped())
            .stdout(File::create(&log).unwrap())
            .stderr(File::create(folder.path().join("ibsim.err")).unwrap())
            .spawn()
            .unwrap();
        eventually("ibsim is ready", || {
            assert!(
                simulator.try_wait().unwrap().is_none(),
                "ibsim ended: {}",
                fs::read_to_string(&log).unwrap()
            );
            fs::read_to_string(&log)
                .unwrap()
                .contains("Network simulator ready")
        });
        Self {
            folder,
            simulator,
            socket,
        }
    }

    /// Starts an OpenSM at a host (`sm01`, `sm02`); the higher priority is master. It takes over within seconds.
    pub(crate) fn manager(&self, host: &str, priority: u8) -> Manager {
        let folder = self.folder.path().join(format!("{host}-{priority}"));
        fs::create_dir(&folder).unwrap();
        let options = folder.join("opensm.conf");
        fs::write(&options, "sminfo_polling_timeout 500\npolling_retry_number 2\n").unwrap();
        let process = guarded("ibsim-run")
            .arg("opensm")
            .arg("-F")
            .arg(&options)
            .args(["-e", "-D", "0x43", "-p", &priority.to_string()])
            .arg("-f")
            .arg(folder.join("log"))
            .arg("--dump_files_dir")
            .arg(&folder)
            .current_dir(&folder)
            .env("IBSIM_SOCKNAME", &self.socket)
            .env("SIM_HOST", format!("{host}_mlx5_0"))
            .env("OSM_CACHE_DIR", &folder)
            .env("OSM_TMP_DIR", &folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("stdout")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Manager { process, folder }
    }

    /// A fabric with one Subnet Manager that has brought every port up.
    pub(crate) fn up(plan: &Plan) -> (Self, Manager) {
        let lab = Self::new(plan);
        let manager = lab.manager("sm01", 5);
        lab.all_active();
        (lab, manager)
    }

    /// Waits until no link waits for the Subnet Manager, and some are Active.
    pub(crate) fn all_active(&self) {
        eventually("every link is Active", || {
            let links = self.links();
            links.contains("Active/") && !links.contains("Initialize/") && !links.contains("Armed/")
        });
    }

    /// Unplugs an adapter.
    pub(crate) fn unplug(&mut self, adapter: &str) {
        self.console(&format!("Unlink \"{adapter}\"[1]"));
        eventually("the link is gone", || {
            !self.discover().contains(&quoted_name(adapter))
        });
    }

    /// Plugs it in again.
    pub(crate) fn plug(&mut self, adapter: &str) {
        self.console(&format!("ReLink \"{adapter}\"[1]"));
        eventually("the link is there", || {
            self.discover().contains(&quoted_name(adapter))
        });
    }

    fn console(&mut self, line: &str) {
        writeln!(self.simulator.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// What `ibnetdiscover` prints.
    pub(crate) fn discover(&self) -> String {
        self.tool(&["ibnetdiscover"])
    }

    /// What `iblinkinfo -l` prints.
    pub(crate) fn links(&self) -> String {
        self.tool(&["iblinkinfo", "-l"])
    }

    /// Runs a tool at the second manager's host, which no test unplugs. A sweep under way may disturb it; it is asked
    /// again then.
    fn tool(&self, command: &[&str]) -> String {
        let start = Instant::now();
        loop {
            let output = guarded("ibsim-run")
                .args(command)
                .current_dir(self.folder.path())
                .env("IBSIM_SOCKNAME", &self.socket)
                .env("SIM_HOST", "sm02_mlx5_0")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(start.elapsed() < LIMIT, "{command:?} {}: {told}", output.status);
            std::thread::sleep(PAUSE);
        }
    }
}

impl Manager {
    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Whether it says that it is master.
    pub(crate) fn is_master(&self) -> bool {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last = log.lines().rfind(|line| line.contains("Entering "));
        last.is_some_and(|line| line.contains("MASTER"))
    }

    /// Whether it says that another is.
    pub(crate) fn is_standby(&self) -> bool {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let last = log.lines().rfind(|line| line.contains("Entering "));
        last.is_some_and(|line| line.contains("STANDBY"))
    }

    /// The forwarding tables it has computed, of every switch: the file is written in place, so it is read until it is
    /// whole.
    pub(crate) fn forwarding_tables(&self, plan: &Plan) -> String {
        let whole = |text: &str| text.matches(" lids dumped").count() == plan.switches();
        self.whole("opensm-lfts.dump", whole)
    }

    /// Its own list of the subnet, with both ends of every cable.
    pub(crate) fn subnet_list(&self, plan: &Plan) -> String {
        let whole = |text: &str| text.lines().count() == plan.ends() && text.ends_with('\n');
        self.whole("opensm-subnet.lst", whole)
    }

    fn whole(&self, name: &str, whole: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        eventually(&format!("{name} is whole"), || {
            text = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            whole(&text)
        });
        text
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // It may have been killed before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.simulator.kill();
        let _ = self.simulator.wait();
    }
}

/// A command that the kernel ends with this process, found where Debian puts it even without root's PATH.
fn guarded(program: &str) -> Command {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    for needed in [
        "setpriv",
        "ibsim",
        "ibsim-run",
        "opensm",
        "ibnetdiscover",
        "iblinkinfo",
    ] {
        let found = path
            .split(':')
            .any(|folder| Path::new(folder).join(needed).exists());
        assert!(found, "pointsman: {needed} {MISSING}");
    }
    let mut command = Command::new("setpriv");
    command
        .env("PATH", path)
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program);
    command
}

/// The text by which a dump names an adapter.
fn quoted_name(adapter: &str) -> String {
    format!("\"{}\"", adapter.replacen('_', " ", 1))
}

/// Waits until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
