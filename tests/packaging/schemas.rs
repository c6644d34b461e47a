//! JSON schemas for kubeconform, made from what is pinned: Kubernetes' own OpenAPI descriptions, and CRDs.
//!
//! They are strict: a field that the schema does not know is an error, as for `kubectl --validate=strict`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::tools;

/// The minors that the chart is for.
pub(crate) const MINORS: [&str; 3] = ["1.35", "1.36", "1.37"];

/// Writes the schemas of one minor, one file per kind, and returns how kubeconform finds them there.
pub(crate) fn write(minor: &str, folder: &Path) -> String {
    let file = tools::part(&format!("schemas-{minor}")).join("swagger.json");
    let document: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let version = document["info"]["version"].as_str().unwrap();
    assert!(
        version.starts_with(&format!("v{minor}.")) || version == "unversioned",
        "{version}"
    );
    let definitions = document["definitions"].as_object().unwrap();
    for (name, definition) in definitions {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        let [kind] = kinds.map(Vec::as_slice).unwrap_or_default() else {
            // Not an object, or one of the few that every group has (DeleteOptions).
            continue;
        };
        let mut needed = BTreeSet::new();
        need(name, definitions, &mut needed);
        let needed: Map<String, Value> = needed
            .into_iter()
            .map(|name| (name.clone(), strict(&name, &definitions[&name])))
            .collect();
        let schema = json!({"$ref": format!("#/definitions/{name}"), "definitions": needed});
        let [group, version, kind] = ["group", "version", "kind"].map(|key| kind[key].as_str().unwrap());
        fs::write(folder.join(file_name(group, version, kind)), schema.to_string()).unwrap();
    }
    for part in ["prometheus-operator", "cert-manager"] {
        write_crds(&tools::part(part).join("crds"), folder);
    }
    format!(
        "{}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        folder.display()
    )
}

fn write_crds(crds: &Path, folder: &Path) {
    for entry in fs::read_dir(crds).unwrap() {
        let crd: Value = serde_saphyr::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let spec = &crd["spec"];
        for version in spec["versions"].as_array().unwrap() {
            let [group, kind, version_name] =
                [&spec["group"], &spec["names"]["kind"], &version["name"]].map(|text| text.as_str().unwrap());
            let mut schema = strict("", &version["schema"]["openAPIV3Schema"]);
            // The API server's own, and not described in a CRD.
            schema["properties"]["metadata"] = json!({"type": "object"});
            fs::write(
                folder.join(file_name(group, version_name, kind)),
                schema.to_string(),
            )
            .unwrap();
        }
    }
}

/// As kubeconform names kinds: with the first part of the group.
fn file_name(group: &str, version: &str, kind: &str) -> String {
    let group = group.split('.').next().filter(|first| !first.is_empty());
    let parts = [Some(kind), group, Some(version)];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
    format!("{}.json", name.to_lowercase())
}

/// The definition and all that it refers to.
fn need(name: &str, definitions: &Map<String, Value>, needed: &mut BTreeSet<String>) {
    if !needed.insert(name.to_owned()) {
        return;
    }
    let mut rest = vec![&definitions[name]];
    while let Some(value) = rest.pop() {
        match value {
            Value::Object(fields) => {
                let target = fields.get("$ref").and_then(Value::as_str);
                if let Some(name) = target.and_then(|text| text.strip_prefix("#/definitions/")) {
                    need(name, definitions, needed);
                }
                rest.extend(fields.values());
            }
            Value::Array(items) => rest.extend(items),
            _ => {}
        }
    }
}

/// OpenAPI as JSON Schema: what may be a number or a text says so, and unknown fields are refused.
fn strict(name: &str, schema: &Value) -> Value {
    let number_or_text = json!({"type": ["integer", "number", "string"]});
    if name.ends_with(".api.resource.Quantity") {
        return number_or_text;
    }
    match schema {
        Value::Object(fields) => {
            let says = |key: &str| fields.get(key).is_some_and(|value| value == true);
            if says("x-kubernetes-int-or-string") || fields.get("format") == Some(&json!("int-or-string")) {
                return number_or_text;
            }
            let mut made: Map<String, Value> = fields
                .iter()
                // kubeconform need not know how Kubernetes words formats such as int32.
                .filter(|(key, value)| *key != "format" || !value.is_string())
                .map(|(key, value)| (key.clone(), strict("", value)))
                .collect();
            let lists_fields = fields.get("properties").is_some_and(Value::is_object);
            if lists_fields && !says("x-kubernetes-preserve-unknown-fields") {
                made.entry("additionalProperties").or_insert(json!(false));
            }
            Value::Object(made)
        }
        Value::Array(items) => items.iter().map(|item| strict("", item)).collect(),
        plain => plain.clone(),
    }
}
