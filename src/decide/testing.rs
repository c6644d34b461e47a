//! Builders for tests: the smallest valid thing, to be changed in the one respect a test is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::Family;
use super::cluster::ClusterSnapshot;
use super::names::{NetworkRef, PodRef, ResourceName};
use super::network::{Attachment, Ipam, Network, Plugin, Selection};
use super::node::{Node, RdmaMode, SriovFacts, SriovState, Sync, VfGroup};
use super::pod::{Affinity, Namespace, Phase, Pod, PoolChoice, PoolRequest};
use super::pool::{Pool, PoolFacts};
use super::selector::Labels;

/// An IPv4 pool open to everyone, with `free` addresses left.
pub(crate) fn pool(name: &str, free: u64) -> Pool {
    Pool {
        name: name.into(),
        reading: Ok(PoolFacts {
            family: Family::V4,
            disabled: false,
            terminating: false,
            default: false,
            nodes: Affinity::default(),
            namespaces: Affinity::default(),
            pods: None,
            networks: Vec::new(),
            free,
            size: free,
            holders: BTreeMap::new(),
        }),
    }
}

/// A pending pod in namespace `default`, its UID `uid-<name>`, that asks for nothing.
pub(crate) fn pod(name: &str) -> Pod {
    Pod {
        at: PodRef {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
        },
        labels: BTreeMap::new(),
        created: String::new(),
        requests: BTreeMap::new(),
        scheduler: None,
        phase: Phase::Pending { refused: false },
        host_network: false,
        default_network: None,
        networks: Ok(Vec::new()),
        pools: Ok(PoolRequest::None),
    }
}

/// A cluster of `rails` rails: networks `default/railN` of resource `x.io/railN`, a pool `railN` of 100 addresses
/// each, and whatever nodes and pods are added.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    rails: u32,
    snapshot: ClusterSnapshot,
}

impl Cluster {
    pub(crate) fn with_rails(rails: u32) -> Self {
        let mut snapshot = ClusterSnapshot::default();
        for rail in 0..rails {
            let name = format!("rail{rail}");
            let network = Network {
                at: NetworkRef::new("default", name.as_str()),
                profiles: vec!["rails".into()],
                reading: Ok(Attachment {
                    rail: Some(rail),
                    resource: Some(resource(rail)),
                    plugin: Plugin::IbSriov {
                        rdma_isolation: true,
                        ib_kubernetes: false,
                    },
                    ipam: Ipam::Spiderpool {
                        v4: vec![name.clone()],
                        v6: Vec::new(),
                    },
                }),
            };
            snapshot
                .networks
                .insert_mut(network.at.clone(), Arc::new(network));
            snapshot
                .pools
                .insert_mut(name.as_str().into(), Arc::new(pool(&name, 100)));
        }
        Self { rails, snapshot }
    }

    pub(crate) fn snapshot(&self) -> ClusterSnapshot {
        self.snapshot.clone()
    }

    pub(crate) fn node_without_state(mut self, name: &str, vfs: u32) -> Self {
        let node = Node {
            name: name.into(),
            labels: Labels::new(),
            allocatable: (0..self.rails).map(|rail| (resource(rail), vfs)).collect(),
            drain_requested: false,
        };
        self.snapshot.nodes.insert_mut(node.name.clone(), Arc::new(node));
        self
    }

    pub(crate) fn node(mut self, name: &str, vfs: u32) -> Self {
        let groups = (0..self.rails).map(|rail| VfGroup {
            resource: Some(format!("rail{rail}")),
            pf: format!("ibs{rail}").into(),
            vfs,
            faults: Vec::new(),
        });
        let facts = SriovFacts {
            sync: Sync::Succeeded,
            drain: None,
            rdma: RdmaMode::Exclusive,
            groups: groups.collect(),
        };
        self.snapshot
            .sriov
            .insert_mut(name.into(), Arc::new(SriovState { reading: Ok(facts) }));
        self.node_without_state(name, vfs)
    }

