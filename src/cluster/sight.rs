//! Whether the watch of pods shows what happens.
//!
//! While the API server is away nobody sees pods being bound, and time says nothing about a promise: it must not lapse
//! because nobody could see that it was kept. Nor is anything decided meanwhile: another extender may have led, and
//! bound pods that do not show yet.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::watch;

/// A watch that broke is tried again after a pause of at most [`watch::LONGEST_PAUSE`], and breaks again each time while
/// the API server is away; a try gives up when nobody answers for 30 s (kube's own limit for a connection). One that
/// is quiet for longer than both has been taken up again. In a cluster where something happens that shows sooner: a
/// pod that the scheduler cannot get placed gets a new condition.
const LONGEST_PAUSE: Duration = Duration::from_secs(31).saturating_add(watch::LONGEST_PAUSE);

/// What is known of the watch of pods.
#[derive(Debug, Default)]
pub struct Sight(Mutex<Option<Instant>>);

impl Sight {
    /// The watch broke.
    pub fn lost(&self, now: Instant) {
        *self.lock() = Some(now);
    }

    /// It showed something.
    pub fn regained(&self) {
        *self.lock() = None;
    }

    /// Whether what happens to pods may be going unseen.
    #[must_use]
    pub fn is_lost(&self, now: Instant) -> bool {
        self.lock()
            .is_some_and(|broke| now.saturating_duration_since(broke) < LONGEST_PAUSE)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is only ever replaced whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sight_is_lost_until_something_shows_or_nothing_breaks_any_more() {
        let (sight, now) = (Sight::default(), Instant::now());
        assert!(!sight.is_lost(now));
        sight.lost(now);
        assert!(sight.is_lost(now));
        sight.lost(now + LONGEST_PAUSE / 2);
        assert!(sight.is_lost(now + LONGEST_PAUSE), "it broke again meanwhile");
        assert!(!sight.is_lost(now + LONGEST_PAUSE * 2), "it was taken up again");
        sight.lost(now);
        sight.regained();
        assert!(!sight.is_lost(now));
    }
}
