//! Readiness: a set of named conditions, all of which must hold.
//!
//! Whoever must have done something before traffic makes sense takes a [`Condition`] and says when it holds.
//! Readiness never guesses: a condition whose owner died, or never spoke, stays unmet and is named.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// All conditions; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<Vec<Arc<State>>>>);

/// One thing that must hold; given to the only one who can say whether it does.
#[derive(Debug)]
#[must_use = "a condition that nobody keeps never holds"]
pub struct Condition(Arc<State>);

#[derive(Debug)]
struct State {
    name: String,
    holds: AtomicBool,
}

impl Readiness {
    /// No condition yet, so ready; add conditions before anything is served.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A new condition, unmet; `name` completes "not ready: …" (`pods are listed`, `a certificate is loaded`).
    pub fn condition(&self, name: impl Into<String>) -> Condition {
        let state = Arc::new(State {
            name: name.into(),
            holds: AtomicBool::new(false),
        });
        self.lock().push(Arc::clone(&state));
        Condition(state)
    }

    /// Whether all conditions hold.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().iter().all(|state| state.holds())
    }

    /// The names of those that do not, in the order they were made.
    #[must_use]
    pub fn unmet(&self) -> Vec<String> {
        let states = self.lock();
        let unmet = states.iter().filter(|state| !state.holds());
        unmet.map(|state| state.name.clone()).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<State>>> {
        // The list is only ever pushed to; a panic elsewhere cannot leave it half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Condition {
    /// It holds from now on.
    pub fn hold(&self) {
        self.0.holds.store(true, Ordering::Release);
    }

    /// Whether it holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.holds()
    }

    /// It holds no longer.
    pub fn lapse(&self) {
        self.0.holds.store(false, Ordering::Release);
    }
}

impl Drop for Condition {
    /// Whoever spoke for it is gone, so nobody can say that it holds.
    fn drop(&mut self) {
        self.lapse();
    }
}

impl State {
    fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_condition_holds() {
        let readiness = Readiness::new();
        let pods = readiness.condition("pods are listed");
        let certificate = readiness.condition("a certificate is loaded");
        assert_eq!(readiness.unmet(), ["pods are listed", "a certificate is loaded"]);
        pods.hold();
        assert!(!readiness.is_ready());
        assert_eq!(readiness.unmet(), ["a certificate is loaded"]);
        certificate.hold();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_condition_may_lapse_and_one_whose_owner_died_does() {
        let readiness = Readiness::new();
        let pods = readiness.condition("pods are listed");
        pods.hold();
        pods.lapse();
        assert!(!readiness.is_ready());
        pods.hold();
        assert!(readiness.is_ready());
        drop(pods);
        assert_eq!(readiness.unmet(), ["pods are listed"]);
    }
}