    pub(crate) fn state(mut self, node: &str, change: impl FnOnce(&mut SriovFacts)) -> Self {
        let mut state = SriovState::clone(self.snapshot.sriov.get(node).unwrap());
        change(state.reading.as_mut().unwrap());
        self.snapshot.sriov.insert_mut(node.into(), Arc::new(state));
        self
    }

    pub(crate) fn offers(mut self, node: &str, resource: &str, count: u32) -> Self {
        let mut changed = Node::clone(self.snapshot.nodes.get(node).unwrap());
        changed.allocatable.insert(resource.into(), count);
        self.snapshot.nodes.insert_mut(node.into(), Arc::new(changed));
        self
    }

    pub(crate) fn network(mut self, rail: u32, change: impl FnOnce(&mut Attachment)) -> Self {
        let at = NetworkRef::new("default", format!("rail{rail}"));
        let mut network = Network::clone(self.snapshot.networks.get(&at).unwrap());
        change(network.reading.as_mut().unwrap());
        self.snapshot.networks.insert_mut(at, Arc::new(network));
        self
    }

    pub(crate) fn pool(mut self, name: &str, change: impl FnOnce(&mut PoolFacts)) -> Self {
        let mut changed = Pool::clone(self.snapshot.pools.get(name).unwrap());
        change(changed.reading.as_mut().unwrap());
        self.snapshot.pools.insert_mut(name.into(), Arc::new(changed));
        self
    }

    pub(crate) fn pool_named(mut self, name: &str, change: impl FnOnce(&mut PoolFacts)) -> Self {
        self.snapshot
            .pools
            .insert_mut(name.into(), Arc::new(pool(name, 100)));
        self.pool(name, change)
    }

    pub(crate) fn default_pools(mut self, names: &[&str]) -> Self {
        let namespace = Namespace {
            labels: Labels::new(),
            annotations: BTreeMap::new(),
            default_pools: Ok(PoolChoice {
                v4: names.iter().map(|name| (*name).to_owned()).collect(),
                v6: Vec::new(),
            }),
        };
        self.snapshot
            .namespaces
            .insert_mut("default".into(), Arc::new(namespace));
        self
    }

    /// A pod on all rails, as the webhook leaves it.
    pub(crate) fn pod(&self, name: &str) -> Pod {
        Pod {
            requests: (0..self.rails).map(|rail| (resource(rail), 1)).collect(),
            networks: Ok((0..self.rails)
                .map(|rail| Selection {
                    network: NetworkRef::new("default", format!("rail{rail}")),
                    interface: None,
                    own_guid: false,
                })
                .collect()),
            ..pod(name)
        }
    }

    /// This pod, waiting.
    pub(crate) fn pending(mut self, pod: Pod) -> Self {
        self.snapshot
            .pending
            .insert_mut(pod.at.uid.clone(), Arc::new(pod));
        self
    }

    /// Such a pod, bound and starting: it has fetched no address yet.
    pub(crate) fn bound(mut self, name: &str, node: &str) -> Self {
        let pod = Arc::new(Pod {
            phase: Phase::Bound(node.into()),
            ..self.pod(name)
        });
        let mut used = self
            .snapshot
            .used
            .get(node)
            .map(|used| BTreeMap::clone(used))
            .unwrap_or_default();
        for (resource, count) in &pod.requests {
            *used.entry(resource.clone()).or_default() += count;
        }
        self.snapshot.used.insert_mut(node.into(), Arc::new(used));
        self.snapshot
            .bound
            .insert_mut(pod.at.uid.clone(), Arc::clone(&pod));
        self.snapshot.unallocated.insert_mut(pod.at.uid.clone(), pod);
        self
    }
}

fn resource(rail: u32) -> ResourceName {
    format!("x.io/rail{rail}").into()
}
