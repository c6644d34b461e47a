//! The self-check of the index: everything that is kept up change by change, worked out from scratch from the objects
//! it was made of, and compared.
//!
//! What is copied under the index's lock is copied cheaply (persistent maps, reference counts); the work is done on the
//! copy. The objects themselves are taken as they are kept: whether they are those of the cluster is the watches' affair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pods::{Kept, Load, wants_something};
use super::pools::{reserved_sets, with_cut};
use super::{Key, State};
use crate::cluster::convert::pool::PoolParts;
use crate::cluster::findings::Findings;
use crate::cluster::index::rates;
use crate::decide::address::{AddressRange, Family};
use crate::decide::amounts::Amounts;
use crate::decide::changes::Changes;
use crate::decide::claim::Claims;
use crate::decide::cluster::{ClusterSnapshot, Map, Members};
use crate::decide::fabric::Guid;
use crate::decide::links::LeafRates;
use crate::decide::names::{GangRef, NetworkRef, NodeName, PodUid, PoolName, ResourceName};
use crate::decide::network::Network;
use crate::decide::node::RdmaMode;
use crate::decide::placement::unfetched_of;
use crate::decide::pod::{Phase, Pod};
use crate::decide::pool::Pool;
use crate::decide::settings::Settings;

/// A copy of what an index is made of, and of what it has made of that.
#[derive(Debug)]
pub struct Sources {
    /// What is kept up change by change.
    kept: ClusterSnapshot,
    /// The generation of the snapshot that decisions are made by.
    published: u64,
    modes_told: usize,
    shared_loads: usize,
    pods: Vec<Arc<Pod>>,
    loads: Vec<Load>,
    departed: BTreeSet<PodUid>,
    gone: Vec<PodUid>,
    attachments: BTreeMap<NetworkRef, Arc<Network>>,
    multus_configs: BTreeMap<Key, Arc<Network>>,
    pools: BTreeMap<PoolName, Arc<PoolParts>>,
    reserved: BTreeMap<Key, BTreeMap<Family, Vec<AddressRange>>>,
    subnets: BTreeMap<Key, Pool>,
    waiting_plugins: BTreeMap<Key, NodeName>,
    device_classes: BTreeMap<Key, ResourceName>,
}

/// The same from scratch.
struct Rebuilt {
    /// The objects, and what claims are worked out from.
    snapshot: ClusterSnapshot,
    pending: BTreeMap<PodUid, Arc<Pod>>,
    bound: BTreeMap<PodUid, Arc<Pod>>,
    used: BTreeMap<NodeName, Amounts>,
    gangs: BTreeMap<GangRef, Members>,
    takes: BTreeSet<Arc<Amounts>>,
}

impl State {
    /// Copies what the check needs.
    pub(in crate::cluster::index) fn sources(&self, published: u64) -> Sources {
        let (mut pods, mut loads) = (Vec::new(), Vec::with_capacity(self.pods.len()));
        for kept in self.pods.values() {
            match kept {
                Kept::Whole(pod) => pods.push(Arc::clone(pod)),
                Kept::Load(load) => loads.push(load.clone()),
            }
        }
        Sources {
            kept: self.snapshot.clone(),
            published,
            modes_told: self.modes_told,
            shared_loads: self.loads.len(),
            pods,
            loads,
            departed: self.departed.keys().cloned().collect(),
            gone: self.gone.iter().map(|(_, uid)| uid.clone()).collect(),
            attachments: self.attachments.clone(),
            multus_configs: self.multus_configs.clone(),
            pools: self.pools.clone(),
            reserved: self.reserved.clone(),
            subnets: self.subnets.clone(),
            waiting_plugins: self.waiting_plugins.clone(),
            device_classes: self.device_classes.clone(),
        }
    }
}

