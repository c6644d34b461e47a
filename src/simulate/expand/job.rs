//! Jobs, and the JobSets that make them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::identity::{self, Owner};
use super::{Made, Present, count, pod, template, text};
use crate::decide::problem::Problem;

/// The number of a pod in an indexed Job: label, and annotation for older readers.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The pods that a Job's controller still has to make.
pub(super) fn of_job(job: &Value, present: &Present) -> Result<Made, Problem> {
    let template = template(job, "/spec/template")?;
    let parallelism = count(job, "/spec/parallelism")?.unwrap_or(1);
    let completions = count(job, "/spec/completions")?;
    let succeeded = count(job, "/status/succeeded")?.unwrap_or(0);
    if flag(job, "/spec/suspend") || over(job) {
        return Ok(Made::default());
    }
    let owner = Owner::of(job);
    let here = present.pods_of(owner.namespace, "Job", owner.name);
    let active = here
        .iter()
        .filter(|pod| !has_phase(pod, &["Succeeded", "Failed"]))
        .count();
    let left = completions.map_or(parallelism, |completions| {
        parallelism.min(completions.saturating_sub(succeeded))
    });
    let missing = left.saturating_sub(u64::try_from(active).unwrap_or(u64::MAX));
    let indexed = text(job, "/spec/completionMode") == "Indexed";
    let taken: BTreeSet<u64> = here
        .iter()
        .filter(|pod| !has_phase(pod, &["Failed"]))
        .filter_map(|pod| {
            let index = pod.pointer("/metadata/annotations")?.get(INDEX)?;
            index.as_str()?.parse().ok()
        })
        .collect();
    let numbers: Vec<u64> = if indexed {
        (0..completions.unwrap_or(parallelism))
            .filter(|index| !taken.contains(index))
            .take(usize::try_from(missing).unwrap_or(usize::MAX))
            .collect()
    } else {
        // Its pods have no number of their own; the first to be made is the one behind those that are there.
        let first = u64::try_from(here.len()).unwrap_or_default();
        (first..first + missing).collect()
    };
    let pods = numbers
        .into_iter()
        .map(|number| pod_of_job(template, &owner, number, indexed))
        .collect();
    Ok(Made {
        owners: Vec::new(),
        pods,
    })
}

fn pod_of_job(template: &Value, owner: &Owner<'_>, number: u64, indexed: bool) -> Value {
    let generate_name = if indexed {
        format!("{}-{number}-", owner.name)
    } else {
        format!("{}-", owner.name)
    };
    let name = format!("{generate_name}{}", owner.suffix(number));
    let mut labels = vec![
        ("batch.kubernetes.io/controller-uid", owner.uid.to_owned()),
        ("batch.kubernetes.io/job-name", owner.name.to_owned()),
        ("controller-uid", owner.uid.to_owned()),
        ("job-name", owner.name.to_owned()),
    ];
    let mut annotations = Vec::new();
    if indexed {
        labels.push((INDEX, number.to_string()));
        annotations.push((INDEX, number.to_string()));
    }
    let mut pod = pod(
        template,
        owner,
        &name,
        Some(&generate_name),
        &labels,
        &annotations,
    );
    if let Some(metadata) = pod.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.insert(
            "finalizers".to_owned(),
            json!(["batch.kubernetes.io/job-tracking"]),
        );
    }
    if indexed && let Some(spec) = pod.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.entry("hostname")
            .or_insert_with(|| json!(format!("{}-{number}", owner.name)));
    }
    pod
}

