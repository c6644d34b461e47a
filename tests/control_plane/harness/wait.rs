//! Waiting for what the cluster does in its own time: polls with a deadline, never a fixed sleep.

use std::time::{Duration, Instant};

/// How often a probe is asked; short against every deadline, long against a request on loopback.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks `probe` until it answers `Ok`, and panics with its last answer when `limit` has passed.
pub(crate) async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) if started.elapsed() > limit => {
                panic!("{what}: not within {limit:?}; last seen: {last}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Asks `probe` for as long as `time` lasts, and panics as soon as it answers `Err`.
pub(crate) async fn throughout(
    what: &str,
    time: Duration,
    mut probe: impl AsyncFnMut() -> Result<(), String>,
) {
    let started = Instant::now();
    while started.elapsed() < time {
        if let Err(seen) = probe().await {
            panic!("{what}: broken after {:?}: {seen}", started.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `Ok` when `condition` holds, else what was seen instead: the usual last line of a probe.
pub(crate) fn expect(condition: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen()) }
}