impl Sources {
    /// The generation that is compared.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.kept.generation
    }

    /// Works everything out from scratch, and compares.
    #[must_use]
    pub fn compare(&self, settings: &Settings) -> Findings {
        let (kept, fresh) = (&self.kept, self.rebuilt());
        let mut found = Findings::default();
        found.compare_value("publication", self.published, kept.generation);
        found.compare("networks", kept.networks.iter(), fresh.snapshot.networks.iter());
        found.compare("pools", kept.pools.iter(), fresh.snapshot.pools.iter());
        found.compare("holders", kept.holding.iter(), fresh.snapshot.holding.iter());
        found.compare("pending", kept.pending.iter(), fresh.pending.iter());
        found.compare("bound", kept.bound.iter(), fresh.bound.iter());
        self.compare_unfetched(&fresh, settings, &mut found);
        found.compare(
            "used",
            kept.used.iter().map(|(node, used)| (node, named(used))),
            fresh.used.iter().map(|(node, used)| (node, named(used))),
        );
        let members = kept.gangs.iter().map(|(gang, members)| (gang, members.as_ref()));
        found.compare("gangs", members, fresh.gangs.iter());
        let begun = |members: &&Members| !members.bound.is_empty() && !members.pending.is_empty();
        let begun = fresh.gangs.iter().filter(|(_, members)| begun(members));
        found.compare_names("begun", kept.begun.iter(), begun.map(|(gang, _)| gang));
        found.compare(
            "leaf rates",
            kept.leaf_rates.iter().map(|(leaf, rates)| (leaf.0, rates)),
            self.leaf_rates().iter().map(|(leaf, rates)| (leaf.0, rates)),
        );
        let by_claims = counted(self.device_classes.values());
        found.compare("by claims", kept.by_claims.iter(), by_claims.iter());
        let plugins = counted(self.waiting_plugins.values());
        found.compare("waiting plugins", kept.waiting_plugins.iter(), plugins.iter());
        let gone: BTreeSet<&PodUid> = self.gone.iter().collect();
        found.compare_names("gone", kept.gone.keys(), gone);
        let tells = kept.sriov.values().filter(|state| {
            let facts = state.reading.as_ref();
            facts.is_ok_and(|facts| facts.rdma != RdmaMode::Unknown)
        });
        found.compare_value("modes told", self.modes_told, tells.count());
        found.compare_value("shared loads", self.shared_loads, fresh.takes.len());
        found
    }

    /// What bound pods are still to fetch; pods that went a moment ago may have fetched, and stay as they were.
    fn compare_unfetched(&self, fresh: &Rebuilt, settings: &Settings, found: &mut Findings) {
        let mut claims = Claims::default();
        let mut unfetched = BTreeMap::new();
        for (uid, pod) in &fresh.bound {
            let Phase::Bound(node) = &pod.phase else { continue };
            let claim = claims.of(pod, &fresh.snapshot, settings);
            let sets = unfetched_of(claim, node, &fresh.snapshot);
            if !sets.is_empty() {
                unfetched.insert(uid, sets);
            }
        }
        let stays = |uid: &PodUid| !self.departed.contains(uid);
        let kept = &self.kept;
        found.compare(
            "unallocated",
            kept.unallocated.iter().filter(|(uid, _)| stays(uid)),
            fresh
                .bound
                .iter()
                .filter(|(uid, _)| unfetched.contains_key(uid) && stays(uid)),
        );
        let sets = kept.unfetched.iter().filter(|(uid, _)| stays(uid));
        let rebuilt = unfetched.iter().filter(|(uid, _)| stays(uid));
        found.compare(
            "unfetched",
            sets.map(|(uid, sets)| (uid, sets.as_ref())),
            rebuilt.map(|(uid, sets)| (*uid, sets.as_slice())),
        );
    }

    fn rebuilt(&self) -> Rebuilt {
        let mut fresh = Rebuilt {
            snapshot: self.objects(),
            pending: BTreeMap::new(),
            bound: BTreeMap::new(),
            used: BTreeMap::new(),
            gangs: BTreeMap::new(),
            takes: BTreeSet::new(),
        };
        for pod in &self.pods {
            fresh.add(pod);
        }
        for load in &self.loads {
            fresh.takes.insert(Arc::clone(&load.takes));
            add(&mut fresh.used, &load.node, &load.takes);
        }
        fresh
    }

    /// The objects themselves, and the networks and pools that are made of several of them.
    fn objects(&self) -> ClusterSnapshot {
        let kept = &self.kept;
        let mut fresh = ClusterSnapshot {
            nodes: kept.nodes.clone(),
            namespaces: kept.namespaces.clone(),
            endpoints: kept.endpoints.clone(),
            // Claims that are alike are worked out once; nothing changes in here.
            changes: Changes::kept(),
            ..ClusterSnapshot::default()
        };
        for network in self
            .multus_configs
            .values()
            .rev()
            .chain(self.attachments.values())
        {
            fresh.networks.insert_mut(network.at.clone(), Arc::clone(network));
        }
        let reserved = reserved_sets(&self.reserved);
        for (name, parts) in &self.pools {
            let pool = Arc::new(parts.without(&reserved));
            for uid in pool.reading.iter().flat_map(|facts| facts.holders.keys()) {
                let pools = fresh.holding.get(uid).copied().unwrap_or(0);
                fresh.holding.insert_mut(uid.clone(), pools + 1);
            }
            fresh.pools.insert_mut(name.clone(), pool);
        }
        for ((_, name), subnet) in &self.subnets {
            let pool = with_cut(subnet.clone(), name, &fresh.pools);
            fresh.pools.insert_mut(PoolName::of_subnet(name), Arc::new(pool));
        }
        fresh
    }

    fn leaf_rates(&self) -> Map<Guid, Arc<LeafRates>> {
        let mut leaves = Map::default();
        for node in self.kept.nodes.values() {
            rates::change(&mut leaves, None, Some(node));
        }
        leaves
    }
}

