//! Workloads to pods, as their controllers make them: names, labels, owners and all, but with the same names and
//! UIDs each time.
//!
//! Pods that are there already count: a dump of a cluster holds a Job and its pods, and only the pods that the Job's
//! controller would still make are added.

mod identity;
mod job;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::load::Object;
use crate::decide::problem::{Problem, Problems};
use identity::Owner;

/// The most pods one workload is expanded to: more than any real one, less than a slip of the pen can ask for.
const MOST_PODS: u64 = 20_000;

/// Kinds without a namespace, among those a dump may hold and something here looks at.
const CLUSTER_SCOPED: [&str; 9] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "Namespace",
    "Node",
    "SpiderCoordinator",
    "SpiderIPPool",
    "SpiderReservedIP",
    "SpiderSubnet",
];

/// Kinds that make pods which are not expanded: the user is told, because their pods are missing from the result.
const NOT_EXPANDED: [&str; 9] = [
    "CronJob",
    "DaemonSet",
    "LeaderWorkerSet",
    "MPIJob",
    "PyTorchJob",
    "RayCluster",
    "RayJob",
    "ReplicationController",
    "TFJob",
];

/// The objects of a cluster, workloads expanded.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Everything that is no pod, namespaces that nobody wrote down included.
    pub objects: Vec<Object>,
    /// All pods, in the order in which they were created, then by namespace and name.
    pub pods: Vec<Object>,
    /// Objects that are not what they should be.
    pub findings: Vec<Finding>,
}

/// What is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The object, and where it stands.
    pub object: String,
    /// What is wrong with it.
    pub problems: Problems,
}

/// Expands the workloads among `objects`. What has no creation time is taken to be made at `now` (RFC 3339).
#[must_use]
pub fn expand(objects: Vec<Object>, now: &str) -> Cluster {
    let mut cluster = Cluster::default();
    let mut named = Vec::with_capacity(objects.len());
    for mut object in objects {
        match complete(&mut object.json, now) {
            Ok(()) => named.push(object),
            Err(problem) => cluster.findings.push(Finding {
                object: object.place.to_string(),
                problems: problem.into(),
            }),
        }
    }
    let named = last_of_each(named);
    let present = Present::of(&named);
    for object in named {
        let made = match text(&object.json, "/kind") {
            "Pod" => {
                cluster.pods.push(object);
                continue;
            }
            "Job" => job::of_job(&object.json, &present),
            "JobSet" => job::of_job_set(&object.json, &present),
            "Deployment" => workload::of_deployment(&object.json, &present),
            "StatefulSet" => workload::of_stateful_set(&object.json, &present),
            kind if NOT_EXPANDED.contains(&kind) => Err(Problem::new(
                "kind",
                kind.to_owned(),
                "a Pod, Job, JobSet, Deployment or StatefulSet",
                "its pods are not simulated; add them as Pods",
            )),
            _ => Ok(Made::default()),
        };
        match made {
            Ok(made) => {
                let here = |json| Object {
                    json,
                    place: object.place.clone(),
                };
                cluster.pods.extend(made.pods.into_iter().map(here));
                cluster.objects.extend(made.owners.into_iter().map(here));
            }
            Err(problem) => cluster.findings.push(Finding {
                object: label(&object),
                problems: problem.into(),
            }),
        }
        cluster.objects.push(object);
    }
    for pod in &mut cluster.pods {
        default_pod(&mut pod.json);
    }
    cluster
        .pods
        .sort_by(|one, other| creation(&one.json).cmp(&creation(&other.json)));
    add_namespaces(&mut cluster);
    cluster
}

/// An object that is given twice counts as given last: so a file with one pool more, or another size of one, asks what
/// would be if.
fn last_of_each(objects: Vec<Object>) -> Vec<Object> {
    let identity = |Object { json, .. }: &Object| {
        // The version may change; the group may not.
        let group = text(json, "/apiVersion")
            .split_once('/')
            .map_or("", |(group, _)| group);
        ["/kind", "/metadata/namespace", "/metadata/name"]
            .map(|pointer| text(json, pointer).to_owned())
            .into_iter()
            .chain([group.to_owned()])
            .collect::<Vec<_>>()
    };
    let last: BTreeMap<Vec<String>, usize> = objects
        .iter()
        .enumerate()
        .map(|(position, object)| (identity(object), position))
        .collect();
    let kept: BTreeSet<usize> = last.into_values().collect();
    objects
        .into_iter()
        .enumerate()
        .filter(|(position, _)| kept.contains(position))
        .map(|(_, object)| object)
        .collect()
}

