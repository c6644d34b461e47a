//! Dynamic Resource Allocation: DeviceClasses, ResourceClaims and ResourceClaimTemplates (`resource.k8s.io/v1`), as far
//! as they say which extended resource their devices stand for.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde::Deserialize;

use crate::decide::device::{DeviceChoice, DeviceRequest};
use crate::decide::names::ResourceName;
use crate::decide::problem::Problem;

/// A DeviceClass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DeviceClass {
    /// The resource that the scheduler takes its devices for (`spec.extendedResourceName`).
    pub maps: Option<ResourceName>,
    /// Every resource its devices stand for: by that, or by the attribute Multus goes by.
    pub brings: BTreeSet<ResourceName>,
}

/// What a DeviceClass says.
///
/// # Errors
/// When its specification cannot be read.
pub fn class(object: &DynamicObject) -> Result<DeviceClass, Problem> {
    let label = format!(
        "DeviceClass {}",
        object.metadata.name.as_deref().unwrap_or_default()
    );
    let spec: ClassObject = super::read(&label, "spec", object.data.get("spec"))?;
    let maps = spec
        .extended_resource_name
        .filter(|name| !name.is_empty())
        .map(ResourceName::from);
    let brings = selected(spec.selectors).into_iter().chain(maps.clone()).collect();
    Ok(DeviceClass { maps, brings })
}

/// What a ResourceClaim asks for; none for one that was made for a single pod from a template, which that pod's other
/// lookers-on never name.
///
/// # Errors
/// When its specification cannot be read.
pub fn claim(object: &DynamicObject) -> Result<Option<Vec<DeviceRequest>>, Problem> {
    let owners = object.metadata.owner_references.iter().flatten();
    if owners.into_iter().any(|owner| owner.kind == "Pod") {
        return Ok(None);
    }
    let spec: ClaimObject = super::read(&label("ResourceClaim", object), "spec", object.data.get("spec"))?;
    Ok(Some(requests(spec)))
}

/// What the claims that are made from a ResourceClaimTemplate ask for.
///
/// # Errors
/// When its specification cannot be read.
pub fn template(object: &DynamicObject) -> Result<Vec<DeviceRequest>, Problem> {
    let spec: TemplateObject = super::read(
        &label("ResourceClaimTemplate", object),
        "spec",
        object.data.get("spec"),
    )?;
    Ok(requests(spec.spec))
}

fn label(kind: &str, object: &DynamicObject) -> String {
    format!(
        "{kind} {}/{}",
        object.metadata.namespace.as_deref().unwrap_or_default(),
        object.metadata.name.as_deref().unwrap_or_default()
    )
}

/// Requests for access of an administrator take no device away from anyone, and bring the pod none of its own.
fn requests(claim: ClaimObject) -> Vec<DeviceRequest> {
    let asked = claim.devices.unwrap_or_default().requests.unwrap_or_default();
    asked
        .into_iter()
        .filter_map(|request| {
            let choices: Vec<DeviceChoice> = request
                .exactly
                .into_iter()
                .chain(request.first_available.unwrap_or_default())
                .filter(|choice| !choice.admin_access.unwrap_or(false))
                .map(|choice| DeviceChoice {
                    class: choice.device_class_name.as_str().into(),
                    selected: selected(choice.selectors),
                })
                .collect();
            (!choices.is_empty()).then_some(DeviceRequest { choices })
        })
        .collect()
}

fn selected(selectors: Option<Vec<SelectorObject>>) -> BTreeSet<ResourceName> {
    let expressions = selectors
        .unwrap_or_default()
        .into_iter()
        .filter_map(|one| one.cel);
    expressions
        .filter_map(|cel| named_resource(&cel.expression))
        .collect()
}

/// The resource whose devices alone a CEL expression selects, by the attribute that Multus looks for a network's
/// device with (`k8s.cni.cncf.io/resourceName`). Only what is certain counts: an equality that stands alone, or joined
/// to others by `&&`.
#[must_use]
pub fn named_resource(expression: &str) -> Option<ResourceName> {
    let parts = conjuncts(expression)?;
    parts.iter().find_map(|part| {
        let (left, right) = part.split_once("==")?;
        let attribute = |text: &str| {
            matches!(
                text,
                "device.attributes[\"k8s.cni.cncf.io\"].resourceName"
                    | "device.attributes['k8s.cni.cncf.io'].resourceName"
            )
        };
        let literal = match (attribute(left), attribute(right)) {
            (true, false) => right,
            (false, true) => left,
            _ => return None,
        };
        let inside = |quote: char| literal.strip_prefix(quote)?.strip_suffix(quote);
        let name = inside('"').or_else(|| inside('\''))?;
        let plain = !name.is_empty() && !name.contains(['"', '\'', '\\']);
        plain.then(|| ResourceName::from(name))
    })
}

