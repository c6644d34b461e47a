//! Pods of StatefulSets that go and come back with another UID. Their StatefulSets are real, and so is the controller
//! that makes their pods; Spiderpool's agent looks at both before it takes addresses back or keeps them.
//!
//! Each of them goes, and its CNI DEL leaves its addresses where they are, as the agent settles it. Meanwhile pools and
//! networks are edited and other pods come. Then they are asked about again, one after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Request;
use hyper::body::Bytes;
use pointsman::cluster::convert;
use pointsman::cluster::objects::Kind;
use pointsman::decide::claim::claim;
use pointsman::decide::names::NodeName;
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;

use super::world::{MadePod, Meanwhile};
use super::{Addresses, MADE_NODES, Outcome, Said, Trial};
use crate::harness::api::{At, ENDPOINTS, NETWORKS, PODS, POOLS, STATEFUL_SETS};
use crate::harness::ipam::Attachment;
use crate::harness::wait::{eventually, expect};
use crate::harness::{base64, http};

/// Everything the control plane does by itself may take this long.
const LIMIT: Duration = Duration::from_mins(1);

/// A pod that has its addresses and is to come back.
pub(super) struct Stayed {
    said: Said,
    again: MadePod,
    had: Addresses,
}

/// What is known of a pod that has come back.
#[derive(Clone, Debug)]
pub(super) struct Again {
    /// What it had in its life before.
    had: Addresses,
    /// The interfaces on which it is to have the same.
    keeps: BTreeSet<String>,
    /// Some pool of an address that it keeps has none that is free.
    beyond_the_pool: bool,
    /// Some pool of an address that it keeps is not for its node.
    pub(super) astray: bool,
}

impl Stayed {
    pub(super) fn new(said: Said, again: MadePod, had: Addresses) -> Self {
        Self { said, again, had }
    }
}

/// What was to be kept was, and there was enough of each kind to tell anything.
pub(super) fn judge(outcomes: &[Outcome]) {
    let returned: Vec<(&Outcome, &Again)> = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome, outcome.again.as_ref()?)))
        .collect();
    let fits = |outcome: &Outcome| outcome.refused.is_none();
    let keeping = || {
        let fitting = returned.iter().filter(|(outcome, _)| fits(outcome));
        fitting.filter(|(_, again)| !again.keeps.is_empty())
    };
    let lost: Vec<String> =
        keeping()
            .flat_map(|(outcome, again)| {
                let now = outcome.agent.as_ref().ok();
                let differs = move |interface: &&String| {
                    now.is_some_and(|now| now.get(*interface) != again.had.get(*interface))
                };
                again.keeps.iter().filter(differs).map(move |interface| {
                    format!("{}, {interface}: {:?}, {again:?}", outcome.pod, outcome.agent)
                })
            })
            .collect();
    let beyond = keeping().filter(|(_, again)| again.beyond_the_pool).count();
    let renewed = returned
        .iter()
        .filter(|(outcome, again)| fits(outcome) && again.keeps.len() < again.had.len())
        .count();
    let refused = returned.iter().filter(|(outcome, _)| !fits(outcome)).count();
    let astray = returned
        .iter()
        .filter(|(outcome, again)| outcome.on_purpose && again.astray)
        .count();
    eprintln!(
        "{} pods of StatefulSets came back: {} kept addresses, {beyond} of them out of pools with none that is free; {renewed} \
         were given new ones; {refused} were refused, {astray} of them because their pool is not for their node",
        returned.len(),
        keeping().count(),
    );
    assert!(lost.is_empty(), "to be kept, and not kept: {lost:#?}");
    let few = returned.len() / 20;
    assert!(
        few > 0 && keeping().count() > few && beyond > few && renewed > 0 && refused > 0,
        "too one-sided to tell anything"
    );
}

impl Trial {
    /// Creates the pod, or a StatefulSet whose only pod is like this one if it is to come back.
    pub(super) async fn raise(&self, namespace: &str, made: MadePod) -> (Value, MadePod) {
        let pods = PODS.within(namespace);
        let pod = if made.again.is_some() {
            self.raise_set(namespace, &made.object).await
        } else {
            self.plane.api.create(&pods, made.object.clone()).await.unwrap()
        };
        (pod, made)
    }

