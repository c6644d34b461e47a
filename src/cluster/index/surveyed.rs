//! Decisions by surveys that follow the cluster change by change are the same as those worked out from scratch: for
//! whatever sequence of changes, through the index that writes down which nodes they concern.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::{Index, Key};
use crate::cluster::objects::Kind;
use crate::decide::annotation;
use crate::decide::commitment::Commitments;
use crate::decide::decision::{Decision, decide, decide_by, rank, rank_by, rest_of_gang};
use crate::decide::names::NodeName;
use crate::decide::pod::Pod;
use crate::decide::settings::Settings;
use crate::decide::survey::Surveys;

/// One change of the cluster; small numbers that are read as modulo.
type Step = (u8, u8, u8, u8);

fn name(prefix: &str, number: u8, of: u8) -> String {
    format!("{prefix}{}", number % of)
}

fn node(number: u8, a: u8, b: u8) -> Value {
    let mut labels = json!({"unit": name("u", a, 2)});
    let group = name("g", a / 2, 3);
    match b % 5 {
        0 => {}
        1 => labels["fabric.topograph.run/tier-0"] = json!(group),
        _ => labels[annotation::LEAF_GROUP] = json!(group),
    }
    if b % 3 == 1 {
        labels[annotation::SPINE] = json!(name("s", a, 2));
    }
    let rail = |rail: u8, state: &str, speed: &str| {
        json!({"rail": rail, "hca": name("ib", rail, 2), "guid": format!("0x{:016x}", u16::from(rail) + 1), "leaf": "0x0000000000000100",
            "leafName": "l", "port": 1, "state": state, "width": "4x", "speed": speed, "source": "guid"})
    };
    let state = ["active", "down", "active", "unknown"][usize::from(b / 5 % 4)];
    let speed = ["NDR", "HDR"][usize::from(b / 20 % 2)];
    let fabric = json!({"version": 1, "rails": [rail(0, "active", "NDR"), rail(1, state, speed)]});
    let mut annotations = json!({});
    if a % 4 == 3 {
        annotations[annotation::FABRIC] = json!(fabric.to_string());
    }
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name("n", number, 7), "labels": labels, "annotations": annotations},
        "spec": {"unschedulable": a % 11 == 10},
        "status": {"allocatable": {"cpu": "8", "pods": "10", "x.io/r0": (b % 4 + 1).to_string(), "x.io/r1": (a % 3 + 2).to_string()},
            "conditions": [{"type": "Ready", "status": if a % 13 == 12 { "False" } else { "True" }}]}})
}

fn state(number: u8, a: u8, b: u8) -> Value {
    let interface = |rail: u8| {
        json!({"pciAddress": format!("0000:1{rail}:00.0"), "name": name("ib", rail, 2), "numVfs": 4,
        "vfGroups": [{"resourceName": name("r", rail, 2), "vfRange": "0-3"}]})
    };
    let seen = |rail: u8| {
        let vfs: Vec<Value> = (0..4)
            .map(|vf| json!({"vfID": vf, "guid": format!("0258:9b03:0020:{rail}{vf}01")}))
            .collect();
        json!({"pciAddress": format!("0000:1{rail}:00.0"), "name": name("ib", rail, 2), "linkType": "IB", "numVfs": 4,
            "linkAdminState": if rail == 1 && a % 5 == 4 { "down" } else { "up" }, "Vfs": vfs})
    };
    let mut status = json!({"syncStatus": if b % 7 == 6 { "InProgress" } else { "Succeeded" },
        "interfaces": [seen(0), seen(1)]});
    if !b.is_multiple_of(3) {
        status["system"] = json!({"rdmaMode": if b % 3 == 1 { "exclusive" } else { "shared" }});
    }
    json!({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
        "metadata": {"name": name("n", number, 7), "namespace": "o"},
        "spec": {"interfaces": [interface(0), interface(1)]}, "status": status})
}

