//! Admission: what a pod that opted in needs to run, or why it never can.
//!
//! The target is worked out from the pod as it stands and from the cluster, and only the difference is asked for:
//! a pod that has it all is left as it is. That is what makes the answer the same when kube-apiserver asks again
//! after another webhook (reinvocation), and when a pod is created from a copy of an admitted one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::annotation;
use super::cluster::ClusterSnapshot;
use super::names::{
    ContainerName, GangName, InterfaceName, NamespaceName, NetworkRef, ProfileName, ResourceName,
    SchedulerName,
};
use super::network::{Attachment, Ipam, Network, NodeLabel, Plugin};
use super::pod::PoolRequest;
use super::policy::{self, Annotations, Locality, PodPolicy, Rails, Wanted};
use super::problem::{Problem, Problems, quoted};
use super::settings::{SchedulerMode, Settings};

mod devices;
pub(in crate::decide) mod gang;
pub(in crate::decide) mod links;
mod nodes;
mod pod;
mod podnetinfo;
mod pools;
mod refusals;
mod warnings;

pub use self::devices::PodClaim;
pub use self::gang::Owner;
pub use self::links::problems as link_problems;
pub use self::pod::{ContainerFacts, Hugepages, OwnNetwork, PodFacts, Told};
pub use self::podnetinfo::{MetadataFile, PodnetinfoChange};
use self::refusals::Findings;

/// The verdict on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It asks nothing of us.
    NotAsked,
    /// It can never run as it is.
    Denied(Denial),
    /// It can, with these changes, of which there may be none.
    Mutate(Box<Mutation>),
}

/// Why a pod is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Everything that is wrong.
    pub problems: Problems,
    /// The profile it asked for, where that could be read.
    pub profile: Option<ProfileName>,
    /// All of it is that something is not known: a moment later it may be, when the objects of one
    /// `kubectl apply` arrive in whatever order.
    pub may_pass: bool,
}

/// What changes on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Networks to append to those it lists, in this order.
    pub networks: Vec<NetworkRef>,
    /// Resources to set, as requests and limits alike.
    pub vfs: Vec<VfChange>,
    /// The container that is to be allowed to lock memory (RDMA registers it).
    pub lock_memory: Option<Place>,
    /// The scheduler to name.
    pub scheduler: Option<SchedulerName>,
    /// The gang it belongs to.
    pub gang: Option<GangChange>,
    /// The container that is to be told the pod's place on the fabric.
    pub position: Option<Place>,
    /// Labels to ask of its node, besides those it asks for.
    pub nodes: Vec<NodeLabel>,
    /// How the pod is shown its own metadata.
    pub podnetinfo: PodnetinfoChange,
    /// A newer snapshot may tell more (the size of the gang).
    pub may_grow: bool,
    /// What the pod has then; none where it takes part in nothing of ours.
    pub record: Option<Record>,
    /// What the user should know, most important first.
    pub warnings: Vec<String>,
}

/// The gang of a pod, resolved, so that the extender needs no second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GangChange {
    /// Its name, as a label can carry it.
    pub name: GangName,
    /// How many pods it has, where that is known.
    pub size: Option<u32>,
    /// Where it may run.
    pub locality: Locality,
}

/// The number of a resource on a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfChange {
    /// The container.
    pub container: Place,
    /// The resource.
    pub resource: ResourceName,
    /// How many it takes then.
    pub count: u32,
}

/// A container by its place in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In `spec.containers`.
    Container(usize),
    /// In `spec.initContainers`.
    InitContainer(usize),
}

/// What `pointsman.io/injected` records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The profile, unless the pod asked for its own networks only.
    pub profile: Option<ProfileName>,
    /// Every network that takes a VF, in the order of the pod's list.
    pub rails: Vec<RailRecord>,
    /// The container that was chosen.
    pub container: ContainerName,
}

/// One network of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RailRecord {
    /// The network.
    pub network: NetworkRef,
    /// The resource its VF comes from.
    pub resource: ResourceName,
    /// The interface it becomes in the pod.
    pub interface: InterfaceName,
}

/// A network of the pod as it will be: where Multus puts it, and what it attaches.
struct Interface<'a> {
    network: NetworkRef,
    name: InterfaceName,
    attachment: &'a Attachment,
}

