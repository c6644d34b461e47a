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
use super::network::{Attachment, Ipam, Network, Plugin, Selection};
use super::pod::PoolRequest;
use super::policy::{self, Annotations, Locality, PodPolicy, Rails, Wanted};
use super::problem::{Problem, Problems, quoted};
use super::selector::Labels;
use super::settings::{SchedulerMode, Settings};

mod gang;
pub(in crate::decide) mod links;
mod pools;
mod refusals;
mod warnings;

pub use self::gang::Owner;
use self::refusals::Findings;

/// A pod that is being created, as far as admission looks at it.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// The pools it asks Spiderpool for, or what is wrong with that.
    pub pools: Result<PoolRequest, Problems>,
    /// Its annotations.
    pub annotations: Annotations,
    /// The networks it lists itself, or what is wrong with its list.
    pub networks: Result<Vec<OwnNetwork>, Problems>,
    /// The network in place of the cluster's default one, or what is wrong with that.
    pub default_network: Result<Option<NetworkRef>, Problems>,
    /// Its containers.
    pub containers: Vec<ContainerFacts>,
    /// Its init containers.
    pub init_containers: Vec<ContainerFacts>,
    /// It shares its node's network.
    pub host_network: bool,
    /// The scheduler it names.
    pub scheduler: Option<SchedulerName>,
    /// Its labels.
    pub labels: Labels,
    /// The controller that made it.
    pub owner: Option<Owner>,
    /// The PodGroup of Kubernetes' own that it joins (`spec.schedulingGroup`).
    pub pod_group: Option<String>,
}

/// A network that the user listed.
#[derive(Clone, Debug)]
pub struct OwnNetwork {
    /// What the element selects.
    pub selection: Selection,
    /// The GUID it brings.
    pub guid: Option<String>,
}

/// A container or an init container.
#[derive(Clone, Debug)]
pub struct ContainerFacts {
    /// Its name.
    pub name: ContainerName,
    /// It runs as long as the pod: every container, and an init container that is a sidecar. The kubelet shows
    /// Multus the devices of these alone (`pkg/kubelet/apis/podresources/server_v1.go`).
    pub lasting: bool,
    /// Extended resources it requests.
    pub requests: BTreeMap<ResourceName, u32>,
    /// Extended resources it is limited to.
    pub limits: BTreeMap<ResourceName, u32>,
    /// The pod's resource claims it uses.
    pub claims: Vec<String>,
    /// It can lock memory as it is: by capability or because it is privileged.
    pub locks_memory: bool,
    /// It has a variable of the name under which we tell a pod's place on the fabric.
    pub has_position: bool,
}

impl ContainerFacts {
    /// Every extended resource it names, in order.
    fn resources(&self) -> impl Iterator<Item = &ResourceName> {
        let names: BTreeSet<&ResourceName> = self.requests.keys().chain(self.limits.keys()).collect();
        names.into_iter()
    }

    /// How many of a resource it takes. Where only one of the two is given, the other follows it.
    fn takes(&self, resource: &ResourceName) -> u32 {
        let of = |map: &BTreeMap<ResourceName, u32>| map.get(resource).copied().unwrap_or(0);
        of(&self.requests).max(of(&self.limits))
    }
}

/// The verdict on a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It asks nothing of us.
    NotAsked,
    /// It can never run as it is.
    Denied(Denial),
    /// It can, with these changes, of which there may be none.
    Mutate(Mutation),
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
            Admission::Mutate(Mutation::nothing(vec![warnings::no_networks()]))
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
    let default_resource = findings.default_network(pod, snapshot);

    let mut needs: BTreeMap<&ResourceName, u32> = BTreeMap::new();
    for resource in interfaces
        .iter()
        .filter_map(|interface| interface.attachment.resource.as_ref())
        .chain(default_resource)
    {
        *needs.entry(resource).or_default() += 1;
    }
    findings.links(&interfaces);
    let pools = findings.pools(pod, &interfaces, snapshot, settings);
    findings.pod(pod, &interfaces, &needs, settings);
    let target = findings.target(pod, policy, &needs, settings);
    let gang = gang::of(pod, policy, snapshot, settings);
    findings.locality(gang.as_ref().map(|(gang, _)| gang), snapshot, settings);

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

    let locks = !needs.is_empty() && !container.locks_memory;
    let may_lock = may_add_capabilities(&pod.namespace, snapshot);
    let scheduler = scheduler(pod, settings);
    let (gang, may_grow) = gang.map_or((None, false), |(gang, may_grow)| (Some(gang), may_grow));
    let mut warnings = warnings::all(pod, policy, &needs, snapshot, settings, locks && !may_lock);
    warnings.extend(gang::warning(gang.as_ref(), may_grow));
    warnings.extend(warnings::of_the_day(pod, &interfaces, &needs, &pools, snapshot));
    warnings.truncate(warnings::MOST);
    Admission::Mutate(Mutation {
        networks: appended,
        vfs: vf_changes(pod, place, container, &needs),
        lock_memory: (locks && may_lock).then_some(place),
        scheduler,
        position: gang.as_ref().filter(|_| !container.has_position).map(|_| place),
        gang,
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
    })
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

impl PodFacts {
    /// A pod without anything, for tests.
    #[cfg(test)]
    pub(crate) fn bare(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            annotations: Annotations::new(),
            networks: Ok(Vec::new()),
            default_network: Ok(None),
            containers: Vec::new(),
            init_containers: Vec::new(),
            host_network: false,
            scheduler: None,
            labels: Labels::new(),
            pools: Ok(PoolRequest::None),
            owner: None,
            pod_group: None,
        }
    }

    /// Its init containers and containers, in the order they start.
    fn all_containers(&self) -> impl Iterator<Item = (Place, &ContainerFacts)> {
        let init = self
            .init_containers
            .iter()
            .enumerate()
            .map(|(index, container)| (Place::InitContainer(index), container));
        let main = self
            .containers
            .iter()
            .enumerate()
            .map(|(index, container)| (Place::Container(index), container));
        init.chain(main)
    }

    /// How many of a resource Multus will find for the pod.
    fn takes(&self, resource: &ResourceName) -> u32 {
        self.all_containers()
            .filter(|(_, container)| container.lasting)
            .fold(0, |sum: u32, (_, container)| {
                sum.saturating_add(container.takes(resource))
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