/// What orders pods: when they were made, then the namespace and the name.
fn creation(pod: &Value) -> (&str, &str, &str) {
    (
        text(pod, "/metadata/creationTimestamp"),
        text(pod, "/metadata/namespace"),
        text(pod, "/metadata/name"),
    )
}

/// An object as people name it, and where it stands.
#[must_use]
pub fn label(object: &Object) -> String {
    let json = &object.json;
    let namespace = text(json, "/metadata/namespace");
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!(
        "{} {namespace}{slash}{} ({})",
        text(json, "/kind"),
        text(json, "/metadata/name"),
        object.place
    )
}

/// Gives an object that names no namespace this one, if its kind has any.
pub(super) fn put_in(json: &mut Value, namespace: &str) {
    if CLUSTER_SCOPED.contains(&text(json, "/kind")) {
        return;
    }
    if let Some(metadata) = json.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        default(metadata, "namespace", || namespace.to_owned());
    }
}

/// The text at a JSON pointer; empty where there is none.
#[must_use]
pub fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What a controller makes.
#[derive(Debug, Default)]
struct Made {
    /// What stands between the workload and its pods: ReplicaSets, Jobs.
    owners: Vec<Value>,
    pods: Vec<Value>,
}

/// What is there already.
struct Present {
    /// Pods by the namespace, kind and name of what owns them.
    pods: BTreeMap<(String, String, String), Vec<Value>>,
    /// Jobs by namespace and name.
    jobs: BTreeSet<(String, String)>,
}

impl Present {
    fn of(objects: &[Object]) -> Self {
        let mut present = Self {
            pods: BTreeMap::new(),
            jobs: BTreeSet::new(),
        };
        for Object { json, .. } in objects {
            let namespace = text(json, "/metadata/namespace").to_owned();
            match text(json, "/kind") {
                "Pod" => {
                    let owners = json
                        .pointer("/metadata/ownerReferences")
                        .and_then(Value::as_array);
                    for owner in owners.into_iter().flatten() {
                        let key = (
                            namespace.clone(),
                            text(owner, "/kind").to_owned(),
                            text(owner, "/name").to_owned(),
                        );
                        present.pods.entry(key).or_default().push(json.clone());
                    }
                }
                "Job" => {
                    present
                        .jobs
                        .insert((namespace, text(json, "/metadata/name").to_owned()));
                }
                _ => {}
            }
        }
        present
    }

    /// The pods that this owner has.
    fn pods_of(&self, namespace: &str, kind: &str, name: &str) -> &[Value] {
        self.pods
            .get(&(namespace.to_owned(), kind.to_owned(), name.to_owned()))
            .map_or(&[], Vec::as_slice)
    }
}

/// Gives an object what the apiserver would: a namespace, a UID, a time of creation.
fn complete(json: &mut Value, now: &str) -> Result<(), Problem> {
    const REMEDY: &str = "write it as `kubectl get -o yaml` prints it";
    let expected = |what: &str, found: String| Problem::new(what, found, "an object of Kubernetes", REMEDY);
    let kind = text(json, "/kind").to_owned();
    if kind.is_empty() || text(json, "/apiVersion").is_empty() {
        return Err(expected(
            "apiVersion and kind",
            "an object without them".to_owned(),
        ));
    }
    let name = text(json, "/metadata/name").to_owned();
    if name.is_empty() {
        return Err(expected("metadata.name", format!("a {kind} without one")));
    }
    let Some(metadata) = json.pointer_mut("/metadata").and_then(Value::as_object_mut) else {
        return Err(expected("metadata", format!("a {kind} without it")));
    };
    if !CLUSTER_SCOPED.contains(&kind.as_str()) {
        default(metadata, "namespace", || "default".to_owned());
    }
    let namespace = metadata
        .get("namespace")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    default(metadata, "uid", || identity::uid(&kind, &namespace, &name));
    default(metadata, "creationTimestamp", || now.to_owned());
    Ok(())
}

