//! An explanation in the form that `-o json`, `-o yaml` and `GET /explain` give it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decide::claim::Claim;
use crate::decide::explanation::{Against, Change, Explanation, GangStanding, Rail, Standing, Way};
use crate::decide::names::{NodeName, PodRef};
use crate::decide::score::Score;

/// An explanation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The pod's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// It is not bound and fits nowhere.
    pub waiting: bool,
    /// The node it is bound to.
    pub node: Option<String>,
    /// What keeps it from nodes, the most nodes first; for a bound pod, from others than its own.
    pub reasons: Vec<Reason>,
    /// The changes that together would let it run.
    pub smallest_change: Vec<String>,
    /// `bound`, `wouldFit`, `waits`, `ended` or `denied`.
    pub standing: &'static str,
    /// The changes were tried: with them the pod fits. Otherwise they are what is known to help.
    pub change_tried: bool,
    /// Other ways to the same end.
    pub other_changes: Vec<Vec<String>>,
    /// How many nodes it fits on; for a bound pod as if it were still to be placed.
    pub fitting_nodes: usize,
    /// The best of them.
    pub best_nodes: Vec<Scored>,
    /// What it needs; none where that cannot be worked out.
    pub claim: Option<ClaimReport>,
    /// Where its addresses can come from.
    pub rails: Vec<RailReport>,
    /// Its gang.
    pub gang: Option<GangReport>,
    /// How many hours old the fabric data is, where it is older than `fabric.maxAge`: dark and slow rails then speak
    /// against nodes, and refuse none.
    pub old_fabric_data_hours: Option<u64>,
}

/// One reason against some nodes.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// The text that the scheduler shows.
    pub reason: String,
    /// How many nodes.
    pub nodes: usize,
    /// Some of them.
    pub examples: Vec<String>,
    /// What was found on the first.
    pub detail: String,
    /// What helps.
    pub remedy: String,
}

/// A node with its score.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// The node.
    pub node: String,
    /// 0 to 10: what the scheduler is told, the sum of the following.
    pub score: u8,
    /// How near it is to the place chosen for the gang, or for a pod alone how broken its leaf group is.
    pub closeness: u8,
    /// How full its rails are with the pod on it.
    pub packing: u8,
    /// Whether the pod strands nothing there.
    pub headroom: u8,
}

/// What a pod needs.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimReport {
    /// VFs per resource.
    pub vfs: BTreeMap<String, u32>,
    /// A network that needs a node in exclusive RDMA mode.
    pub exclusive: Option<String>,
}

/// Where an address can come from.
#[derive(Clone, Debug, Serialize)]
pub struct RailReport {
    /// The interface.
    pub interface: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// Its pools.
    pub pools: Vec<PoolReport>,
}

/// What a pool has left.
#[derive(Clone, Debug, Serialize)]
pub struct PoolReport {
    /// Its name.
    pub name: String,
    /// Addresses free by the IPAM's records.
    pub free: u64,
    /// Addresses in all.
    pub size: u64,
    /// Addresses promised to others that have not fetched them.
    pub promised: u64,
}

/// How a gang stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GangReport {
    /// Its name.
    pub name: String,
    /// How many pods it has.
    pub size: Option<u32>,
    /// Where it may run.
    pub locality: String,
    /// The nodes of its pods that are placed.
    pub placed: Vec<String>,
    /// How many are still to come.
    pub to_come: u32,
    /// Places held for them, by node.
    pub held: BTreeMap<String, u32>,
    /// What each domain of the fabric can take of them.
    pub domains: Vec<DomainReport>,
}

/// What a domain can take of a gang.
#[derive(Clone, Debug, Serialize)]
pub struct DomainReport {
    /// The label key of its tier.
    pub tier: String,
    /// Which.
    pub domain: String,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many pods fit, addresses not counted.
    pub slots: u32,
    /// How many of those still to come have room.
    pub takes: u32,
    /// How many do not.
    pub missing: u32,
    /// The gang is in it already.
    pub settled: bool,
    /// What is against its nodes.
    pub against: BTreeMap<String, usize>,
}

/// How many of the best nodes are told.
const BEST: usize = 5;