    async fn raise_set(&self, namespace: &str, pod: &Value) -> Value {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let mut labels = pod["metadata"]["labels"].clone();
        labels["set"] = json!(name);
        let set = json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "serviceName": name,
                // A new template is for the next pod, and is nothing to replace this one for.
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"set": name}},
                "template": {
                    "metadata": {"labels": labels, "annotations": pod["metadata"]["annotations"]},
                    "spec": pod["spec"],
                },
            },
        });
        let sets = STATEFUL_SETS.within(namespace);
        self.plane.api.create(&sets, set).await.unwrap();
        self.pod_of(namespace, &name, "").await
    }

    /// The pod of a StatefulSet, once it is another than the one with this UID.
    async fn pod_of(&self, namespace: &str, set: &str, before: &str) -> Value {
        let at = PODS.within(namespace).named(&format!("{set}-0"));
        eventually(&format!("the pod of {namespace}/{set}"), LIMIT, async || {
            let mut pod = self.plane.api.get(&at).await.map_err(|refused| refused.message)?;
            expect(pod["metadata"]["uid"] != before, || "the old pod".to_owned())?;
            // What a get answers says of itself what it is, but for its kind.
            pod["apiVersion"] = json!("v1");
            pod["kind"] = json!("Pod");
            Ok(pod)
        })
        .await
    }

    /// Changes a StatefulSet, and waits until its controller knows.
    async fn change_set(&self, namespace: &str, set: &str, patch: Value) {
        let at = STATEFUL_SETS.within(namespace).named(set);
        let changed = self.plane.api.merge(&at, patch).await.unwrap();
        let generation = changed["metadata"]["generation"].as_i64();
        eventually(
            &format!("the controller looks at {namespace}/{set}"),
            LIMIT,
            async || {
                let now = self.plane.api.get(&at).await.unwrap();
                let observed = now["status"]["observedGeneration"].as_i64();
                expect(observed >= generation, || now["status"].to_string())
            },
        )
        .await;
    }

    /// Takes the pod's StatefulSet down to none, so that Spiderpool takes its addresses back.
    pub(super) async fn scale_down(&self, said: &Said) {
        let (namespace, pod) = (said.text("namespace"), said.text("name"));
        self.change_set(namespace, said.set(), json!({"spec": {"replicas": 0}}))
            .await;
        let at = PODS.within(namespace).named(pod);
        eventually(&format!("{namespace}/{pod} is gone"), LIMIT, async || {
            // Its controller may have been faster.
            let _ = self.plane.api.delete_now(&at).await;
            let left = self.plane.api.get(&at).await;
            expect(left.is_err(), || "still there".to_owned())
        })
        .await;
    }

    /// All of them go, things change, and they come back.
    pub(super) async fn return_all(
        &self,
        namespace: &str,
        stayed: Vec<Stayed>,
        pools: &[At],
        meanwhile: Meanwhile,
    ) -> Vec<Outcome> {
        for (position, edit) in meanwhile.pools {
            self.edit(&pools[position], edit).await;
        }
        for (position, config) in meanwhile.networks {
            let at = NETWORKS.within(namespace).named(&format!("net-{position}"));
            let network = self
                .plane
                .api
                .merge(&at, json!({"spec": {"config": config}}))
                .await
                .unwrap();
            self.index.apply(network).unwrap();
        }
        let back = stayed.iter().map(|stayed| self.replace(namespace, stayed));
        let back = futures::future::join_all(back).await;
        self.catch_up(namespace).await;
        let mut outcomes = Vec::new();
        for (pod, stayed) in back.into_iter().zip(stayed) {
            let records = self.refresh(pools).await;
            self.look_up_endpoint(&stayed.said).await;
            let mut said = self.ask(pod, stayed.again.interfaces).await;
            said.again = Some(self.again(&said, stayed.had));
            outcomes.push(self.try_out(&said, &records, false).await);
        }
        self.refresh(pools).await;
        outcomes
    }

    async fn edit(&self, pool: &At, edit: Value) {
        if edit.is_null() {
            let held = json!({"metadata": {"finalizers": ["pointsman.io/test"]}});
            self.plane.api.merge(pool, held).await.unwrap();
            self.plane.api.delete(pool).await.unwrap();
        } else {
            self.plane.api.merge(pool, edit).await.unwrap();
        }
    }

    /// The pod's node lets it go, and its StatefulSet's controller makes the next one, out of the template of today.
    async fn replace(&self, namespace: &str, stayed: &Stayed) -> Value {
        let said = &stayed.said;
        let (old, new) = (&said.pod, &stayed.again.object);
        let mut annotations = Map::new();
        for key in old["metadata"]["annotations"].as_object().unwrap().keys() {
            annotations.insert(key.clone(), Value::Null);
        }
        annotations.extend(new["metadata"]["annotations"].as_object().unwrap().clone());
        let template = json!({
            "metadata": {"annotations": annotations},
            "spec": {"nodeName": new["spec"]["nodeName"]},
        });
        self.change_set(namespace, said.set(), json!({"spec": {"template": template}}))
            .await;
        let (name, uid) = (said.text("name"), said.text("uid"));
        self.vanish(namespace, name).await;
        self.index
            .remove(Kind::Pod, &(namespace.to_owned(), name.to_owned()));
        let interface = &said.interfaces[0].name;
        let attachment = Attachment {
            namespace,
            pod: name,
            uid,
            interface,
        };
        attachment.delete(self.plane.spiderpool().socket()).await.unwrap();
        self.pod_of(namespace, said.set(), uid).await
    }

    /// Takes a pod out of etcd itself. Where the API server deletes one, KWOK deletes it as well, by its name, and may meet
    /// the next of this name; and that one's next.
    async fn vanish(&self, namespace: &str, pod: &str) {
        let key = base64::encode(format!("/registry/pods/{namespace}/{pod}").as_bytes());
        let request = Request::post("/v3/kv/deleterange")
            .header("Host", "etcd")
            .body(Bytes::from(json!({"key": key}).to_string()))
            .unwrap();
        let etcd = self.plane.etcd.trim_start_matches("http://");
        let stream = TcpStream::connect(etcd).await.unwrap();
        let answer = http::send(stream, request).await.unwrap();
        let answer: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(answer["deleted"], "1", "{namespace}/{pod}: {answer}");
    }

    /// Waits until the agent has seen all that has happened until now. Of each kind of object it sees one change after the
    /// other: so it has, once a pod, a pool and an endpoint that were made last have come to its notice.
    async fn catch_up(&self, namespace: &str) {
        let number = namespace.trim_start_matches("diff-");
        let name = format!("mark-{number}");
        let spec = json!({"ipVersion": 4, "subnet": "198.18.0.0/24", "ips": ["198.18.0.1"]});
        let pool = json!({"metadata": {"name": name}, "spec": spec});
        self.plane.api.create(&POOLS.all(), pool).await.unwrap();
        let choice = json!({"ipv4": [name]}).to_string();
        let annotations = json!({"ipam.spidernet.io/ippool": choice, "k8s.v1.cni.cncf.io/networks": "net-0"});
        let pod = json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"nodeName": MADE_NODES[0].0, "containers": [{"name": "main", "image": "example.com/mark:1"}]},
        });
        let pod = self.plane.api.create(&PODS.within(namespace), pod).await.unwrap();
        let attachment = Attachment {
            namespace,
            pod: &name,
            uid: pod["metadata"]["uid"].as_str().unwrap(),
            interface: "net1",
        };
        // Asked once more, it finds the endpoint that it has made, or cannot make it again.
        for times in ["once", "twice"] {
            eventually(&format!("{name} has its address, {times}"), LIMIT, async || {
                attachment.add(self.plane.spiderpool().socket(), &[]).await
            })
            .await;
        }
    }

    async fn look_up_endpoint(&self, said: &Said) {
        let (namespace, name) = (said.text("namespace"), said.text("name"));
        // Where none of its networks has addresses of Spiderpool's there is none.
        let at = ENDPOINTS.within(namespace).named(name);
        if let Ok(endpoint) = self.plane.api.get(&at).await {
            self.index.apply(endpoint).unwrap();
        }
    }

    /// What we say that it keeps.
    fn again(&self, said: &Said, had: Addresses) -> Again {
        let snapshot = self.index.published().load_full();
        let pod = convert::pod::pod(&serde_json::from_value(said.pod.clone()).unwrap(), &self.settings);
        let node = NodeName::from(said.pod["spec"]["nodeName"].as_str().unwrap());
        let node = snapshot.nodes.get(&node).unwrap();
        let kept = claim(&pod, &snapshot, &self.settings).map_or_else(|_| Vec::new(), |claim| claim.kept);
        let facts = || kept.iter().filter_map(|(_, pool)| pool.reading.as_ref().ok());
        Again {
            had,
            beyond_the_pool: facts().any(|facts| facts.free == 0),
            astray: facts().any(|facts| !facts.nodes.admits(&node.name, &node.labels)),
            keeps: kept
                .iter()
                .map(|(interface, _)| interface.as_str().to_owned())
                .collect(),
        }
    }
}

impl Said {
    pub(super) fn is_of_a_set(&self) -> bool {
        self.pod["metadata"]["ownerReferences"].is_array()
    }

    fn set(&self) -> &str {
        self.text("name").strip_suffix("-0").unwrap()
    }
}
