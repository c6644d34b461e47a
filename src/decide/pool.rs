//! A SpiderIPPool as the decisions see it: who may use it, and how many addresses are left.

use std::collections::BTreeMap;

use super::address::Family;
use super::names::{NamespaceName, NetworkRef, NodeName, PodUid, PoolName};
use super::pod::Affinity;
use super::problem::Problems;
use super::selector::Selector;

/// The most addresses Spiderpool hands out from one pool (`SPIDERPOOL_IPPOOL_MAX_ALLOCATED_IPS`, its default).
pub const MAX_ALLOCATED: u64 = 5_000;

/// A pool. One that cannot be read stays known: it gives no address, and says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// Its facts, or what is wrong with it.
    pub reading: Result<PoolFacts, Problems>,
}

/// The facts of a readable pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolFacts {
    /// The family of its addresses.
    pub family: Family,
    /// `spec.disable`: nothing new is handed out.
    pub disabled: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// `spec.default`: used where nothing names a pool.
    pub default: bool,
    /// The nodes it is tied to.
    pub nodes: Affinity<NodeName>,
    /// The namespaces it is tied to.
    pub namespaces: Affinity<NamespaceName>,
    /// The pods it is tied to.
    pub pods: Option<Selector>,
    /// The networks it is tied to; none means any.
    pub networks: Vec<NetworkRef>,
    /// Addresses that can still be handed out: listed, not excluded, not reserved, not allocated, within the cap.
    pub free: u64,
    /// Addresses it has in all: listed, not excluded, not reserved.
    pub size: u64,
    /// How many addresses each pod holds.
    pub holders: BTreeMap<PodUid, u32>,
    /// The SpiderSubnet that Spiderpool has cut it from for one application, where it has.
    pub subnet: Option<String>,
}

impl PoolFacts {
    /// An IPv4 pool that is open to everyone, with so many addresses and none of them taken.
    #[must_use]
    pub fn open(addresses: u64) -> Self {
        Self {
            family: Family::V4,
            disabled: false,
            terminating: false,
            default: false,
            nodes: Affinity::default(),
            namespaces: Affinity::default(),
            pods: None,
            networks: Vec::new(),
            free: addresses,
            size: addresses,
            holders: BTreeMap::new(),
            subnet: None,
        }
    }
}

impl PoolName {
    /// The pool that stands for a SpiderSubnet: whoever asks for a pool of that subnet gets one of its own when its first
    /// pod starts, as large as it needs and the subnet has addresses left. So all of them together are one source.
    /// No SpiderIPPool can have this name.
    #[must_use]
    pub fn of_subnet(name: &str) -> Self {
        format!("{SUBNET}{name}").into()
    }

    /// Whether it stands for a SpiderSubnet.
    #[must_use]
    pub fn is_of_subnet(&self) -> bool {
        self.as_str().starts_with(SUBNET)
    }
}

/// How the names of such pools begin.
const SUBNET: &str = "subnet/";
