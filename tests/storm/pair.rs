//! A scheduler and the program beside it. There are two such pairs, and one of the schedulers leads: what the one program
//! promised the other has to see in the API.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::harness::faults::Faults;
use crate::harness::stack::Stack;

pub(crate) struct Pair {
    pub(crate) stack: Stack,
    /// Between the two.
    pub(crate) calls: Faults,
    /// The scheduler is down because the test wants it to be.
    down: AtomicBool,
}

impl Pair {
    pub(crate) fn new(stack: Stack, calls: Faults) -> Self {
        let down = AtomicBool::new(false);
        Self { stack, calls, down }
    }

    pub(crate) fn kill_scheduler(&self) {
        self.down.store(true, Ordering::SeqCst);
        // It may have ended by itself: it does when it cannot renew its lease.
        if self.stack.scheduler.runs() {
            self.stack.scheduler.kill();
        }
    }

    pub(crate) fn start_scheduler(&self) {
        self.stack.scheduler.start_again();
        self.down.store(false, Ordering::SeqCst);
    }

    /// VFs and addresses that the program has promised and the API does not show, by its last stock-taking.
    pub(crate) async fn promised(&self) -> f64 {
        let mut sum = 0.0;
        for metric in ["pointsman_vfs", "pointsman_addresses"] {
            for state in ["held", "reserved"] {
                sum += self.stack.metric(metric, &[&format!("state=\"{state}\"")]).await;
            }
        }
        sum
    }

    /// What a kubelet does: a scheduler that ends by itself is started again.
    pub(crate) async fn keep_running(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !self.down.load(Ordering::SeqCst) && !self.stack.scheduler.runs() {
                self.stack.scheduler.start_again();
            }
        }
    }
}