/// Decides on a pod that is being created.
#[must_use]
pub fn admit(pod: &PodFacts, snapshot: &ClusterSnapshot, settings: &Settings) -> Admission {
    let nothing = Annotations::new();
    let namespace = snapshot
        .namespaces
        .get(&pod.namespace)
        .map_or(&nothing, |namespace| &namespace.annotations);
    let policy = match policy::read(&pod.annotations, namespace) {
        Ok(Some(policy)) => policy,
        Ok(None) => return Admission::NotAsked,
        Err(mut problems) => {
            if let Err(more) = &pod.networks {
                problems.extend(more.clone());
            }
            return Admission::Denied(Denial {
                problems,
                profile: None,
                may_pass: false,
            });
        }
    };
    let asks_for_nothing = policy.wanted == Wanted::OwnNetworks
        && pod.networks.as_ref().is_ok_and(Vec::is_empty)
        && pod.default_network == Ok(None);
    if asks_for_nothing {
        return if pod.annotations.contains_key(annotation::INJECT) {
            Admission::Mutate(Box::new(Mutation::nothing(vec![warnings::no_networks()])))
        } else {
            Admission::NotAsked
        };
    }
    complete(pod, &policy, snapshot, settings)
}

/// Works out what a pod that opted in needs, and refuses what cannot be.
fn complete(
    pod: &PodFacts,
    policy: &PodPolicy,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Admission {
    let mut findings = Findings::default();
    let nobody = Vec::new();
    let own = match &pod.networks {
        Ok(own) => own,
        Err(problems) => {
            findings.extend(problems.clone());
            &nobody
        }
    };
    let rails = match &policy.wanted {
        Wanted::Profile(profile) => findings.rails(profile, policy.rails, own, snapshot),
        Wanted::OwnNetworks => Vec::new(),
    };
    let listed: BTreeSet<&NetworkRef> = own.iter().map(|own| &own.selection.network).collect();
    let appended: Vec<NetworkRef> = rails
        .iter()
        .map(|network| network.at.clone())
        .filter(|network| !listed.contains(network))
        .collect();
    let interfaces = findings.interfaces(own, &appended, snapshot);
    findings.reach(&pod.namespace, &interfaces, settings);
    let default_network = findings.default_network(pod, snapshot);

    let attachments = || {
        let additional = interfaces.iter().map(|interface| interface.attachment);
        additional.chain(default_network.as_ref().map(|(_, attachment)| *attachment))
    };
    let takes_device = attachments().any(|attachment| attachment.resource.is_some());
    let mut needs: BTreeMap<&ResourceName, u32> = BTreeMap::new();
    for resource in attachments().flat_map(|attachment| attachment.resource.iter().chain(&attachment.further))
    {
        *needs.entry(resource).or_default() += 1;
    }
    let nodes = findings.nodes(pod, &interfaces, default_network);
    findings.links(&interfaces);
    let clients = pools::clients(pod, &interfaces, snapshot);
    let pools = findings.pools(pod, &interfaces, &clients, snapshot, settings);
    findings.pod(pod, &interfaces, &needs, settings);
    findings.devices(pod, &needs, snapshot);
    let target = findings.target(pod, policy, &needs, settings);
    let gang = gang::of(pod, policy, snapshot, settings);
    findings.locality(gang.as_ref().map(|(gang, _)| gang), snapshot, settings);
    let crowded = findings.gang_size(pod, policy, gang.as_ref().map(|(gang, _)| gang), snapshot);

    let profile = match &policy.wanted {
        Wanted::Profile(profile) => Some(profile.clone()),
        Wanted::OwnNetworks => None,
    };
    let (problems, may_pass) = findings.into_parts();
    let Some((place, container)) = target.filter(|_| problems.is_empty()) else {
        return Admission::Denied(Denial {
            problems,
            profile,
            may_pass,
        });
    };

    let locks = takes_device && !container.locks_memory;
    let may_lock = may_add_capabilities(&pod.namespace, snapshot);
    let scheduler = scheduler(pod, settings);
    let (gang, may_grow) = gang.map_or((None, false), |(gang, may_grow)| (Some(gang), may_grow));
    let mut warnings = warnings::all(pod, policy, &needs, snapshot, settings, locks && !may_lock);
    warnings.extend(crowded.into_iter().chain(gang::warning(gang.as_ref(), may_grow)));
    warnings.extend(warnings::of_the_day(
        pod,
        &interfaces,
        &needs,
        &pools,
        snapshot,
        settings,
    ));
    warnings.truncate(warnings::MOST);
    let podnetinfo = if takes_device {
        podnetinfo::change(pod, gang.is_some(), settings)
    } else {
        PodnetinfoChange::default()
    };
    Admission::Mutate(Box::new(Mutation {
        networks: appended,
        vfs: vf_changes(pod, place, container, &needs),
        lock_memory: (locks && may_lock).then_some(place),
        scheduler,
        position: gang.as_ref().filter(|_| !container.told.position).map(|_| place),
        gang,
        nodes,
        podnetinfo,
        may_grow,
        record: Some(Record {
            profile,
            rails: interfaces
                .into_iter()
                .filter_map(Interface::into_record)
                .collect(),
            container: container.name.clone(),
        }),
        warnings,
    }))
}

impl Mutation {
    /// No change.
    fn nothing(warnings: Vec<String>) -> Self {
        Self {
            networks: Vec::new(),
            vfs: Vec::new(),
            lock_memory: None,
            scheduler: None,
            gang: None,
            position: None,
            nodes: Vec::new(),
            podnetinfo: PodnetinfoChange::default(),
            may_grow: false,
            record: None,
            warnings,
        }
    }
}

impl Interface<'_> {
    fn into_record(self) -> Option<RailRecord> {
        Some(RailRecord {
            resource: self.attachment.resource.clone()?,
            network: self.network,
            interface: self.name,
        })
    }
}

