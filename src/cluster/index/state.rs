//! The maps behind the index, and what each change of one of them means for the others.

mod counts;
mod devices;
mod nodes;
mod pods;
mod pools;
mod rebuilt;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::Value;

use self::devices::claim_ref;
use self::pods::Kept;
pub use self::rebuilt::Sources;
use super::{Key, key};
use crate::cluster::convert::{device, endpoint, network, node, pod, pool, sriov};
use crate::cluster::fabric::{self, LEASE};
use crate::cluster::objects::{Kind, Object};
use crate::decide::address::{AddressRange, Family};
use crate::decide::amounts::Amounts;
use crate::decide::changes::Changes;
use crate::decide::claim::Claims;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::endpoint::Endpoint;
use crate::decide::links::LookedAt;
use crate::decide::names::{
    GangName, GangRef, JobName, NamespaceName, NetworkRef, NodeName, PodName, PodUid, PoolName, ResourceName,
};
use crate::decide::network::Network;
use crate::decide::pool::Pool;
use crate::decide::problem::Problems;
use crate::decide::settings::Settings;

/// What the next snapshot is made from.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) snapshot: ClusterSnapshot,
    pods: BTreeMap<Key, Kept>,
    /// What the pods that want nothing of ours take: many take the same.
    loads: BTreeSet<Arc<Amounts>>,
    attachments: BTreeMap<NetworkRef, Arc<Network>>,
    multus_configs: BTreeMap<Key, Arc<Network>>,
    pools: BTreeMap<PoolName, Arc<pool::PoolParts>>,
    reserved: BTreeMap<Key, BTreeMap<Family, Vec<AddressRange>>>,
    /// When the fabric import looked.
    looked: Option<Timestamp>,
    pub(super) unreadable: BTreeMap<(Kind, Key), Problems>,
    /// Pods that went before Spiderpool's records showed their addresses, with how often [`Index::age`] saw them:
    /// the watch of pools may lag behind the one of pods, and the address be taken all the same.
    departed: BTreeMap<PodUid, u8>,
    /// Pods that are gone, the longest first, with the call of [`Index::age`] at which each went.
    gone: VecDeque<(u64, PodUid)>,
    /// How many calls of [`Index::age`] there have been.
    ages: u64,
    /// Pods of the device plugin that wait for their node's configuration.
    waiting_plugins: BTreeMap<Key, NodeName>,
    /// The resource that each DeviceClass maps.
    device_classes: BTreeMap<Key, ResourceName>,
    /// Subnets, without what the pools cut from them have left.
    subnets: BTreeMap<Key, Pool>,
    /// How many node states say in which RDMA mode their node is.
    modes_told: usize,
    /// What the latest pods were found to need.
    claims: Claims,
    /// All endpoints, most of which keep nothing.
    endpoints: BTreeSet<Key>,
}

/// How many calls of [`Index::age`] a departed pod's addresses count as taken for; with a call a second, longer
/// than watches lag behind each other.
const DEPARTED_AGES: u8 = 3;

/// How many calls of [`Index::age`] a pod that is gone is known as such for: longer than a promise to it lasts by default.
const GONE_AGES: u64 = 180;

impl State {
    pub(super) fn new() -> Self {
        let mut state = Self::default();
        state.snapshot.changes = Changes::kept();
        state
    }

    /// Takes in a new or changed object; what cannot be read of it is kept and told.
    pub(super) fn put(&mut self, object: Object, settings: &Settings) -> Result<(), Problems> {
        let kind = object.kind();
        let key = key(&object);
        let result = match object {
            Object::Pod(object) => {
                self.put_plugin(&key, pod::waiting_plugin(&object));
                self.put_pod(&key, Some(Arc::new(pod::pod(&object, settings))), settings);
                Ok(())
            }
            Object::Node(object) => {
                let node = node::node(&object);
                let result = node
                    .fabric
                    .as_ref()
                    .map_or(Ok(()), |reading| reading.clone().map(drop));
                self.change_node(&node.name.clone(), Some(node), settings);
                result
            }
            Object::Namespace(object) => {
                let namespace = Arc::new(node::namespace(&object));
                let name = key.1.as_str().into();
                let changed = self.snapshot.namespaces.get(&name) != Some(&namespace);
                let result = namespace.default_pools.clone().map(drop);
                self.snapshot.namespaces.insert_mut(name, namespace);
                if changed {
                    self.recheck_all(settings);
                }
                result
            }
            Object::Job(object) => {
                let parallelism = object.spec.parallelism.unwrap_or(1);
                let at_once = object
                    .spec
                    .completions
                    .map_or(parallelism, |all| all.min(parallelism));
                self.snapshot.jobs.insert_mut(job(&key), at_once);
                Ok(())
            }
            Object::Custom(kind, object) => self.put_custom(kind, &key, &object, settings),
        };
        match &result {
            Ok(()) => self.unreadable.remove(&(kind, key)),
            Err(problems) => self.unreadable.insert((kind, key), problems.clone()),
        };
        result
    }

