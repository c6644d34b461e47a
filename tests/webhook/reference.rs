//! README and `docs/annotations.md` say what the code does: they are made from it, and each example goes through the
//! webhook.

use core::fmt::Write as _;
use std::collections::BTreeSet;
use std::path::Path;

use pointsman::decide::annotation;
use pointsman::decide::reference::{Entry, Section, sections};
use serde_json::{Value, json};

use crate::cluster::{Cluster, ib_network, namespace, operations, pod};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";

/// Where README has the reference; what stands between the two is made.
const BEGIN: &str = "<!-- Made from src/decide/reference.rs by `make bless`: change it there. -->\n";
const END: &str = "<!-- Until here. -->\n";

/// The page.
fn page() -> String {
    "# Annotations and labels\n\nMade from `src/decide/reference.rs` by `make bless`: change it there. How to come from other \
     webhooks: [migrating.md](migrating.md).\n"
        .to_owned()
        + &reference("##")
}

/// README as it stands, with the reference as it should be.
fn readme(stands: &str) -> String {
    let (before, rest) = stands
        .split_once(BEGIN)
        .expect("README says where the reference begins");
    let (_, after) = rest
        .split_once(END)
        .expect("README says where the reference ends");
    format!("{before}{BEGIN}{}\n{END}{after}", reference("###"))
}

/// Everything, below headings of this level. A table cell cannot hold a bar or a new line; none of the texts has one.
fn reference(heading: &str) -> String {
    let mut text = String::new();
    for Section {
        title,
        about,
        entries,
    } in sections()
    {
        write!(text, "\n{heading} {title}\n\n{about}\n\n").unwrap();
        text += "| key | value | meaning |\n|---|---|---|\n";
        for Entry {
            keys, value, meaning, ..
        } in &entries
        {
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            writeln!(text, "| {} | {value} | {meaning} |", keys.join("<br>")).unwrap();
        }
        text += "\nExamples:\n\n```yaml\n";
        for Entry { keys, example, .. } in &entries {
            let quoted = if example.contains('"') {
                format!("'{example}'")
            } else {
                format!("\"{example}\"")
            };
            writeln!(text, "{}: {quoted}", keys[0]).unwrap();
        }
        text += "```\n";
    }
    text
}

#[test]
fn the_page_and_the_readme_are_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stand = |file: &str, wanted: fn(&str) -> String| {
        let path = root.join(file);
        let stands = std::fs::read_to_string(&path).unwrap();
        if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
            std::fs::write(&path, wanted(&stands)).unwrap();
        }
        let stands = std::fs::read_to_string(&path).unwrap();
        assert_eq!(stands, wanted(&stands), "{file}: run `make bless`");
    };
    stand("docs/annotations.md", |_| page());
    stand("README.md", readme);
}

#[test]
fn every_key_is_in_it() {
    let described: BTreeSet<&str> = sections()
        .iter()
        .flat_map(|section| &section.entries)
        .flat_map(|entry| entry.keys.clone())
        .collect();
    // The file that spells all of them. Those of others that users write are described as well.
    let source = include_str!("../../src/decide/annotation.rs");
    let spelled = source.lines().filter_map(|line| {
        let (_, value) = line.strip_prefix("pub const ")?.split_once("&str = \"")?;
        value
            .strip_suffix("\";")
            .filter(|key| key.starts_with(annotation::DOMAIN))
    });
    let elsewhere = [
        annotation::DOMAIN,
        annotation::AUTHORITY,
        annotation::FABRIC_NODES,
        annotation::FABRIC_DARK,
    ];
    let missing: Vec<&str> = spelled
        .filter(|key| !described.contains(key) && !elsewhere.contains(key))
        .collect();
    assert!(
        missing.is_empty(),
        "describe in src/decide/reference.rs: {missing:?}"
    );
    for section in sections() {
        for entry in section.entries {
            let whole = [entry.value, entry.meaning, entry.example];
            assert!(
                whole
                    .iter()
                    .all(|text| !text.is_empty() && !text.contains(['|', '\n'])),
                "{entry:?}"
            );
        }
    }
}

/// Those that programs read are read by the very code.
#[test]
fn examples_of_what_is_written_can_be_read() {
    let written = sections().pop().unwrap().entries;
    let example = |key: &str| written.iter().find(|entry| entry.keys[0] == key).unwrap().example;
    let rails = pointsman::cluster::fabric::parse("node n1", example(annotation::FABRIC)).unwrap();
    assert_eq!(rails.len(), 1);
    let placement: Value = serde_json::from_str(example(annotation::PLACEMENT)).unwrap();
    assert_eq!(placement["position"], example(annotation::FABRIC_POSITION));
    let injected: Value = serde_json::from_str(example(annotation::INJECTED)).unwrap();
    assert_eq!(injected["version"], 1);
}

/// Each example on its own, on a pod of the profile.
#[tokio::test]
async fn every_example_for_pods_is_admitted_and_does_something() {
    let cluster = Cluster::new();
    cluster.with(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "n2", "labels": { "fabric.topograph.run/tier-0": "a" } },
    }));
    for (namespace, name) in [("storage", "nfs"), ("kube-system", "calico")] {
        let mut plain = crate::cluster::network(name, &[], &json!({ "type": "macvlan" }));
        plain["metadata"]["namespace"] = json!(namespace);
        cluster.with(plain);
    }
    let pods = sections().into_iter().next().unwrap().entries;
    let foreign = sections().remove(2).entries;
    let on_pods = foreign
        .into_iter()
        .filter(|entry| !entry.value.starts_with("on a "));
    for Entry { keys, example, .. } in pods.into_iter().chain(on_pods) {
        let key = keys[0];
        // Gang keys say something about a gang, pools about one network.
        let mut annotations = json!({ annotation::PROFILE: "half", annotation::GANG: "g" });
        if key == annotation::INJECT {
            annotations = json!({ NETWORKS: "fabric/half0" });
        }
        if key == annotation::RAILS {
            annotations = json!({ annotation::PROFILE: "eight-rails" });
        }
        annotations[key] = json!(example);
        let asked = pod(&annotations);
        let response = cluster.admit("t", &asked).await;
        assert_eq!(response["allowed"], true, "{key}: {example}: {response}");
        assert!(!operations(&response).is_empty(), "{key}: {example} does nothing");
    }
}

#[tokio::test]
async fn every_example_for_networks_and_namespaces_is_accepted() {
    let cluster = Cluster::new();
    let accepted = async |object: Value| {
        let kind = if object["kind"] == "Namespace" {
            json!({ "group": "", "version": "v1", "kind": "Namespace" })
        } else {
            json!({ "group": "k8s.cni.cncf.io", "version": "v1", "kind": "NetworkAttachmentDefinition" })
        };
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": { "uid": "u", "kind": kind, "operation": "CREATE", "object": object },
        });
        let (_, answer) = cluster
            .send(
                axum::http::Method::POST,
                "/validate",
                Some("application/json"),
                review.to_string(),
            )
            .await;
        assert_eq!(answer["response"]["allowed"], true, "{answer}");
    };
    let mut all = sections().into_iter();
    for Entry { keys, example, .. } in all.next().unwrap().entries {
        accepted(namespace(
            "n",
            &[("pointsman.io/inject", "enabled")],
            &[(keys[0], example)],
        ))
        .await;
    }
    for Entry { keys, example, .. } in all.next().unwrap().entries {
        let mut network = ib_network("rail9", "eight-rails");
        network["metadata"]["annotations"][keys[0]] = json!(example);
        accepted(network).await;
    }
}
