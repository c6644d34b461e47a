//! What holds for every pod: no panic, nothing of the user's is lost, changed or lowered, and a second look at a
//! patched pod changes nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use pointsman::cluster::multus::parse_networks;
use pointsman::decide::mutation::{Admission, admit};
use pointsman::decide::settings::{Podnetinfo, Settings};
use pointsman::webhook::facts;
use pointsman::webhook::patch::patch;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json, value::RawValue};

use crate::cluster::Cluster;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::new);

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const INJECTED: &str = "pointsman.io/injected";

/// What becomes of a pod: the patched one, or nothing where it is denied or not asked about.
fn admitted(pod: &Value, namespace: &str) -> Option<Value> {
    admitted_by(pod, namespace, &Settings::default())
}

fn admitted_by(pod: &Value, namespace: &str, settings: &Settings) -> Option<Value> {
    let text = pod.to_string();
    let object: &RawValue = serde_json::from_str(&text).unwrap();
    let arrived = facts::read(object, Some(namespace), settings).ok()?;
    let snapshot = CLUSTER.index.published().load_full();
    let Admission::Mutate(mutation) = admit(&arrived.facts, &snapshot, settings) else {
        return None;
    };
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch(&arrived, &mutation)).unwrap();
    Some(patched)
}

fn network() -> impl Strategy<Value = String> {
    let name = || select(vec!["rail0", "rail1", "rail5", "plain", "half0", "ethernet"]);
    prop_oneof![
        9 => name().prop_map(|name| format!(r#"{{"name": "{name}","namespace":"fabric","x":[1.0, "ü\u00e9"]}}"#)),
        3 => (name(), "[a-z]{3,8}").prop_map(|(name, interface)| {
            format!(r#"{{"NAMESPACE":"fabric", "Name":"{name}","interfaceRequest":"{interface}"}}"#)
        }),
        1 => Just(r#"{"name":"nowhere"}"#.to_owned()),
    ]
}

fn networks() -> impl Strategy<Value = String> {
    let short = prop_oneof![
        9 => select(vec!["fabric/rail0", "fabric/rail3@ib3", "fabric / plain", "fabric/rail0@uplink_p0", "fabric/half0"]).prop_map(str::to_owned),
        1 => "[a-z/@ ]{0,12}",
    ];
    prop_oneof![
        5 => prop::collection::vec(network(), 0..4).prop_map(|list| format!(" [{}]", list.join(" ,"))),
        5 => prop::collection::vec(short, 1..4).prop_map(|list| list.join(",")),
        1 => "[\\[\\]{}\",:@/a-z ]{0,20}",
    ]
}

fn annotations() -> impl Strategy<Value = Value> {
    // Mostly what is right, or every other pod would be denied and show nothing.
    let usual = |good: Vec<&'static str>, bad: Vec<&'static str>| {
        prop::option::weighted(0.5, prop_oneof![9 => select(good), 1 => select(bad)])
    };
    (
        usual(
            vec!["eight-rails", "half", "other"],
            vec!["broken", "nothing", ""],
        ),
        usual(vec!["true"], vec!["false", "yes"]),
        usual(vec!["all", "1", "3", "8"], vec!["9", "x"]),
        usual(vec!["c0"], vec!["c1", "s0", "nobody"]),
        prop::option::weighted(0.6, networks()),
        usual(vec!["{}"], vec!["{\"version\":1}"]),
        prop::collection::btree_map("[a-z~/.]{1,8}", "\\PC{0,8}", 0..3),
    )
        .prop_map(
            |(profile, inject, rails, container, networks, injected, others)| {
                let mut map: Map<String, Value> = others
                    .into_iter()
                    .map(|(key, value)| (key, json!(value)))
                    .collect();
                let ours = [
                    ("pointsman.io/profile", profile.map(str::to_owned)),
                    ("pointsman.io/inject", inject.map(str::to_owned)),
                    ("pointsman.io/rails", rails.map(str::to_owned)),
                    ("pointsman.io/container", container.map(str::to_owned)),
                    (NETWORKS, networks),
                    (INJECTED, injected.map(str::to_owned)),
                ];
                map.extend(
                    ours.into_iter()
                        .filter_map(|(key, value)| Some((key.to_owned(), json!(value?)))),
                );
                Value::Object(map)
            },
        )
}

fn amounts() -> impl Strategy<Value = Value> {
    let name = select(vec![
        "cpu",
        "nvidia.com/gpu",
        "spidernet.io/ib_rail0",
        "spidernet.io/ib_rail1",
        "rdma/hca_shared",
        "a~b.c/d",
        "hugepages-2Mi",
    ]);
    prop_oneof![
        Just(Value::Null),
        prop::collection::btree_map(name, select(vec!["0", "1", "2", "1k", "3000m"]), 0..3)
            .prop_map(|map| json!(map)),
    ]
}

/// Requests and limits, which mostly agree.
fn resources() -> impl Strategy<Value = Value> {
    prop_oneof![
        2 => Just(Value::Null),
        6 => amounts().prop_map(|both| json!({ "requests": both, "limits": both, "claims": [{ "name": "x" }] })),
        1 => (amounts(), amounts())
            .prop_map(|(requests, limits)| json!({ "requests": requests, "limits": limits })),
        2 => amounts().prop_map(|limits| json!({ "limits": limits })),
    ]
}

fn security() -> impl Strategy<Value = Value> {
    select(vec![
        Value::Null,
        json!({}),
        json!({ "privileged": true }),
        json!({ "capabilities": { "drop": ["ALL"] } }),
        json!({ "capabilities": { "add": [] } }),
        json!({ "capabilities": { "add": ["NET_RAW"], "new": 1 } }),
        json!({ "capabilities": { "add": ["IPC_LOCK"] } }),
    ])
}

fn container(name: String) -> impl Strategy<Value = Value> {
    (resources(), security(), any::<bool>(), lists()).prop_map(
        move |(resources, security, sidecar, lists)| {
            let mut container = json!({ "name": name, "image": "i", "future": { "field": [1] } });
            for (field, value) in [("resources", resources), ("securityContext", security)] {
                // Absent, or there and null.
                if !value.is_null() || sidecar {
                    container[field] = value;
                }
            }
            if sidecar {
                container["restartPolicy"] = json!("Always");
            }
            for (field, list) in ["volumeMounts", "env"].into_iter().zip(lists) {
                if !list.is_null() {
                    container[field] = list;
                }
            }
            container
        },
    )
}

/// What a container mounts, and its environment: absent, empty, or with something under a name of ours.
fn lists() -> impl Strategy<Value = [Value; 2]> {
    let mounts = select(vec![
        Value::Null,
        json!([]),
        json!([{ "name": "v", "mountPath": "/v", "future": 1.5 }]),
        json!([{ "name": "podnetinfo", "mountPath": "/elsewhere" }]),
        json!([{ "name": "v", "mountPath": "/etc/podnetinfo" }]),
    ]);
    let variables = select(vec![
        Value::Null,
        json!([]),
        json!([{ "name": "A", "value": "" }]),
        json!([{ "name": "CONTAINER_NAME", "value": "mine" }, { "name": "POINTSMAN_FABRIC_POSITION" }]),
    ]);
    (mounts, variables).prop_map(|(mounts, variables)| [mounts, variables])
}

/// Volumes, node selectors and labels, in the same ways.
fn surroundings() -> impl Strategy<Value = [Value; 3]> {
    let volumes = select(vec![
        Value::Null,
        json!([]),
        json!([{ "name": "v", "emptyDir": {} }, { "name": "w", "future": {} }]),
        json!([{ "name": "podnetinfo", "emptyDir": {} }]),
    ]);
    let selectors = select(vec![Value::Null, json!({}), json!({ "rack": "a" })]);
    let labels = select(vec![Value::Null, json!({}), json!({ "a": "b", "c": "" })]);
    (volumes, selectors, labels).prop_map(|(volumes, selectors, labels)| [volumes, selectors, labels])
}

fn containers(prefix: &'static str) -> impl Strategy<Value = Value> {
    (usize::from(prefix == "c")..4).prop_flat_map(move |n| {
        let list: Vec<_> = (0..n)
            .map(|index| container(format!("{prefix}{index}")))
            .collect();
        list.prop_map(Value::Array)
    })
}

fn pods() -> impl Strategy<Value = Value> {
    (
        prop::option::weighted(0.9, annotations()),
        containers("c"),
        prop::option::of(containers("s")),
        select(vec![None, Some("default-scheduler"), Some("volcano")]),
        prop::bool::weighted(0.03),
        surroundings(),
    )
        .prop_map(|(annotations, containers, init, scheduler, host_network, [volumes, selector, labels])| {
            let mut pod = json!({
                "metadata": { "generateName": "p-" },
                "spec": { "containers": containers, "hostNetwork": host_network, "future": { "spins": [1.5] } },
            });
            if let Some(annotations) = annotations {
                pod["metadata"]["annotations"] = annotations;
            }
            if let Some(init) = init {
                pod["spec"]["initContainers"] = init;
            }
            for (at, field, value) in [
                ("spec", "volumes", volumes),
                ("spec", "nodeSelector", selector),
                ("metadata", "labels", labels),
            ] {
                if !value.is_null() {
                    pod[at][field] = value;
                }
            }
            if let Some(scheduler) = scheduler {
                pod["spec"]["schedulerName"] = json!(scheduler);
            }
            pod
        })
}

/// The pod without what admission may change, and without what is empty then.
fn rest(mut pod: Value) -> Value {
    fn prune(value: &mut Value) {
        if let Value::Object(map) = value {
            map.values_mut().for_each(prune);
            map.retain(|_, value| !value.is_null() && *value != json!({}) && *value != json!([]));
        }
    }

    pod["spec"].as_object_mut().unwrap().remove("schedulerName");
    if let Some(Value::Object(annotations)) = pod.pointer_mut("/metadata/annotations") {
        annotations.remove(NETWORKS);
        annotations.remove(INJECTED);
    }
    for list in ["containers", "initContainers"] {
        for container in pod["spec"][list].as_array_mut().into_iter().flatten() {
            for part in ["/resources/requests", "/resources/limits"] {
                if let Some(Value::Object(amounts)) = container.pointer_mut(part) {
                    amounts.retain(|name, _| !name.starts_with("spidernet.io/"));
                }
            }
            if let Some(Value::Array(added)) = container.pointer_mut("/securityContext/capabilities/add") {
                added.retain(|name| name != "IPC_LOCK");
            }
            prune(container);
        }
        if pod["spec"][list].is_null() {
            pod["spec"].as_object_mut().unwrap().remove(list);
        }
    }
    prune(&mut pod["metadata"]);
    pod
}

/// Whether all that stands in one value stands in the other, lists from their beginning.
fn includes(less: &Value, more: &Value) -> bool {
    match (less, more) {
        (Value::Object(less), Value::Object(more)) => less
            .iter()
            .all(|(key, value)| more.get(key).is_some_and(|now| includes(value, now))),
        (Value::Array(less), Value::Array(more)) => {
            less.len() <= more.len() && less.iter().zip(more).all(|(less, more)| includes(less, more))
        }
        _ => less == more,
    }
}

/// Every amount of every container, in thousandths.
fn all_amounts(pod: &Value) -> Vec<(String, i128)> {
    let mut all = Vec::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in pod["spec"][list].as_array().into_iter().flatten().enumerate() {
            for part in ["requests", "limits"] {
                for (name, amount) in container["resources"][part].as_object().into_iter().flatten() {
                    let amount = pointsman::cluster::quantity::milli(amount.as_str().unwrap()).unwrap();
                    all.push((format!("{list}/{index}/{part}/{name}"), amount));
                }
            }
        }
    }
    all
}

fn elements(pod: &Value) -> Vec<String> {
    let text = pod["metadata"]["annotations"][NETWORKS]
        .as_str()
        .unwrap_or_default();
    parse_networks(text, &"t".into())
        .unwrap()
        .iter()
        .map(pointsman::cluster::multus::Element::to_json)
        .collect()
}

/// How many of a resource Multus finds, and how many of the pod's networks want one.
fn found_and_wanted(pod: &Value, resource: &str, network: &str) -> (i128, usize) {
    let lasting =
        |list: &str, container: &Value| list == "containers" || container["restartPolicy"] == "Always";
    let found = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| {
            pod["spec"][*list]
                .as_array()
                .into_iter()
                .flatten()
                .map(move |c| (*list, c))
        })
        .filter(|(list, container)| lasting(list, container))
        .map(|(_, container)| {
            // Of one that is missing, the API server takes the other.
            let amount = |part: &str| {
                let amount = container["resources"][part][resource].as_str().unwrap_or("0");
                pointsman::cluster::quantity::milli(amount).unwrap() / 1000
            };
            amount("requests").max(amount("limits"))
        })
        .sum();
    let text = pod["metadata"]["annotations"][NETWORKS]
        .as_str()
        .unwrap_or_default();
    let wanted = parse_networks(text, &"t".into())
        .unwrap()
        .iter()
        .filter(|element| element.selection.network.to_string() == network)
        .count();
    (found, wanted)
}

/// What network-resources-injector in its default mode adds to a pod's first container: one of a network's resource for
/// each network, unless some container names the resource. It looks at no init container.
fn injector_adds(pod: &Value) -> BTreeMap<String, u32> {
    let snapshot = CLUSTER.index.published().load_full();
    let text = pod["metadata"]["annotations"][NETWORKS]
        .as_str()
        .unwrap_or_default();
    let mut counts = BTreeMap::new();
    for element in parse_networks(text, &"t".into()).unwrap() {
        let network = snapshot.networks.get(&element.selection.network);
        let attachment = network.and_then(|network| network.reading.as_ref().ok());
        if let Some(resource) = attachment.and_then(|attachment| attachment.resource.as_ref()) {
            *counts.entry(resource.to_string()).or_default() += 1;
        }
    }
    for container in pod["spec"]["containers"].as_array().unwrap() {
        for part in ["requests", "limits"] {
            for name in container["resources"][part]
                .as_object()
                .into_iter()
                .flat_map(Map::keys)
            {
                counts.remove(name);
            }
        }
    }
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_pod_is_changed_only_where_it_must_be(
        pod in pods(),
        namespace in select(vec!["t", "tight", "defaults", "own", "unknown"]),
    ) {
        let Some(patched) = admitted(&pod, namespace) else { return Ok(()) };

        prop_assert_eq!(rest(pod.clone()), rest(patched.clone()), "something else was changed");
        let before = elements(&pod);
        let after = elements(&patched);
        for (index, element) in before.iter().enumerate() {
            prop_assert_eq!(Some(element), after.get(index), "an element was changed");
        }
        let after = all_amounts(&patched);
        for (at, amount) in all_amounts(&pod) {
            let now = after.iter().find(|(there, _)| *there == at).map(|(_, amount)| *amount);
            prop_assert!(now.is_some_and(|now| now >= amount), "{} fell from {} to {:?}", at, amount, now);
        }
        for rail in 0..8 {
            let (found, wanted) = found_and_wanted(
                &patched, &format!("spidernet.io/ib_rail{rail}"), &format!("fabric/rail{rail}"));
            let record_stands = patched["metadata"]["annotations"].get(INJECTED).is_some();
            prop_assert!(!record_stands || found >= i128::try_from(wanted).unwrap(), "rail {}: {} for {}", rail, found, wanted);
        }
        prop_assert_eq!(admitted(&patched, namespace), Some(patched.clone()), "a second look changes it again");
        let in_sidecars = patched["spec"]["initContainers"].to_string();
        let injected: Vec<String> = injector_adds(&patched)
            .into_keys()
            .filter(|resource| !in_sidecars.contains(resource.as_str()))
            .collect();
        prop_assert!(
            injected.is_empty() || patched["metadata"]["annotations"].get(INJECTED).is_none(),
            "network-resources-injector adds {:?}", injected
        );
    }

    #[test]
    fn the_volume_with_a_pods_own_metadata_comes_beside_what_is_there(
        pod in pods(),
        podnetinfo in select(vec![Podnetinfo::On, Podnetinfo::WithHugepages]),
    ) {
        let settings = Settings { podnetinfo, ..Settings::default() };
        let Some(patched) = admitted_by(&pod, "t", &settings) else { return Ok(()) };

        prop_assert!(includes(&rest(pod.clone()), &rest(patched.clone())), "{}\nbecame\n{}", pod, patched);
        prop_assert_eq!(admitted_by(&patched, "t", &settings), Some(patched.clone()), "a second look changes it again");
    }

    #[test]
    fn no_object_makes_it_panic(text in "\\{\"(metadata|spec)\":.{0,60}\\}|\\PC{0,60}") {
        if let Ok(object) = serde_json::from_str::<&RawValue>(&text) {
            let _ = facts::read(object, None, &Settings::default());
        }
    }
}

#[test]
fn the_generated_pods_are_of_every_kind() {
    // A property over pods that are all denied would hold and say nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = pods();
    let admitted = (0..2000)
        .filter_map(|_| {
            let pod = strategy.new_tree(&mut runner).unwrap().current();
            Some((admitted(&pod, "t")?, pod))
        })
        .collect::<Vec<_>>();
    let changed = admitted.iter().filter(|(after, before)| after != before).count();
    assert!(changed > 100, "{changed} of {} were changed", admitted.len());
    let settings = Settings {
        podnetinfo: Podnetinfo::WithHugepages,
        ..Settings::default()
    };
    let with_files = admitted.iter().filter(|(after, before)| {
        admitted_by(before, "t", &settings).is_some_and(|with_files| with_files != *after)
    });
    assert!(
        with_files.count() > 50,
        "hardly any of {} got the volume",
        admitted.len()
    );
}
