//! Whatever text and bytes arrive, nothing panics, hangs or loses what was written: each target is one function.
//!
//! `make fuzz N=1000000` runs them for long; every test run gives each a few thousand inputs, always the same. What one
//! finds belongs into a test of its own beside the code.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target stops at the first input for which something does not hold"
)]

#[path = "../extender/calls.rs"]
#[allow(
    dead_code,
    reason = "written for the tests of the extender, and this uses a part of it"
)]
mod calls;
#[path = "../webhook/cluster.rs"]
#[allow(
    dead_code,
    reason = "written for the tests of the webhook, and this uses a part of it"
)]
mod cluster;
mod dumps;
mod engine;
mod extender;

use std::sync::LazyLock;

use axum::http::{Method, StatusCode};
use pointsman::cluster::convert::device::named_resource;
use pointsman::cluster::index::Index;
use pointsman::cluster::multus::{Element, parse_default_network, parse_networks};
use pointsman::config::Configuration;
use pointsman::decide::annotation;
use pointsman::decide::policy::{self, Annotations, Locality, Rails, Wanted};
use pointsman::decide::problem::Problems;
use pointsman::decide::settings::Settings;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use cluster::{Cluster, operations, patched, pod, review};
use engine::{Target, fuzz};

const MULTUS_WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "\"",
    ":",
    ",",
    "/",
    "@",
    "null",
    "name",
    "NAME",
    "namespace",
    "interface",
    "interfaceRequest",
    "ips",
    "mac",
    "infiniband-guid",
    "cni-args",
    "guid",
    "default-route",
    "portMappings",
    "bandwidth",
    "deviceID",
    "02:00:00:00:00:00:00:01",
    "10.0.0.1/24",
    "rail0",
    "fabric",
    "net1",
    "\\u0000",
];

/// What came of it, without what differs from input to input.
fn outcome<T>(result: &Result<T, Problems>, good: impl FnOnce(&T) -> String) -> String {
    match result {
        Ok(value) => good(value),
        Err(problems) => {
            assert!(!problems.is_empty());
            let mut kinds = String::new();
            for problem in problems {
                for part in [&problem.at, &problem.found, &problem.expected, &problem.remedy] {
                    assert!(!part.is_empty(), "{problem:?} leaves something out");
                }
                kinds += &problem.expected;
            }
            kinds
        }
    }
}

fn text(input: &[u8]) -> String {
    String::from_utf8_lossy(input).into_owned()
}

/// The fuzzer itself: a mistake that takes two words in one input is found, and shown as short as it can be.
#[test]
fn what_does_not_hold_is_found() {
    let found = std::panic::catch_unwind(|| {
        fuzz(&Target {
            name: "a planted mistake",
            seeds: &["good", "bad"],
            words: &["left", "right"],
            check: &|input| {
                let text = text(input);
                assert!(!(text.contains("left") && text.contains("right")), "planted");
                format!("{} {}", text.contains("left"), text.contains("right"))
            },
        });
    });
    let message = found.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"planted"));
}

#[test]
fn networks() {
    let check = |input: &[u8]| {
        let text = text(input);
        let read = parse_networks(&text, &"t".into());
        if let Ok(elements) = &read {
            // Written as JSON they are the same networks.
            let list: Vec<String> = elements.iter().map(Element::to_json).collect();
            let again = parse_networks(&format!("[{}]", list.join(",")), &"t".into()).unwrap();
            assert_eq!(again.len(), elements.len());
            for (one, other) in elements.iter().zip(&again) {
                assert_eq!((&one.selection, &one.guid), (&other.selection, &other.guid));
                assert!(other.is_portable());
            }
        }
        let default = parse_default_network(&text, &"kube-system".into());
        outcome(&read, |elements| format!("{} networks", elements.len()))
            + &outcome(&default, |_| "a default network".to_owned())
    };
    fuzz(&Target {
        name: "networks",
        seeds: &[
            "a,b",
            "fabric/rail0@net1, t / a",
            "@x",
            "a,,b",
            "null",
            "[]",
            "[null]",
            r#"[{"name":"rail0","namespace":"fabric","interface":"ib0","color":[1.0,"\u00e9"]}]"#,
            r#"[{"NAME":"a","name":"b","interfaceRequest":"x","interface":"","ips":["10.0.0.1/24"],"mac":"02:00:00:00:00:01"}]"#,
            r#"[{"name":"a","infiniband-guid":"02:00:00:00:00:00:00:01","cni-args":{"guid":"x"},"default-route":["10.0.0.1"]}]"#,
            r#"[{"name":"a","portMappings":[{"hostPort":1,"protocol":"tcp"}],"bandwidth":{"ingressRate":1},"deviceID":"x"}]"#,
        ],
        words: MULTUS_WORDS,
        check: &check,
    });
}