impl Report {
    /// As it is told.
    #[must_use]
    pub fn of(explanation: &Explanation) -> Self {
        let Explanation {
            pod,
            standing,
            claim,
            rails,
            gang,
            fits,
            against,
            old_fabric,
            ways,
        } = explanation;
        let (word, node) = match standing {
            Standing::Bound(node) => ("bound", Some(node.to_string())),
            Standing::WouldFit => ("wouldFit", None),
            Standing::Waits => ("waits", None),
            Standing::Ended => ("ended", None),
        };
        let waiting = *standing == Standing::Waits;
        let mut reasons: Vec<Reason> = against.iter().map(Reason::of).collect();
        if waiting && reasons.is_empty() {
            reasons.push(Reason::no_nodes());
        }
        let smallest = match ways.first() {
            Some(way) => texts(way),
            None if waiting => reasons.iter().map(|reason| reason.remedy.clone()).collect(),
            None => Vec::new(),
        };
        Self {
            waiting,
            node,
            reasons,
            smallest_change: smallest,
            change_tried: !ways.is_empty(),
            other_changes: ways.iter().skip(1).map(texts).collect(),
            fitting_nodes: fits.len(),
            best_nodes: fits.iter().take(BEST).map(Scored::of).collect(),
            claim: claim.as_ref().map(ClaimReport::of),
            rails: rails.iter().map(RailReport::of).collect(),
            gang: gang.as_ref().map(GangReport::of),
            old_fabric_data_hours: old_fabric.map(|age| age.as_secs() / 3600),
            ..Self::nothing(pod, word)
        }
    }

    /// Of a pod that was not admitted.
    #[must_use]
    pub fn denied(pod: &PodRef, message: &str) -> Self {
        Self {
            waiting: true,
            reasons: vec![Reason {
                reason: "denied at admission".to_owned(),
                nodes: 0,
                examples: Vec::new(),
                detail: message.to_owned(),
                remedy: "correct what the message names, and create the pod again".to_owned(),
            }],
            smallest_change: vec![message.to_owned()],
            ..Self::nothing(pod, "denied")
        }
    }

    fn nothing(pod: &PodRef, standing: &'static str) -> Self {
        Self {
            namespace: pod.namespace.to_string(),
            name: pod.name.to_string(),
            waiting: false,
            node: None,
            reasons: Vec::new(),
            smallest_change: Vec::new(),
            standing,
            change_tried: false,
            other_changes: Vec::new(),
            fitting_nodes: 0,
            best_nodes: Vec::new(),
            claim: None,
            rails: Vec::new(),
            gang: None,
            old_fabric_data_hours: None,
        }
    }
}

impl Reason {
    /// As it is told.
    #[must_use]
    pub fn of(against: &Against) -> Self {
        let Against {
            hurdle,
            nodes,
            examples,
        } = against;
        let detail = match examples.first() {
            Some(example) => format!("{example}: {hurdle}"),
            None => hurdle.to_string(),
        };
        Self {
            reason: hurdle.text(),
            nodes: *nodes,
            examples: examples.iter().map(ToString::to_string).collect(),
            detail,
            remedy: hurdle.remedy().to_owned(),
        }
    }

    fn no_nodes() -> Self {
        Self {
            reason: "no nodes available to schedule pods".to_owned(),
            nodes: 0,
            examples: Vec::new(),
            detail: "the cluster has no node".to_owned(),
            remedy: "add a node".to_owned(),
        }
    }
}

impl Scored {
    fn of((node, score): &(NodeName, Score)) -> Self {
        Self {
            node: node.to_string(),
            score: score.total(),
            closeness: score.closeness,
            packing: score.packing,
            headroom: score.headroom,
        }
    }
}

impl ClaimReport {
    fn of(claim: &Claim) -> Self {
        let vfs = claim.vfs.iter();
        Self {
            vfs: vfs
                .map(|(resource, need)| (resource.to_string(), need.count))
                .collect(),
            exclusive: claim.exclusive.as_ref().map(ToString::to_string),
        }
    }
}

impl RailReport {
    fn of(rail: &Rail) -> Self {
        let pools = rail.pools.iter().map(|pool| PoolReport {
            name: pool.name.to_string(),
            free: pool.free,
            size: pool.size,
            promised: pool.promised,
        });
        Self {
            interface: rail.interface.to_string(),
            family: rail.family.to_string(),
            pools: pools.collect(),
        }
    }
}

impl GangReport {
    fn of(gang: &GangStanding) -> Self {
        let mut held: BTreeMap<String, u32> = BTreeMap::new();
        for place in &gang.held {
            *held.entry(place.node.to_string()).or_insert(0) += place.pods;
        }
        let domains = gang.rooms.iter().map(|room| DomainReport {
            tier: room.tier.clone(),
            domain: room.domain.to_string(),
            nodes: room.nodes,
            slots: room.slots,
            takes: room.takes,
            missing: gang.need.saturating_sub(room.takes),
            settled: room.settled,
            against: room.against.clone(),
        });
        Self {
            name: gang.at.name.to_string(),
            size: gang.size,
            locality: gang.locality.to_string(),
            placed: gang.placed.iter().map(ToString::to_string).collect(),
            to_come: gang.need,
            held,
            domains: domains.collect(),
        }
    }
}

fn texts(way: &Way) -> Vec<String> {
    way.changes.iter().map(Change::to_string).collect()
}
