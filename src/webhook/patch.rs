//! A mutation as JSON Patch on the pod that arrived: the fewest operations that bring it about.
//!
//! What the user wrote is never written again, except for the list of networks when it grows; its elements keep
//! their bytes. Parents that are missing are made; a pod that has everything gets no operation.

use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation};
use serde::Serialize;
use serde_json::{Value, json};

use super::facts::{
    Arrived, NAME_VARIABLE, PODNETINFO, PODNETINFO_PATH, POSITION_VARIABLE, Quantity, RawContainer, RawPod,
    RawResources,
};
use crate::cluster::multus::Element;
use crate::decide::annotation;
use crate::decide::mutation::{
    GangChange, MetadataFile, Mutation, Place, PodnetinfoChange, Record, VfChange,
};
use crate::decide::names::ProfileName;
use crate::decide::network::NodeLabel;

/// The version of the record's form, for whoever reads records of pods that an older program admitted.
const RECORD_VERSION: u32 = 1;

const IPC_LOCK: &str = "IPC_LOCK";

/// The operations that make `mutation` of the pod.
#[must_use]
pub fn patch(arrived: &Arrived, mutation: &Mutation) -> Patch {
    let mut operations = Operations(Vec::new());
    operations.annotations(arrived, mutation);
    operations.resources(&arrived.raw, &mutation.vfs);
    if let Some(place) = mutation.lock_memory {
        operations.capability(&arrived.raw, place);
    }
    operations.variables(&arrived.raw, mutation);
    operations.podnetinfo(&arrived.raw, &mutation.podnetinfo);
    operations.nodes(&arrived.raw, &mutation.nodes);
    if let Some(gang) = &mutation.gang {
        operations.gang_label(&arrived.raw, gang);
    }
    if let Some(scheduler) = &mutation.scheduler {
        operations.add(["spec", "schedulerName"], json!(scheduler.as_str()));
    }
    Patch(operations.0)
}

struct Operations(Vec<PatchOperation>);

