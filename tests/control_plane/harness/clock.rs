//! A clock of a program's own, which can be set while it runs: libfaketime between it and the C library. What measures how
//! much time has passed (CLOCK_MONOTONIC) goes on as it is, as when the machine's clock is set.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::Program;

/// Debian's package has it below a folder of the architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

#[derive(Clone)]
pub(crate) struct Clock {
    library: PathBuf,
    /// By how much it is off, in the words of libfaketime.
    offset: PathBuf,
}

impl Clock {
    /// It shows the right time.
    pub(crate) fn new(offset: PathBuf) -> Self {
        let folders = fs::read_dir("/usr/lib").unwrap();
        let library = folders
            .map(|folder| folder.unwrap().path().join(LIBRARY))
            .find(|library| library.exists())
            .expect("libfaketime is missing: install it with 'apt-get install libfaketime'");
        let clock = Self { library, offset };
        clock.set("+0");
        clock
    }

    /// Sets it off by so much, such as `+600` or `-600` seconds; the program sees it within a second.
    pub(crate) fn set(&self, offset: &str) {
        // In one step: half a file would be another time.
        let next = self.offset.with_extension("next");
        fs::write(&next, offset).unwrap();
        fs::rename(&next, &self.offset).unwrap();
    }

    /// A program that goes by it.
    pub(crate) fn program(&self, name: &str, binary: &Path) -> Program {
        Program::new(name, Path::new("/usr/bin/env"))
            .arg(format!("LD_PRELOAD={}", self.library.display()))
            .arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.offset.display()))
            .arg("FAKETIME_CACHE_DURATION=1")
            .arg("FAKETIME_DONT_FAKE_MONOTONIC=1")
            .arg(binary.display().to_string())
    }
}
