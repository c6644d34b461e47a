//! What the page draws: leaf groups, nodes, rails and VFs, gangs, pools and waiting pods, in numbers.
//!
//! Every number is the decisions' own: a rail's VFs are counted by the arithmetic that refuses, a waiting pod's
//! reasons by deciding about it. Names are sent once and referred to by position, so that 2,000 nodes are some 200 kB.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::decide::amounts::{Amounts, ONE};
use crate::decide::claim::{Claim, claim};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::explanation::{Against, refusals};
use crate::decide::names::{GangRef, NodeName, ResourceName, natural_order};
use crate::decide::network::Selection;
use crate::decide::node::Node;
use crate::decide::placement::{Counting, Placement, Verdict};
use crate::decide::pod::{Phase, Pod, PoolChoice, PoolRequest};
use crate::decide::settings::Settings;
use crate::decide::tier::Tiers;

/// Most kinds of waiting pod whose reasons are worked out for one picture; pods of a gang or of a Deployment are one.
const KINDS: usize = 24;

/// Most pods named for one kind.
const NAMED: usize = 8;

/// Most rails that are drawn.
const RAILS: usize = 32;

/// The picture.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chart {
    /// The rails, by resource.
    rails: Vec<String>,
    /// The label key of the closest tier; none where nodes have none.
    tier: Option<String>,
    groups: Vec<Group>,
    gangs: Vec<GangRow>,
    pools: Vec<PoolRow>,
    waiting: Vec<WaitingRow>,
    /// Waiting pods of further kinds, which are not listed.
    waiting_unlisted: usize,
}

/// A leaf group.
#[derive(Debug, Serialize)]
struct Group {
    name: String,
    nodes: Vec<NodeCell>,
}