impl Rebuilt {
    fn add(&mut self, pod: &Arc<Pod>) {
        let uid = &pod.at.uid;
        match &pod.phase {
            Phase::Bound(node) => {
                add(&mut self.used, node, &pod.takes);
                if wants_something(pod) {
                    self.bound.insert(uid.clone(), Arc::clone(pod));
                }
            }
            Phase::Pending { .. } => drop(self.pending.insert(uid.clone(), Arc::clone(pod))),
            Phase::Ended => {}
        }
        let Some(gang) = pod.gang_ref() else { return };
        let members = self.gangs.entry(gang).or_default();
        match &pod.phase {
            Phase::Bound(node) => drop(members.bound.insert(uid.clone(), node.clone())),
            Phase::Pending { .. } => drop(members.pending.insert(uid.clone())),
            Phase::Ended => drop(members.ended.insert(uid.clone())),
        }
        if !pod.leaving && pod.phase != Phase::Ended {
            members.staying.insert(uid.clone(), pod.at.name.clone());
        }
    }
}

fn add(used: &mut BTreeMap<NodeName, Amounts>, node: &NodeName, takes: &Amounts) {
    match used.get_mut(node) {
        Some(used) => used.add(takes),
        None => drop(used.insert(node.clone(), takes.clone())),
    }
}

/// What there is some of: none of something is the same as not to name it.
fn named(used: &Amounts) -> Vec<(&ResourceName, u64)> {
    used.iter().filter(|(_, amount)| *amount > 0).collect()
}

