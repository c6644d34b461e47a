//! The pod that is being created, as far as admission looks at it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Owner, Place, PodClaim};
use crate::decide::names::{ContainerName, NamespaceName, NetworkRef, PodName, ResourceName, SchedulerName};
use crate::decide::network::Selection;
use crate::decide::pod::PoolRequest;
use crate::decide::policy::Annotations;
use crate::decide::problem::Problems;
use crate::decide::selector::Labels;

/// A pod that is being created, as far as admission looks at it.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its name, unless one is generated.
    pub name: Option<PodName>,
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
    /// Labels its node must have.
    pub node_selector: Labels,
    /// It has a volume of the name under which pods are shown their own metadata.
    pub has_podnetinfo: bool,
    /// The scheduler it names.
    pub scheduler: Option<SchedulerName>,
    /// Its labels.
    pub labels: Labels,
    /// The controller that made it.
    pub owner: Option<Owner>,
    /// The PodGroup of Kubernetes' own that it joins (`spec.schedulingGroup`).
    pub pod_group: Option<String>,
    /// The resource claims it brings.
    pub device_claims: Vec<PodClaim>,
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
    /// It can lock memory as it is: by capability or because it is privileged.
    pub locks_memory: bool,
    /// What its own variables tell it already.
    pub told: Told,
    /// It mounts a volume of the name, or at the place, where pods are shown their own metadata.
    pub mounts_podnetinfo: bool,
    /// The huge pages it requests and is limited to.
    pub hugepages: Vec<Hugepages>,
}

/// Variables that a container has under the names of ours; they are never overridden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The pod's place on the fabric.
    pub position: bool,
    /// The container's own name, beside its huge pages.
    pub own_name: bool,
}

/// Huge pages of one size that a container requests or is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hugepages {
    /// Requested, not limited to.
    pub requested: bool,
    /// The size of a page as Kubernetes writes it, such as `2Mi`.
    pub size: String,
}

impl ContainerFacts {
    /// Every extended resource it names, in order.
    pub(super) fn resources(&self) -> impl Iterator<Item = &ResourceName> {
        let names: BTreeSet<&ResourceName> = self.requests.keys().chain(self.limits.keys()).collect();
        names.into_iter()
    }

    /// How many of a resource it takes. Where only one of the two is given, the other follows it.
    pub(super) fn takes(&self, resource: &ResourceName) -> u32 {
        let of = |map: &BTreeMap<ResourceName, u32>| map.get(resource).copied().unwrap_or(0);
        of(&self.requests).max(of(&self.limits))
    }
}

impl PodFacts {
    /// A pod without anything, for tests.
    #[cfg(test)]
    pub(crate) fn bare(namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: None,
            annotations: Annotations::new(),
            networks: Ok(Vec::new()),
            default_network: Ok(None),
            containers: Vec::new(),
            init_containers: Vec::new(),
            host_network: false,
            node_selector: Labels::new(),
            has_podnetinfo: false,
            scheduler: None,
            labels: Labels::new(),
            pools: Ok(PoolRequest::None),
            owner: None,
            pod_group: None,
            device_claims: Vec::new(),
        }
    }

    /// Its init containers and containers, in the order they start.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = (Place, &ContainerFacts)> {
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
    pub(super) fn takes(&self, resource: &ResourceName) -> u32 {
        self.all_containers()
            .filter(|(_, container)| container.lasting)
            .fold(0, |sum: u32, (_, container)| {
                sum.saturating_add(container.takes(resource))
            })
    }
}
