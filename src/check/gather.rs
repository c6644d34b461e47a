//! Objects, from wherever they come, made into [`Facts`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;
use strum::IntoEnumIterator as _;

use super::facts::{Counters, Facts, Listing};
use super::objects::Object;
use super::pod_facts::PodFacts;
use super::source::{Reach, Source};
use crate::cluster::convert::{network, pool};
use crate::cluster::index::Index;
use crate::config::Configuration;
use crate::decide::names::{NamespaceName, NodeName, PodName};
use crate::simulate::load;

/// What is to be checked, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// The settings the program runs with.
    pub configuration: Configuration,
    /// The namespace the program runs in.
    pub namespace: String,
    /// Only this node.
    pub node: Option<NodeName>,
    /// This pod's promises, instead of the cluster.
    pub pod: Option<PodAt>,
    /// Scheduler configurations that are in no ConfigMap, by the names of their files.
    pub scheduler_files: Vec<(String, String)>,
    /// The moment it is asked.
    pub now: Timestamp,
}

/// A pod by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAt {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: PodName,
}

impl core::fmt::Display for PodAt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Why there is nothing to decide about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// `--node` names none.
    #[error("there is no node {0}")]
    Node(NodeName),
    /// `--pod` names none.
    #[error("there is no pod {0}")]
    Pod(String),
}

/// Takes in objects one after the other.
pub struct Gathering {
    index: Index,
    facts: Facts,
    pod: Option<PodAt>,
    counts: BTreeMap<Source, usize>,
}

impl Gathering {
    /// Nothing yet.
    #[must_use]
    pub fn new(question: Question) -> Self {
        let Question {
            configuration,
            namespace,
            node,
            pod,
            scheduler_files,
            now,
        } = question;
        Self {
            index: Index::new(Arc::new(configuration.decisions.clone())),
            facts: Facts {
                configuration,
                namespace,
                now,
                node,
                pod: None,
                snapshot: Arc::default(),
                listings: BTreeMap::new(),
                unreadable: Vec::new(),
                operator_namespaces: BTreeSet::new(),
                policies: Vec::new(),
                pool_configs: Vec::new(),
                definitions: Vec::new(),
                multus_configs: BTreeMap::new(),
                attachments: BTreeSet::new(),
                counters: BTreeMap::new(),
                pods: BTreeSet::new(),
                daemons: BTreeMap::new(),
                workloads: Vec::new(),
                webhooks: Vec::new(),
                validations: Vec::new(),
                services: Vec::new(),
                endpoints: Vec::new(),
                config_maps: Vec::new(),
                scheduler_files,
                roles: Vec::new(),
                bindings: Vec::new(),
                reviews: None,
                trial: None,
            },
            pod,
            counts: BTreeMap::new(),
        }
    }

    /// The pod that is asked about.
    #[must_use]
    pub fn pod(&self) -> Option<&PodAt> {
        self.pod.as_ref()
    }

