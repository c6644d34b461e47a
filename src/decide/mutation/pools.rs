//! The pools that Spiderpool will take a pod's addresses from, and why they can never serve it.
//!
//! Which pools those are is worked out by the claim, as the extender does it, so that the two cannot disagree about
//! them. The webhook is stricter in one respect: several interfaces on one and the same set of several pools, which
//! a namespace's default gives them, are told at once, and not node by node when chance has given two the same address.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Attachment, ClusterSnapshot, Findings, Interface, InterfaceName, Ipam, NetworkRef, PodFacts, PoolRequest,
    Problem, Settings, annotation, quoted,
};
use crate::decide::address::Family;
use crate::decide::names::PoolName;
use crate::decide::naming::{
    Asker, At, Candidates, OF_THE_CLUSTER, Obstacle, Rule, candidates, choice, listed,
};
use crate::decide::pod::{InterfacePools, PoolChoice};
use crate::decide::reason::{ChoiceFault, Refusal};
use crate::decide::supply::PoolSet;
use crate::decide::wildcard;

/// Where the pod's addresses will come from.
#[derive(Default)]
pub(super) struct Pools<'a> {
    /// One for each interface and family that has pools the pod may use.
    pub(super) demands: Vec<Candidates<'a>>,
    /// Interfaces that have none only for reasons that may pass, with the first of their pools.
    pub(super) closed: Vec<(InterfaceName, PoolName)>,
    /// Interfaces that the pod's annotation lists, and that take no address from Spiderpool.
    pub(super) idle: Vec<InterfaceName>,
}

/// An interface that Spiderpool gives addresses to.
pub(super) struct Client<'a> {
    name: InterfaceName,
    network: &'a NetworkRef,
    attachment: &'a Attachment,
}

/// An interface on some set of pools, and what named them.
type Sharer<'a> = (Rule, &'a Client<'a>);

/// What the pools of one pod depend on.
struct Question<'a> {
    asker: Asker<'a>,
    snapshot: &'a ClusterSnapshot,
    settings: &'a Settings,
}

