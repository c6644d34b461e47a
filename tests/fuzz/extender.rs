//! Bodies as they may arrive at the extender: each is answered by every verb, about the nodes that were asked about and
//! no others.

use std::cell::RefCell;
use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::RUNTIME;
use super::calls::{Rig, names};
use super::engine::{Target, fuzz};

/// What was promised is forgotten after so many bodies: the next ones are to find room.
const RENEWED: u32 = 100;

const VERBS: [&str; 4] = ["/filter", "/prioritize", "/preempt", "/bind"];

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "-1",
    "4294967296",
    "Pod",
    "Nodes",
    "NodeNames",
    "n1",
    "n2",
    "gone",
    "\"n1\",\"n1\"",
    "NodeNameToVictims",
    "NodeNameToMetaVictims",
    "NumPDBViolations",
    "Pods",
    "UID",
    "PodUID",
    "PodName",
    "PodNamespace",
    "Node",
    "uid-a",
    "metadata",
    "uid",
    "annotations",
    "labels",
    "k8s.v1.cni.cncf.io/networks",
    "rail0",
    "pointsman.io/locality",
    "required:leaf-group",
    "pointsman.io/gang",
    "pointsman.io/gang-size",
    "4",
    "ipam.spidernet.io/ippool",
    "spec",
    "schedulingGroup",
    "containers",
    "resources",
    "requests",
    "limits",
    "x.io/vf",
    "1e30",
    "1Ei",
    "500m",
    "nodeSelector",
    "affinity",
    "tolerations",
    "nodeName",
    "schedulingGates",
    "resourceClaims",
];

fn seeds() -> Vec<String> {
    let mut gang = Rig::pod("g");
    gang["metadata"]["annotations"]["pointsman.io/gang"] = json!("g");
    gang["metadata"]["annotations"]["pointsman.io/gang-size"] = json!("2");
    let meta = json!({"Pod": Rig::pod("a"), "NodeNameToMetaVictims": {"n1": {"Pods": [{"UID": "uid-b"}], "NumPDBViolations": 0}}});
    let whole =
        json!({"Pod": Rig::pod("a"), "NodeNameToVictims": {"n2": {"Pods": [Rig::bound_pod("b", "n2")]}}});
    let binding = json!({"PodName": "a", "PodNamespace": "default", "PodUID": "uid-a", "Node": "n1"});
    let mut seeds: Vec<String> = [
        names(&Rig::pod("a"), &["n1", "n2", "gone"]),
        names(&gang, &["n2"]),
        meta,
        whole,
        binding,
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    for recorded in [
        include_str!("../fixtures/recorded/filter.json"),
        include_str!("../fixtures/recorded/preempt.json"),
        include_str!("../fixtures/recorded/bind.json"),
    ] {
        seeds.push(recorded.to_owned());
    }
    seeds
}

fn rig() -> Rig {
    Rig::new(2, 3)
        .node("n1")
        .node("n2")
        .recorded(include_str!("../fixtures/recorded/filter.json"))
}

/// The names that a list or the keys of an object hold.
fn listed(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Value::Object(names) => names.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// What came of it, where the answer is about what was asked.
fn answered(verb: &str, sent: &Value, answer: &Value) -> String {
    let error = answer["Error"].as_str().unwrap_or_default();
    match verb {
        "/filter" if error.is_empty() => {
            let (fit, unfit) = (
                listed(&answer["NodeNames"]),
                listed(&answer["FailedAndUnresolvableNodes"]),
            );
            assert!(fit.is_disjoint(&unfit), "{answer}");
            assert_eq!(&fit | &unfit, listed(&sent["NodeNames"]), "{answer}");
            let nodes = answer["FailedAndUnresolvableNodes"].as_object();
            let reasons = nodes
                .iter()
                .flat_map(|nodes| nodes.values().filter_map(Value::as_str));
            let reasons: BTreeSet<&str> = reasons.collect();
            format!("{} {reasons:?}", fit.len())
        }
        "/prioritize" => {
            let scores = answer.as_array().unwrap();
            let hosts: BTreeSet<String> = scores
                .iter()
                .map(|score| score["Host"].as_str().unwrap().to_owned())
                .collect();
            assert!(hosts.is_subset(&listed(&sent["NodeNames"])), "{answer}");
            assert!(
                scores.iter().all(|score| score["Score"].as_u64().unwrap() <= 10),
                "{answer}"
            );
            format!("{} scores", scores.len())
        }
        "/preempt" => {
            let asked = &listed(&sent["NodeNameToVictims"]) | &listed(&sent["NodeNameToMetaVictims"]);
            let left = listed(&answer["NodeNameToMetaVictims"]);
            assert!(left.is_subset(&asked), "{answer}");
            format!("{} of {}", left.len(), asked.len())
        }
        _ => error.chars().take(24).collect(),
    }
}

#[test]
fn bodies_of_the_extender() {
    let current = RefCell::new((0, rig()));
    let check = |input: &[u8]| {
        let (used, rig) = &mut *current.borrow_mut();
        *used += 1;
        if *used > RENEWED {
            (*used, *rig) = (0, self::rig());
        }
        // What is passed over may hold bytes that are no text: then only this cannot be read.
        let sent: Option<Value> = serde_json::from_slice(input).ok();
        let mut outcome = String::new();
        for verb in VERBS {
            let answer = RUNTIME.block_on(rig.call_raw(verb, input.to_vec()));
            if answer.status != StatusCode::OK {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{verb}: {}", answer.body);
                outcome += "refused ";
                continue;
            }
            if let Some(sent) = &sent {
                outcome += &answered(verb, sent, &answer.body);
            }
        }
        outcome
    };
    let seeds = seeds();
    fuzz(&Target {
        name: "bodies of the extender",
        seeds: &seeds.iter().map(String::as_str).collect::<Vec<_>>(),
        words: WORDS,
        check: &check,
    });
}
