//! Which pools an interface gets its addresses from: Spiderpool's order of precedence, its wildcards and its filters.

mod listed;
mod named;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use self::listed::{OF_THE_CLUSTER, listed};
use self::named::Named;
pub(super) use self::named::names;
use super::address::Family;
use super::claim::{Apart, Demand};
use super::cluster::ClusterSnapshot;
use super::names::{InterfaceName, NamespaceName, NetworkRef, PoolName};
use super::network::{Attachment, Ipam};
use super::pod::{Pod, PoolChoice, PoolRequest};
use super::pool::{Pool, PoolFacts};
use super::problem::Problems;
use super::reason::{ChoiceFault, Refusal};
use super::selector::Labels;
use super::settings::Settings;

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
    pub(super) fn of(pod: &'a Pod) -> Self {
        Self {
            namespace: &pod.at.namespace,
            labels: &pod.labels,
            pools: &pod.pools,
        }
    }
}

/// An interface of the pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'a> {
    /// Its network.
    pub(super) network: &'a NetworkRef,
    /// It takes its address from Spiderpool.
    pub(super) asks: bool,
}

/// What named the pools of an interface, in Spiderpool's order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The pod, a subnet from which a pool is made.
    Subnet,
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
        PoolRequest::Subnets(list) => {
            return Ok(Some((Rule::Subnet, of_subnets(&listed::own(list, interface)?))));
        }
        // An annotation that names none: what Spiderpool makes of it is not predicted.
        PoolRequest::SubnetForAll(choice) if *choice == PoolChoice::default() => return Ok(None),
        PoolRequest::SubnetForAll(choice) => return Ok(Some((Rule::Subnet, of_subnets(choice)))),
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

/// The pools that stand for the subnets named; Spiderpool uses the first of each family.
fn of_subnets(choice: &PoolChoice) -> PoolChoice {
    let first = |names: &[String]| {
        let first = names.first().into_iter();
        first.map(|name| PoolName::of_subnet(name).to_string()).collect()
    };
    PoolChoice {
        v4: first(&choice.v4),
        v6: first(&choice.v6),
    }
}

/// One address that Spiderpool will be asked for, and the pools it can come from, which are looked through only as far
/// as someone asks: a wildcard may match hundreds.
pub(super) struct Candidates<'a> {
    /// Of the address.
    pub(super) family: Family,
    /// The first of the pools, in order of name.
    pub(super) first: &'a Arc<Pool>,
    named: Named<'a>,
    at: At<'a>,
}

/// Who asks for an address, on which network, and what is known.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// Who asks.
    pub(super) asker: Asker<'a>,
    /// The interface it is for.
    pub(super) interface: &'a InterfaceName,
    /// Its network.
    pub(super) network: &'a NetworkRef,
    /// What is known.
    pub(super) snapshot: &'a ClusterSnapshot,
}

impl<'a> Candidates<'a> {
    /// The interface that the address is for.
    pub(super) fn interface(&self) -> &'a InterfaceName {
        self.at.interface
    }

    /// Every pool the pod may take it from on some node, in order of name.
    pub(super) fn pools(&self) -> impl Iterator<Item = &'a Arc<Pool>> + '_ {
        let at = self.at;
        let admits = move |facts: &PoolFacts| at.obstacles(facts, self.family).next().is_none();
        let named = self.named.iter(at.snapshot);
        named.filter(move |pool| pool.reading.as_ref().is_ok_and(admits))
    }
}

/// The addresses Spiderpool will be asked for on one interface.
pub(super) fn demands(
    at: At<'_>,
    attachment: &Attachment,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let Some((_, choice)) = choice(at.asker, at.interface, &attachment.ipam, at.snapshot)? else {
        return Ok(Vec::new());
    };
    let apart = match attachment.ipam {
        Ipam::Spiderpool { by_subnet: true, .. } => Apart::Subnets,
        _ => Apart::Pools,
    };
    chosen(at, &choice, apart, settings)
}