impl Findings {
    /// The pools of the pod as it will be. What is wrong with them is reported.
    pub(super) fn pools<'a>(
        &mut self,
        pod: &'a PodFacts,
        interfaces: &[Interface<'_>],
        clients: &'a [Client<'a>],
        snapshot: &'a ClusterSnapshot,
        settings: &'a Settings,
    ) -> Pools<'a> {
        if clients.is_empty() {
            return Pools::default();
        }
        let mut pools = Pools::default();
        match &pod.pools {
            Err(problems) => {
                self.extend(problems.clone());
                return Pools::default();
            }
            Ok(PoolRequest::All(_)) if clients.len() > 1 => self.one_for_all(pod, clients.len()),
            Ok(PoolRequest::PerInterface(list)) => pools.idle = self.list(list, interfaces, clients),
            Ok(_) => {}
        }
        let question = Question {
            asker: Asker {
                namespace: &pod.namespace,
                labels: &pod.labels,
                pools: &pod.pools,
            },
            snapshot,
            settings,
        };
        // Sets of pools that are equal begin with the same pool, which rarely happens: then only are they compared.
        let mut alike: BTreeMap<(Family, &PoolName), Vec<(usize, Sharer<'_>)>> = BTreeMap::new();
        for client in clients {
            let at = question.at(client);
            let (rule, named) = match choice(at.asker, at.interface, &client.attachment.ipam, snapshot) {
                // What a subnet has left is the extender's to know; pools are made from it when the pod starts.
                Ok(None | Some((Rule::Subnet, _))) => continue,
                Ok(Some(named)) => named,
                Err(refusal) => {
                    let named = PoolChoice::default();
                    self.refusal(&question, client, Rule::PodPerInterface, &named, refusal);
                    continue;
                }
            };
            match candidates(at, &named, settings) {
                Ok(candidates) => {
                    for demand in candidates {
                        let same = alike.entry((demand.family, &demand.first.name)).or_default();
                        same.push((pools.demands.len(), (rule, client)));
                        pools.demands.push(demand);
                    }
                }
                Err(refusal) => {
                    if let Some(closed) = self.refusal(&question, client, rule, &named, refusal) {
                        pools.closed.push((client.name.clone(), closed));
                    }
                }
            }
        }
        for ((family, _), alike) in alike.into_iter().filter(|(_, alike)| alike.len() > 1) {
            let mut sharing: BTreeMap<PoolSet, Vec<Sharer<'_>>> = BTreeMap::new();
            for (demand, sharer) in alike {
                let demand = pools.demands.get(demand).into_iter();
                let set = demand
                    .flat_map(Candidates::pools)
                    .map(|pool| pool.name.clone())
                    .collect();
                sharing.entry(set).or_default().push(sharer);
            }
            for (set, sharers) in &sharing {
                self.shared(pod, family, set, sharers);
            }
        }
        pools
    }

    fn one_for_all(&mut self, pod: &PodFacts, count: usize) {
        let text = pod.annotations.get(annotation::IPAM_POOL);
        self.refuse(Problem::new(
            format!("pod annotation {}", annotation::IPAM_POOL),
            quoted(text.map_or("", String::as_str)),
            format!("pools per interface: this one gives all {count} interfaces the same"),
            format!(
                "remove it, so that each network's own pools apply, or write {}",
                annotation::IPAM_POOLS
            ),
        ));
    }

    /// Whether Spiderpool's agent can read `ippools`; returns the interfaces it lists that ask Spiderpool for nothing: the
    /// agent takes an address for every element of the list. Whether `eth0` is one of them is up to the cluster's own
    /// network, which is not known here.
    fn list(
        &mut self,
        list: &[InterfacePools],
        interfaces: &[Interface<'_>],
        clients: &[Client<'_>],
    ) -> Vec<InterfaceName> {
        let at = || format!("pod annotation {}", annotation::IPAM_POOLS);
        let n_named = list.iter().filter(|item| item.interface.is_some()).count();
        if n_named != 0 && n_named != list.len() {
            self.refuse(Problem::new(
                at(),
                format!("{n_named} of {} elements with an interface", list.len()),
                "an interface in every element, or in none",
                "name the interface in every element",
            ));
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        for (interface, _) in listed(list) {
            if let Some(twice) = seen.replace(interface) {
                self.refuse(Problem::new(
                    at(),
                    format!("interface {twice} twice"),
                    "each interface once",
                    "write the pools of one interface into one element",
                ));
            }
        }
        // A network that is not known yet may well be the one that makes such an interface.
        if self.lacks_networks() {
            return Vec::new();
        }
        seen.retain(|name| {
            name.as_str() != OF_THE_CLUSTER && clients.iter().all(|client| client.name != *name)
        });
        let is_there = |name: &InterfaceName| interfaces.iter().any(|own| own.name == *name);
        let (idle, nowhere): (Vec<_>, Vec<_>) = seen.into_iter().partition(is_there);
        if !nowhere.is_empty() {
            let nowhere: Vec<&str> = nowhere.iter().map(InterfaceName::as_str).collect();
            let there: Vec<&str> = interfaces.iter().map(|own| own.name.as_str()).collect();
            self.refuse(Problem::new(
                at(),
                format!("interface {}, which the pod does not have", nowhere.join(", ")),
                format!("interfaces of the pod: {}", there.join(", ")),
                "take the element out, or correct its interface",
            ));
        }
        idle
    }

    /// Makes a problem of a refusal, unless it may pass; then one of the pools that are closed for now.
    fn refusal<'a>(
        &mut self,
        question: &Question<'a>,
        client: &'a Client<'a>,
        rule: Rule,
        named: &PoolChoice,
        refusal: Refusal,
    ) -> Option<PoolName> {
        let at = place(question, client, rule, named);
        let remedy = refusal.reason().remedy();
        let (problem, may_pass) = match refusal {
            // Where no pool is known, pools are not watched, or Spiderpool has yet to be set up.
            Refusal::PoolChoice(_, ChoiceFault::Missing(_) | ChoiceFault::Nothing)
                if question.snapshot.pools.is_empty() =>
            {
                return None;
            }
            Refusal::PoolChoice(_, ChoiceFault::Missing(_)) => {
                let found = format!("no SpiderIPPool {}", missing(named, question).join(", "));
                let problem = Problem::new(at, found, "pools that exist", "create it, or correct the name");
                (problem, true)
            }
            Refusal::PoolChoice(_, ChoiceFault::Nothing) => {
                let problem = Problem::new(
                    at,
                    "no pool",
                    "a pool that exists",
                    "name one, or create one that the wildcards match",
                );
                (problem, true)
            }
            Refusal::PoolChoice(_, ChoiceFault::NotListed) => {
                let problem = Problem::new(
                    at,
                    format!("no element for interface {}", client.name),
                    "an element for every interface of Spiderpool",
                    format!("add one with \"interface\": \"{}\"", client.name),
                );
                (problem, false)
            }
            Refusal::PoolNotForPod(_, pools) => {
                let reasons: Vec<(PoolName, Vec<Obstacle>)> = pools
                    .into_iter()
                    .map(|pool| {
                        let obstacles = question.obstacles(client, named, &pool);
                        (pool, obstacles)
                    })
                    .collect();
                if let Some((pool, _)) = reasons
                    .iter()
                    .find(|(_, obstacles)| obstacles.iter().all(|obstacle| may_change(*obstacle)))
                {
                    return Some(pool.clone());
                }
                let found: Vec<String> = reasons
                    .iter()
                    .map(|(pool, obstacles)| {
                        let why: Vec<&str> = obstacles.iter().copied().map(text).collect();
                        format!("{pool}, which {}", why.join(" and "))
                    })
                    .collect();
                let wrong_family =
                    |(_, obstacles): &(PoolName, Vec<Obstacle>)| obstacles.contains(&Obstacle::Family);
                let problem = Problem::new(
                    at,
                    format!("pool {}", found.join("; pool ")),
                    "a pool that this pod may use",
                    if reasons.iter().all(wrong_family) {
                        "name IPv4 pools under ipv4, and IPv6 pools under ipv6"
                    } else {
                        remedy
                    },
                );
                (problem, false)
            }
            Refusal::PodUnreadable(problems) => {
                for problem in &problems {
                    if !self.knows(problem) {
                        self.refuse(problem.clone());
                    }
                }
                return None;
            }
            // Nothing the pod says is wrong: it waits until the pool is mended.
            Refusal::PoolUnreadable(..) => return None,
            Refusal::PoolChoice(_, fault) => (
                Problem::new(at, fault.to_string(), "pools that exist, each named once", remedy),
                false,
            ),
            other => (
                Problem::new(at, other.to_string(), "pools that can give an address", remedy),
                false,
            ),
        };
        if !self.knows(&problem) {
            if may_pass {
                self.unknown_yet(problem);
            } else {
                self.refuse(problem);
            }
        }
        None
    }

    /// Several interfaces on one set of pools. Spiderpool gives a pod that holds an address of a pool the same one
    /// again, whatever the interface.
    fn shared(&mut self, pod: &PodFacts, family: Family, set: &[PoolName], sharers: &[Sharer<'_>]) {
        let [(rule, _), _, ..] = sharers else { return };
        // An annotation for all interfaces is told as such; several pools may serve several interfaces by luck,
        // which is the extender's to count, but a default of the namespace is nobody's intention for rails.
        if *rule == Rule::PodForAll || (set.len() > 1 && *rule != Rule::Namespace) {
            return;
        }
        let names: Vec<&str> = sharers.iter().map(|(_, client)| client.name.as_str()).collect();
        let pools: Vec<&str> = set.iter().map(PoolName::as_str).collect();
        let names = names.join(", ");
        let found = match set {
            [pool] => {
                format!("interfaces {names} on one pool, {pool}: Spiderpool gives them the same address")
            }
            _ => format!(
                "interfaces {names} on the same pools, {}: Spiderpool may give them the same address",
                pools.join(", ")
            ),
        };
        let networks: BTreeSet<String> = sharers
            .iter()
            .map(|(_, client)| client.network.to_string())
            .collect();
        let per_interface = annotation::IPAM_POOLS;
        let (at, expected, remedy) = match rule {
            Rule::Namespace => (
                format!("namespace {}, annotation {}", pod.namespace, default_key(family)),
                "no default pools: they go before the pools of the networks",
                format!("remove the annotation from the namespace, or write {per_interface} on the pod"),
            ),
            Rule::PodPerInterface | Rule::PodForAll | Rule::Subnet => (
                format!("pod annotation {per_interface}"),
                "pools of its own for each interface",
                "name another pool for each interface".to_owned(),
            ),
            Rule::Network => (
                format!(
                    "network {}",
                    networks.into_iter().collect::<Vec<_>>().join(" and ")
                ),
                "pools of its own for each interface",
                format!("give each network pools of its own, or write {per_interface} on the pod"),
            ),
            Rule::Cluster => (
                "SpiderIPPool, spec.default".to_owned(),
                "pools of its own for each interface",
                format!("give each network pools of its own, or write {per_interface} on the pod"),
            ),
        };
        self.refuse(Problem::new(at, found, expected, remedy));
    }
}

impl<'a> Question<'a> {
    fn at(&self, client: &'a Client<'a>) -> At<'a> {
        At {
            asker: self.asker,
            interface: &client.name,
            network: client.network,
            snapshot: self.snapshot,
        }
    }

    /// Everything that keeps the pod from a pool; a name counts for the family it is listed under.
    fn obstacles(&self, client: &'a Client<'a>, named: &PoolChoice, pool: &PoolName) -> Vec<Obstacle> {
        let Some(facts) = self
            .snapshot
            .pools
            .get(pool)
            .and_then(|pool| pool.reading.as_ref().ok())
        else {
            return Vec::new();
        };
        let under = |names: &[String]| names.iter().any(|name| name == pool.as_str());
        let family = if under(&named.v4) {
            Family::V4
        } else if under(&named.v6) {
            Family::V6
        } else {
            // A wildcard names pools of its own family only.
            facts.family
        };
        self.at(client).obstacles(facts, family).collect()
    }
}

/// The interfaces that Spiderpool gives addresses to, in order.
pub(super) fn clients<'a>(
    pod: &'a PodFacts,
    interfaces: &'a [Interface<'_>],
    snapshot: &'a ClusterSnapshot,
) -> Vec<Client<'a>> {
    // A list of networks that cannot be read leaves the names of all interfaces open.
    if pod.host_network || pod.networks.is_err() {
        return Vec::new();
    }
    let default = pod.default_network.as_ref().ok().and_then(Option::as_ref);
    let default = default.and_then(|network| {
        Some(Client {
            name: InterfaceName::from("eth0"),
            network,
            attachment: snapshot.networks.get(network)?.reading.as_ref().ok()?,
        })
    });
    let additional = interfaces.iter().map(|interface| Client {
        name: interface.name.clone(),
        network: &interface.network,
        attachment: interface.attachment,
    });
    default
        .into_iter()
        .chain(additional)
        .filter(|client| matches!(client.attachment.ipam, Ipam::Spiderpool { .. }))
        .collect()
}