    fn put_custom(
        &mut self,
        kind: Kind,
        key: &Key,
        object: &DynamicObject,
        settings: &Settings,
    ) -> Result<(), Problems> {
        match kind {
            Kind::Attachment => {
                let network = Arc::new(network::attachment(object, settings));
                let result = network.reading.clone().map(drop);
                self.attachments.insert(network.at.clone(), Arc::clone(&network));
                self.refresh_network(&network.at, settings);
                result
            }
            Kind::MultusConfig => {
                let network = Arc::new(network::multus_config(object, settings));
                let result = network.reading.clone().map(drop);
                let before = self.multus_configs.insert(key.clone(), Arc::clone(&network));
                if let Some(before) = before.filter(|before| before.at != network.at) {
                    self.refresh_network(&before.at, settings);
                }
                self.refresh_network(&network.at, settings);
                result
            }
            Kind::Pool => {
                let parts = Arc::new(pool::pool(object, settings));
                let result = parts.reading.clone().map(drop);
                self.pools.insert(parts.name.clone(), Arc::clone(&parts));
                self.refresh_pool(&parts.name, settings);
                result
            }
            Kind::ReservedIp => {
                let reserved = pool::reserved(object);
                self.reserved
                    .insert(key.clone(), reserved.clone().unwrap_or_default());
                self.refresh_pools(settings);
                reserved.map(drop)
            }
            Kind::NodeState => {
                let state = Arc::new(sriov::state(object));
                let result = state.reading.clone().map(drop);
                self.change_state(key.1.as_str().into(), Some(state));
                result
            }
            Kind::Lease => {
                if key.1 != LEASE {
                    return Ok(());
                }
                let renewed = fabric::renewed(object);
                self.looked = renewed.clone().unwrap_or(None);
                renewed.map(drop)
            }
            Kind::Endpoint => {
                let kept = endpoint::endpoint(object);
                let result = kept.as_ref().map(drop).map_err(|problem| problem.clone().into());
                self.put_endpoint(key, kept.unwrap_or_default(), settings);
                result
            }
            Kind::Subnet => {
                let subnet = pool::subnet(object);
                let result = subnet.reading.clone().map(drop);
                self.subnets.insert(key.clone(), subnet);
                self.refresh_subnet(&key.1, settings);
                result
            }
            Kind::DeviceClass => {
                let class = device::class(object);
                let result = class.as_ref().map(drop).map_err(|problem| problem.clone().into());
                self.put_device_class(key, Some(class.unwrap_or_default()));
                result
            }
            Kind::DeviceClaim => {
                let asked = device::claim(object);
                let result = asked.as_ref().map(drop).map_err(|problem| problem.clone().into());
                self.put_device_claim(claim_ref(kind, key), asked.unwrap_or_default());
                result
            }
            Kind::DeviceClaimTemplate => {
                let asked = device::template(object);
                let result = asked.as_ref().map(drop).map_err(|problem| problem.clone().into());
                self.put_device_claim(claim_ref(kind, key), asked.ok());
                result
            }
            Kind::PodGroup => {
                let count = object.data.pointer("/spec/schedulingPolicy/gang/minCount");
                let count = count
                    .and_then(Value::as_u64)
                    .map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                self.snapshot.pod_groups.insert_mut(pod_group(key), count);
                Ok(())
            }
            Kind::Pod | Kind::Node | Kind::Namespace | Kind::Job => Ok(()),
        }
    }

    /// Drops an object that is gone.
    pub(super) fn remove(&mut self, kind: Kind, key: &Key, settings: &Settings) {
        self.unreadable.remove(&(kind, key.clone()));
        match kind {
            Kind::Pod => {
                self.put_plugin(key, None);
                self.put_pod(key, None, settings);
            }
            Kind::Node => {
                self.change_node(&key.1.as_str().into(), None, settings);
            }
            Kind::Namespace => {
                if self.snapshot.namespaces.remove_mut(key.1.as_str()) {
                    self.recheck_all(settings);
                }
            }
            Kind::Job => {
                self.snapshot.jobs.remove_mut(&job(key));
            }
            Kind::Attachment => {
                let at = NetworkRef::new(key.0.as_str(), key.1.as_str());
                self.attachments.remove(&at);
                self.refresh_network(&at, settings);
            }
            Kind::MultusConfig => {
                if let Some(gone) = self.multus_configs.remove(key) {
                    self.refresh_network(&gone.at, settings);
                }
            }
            Kind::Pool => {
                let name = PoolName::from(key.1.as_str());
                self.pools.remove(&name);
                self.refresh_pool(&name, settings);
            }
            Kind::ReservedIp => {
                self.reserved.remove(key);
                self.refresh_pools(settings);
            }
            Kind::NodeState => {
                self.change_state(key.1.as_str().into(), None);
            }
            Kind::Lease => {
                if key.1 == LEASE {
                    self.looked = None;
                }
            }
            Kind::Endpoint => {
                self.put_endpoint(key, None, settings);
                self.endpoints.remove(key);
            }
            Kind::Subnet => {
                self.subnets.remove(key);
                self.refresh_subnet(&key.1, settings);
            }
            Kind::DeviceClass => self.put_device_class(key, None),
            Kind::DeviceClaim | Kind::DeviceClaimTemplate => {
                self.put_device_claim(claim_ref(kind, key), None);
            }
            Kind::PodGroup => {
                self.snapshot.pod_groups.remove_mut(&pod_group(key));
            }
        }
    }