/// Tops the chosen container up to what the pod's networks need, and makes its requests and limits alike.
fn vf_changes(
    pod: &PodFacts,
    place: Place,
    container: &ContainerFacts,
    needs: &BTreeMap<&ResourceName, u32>,
) -> Vec<VfChange> {
    needs
        .iter()
        .filter_map(|(&resource, &need)| {
            let missing = need.saturating_sub(pod.takes(resource));
            let count = container.takes(resource).saturating_add(missing);
            let as_it_should_be =
                |map: &BTreeMap<ResourceName, u32>| map.get(resource).copied().unwrap_or(0) == count;
            let stands = as_it_should_be(&container.requests) && as_it_should_be(&container.limits);
            (!stands).then(|| VfChange {
                container: place,
                resource: resource.clone(),
                count,
            })
        })
        .collect()
}

/// Our scheduler, for a pod that would go to the cluster's default one.
fn scheduler(pod: &PodFacts, settings: &Settings) -> Option<SchedulerName> {
    match &settings.scheduler {
        SchedulerMode::Dedicated(ours) => pod
            .scheduler
            .as_ref()
            .is_none_or(|named| named.as_str() == DEFAULT_SCHEDULER)
            .then(|| ours.clone()),
        SchedulerMode::Existing => None,
    }
}

/// The name that kube-apiserver gives a pod that names no scheduler.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Whether the namespace's Pod Security level lets a container add `IPC_LOCK`.
fn may_add_capabilities(namespace: &NamespaceName, snapshot: &ClusterSnapshot) -> bool {
    let level = snapshot
        .namespaces
        .get(namespace)
        .and_then(|namespace| namespace.labels.get("pod-security.kubernetes.io/enforce"));
    !matches!(level.map(String::as_str), Some("baseline" | "restricted"))
}

/// VFs of a resource that no pod holds, over the whole cluster.
fn free_vfs(resource: &ResourceName, snapshot: &ClusterSnapshot) -> u64 {
    let used = |node| snapshot.used.get(node).map_or(0, |used| used.count(resource));
    snapshot
        .nodes
        .iter()
        .map(|(name, node)| {
            let offered = node.offers.count(resource);
            u64::from(offered.saturating_sub(used(name)))
        })
        .sum()
}

/// Of a profile's networks so many: those the pod lists already, so that a second look chooses the same, then the
/// ones with the most free VFs; all in rail order.
fn most_free(
    networks: Vec<Arc<Network>>,
    count: usize,
    own: &[OwnNetwork],
    snapshot: &ClusterSnapshot,
) -> Vec<Arc<Network>> {
    let is_listed = |network: &Network| own.iter().any(|own| own.selection.network == network.at);
    let free = |network: &Network| {
        let resource = network.reading.as_ref().ok().and_then(|a| a.resource.as_ref());
        resource.map_or(0, |resource| free_vfs(resource, snapshot))
    };
    let mut ranked: Vec<(usize, Arc<Network>)> = networks.into_iter().enumerate().collect();
    let n_listed = ranked.iter().filter(|(_, network)| is_listed(network)).count();
    ranked.sort_by_cached_key(|(rail, network)| {
        (!is_listed(network), core::cmp::Reverse(free(network)), *rail)
    });
    ranked.truncate(count.max(n_listed));
    ranked.sort_by_key(|(rail, _)| *rail);
    ranked.into_iter().map(|(_, network)| network).collect()
}