fn counted<'a, K: Ord + Clone + 'a>(each: impl Iterator<Item = &'a K>) -> BTreeMap<K, u32> {
    let mut counts = BTreeMap::new();
    for one in each {
        *counts.entry(one.clone()).or_insert(0) += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::index::Index;
    use crate::cluster::objects::Kind;
    use crate::decide::annotation;
    use crate::decide::cluster::Set;
    use serde_json::{Value, json};

    /// An index in which every part has something.
    fn index() -> Index {
        let index = Index::new(Arc::new(Settings::default()));
        let object = |api_version: &str, kind: &str, name: &str, rest: Value| {
            let mut object = json!({"apiVersion": api_version, "kind": kind,
                "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")}});
            for (key, value) in rest.as_object().unwrap() {
                match (key.as_str(), value.as_object()) {
                    ("metadata", Some(more)) => {
                        object["metadata"].as_object_mut().unwrap().extend(more.clone());
                    }
                    _ => object[key] = value.clone(),
                }
            }
            index.apply(object).unwrap();
        };
        let pod = |name: &str, node: Option<&str>, metadata: Value, resource: &str| {
            let spec =
                json!({"nodeName": node, "containers": [{"resources": {"requests": {resource: "1"}}}]});
            object("v1", "Pod", name, json!({"metadata": metadata, "spec": spec}));
        };
        let config =
            json!({"type": "ib-sriov", "ipam": {"type": "spiderpool", "default_ipv4_ippool": ["p"]}});
        object(
            "k8s.cni.cncf.io/v1",
            "NetworkAttachmentDefinition",
            "rail0",
            json!({
            "metadata": {"annotations": {annotation::RESOURCE_NAME: "x.io/vf"}},
            "spec": {"config": config.to_string()}}),
        );
        let held = json!({"10.0.0.1": {"pod": "default/held", "podUid": "uid-held"}});
        object(
            "spiderpool.spidernet.io/v2beta1",
            "SpiderIPPool",
            "p",
            json!({
            "spec": {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.9"]},
            "status": {"allocatedIPs": held.to_string()}}),
        );
        object(
            "spiderpool.spidernet.io/v2beta1",
            "SpiderReservedIP",
            "r",
            json!({"spec": {"ips": ["10.0.0.9"]}}),
        );
        let rail = json!({"rail": 0, "hca": "mlx5_0", "guid": "0x1", "leaf": "0x100", "state": "Active",
            "width": "4x", "speed": "HDR", "source": "guid"});
        let fabric = json!({"version": 1, "rails": [rail]}).to_string();
        object(
            "v1",
            "Node",
            "n1",
            json!({"metadata": {"annotations": {annotation::FABRIC: fabric}}}),
        );
        object(
            "sriovnetwork.openshift.io/v1",
            "SriovNetworkNodeState",
            "n1",
            json!({
            "status": {"syncStatus": "Succeeded", "system": {"rdmaMode": "exclusive"}}}),
        );
        object(
            "resource.k8s.io/v1",
            "DeviceClass",
            "c",
            json!({"spec": {"extendedResourceName": "x.io/claimed"}}),
        );
        let gang = json!({"labels": {annotation::GANG: "g"}, "annotations": {annotation::NETWORKS: "rail0", annotation::GANG_SIZE: "2"}});
        pod("held", Some("n1"), gang.clone(), "x.io/vf");
        pod("waits", None, gang, "x.io/vf");
        let alone = json!({"annotations": {annotation::NETWORKS: "rail0"}});
        pod("fetches", Some("n1"), alone.clone(), "x.io/vf");
        pod("goes", Some("n1"), alone, "x.io/vf");
        index.remove(Kind::Pod, &("default".to_owned(), "goes".to_owned()));
        pod("load", Some("n1"), json!({}), "cpu");
        index
    }

    fn differing(index: &Index) -> Vec<&'static str> {
        let found = index.sources().compare(&Settings::default());
        let parts = found.parts.iter().filter(|part| part.differences > 0);
        parts.map(|part| part.part).collect()
    }

    /// A part, and what spoils it.
    type Spoiled = (&'static str, fn(&mut State));

    /// Something too much or missing in each part.
    const SPOILED: [Spoiled; 17] = [
        ("publication", |state| state.snapshot.generation += 1),
        ("networks", |state| state.snapshot.networks = Map::default()),
        ("pools", |state| state.snapshot.pools = Map::default()),
        ("holders", |state| state.snapshot.holding = Map::default()),
        ("pending", |state| state.snapshot.pending = Map::default()),
        ("bound", |state| state.snapshot.bound = Map::default()),
        ("unallocated", |state| state.snapshot.unallocated = Map::default()),
        ("unfetched", |state| state.snapshot.unfetched = Map::default()),
        ("used", |state| {
            let more: Amounts = [("x.io/vf".into(), 1)].into_iter().collect();
            state.snapshot.change_use(&"n1".into(), |used| used.add(&more));
        }),
        ("gangs", |state| state.snapshot.gangs = Map::default()),
        ("begun", |state| state.snapshot.begun = Set::default()),
        ("leaf rates", |state| state.snapshot.leaf_rates = Map::default()),
        ("by claims", |state| state.snapshot.by_claims = Map::default()),
        ("waiting plugins", |state| {
            state.snapshot.waiting_plugins.insert_mut("n1".into(), 1);
        }),
        ("gone", |state| state.snapshot.gone = Map::default()),
        ("modes told", |state| state.modes_told = 0),
        ("shared loads", |state| state.loads.clear()),
    ];

    #[test]
    fn what_is_spoiled_is_found_in_each_part_and_in_no_other() {
        assert_eq!(differing(&index()), Vec::<&str>::new());
        for (part, spoil) in SPOILED {
            let index = index();
            spoil(&mut index.lock());
            assert_eq!(differing(&index), [part]);
        }
        let found = index().sources().compare(&Settings::default());
        let parts: Vec<&str> = found.parts.iter().map(|part| part.part).collect();
        assert_eq!(parts, SPOILED.map(|(part, _)| part), "every part is spoiled once");
        for part in found.parts.iter().filter(|part| part.part != "waiting plugins") {
            assert!(part.compared > 0, "{part:?}: a part that is empty shows nothing");
        }
    }

    #[test]
    fn a_pod_that_was_taken_for_gone_and_is_there_again_is_waited_for() {
        let index = index();
        let again = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "goes", "namespace": "default",
            "uid": "uid-goes", "annotations": {annotation::NETWORKS: "rail0"}},
            "spec": {"nodeName": "n1", "containers": [{"resources": {"requests": {"x.io/vf": "1"}}}]}});
        index.apply(again).unwrap();
        for _ in 0..5 {
            index.age();
        }
        assert!(index.published().load().unallocated.contains_key("uid-goes"));
        assert_eq!(differing(&index), Vec::<&str>::new());
    }
}
