//! Pods: watched, from a scheduler's request, or from a file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::node::amounts;
use crate::cluster::multus;
use crate::cluster::objects::{PodObject, RequirementObject, Resources, Texts, TolerationObject};
use crate::decide::amounts::{Amounts, ONE};
use crate::decide::annotation;
use crate::decide::names::{NamespaceName, NodeName, PodRef, ResourceName};
use crate::decide::pod::{Gang, InterfacePools, Phase, Pod, PoolChoice, PoolRequest};
use crate::decide::problem::{Problem, Problems, quoted};
use crate::decide::settings::Settings;
use crate::decide::suits::{NodeExpression, NodeNeeds, Term, Toleration};

/// A pod. What is wrong with its annotations is kept in it: it is told when the pod asks for a node.
#[must_use]
pub fn pod(object: &PodObject, settings: &Settings) -> Pod {
    let metadata = &object.metadata;
    let namespace: NamespaceName = metadata.namespace.as_deref().unwrap_or("default").into();
    let annotations = metadata.annotations.clone().unwrap_or_default();
    let text = |key: &str| annotations.get(key).map(String::as_str);
    let selections = |elements: Vec<multus::Element>| elements.into_iter().map(|element| element.selection);
    let networks = text(annotation::NETWORKS)
        .map_or_else(|| Ok(Vec::new()), |text| multus::parse_networks(text, &namespace))
        .map(|elements| selections(elements).collect());
    let default_network = text(annotation::DEFAULT_NETWORK)
        .map(|text| multus::parse_default_network(text, &settings.multus_namespace))
        .transpose();
    let (default_network, networks) = match (default_network, networks) {
        (Ok(default), networks) => (default.map(|element| element.selection), networks),
        (Err(problems), Ok(_)) => (None, Err(problems)),
        (Err(mut problems), Err(others)) => {
            problems.extend(others);
            (None, Err(problems))
        }
    };
    Pod {
        at: PodRef {
            namespace,
            name: metadata.name.as_deref().unwrap_or_default().into(),
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
        },
        labels: metadata.labels.clone().unwrap_or_default(),
        created: metadata
            .creation_timestamp
            .as_ref()
            .map_or_else(String::new, |time| time.0.to_string()),
        takes: takes(object),
        needs: needs(object),
        gang: gang(object, &annotations),
        scheduler: object.spec.scheduler_name.as_deref().map(Into::into),
        phase: phase(object),
        stateful: metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.kind == "StatefulSet"),
        leaving: metadata.deletion_timestamp.is_some(),
        host_network: object.spec.host_network.unwrap_or(false),
        default_network,
        networks,
        pools: pools(&annotations),
    }
}

/// The node whose configuration a pod of the SR-IOV device plugin waits for, where it is one that does.
#[must_use]
pub fn waiting_plugin(object: &PodObject) -> Option<NodeName> {
    object
        .metadata
        .annotations
        .as_ref()?
        .get(annotation::SRIOV_PLUGIN_WAITS)?;
    object
        .spec
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .map(Into::into)
}

