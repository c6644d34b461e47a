//! Builders for tests: the smallest valid thing, to be changed in the one respect a test is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::amounts::{Amounts, ONE};
use super::annotation;
use super::cluster::ClusterSnapshot;
use super::fabric::{Guid, MatchedBy, Rail, RailState};
use super::names::{GangRef, NetworkRef, PodRef, ResourceName};
use super::network::{Attachment, Infiniband, Ipam, Network, Plugin, Selection};
use super::node::{Node, RdmaMode, SriovFacts, SriovState, Sync, VfGroup};
use super::pod::{Gang, Namespace, Phase, Pod, PoolChoice, PoolRequest};
use super::policy::Locality;
use super::pool::{Pool, PoolFacts};
use super::selector::Labels;
use super::suits::NodeNeeds;
use super::tier::PresetMarks;

/// An IPv4 pool open to everyone, with `free` addresses left.
pub(crate) fn pool(name: &str, free: u64) -> Pool {
    Pool {
        name: name.into(),
        reading: Ok(PoolFacts::open(free)),
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
        takes: Amounts::default(),
        needs: NodeNeeds::default(),
        gang: Ok(None),
        scheduler: None,
        leaving: false,
        phase: Phase::Pending { refused: false },
        stateful: false,
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
                    further: Vec::new(),
                    nodes: Ok(None),
                    plugin: Plugin::IbSriov {
                        rdma_isolation: true,
                        ib_kubernetes: false,
                    },
                    ipam: Ipam::Spiderpool {
                        v4: vec![name.clone()],
                        v6: Vec::new(),
                        by_subnet: false,
                    },
                    infiniband: Infiniband::default(),
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
            offers: (0..self.rails)
                .map(|rail| (resource(rail), u64::from(vfs) * ONE))
                .collect(),
            taints: Vec::new(),
            unschedulable: false,
            drain_requested: false,
            fabric: None,
            presets: PresetMarks::default(),
            faults: Vec::new(),
        };
        self.snapshot.nodes.insert_mut(node.name.clone(), Arc::new(node));
        self
    }

    pub(crate) fn node(mut self, name: &str, vfs: u32) -> Self {
        let groups = (0..self.rails).map(|rail| VfGroup {
            resource: Some(format!("rail{rail}")),
            pf: format!("ibs{rail}").into(),
            guid: None,
            vfs,
            faults: Vec::new(),
        });
        let facts = SriovFacts {
            sync: Sync::Succeeded,
            drain: None,
            stale: None,
            leaving_exclusive: false,
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
        changed
            .offers
            .add(&Amounts::from_iter([(resource.into(), u64::from(count) * ONE)]));
        self.snapshot.nodes.insert_mut(node.into(), Arc::new(changed));
        self
    }

    /// Changes a node.
    pub(crate) fn with_node(mut self, name: &str, change: impl FnOnce(&mut Node)) -> Self {
        let mut changed = Node::clone(self.snapshot.nodes.get(name).unwrap());
        change(&mut changed);
        self.snapshot.nodes.insert_mut(name.into(), Arc::new(changed));
        self
    }

    /// Changes whatever else.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut ClusterSnapshot)) -> Self {
        change(&mut self.snapshot);
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
            takes: (0..self.rails).map(|rail| (resource(rail), ONE)).collect(),
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
        if let Some(gang) = pod.gang_ref() {
            self.snapshot.change_members(gang, |members| {
                members.pending.insert(pod.at.uid.clone());
            });
        }
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
        self.snapshot
            .change_use(&node.into(), |used| used.add(&pod.takes));
        self.snapshot
            .bound
            .insert_mut(pod.at.uid.clone(), Arc::clone(&pod));
        self.snapshot.unallocated.insert_mut(pod.at.uid.clone(), pod);
        self
    }

    /// This bound pod has all its addresses; the pools' counts are the test's own to set.
    pub(crate) fn allocated(mut self, name: &str) -> Self {
        self.snapshot
            .unallocated
            .remove_mut(format!("uid-{name}").as_str());
        self
    }
}

/// A rail of which nothing is known but its state; its port's GUID is its number and one, its leaf 0x100.
pub(crate) fn rail(number: u16, state: RailState) -> Rail {
    Rail {
        rail: number,
        hca: String::new(),
        guid: Guid(u64::from(number) + 1),
        leaf: Some(Guid(0x100)),
        leaf_name: String::new(),
        port: None,
        state,
        width: None,
        speed: None,
        source: MatchedBy::Guid,
    }
}

fn resource(rail: u32) -> ResourceName {
    format!("x.io/rail{rail}").into()
}

/// Gangs and tiers.
impl Cluster {
    pub(crate) fn of(snapshot: ClusterSnapshot) -> Self {
        Self { rails: 0, snapshot }
    }

    pub(crate) fn node_in(self, name: &str, vfs: u32, leaf_group: &str) -> Self {
        self.node(name, vfs)
            .labelled(name, annotation::LEAF_GROUP, leaf_group)
    }

    pub(crate) fn labelled(mut self, node: &str, key: &str, value: &str) -> Self {
        let mut changed = Node::clone(self.snapshot.nodes.get(node).unwrap());
        changed.labels.insert(key.to_owned(), value.to_owned());
        changed.presets = PresetMarks::of(&changed.labels);
        self.snapshot.nodes.insert_mut(node.into(), Arc::new(changed));
        self
    }

    /// What the fabric import says of a node.
    pub(crate) fn fabric(mut self, node: &str, rails: Vec<Rail>) -> Self {
        let mut changed = Node::clone(self.snapshot.nodes.get(node).unwrap());
        changed.fabric = Some(Ok(rails));
        self.snapshot.nodes.insert_mut(node.into(), Arc::new(changed));
        self
    }

    /// The pods of a gang, none of them placed.
    pub(crate) fn gang(&self, name: &str, size: u32, locality: &Locality) -> Vec<Pod> {
        (0..size)
            .map(|number| Pod {
                gang: Ok(Some(Gang {
                    name: name.into(),
                    size: Some(size),
                    locality: Some(locality.clone()),
                    by_scheduler: false,
                })),
                ..self.pod(&format!("{name}-{number}"))
            })
            .collect()
    }

    /// A bound pod of a gang.
    pub(crate) fn bound_of_gang(self, pod: &str, node: &str, gang: &str) -> Self {
        let mut with = self.bound(pod, node);
        let at = GangRef {
            namespace: "default".into(),
            name: gang.into(),
        };
        with.snapshot.change_members(at, |members| {
            members.bound.insert(format!("uid-{pod}").into(), node.into());
        });
        with
    }
}
