//! Deployments and StatefulSets.

use serde_json::{Value, json};

use super::identity::{self, Owner};
use super::{Made, Present, count, pod, template, text};
use crate::decide::problem::Problem;

/// The ReplicaSet and the pods that a Deployment's controllers still have to make.
pub(super) fn of_deployment(deployment: &Value, present: &Present) -> Result<Made, Problem> {
    let template = template(deployment, "/spec/template")?;
    let replicas = count(deployment, "/spec/replicas")?.unwrap_or(1);
    let owner = Owner::of(deployment);
    // A ReplicaSet is named after its Deployment, with one part more: its pods are the Deployment's.
    let here: usize = present
        .pods
        .iter()
        .filter(|((namespace, kind, name), _)| {
            namespace == owner.namespace
                && kind == "ReplicaSet"
                && name
                    .rsplit_once('-')
                    .is_some_and(|(before, _)| before == owner.name)
        })
        .map(|(_, pods)| pods.len())
        .sum();
    let hash = identity::revision(template);
    let name = format!("{}-{hash}", owner.name);
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "uid": identity::uid("ReplicaSet", owner.namespace, &name),
            "creationTimestamp": owner.created,
            "ownerReferences": [owner.reference()],
        },
        "spec": { "replicas": replicas },
    });
    let set_owner = Owner::of(&set);
    let labels = [("pod-template-hash", hash)];
    let generate_name = format!("{name}-");
    let first = u64::try_from(here).unwrap_or(u64::MAX);
    let pods: Vec<Value> = (first..replicas)
        .map(|number| {
            let name = format!("{generate_name}{}", set_owner.suffix(number));
            pod(template, &set_owner, &name, Some(&generate_name), &labels, &[])
        })
        .collect();
    Ok(Made {
        owners: if pods.is_empty() { Vec::new() } else { vec![set] },
        pods,
    })
}

/// The pods that a StatefulSet's controller still has to make.
pub(super) fn of_stateful_set(set: &Value, present: &Present) -> Result<Made, Problem> {
    let template = template(set, "/spec/template")?;
    let replicas = count(set, "/spec/replicas")?.unwrap_or(1);
    let first = count(set, "/spec/ordinals/start")?.unwrap_or(0);
    let owner = Owner::of(set);
    let here = present.pods_of(owner.namespace, "StatefulSet", owner.name);
    let revision = format!("{}-{}", owner.name, identity::revision(template));
    let pods = (first..first + replicas)
        .map(|ordinal| (ordinal, format!("{}-{ordinal}", owner.name)))
        .filter(|(_, name)| !here.iter().any(|pod| text(pod, "/metadata/name") == name))
        .map(|(ordinal, name)| {
            let labels = [
                ("apps.kubernetes.io/pod-index", ordinal.to_string()),
                ("controller-revision-hash", revision.clone()),
                ("statefulset.kubernetes.io/pod-name", name.clone()),
            ];
            let generate_name = format!("{}-", owner.name);
            let mut pod = pod(template, &owner, &name, Some(&generate_name), &labels, &[]);
            if let Some(spec) = pod.pointer_mut("/spec").and_then(Value::as_object_mut) {
                spec.insert("hostname".to_owned(), json!(name));
                spec.insert("subdomain".to_owned(), json!(text(set, "/spec/serviceName")));
            }
            pod
        })
        .collect();
    Ok(Made {
        owners: Vec::new(),
        pods,
    })
}