/// Lines of `KEY=VALUE`, those after an empty line for the namespace.
fn annotations(text: &str) -> (Annotations, Annotations) {
    let read = |part: &str| {
        let pairs = part.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    let (pod, namespace) = text.split_once("\n\n").unwrap_or((text, ""));
    (read(pod), read(namespace))
}

#[test]
fn policy_annotations() {
    let check = |input: &[u8]| {
        let (pod, namespace) = annotations(&text(input));
        let defaults = policy::read_defaults(&namespace);
        let read = policy::read(&pod, &namespace);
        if let Ok(Some(policy)) = &read {
            assert_eq!(policy.rails.to_string().parse::<Rails>(), Ok(policy.rails));
            if let Some(locality) = &policy.locality {
                assert_eq!(locality.to_string().parse::<Locality>().as_ref(), Ok(locality));
            }
            // Whoever is let through finds no key of ours that was not read.
            let known = |key: &String| {
                !key.starts_with(annotation::DOMAIN)
                    || annotation::POLICY_KEYS.contains(&key.as_str())
                    || annotation::WRITTEN_KEYS.contains(&key.as_str())
            };
            assert!(pod.keys().all(known), "{pod:?}");
        }
        outcome(&read, |policy| match policy {
            None => "asks for nothing".to_owned(),
            Some(policy) => format!(
                "{} {} {} {}",
                matches!(policy.wanted, Wanted::OwnNetworks),
                policy.rails == Rails::All,
                policy.gang.is_some(),
                policy.locality.is_some()
            ),
        }) + &outcome(&defaults, |profile| profile.is_some().to_string())
    };
    let mut words = vec![
        "\n",
        "\n\n",
        "=",
        "all",
        "true",
        "false",
        "required=",
        "preferred=",
        "leaf-group",
        "x.io/y",
        " ",
        "4",
    ];
    words.extend(annotation::POLICY_KEYS);
    words.extend(annotation::WRITTEN_KEYS);
    words.extend([
        annotation::SPIDERPOOL_RDMA_INJECT,
        annotation::SPIDERPOOL_NETWORK_INJECT,
    ]);
    let seeds = [
        format!(
            "{}=eight-rails\n{}=4\n{}=trainer",
            annotation::PROFILE,
            annotation::RAILS,
            annotation::CONTAINER
        ),
        format!(
            "{}=true\n{}=required=spine",
            annotation::INJECT,
            annotation::LOCALITY
        ),
        format!(
            "{}=g\n{}=8\n\n{}=p",
            annotation::GANG,
            annotation::GANG_SIZE,
            annotation::PROFILE
        ),
        format!(
            "{}=p\n\n{}=false",
            annotation::SPIDERPOOL_RDMA_INJECT,
            annotation::INJECT
        ),
        format!("{}=x", annotation::PLACEMENT),
    ];
    fuzz(&Target {
        name: "policy",
        seeds: &seeds.iter().map(String::as_str).collect::<Vec<_>>(),
        words: &words,
        check: &check,
    });
}

#[test]
fn pool_annotations() {
    let keys = [
        annotation::IPAM_POOLS,
        annotation::IPAM_POOL,
        annotation::IPAM_SUBNETS,
        annotation::IPAM_SUBNET,
    ];
    let check = |input: &[u8]| {
        let text = text(input);
        let read = |key: &&str| {
            let annotations = Annotations::from([((*key).to_owned(), text.clone())]);
            let pools = pointsman::cluster::convert::pod::pools(&annotations);
            outcome(&pools, |pools| format!("{pools:?}").chars().take(12).collect())
        };
        keys.iter().map(read).collect()
    };
    fuzz(&Target {
        name: "pools",
        seeds: &[
            r#"{"ipv4":["a","b-*"],"ipv6":[]}"#,
            r#"[{"interface":"net1","ipv4":["a"],"cleangateway":false}]"#,
            r#"[{"ipv4":["a"]},{"ipv6":["b"]}]"#,
            "null",
            "[]",
            r#"{"ipv4":"a"}"#,
        ],
        words: &[
            "ipv4",
            "ipv6",
            "interface",
            "[",
            "]",
            "{",
            "}",
            "\"",
            ",",
            "null",
            "*",
            "eth0",
        ],
        check: &check,
    });
}

/// What a CEL selector of a resource claim says for certain stays certain with more conditions, and no longer is when any
/// of them may hold.
#[test]
fn device_selectors() {
    let check = |input: &[u8]| {
        let text = text(input);
        let Some(named) = named_resource(&text) else {
            return "nothing certain".to_owned();
        };
        assert!(text.contains(named.as_str()) && text.contains("k8s.cni.cncf.io"));
        assert_eq!(
            named_resource(&format!("has(x.y) && {text}")).as_ref(),
            Some(&named)
        );
        for doubtful in [
            format!("{text} || true"),
            format!("!({text})"),
            format!("x ? {text} : true"),
        ] {
            assert_eq!(named_resource(&doubtful), None, "{doubtful}");
        }
        format!("{} parts", text.matches("&&").count())
    };
    fuzz(&Target {
        name: "selectors",
        seeds: &[
            r#"device.attributes["k8s.cni.cncf.io"].resourceName == "x.io/rail0""#,
            "device.driver == 'd' && 'x.io/rail0' == device.attributes['k8s.cni.cncf.io'].resourceName",
            r#"device.capacity["a"].b.compareTo(quantity("1")) > 0 || true"#,
        ],
        words: &[
            "&&",
            "||",
            "==",
            "!=",
            "(",
            ")",
            "[",
            "]",
            "\"",
            "'",
            "\\",
            "?",
            " ",
            "x.io/rail0",
            "device",
        ],
        check: &check,
    });
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().unwrap());

/// Any body is answered, with 400 or with a review; a patch can be applied, and is not wanted again.
fn answered(cluster: &Cluster, path: &str, body: &[u8]) -> String {
    let (status, answer) =
        RUNTIME.block_on(cluster.send(Method::POST, path, Some("application/json"), body.to_vec()));
    if status != StatusCode::OK {
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        return answer["error"].as_str().unwrap().chars().take(24).collect();
    }
    let response = &answer["response"];
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    if sent["request"]["uid"].is_string() {
        assert_eq!(response["uid"], sent["request"]["uid"]);
    }
    let warnings = response["warnings"].as_array().map_or(0, Vec::len);
    if response["allowed"] != true {
        let message = response["status"]["message"].as_str().unwrap();
        assert!(message.contains("expected"), "{message}");
        return message.split("found").next().unwrap().to_owned();
    }
    let object = &sent["request"]["object"];
    if path == "/mutate" && response["patch"].is_string() && object.is_object() {
        let mut again = sent.clone();
        again["request"]["object"] = patched(object, response);
        let (_, answer) = RUNTIME.block_on(cluster.post(again.to_string()));
        assert!(operations(&answer["response"]).is_empty(), "{answer}");
    }
    format!("{} {warnings}", operations(response).len())
}

const REVIEW_WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "0",
    "-1",
    "metadata",
    "annotations",
    "labels",
    "spec",
    "containers",
    "initContainers",
    "resources",
    "requests",
    "limits",
    "volumes",
    "volumeMounts",
    "env",
    "name",
    "nodeSelector",
    "securityContext",
    "capabilities",
    "add",
    "restartPolicy",
    "Always",
    "hostNetwork",
    "ownerReferences",
    "operation",
    "UPDATE",
    "subResource",
    "object",
    "oldObject",
    "pointsman.io/profile",
    "pointsman.io/inject",
    "pointsman.io/rails",
    "k8s.v1.cni.cncf.io/networks",
    "fabric/rail0",
    "eight-rails",
    "spidernet.io/ib_rail0",
];

