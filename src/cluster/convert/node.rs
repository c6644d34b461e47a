//! Nodes and namespaces.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::objects::{NamespaceObject, NodeObject};
use crate::cluster::quantity;
use crate::decide::annotation;
use crate::decide::names::ResourceName;
use crate::decide::node::Node;
use crate::decide::pod::{Namespace, PoolChoice};
use crate::decide::problem::Problems;

/// A node.
#[must_use]
pub fn node(object: &NodeObject) -> Node {
    let annotations = object.metadata.annotations.as_ref();
    let requested = annotations.and_then(|annotations| annotations.get(annotation::SRIOV_NODE_STATE));
    Node {
        name: object.metadata.name.as_deref().unwrap_or_default().into(),
        labels: object.metadata.labels.clone().unwrap_or_default(),
        allocatable: extended(object.status.allocatable.as_ref()),
        drain_requested: requested.is_some_and(|state| !state.is_empty() && state != "Idle"),
    }
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

/// The extended resources of a resource list; a quantity that cannot be read counts as none.
pub(super) fn extended(list: Option<&BTreeMap<String, Value>>) -> BTreeMap<ResourceName, u32> {
    list.into_iter()
        .flatten()
        .map(|(name, value)| (ResourceName::from(name.as_str()), amount(value)))
        .filter(|(name, _)| name.is_extended())
        .collect()
}

/// A quantity may be written as a number in YAML.
fn amount(value: &Value) -> u32 {
    match value {
        Value::String(text) => quantity::count(text).unwrap_or(0),
        other => quantity::count(&other.to_string()).unwrap_or(0),
    }
}
