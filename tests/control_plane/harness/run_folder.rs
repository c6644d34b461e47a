//! The folder of one run: configuration, certificates, data and logs of every process it starts.
//!
//! It lies in the cache, outside the repository, and stays for whoever wants to read a log after a failure; the folders
//! of the last few runs are kept, older ones go when a new run starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use super::tools;

/// How many finished runs stay readable.
const KEPT: usize = 4;

pub(crate) struct RunFolder {
    path: PathBuf,
}

/// The folder of this process, made once.
static OF_THIS_PROCESS: LazyLock<PathBuf> = LazyLock::new(|| {
    let runs = tools::cache().join("runs");
    fs::create_dir_all(&runs).unwrap();
    remove_old(&runs);
    let path = runs.join(std::process::id().to_string());
    // A leftover of an earlier process that had our id.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
});

impl RunFolder {
    pub(crate) fn create() -> Self {
        Self {
            path: OF_THIS_PROCESS.clone(),
        }
    }

    /// A folder inside it, for a second control plane.
    #[allow(dead_code, reason = "only the tests need a second one")]
    pub(crate) fn inner(name: &str) -> Self {
        let path = OF_THIS_PROCESS.join(name);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes one file of the run and returns where it is.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.path.join(format!("{process}.log"))
    }
}

/// The last lines of a log, for a failure's report.
pub(crate) fn tail(log: &Path, lines: usize) -> String {
    tail_about(log, "", lines)
}

/// The last lines of a log that contain this text.
pub(crate) fn tail_about(log: &Path, text: &str, lines: usize) -> String {
    let content = fs::read(log)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let mut about: Vec<_> = content
        .lines()
        .rev()
        .filter(|line| line.contains(text))
        .take(lines)
        .collect();
    about.reverse();
    about.join("\n")
}

/// Removes the folders of runs that ended, but for the newest. A folder's name is its owner's process id.
fn remove_old(runs: &Path) {
    let mut ended: Vec<(SystemTime, PathBuf)> = fs::read_dir(runs)
        .unwrap()
        .filter_map(Result::ok)
        .filter(|run| !Path::new("/proc").join(run.file_name()).exists())
        .filter_map(|run| Some((run.metadata().ok()?.modified().ok()?, run.path())))
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(KEPT) {
        // Another run may be removing it too.
        let _ = fs::remove_dir_all(path);
    }
}
