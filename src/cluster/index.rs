//! The index: every object of the cluster that matters, changed by one event at a time, published as snapshots.
//!
//! Changing an entry costs the entry; the snapshot is made of persistent maps. Only a change of something many
//! pods depend on (a network, a pool's specification, a namespace) looks at all bound pods again. A broken object
//! stays in the index as broken, so that whoever depends on it is told, and nothing else is affected.

mod rates;
mod state;
#[cfg(test)]
mod surveyed;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kube::core::DynamicObject;
use tokio::sync::watch;

pub use self::state::Sources;
use self::state::State;
use super::objects::{Kind, Object};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::links;
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::Settings;

/// An object's place among those of its kind: namespace (empty for cluster-wide kinds) and name.
pub type Key = (String, String);

/// Which pods an index is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// Every one, so that it knows what is taken of each node.
    All,
    /// Those of gangs, by their label: all that admission asks of pods is how many a gang has.
    OfGangs,
}

/// The index. One lock around the maps that are being changed; readers take the published snapshot without it.
#[derive(Debug)]
pub struct Index {
    settings: Arc<Settings>,
    pods: Pods,
    state: Mutex<State>,
    published: Arc<ArcSwap<ClusterSnapshot>>,
    generation: watch::Sender<u64>,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self::of(Pods::All, settings)
    }

    /// An empty index that is told of these pods.
    #[must_use]
    pub fn of(pods: Pods, settings: Arc<Settings>) -> Self {
        Self {
            settings,
            pods,
            state: Mutex::new(State::new()),
            published: Arc::default(),
            generation: watch::Sender::new(0),
        }
    }

    /// Which pods it is to be told of.
    #[must_use]
    pub fn pods(&self) -> Pods {
        self.pods
    }

    /// Where the newest snapshot can always be read.
    #[must_use]
    pub fn published(&self) -> Arc<ArcSwap<ClusterSnapshot>> {
        Arc::clone(&self.published)
    }

    /// Counts the published snapshots; changes with each.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Takes in an object as JSON or YAML has it; kinds that do not matter are passed over.
    ///
    /// # Errors
    /// What cannot be read in it. The object is kept, as broken, so that those who depend on it are told.
    pub fn apply(&self, object: serde_json::Value) -> Result<(), Problems> {
        let text = |key: &str| {
            object
                .get(key)
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind_name) = (text("apiVersion"), text("kind"));
        let Some(kind) = Kind::of(&api_version, &kind_name) else {
            return Ok(());
        };
        let typed = match kind {
            Kind::Pod => typed(object).map(|pod| Object::Pod(Box::new(pod))),
            Kind::Node => typed(object).map(|node| Object::Node(Box::new(node))),
            Kind::Namespace => typed(object).map(|namespace| Object::Namespace(Box::new(namespace))),
            Kind::Job => typed(object).map(|job| Object::Job(Box::new(job))),
            custom => typed::<DynamicObject>(object).map(|object| Object::Custom(custom, Box::new(object))),
        };
        // Files are the whole cluster: a pod that is not in them does not exist.
        self.lock().snapshot.knows_pods = true;
        self.put(typed.map_err(|(path, error)| {
            Problems::from(Problem::new(
                format!("{kind_name}, {path}"),
                error,
                format!("an object of kind {kind_name} as the API server prints it"),
                "correct the object",
            ))
        })?)
    }

    /// Takes in a new or changed object, and publishes.
    ///
    /// # Errors
    /// As [`Index::apply`].
    pub fn put(&self, object: Object) -> Result<(), Problems> {
        let mut state = self.lock();
        let result = state.put(object, &self.settings);
        self.publish(&mut state);
        result
    }

    /// Drops an object that is gone, and publishes.
    pub fn remove(&self, kind: Kind, key: &Key) {
        let mut state = self.lock();
        state.remove(kind, key, &self.settings);
        self.publish(&mut state);
    }

    /// Drops every object of a kind that a fresh list does not have: deletions that nobody told us of.
    pub fn retain(&self, kind: Kind, listed: &BTreeSet<Key>) {
        let mut state = self.lock();
        for gone in state.keys(kind).into_iter().filter(|key| !listed.contains(key)) {
            state.remove(kind, &gone, &self.settings);
        }
        state.snapshot.knows_pods |= kind == Kind::Pod && self.pods == Pods::All;
        self.publish(&mut state);
    }

    /// To be called once a second: forgets what departed pods might still have been given, and sees when the fabric
    /// data has become too old.
    pub fn age(&self) {
        let mut state = self.lock();
        let was_stale = links::is_stale(&state.snapshot, &self.settings);
        state.snapshot.fabric = state.looked_at(Timestamp::now());
        let turned = was_stale != links::is_stale(&state.snapshot, &self.settings);
        if turned {
            state.snapshot.changes.of_all();
        }
        if state.age() || turned {
            self.publish(&mut state);
        }
    }

    /// How many objects of a kind cannot be read.
    #[must_use]
    pub fn unreadable_of(&self, kind: Kind) -> usize {
        self.lock()
            .unreadable
            .keys()
            .filter(|(other, _)| *other == kind)
            .count()
    }

    /// A copy of what the index is made of, for comparing it with what it has made of that.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let state = self.lock();
        state.sources(self.published.load().generation)
    }

    fn publish(&self, state: &mut State) {
        state.snapshot.generation += 1;
        let was_stale = links::is_stale(&state.snapshot, &self.settings);
        state.snapshot.fabric = state.looked_at(Timestamp::now());
        if was_stale != links::is_stale(&state.snapshot, &self.settings) {
            state.snapshot.changes.of_all();
        }
        self.published.store(Arc::new(state.snapshot.clone()));
        self.generation.send_replace(state.snapshot.generation);
    }

    /// A panic while the lock was held has been answered as such; the maps are changed entry by entry, and what a
    /// watch says next mends the entry.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of an object in the index.
