//! How large a storm is: the whole one, and a short one that every test run has time for.

use std::time::Duration;

pub(crate) struct Scale {
    /// Pairs of a scheduler and the program.
    pub(crate) pairs: usize,
    /// Nodes, in leaf groups of eight.
    pub(crate) nodes: usize,
    /// Addresses of each rail's pool.
    pub(crate) addresses: u8,
    /// How many gangs of each size.
    pub(crate) gangs: [(usize, usize); 4],
    /// How many faults there are unless `FAULTS` in the environment says otherwise.
    pub(crate) faults: usize,
    /// For how long the IPAM pauses.
    pub(crate) ipam_pauses: Duration,
    /// What a hold for the rest of a gang lasts: longer than the API server is away, so that a gang whose pods are not all
    /// there yet keeps its places.
    pub(crate) gang_hold: Duration,
    /// How long a pod may wait although it fits, after the last change: the end of a hold is a change that nobody sees.
    pub(crate) prompt: Duration,
    /// A storm that has not settled by then never will.
    pub(crate) longest: Duration,
    /// How long as many pods as there are addresses may take to be bound afterwards.
    pub(crate) fresh: Duration,
}

/// 300 pods in gangs, 200 addresses; of two pairs one leads; two faults at a time.
pub(crate) const WHOLE: Scale = Scale {
    pairs: 2,
    nodes: 64,
    addresses: 200,
    gangs: [(4, 10), (8, 11), (16, 10), (1, 12)],
    faults: crate::calamity::KINDS,
    ipam_pauses: Duration::from_mins(1),
    gang_hold: Duration::from_secs(45),
    prompt: Duration::from_secs(10),
    longest: Duration::from_mins(8),
    fresh: Duration::from_mins(1),
};

/// 54 pods, 40 addresses, and the faults that any machine is over soon, one at a time; how long the machine takes for it is
/// not what it looks at.
pub(crate) const SHORT: Scale = Scale {
    pairs: 1,
    nodes: 16,
    addresses: 40,
    gangs: [(4, 4), (8, 2), (16, 1), (1, 6)],
    faults: crate::calamity::MILD.len(),
    ipam_pauses: Duration::from_secs(1),
    gang_hold: Duration::from_mins(2),
    prompt: Duration::from_mins(2),
    longest: Duration::from_mins(12),
    fresh: Duration::from_mins(5),
};

impl Scale {
    /// The one that `STORM` in the environment names; the whole one unless it does.
    pub(crate) fn named() -> &'static Self {
        match std::env::var("STORM").as_deref() {
            Err(_) => &WHOLE,
            Ok("short") => &SHORT,
            Ok(other) => panic!("STORM={other}: there is only a short one beside the whole one"),
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.pairs > 1
    }
}