#[test]
fn admission_reviews_of_pods() {
    let cluster = Cluster::new();
    let profile = json!({ "pointsman.io/profile": "eight-rails", "pointsman.io/rails": "2" });
    let own = json!({ "pointsman.io/inject": "true", "k8s.v1.cni.cncf.io/networks": "fabric/rail0@ib0,fabric/plain" });
    let mut rich = pod(&own);
    rich["spec"]["initContainers"] = json!([{ "name": "side", "restartPolicy": "Always" }]);
    rich["spec"]["containers"][0]["resources"] = json!({ "limits": { "spidernet.io/ib_rail0": "1" } });
    rich["spec"]["containers"][0]["securityContext"] = json!({ "capabilities": { "add": ["NET_RAW"] } });
    let seeds = [pod(&profile), pod(&own), rich, pod(&json!({}))].map(|pod| review("t", &pod).to_string());
    fuzz(&Target {
        name: "reviews of pods",
        seeds: &seeds.iter().map(String::as_str).collect::<Vec<_>>(),
        words: REVIEW_WORDS,
        check: &|input| answered(&cluster, "/mutate", input),
    });
}

#[test]
fn admission_reviews_of_policy() {
    let cluster = Cluster::new();
    let namespace = cluster::namespace(
        "n",
        &[],
        &[("pointsman.io/profile", "p"), ("pointsman.io/rails", "2")],
    );
    let seeds = [namespace, cluster::ib_network("rail9", "eight-rails")].map(|object| {
        let mut review = review("t", &object);
        let group = if object["kind"] == "Namespace" {
            ""
        } else {
            "k8s.cni.cncf.io"
        };
        review["request"]["kind"] = json!({ "group": group, "version": "v1", "kind": object["kind"] });
        review.to_string()
    });
    fuzz(&Target {
        name: "reviews of policy",
        seeds: &seeds.iter().map(String::as_str).collect::<Vec<_>>(),
        words: REVIEW_WORDS,
        check: &|input| answered(&cluster, "/validate", input),
    });
}

