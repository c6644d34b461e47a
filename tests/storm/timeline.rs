//! What happened when, told when something was wrong.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::harness::run_folder::tail;
use crate::harness::scene::Scene;

pub(crate) struct Timeline {
    seed: u64,
    began: Instant,
    lines: Mutex<String>,
}

impl Timeline {
    pub(crate) fn begin(seed: u64) -> Self {
        Self {
            seed,
            began: Instant::now(),
            lines: Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(crate) fn says(&self, what: impl AsRef<str>) {
        let at = self.began.elapsed().as_secs_f64();
        writeln!(self.lines.lock().unwrap(), "{at:8.2}  {}", what.as_ref()).unwrap();
    }

    /// Ends the test with all that is known.
    pub(crate) fn fails(&self, why: &str, scene: &Scene<'_>) -> ! {
        let lines = self.lines.lock().unwrap().clone();
        let logs = scene.stack.logs().map(|log| {
            format!(
                "===== {} =====\n{}",
                log.display(),
                tail(&log, 15)
                    .lines()
                    .map(|line| line.chars().take(300).collect::<String>())
                    .collect::<Vec<_>>()
                    .join("\n")
            )
        });
        panic!("seed {}: {why}\n{lines}\n{}", self.seed, logs.join("\n"));
    }
}
