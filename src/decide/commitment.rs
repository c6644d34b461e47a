//! Promises that do not show in a snapshot yet, as values; who keeps them, and how long, is the ledger's business.

use std::sync::Arc;

use super::amounts::Amounts;
use super::claim::Claim;
use super::cluster::Map;
use super::names::{GangRef, NodeName, PodUid};
use super::placement::{Fit, Verdict};
use super::supply::PoolSet;

/// What has been promised and does not show in the snapshot.
#[derive(Clone, Debug, Default)]
pub struct Commitments {
    /// Per pod: holds (filter said yes, not bound) and reservations (bound by us, not yet seen).
    pub pods: Map<PodUid, Arc<Commitment>>,
    /// Per gang: places for those of its pods that are still to come.
    pub gangs: Map<GangRef, Arc<GangHold>>,
}

/// One promise to a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commitment {
    /// The node it is for, where that is settled.
    pub node: Option<NodeName>,
    /// What the pod takes of that node.
    pub takes: Amounts,
    /// Addresses, each out of one of these sets of pools.
    pub pools: Vec<PoolSet>,
}

/// Places held for the rest of a gang.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GangHold {
    /// The gang may run elsewhere, too: others need not keep out of these places, but other gangs avoid them when
    /// they choose theirs.
    pub soft: bool,
    /// What each pod takes of its node.
    pub takes: Amounts,
    /// Where, how many pods, and out of which sets of pools each of them gets its addresses there.
    pub places: Vec<Place>,
}

/// Places for some pods of a gang on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// How many pods.
    pub pods: u32,
    /// The sets of pools for the addresses of each.
    pub pools: Vec<PoolSet>,
}

/// The promise that goes with a fit on `node`.
#[must_use]
pub fn commitment(takes: &Amounts, node: &NodeName, fit: &Fit) -> Commitment {
    Commitment {
        node: Some(node.clone()),
        takes: takes.clone(),
        pools: fit.pools.iter().map(|(_, set)| set.clone()).collect(),
    }
}

/// The hold that goes with a filter's answer: what the pod will take wherever it goes. An address that comes from
/// other pools on other nodes is not held: which ones is settled at bind, where all is checked again.
#[must_use]
pub fn hold(claim: &Claim, verdicts: &[(NodeName, Verdict)]) -> Option<Commitment> {
    let fits: Vec<(&NodeName, &Fit)> = verdicts
        .iter()
        .filter_map(|(node, verdict)| match verdict {
            Verdict::Fits(fit) => Some((node, fit)),
            Verdict::Refused(_) => None,
        })
        .collect();
    match fits.as_slice() {
        [] => None,
        [(node, fit)] => Some(commitment(&claim.takes, node, fit)),
        [(_, first), rest @ ..] => {
            let everywhere = |index: usize, set: &PoolSet| {
                rest.iter()
                    .all(|(_, fit)| fit.pools.get(index).is_some_and(|(_, other)| other == set))
            };
            let pools = first
                .pools
                .iter()
                .enumerate()
                .filter(|(index, (_, set))| everywhere(*index, set))
                .map(|(_, (_, set))| set.clone())
                .collect();
            Some(Commitment {
                node: None,
                takes: Amounts::default(),
                pools,
            })
        }
    }
}