/// The parts of an expression that must all hold, without blanks outside of texts; none where another operator binds
/// them less tightly than `&&`.
fn conjuncts(expression: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut quote: Option<char> = None;
    let mut depth = 0_u32;
    let mut rest = expression.chars().peekable();
    while let Some(c) = rest.next() {
        let part = parts.last_mut()?;
        match (quote, c) {
            (Some(_), '\\') => {
                part.push(c);
                part.extend(rest.next());
            }
            (Some(open), _) => {
                part.push(c);
                if c == open {
                    quote = None;
                }
            }
            (None, '"' | '\'') => {
                part.push(c);
                quote = Some(c);
            }
            (None, '&') if depth == 0 && rest.peek() == Some(&'&') => {
                let _second = rest.next();
                parts.push(String::new());
            }
            (None, '|' | '?') if depth == 0 => return None,
            (None, _) if c.is_whitespace() => {}
            (None, _) => {
                match c {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.checked_sub(1)?,
                    _ => {}
                }
                part.push(c);
            }
        }
    }
    (quote.is_none() && depth == 0).then_some(parts)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClassObject {
    extended_resource_name: Option<String>,
    selectors: Option<Vec<SelectorObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SelectorObject {
    cel: Option<CelObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CelObject {
    expression: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TemplateObject {
    spec: ClaimObject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimObject {
    devices: Option<DevicesObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DevicesObject {
    requests: Option<Vec<RequestObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestObject {
    exactly: Option<ChoiceObject>,
    first_available: Option<Vec<ChoiceObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChoiceObject {
    device_class_name: String,
    selectors: Option<Vec<SelectorObject>>,
    admin_access: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::{Value, json};

    const MULTUS: &str = r#"device.attributes["k8s.cni.cncf.io"].resourceName == "x.io/rail0""#;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case::alone(MULTUS.to_owned(), true)]
    #[case::joined(format!("device.driver == 'd' && {MULTUS}"), true)]
    #[case::turned_round("'x.io/rail0' == device.attributes['k8s.cni.cncf.io'].resourceName".to_owned(), true)]
    #[case::one_of_two(format!("{MULTUS} || device.driver == 'd'"), false)]
    #[case::denied(format!("!({MULTUS})"), false)]
    #[case::unequal(MULTUS.replace("==", "!="), false)]
    #[case::when(format!("device.driver == 'd' ? true : {MULTUS}"), false)]
    #[case::inside_a_text(format!("device.driver == '&& {} &&'", MULTUS.replace('"', "`")), false)]
    #[case::another_attribute(MULTUS.replace("resourceName", "deviceID"), false)]
    #[case::cut_off(MULTUS[..MULTUS.len() - 1].to_owned(), false)]
    #[case::unbalanced(format!("{MULTUS})"), false)]
    fn a_resource_is_named_only_where_that_is_certain(#[case] expression: String, #[case] named: bool) {
        let expected = named.then(|| ResourceName::from("x.io/rail0"));
        assert_eq!(named_resource(&expression), expected, "{expression}");
    }

    #[test]
    fn a_class_brings_what_it_maps_and_what_it_selects() {
        let read = |spec: Value| class(&object(json!({ "metadata": { "name": "c" }, "spec": spec })));
        let both = read(json!({ "extendedResourceName": "x.io/rail1",
            "selectors": [{ "cel": { "expression": MULTUS } }, { "cel": { "expression": "true" } }] }));
        assert_eq!(
            both.unwrap(),
            DeviceClass {
                maps: Some("x.io/rail1".into()),
                brings: ["x.io/rail0", "x.io/rail1"].map(ResourceName::from).into()
            }
        );
        assert_eq!(read(Value::Null).unwrap(), DeviceClass::default());
        let error = read(json!({ "extendedResourceName": 7 })).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("DeviceClass c, spec.extendedResourceName: "),
            "{error}"
        );
    }

    #[test]
    fn claims_and_templates_ask_for_choices_of_classes() {
        let spec = json!({ "devices": { "requests": [
            { "name": "one", "exactly": { "deviceClassName": "a", "selectors": [{ "cel": { "expression": MULTUS } }] } },
            { "name": "two", "firstAvailable": [{ "name": "x", "deviceClassName": "b" }, { "name": "y", "deviceClassName": "c" }] },
            { "name": "watch", "exactly": { "deviceClassName": "a", "adminAccess": true } },
        ] } });
        let metadata = json!({ "namespace": "t", "name": "nics" });
        let shown = |requests: Vec<DeviceRequest>| {
            let classes = |request: &DeviceRequest| {
                let names = request.choices.iter().map(|choice| {
                    let selected: Vec<&str> = choice.selected.iter().map(ResourceName::as_str).collect();
                    format!("{}[{}]", choice.class, selected.join(","))
                });
                names.collect::<Vec<_>>().join("|")
            };
            requests.iter().map(classes).collect::<Vec<_>>()
        };
        let expected = ["a[x.io/rail0]", "b[]|c[]"];
        let plain = object(json!({ "metadata": metadata, "spec": spec }));
        assert_eq!(shown(claim(&plain).unwrap().unwrap()), expected);
        let of_template = object(json!({ "metadata": metadata, "spec": { "spec": spec } }));
        assert_eq!(shown(template(&of_template).unwrap()), expected);

        let mut made = plain.clone();
        made.metadata.owner_references = serde_json::from_value(
            json!([{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true }]),
        )
        .unwrap();
        assert_eq!(claim(&made).unwrap(), None);

        let wrong = object(
            json!({ "metadata": metadata, "spec": { "devices": { "requests": [{ "exactly": 1 }] } } }),
        );
        let error = claim(&wrong).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("ResourceClaim t/nics, spec.devices.requests[0].exactly: "),
            "{error}"
        );
    }
}
