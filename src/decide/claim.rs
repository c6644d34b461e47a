//! A claim: what one pod needs of a node and of the pools, worked out once for all candidate nodes.

mod listed;
mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::address::Family;
use super::amounts::Amounts;
use super::cluster::ClusterSnapshot;
use super::names::{GangRef, InterfaceName, NamespaceName, NetworkRef, PodRef, PoolName, ResourceName};
use super::network::{Attachment, Ipam, Plugin, Selection};
use super::node::{Node, PfFault};
use super::pod::{Pod, PoolChoice, PoolRequest};
use super::policy::Locality;
use super::pool::{Pool, PoolFacts};
use super::problem::Problems;
use super::reason::{ChoiceFault, Refusal};
use super::selector::Labels;
use super::settings::Settings;
use super::suits::NodeNeeds;

/// What one pod needs.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it is.
    pub pod: PodRef,
    /// What it takes of its node, of every resource.
    pub takes: Amounts,
    /// What it asks of its node beside resources.
    pub needs: NodeNeeds,
    /// Its gang, with the locality in force.
    pub gang: Option<GangClaim>,
    /// VFs per resource, with what its networks ask of the PFs behind them.
    pub vfs: BTreeMap<ResourceName, VfNeed>,
    /// Some network of the pod attaches one of those VFs: it asked for RDMA, not just for some extended resource.
    pub attaches_vfs: bool,
    /// A network that needs a node in exclusive RDMA mode, where there is one.
    pub exclusive: Option<NetworkRef>,
    /// Addresses, one for each interface and family.
    pub demands: Vec<Demand>,
}

/// The gang of a claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GangClaim {
    /// Which.
    pub at: GangRef,
    /// How many pods it has, where that is known.
    pub size: Option<u32>,
    /// Where it may run.
    pub locality: Locality,
}

/// VFs of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VfNeed {
    /// How many.
    pub count: u32,
    /// They must stand on an InfiniBand PF.
    pub infiniband: bool,
    /// They must have a GUID of their own, because nobody gives them one.
    pub own_guid: bool,
    /// The number of the rail they belong to, where the pod's networks agree on one.
    pub rail: Option<u32>,
}

impl VfNeed {
    /// Whether a fault of a PF keeps its VFs from serving this need.
    #[must_use]
    pub fn hindered_by(&self, fault: PfFault) -> bool {
        match fault {
            PfFault::Down | PfFault::VfsDiffer => true,
            PfFault::NotInfiniband => self.infiniband,
            PfFault::GuidUnset => self.own_guid,
        }
    }
}

/// One address for one interface.
#[derive(Clone, Debug)]
pub struct Demand {
    /// The interface inside the pod.
    pub interface: InterfaceName,
    /// The family of the address.
    pub family: Family,
    /// Every pool this pod may take it from on some node, in order of name; never empty.
    pub candidates: Vec<Arc<Pool>>,
    /// Which of them it is on a node is settled there, by the PF's own subnet (`match_master_subnet`).
    pub by_subnet: bool,
}

impl Demand {
    /// The pools this address can come from on `node`, in order of name. Spiderpool tries them in no order that
    /// can be relied on.
    #[must_use]
    pub fn on(&self, node: &Node) -> Vec<PoolName> {
        self.candidates
            .iter()
            .filter(|pool| {
                pool.reading
                    .as_ref()
                    .is_ok_and(|facts| facts.nodes.admits(&node.name, &node.labels))
            })
            .map(|pool| pool.name.clone())
            .collect()
    }

    /// Whether the answer of [`Demand::on`] depends on the node.
    #[must_use]
    pub fn differs_by_node(&self) -> bool {
        self.candidates
            .iter()
            .any(|pool| pool.reading.as_ref().is_ok_and(|facts| !facts.nodes.is_open()))
    }
}