/// Objects as a watch or a file brings them: whatever is in them, the index takes them, as broken where they are.
#[test]
fn objects_of_the_cluster() {
    let scenario = include_str!("../scenarios/cluster.yaml");
    let mut seeds: Vec<String> = serde_saphyr::from_multiple::<Value>(scenario)
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    seeds.push(cluster::ib_network("rail0", "p").to_string());
    seeds.push(
        json!({ "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderReservedIP", "metadata": { "name": "r" },
            "spec": { "ips": ["10.0.0.1-10.0.0.9", "fd00::1"] } })
        .to_string(),
    );
    let check = |input: &[u8]| {
        let Ok(object) = serde_json::from_slice::<Value>(input) else {
            return "no JSON".to_owned();
        };
        let index = Index::new(Settings::default().into());
        outcome(&index.apply(object), |()| {
            format!("{} networks", index.published().load().networks.size())
        })
    };
    fuzz(&Target {
        name: "objects",
        seeds: &seeds.iter().map(String::as_str).collect::<Vec<_>>(),
        words: &[
            "{",
            "}",
            "[",
            "]",
            "\"",
            ":",
            ",",
            "null",
            "true",
            "spec",
            "status",
            "ips",
            "excludeIPs",
            "10.0.0.1-10.0.0.9",
            "fd00::1-fd00::ffff:ffff",
            "0.0.0.0-255.255.255.255",
            "allocatedIPs",
            "subnet",
            "nodeName",
            "vfRange",
            "0-1",
            "numVfs",
            "guid",
            "config",
            "plugins",
            "type",
            "ib-sriov",
            "ipam",
            "spiderpool",
            "allocatable",
            "4294967296",
        ],
        check: &check,
    });
}

#[test]
fn the_configuration() {
    let check = |input: &[u8]| {
        let read = Configuration::from_yaml(&text(input));
        outcome(&read, |read| (*read == Configuration::default()).to_string())
    };
    fuzz(&Target {
        name: "configuration",
        seeds: &[
            "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\n",
            "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\nlocality: {tiers: [a.io/b], default: none}\n",
            "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\nreservation: {hold: 10s}\nnudge: {perSecond: 5}\n",
            "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\npodnetinfo: {enabled: true}\nnodeState: trust\n",
        ],
        words: &[
            "scheduler",
            "mode",
            "dedicated",
            "webhook",
            "certificate",
            "lifetime",
            "30d",
            "acceleratorResources",
            "- ",
            ": ",
            "\n",
            "  ",
            "{",
            "}",
            "[",
            "]",
            "&a",
            "*a",
            "!!str",
            "|",
            ">",
            "\"",
            "namespaces",
            "ipFamilies",
            "ipv4",
            "false",
        ],
        check: &check,
    });
}
