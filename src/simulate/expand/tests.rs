//! What controllers make of workloads.

use std::path::Path;
use std::sync::Arc;

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

fn cluster(yaml: &str) -> Cluster {
    let mut objects = Vec::new();
    crate::simulate::load::read(&Arc::from(Path::new("test.yaml")), yaml, &mut objects).unwrap();
    expand(objects, NOW)
}

fn names(cluster: &Cluster) -> Vec<&str> {
    cluster
        .pods
        .iter()
        .map(|pod| text(&pod.json, "/metadata/name"))
        .collect()
}

/// The names without the characters that stand for chance.
fn stems(cluster: &Cluster) -> Vec<String> {
    let mut stems: Vec<String> = names(cluster)
        .iter()
        .map(|name| name.rsplit_once('-').unwrap().0.to_owned())
        .collect();
    stems.sort_unstable();
    stems
}

const TEMPLATE: &str = "{ metadata: { labels: { app: x } }, spec: { containers: [{ name: main }] } }";

#[test]
fn a_job_makes_as_many_pods_as_run_at_once() {
    let job = |spec: &str| {
        cluster(&format!(
            "{{ apiVersion: batch/v1, kind: Job, metadata: {{ name: train }}, spec: {{ {spec}, template: {TEMPLATE} }} }}"
        ))
    };
    assert_eq!(names(&job("backoffLimit: 0")).len(), 1);
    assert_eq!(names(&job("parallelism: 3")).len(), 3);
    assert_eq!(names(&job("parallelism: 3, completions: 2")).len(), 2);
    assert_eq!(names(&job("parallelism: 3, suspend: true")).len(), 0);
    let indexed = job("parallelism: 2, completions: 4, completionMode: Indexed");
    assert_eq!(stems(&indexed), ["train-0", "train-1"]);
    let pod = &indexed.pods[0].json;
    assert_eq!(text(pod, "/spec/hostname"), "train-0");
    assert_eq!(text(pod, "/spec/schedulerName"), "default-scheduler");
    assert_eq!(text(pod, "/metadata/labels/app"), "x");
    assert_eq!(
        pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"],
        "0"
    );
    assert_eq!(text(pod, "/metadata/ownerReferences/0/kind"), "Job");
    assert_eq!(
        text(pod, "/metadata/ownerReferences/0/uid"),
        text(&indexed.objects[0].json, "/metadata/uid")
    );
}

#[test]
fn names_and_uids_are_the_same_each_time_and_never_twice() {
    let job = || {
        cluster(&format!(
            "{{ apiVersion: batch/v1, kind: Job, metadata: {{ name: j }}, spec: {{ parallelism: 3000, template: {TEMPLATE} }} }}"
        ))
    };
    let (one, other) = (job(), job());
    assert_eq!(names(&one), names(&other));
    let uids: BTreeSet<&str> = one
        .pods
        .iter()
        .map(|pod| text(&pod.json, "/metadata/uid"))
        .collect();
    assert_eq!(uids.len(), 3000);
    assert_eq!(names(&one).into_iter().collect::<BTreeSet<_>>().len(), 3000);
}

#[test]
fn pods_that_are_there_are_not_made_again() {
    let owner = |kind: &str, name: &str| format!("ownerReferences: [{{ kind: {kind}, name: {name} }}]");
    let dump = cluster(&format!(
        "
apiVersion: v1
kind: List
items:
- {{ apiVersion: batch/v1, kind: Job, metadata: {{ name: j }}, spec: {{ completionMode: Indexed, parallelism: 3, completions: 3, template: {TEMPLATE} }}, status: {{ succeeded: 1 }} }}
- {{ apiVersion: v1, kind: Pod, metadata: {{ name: j-0-aaaaa, {job}, annotations: {{ batch.kubernetes.io/job-completion-index: '0' }} }}, spec: {{ containers: [] }}, status: {{ phase: Succeeded }} }}
- {{ apiVersion: v1, kind: Pod, metadata: {{ name: j-1-aaaaa, {job}, annotations: {{ batch.kubernetes.io/job-completion-index: '1' }} }}, spec: {{ containers: [], nodeName: n }}, status: {{ phase: Running }} }}
- {{ apiVersion: apps/v1, kind: Deployment, metadata: {{ name: d }}, spec: {{ replicas: 2, template: {TEMPLATE} }} }}
- {{ apiVersion: v1, kind: Pod, metadata: {{ name: d-6c9f-aaaaa, {set} }}, spec: {{ containers: [] }} }}
- {{ apiVersion: apps/v1, kind: StatefulSet, metadata: {{ name: s }}, spec: {{ replicas: 2, template: {TEMPLATE} }} }}
- {{ apiVersion: v1, kind: Pod, metadata: {{ name: s-0, {stateful} }}, spec: {{ containers: [] }} }}
",
        job = owner("Job", "j"),
        set = owner("ReplicaSet", "d-6c9f"),
        stateful = owner("StatefulSet", "s"),
    ));
    assert_eq!(dump.findings, []);
    let stems = stems(&dump);
    assert_eq!(stems.len(), 7, "{stems:?}");
    assert_eq!(stems.iter().filter(|stem| *stem == "j-2").count(), 1);
    assert!(names(&dump).contains(&"s-1"));
    let kinds: Vec<&str> = dump
        .objects
        .iter()
        .map(|object| text(&object.json, "/kind"))
        .collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "ReplicaSet").count(), 1);
}

