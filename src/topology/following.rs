//! When a file that is written again and again is ready to be read.
//!
//! OpenSM writes its dump in place. Whoever reads at once reads a half; so a file is left alone until it has not changed
//! for a while, and what was read of it must be whole all the same.

use core::time::Duration;
use std::time::SystemTime;

/// What a file looks like from outside: its length and when it was last written; none while it does not exist.
pub type Stamp = Option<(u64, SystemTime)>;

/// How patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long files must not have changed before they are read.
    pub settle: Duration,
    /// After how long they are imported again though they have not changed, because nodes may have.
    pub again: Duration,
    /// How long to wait before an import that failed is tried again.
    pub retry: Duration,
}

/// What became of the files so far.
#[derive(Clone, Debug, Default)]
pub struct Following {
    /// How they look, and since when.
    seen: Option<(Vec<Stamp>, Duration)>,
    /// How they looked when they were last tried, and when that was.
    tried: Option<(Vec<Stamp>, Duration)>,
    /// Whether that worked, or is not worth another try before they change.
    settled: bool,
}

impl Following {
    /// Whether to import now. `now` is the time since any fixed moment.
    pub fn look(&mut self, now: Duration, stamps: &[Stamp], patience: Patience) -> bool {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != stamps) {
            self.seen = Some((stamps.to_vec(), now));
        }
        let Some((_, since)) = &self.seen else {
            return false;
        };
        if now.saturating_sub(*since) < patience.settle || stamps.iter().any(Option::is_none) {
            return false;
        }
        match &self.tried {
            None => true,
            Some((tried, _)) if tried != stamps => true,
            Some((_, at)) => {
                let pause = if self.settled {
                    patience.again
                } else {
                    patience.retry
                };
                now.saturating_sub(*at) >= pause
            }
        }
    }

    /// Notes that an import of what `stamps` says was tried; `settled` unless it is worth another try soon.
    pub fn tried(&mut self, now: Duration, stamps: &[Stamp], settled: bool) {
        self.tried = Some((stamps.to_vec(), now));
        self.settled = settled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        settle: Duration::from_secs(2),
        again: Duration::from_mins(10),
        retry: Duration::from_secs(10),
    };

    fn stamp(length: u64) -> [Stamp; 1] {
        [Some((length, SystemTime::UNIX_EPOCH))]
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_is_read_once_it_has_settled_and_again_when_it_changes() {
        let mut following = Following::default();
        assert!(!following.look(at(0), &stamp(1), PATIENCE));
        assert!(!following.look(at(1), &stamp(2), PATIENCE), "it is being written");
        assert!(!following.look(at(2), &stamp(2), PATIENCE));
        assert!(following.look(at(3), &stamp(2), PATIENCE));
        following.tried(at(3), &stamp(2), true);
        assert!(!following.look(at(60), &stamp(2), PATIENCE));
        assert!(!following.look(at(61), &stamp(3), PATIENCE));
        assert!(following.look(at(63), &stamp(3), PATIENCE));
        following.tried(at(63), &stamp(3), true);
        assert!(
            following.look(at(663), &stamp(3), PATIENCE),
            "nodes may have changed"
        );
    }

    #[test]
    fn what_failed_is_tried_again_and_what_is_not_there_is_waited_for() {
        let mut following = Following::default();
        assert!(!following.look(at(0), &[None], PATIENCE));
        assert!(!following.look(at(9), &[None], PATIENCE));
        assert!(!following.look(at(10), &stamp(1), PATIENCE));
        assert!(following.look(at(12), &stamp(1), PATIENCE));
        following.tried(at(12), &stamp(1), false);
        assert!(!following.look(at(21), &stamp(1), PATIENCE));
        assert!(following.look(at(22), &stamp(1), PATIENCE));
    }
}