    /// The keys of all objects of a kind.
    pub(super) fn keys(&self, kind: Kind) -> Vec<Key> {
        let cluster = |name: &str| (String::new(), name.to_owned());
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Node => self
                .snapshot
                .nodes
                .keys()
                .map(|name| cluster(name.as_str()))
                .collect(),
            Kind::Namespace => self
                .snapshot
                .namespaces
                .keys()
                .map(|name| cluster(name.as_str()))
                .collect(),
            Kind::Job => {
                let key =
                    |(namespace, name): &(NamespaceName, JobName)| (namespace.to_string(), name.to_string());
                self.snapshot.jobs.keys().map(key).collect()
            }
            Kind::Attachment => self
                .attachments
                .keys()
                .map(|at| (at.namespace.as_str().to_owned(), at.name.as_str().to_owned()))
                .collect(),
            Kind::MultusConfig => self.multus_configs.keys().cloned().collect(),
            Kind::Pool => self.pools.keys().map(|name| cluster(name.as_str())).collect(),
            Kind::ReservedIp => self.reserved.keys().cloned().collect(),
            Kind::Lease => self.looked.map(|_| cluster(LEASE)).into_iter().collect(),
            Kind::Endpoint => self.endpoints.iter().cloned().collect(),
            Kind::Subnet => self.subnets.keys().cloned().collect(),
            Kind::DeviceClass | Kind::DeviceClaim | Kind::DeviceClaimTemplate => self.keys_of_devices(kind),
            Kind::PodGroup => {
                let key = |at: &GangRef| (at.namespace.to_string(), at.name.to_string());
                self.snapshot.pod_groups.keys().map(key).collect()
            }
            Kind::NodeState => self
                .snapshot
                .sriov
                .keys()
                .map(|name| cluster(name.as_str()))
                .collect(),
        }
    }

    /// What the pod of this name keeps has changed.
    fn put_endpoint(&mut self, key: &Key, kept: Option<Endpoint>, settings: &Settings) {
        self.endpoints.insert(key.clone());
        let at: (NamespaceName, PodName) = (key.0.as_str().into(), key.1.as_str().into());
        match kept {
            Some(kept) => self.snapshot.endpoints.insert_mut(at, Arc::new(kept)),
            None => drop(self.snapshot.endpoints.remove_mut(&at)),
        }
        if let Some(pod) = self.pods.get(key) {
            let uid = pod.uid().clone();
            self.recheck(&uid, settings);
        }
    }

    /// A NetworkAttachmentDefinition speaks for itself; a SpiderMultusConfig only until it has been made into one.
    fn refresh_network(&mut self, at: &NetworkRef, settings: &Settings) {
        let network = self
            .attachments
            .get(at)
            .or_else(|| self.multus_configs.values().find(|network| network.at == *at))
            .cloned();
        if self.snapshot.networks.get(at) == network.as_ref() {
            return;
        }
        match network {
            Some(network) => self.snapshot.networks.insert_mut(at.clone(), network),
            None => drop(self.snapshot.networks.remove_mut(at)),
        }
        self.recheck_all(settings);
    }

    /// When the fabric import looked, and how long ago that is; a date to come is now.
    pub(super) fn looked_at(&self, now: Timestamp) -> Option<LookedAt> {
        let looked = self.looked?;
        Some(LookedAt {
            unix_seconds: looked.as_second(),
            age: now.duration_since(looked).try_into().unwrap_or_default(),
        })
    }
}

fn pod_group(key: &Key) -> GangRef {
    GangRef {
        namespace: key.0.as_str().into(),
        name: GangName::from(key.1.as_str()),
    }
}

fn job(key: &Key) -> (NamespaceName, JobName) {
    (key.0.as_str().into(), key.1.as_str().into())
}