/// Where the pools of an interface are named.
fn place(question: &Question<'_>, client: &Client<'_>, rule: Rule, named: &PoolChoice) -> String {
    match rule {
        Rule::PodPerInterface => format!("pod annotation {}, {}", annotation::IPAM_POOLS, client.name),
        Rule::PodForAll => format!("pod annotation {}", annotation::IPAM_POOL),
        Rule::Subnet => format!("pod annotation {}", annotation::IPAM_SUBNETS),
        Rule::Namespace => {
            let family = if named.v4.is_empty() {
                Family::V6
            } else {
                Family::V4
            };
            format!(
                "namespace {}, annotation {}",
                question.asker.namespace,
                default_key(family)
            )
        }
        Rule::Network => format!("network {}, pools", client.network),
        Rule::Cluster => format!(
            "network {}, which names no pools, so that those with spec.default count",
            client.network
        ),
    }
}

/// The annotation with a namespace's default pools of a family.
fn default_key(family: Family) -> &'static str {
    match family {
        Family::V4 => annotation::IPAM_DEFAULT_V4,
        Family::V6 => annotation::IPAM_DEFAULT_V6,
    }
}

/// The names, wildcards aside, behind which there is no pool.
fn missing(named: &PoolChoice, question: &Question<'_>) -> Vec<String> {
    let of = |names: &'_ [String], enabled: bool| -> Vec<String> {
        names
            .iter()
            .filter(|name| enabled && !wildcard::is_wildcard(name))
            .filter(|name| !question.snapshot.pools.contains_key(name.as_str()))
            .cloned()
            .collect()
    };
    let mut missing = of(&named.v4, question.settings.ipv4);
    missing.extend(of(&named.v6, question.settings.ipv6));
    missing
}

/// Whether an obstacle may be gone before the pod runs: pools are enabled and created again, and another webhook may
/// add labels to the pod yet.
fn may_change(obstacle: Obstacle) -> bool {
    match obstacle {
        Obstacle::Terminating | Obstacle::Disabled | Obstacle::Pod => true,
        Obstacle::Family | Obstacle::Namespace | Obstacle::Network => false,
    }
}

fn text(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Terminating => "is being deleted",
        Obstacle::Disabled => "is disabled",
        Obstacle::Family => "holds addresses of the other family",
        Obstacle::Namespace => "is for other namespaces",
        Obstacle::Pod => "is for pods with other labels",
        Obstacle::Network => "is for other networks (multusName)",
    }
}