/// What the agent allocates for interfaces that ask Spiderpool for nothing, because the pod's annotation lists them. The
/// name of the cluster's network is the agent's business, so a pool that is tied to networks is not counted on for it.
pub(super) fn beside(
    pod: &Pod,
    list: &[super::pod::InterfacePools],
    own: &BTreeMap<InterfaceName, Own<'_>>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let unknown = NetworkRef::new("", "");
    let mut demands = Vec::new();
    for (interface, choice) in listed::beside(list, own)? {
        if *choice == PoolChoice::default() {
            continue;
        }
        let at = At {
            asker: Asker::of(pod),
            interface: &interface,
            network: own.get(&interface).map_or(&unknown, |own| own.network),
            snapshot,
        };
        let apart = if interface.as_str() == OF_THE_CLUSTER {
            Apart::Pools
        } else {
            Apart::Nothing
        };
        demands.extend(chosen(at, choice, apart, settings)?);
    }
    Ok(demands)
}

/// One address per family out of the pools that were chosen for an interface.
fn chosen(
    at: At<'_>,
    choice: &PoolChoice,
    apart: Apart,
    settings: &Settings,
) -> Result<Vec<Demand>, Refusal> {
    let demand = |candidates: Candidates<'_>| Demand {
        interface: at.interface.clone(),
        family: candidates.family,
        candidates: candidates.pools().cloned().collect(),
        apart,
    };
    Ok(candidates(at, choice, settings)?
        .into_iter()
        .map(demand)
        .collect())
}

/// The addresses that an interface takes of the pools chosen for it, one per family.
pub(super) fn candidates<'a>(
    at: At<'a>,
    choice: &PoolChoice,
    settings: &Settings,
) -> Result<Vec<Candidates<'a>>, Refusal> {
    let mut all = Vec::new();
    for (family, names, enabled) in [
        (Family::V4, &choice.v4, settings.ipv4),
        (Family::V6, &choice.v6, settings.ipv6),
    ] {
        if !enabled {
            continue;
        }
        let named = Named::resolve(names, family, at.interface, at.snapshot)?;
        if let Some(first) = first(&named, family, at)? {
            all.push(Candidates {
                family,
                first,
                named,
                at,
            });
        }
    }
    if all.is_empty() {
        return Err(Refusal::PoolChoice(at.interface.clone(), ChoiceFault::Nothing));
    }
    Ok(all)
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

impl At<'_> {
    /// Everything that keeps the pod from a pool that is named for a family.
    pub(super) fn obstacles(
        self,
        pool: &PoolFacts,
        family: Family,
    ) -> impl Iterator<Item = Obstacle> + use<> {
        let empty = Labels::new();
        let namespace_labels = self
            .snapshot
            .namespaces
            .get(self.asker.namespace)
            .map_or(&empty, |namespace| &namespace.labels);
        let for_pod = pool
            .pods
            .as_ref()
            .is_none_or(|selector| selector.matches(self.asker.labels));
        let for_network = pool.networks.is_empty() || pool.networks.contains(self.network);
        [
            (Obstacle::Terminating, pool.terminating),
            (Obstacle::Disabled, pool.disabled),
            (Obstacle::Family, pool.family != family),
            (
                Obstacle::Namespace,
                !pool.namespaces.admits(self.asker.namespace, namespace_labels),
            ),
            (Obstacle::Pod, !for_pod),
            (Obstacle::Network, !for_network),
        ]
        .into_iter()
        .filter_map(|(obstacle, there)| there.then_some(obstacle))
    }
}

/// Of the pools named, the first that this pod may use on some node; none where none is named.
fn first<'a>(named: &Named<'a>, family: Family, at: At<'a>) -> Result<Option<&'a Arc<Pool>>, Refusal> {
    let admits = |facts: &PoolFacts| at.obstacles(facts, family).next().is_none();
    let mut pools = named.iter(at.snapshot).peekable();
    if pools.peek().is_none() {
        return Ok(None);
    }
    if let Some(first) = pools.find(|pool| pool.reading.as_ref().is_ok_and(admits)) {
        return Ok(Some(first));
    }
    for pool in named.iter(at.snapshot) {
        if let Err(problems) = &pool.reading {
            return Err(Refusal::PoolUnreadable(pool.name.clone(), problems.clone()));
        }
    }
    Err(Refusal::PoolNotForPod(
        at.interface.clone(),
        named.iter(at.snapshot).map(|pool| pool.name.clone()).collect(),
    ))
}
