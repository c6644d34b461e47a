//! What of a pod matters to the decisions.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use super::names::{GangName, GangRef, InterfaceName, NodeName, PodRef, SchedulerName};
use super::network::Selection;
use super::policy::Locality;
use super::problem::Problems;
use super::selector::{Labels, Selector};
use super::suits::NodeNeeds;

/// A pod, as far as placing it needs to know. The same type is made from a watched pod, from the pod in a
/// scheduler's request and from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Who it is.
    pub at: PodRef,
    /// Its labels, which pools and gangs select by.
    pub labels: Labels,
    /// When it was created, in RFC 3339; orders waiting pods, oldest first.
    pub created: String,
    /// What it takes of its node, of every resource, as the scheduler counts; one of `pods` among it.
    pub takes: Amounts,
    /// What it asks of its node beside resources.
    pub needs: NodeNeeds,
    /// The gang it belongs to, or what is wrong with what says so.
    pub gang: Result<Option<Gang>, Problems>,
    /// The scheduler it waits for.
    pub scheduler: Option<SchedulerName>,
    /// Where it is in its life.
    pub phase: Phase,
    /// It belongs to a StatefulSet: it may have addresses that it keeps.
    pub stateful: bool,
    /// It is being deleted.
    pub leaving: bool,
    /// It shares its node's network: Multus never runs for it, so its networks attach nothing.
    pub host_network: bool,
    /// The network that takes the place of the cluster's own, where it names one.
    pub default_network: Option<Selection>,
    /// Its additional networks in order, or what is wrong with the annotation.
    pub networks: Result<Vec<Selection>, Problems>,
    /// Which pools it asks Spiderpool for, or what is wrong with that.
    pub pools: Result<PoolRequest, Problems>,
}

impl Pod {
    /// Which gang it is of, where that can be read.
    #[must_use]
    pub fn gang_ref(&self) -> Option<GangRef> {
        let gang = self.gang.as_ref().ok()?.as_ref()?;
        Some(GangRef {
            namespace: self.at.namespace.clone(),
            name: gang.name.clone(),
        })
    }
}

/// The gang a pod belongs to, as the webhook has resolved it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gang {
    /// Its name among the gangs of the namespace.
    pub name: GangName,
    /// How many pods it has, where that is known.
    pub size: Option<u32>,
    /// Where it may run; none for the configured default.
    pub locality: Option<Locality>,
    /// It is a PodGroup of Kubernetes' own, which the scheduler places as a whole.
    pub by_scheduler: bool,
}

/// Where a pod is in its life, as far as it holds or waits for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not bound.
    Pending {
        /// The scheduler has said that it fits nowhere, and waits for something to change.
        refused: bool,
    },
    /// Bound, and holding what it was given.
    Bound(NodeName),
    /// Succeeded or failed: it holds no VFs, and IPAM's own records tell about its addresses.
    Ended,
}

/// The pools a pod names for itself, in Spiderpool's order of precedence (subnet, per interface, for all).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PoolRequest {
    /// None: the namespace's, the network's or the cluster's default pools apply.
    #[default]
    None,
    /// `ipam.spidernet.io/subnets`: pools are made for it from these subnets, of which the first of a family counts.
    Subnets(Vec<InterfacePools>),
    /// `ipam.spidernet.io/subnet`: as above, for every interface.
    SubnetForAll(PoolChoice),
    /// `ipam.spidernet.io/ippools`.
    PerInterface(Vec<InterfacePools>),
    /// `ipam.spidernet.io/ippool`, for every interface.
    All(PoolChoice),
}

/// One element of `ipam.spidernet.io/ippools`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfacePools {
    /// The interface; where none is given, the element's position counts (0 is `eth0`).
    pub interface: Option<InterfaceName>,
    /// Its pools.
    pub choice: PoolChoice,
}

/// Pools to choose from, per family: names or wildcards.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolChoice {
    /// For an IPv4 address.
    pub v4: Vec<String>,
    /// For an IPv6 address.
    pub v6: Vec<String>,
}

/// A namespace: what its pods inherit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels, which pools select by.
    pub labels: Labels,
    /// All its annotations: policy defaults are read at admission, with the pod's.
    pub annotations: BTreeMap<String, String>,
    /// Its default pools for Spiderpool, or what is wrong with them.
    pub default_pools: Result<PoolChoice, Problems>,
}

/// Who may use something that can be tied to names or, where it is not, to labels (Spiderpool: a non-empty list
/// of names makes the selector ineffective).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity<N: Ord> {
    /// The names it is tied to.
    pub names: std::collections::BTreeSet<N>,
    /// The labels it is tied to.
    pub selector: Option<Selector>,
}

impl<N: Ord> Default for Affinity<N> {
    fn default() -> Self {
        Self {
            names: std::collections::BTreeSet::new(),
            selector: None,
        }
    }
}

impl<N: Ord> Affinity<N> {
    /// Whether something of this name with these labels may use it.
    #[must_use]
    pub fn admits(&self, name: &N, labels: &Labels) -> bool {
        if self.names.is_empty() {
            self.selector
                .as_ref()
                .is_none_or(|selector| selector.matches(labels))
        } else {
            self.names.contains(name)
        }
    }

    /// Whether it is open to everything.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }
}
