//! Promises that do not show in a snapshot yet, as values; who keeps them, and how long, is the ledger's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::amounts::Amounts;
use super::claim::Claim;
use super::cluster::{Map, Members};
use super::names::{GangRef, NodeName, PodUid};
use super::placement::{Fit, Verdict};
use super::supply::PoolSet;

/// What has been promised and does not show in the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commitments {
    /// Per pod: holds (filter said yes, not bound) and reservations (bound by us, not yet seen).
    pub pods: Map<PodUid, Arc<Commitment>>,
    /// Per gang: places for those of its pods that are still to come.
    pub gangs: Map<GangRef, Arc<GangHold>>,
}

impl Commitments {
    /// The node that the pod is promised, where that is settled.
    #[must_use]
    pub fn node_of(&self, uid: &PodUid) -> Option<&NodeName> {
        self.pods.get(uid)?.node.as_ref()
    }
}

/// What is promised of each node, added up.
#[derive(Clone, Debug, Default)]
pub struct Reserved<'a>(BTreeMap<&'a NodeName, Amounts>);

impl<'a> Reserved<'a> {
    /// Adds what a pod is promised of its node, where that is settled.
    pub fn promise(&mut self, commitment: &'a Commitment) {
        if let Some(node) = &commitment.node {
            self.0.entry(node).or_default().add(&commitment.takes);
        }
    }

    /// Adds what is held for a gang.
    pub fn hold(&mut self, hold: &'a GangHold) {
        for place in &hold.places {
            let there = self.0.entry(&place.node).or_default();
            there.add_times(&hold.takes, place.pods);
        }
    }

    /// What is promised of this node; none where nothing is.
    #[must_use]
    pub fn on(&self, node: &NodeName) -> Option<&Amounts> {
        // A look at an empty map is cheaper than the names' comparison, once for every node of a cluster.
        if self.0.is_empty() {
            return None;
        }
        self.0.get(node)
    }

    /// The nodes of which something is promised, in order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &'a NodeName> {
        self.0.keys().copied()
    }
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
    /// The pods of the gang that have a place already, and need none of these.
    pub placed: BTreeSet<PodUid>,
}

impl GangHold {
    /// For how many pods there are places.
    #[must_use]
    pub fn pods(&self) -> u32 {
        self.places
            .iter()
            .fold(0, |sum, place| sum.saturating_add(place.pods))
    }

    /// What is left of it once pods that took their places are seen bound; none when nothing has changed.
    #[must_use]
    pub fn settled(&self, members: &Members) -> Option<Self> {
        let come: Vec<_> = members
            .bound
            .iter()
            .filter(|(uid, _)| !self.placed.contains(*uid))
            .collect();
        if come.is_empty() {
            return None;
        }
        let mut left = self.clone();
        for (uid, node) in come {
            left.placed.insert(uid.clone());
            // One that went elsewhere leaves a place that nobody needs any more.
            let taken = left.places.iter().position(|place| place.node == *node);
            let taken = taken.or_else(|| left.places.len().checked_sub(1));
            if let Some(place) = taken.and_then(|taken| left.places.get_mut(taken)) {
                place.pods = place.pods.saturating_sub(1);
            }
            left.places.retain(|place| place.pods > 0);
        }
        Some(left)
    }
}

/// Places for some pods of a gang on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: NodeName,
    /// How many pods.
    pub pods: u32,
    /// The sets of pools for the addresses of each.
    pub pools: Arc<[PoolSet]>,
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
/// other pools on other nodes is not held where we bind: which ones is settled then, and all is checked again. Where we
/// do not, nothing is checked again, and an address out of each of those sets is held meanwhile.
#[must_use]
pub fn hold(claim: &Claim, verdicts: &[(NodeName, Verdict)], binds: bool) -> Option<Commitment> {
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
            if !binds {
                return Some(Commitment {
                    pools: each_of(&fits),
                    ..Commitment::default()
                });
            }
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

/// For each address, one out of every set of pools that it can come from on some node.
fn each_of(fits: &[(&NodeName, &Fit)]) -> Vec<PoolSet> {
    let sets: BTreeSet<(usize, &PoolSet)> = fits
        .iter()
        .flat_map(|(_, fit)| fit.pools.iter().map(|(_, set)| set).enumerate())
        .collect();
    sets.into_iter().map(|(_, set)| set.clone()).collect()
}
