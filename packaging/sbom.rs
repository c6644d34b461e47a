//! Prints what the binary is made of, as CycloneDX JSON: every crate that is linked into it, with version, licence,
//! checksum and what it depends on. What only the compiler or a
//! test needs is not in it. The same sources print the same.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool of the build: what is wrong with Cargo's own output ends it"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

fn main() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    println!("{:#}", document(&metadata, &checksums(&lock)));
}

fn document(metadata: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let root = metadata["resolve"]["root"].as_str().unwrap();
    let packages: BTreeMap<&str, &Value> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package))
        .collect();
    let links = links(metadata, root, &packages);
    let components: BTreeMap<String, Value> = links
        .keys()
        .filter(|id| **id != root)
        .map(|id| {
            (
                reference(packages[id]),
                component(packages[id], "library", checksums),
            )
        })
        .collect();
    let dependencies: BTreeMap<String, Value> = links
        .iter()
        .map(|(id, on)| {
            let on: BTreeSet<String> = on.iter().map(|id| reference(packages[id])).collect();
            (
                reference(packages[id]),
                json!({"ref": reference(packages[id]), "dependsOn": on}),
            )
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component(packages[root], "application", checksums)},
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.into_values().collect::<Vec<_>>(),
    })
}

/// What is linked into the root package, and what each of it links to.
fn links<'a>(
    metadata: &'a Value,
    root: &'a str,
    packages: &BTreeMap<&str, &Value>,
) -> BTreeMap<&'a str, Vec<&'a str>> {
    let nodes: BTreeMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let mut links: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut rest = vec![root];
    while let Some(id) = rest.pop() {
        if links.contains_key(id) {
            continue;
        }
        let normal = |dependency: &&Value| {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            let links = kinds.iter().any(|kind| kind["kind"].is_null());
            links && !is_macro(packages[dependency["pkg"].as_str().unwrap()])
        };
        let on = nodes[id]["deps"].as_array().unwrap();
        let on: Vec<&str> = on
            .iter()
            .filter(normal)
            .map(|dependency| dependency["pkg"].as_str().unwrap())
            .collect();
        rest.extend(&on);
        links.insert(id, on);
    }
    links
}

fn component(package: &Value, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let [name, version] = ["name", "version"].map(|key| package[key].as_str().unwrap().to_owned());
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": name,
        "version": version,
        "purl": reference(package),
        "licenses": [{"expression": licence(package)}],
    });
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

/// Some crates still write a slash where the grammar has OR.
fn licence(package: &Value) -> String {
    let parts = package["license"].as_str().unwrap_or("NOASSERTION").split('/');
    parts.map(str::trim).collect::<Vec<_>>().join(" OR ")
}

/// It runs in the compiler.
fn is_macro(package: &Value) -> bool {
    let targets = package["targets"].as_array().unwrap();
    targets
        .iter()
        .any(|target| target["kind"] == json!(["proc-macro"]))
}

fn reference(package: &Value) -> String {
    format!(
        "pkg:cargo/{}@{}",
        package["name"].as_str().unwrap(),
        package["version"].as_str().unwrap()
    )
}

/// The checksums in Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |package: &str, key: &str| {
        let line = package
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|package| {
            Some((
                (field(package, "name")?, field(package, "version")?),
                field(package, "checksum")?,
            ))
        })
        .collect()
}