/// What `pod` needs; or why no node can have it.
///
/// # Errors
/// A refusal that holds for every node: an annotation, a network or a choice of pools that cannot work.
pub fn claim(pod: &Pod, snapshot: &ClusterSnapshot, settings: &Settings) -> Result<Claim, Refusal> {
    let mut claim = Claim {
        pod: pod.at.clone(),
        takes: pod.takes.clone(),
        needs: pod.needs.clone(),
        gang: gang(pod, settings)?,
        vfs: pod
            .takes
            .iter()
            .filter(|(resource, amount)| resource.is_extended() && *amount > 0)
            .map(|(resource, _)| {
                (
                    resource.clone(),
                    VfNeed {
                        count: pod.takes.count(resource),
                        ..VfNeed::default()
                    },
                )
            })
            .collect(),
        attaches_vfs: false,
        exclusive: None,
        demands: Vec::new(),
    };
    let mut networked = BTreeSet::new();
    let mut numbered: BTreeMap<ResourceName, Option<u32>> = BTreeMap::new();
    let mut asking = BTreeSet::new();
    for (interface, selection) in interfaces(pod)? {
        let attachment = attachment(selection, snapshot)?;
        if matches!(attachment.ipam, Ipam::Spiderpool { .. }) {
            asking.insert(interface.clone());
        }
        if let Some(resource) = &attachment.resource {
            networked.insert(resource.clone());
            if let Some(need) = claim.vfs.get_mut(resource) {
                need.rail = match (numbered.insert(resource.clone(), attachment.rail), need.rail) {
                    (None, _) => attachment.rail,
                    (Some(before), rail) if before == attachment.rail => rail,
                    (Some(_), _) => None,
                };
            }
            if let (Some(need), Plugin::IbSriov { ib_kubernetes, .. }) =
                (claim.vfs.get_mut(resource), attachment.plugin)
            {
                need.infiniband = true;
                need.own_guid |= !ib_kubernetes && !selection.own_guid;
            }
        }
        if attachment.plugin.rdma_isolation() && claim.exclusive.is_none() {
            claim.exclusive = Some(selection.network.clone());
        }
        claim.demands.extend(demands(
            Asker::of(pod),
            &interface,
            &selection.network,
            attachment,
            snapshot,
            settings,
        )?);
    }
    if let (Ok(PoolRequest::PerInterface(list)), false) = (&pod.pools, asking.is_empty()) {
        claim
            .demands
            .extend(of_the_cluster(pod, list, &asking, snapshot, settings)?);
    }
    // Other extended resources of the pod (GPUs) are the scheduler's own business: it has counted them before
    // it asks. A pod that asks for VFs without naming a network gives nothing to tell them apart by.
    if !networked.is_empty() {
        claim.attaches_vfs = networked.iter().any(|resource| claim.vfs.contains_key(resource));
        claim.vfs.retain(|resource, _| networked.contains(resource));
    }
    Ok(claim)
}

fn gang(pod: &Pod, settings: &Settings) -> Result<Option<GangClaim>, Refusal> {
    let gang = pod
        .gang
        .as_ref()
        .map_err(|problems| Refusal::PodUnreadable(problems.clone()))?;
    Ok(gang.as_ref().map(|gang| GangClaim {
        at: GangRef {
            namespace: pod.at.namespace.clone(),
            name: gang.name.clone(),
        },
        size: gang.size,
        locality: gang.locality.clone().unwrap_or_else(|| settings.locality.clone()),
    }))
}

/// The interfaces Multus will make, with their names: `eth0` for a default network, then by position.
fn interfaces(pod: &Pod) -> Result<Vec<(InterfaceName, &Selection)>, Refusal> {
    let networks = pod
        .networks
        .as_ref()
        .map_err(|problems| Refusal::PodUnreadable(problems.clone()))?;
    if pod.host_network {
        return Ok(Vec::new());
    }
    let default = pod
        .default_network
        .iter()
        .map(|selection| (InterfaceName::from("eth0"), selection));
    let additional = networks.iter().zip(1_u32..).map(|(selection, position)| {
        let name = selection
            .interface
            .clone()
            .unwrap_or_else(|| format!("net{position}").into());
        (name, selection)
    });
    Ok(default.chain(additional).collect())
}