#[test]
fn a_stateful_set_counts_from_its_first_ordinal() {
    let set = cluster(&format!(
        "{{ apiVersion: apps/v1, kind: StatefulSet, metadata: {{ name: web, namespace: a }}, spec: {{ replicas: 2, serviceName: web, ordinals: {{ start: 5 }}, template: {TEMPLATE} }} }}"
    ));
    assert_eq!(names(&set), ["web-5", "web-6"]);
    let pod = &set.pods[1].json;
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "6");
    assert_eq!(text(pod, "/spec/subdomain"), "web");
    let namespaces = set
        .objects
        .iter()
        .filter(|object| text(&object.json, "/kind") == "Namespace");
    assert_eq!(namespaces.count(), 1, "the namespace nobody wrote down");
}

#[test]
fn a_job_set_makes_jobs_that_make_pods() {
    let set = cluster(&format!(
        "
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {{ name: js }}
spec:
  replicatedJobs:
  - {{ name: leader, template: {{ spec: {{ template: {TEMPLATE} }} }} }}
  - {{ name: workers, replicas: 2, template: {{ metadata: {{ annotations: {{ a: b }} }}, spec: {{ parallelism: 2, completions: 2, template: {TEMPLATE} }} }} }}
"
    ));
    assert_eq!(set.findings, []);
    assert_eq!(
        stems(&set),
        [
            "js-leader-0-0",
            "js-workers-0-0",
            "js-workers-0-1",
            "js-workers-1-0",
            "js-workers-1-1"
        ]
    );
    let last = set
        .pods
        .iter()
        .find(|pod| text(&pod.json, "/metadata/name").starts_with("js-workers-1-1"));
    let labels = &last.unwrap().json["metadata"]["labels"];
    assert_eq!(labels["jobset.sigs.k8s.io/jobset-name"], "js");
    assert_eq!(labels["jobset.sigs.k8s.io/job-global-index"], "2");
    assert_eq!(labels["batch.kubernetes.io/job-name"], "js-workers-1");
    assert_eq!(labels["app"], "x");
    let jobs: Vec<&Value> = set
        .objects
        .iter()
        .map(|object| &object.json)
        .filter(|json| text(json, "/kind") == "Job")
        .collect();
    assert_eq!(jobs.len(), 3);
    assert_eq!(jobs[1]["metadata"]["annotations"]["a"], "b");
    assert_eq!(text(jobs[1], "/metadata/ownerReferences/0/kind"), "JobSet");
}

#[test]
fn a_broken_workload_is_reported_and_the_rest_goes_on() {
    let broken = cluster(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: d }}
spec: {{ replicas: three, template: {TEMPLATE} }}
---
apiVersion: batch/v1
kind: Job
metadata: {{ name: j }}
spec: {{}}
---
just: a mapping
---
kind: Pod
apiVersion: v1
metadata: {{}}
---
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {{ name: torch }}
---
apiVersion: v1
kind: Pod
metadata: {{ name: p }}
spec: {{ containers: [] }}
"
    ));
    assert_eq!(names(&broken), ["p"]);
    let found: Vec<String> = broken
        .findings
        .iter()
        .map(|finding| format!("{}: {}", finding.object, finding.problems))
        .collect();
    insta::assert_snapshot!(found.join("\n"), @r#"
    test.yaml, document 3, line 11: apiVersion and kind: found an object without them, expected an object of Kubernetes; write it as `kubectl get -o yaml` prints it
    test.yaml, document 4, line 13: metadata.name: found a Pod without one, expected an object of Kubernetes; write it as `kubectl get -o yaml` prints it
    Deployment default/d (test.yaml, document 1, line 1): spec.replicas: found "three", expected a whole number from 0 to 20000; correct the workload; it is left out
    Job default/j (test.yaml, document 2, line 6): spec.template: found no pod template, expected a template with spec.containers; complete the workload; it is left out
    PyTorchJob default/torch (test.yaml, document 5, line 17): kind: found PyTorchJob, expected a Pod, Job, JobSet, Deployment or StatefulSet; its pods are not simulated; add them as Pods
    "#);
}

#[test]
fn pods_come_in_the_order_of_their_creation_then_by_name() {
    let pods = cluster(
        "
{ apiVersion: v1, kind: Pod, metadata: { name: b }, spec: { containers: [] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: c, creationTimestamp: '2025-12-31T00:00:00Z' }, spec: { containers: [] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: a }, spec: { containers: [] } }
",
    );
    assert_eq!(names(&pods), ["c", "a", "b"]);
}

#[test]
fn an_object_given_twice_counts_as_given_last() {
    let pods = cluster(
        "
{ apiVersion: v1, kind: Pod, metadata: { name: a, labels: { round: one } }, spec: { containers: [] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: a, namespace: other }, spec: { containers: [] } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: a, namespace: default, labels: { round: two } }, spec: { containers: [] } }
",
    );
    assert_eq!(names(&pods), ["a", "a"]);
    assert_eq!(text(&pods.pods[0].json, "/metadata/labels/round"), "two");
}