impl Operations {
    /// Sets the value at a path, whether there is one or not; the parent must be there. Tokens are escaped.
    fn add<'t>(&mut self, path: impl IntoIterator<Item = &'t str>, value: Value) {
        self.0.push(PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(path),
            value,
        }));
    }

    fn annotations(&mut self, arrived: &Arrived, mutation: &Mutation) {
        let Some(record) = &mutation.record else { return };
        let existing = arrived.raw.metadata.annotations.as_ref();
        let mut wanted: Vec<(&str, String)> = Vec::with_capacity(4);
        let rewrite = arrived.networks.iter().any(|element| !element.is_portable());
        if rewrite || !mutation.networks.is_empty() {
            wanted.push((annotation::NETWORKS, networks(&arrived.networks, mutation)));
        }
        let record = record_text(record);
        if existing.and_then(|existing| existing.get(annotation::INJECTED)) != Some(&record) {
            wanted.push((annotation::INJECTED, record));
        }
        for (key, value) in mutation.gang.iter().flat_map(gang_annotations) {
            if existing.and_then(|existing| existing.get(key)) != Some(&value) {
                wanted.push((key, value));
            }
        }
        if existing.is_some() {
            for (key, value) in wanted {
                self.add(["metadata", "annotations", key], Value::from(value));
            }
        } else if !wanted.is_empty() {
            let all: BTreeMap<&str, String> = wanted.into_iter().collect();
            self.add(["metadata", "annotations"], json!(all));
        }
    }

    fn gang_label(&mut self, pod: &RawPod, gang: &GangChange) {
        let name = gang.name.as_str();
        match &pod.metadata.labels {
            None => self.add(["metadata", "labels"], json!({ annotation::GANG: name })),
            Some(labels) if labels.get(annotation::GANG).map(String::as_str) == Some(name) => {}
            Some(_) => self.add(["metadata", "labels", annotation::GANG], json!(name)),
        }
    }

    /// Variables that containers are to have besides their own. The annotation of the pod's place on the fabric is
    /// written with the Binding; a container that starts has it then.
    fn variables(&mut self, pod: &RawPod, mutation: &Mutation) {
        let mut variables: BTreeMap<Place, Vec<Value>> = BTreeMap::new();
        if let Some(place) = mutation.position {
            let field = format!("metadata.annotations['{}']", annotation::FABRIC_POSITION);
            variables.entry(place).or_default().push(json!({
                "name": POSITION_VARIABLE,
                "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": field } },
            }));
        }
        for &place in &mutation.podnetinfo.named {
            let name = container(pod, place).map(|container| &container.name);
            let variable = json!({ "name": NAME_VARIABLE, "value": name });
            variables.entry(place).or_default().push(variable);
        }
        for (place, variables) in variables {
            let existing = container(pod, place).is_some_and(|container| container.env.is_some());
            self.append(place, "env", existing, variables);
        }
    }

    /// Appends to a list of a container, or makes it.
    fn append(&mut self, place: Place, list: &'static str, existing: bool, values: Vec<Value>) {
        let (containers, index) = path(place);
        let at = ["spec", containers, index.as_str(), list];
        if !existing {
            self.add(at, Value::Array(values));
            return;
        }
        for value in values {
            self.add(at.into_iter().chain(["-"]), value);
        }
    }

    fn podnetinfo(&mut self, pod: &RawPod, change: &PodnetinfoChange) {
        for &place in &change.mounts {
            let existing = container(pod, place).is_some_and(|container| container.volume_mounts.is_some());
            let mount = json!({ "name": PODNETINFO, "mountPath": PODNETINFO_PATH, "readOnly": true });
            self.append(place, "volumeMounts", existing, vec![mount]);
        }
        if change.files.is_empty() {
            return;
        }
        let items: Vec<Value> = change.files.iter().map(metadata_file).collect();
        let volume = json!({ "name": PODNETINFO, "downwardAPI": { "items": items } });
        if pod.spec.volumes.is_some() {
            self.add(["spec", "volumes", "-"], volume);
        } else {
            self.add(["spec", "volumes"], json!([volume]));
        }
    }

    fn nodes(&mut self, pod: &RawPod, labels: &[NodeLabel]) {
        if pod.spec.node_selector.is_some() {
            for NodeLabel { key, value } in labels {
                self.add(["spec", "nodeSelector", key], json!(value));
            }
        } else if !labels.is_empty() {
            let all: BTreeMap<&str, &str> = labels
                .iter()
                .map(|label| (label.key.as_str(), label.value.as_str()))
                .collect();
            self.add(["spec", "nodeSelector"], json!(all));
        }
    }

    fn resources(&mut self, pod: &RawPod, changes: &[VfChange]) {
        let mut by_container: BTreeMap<Place, Vec<&VfChange>> = BTreeMap::new();
        for change in changes {
            by_container.entry(change.container).or_default().push(change);
        }
        for (place, changes) in by_container {
            let Some(container) = container(pod, place) else {
                continue;
            };
            let (list, index) = path(place);
            let at = ["spec", list, index.as_str(), "resources"];
            if let Some(resources) = &container.resources {
                self.amounts(&at, "requests", requests(resources), &changes);
                self.amounts(&at, "limits", limits(resources), &changes);
            } else {
                let amounts = amounts(&changes);
                self.add(at, json!({ "requests": amounts, "limits": amounts }));
            }
        }
    }

    fn amounts(
        &mut self,
        at: &[&str],
        part: &str,
        existing: Option<&BTreeMap<String, Quantity>>,
        changes: &[&VfChange],
    ) {
        let at = at.iter().copied().chain([part]);
        let Some(existing) = existing else {
            self.add(at, json!(amounts(changes)));
            return;
        };
        for change in changes {
            let name = change.resource.as_str();
            if existing.get(name).and_then(Quantity::count) != Some(change.count) {
                self.add(at.clone().chain([name]), Value::from(change.count.to_string()));
            }
        }
    }

    fn capability(&mut self, pod: &RawPod, place: Place) {
        let Some(container) = container(pod, place) else {
            return;
        };
        let (list, index) = path(place);
        let at = ["spec", list, index.as_str(), "securityContext"];
        let below = |deeper: &'static [&'static str]| at.into_iter().chain(deeper.iter().copied());
        let context = container.security_context.as_ref();
        let capabilities = context.and_then(|context| context.capabilities.as_ref());
        let added = capabilities.and_then(|capabilities| capabilities.add.as_ref());
        match (context, capabilities, added) {
            (None, ..) => self.add(below(&[]), json!({ "capabilities": { "add": [IPC_LOCK] } })),
            (_, None, _) => self.add(below(&["capabilities"]), json!({ "add": [IPC_LOCK] })),
            (.., None) => self.add(below(&["capabilities", "add"]), json!([IPC_LOCK])),
            (.., Some(_)) => self.add(below(&["capabilities", "add", "-"]), json!(IPC_LOCK)),
        }
    }
}