pub(super) fn key(object: &Object) -> Key {
    let metadata = object.metadata();
    let namespace = match object.kind() {
        // A node's state is looked up by the node's name, whatever the operator's namespace is called; of Leases, one
        // name in one namespace is watched.
        Kind::NodeState
        | Kind::Lease
        | Kind::Node
        | Kind::Namespace
        | Kind::Pool
        | Kind::ReservedIp
        | Kind::Subnet
        | Kind::DeviceClass => None,
        Kind::Pod
        | Kind::Job
        | Kind::Attachment
        | Kind::MultusConfig
        | Kind::Endpoint
        | Kind::PodGroup
        | Kind::DeviceClaim
        | Kind::DeviceClaimTemplate => Some(metadata.namespace.as_deref().unwrap_or("default")),
    };
    (
        namespace.unwrap_or_default().to_owned(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn typed<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, (String, String)> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| (error.path().to_string(), error.into_inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::reason::Reason;
    use serde_json::{Value, json};

    fn index() -> Index {
        Index::new(Arc::new(Settings::default()))
    }

    #[test]
    fn pods_are_known_once_they_have_been_listed() {
        let index = index();
        index.retain(Kind::Node, &BTreeSet::new());
        assert!(!index.published().load().knows_pods);
        index.retain(Kind::Pod, &BTreeSet::new());
        index.retain(Kind::Node, &BTreeSet::new());
        assert!(index.published().load().knows_pods);
    }

    fn rail_pool(allocated: &Value) -> Value {
        json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool", "metadata": {"name": "p"},
            "spec": {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.3"]},
            "status": {"allocatedIPs": allocated.to_string()}})
    }

    fn network() -> Value {
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "rail0", "namespace": "default",
                "annotations": {"k8s.v1.cni.cncf.io/resourceName": "x.io/vf"}},
            "spec": {"config": r#"{"type":"ib-sriov","ipam":{"type":"spiderpool","default_ipv4_ippool":["p"]}}"#}})
    }

    fn pod(name: &str, node: Option<&str>) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
                "annotations": {"k8s.v1.cni.cncf.io/networks": "rail0"}},
            "spec": {"nodeName": node, "containers": [{"resources": {"requests": {"x.io/vf": "1"}}}]}})
    }

    fn unallocated(index: &Index) -> Vec<String> {
        index
            .published()
            .load()
            .unallocated
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_bound_pod_is_waited_for_until_the_pool_shows_its_address() {
        let index = index();
        for object in [
            network(),
            rail_pool(&json!({})),
            pod("a", Some("n1")),
            pod("b", None),
        ] {
            index.apply(object).unwrap();
        }
        assert_eq!(unallocated(&index), ["uid-a"]);
        assert_eq!(index.published().load().pending.size(), 1);
        index
            .apply(rail_pool(
                &json!({"10.0.0.1": {"pod": "default/a", "podUid": "uid-a"}}),
            ))
            .unwrap();
        assert!(unallocated(&index).is_empty());
        let snapshot = index.published().load_full();
        assert_eq!(snapshot.pools.get("p").unwrap().reading.as_ref().unwrap().free, 2);
        assert_eq!(snapshot.used.get("n1").unwrap().of("x.io/vf"), 1000);
    }

    #[test]
    fn a_pod_that_has_its_address_fetches_none_of_the_pool_that_its_network_names_later() {
        let index = index();
        let held = rail_pool(&json!({"10.0.0.1": {"pod": "default/a", "podUid": "uid-a"}}));
        let mut other = rail_pool(&json!({}));
        other["metadata"]["name"] = json!("q");
        let mut moved = network();
        let config = r#"{"type":"ib-sriov","ipam":{"type":"spiderpool","default_ipv4_ippool":["q"]}}"#;
        moved["spec"]["config"] = json!(config);
        for object in [network(), held, other, pod("a", Some("n1")), moved] {
            index.apply(object).unwrap();
        }
        assert!(unallocated(&index).is_empty());
        index.apply(pod("b", Some("n1"))).unwrap();
        assert_eq!(unallocated(&index), ["uid-b"]);
    }

    #[test]
    fn the_order_in_which_objects_arrive_does_not_matter() {
        let objects = [network(), rail_pool(&json!({})), pod("a", Some("n1"))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let index = index();
            for at in order {
                index.apply(objects[at].clone()).unwrap();
            }
            assert_eq!(unallocated(&index), ["uid-a"], "{order:?}");
        }
    }

    #[test]
    fn a_pod_that_goes_before_its_address_shows_counts_a_while_longer() {
        let index = index();
        for object in [network(), rail_pool(&json!({})), pod("a", Some("n1"))] {
            index.apply(object).unwrap();
        }
        index.remove(Kind::Pod, &("default".to_owned(), "a".to_owned()));
        assert_eq!(
            unallocated(&index),
            ["uid-a"],
            "it may have fetched an address that no watch has shown yet"
        );
        assert!(
            index.published().load().used.is_empty(),
            "its VFs are free at once: the kubelet has them back"
        );
        index.age();
        assert_eq!(unallocated(&index), ["uid-a"]);
        index.age();
        index.age();
        assert!(unallocated(&index).is_empty());
    }

    #[test]
    fn a_broken_object_affects_nothing_else_and_mends() {
        let index = index();
        let mut broken = rail_pool(&json!({}));
        broken["spec"]["ips"] = json!(["10.0.0.1-x"]);
        for object in [network(), pod("a", None)] {
            index.apply(object).unwrap();
        }
        let problems = index.apply(broken).unwrap_err().to_string();
        assert!(
            problems.contains("SpiderIPPool p, spec.ips[0]: found \"10.0.0.1-x\""),
            "{problems}"
        );
        assert_eq!(index.unreadable_of(Kind::Pool), 1);
        let snapshot = index.published().load_full();
        let pod = snapshot.pending.get("uid-a").unwrap();
        let refusal = crate::decide::claim::claim(pod, &snapshot, &Settings::default()).unwrap_err();
        assert_eq!(refusal.reason(), Reason::PoolUnreadable);
        index.apply(rail_pool(&json!({}))).unwrap();
        assert_eq!(index.unreadable_of(Kind::Pool), 0);
    }

    fn lease(name: &str, renewed: &str) -> Value {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "pointsman-system"}, "spec": {"renewTime": renewed}})
    }

    #[test]
    fn the_age_of_the_fabric_data_is_that_of_the_imports_lease() {
        let index = index();
        let is_stale = || links::is_stale(&index.published().load(), &Settings::default());
        let ago = |hours: i64| (Timestamp::now() - jiff::SignedDuration::from_hours(hours)).to_string();
        // Every node has a Lease, and so has every controller.
        index.apply(lease("n1", &ago(100))).unwrap();
        assert_eq!(index.published().load().fabric, None);
        for (hours, stale) in [(1, false), (25, true), (-1, false)] {
            index.apply(lease("pointsman-fabric", &ago(hours))).unwrap();
            assert_eq!(is_stale(), stale, "{hours} hours");
        }
        let problems = index
            .apply(lease("pointsman-fabric", "yesterday"))
            .unwrap_err()
            .to_string();
        assert!(
            problems.contains("spec.renewTime: found \"yesterday\""),
            "{problems}"
        );
        assert_eq!(index.published().load().fabric, None);
        index.apply(lease("pointsman-fabric", &ago(25))).unwrap();
        index.retain(Kind::Lease, &BTreeSet::new());
        assert_eq!(index.published().load().fabric, None);
    }

    #[test]
    fn data_that_becomes_too_old_is_published_as_such() {
        let settings = Settings {
            links: links::LinkPolicy {
                max_age: core::time::Duration::from_millis(20),
                ..links::LinkPolicy::default()
            },
            ..Settings::default()
        };
        let index = Index::new(Arc::new(settings.clone()));
        index
            .apply(lease("pointsman-fabric", &Timestamp::now().to_string()))
            .unwrap();
        let generation = || index.published().load().generation;
        let before = generation();
        let deadline = std::time::Instant::now() + core::time::Duration::from_secs(10);
        while generation() == before {
            assert!(std::time::Instant::now() < deadline, "it never became too old");
            index.age();
        }
        assert!(links::is_stale(&index.published().load(), &settings));
    }

    #[test]
    fn links_are_counted_by_leaf_and_rate_as_nodes_come_change_and_go() {
        let index = index();
        let node = |name: &str, width: &str| {
            let rail = json!({"rail": 0, "hca": "mlx5_0", "guid": "0x1", "leaf": "0x100", "state": "Active",
                "width": width, "speed": "HDR", "source": "guid"});
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": {
                "pointsman.io/fabric": json!({"version": 1, "rails": [rail]}).to_string()}}})
        };
        let counts = || -> Vec<u32> {
            let snapshot = index.published().load_full();
            let leaf = snapshot.leaf_rates.get(&crate::decide::fabric::Guid(0x100));
            leaf.map(|rates| rates.values().copied().collect())
                .unwrap_or_default()
        };
        for (name, width) in [("n1", "4x"), ("n2", "4x"), ("n3", "1x")] {
            index.apply(node(name, width)).unwrap();
        }
        assert_eq!(counts(), [1, 2]);
        index.apply(node("n3", "4x")).unwrap();
        assert_eq!(counts(), [3]);
        let mut broken = node("n2", "4x");
        broken["metadata"]["annotations"]["pointsman.io/fabric"] = "{".into();
        let problems = index.apply(broken).unwrap_err().to_string();
        assert!(
            problems.contains("node n2, annotation pointsman.io/fabric"),
            "{problems}"
        );
        assert_eq!(index.unreadable_of(Kind::Node), 1);
        index.remove(Kind::Node, &(String::new(), "n1".to_owned()));
        assert_eq!(counts(), [1]);
        index.remove(Kind::Node, &(String::new(), "n3".to_owned()));
        assert_eq!(counts(), Vec::<u32>::new());
    }

    #[test]
    fn what_a_fresh_list_lacks_is_gone() {
        let index = index();
        for name in ["a", "b"] {
            index.apply(pod(name, Some("n1"))).unwrap();
        }
        index.retain(
            Kind::Pod,
            &BTreeSet::from([("default".to_owned(), "b".to_owned())]),
        );
        let snapshot = index.published().load_full();
        assert_eq!(
            snapshot.bound.keys().map(ToString::to_string).collect::<Vec<_>>(),
            ["uid-b"]
        );
        assert_eq!(snapshot.used.get("n1").unwrap().of("x.io/vf"), 1000);
    }

    #[test]
    fn a_pod_that_is_gone_is_known_as_such_for_some_minutes() {
        let index = index();
        let is_gone = |uid: &str| index.published().load().gone.contains_key(uid);
        index.apply(pod("a", None)).unwrap();
        index.apply(pod("a", Some("n1"))).unwrap();
        assert!(!is_gone("uid-a"));
        index.remove(Kind::Pod, &("default".to_owned(), "a".to_owned()));
        assert!(is_gone("uid-a"));
        for _ in 0..179 {
            index.age();
        }
        index.apply(network()).unwrap();
        assert!(is_gone("uid-a"));
        index.age();
        index.apply(rail_pool(&json!({}))).unwrap();
        assert!(!is_gone("uid-a"), "and not for ever");
    }

    #[test]
    fn a_pod_of_the_same_name_is_another_pod() {
        let index = index();
        index.apply(pod("a", Some("n1"))).unwrap();
        let mut again = pod("a", Some("n2"));
        again["metadata"]["uid"] = "uid-again".into();
        index.apply(again).unwrap();
        let snapshot = index.published().load_full();
        assert!(snapshot.used.get("n1").is_none());
        assert_eq!(snapshot.used.get("n2").unwrap().of("x.io/vf"), 1000);
    }

    #[test]
    fn another_groups_kind_of_the_same_name_is_not_taken_for_ours() {
        let index = index();
        index
            .apply(json!({"apiVersion": "example.com/v1", "kind": "Pod", "metadata": {"name": "x"}}))
            .unwrap();
        assert_eq!(index.published().load().generation, 0);
    }
}
