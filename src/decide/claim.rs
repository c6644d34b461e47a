//! A claim: what one pod needs of a node and of the pools, worked out once for all candidate nodes.

mod keeping;
mod known;

pub use self::known::Claims;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::keeping::Keeping;
use super::address::Family;
use super::amounts::Amounts;
use super::cluster::ClusterSnapshot;
use super::names::{GangRef, InterfaceName, NetworkRef, PodRef, PoolName, ResourceName};
use super::naming::{Asker, At, Own, beside, demands};
use super::network::{Attachment, Ipam, Plugin, Selection};
use super::node::{Node, PfFault};
use super::pod::{Pod, PoolRequest};
use super::policy::Locality;
use super::pool::Pool;
use super::reason::{ChoiceFault, Refusal};
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
    pub demands: Arc<[Demand]>,
    /// Addresses that it has already, and that need no free one.
    pub kept: Vec<(InterfaceName, Arc<Pool>)>,
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
    /// The scheduler places it as a whole by itself.
    pub by_scheduler: bool,
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
            PfFault::Down | PfFault::VfsDiffer | PfFault::MtuDiffers => true,
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
    /// What keeps it from being another interface's, too.
    pub apart: Apart,
}

/// What keeps one address of a pod apart from another: Spiderpool gives a pod that holds an address of a pool the same one
/// again, whatever the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// Pools of its own.
    Pools,
    /// The PF's own subnet settles on the node which of several pools it is (`match_master_subnet`).
    Subnets,
    /// Nothing: the interface is only listed, and nobody uses its address.
    Nothing,
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

    /// Whether wherever the `other` address of the pod comes from, it is one for this demand, too.
    fn goes_with(&self, other: &Self) -> bool {
        let own = |pool: &Arc<Pool>| self.candidates.iter().any(|own| own.name == pool.name);
        self.apart == Apart::Nothing && other.candidates.iter().all(own)
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
        demands: Arc::from([]),
        kept: Vec::new(),
    };
    let mut addresses: Vec<Demand> = Vec::new();
    let mut networked = BTreeSet::new();
    let mut numbered: BTreeMap<ResourceName, Option<u32>> = BTreeMap::new();
    let mut own = BTreeMap::new();
    let mut keeping = Keeping::of(pod, snapshot);
    for (interface, selection) in interfaces(pod)? {
        let attachment = attachment(selection, snapshot)?;
        let is = Own {
            network: &selection.network,
            asks: matches!(attachment.ipam, Ipam::Spiderpool { .. }),
        };
        own.insert(interface.clone(), is);
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
        let at = At {
            asker: Asker::of(pod),
            interface: &interface,
            network: &selection.network,
            snapshot,
        };
        let kept = keeping.on(at, &attachment.ipam)?;
        if kept.is_empty() {
            addresses.extend(demands(at, attachment, settings)?);
        }
        claim
            .kept
            .extend(kept.into_iter().map(|pool| (interface.clone(), pool)));
    }
    if let (Ok(PoolRequest::PerInterface(list)), true) = (&pod.pools, own.values().any(|own| own.asks)) {
        let beside = beside(pod, list, &own, snapshot, settings);
        if addresses.is_empty() && !claim.kept.is_empty() {
            // Nothing is allocated, so that no more is asked of the list than that the agent can read it.
            beside.map(drop).or_else(unless_unreadable)?;
        } else {
            for demand in beside? {
                if !addresses.iter().any(|other| demand.goes_with(other)) {
                    addresses.push(demand);
                }
            }
            addresses.extend(allocated_again(pod, &claim.kept, snapshot, settings)?);
        }
    }
    claim.demands = addresses.into();
    // Other extended resources of the pod (GPUs) are the scheduler's own business: it has counted them before
    // it asks. A pod that asks for VFs without naming a network gives nothing to tell them apart by.
    if !networked.is_empty() {
        claim.attaches_vfs = networked.iter().any(|resource| claim.vfs.contains_key(resource));
        claim.vfs.retain(|resource, _| networked.contains(resource));
    }
    Ok(claim)
}

/// With a list of pools for each interface, the agent allocates for all that are listed at once, and where one has its
/// address it gets that again only out of a pool that the pod may use still.
fn allocated_again(
    pod: &Pod,
    kept: &[(InterfaceName, Arc<Pool>)],
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let mut again = Vec::new();
    for (interface, selection) in interfaces(pod)? {
        let own: Vec<&PoolName> = kept
            .iter()
            .filter(|(of, _)| *of == interface)
            .map(|(_, pool)| &pool.name)
            .collect();
        if own.is_empty() {
            continue;
        }
        let at = At {
            asker: Asker::of(pod),
            interface: &interface,
            network: &selection.network,
            snapshot,
        };
        let demands = demands(at, attachment(selection, snapshot)?, settings)?;
        let found = |demand: &Demand| demand.candidates.iter().any(|pool| own.contains(&&pool.name));
        again.extend(demands.into_iter().filter(|demand| !found(demand)));
    }
    Ok(again)
}

/// What is wrong with a list of pools for each interface, where the agent does not even take it apart.
fn unless_unreadable(refusal: Refusal) -> Result<(), Refusal> {
    match refusal {
        Refusal::PoolChoice(
            _,
            ChoiceFault::ListedTwice | ChoiceFault::NamedInPart | ChoiceFault::ByPosition,
        ) => Err(refusal),
        _ => Ok(()),
    }
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
        locality: match &gang.locality {
            _ if gang.by_scheduler => Locality::None,
            Some(locality) => locality.clone(),
            None => settings.locality.clone(),
        },
        by_scheduler: gang.by_scheduler,
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
