//! The cluster that the files describe: what an API server, a kubelet and the scheduler's own cache would hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::expand::{Finding, label, text};
use super::load::Object;
use super::scheduler::{Filtered, Scheduler};
use crate::cluster::index::Index;
use crate::decide::names::{PodRef, PodUid};
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::Settings;
use crate::decide::tier::Tiers;
use crate::extender::bind::{BindError, Binder, Binding};

/// The objects of a cluster, changed as pods are made and bound.
pub(super) struct World {
    index: Arc<Index>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// Pods by UID.
    pods: BTreeMap<PodUid, Value>,
    scheduler: Scheduler,
}

impl World {
    /// An empty cluster that is read through `index`.
    pub(super) fn new(index: Arc<Index>) -> Self {
        Self {
            index,
            inside: Mutex::default(),
        }
    }

    /// Adds an object that is no pod. What is wrong with it is told; whatever can be made of it counts.
    pub(super) fn add(&self, object: &Object) -> Result<(), Finding> {
        let mut problems = Problems::none();
        if let Err(found) = self.index.apply(object.json.clone()) {
            problems.extend(found);
        }
        if text(&object.json, "/kind") == "Node" {
            match Node::deserialize(&object.json) {
                Ok(node) => {
                    if let Err(error) = self.lock().scheduler.add_node(node) {
                        problems.push(unreadable("status.allocatable", error.to_string()));
                    }
                }
                // The index has named the field.
                Err(_) if !problems.is_empty() => {}
                Err(error) => problems.push(unreadable("the node", error.to_string())),
            }
        }
        problems.or(()).map_err(|problems| Finding {
            object: label(object),
            problems,
        })
    }

    /// Adds a pod as it was admitted, or as it was when the files were written.
    pub(super) fn add_pod(&self, pod: &Value) -> Result<(), Problems> {
        self.index.apply(pod.clone())?;
        let typed = typed(pod)?;
        let mut inside = self.lock();
        inside.pods.insert(text(pod, "/metadata/uid").into(), pod.clone());
        inside
            .scheduler
            .seat(&typed)
            .map_err(|error| unreadable("resources.requests", error.to_string()).into())
    }

    /// The nodes that the scheduler's own filters leave.
    pub(super) fn filter(&self, pod: &Value) -> Result<Filtered, Problems> {
        let typed = typed(pod)?;
        self.lock()
            .scheduler
            .filter(&typed)
            .map_err(|error| unreadable("resources.requests", error.to_string()).into())
    }

    /// The pod as it is now.
    pub(super) fn pod(&self, uid: &PodUid) -> Option<Value> {
        self.lock().pods.get(uid).cloned()
    }

    /// A node's domain of the closest tier, by whichever labels the nodes carry.
    pub(super) fn leaf_group(&self, node: &str, settings: &Settings) -> Option<String> {
        let snapshot = self.index.published().load_full();
        let tiers = Tiers::of(&settings.tiers, &snapshot);
        snapshot.nodes.get(node)?.labels.get(tiers.key(0)?).cloned()
    }

    /// Binds as the API server does: once, by UID, the annotations in the same write.
    pub(super) fn write(&self, binding: &Binding) -> Result<(), BindError> {
        let refused = |why: &str| Err(BindError::Refused(format!("pod {}: {why}", binding.pod)));
        let Some(mut pod) = self.pod(&binding.pod.uid) else {
            return refused("there is none with this UID");
        };
        if !text(&pod, "/spec/nodeName").is_empty() {
            return refused("it is bound already");
        }
        if let Some(spec) = pod.pointer_mut("/spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".to_owned(), json!(binding.node.as_str()));
        }
        if let Some(metadata) = pod.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.extend(
                    binding
                        .annotations
                        .iter()
                        .map(|(key, value)| (key.clone(), json!(value))),
                );
            }
        }
        self.add_pod(&pod)
            .map_err(|problems| BindError::Refused(problems.to_string()))
    }

    /// A panic while the lock was held ends the simulation; nobody reads what it left.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Binder for World {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<(), BindError>> {
        async move { self.write(&binding) }.boxed()
    }

    fn is_bound<'a>(&'a self, _: &'a PodRef) -> BoxFuture<'a, Result<bool, BindError>> {
        // Here every Binding is either written or refused.
        async { Err(BindError::Unclear("nobody asks".to_owned())) }.boxed()
    }
}

/// The pod as Kubernetes' own types have it; what does not fit them, an API server would not take.
fn typed(pod: &Value) -> Result<Pod, Problems> {
    serde_path_to_error::deserialize(pod).map_err(|error| {
        let path = error.path().to_string();
        unreadable(&path, error.into_inner().to_string()).into()
    })
}

fn unreadable(at: &str, found: String) -> Problem {
    Problem::new(
        at,
        found,
        "what the API server takes",
        "write it as `kubectl get -o yaml` prints it",
    )
}