fn pod(pod_name: &str, node: Option<&str>, gang: Option<(&str, u8, &str)>, vfs: u8) -> Value {
    let mut annotations = json!({annotation::NETWORKS: "default/rail0,default/rail1"});
    let mut labels = json!({});
    if let Some((gang, size, locality)) = gang {
        labels[annotation::GANG] = json!(gang);
        annotations[annotation::GANG_SIZE] = json!(size.to_string());
        annotations[annotation::LOCALITY] = json!(locality);
    }
    let resources = json!({"cpu": "1", "x.io/r0": vfs.to_string(), "x.io/r1": vfs.to_string()});
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod_name, "namespace": "default", "uid": format!("uid-{pod_name}"), "annotations": annotations, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": resources, "limits": resources}}]}})
}

fn pool(number: u8, a: u8, b: u8) -> Value {
    let (rail, unit) = (number % 2, number / 2 % 3);
    let affinity = match unit {
        0 => json!({}),
        unit => json!({"nodeAffinity": {"matchLabels": {"unit": name("u", unit, 2)}}}),
    };
    let mut spec = json!({"subnet": format!("10.{rail}.{unit}.0/24"), "ips": [format!("10.{rail}.{unit}.1-10.{rail}.{unit}.{}", a % 8 + 1)]});
    if let (Value::Object(spec), Value::Object(affinity)) = (&mut spec, affinity) {
        spec.extend(affinity);
    }
    if b % 9 == 8 {
        spec["nodeName"] = json!([name("n", a, 7)]);
    }
    if b % 7 == 6 {
        spec["disable"] = json!(true);
    }
    let held = match b % 3 {
        0 => json!({}),
        _ => {
            json!({format!("10.{rail}.{unit}.1"): {"pod": format!("default/{}", name("p", a, 6)), "podUid": format!("uid-{}", name("p", a, 6))}})
        }
    };
    json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": {"name": format!("r{rail}-{unit}")}, "spec": spec, "status": {"allocatedIPs": held.to_string()}})
}

fn network(rail: u8) -> Value {
    let config = json!({"type": "ib-sriov", "rdmaIsolation": true,
        "ipam": {"type": "spiderpool", "default_ipv4_ippool": [format!("r{rail}-*")]}});
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name("rail", rail, 2), "namespace": "default",
            "annotations": {annotation::RESOURCE_NAME: name("x.io/r", rail, 2)}},
        "spec": {"config": config.to_string()}})
}

fn apply(index: &Index, (what, number, a, b): Step) {
    // What cannot be read stays in the index as such, and that is a part of the test.
    let put = |object: Value| drop(index.apply(object));
    let gone = |kind: Kind, namespace: &str, name: String| index.remove(kind, &(namespace.to_owned(), name));
    match what % 12 {
        0..=2 => put(node(number, a, b)),
        3 => gone(Kind::Node, "", name("n", number, 7)),
        4 => put(state(number, a, b)),
        5 => gone(Kind::NodeState, "", name("n", number, 7)),
        6 | 7 => {
            let gang = (b % 3 == 0).then_some(("required", 3, "required=leaf-group"));
            let gang = gang.or_else(|| (b % 3 == 1).then_some(("preferred", 4, "preferred=leaf-group")));
            put(pod(
                &name("p", number, 6),
                (a % 4 > 0).then_some(name("n", a, 7).as_str()),
                gang,
                1,
            ));
        }
        8 => gone(Kind::Pod, "default", name("p", number, 6)),
        9 | 10 => put(pool(number, a, b)),
        _ => {
            let class = json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "c"},
                "spec": {"extendedResourceName": name("x.io/r", a, 3)}});
            if b % 2 == 0 {
                put(class);
            } else {
                gone(Kind::DeviceClass, "", "c".to_owned());
            }
        }
    }
}

fn asked(index: &Index, object: Value) -> Arc<Pod> {
    index.apply(object).unwrap();
    let snapshot = index.published().load_full();
    let pending = snapshot
        .pending
        .values()
        .find(|pod| pod.at.name.as_str().starts_with("ask"));
    let pod = Arc::clone(pending.unwrap());
    let key: Key = ("default".to_owned(), pod.at.name.to_string());
    index.remove(Kind::Pod, &key);
    pod
}