fn attachment<'a>(selection: &Selection, snapshot: &'a ClusterSnapshot) -> Result<&'a Attachment, Refusal> {
    let network = snapshot
        .networks
        .get(&selection.network)
        .ok_or_else(|| Refusal::NetworkMissing(selection.network.clone()))?;
    network
        .reading
        .as_ref()
        .map_err(|problems| Refusal::NetworkUnreadable(selection.network.clone(), problems.clone()))
}

/// Who asks for addresses, as far as pools look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The pod's namespace.
    pub(super) namespace: &'a NamespaceName,
    /// The pod's labels.
    pub(super) labels: &'a Labels,
    /// The pools it names itself, or what is wrong with them.
    pub(super) pools: &'a Result<PoolRequest, Problems>,
}

impl<'a> Asker<'a> {
    fn of(pod: &'a Pod) -> Self {
        Self {
            namespace: &pod.at.namespace,
            labels: &pod.labels,
            pools: &pod.pools,
        }
    }
}

/// What named the pools of an interface, in Spiderpool's order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The pod, for each interface.
    PodPerInterface,
    /// The pod, for all interfaces.
    PodForAll,
    /// The namespace's defaults.
    Namespace,
    /// The network.
    Network,
    /// Nothing: the pools marked as the cluster's default.
    Cluster,
}

/// The pools named for one interface, and what named them; none where pools are made for the pod when it starts.
/// The first rule that names pools counts alone, even when its pools are full (Spiderpool,
/// `pkg/ipam/pool_selections.go`).
pub(super) fn choice(
    asker: Asker<'_>,
    interface: &InterfaceName,
    ipam: &Ipam,
    snapshot: &ClusterSnapshot,
) -> Result<Option<(Rule, PoolChoice)>, Refusal> {
    let Ipam::Spiderpool { v4, v6, .. } = ipam else {
        return Ok(None);
    };
    let unreadable = |problems: &Problems| Refusal::PodUnreadable(problems.clone());
    match asker.pools.as_ref().map_err(unreadable)? {
        // What the subnet has left is not known here.
        PoolRequest::Subnet => return Ok(None),
        PoolRequest::PerInterface(list) => {
            return Ok(Some((Rule::PodPerInterface, listed::own(list, interface)?)));
        }
        PoolRequest::All(choice) => return Ok(Some((Rule::PodForAll, choice.clone()))),
        PoolRequest::None => {}
    }
    let namespace = snapshot.namespaces.get(asker.namespace);
    let default = match namespace.map(|namespace| &namespace.default_pools) {
        Some(default) => default.as_ref().map_err(unreadable)?.clone(),
        None => PoolChoice::default(),
    };
    Ok(Some(if default != PoolChoice::default() {
        (Rule::Namespace, default)
    } else if !v4.is_empty() || !v6.is_empty() {
        let own = PoolChoice {
            v4: v4.clone(),
            v6: v6.clone(),
        };
        (Rule::Network, own)
    } else {
        (Rule::Cluster, named::by_default(snapshot))
    }))
}

/// The addresses Spiderpool will be asked for on one interface.
pub(super) fn demands(
    asker: Asker<'_>,
    interface: &InterfaceName,
    network: &NetworkRef,
    attachment: &Attachment,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let Some((_, choice)) = choice(asker, interface, &attachment.ipam, snapshot)? else {
        return Ok(Vec::new());
    };
    let by_subnet = matches!(attachment.ipam, Ipam::Spiderpool { by_subnet: true, .. });
    chosen(asker, interface, network, &choice, by_subnet, snapshot, settings)
}

