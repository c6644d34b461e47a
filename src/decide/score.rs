//! How good a node is for a pod that fits there, as a value with its parts.
//!
//! kube-scheduler takes whole numbers from 0 to 10. Closeness comes first, packing breaks its ties, and headroom theirs.

use core::fmt;

/// The most a score can be.
pub const BEST: u8 = 10;

/// Of those, how many closeness on the fabric decides about.
pub const CLOSENESS: u8 = 6;

/// How many headroom decides about.
pub const HEADROOM: u8 = 1;

/// A node's score for one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Score {
    /// 0 to [`CLOSENESS`]: how near the node is to the place chosen for the pod's gang; for a pod alone, how much its
    /// leaf group is broken already.
    pub closeness: u8,
    /// How full the node's rails are with the pod on it, so that whole nodes stay free: 0 to 3, or 0 to 9 where no tiers
    /// are known and closeness says nothing. Beside the places chosen for a gang only so much that closeness still decides:
    /// 0 or 1 in its domain, 0 elsewhere.
    pub packing: u8,
    /// 0 or [`HEADROOM`]: whether the pod strands nothing there, neither VFs of one rail by taking the last of another
    /// nor VFs by taking the last address that their pools have. Always 0 beside the places chosen for a gang.
    pub headroom: u8,
}

impl Score {
    /// What the scheduler is told, 0 to [`BEST`]. A node that is neither near nor in use is 0 whatever its headroom: hosts
    /// that score 0 are not named, and naming every free node of a large cluster costs the scheduler more than it gains.
    #[must_use]
    pub fn total(self) -> u8 {
        match self.closeness.saturating_add(self.packing) {
            0 => 0,
            sum => sum.saturating_add(self.headroom).min(BEST),
        }
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (closeness {}, packing {}, headroom {})",
            self.total(),
            self.closeness,
            self.packing,
            self.headroom
        )
    }
}

/// The VFs that a pod wants on a node, all its rails together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// In use once the pod is there.
    pub used: u32,
    /// Offered.
    pub offered: u32,
    /// How many more such pods the scarcest rail would take then.
    pub more: u32,
}

impl Load {
    /// Of `steps`, how many are in use.
    #[must_use]
    pub fn packing(self, steps: u8) -> u8 {
        let part = u64::from(self.used) * u64::from(steps) / u64::from(self.offered.max(1));
        u8::try_from(part.min(u64::from(steps))).unwrap_or(steps)
    }

    /// Whether no VF is left.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.used >= self.offered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closeness_comes_before_packing_and_packing_before_headroom() {
        let score = |closeness, packing, headroom| {
            Score {
                closeness,
                packing,
                headroom,
            }
            .total()
        };
        assert!(score(6, 0, 0) > score(5, 0, 0));
        assert!(score(3, 2, 0) >= score(3, 1, 1));
        assert_eq!(score(CLOSENESS, BEST - CLOSENESS - HEADROOM, HEADROOM), BEST);
        assert_eq!(score(0, 0, 1), 0);
    }

    #[test]
    fn packing_says_how_much_is_in_use() {
        let load = |used, offered| Load {
            used,
            offered,
            more: 0,
        };
        assert_eq!(
            [load(1, 8), load(4, 8), load(8, 8)].map(|load| load.packing(9)),
            [1, 4, 9]
        );
        assert_eq!(load(0, 0).packing(3), 0);
        assert!(load(8, 8).is_full() && !load(7, 8).is_full());
    }
}
