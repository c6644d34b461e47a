//! Nodes and namespaces.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::fabric;
use crate::cluster::objects::{NamespaceObject, NodeObject, TaintObject};
use crate::cluster::quantity;
use crate::decide::amounts::Amounts;
use crate::decide::annotation;
use crate::decide::names::ResourceName;
use crate::decide::node::{Node, NodeFault};
use crate::decide::pod::{Namespace, PoolChoice};
use crate::decide::problem::Problems;
use crate::decide::suits::Taint;
use crate::decide::tier::PresetMarks;

/// A node.
#[must_use]
pub fn node(object: &NodeObject) -> Node {
    let annotations = object.metadata.annotations.as_ref();
    let fabric = annotations.and_then(|annotations| annotations.get(annotation::FABRIC));
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let labels = object.metadata.labels.clone().unwrap_or_default();
    let requested = annotations.and_then(|annotations| annotations.get(annotation::SRIOV_NODE_STATE));
    Node {
        name: name.into(),
        presets: PresetMarks::of(&labels),
        labels,
        offers: amounts(object.status.allocatable.as_ref()),
        taints: object.spec.taints.iter().flatten().map(taint).collect(),
        unschedulable: object.spec.unschedulable.unwrap_or(false),
        faults: faults(object),
        drain_requested: requested.is_some_and(|state| !state.is_empty() && state != "Idle"),
        fabric: fabric.map(|text| fabric::parse(&format!("node {name}"), text)),
    }
}

/// What on the node itself says that its VFs cannot be used.
fn faults(object: &NodeObject) -> Vec<(NodeFault, String)> {
    let mut faults = Vec::new();
    let conditions = object.status.conditions.iter().flatten();
    for condition in conditions.filter(|condition| condition.r#type.as_deref() == Some("Ready")) {
        let status = condition.status.as_deref().unwrap_or("Unknown");
        if status != "True" {
            faults.push((NodeFault::NotReady, format!("condition Ready is {status}")));
        }
    }
    let label = |key: &str| object.metadata.labels.as_ref()?.get(key);
    for key in annotation::NVIDIA_WAITS {
        if label(key).is_some_and(|value| value == "true") {
            faults.push((NodeFault::DriverNotReady, format!("label {key} is true")));
        }
    }
    let key = annotation::SRIOV_DEVICE_PLUGIN;
    if label(key).is_some_and(|value| value == "Disabled") {
        faults.push((NodeFault::PluginBlocked, format!("label {key} is Disabled")));
    }
    faults
}

/// A namespace.
#[must_use]
pub fn namespace(object: &NamespaceObject) -> Namespace {
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let mut problems = Problems::none();
    let mut pools = |key: &str| {
        let Some(text) = annotations.get(key) else {
            return Vec::new();
        };
        let place = format!(
            "namespace {}, annotation {key}",
            object.metadata.name.as_deref().unwrap_or_default()
        );
        super::read_text::<Vec<String>>(&place, text).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        })
    };
    let choice = PoolChoice {
        v4: pools(annotation::IPAM_DEFAULT_V4),
        v6: pools(annotation::IPAM_DEFAULT_V6),
    };
    Namespace {
        labels: object.metadata.labels.clone().unwrap_or_default(),
        default_pools: problems.or(choice),
        annotations,
    }
}

/// Every resource of a resource list, in thousandths; a quantity that cannot be read counts as none.
pub(super) fn amounts(list: Option<&BTreeMap<String, Value>>) -> Amounts {
    list.into_iter()
        .flatten()
        .map(|(name, value)| {
            let milli = match value {
                Value::String(text) => quantity::milli(text),
                other => quantity::milli(&other.to_string()),
            };
            (
                ResourceName::from(name.as_str()),
                u64::try_from(milli.unwrap_or(0)).unwrap_or(0),
            )
        })
        .collect()
}

fn taint(taint: &TaintObject) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: taint.effect.clone().unwrap_or_default(),
    }
}