    /// The facts so far, for what is no object.
    pub fn facts(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Says what is known of a kind as a whole.
    pub fn listed(&mut self, source: Source, listing: Listing) {
        self.facts.listings.insert(source, listing);
    }

    /// Takes in an object of a kind.
    pub fn take(&mut self, source: Source, object: Value) {
        *self.counts.entry(source).or_default() += 1;
        let object = without_nulls(object);
        if let Some(kind) = source.indexed() {
            self.take_indexed(source, &object);
            // What came through a typed client carries neither.
            let mut object = object;
            let (group, version, _) = kind.api();
            let api_version = if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            };
            if let Value::Object(fields) = &mut object {
                fields.insert("apiVersion".to_owned(), api_version.into());
                fields.insert("kind".to_owned(), kind.name().into());
            }
            if let Err(problems) = self.index.apply(object) {
                self.unreadable(source, &problems.to_string());
            }
            return;
        }
        match source {
            Source::Policy => {
                let policy = self.read(source, &object);
                self.in_operator_namespace(policy.as_ref());
                self.facts.policies.extend(policy);
            }
            Source::PoolConfig => {
                let config = self.read(source, &object);
                self.in_operator_namespace(config.as_ref());
                self.facts.pool_configs.extend(config);
            }
            Source::Definition => {
                let definition = self.read(source, &object);
                self.facts.definitions.extend(definition);
            }
            Source::Deployment | Source::DaemonSet => {
                let workload = self.read(source, &object);
                self.facts
                    .workloads
                    .extend(workload.map(|workload| (source, workload)));
            }
            Source::Webhook => {
                let webhook = self.read(source, &object);
                self.facts.webhooks.extend(webhook);
            }
            Source::Validation => {
                let webhook = self.read(source, &object);
                self.facts.validations.extend(webhook);
            }
            Source::Service => {
                let service = self.read(source, &object);
                self.facts.services.extend(service);
            }
            Source::Endpoints => {
                let endpoints = self.read(source, &object);
                self.facts.endpoints.extend(endpoints);
            }
            Source::ConfigMap => {
                let config_map = self.read(source, &object);
                self.facts.config_maps.extend(config_map);
            }
            Source::ClusterRole | Source::Role => {
                let role = self.read(source, &object);
                self.facts.roles.extend(role.map(|role| (source, role)));
            }
            Source::ClusterRoleBinding | Source::RoleBinding => {
                let binding = self.read(source, &object);
                self.facts
                    .bindings
                    .extend(binding.map(|binding| (source, binding)));
            }
            Source::PodEndpoint => {
                if let (Some(pod), Some(endpoint)) = (&mut self.facts.pod, read_as(&object).ok()) {
                    pod.take_endpoint(endpoint);
                }
            }
            // Indexed kinds, which have been taken in above.
            Source::Node
            | Source::Lease
            | Source::NodeState
            | Source::Attachment
            | Source::MultusConfig
            | Source::ReservedIp
            | Source::Subnet
            | Source::Pool
            | Source::Namespace
            | Source::Pod => {}
        }
    }

    /// The facts.
    ///
    /// # Errors
    /// When the node or the pod that is asked about is not among them.
    pub fn finish(mut self) -> Result<Facts, Missing> {
        self.facts.snapshot = self.index.published().load_full();
        if let Some(node) = &self.facts.node
            && self.facts.snapshot.nodes.get(node).is_none()
        {
            return Err(Missing::Node(node.clone()));
        }
        match &self.pod {
            Some(pod) if self.facts.pod.is_none() => Err(Missing::Pod(pod.to_string())),
            _ => Ok(self.facts),
        }
    }

    /// What the index does not keep of the kinds it is made of.
    fn take_indexed(&mut self, source: Source, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        match source {
            Source::NodeState => {
                if let Some(namespace) = text("/metadata/namespace") {
                    self.facts.operator_namespaces.insert(namespace.to_owned());
                }
            }
            Source::Pod => {
                if let Some(uid) = text("/metadata/uid") {
                    self.facts.pods.insert(uid.into());
                }
                if let Some((daemon, node)) = ready_daemon(object) {
                    self.facts.daemons.entry(daemon).or_default().insert(node);
                }
                let wanted = self.pod.as_ref().is_some_and(|pod| {
                    text("/metadata/namespace").unwrap_or("default") == pod.namespace.as_str()
                        && name == pod.name.as_str()
                });
                if wanted {
                    let settings = &self.facts.configuration.decisions;
                    match PodFacts::of(object, settings) {
                        Ok(pod) => self.facts.pod = Some(pod),
                        Err(problem) => self.unreadable(source, &problem),
                    }
                }
            }
            Source::Attachment => {
                if let Ok(object) = read_as::<DynamicObject>(object) {
                    let settings = &self.facts.configuration.decisions;
                    self.facts
                        .attachments
                        .insert(network::attachment(&object, settings).at);
                }
            }
            Source::MultusConfig => {
                if let Ok(object) = read_as::<DynamicObject>(object) {
                    let namespace = text("/metadata/namespace").unwrap_or("default");
                    let config = network::multus_config(&object, &self.facts.configuration.decisions);
                    self.facts
                        .multus_configs
                        .insert(format!("{namespace}/{name}"), config);
                }
            }
            Source::Pool => {
                let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
                let Ok(parsed) = read_as::<DynamicObject>(object) else {
                    return;
                };
                let parts = pool::pool(&parsed, &self.facts.configuration.decisions);
                if let Ok((_, listed, held)) = &parts.reading {
                    let counters = Counters {
                        told_total: number("/status/totalIPCount"),
                        told_allocated: number("/status/allocatedIPCount"),
                        listed: listed.len(),
                        records: u64::try_from(held.len()).unwrap_or(u64::MAX),
                    };
                    self.facts.counters.insert(parts.name, counters);
                }
            }
            _ => {}
        }
    }

