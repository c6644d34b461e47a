//! The end of the process, in order: readiness off, a delay, no new connections, answers under way, the rest.
//!
//! The first signal starts it, a second one ends it at once. A background task that ends by itself starts it
//! too: a process with half of its parts would answer from what no longer moves. Nothing here decides when a
//! part is done; parts that serve return when their token says stop and their work is done.

use core::future::Future;
use core::time::Duration;
use std::io;

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::readiness::{Condition, Readiness};
use crate::config::duration;
use crate::telemetry::logging::key;

/// How long background tasks may take to notice the end: they hold nothing that would be lost.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// The phases' lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From "not ready" to refusing connections, so that endpoints and load balancers have noticed.
    pub delay: Duration,
    /// For answers under way, after that.
    pub deadline: Duration,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every request was answered.
    Drained,
    /// Some were not, when the deadline passed.
    Overdue,
    /// A second signal cut it short.
    Aborted,
    /// Nobody asked for it: a part of the program ended by itself; the log says which.
    Failed,
}

/// The parts of the process and the order in which they end.
pub struct Shutdown {
    timing: Timing,
    serving: Condition,
    stop: CancellationToken,
    end: CancellationToken,
    listeners: TaskTracker,
    background: TaskTracker,
    failed: mpsc::Sender<&'static str>,
    failures: mpsc::Receiver<&'static str>,
}

impl Shutdown {
    /// Nothing runs yet. Readiness gets a condition that lapses with the first signal.
    #[must_use]
    pub fn new(timing: Timing, readiness: &Readiness) -> Self {
        let serving = readiness.condition("the process is not shutting down");
        serving.hold();
        let (failed, failures) = mpsc::channel(1);
        Self {
            timing,
            serving,
            stop: CancellationToken::new(),
            end: CancellationToken::new(),
            listeners: TaskTracker::new(),
            background: TaskTracker::new(),
            failed,
            failures,
        }
    }

    /// Cancelled when listeners must take no more connections.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Cancelled when every answer is given (or overdue): watches, renewals and the admin endpoint end now.
    #[must_use]
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Runs a listener; it must return some time after [`Self::stop`] is cancelled.
    pub fn listener(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.listeners.spawn(task);
    }

    /// The same on another runtime.
    pub fn listener_on(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.listeners.spawn_on(task, runtime);
    }

    /// Runs a part that must not end before [`Self::end`] is cancelled; if it does, or panics, all ends.
    pub fn background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let end = self.end.clone();
        let failed = self.failed.clone();
        self.background.spawn(async move {
            // A task of its own, so that a panic comes back as a value.
            let outcome = tokio::spawn(task).await;
            if end.is_cancelled() {
                return;
            }
            match outcome {
                Ok(()) => error!({ key::OBJECT } = name, "a background task ended by itself"),
                Err(broken) => {
                    error!({ key::OBJECT } = name, { key::ERROR } = %broken, "a background task broke");
                }
            }
            // Full means that another failure is already ending the process.
            let _first_counts = failed.try_send(name);
        });
    }

    /// Waits for the first signal or failure and ends the parts in order.
    pub async fn run(mut self, mut signals: mpsc::Receiver<&'static str>) -> Ending {
        let asked = tokio::select! {
            signal = signals.recv() => signal,
            _name = self.failures.recv() => None,
        };
        info!(
            { key::REASON } = asked.unwrap_or("a part failed"),
            delay = duration::print(self.timing.delay),
            deadline = duration::print(self.timing.deadline),
            "shutting down"
        );
        self.serving.lapse();
        let ending = tokio::select! {
            second = signals.recv() => {
                warn!({ key::REASON } = second.unwrap_or("no more signals"), "aborting");
                Ending::Aborted
            }
            ending = self.drain() => ending,
        };
        match (ending, asked) {
            (Ending::Drained | Ending::Overdue, None) => Ending::Failed,
            (ending, _) => ending,
        }
    }

    async fn drain(&self) -> Ending {
        sleep(self.timing.delay).await;
        self.stop.cancel();
        self.listeners.close();
        let drained = timeout(self.timing.deadline, self.listeners.wait()).await;
        self.end.cancel();
        self.background.close();
        if timeout(LAST_MOMENT, self.background.wait()).await.is_err() {
            warn!("background tasks were still running at the end");
        }
        match drained {
            Ok(()) => {
                info!("every request was answered");
                Ending::Drained
            }
            Err(_elapsed) => {
                warn!("requests were still running at the deadline");
                Ending::Overdue
            }
        }
    }
}

/// SIGTERM and SIGINT, each time they come.
///
/// # Errors
/// When the process cannot listen for signals.
pub fn signals() -> io::Result<mpsc::Receiver<&'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                else => return,
            };
            if sender.send(name).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Timing = Timing {
        delay: Duration::from_millis(20),
        deadline: Duration::from_millis(200),
    };

    #[tokio::test(start_paused = true)]
    async fn readiness_goes_first_and_answers_under_way_are_awaited() {
        let readiness = Readiness::new();
        let shutdown = Shutdown::new(SHORT, &readiness);
        let (stop, end) = (shutdown.stop(), shutdown.end());
        let (signal, signals) = mpsc::channel(2);
        let seen = readiness.clone();
        let (stopping, ended) = (stop.clone(), end.clone());
        shutdown.listener(async move {
            stopping.cancelled().await;
            assert!(!seen.is_ready());
            sleep(Duration::from_millis(100)).await;
            assert!(!ended.is_cancelled());
        });
        let ended = end.clone();
        shutdown.background("watches", async move { ended.cancelled().await });
        assert!(readiness.is_ready());
        signal.send("SIGTERM").await.unwrap();
        assert_eq!(shutdown.run(signals).await, Ending::Drained);
        assert!(stop.is_cancelled() && end.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_end_is_cut_at_the_deadline() {
        let shutdown = Shutdown::new(SHORT, &Readiness::new());
        let (signal, signals) = mpsc::channel(2);
        shutdown.listener(std::future::pending());
        signal.send("SIGTERM").await.unwrap();
        assert_eq!(shutdown.run(signals).await, Ending::Overdue);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_aborts() {
        let shutdown = Shutdown::new(SHORT, &Readiness::new());
        let (signal, signals) = mpsc::channel(2);
        shutdown.listener(std::future::pending());
        signal.send("SIGTERM").await.unwrap();
        signal.send("SIGTERM").await.unwrap();
        assert_eq!(shutdown.run(signals).await, Ending::Aborted);
    }

    #[tokio::test(start_paused = true)]
    async fn a_background_task_that_ends_by_itself_ends_the_process() {
        for broken in [false, true] {
            let readiness = Readiness::new();
            let shutdown = Shutdown::new(SHORT, &readiness);
            let (_signal, signals) = mpsc::channel(2);
            shutdown.background("watches", async move { assert!(!broken) });
            assert_eq!(shutdown.run(signals).await, Ending::Failed);
            assert!(!readiness.is_ready());
        }
    }
}