/// The Jobs that a JobSet's controller still has to make, and their pods.
pub(super) fn of_job_set(set: &Value, present: &Present) -> Result<Made, Problem> {
    let mut made = Made::default();
    if flag(set, "/spec/suspend") || over(set) {
        return Ok(made);
    }
    let groups = set
        .pointer("/spec/replicatedJobs")
        .and_then(Value::as_array)
        .ok_or_else(|| {
            Problem::new(
                "spec.replicatedJobs",
                "nothing",
                "a list of Jobs to make",
                "complete the JobSet; it is left out",
            )
        })?;
    let replicas: Vec<u64> = groups
        .iter()
        .map(|group| Ok(count(group, "/replicas")?.unwrap_or(1)))
        .collect::<Result<_, Problem>>()?;
    let all: u64 = replicas.iter().sum();
    let mut before = 0;
    for (group, replicas) in groups.iter().zip(replicas) {
        for index in 0..replicas {
            let job = job_of_set(
                set,
                group,
                Place {
                    replicas,
                    index,
                    before,
                    all,
                },
            )?;
            let key = (
                text(&job, "/metadata/namespace").to_owned(),
                text(&job, "/metadata/name").to_owned(),
            );
            // A Job that is there makes its pods itself.
            if !present.jobs.contains(&key) {
                made.pods.extend(of_job(&job, present)?.pods);
                made.owners.push(job);
            }
        }
        before += replicas;
    }
    Ok(made)
}

/// Where a Job stands in its JobSet.
#[derive(Clone, Copy)]
struct Place {
    /// Jobs of its group.
    replicas: u64,
    /// Its number in the group.
    index: u64,
    /// Jobs of the groups before.
    before: u64,
    /// Jobs of the whole set.
    all: u64,
}

fn job_of_set(set: &Value, group: &Value, place: Place) -> Result<Value, Problem> {
    let mut spec = group
        .pointer("/template/spec")
        .cloned()
        .unwrap_or_else(|| json!({}));
    template(&json!({ "spec": &spec }), "/spec/template")?;
    let owner = Owner::of(set);
    let group_name = text(group, "/name");
    let name = format!("{}-{group_name}-{}", owner.name, place.index);
    let marks = json!({
        "jobset.sigs.k8s.io/jobset-name": owner.name,
        "jobset.sigs.k8s.io/jobset-uid": owner.uid,
        "jobset.sigs.k8s.io/replicatedjob-name": group_name,
        "jobset.sigs.k8s.io/replicatedjob-replicas": place.replicas.to_string(),
        "jobset.sigs.k8s.io/global-replicas": place.all.to_string(),
        "jobset.sigs.k8s.io/job-index": place.index.to_string(),
        "jobset.sigs.k8s.io/job-global-index": (place.before + place.index).to_string(),
        "jobset.sigs.k8s.io/job-key": identity::uid("JobKey", owner.namespace, &name).replace('-', ""),
        "jobset.sigs.k8s.io/restart-attempt": "0",
    });
    if let Some(fields) = spec.as_object_mut() {
        // The JobSet's own default, which differs from a Job's.
        fields.entry("completionMode").or_insert_with(|| json!("Indexed"));
    }
    for key in ["labels", "annotations"] {
        merge(&mut spec, "/template", key, &marks);
    }
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": owner.namespace,
            "uid": identity::uid("Job", owner.namespace, &name),
            "creationTimestamp": owner.created,
            "ownerReferences": [owner.reference()],
        },
        "spec": spec,
    });
    for key in ["labels", "annotations"] {
        if let Some(own) = group
            .pointer("/template/metadata")
            .and_then(|metadata| metadata.get(key))
        {
            merge(&mut job, "", key, own);
        }
        merge(&mut job, "", key, &marks);
    }
    Ok(job)
}

/// Adds to the labels or annotations of the object at `pointer`.
fn merge(json: &mut Value, pointer: &str, key: &str, more: &Value) {
    let Some(object) = json.pointer_mut(pointer).and_then(Value::as_object_mut) else {
        return;
    };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    let map = metadata.entry(key).or_insert_with(|| json!({}));
    if let (Some(map), Some(more)) = (map.as_object_mut(), more.as_object()) {
        map.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

fn flag(json: &Value, pointer: &str) -> bool {
    json.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether a Job or JobSet has come to its end.
fn over(json: &Value) -> bool {
    json.pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| {
            ["Complete", "Completed", "Failed"].contains(&text(condition, "/type"))
                && text(condition, "/status") == "True"
        })
}

fn has_phase(pod: &Value, phases: &[&str]) -> bool {
    phases.contains(&text(pod, "/status/phase"))
}