    fn read<T: DeserializeOwned + Default>(&mut self, source: Source, object: &Value) -> Option<Object<T>> {
        read_as(object)
            .map_err(|problem| self.unreadable(source, &problem))
            .ok()
    }

    fn unreadable(&mut self, source: Source, problem: &str) {
        self.facts.unreadable.push((source, problem.to_owned()));
    }

    fn in_operator_namespace<T: Default>(&mut self, object: Option<&Object<T>>) {
        if let Some(object) = object.filter(|object| !object.namespace().is_empty()) {
            self.facts
                .operator_namespaces
                .insert(object.namespace().to_owned());
        }
    }
}

/// The facts in files. A kind of which they hold no object is unknown: nobody can tell whether the cluster has none,
/// or it was not saved.
///
/// # Errors
/// When the node or the pod that is asked about is not in them.
pub fn from_files(
    objects: impl IntoIterator<Item = load::Object>,
    mut question: Question,
) -> Result<Facts, Missing> {
    let mut last: BTreeMap<(Source, String, String), Value> = BTreeMap::new();
    for object in objects {
        // No object of the API, but what kube-scheduler reads.
        if object.json.get("kind").and_then(Value::as_str) == Some("KubeSchedulerConfiguration") {
            let text = object.json.to_string();
            question.scheduler_files.push((object.place.to_string(), text));
            continue;
        }
        let text = |pointer: &str| {
            object
                .json
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let Some(source) = Source::of(text("/apiVersion"), text("/kind")) else {
            continue;
        };
        let key = (
            source,
            text("/metadata/namespace").to_owned(),
            text("/metadata/name").to_owned(),
        );
        // An object that is given twice counts as given last.
        last.insert(key, object.json);
    }
    let mut gathering = Gathering::new(question);
    for ((source, _, _), object) in last {
        gathering.take(source, object);
    }
    for source in Source::iter() {
        let listing = if gathering.counts.contains_key(&source) {
            Listing::Complete
        } else {
            Listing::Unknown("none in the files".to_owned())
        };
        gathering.listed(source, listing);
    }
    gathering.finish()
}

/// A file with a scheduler configuration.
///
/// # Errors
/// When it cannot be read.
pub fn scheduler_file(path: &Path) -> std::io::Result<(String, String)> {
    Ok((path.display().to_string(), std::fs::read_to_string(path)?))
}

/// Whether objects of this kind are read at all for a question without, or with, a pod.
#[must_use]
pub fn is_wanted(source: Source, with_pod: bool) -> bool {
    source.reach() != Reach::OfPod || with_pod
}

/// The DaemonSet of a pod that is ready, and the pod's node.
fn ready_daemon(pod: &Value) -> Option<(String, NodeName)> {
    let all = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let text = |of: &'_ Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
    let owner =
        all("/metadata/ownerReferences").find(|owner| text(owner, "kind").as_deref() == Some("DaemonSet"))?;
    let ready = all("/status/conditions").any(|condition| {
        text(condition, "type").as_deref() == Some("Ready")
            && text(condition, "status").as_deref() == Some("True")
    });
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str)?;
    ready.then_some((text(owner, "name")?, node.into()))
}

fn read_as<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        format!(
            "{} {}, {}: {}",
            text("/kind"),
            text("/metadata/name"),
            error.path(),
            error.inner()
        )
    })
}

/// `null` means absent wherever Kubernetes prints it.
pub(super) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}
