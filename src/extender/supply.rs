//! What there is of nodes and pools, and how much of it is taken or promised, so that what comes back is noticed: the rest
//! of a gang that has begun may have room then.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::names::NodeName;
use crate::decide::node::{Node, SriovFacts, Sync};

/// What there is of nodes and pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supply {
    pub(super) all: All,
    /// Addresses that nobody has.
    free: u64,
    /// Pods that have a node or are promised one, and places that are held for others.
    taken: u64,
}

/// What there is, whoever has taken how much of it: when it differs, something was away or came back. Nodes are told apart:
/// one that comes back while another goes leaves their number as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct All {
    /// Nodes that take pods.
    nodes: u64,
    /// Nodes that the SR-IOV operator is done with.
    settled: u64,
    /// Addresses of the pools that hand some out.
    addresses: u64,
}

impl Supply {
    pub(super) fn of(snapshot: &ClusterSnapshot, commitments: &Commitments) -> Self {
        let takes_pods = |node: &Node| !node.unschedulable && !node.drain_requested && node.faults.is_empty();
        let nodes = snapshot.nodes.iter().filter(|(_, node)| takes_pods(node));
        let states = snapshot.sriov.iter().filter(|(_, state)| {
            let done = |facts: &SriovFacts| facts.sync == Sync::Succeeded && facts.drain.is_none();
            state.reading.as_ref().is_ok_and(done)
        });
        let pools = snapshot
            .pools
            .values()
            .filter_map(|pool| pool.reading.as_ref().ok());
        let pools = pools.filter(|pool| !pool.disabled && !pool.terminating);
        let (addresses, free) = pools.fold((0_u64, 0_u64), |(size, free), pool| {
            (size.saturating_add(pool.size), free.saturating_add(pool.free))
        });
        Self {
            all: All {
                nodes: told_apart(nodes.map(|(name, _)| name)),
                settled: told_apart(states.map(|(name, _)| name)),
                addresses,
            },
            free,
            taken: taken(snapshot, commitments),
        }
    }

    /// The same once these are the promises.
    pub(super) fn beside(self, snapshot: &ClusterSnapshot, commitments: &Commitments) -> Self {
        Self {
            taken: taken(snapshot, commitments),
            ..self
        }
    }

    /// Whether it is less of what pods take, and no more, that can be had than when there was `then`.
    pub(super) fn has_only_shrunk(&self, then: &Self) -> bool {
        self.all == then.all && self.free <= then.free && self.taken >= then.taken
    }
}

fn taken(snapshot: &ClusterSnapshot, commitments: &Commitments) -> u64 {
    let pods = snapshot.bound.size().saturating_add(commitments.pods.size());
    let holds = commitments.gangs.values().filter(|hold| !hold.soft);
    holds.fold(u64::try_from(pods).unwrap_or(u64::MAX), |taken, hold| {
        taken.saturating_add(hold.pods().into())
    })
}

/// A number that differs where the names do, whatever their order.
fn told_apart<'a>(names: impl Iterator<Item = &'a NodeName>) -> u64 {
    let hash = |name| BuildHasherDefault::<DefaultHasher>::default().hash_one(name);
    names.map(hash).fold(0, u64::wrapping_add)
}