fn told(decision: &Decision) -> String {
    format!("{:#?}", (&decision.verdicts, &decision.pod, &decision.gang))
}

#[test]
fn surveys_that_follow_the_changes_decide_as_if_from_scratch() {
    let step = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
    let (fits, holds) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(ProptestConfig::with_cases(96));
    runner
        .run(&prop::collection::vec(step, 10..60), |steps| {
            let tally = follow(steps)?;
            fits.set(fits.get() + tally.0);
            holds.set(holds.get() + tally.1);
            Ok(())
        })
        .unwrap();
    // The worlds are such that there is something to decide.
    assert!(
        fits.get() > 200 && holds.get() > 100,
        "{fits:?} fit, {holds:?} holds"
    );
}

/// Plays the steps; how often a pod fitted, and how often a gang was held for.
fn follow(steps: Vec<Step>) -> Result<(usize, usize), TestCaseError> {
    let settings = Arc::new(Settings::default());
    let index = Index::new(Arc::clone(&settings));
    // A cluster in which the pods fit, to begin with.
    for rail in 0..2 {
        index.apply(network(rail)).unwrap();
        index.apply(pool(rail, 7, 0)).unwrap();
    }
    for number in 0..7 {
        index.apply(node(number, number % 3 * 2, 7)).unwrap();
        index.apply(state(number, 0, 1)).unwrap();
    }
    let gangs = [
        None,
        Some(("required", 3, "required=leaf-group")),
        Some(("preferred", 4, "preferred=leaf-group")),
        Some(("wide", 3, "required=spine")),
    ];
    let asks: Vec<Arc<Pod>> = gangs
        .iter()
        .zip(0_u8..)
        .flat_map(|(gang, number)| [(gang, number, 1), (gang, number, 2)])
        .map(|(gang, number, vfs)| asked(&index, pod(&format!("ask-{number}-{vfs}"), None, *gang, vfs)))
        .collect();
    let names: Vec<NodeName> = (0..8).map(|number| name("n", number, 9).into()).collect();
    let mut surveys = Surveys::default();
    let mut commitments = Commitments::default();
    let (mut fits, mut holds) = (0, 0);
    for (count, step) in steps.into_iter().enumerate() {
        apply(&index, step);
        if count % 7 == 6 {
            index.age();
        }
        let differences = index.sources().compare(&settings).examples;
        prop_assert!(differences.is_empty(), "after {:?}: {:?}", step, differences);
        let snapshot = index.published().load_full();
        let pod = &asks[count % asks.len()];
        let fresh = decide(pod, &names, &snapshot, &commitments, &settings);
        let known = surveys.candidates(names.iter().map(NodeName::as_str), &snapshot, &settings);
        let kept = decide_by(&mut surveys, pod, &known, &snapshot, &commitments, &settings);
        prop_assert_eq!(
            told(&kept),
            told(&fresh),
            "after {} steps, the last {:?}",
            count + 1,
            step
        );
        let fresh_rank = rank(pod, &names, &snapshot, &commitments, &settings);
        let kept_rank = rank_by(&mut surveys, pod, &known, &snapshot, &commitments, &settings);
        prop_assert_eq!(told(&kept_rank), told(&fresh_rank));
        let first = name("n", step.1, 7).into();
        prop_assert_eq!(
            rest_of_gang(
                Some(&mut surveys),
                pod,
                &first,
                &snapshot,
                &commitments,
                &settings
            ),
            rest_of_gang(None, pod, &first, &snapshot, &commitments, &settings)
        );
        fits += usize::from(fresh.fits());
        holds += usize::from(fresh.gang.is_some());
        // What was promised stays promised for a while.
        if step.2 % 5 == 0 {
            commitments = Commitments::default();
        }
        if let Some(hold) = fresh.pod {
            commitments.pods.insert_mut(pod.at.uid.clone(), Arc::new(hold));
        }
        if let Some((gang, hold)) = fresh.gang {
            commitments.gangs.insert_mut(gang, Arc::new(hold));
        }
    }
    Ok((fits, holds))
}