/// The defaults of the apiserver that admission and scheduling look at.
fn default_pod(pod: &mut Value) {
    let Some(spec) = pod.pointer_mut("/spec").and_then(Value::as_object_mut) else {
        return;
    };
    default(spec, "restartPolicy", || "Always".to_owned());
    default(spec, "schedulerName", || "default-scheduler".to_owned());
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            default_requests(container);
        }
    }
}

/// A limit stands in for a request that is missing.
fn default_requests(container: &mut Value) {
    let Some(resources) = container.pointer_mut("/resources").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    let requests = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(requests) = requests.as_object_mut() {
        for (resource, amount) in limits {
            requests.entry(resource).or_insert(amount);
        }
    }
}

/// Sets a text where there is none.
fn default(fields: &mut Map<String, Value>, key: &str, value: impl FnOnce() -> String) {
    if fields.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
        fields.insert(key.to_owned(), Value::String(value()));
    }
}

/// A cluster has a Namespace for every object that lives in one, also where no file says so.
fn add_namespaces(cluster: &mut Cluster) {
    let mut wanted: BTreeMap<String, &Object> = BTreeMap::new();
    for object in cluster.pods.iter().chain(&cluster.objects) {
        let namespace = text(&object.json, "/metadata/namespace");
        if !namespace.is_empty() {
            wanted.entry(namespace.to_owned()).or_insert(object);
        }
    }
    for object in &cluster.objects {
        if text(&object.json, "/kind") == "Namespace" {
            wanted.remove(text(&object.json, "/metadata/name"));
        }
    }
    let namespaces: Vec<Object> = wanted
        .into_iter()
        .map(|(name, object)| Object {
            json: json!({
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": name,
                    "uid": identity::uid("Namespace", "", &name),
                    "labels": { "kubernetes.io/metadata.name": name },
                },
            }),
            place: object.place.clone(),
        })
        .collect();
    cluster.objects.extend(namespaces);
}

/// A pod from a workload's template. Labels and annotations given here are added to the template's.
fn pod(
    template: &Value,
    owner: &Owner<'_>,
    name: &str,
    generate_name: Option<&str>,
    labels: &[(&str, String)],
    annotations: &[(&str, String)],
) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": owner.namespace,
        "uid": identity::uid("Pod", owner.namespace, name),
        "creationTimestamp": owner.created,
        "ownerReferences": [owner.reference()],
        "labels": template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({})),
        "annotations": template.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({})),
    });
    if let Some(fields) = metadata.as_object_mut() {
        if let Some(generate_name) = generate_name {
            fields.insert("generateName".to_owned(), json!(generate_name));
        }
        for (key, pairs) in [("labels", labels), ("annotations", annotations)] {
            if let Some(map) = fields.get_mut(key).and_then(Value::as_object_mut) {
                map.extend(pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
            }
        }
        fields.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
        "status": { "phase": "Pending" },
    })
}

/// The template at a JSON pointer.
fn template<'a>(workload: &'a Value, pointer: &str) -> Result<&'a Value, Problem> {
    workload
        .pointer(pointer)
        .filter(|template| template.pointer("/spec/containers").is_some_and(Value::is_array))
        .ok_or_else(|| {
            Problem::new(
                field(pointer),
                "no pod template",
                "a template with spec.containers",
                "complete the workload; it is left out",
            )
        })
}

/// A count at a JSON pointer; none where there is none.
fn count(workload: &Value, pointer: &str) -> Result<Option<u64>, Problem> {
    match workload.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .filter(|count| *count <= MOST_PODS)
            .map(Some)
            .ok_or_else(|| {
                Problem::new(
                    field(pointer),
                    value.to_string(),
                    format!("a whole number from 0 to {MOST_PODS}"),
                    "correct the workload; it is left out",
                )
            }),
    }
}

/// A JSON pointer as people write paths.
fn field(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests;