#[derive(Debug, Serialize)]
struct NodeCell {
    name: String,
    /// For each rail: free, used, held, unfit.
    rails: Vec<[u32; 4]>,
    /// Positions of the gangs that have pods here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gangs: Vec<usize>,
    /// Positions of the gangs that places are held for here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<usize>,
    /// Why VFs are unfit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct GangRow {
    namespace: String,
    name: String,
    placed: usize,
    waiting: usize,
    ended: usize,
    size: Option<u32>,
    held: u32,
    domains: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PoolRow {
    name: String,
    free: u64,
    size: u64,
    promised: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
struct WaitingRow {
    namespace: String,
    /// The first pods of this kind by age.
    pods: Vec<String>,
    count: usize,
    gang: Option<String>,
    /// When the oldest was created.
    since: String,
    /// It fits now: the scheduler has not come to it yet.
    fits: bool,
    reasons: Vec<ReasonRow>,
}

#[derive(Debug, Serialize)]
struct ReasonRow {
    reason: String,
    nodes: usize,
    detail: String,
    remedy: &'static str,
}

/// Draws what is known and promised.
pub(super) fn chart(snapshot: &ClusterSnapshot, commitments: &Commitments, settings: &Settings) -> Chart {
    let gangs: Vec<GangRef> = snapshot.gangs.keys().cloned().collect();
    let tiers = Tiers::of(&settings.tiers, snapshot);
    let rails = rails(snapshot, settings);
    let (waiting, waiting_unlisted) = waiting(snapshot, commitments, settings);
    Chart {
        tier: tiers.key(0).map(str::to_owned),
        groups: groups(&rails, &gangs, &tiers, snapshot, commitments, settings),
        gangs: gangs
            .iter()
            .map(|gang| gang_row(gang, &tiers, snapshot, commitments))
            .collect(),
        pools: pools(&rails, snapshot, commitments, settings),
        waiting,
        waiting_unlisted,
        rails: rails
            .into_iter()
            .map(|(resource, _)| resource.to_string())
            .collect(),
    }
}

/// Each resource that a network attaches, with the claim of a pod that wants one VF of it and no address.
fn rails(snapshot: &ClusterSnapshot, settings: &Settings) -> Vec<(ResourceName, Claim)> {
    let mut rails: BTreeMap<ResourceName, Claim> = BTreeMap::new();
    for network in snapshot.networks.values() {
        let Some(resource) = network
            .reading
            .as_ref()
            .ok()
            .and_then(|reading| reading.resource.as_ref())
        else {
            continue;
        };
        if rails.contains_key(resource) {
            continue;
        }
        let probe = probe(
            resource,
            Selection {
                network: network.at.clone(),
                interface: None,
                own_guid: false,
            },
        );
        if let Ok(claim) = claim(&probe, snapshot, settings) {
            rails.insert(resource.clone(), claim);
        }
    }
    let mut rails: Vec<(ResourceName, Claim)> = rails.into_iter().collect();
    rails.sort_by(|(a, _), (b, _)| natural_order(a.as_str(), b.as_str()));
    rails.truncate(RAILS);
    rails
}

fn probe(resource: &ResourceName, selection: Selection) -> Pod {
    Pod {
        at: crate::decide::names::PodRef {
            namespace: selection.network.namespace.clone(),
            name: "".into(),
            uid: "".into(),
        },
        labels: BTreeMap::new(),
        created: String::new(),
        takes: Amounts::from_iter([(resource.clone(), ONE)]),
        needs: crate::decide::suits::NodeNeeds::default(),
        gang: Ok(None),
        scheduler: None,
        leaving: false,
        phase: Phase::Pending { refused: false },
        stateful: false,
        host_network: false,
        default_network: None,
        networks: Ok(vec![selection]),
        // An annotation that names no subnet asks for no pool.
        pools: Ok(PoolRequest::SubnetForAll(PoolChoice::default())),
    }
}

fn groups(
    rails: &[(ResourceName, Claim)],
    gangs: &[GangRef],
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<Group> {
    let placements: Vec<(&ResourceName, Placement<'_>)> = rails
        .iter()
        .map(|(resource, claim)| {
            let placement = Placement::new(claim, snapshot, commitments, settings, Counting::All);
            (resource, placement)
        })
        .collect();
    let mut placed: BTreeMap<&NodeName, BTreeSet<usize>> = BTreeMap::new();
    let mut held: BTreeMap<&NodeName, BTreeSet<usize>> = BTreeMap::new();
    for (index, gang) in gangs.iter().enumerate() {
        for node in snapshot
            .gangs
            .get(gang)
            .into_iter()
            .flat_map(|members| members.bound.values())
        {
            placed.entry(node).or_default().insert(index);
        }
        for place in commitments
            .gangs
            .get(gang)
            .into_iter()
            .flat_map(|hold| &hold.places)
        {
            held.entry(&place.node).or_default().insert(index);
        }
    }
    let of = |map: &BTreeMap<&NodeName, BTreeSet<usize>>, node: &Node| {
        map.get(&node.name).into_iter().flatten().copied().collect()
    };
    let mut groups: BTreeMap<String, Vec<NodeCell>> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        let (cells, mut why) = cells(node, &placements);
        if node.unschedulable {
            why.push("the node is cordoned");
        }
        // Nodes without any VF are not on the fabric.
        if cells.iter().flatten().all(|count| *count == 0) {
            continue;
        }
        let group = tiers
            .domain(0, &node.labels)
            .map_or_else(String::new, |domain| domain.to_string());
        groups.entry(group).or_default().push(NodeCell {
            name: node.name.to_string(),
            rails: cells,
            gangs: of(&placed, node),
            held: of(&held, node),
            why,
        });
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(name, mut nodes)| {
            nodes.sort_by(|a, b| natural_order(&a.name, &b.name));
            Group { name, nodes }
        })
        .collect();
    groups.sort_by(|a, b| natural_order(&a.name, &b.name));
    groups
}

fn cells(node: &Node, placements: &[(&ResourceName, Placement<'_>)]) -> (Vec<[u32; 4]>, Vec<&'static str>) {
    let mut why = BTreeSet::new();
    let cells = placements
        .iter()
        .map(|(resource, placement)| {
            let vfs = placement.vfs_on(node, resource);
            if vfs.unfit > 0
                && let Verdict::Refused(refusal) = placement.on(&node.name)
            {
                why.insert(refusal.reason().text());
            }
            [vfs.free, vfs.used, vfs.held, vfs.unfit]
        })
        .collect();
    (cells, why.into_iter().collect())
}

fn gang_row(gang: &GangRef, tiers: &Tiers, snapshot: &ClusterSnapshot, commitments: &Commitments) -> GangRow {
    let members = snapshot
        .gangs
        .get(gang)
        .map(AsRef::as_ref)
        .cloned()
        .unwrap_or_default();
    let size = members
        .pending
        .iter()
        .chain(members.bound.keys())
        .find_map(|uid| {
            let pod = snapshot.pending.get(uid).or_else(|| snapshot.bound.get(uid))?;
            pod.gang.as_ref().ok()?.as_ref()?.size
        });
    let domains: BTreeSet<String> = members
        .bound
        .values()
        .filter_map(|node| tiers.domain(0, &snapshot.nodes.get(node)?.labels))
        .map(|domain| domain.to_string())
        .collect();
    let hold = commitments.gangs.get(gang);
    GangRow {
        namespace: gang.namespace.to_string(),
        name: gang.name.to_string(),
        placed: members.bound.len(),
        waiting: members.pending.len(),
        ended: members.ended.len(),
        size,
        held: hold.map_or(0, |hold| hold.places.iter().map(|place| place.pods).sum()),
        domains: domains.into_iter().collect(),
    }
}

fn pools(
    rails: &[(ResourceName, Claim)],
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Vec<PoolRow> {
    // What is promised does not depend on who asks.
    let placement = rails
        .first()
        .map(|(_, claim)| Placement::new(claim, snapshot, commitments, settings, Counting::All));
    let mut rows: Vec<PoolRow> = snapshot
        .pools
        .values()
        .map(|pool| {
            let promised = placement
                .as_ref()
                .map_or(0, |placement| placement.promised().on(&pool.name));
            match &pool.reading {
                Ok(facts) => PoolRow {
                    name: pool.name.to_string(),
                    free: facts.free,
                    size: facts.size,
                    promised: promised.min(facts.free),
                    problem: facts.disabled.then(|| "disabled".to_owned()),
                },
                Err(problems) => PoolRow {
                    name: pool.name.to_string(),
                    free: 0,
                    size: 0,
                    promised: 0,
                    problem: Some(problems.to_string()),
                },
            }
        })
        .collect();
    rows.sort_by(|a, b| natural_order(&a.name, &b.name));
    rows
}

/// Waiting pods by kind, the longest waiting first; and how many are of kinds that are left out.
fn waiting(
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> (Vec<WaitingRow>, usize) {
    let mut pods: Vec<&Pod> = snapshot.pending.values().map(AsRef::as_ref).collect();
    pods.sort_by(|a, b| (&a.created, &a.at).cmp(&(&b.created, &b.at)));
    let mut kinds: Vec<(String, Vec<&Pod>)> = Vec::new();
    let mut positions: BTreeMap<String, usize> = BTreeMap::new();
    for pod in pods {
        let kind = kind(pod);
        let position = *positions.entry(kind.clone()).or_insert(kinds.len());
        if position == kinds.len() {
            kinds.push((kind, Vec::new()));
        }
        if let Some((_, pods)) = kinds.get_mut(position) {
            pods.push(pod);
        }
    }
    let unlisted = kinds.iter().skip(KINDS).map(|(_, pods)| pods.len()).sum();
    let rows = kinds
        .iter()
        .take(KINDS)
        .filter_map(|(_, pods)| row(pods, snapshot, commitments, settings))
        .collect();
    (rows, unlisted)
}

fn row(
    pods: &[&Pod],
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Option<WaitingRow> {
    let first = pods.first()?;
    // A pod that attaches no VF waits for others than us.
    if claim(first, snapshot, settings).is_ok_and(|claim| !claim.attaches_vfs) {
        return None;
    }
    let against = refusals(first, snapshot, commitments, settings);
    let refused: usize = against.iter().map(|against| against.nodes).sum();
    let gang = first.gang.as_ref().ok().and_then(Option::as_ref);
    Some(WaitingRow {
        namespace: first.at.namespace.to_string(),
        pods: pods
            .iter()
            .take(NAMED)
            .map(|pod| pod.at.name.to_string())
            .collect(),
        count: pods.len(),
        gang: gang.map(|gang| gang.name.to_string()),
        since: first.created.clone(),
        fits: refused < snapshot.nodes.size(),
        reasons: against.iter().map(reason).collect(),
    })
}

fn reason(against: &Against) -> ReasonRow {
    let example = against
        .examples
        .first()
        .map(|node| format!("{node}: "))
        .unwrap_or_default();
    ReasonRow {
        reason: against.hurdle.text(),
        nodes: against.nodes,
        detail: format!("{example}{}", against.hurdle),
        remedy: against.hurdle.remedy(),
    }
}

/// What two pods have in common that wait for the same.
fn kind(pod: &Pod) -> String {
    match &pod.gang {
        Ok(Some(gang)) => format!("{}/{}", pod.at.namespace, gang.name),
        _ => format!(
            "{} {:?} {:?} {:?} {:?} {:?}",
            pod.at.namespace, pod.labels, pod.takes, pod.needs, pod.networks, pod.pools
        ),
    }
}