fn phase(object: &PodObject) -> Phase {
    let ended = matches!(object.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    match object.spec.node_name.as_deref().filter(|name| !name.is_empty()) {
        _ if ended => Phase::Ended,
        Some(node) => Phase::Bound(node.into()),
        None => Phase::Pending {
            refused: object.status.conditions.iter().flatten().any(|condition| {
                condition.r#type.as_deref() == Some("PodScheduled")
                    && condition.status.as_deref() == Some("False")
                    && condition.reason.as_deref() == Some("Unschedulable")
            }),
        },
    }
}

/// What the scheduler counts for a pod: the sum of its containers and sidecars, or what an init container needs
/// beside the sidecars started before it, whichever is more; what the pod says for itself as a whole comes before
/// that, and its runtime's overhead on top.
fn takes(object: &PodObject) -> Amounts {
    let of = |resources: Option<&Resources>| {
        let mut requests = amounts(resources.and_then(|resources| resources.limits.as_ref()));
        let explicit = amounts(resources.and_then(|resources| resources.requests.as_ref()));
        requests.replace(&explicit);
        requests
    };
    let mut sidecars = Amounts::default();
    let mut peak = Amounts::default();
    for container in object.spec.init_containers.iter().flatten() {
        let mut at_once = sidecars.clone();
        at_once.add(&of(container.resources.as_ref()));
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.clone_from(&at_once);
        }
        peak.raise(&at_once);
    }
    let mut sum = sidecars;
    for container in object.spec.containers.iter().flatten() {
        sum.add(&of(container.resources.as_ref()));
    }
    peak.raise(&sum);
    peak.replace(&of(object.spec.resources.as_ref()));
    peak.add(&amounts(object.spec.overhead.as_ref()));
    peak.add(&Amounts::from_iter([(ResourceName::from("pods"), ONE)]));
    peak
}

/// What the pod asks of its node beside resources.
fn needs(object: &PodObject) -> NodeNeeds {
    let affinity = object
        .spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let expressions = |requirements: &Option<Vec<RequirementObject>>| {
        requirements
            .iter()
            .flatten()
            .map(|requirement| {
                let values = requirement.values.clone().unwrap_or_default();
                NodeExpression::of(&requirement.key, &requirement.operator, values)
            })
            .collect()
    };
    let terms = required.and_then(|required| required.node_selector_terms.as_ref());
    NodeNeeds {
        labels: object.spec.node_selector.clone().unwrap_or_default(),
        terms: terms
            .into_iter()
            .flatten()
            .map(|term| Term {
                expressions: expressions(&term.match_expressions),
                names: expressions(&term.match_fields),
            })
            .collect(),
        tolerations: object.spec.tolerations.iter().flatten().map(toleration).collect(),
    }
}

fn toleration(object: &TolerationObject) -> Toleration {
    Toleration {
        key: object.key.clone().filter(|key| !key.is_empty()),
        exists: object.operator.as_deref() == Some("Exists"),
        value: object.value.clone().unwrap_or_default(),
        effect: object.effect.clone().filter(|effect| !effect.is_empty()),
    }
}

/// The gang, from the label and annotations that the webhook writes with resolved values.
fn gang(object: &PodObject, annotations: &Texts) -> Result<Option<Gang>, Problems> {
    let labels = object.metadata.labels.as_ref();
    let group = object
        .spec
        .scheduling_group
        .as_ref()
        .and_then(|group| group.pod_group_name.as_ref());
    let name = group
        .or_else(|| labels.and_then(|labels| labels.get(annotation::GANG)))
        .or_else(|| annotations.get(annotation::GANG));
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let mut problems = Problems::none();
    let mut wrong = |key: &str, found: &str, expected: &str| {
        problems.push(Problem::new(
            format!("pod annotation {key}"),
            quoted(found),
            expected,
            "correct it in the pod's template and create the pod again",
        ));
    };
    let size = annotations.get(annotation::GANG_SIZE).and_then(|text| {
        let size = text.parse::<u32>().ok().filter(|size| *size > 0);
        if size.is_none() {
            wrong(annotation::GANG_SIZE, text, "a number from 1");
        }
        size
    });
    let locality = annotations.get(annotation::LOCALITY).and_then(|text| {
        let locality = text.parse().ok();
        if locality.is_none() {
            wrong(
                annotation::LOCALITY,
                text,
                "required=<tier>, preferred=<tier> or none",
            );
        }
        locality
    });
    problems.or(Some(Gang {
        name: name.as_str().into(),
        size,
        locality,
        by_scheduler: group.is_some_and(|name| !name.is_empty()),
    }))
}