/// What the agent allocates for the cluster's own network because the pod's annotation lists it. That network's name is
/// the agent's business, so a pool that is tied to networks is not counted on.
fn of_the_cluster(
    pod: &Pod,
    list: &[super::pod::InterfacePools],
    asking: &BTreeSet<InterfaceName>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let Some((interface, choice)) = listed::of_the_cluster(list, asking)? else {
        return Ok(Vec::new());
    };
    if choice == PoolChoice::default() {
        return Ok(Vec::new());
    }
    let unknown = NetworkRef::new("", "");
    chosen(
        Asker::of(pod),
        &interface,
        &unknown,
        &choice,
        false,
        snapshot,
        settings,
    )
}

/// One address per family out of the pools that were chosen for an interface.
fn chosen(
    asker: Asker<'_>,
    interface: &InterfaceName,
    network: &NetworkRef,
    choice: &PoolChoice,
    by_subnet: bool,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let mut demands = Vec::new();
    for (family, names, enabled) in [
        (Family::V4, &choice.v4, settings.ipv4),
        (Family::V6, &choice.v6, settings.ipv6),
    ] {
        let named = if enabled {
            named::resolve(names, family, interface, snapshot)?
        } else {
            Vec::new()
        };
        if named.is_empty() {
            continue;
        }
        let candidates = usable(&named, family, asker, interface, network, snapshot)?;
        demands.push(Demand {
            interface: interface.clone(),
            family,
            candidates,
            by_subnet,
        });
    }
    if demands.is_empty() {
        return Err(Refusal::PoolChoice(interface.clone(), ChoiceFault::Nothing));
    }
    Ok(demands)
}

/// What keeps a pod from a pool, on whatever node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The pool is being deleted.
    Terminating,
    /// The pool is disabled.
    Disabled,
    /// Its addresses are of the other family.
    Family,
    /// It is for other namespaces.
    Namespace,
    /// It is for other pods.
    Pod,
    /// It is for other networks.
    Network,
}

/// Everything that keeps the pod from a pool.
pub(super) fn obstacles(
    pool: &PoolFacts,
    family: Family,
    asker: Asker<'_>,
    network: &NetworkRef,
    snapshot: &ClusterSnapshot,
) -> Vec<Obstacle> {
    let empty = Labels::new();
    let namespace_labels = snapshot
        .namespaces
        .get(asker.namespace)
        .map_or(&empty, |namespace| &namespace.labels);
    let for_pod = pool
        .pods
        .as_ref()
        .is_none_or(|selector| selector.matches(asker.labels));
    let for_network = pool.networks.is_empty() || pool.networks.contains(network);
    [
        (Obstacle::Terminating, pool.terminating),
        (Obstacle::Disabled, pool.disabled),
        (Obstacle::Family, pool.family != family),
        (
            Obstacle::Namespace,
            !pool.namespaces.admits(asker.namespace, namespace_labels),
        ),
        (Obstacle::Pod, !for_pod),
        (Obstacle::Network, !for_network),
    ]
    .into_iter()
    .filter_map(|(obstacle, there)| there.then_some(obstacle))
    .collect()
}

/// Of the pools named, those that this pod may use on some node.
fn usable(
    named: &[Arc<Pool>],
    family: Family,
    asker: Asker<'_>,
    interface: &InterfaceName,
    network: &NetworkRef,
    snapshot: &ClusterSnapshot,
) -> Result<Vec<Arc<Pool>>, Refusal> {
    let admits = |facts: &PoolFacts| obstacles(facts, family, asker, network, snapshot).is_empty();
    let candidates: Vec<Arc<Pool>> = named
        .iter()
        .filter(|pool| pool.reading.as_ref().is_ok_and(admits))
        .cloned()
        .collect();
    if !candidates.is_empty() {
        return Ok(candidates);
    }
    for pool in named {
        if let Err(problems) = &pool.reading {
            return Err(Refusal::PoolUnreadable(pool.name.clone(), problems.clone()));
        }
    }
    Err(Refusal::PoolNotForPod(
        interface.clone(),
        named.iter().map(|pool| pool.name.clone()).collect(),
    ))
}