fn requests(resources: &RawResources) -> Option<&BTreeMap<String, Quantity>> {
    resources.requests.as_ref()
}

fn limits(resources: &RawResources) -> Option<&BTreeMap<String, Quantity>> {
    resources.limits.as_ref()
}

fn amounts(changes: &[&VfChange]) -> BTreeMap<String, String> {
    changes
        .iter()
        .map(|change| (change.resource.to_string(), change.count.to_string()))
        .collect()
}

fn container(pod: &RawPod, place: Place) -> Option<&RawContainer> {
    let (list, index) = match place {
        Place::Container(index) => (&pod.spec.containers, index),
        Place::InitContainer(index) => (&pod.spec.init_containers, index),
    };
    list.as_ref()?.get(index)
}

fn path(place: Place) -> (&'static str, String) {
    match place {
        Place::Container(index) => ("containers", index.to_string()),
        Place::InitContainer(index) => ("initContainers", index.to_string()),
    }
}

/// A file of the volume that shows a pod its own metadata; names and units are those its readers know.
fn metadata_file(file: &MetadataFile) -> Value {
    let field = |name: &str| json!({ "path": name, "fieldRef": { "fieldPath": format!("metadata.{name}") } });
    match file {
        MetadataFile::Labels => field("labels"),
        MetadataFile::Annotations => field("annotations"),
        MetadataFile::Hugepages {
            container,
            requested,
            size,
        } => {
            let (word, part) = if *requested {
                ("request", "requests")
            } else {
                ("limit", "limits")
            };
            json!({
                "path": format!("hugepages_{}_{word}_{container}", size.trim_end_matches('i')),
                "resourceFieldRef": {
                    "containerName": container.as_str(),
                    "resource": format!("{part}.hugepages-{size}"),
                    "divisor": "1Mi",
                },
            })
        }
    }
}

/// The resolved values, which the extender goes by.
fn gang_annotations(gang: &GangChange) -> Vec<(&'static str, String)> {
    let size = gang.size.map(|size| (annotation::GANG_SIZE, size.to_string()));
    size.into_iter()
        .chain([(annotation::LOCALITY, gang.locality.to_string())])
        .collect()
}

/// The list of networks: the user's elements as they are, then ours.
fn networks(own: &[Element], mutation: &Mutation) -> String {
    let ours = mutation.networks.iter().cloned().map(Element::of);
    let elements: Vec<String> = own
        .iter()
        .map(Element::to_json)
        .chain(ours.map(|element| element.to_json()))
        .collect();
    format!("[{}]", elements.join(","))
}

/// The record as it is written; its bytes depend on nothing but the record.
fn record_text(record: &Record) -> String {
    #[derive(Serialize)]
    struct Text<'a> {
        version: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        profile: Option<&'a str>,
        rails: Vec<Rail<'a>>,
        container: &'a str,
    }

    #[derive(Serialize)]
    struct Rail<'a> {
        network: String,
        resource: &'a str,
        interface: &'a str,
    }

    json!(Text {
        version: RECORD_VERSION,
        profile: record.profile.as_ref().map(ProfileName::as_str),
        rails: record
            .rails
            .iter()
            .map(|rail| Rail {
                network: rail.network.to_string(),
                resource: rail.resource.as_str(),
                interface: rail.interface.as_str(),
            })
            .collect(),
        container: record.container.as_str(),
    })
    .to_string()
}