/// An element of `ipam.spidernet.io/ippools`, or the whole of `ipam.spidernet.io/ippool`.
#[derive(Deserialize)]
struct ChoiceObject {
    interface: Option<String>,
    ipv4: Option<Vec<String>>,
    ipv6: Option<Vec<String>>,
}

impl ChoiceObject {
    fn choice(self) -> PoolChoice {
        PoolChoice {
            v4: self.ipv4.unwrap_or_default(),
            v6: self.ipv6.unwrap_or_default(),
        }
    }
}

/// The pools a pod names, by Spiderpool's precedence.
///
/// # Errors
/// What is wrong with the annotation that counts.
pub fn pools(annotations: &BTreeMap<String, String>) -> Result<PoolRequest, Problems> {
    let place = |key: &str| format!("pod annotation {key}");
    let listed = |key: &str, text: &str| {
        let list: Vec<ChoiceObject> = super::read_text(&place(key), text)?;
        let list = list.into_iter().map(|item| InterfacePools {
            interface: item
                .interface
                .as_deref()
                .filter(|name| !name.is_empty())
                .map(Into::into),
            choice: item.choice(),
        });
        Ok::<_, Problem>(list.collect())
    };
    if let Some(text) = annotations.get(annotation::IPAM_SUBNETS) {
        return Ok(PoolRequest::Subnets(listed(annotation::IPAM_SUBNETS, text)?));
    }
    if let Some(text) = annotations.get(annotation::IPAM_SUBNET) {
        let one: ChoiceObject = super::read_text(&place(annotation::IPAM_SUBNET), text)?;
        return Ok(PoolRequest::SubnetForAll(one.choice()));
    }
    if let Some(text) = annotations.get(annotation::IPAM_POOLS) {
        return Ok(PoolRequest::PerInterface(listed(annotation::IPAM_POOLS, text)?));
    }
    if let Some(text) = annotations.get(annotation::IPAM_POOL) {
        let one: ChoiceObject = super::read_text(&place(annotation::IPAM_POOL), text)?;
        return Ok(PoolRequest::All(one.choice()));
    }
    Ok(PoolRequest::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Pod {
        pod(&serde_json::from_value(value).unwrap(), &Settings::default())
    }

    #[test]
    fn requests_count_as_the_scheduler_counts() {
        let container =
            |count: u32| json!({"resources": {"requests": {"x.io/vf": count.to_string(), "cpu": "1"}}});
        let mut sidecar = container(2);
        sidecar["restartPolicy"] = "Always".into();
        let pod = read(json!({
            "metadata": {"name": "a"},
            "spec": {
                "initContainers": [sidecar, container(5)],
                "containers": [container(1), {"resources": {"limits": {"x.io/vf": "3"}}}],
            },
        }));
        // Sidecar 2 + init 5 = 7 at the peak; sidecar 2 + containers 1 + 3 = 6 later.
        assert_eq!(pod.takes.count(&"x.io/vf".into()), 7);
        assert_eq!((pod.takes.of("cpu"), pod.takes.of("pods")), (2000, 1000));
    }

    #[test]
    fn a_malformed_pool_annotation_is_told_with_its_key() {
        let pod = read(json!({"metadata": {"name": "a", "annotations": {
            "ipam.spidernet.io/ippools": r#"[{"interface":"net1","ipv4":"p1"}]"#,
        }}}));
        let text = pod.pools.unwrap_err().to_string();
        assert!(
            text.starts_with("pod annotation ipam.spidernet.io/ippools, [0].ipv4: found string \"p1\""),
            "{text}"
        );
    }

    #[test]
    fn a_refused_pod_is_told_from_one_not_tried_yet() {
        let refused = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        let pod = read(json!({"metadata": {"name": "a"}, "status": {"conditions": [refused]}}));
        assert_eq!(pod.phase, Phase::Pending { refused: true });
        assert_eq!(
            read(json!({"metadata": {"name": "a"}})).phase,
            Phase::Pending { refused: false }
        );
    }
}
