//! The grammar of `k8s.v1.cni.cncf.io/networks`, read as Multus reads it.
//!
//! Multus is what attaches the networks in the end, so its reading is the right one; where Multus accepts what
//! must fail afterwards (an empty name, an interface name that the kernel refuses) we refuse it here, at the
//! door. Three rules surprise: the text is JSON as soon as it contains `[`, `{` or `"` (and a comma list
//! otherwise, `null` included); Go matches JSON keys without regard to case; of a key given twice the last wins.
//!
//! Every element keeps the text the user wrote, so that it can be written back with keys nobody here knows.

use core::net::IpAddr;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::go_json::{Pairs, Shape, decoded, folded, is_null};
use crate::decide::annotation;
use crate::decide::names::{InterfaceName, NamespaceName, NetworkRef};
use crate::decide::network::Selection;
use crate::decide::problem::{Problem, Problems, quoted};

/// The longest interface name the kernel takes (`IFNAMSIZ` with its final zero).
const LONGEST_INTERFACE: usize = 15;

/// One network a pod asks for.
#[derive(Clone, Debug)]
pub struct Element {
    /// What it selects.
    pub selection: Selection,
    /// The GUID it brings for the interface, acceptable to the CNI plugin or not.
    pub guid: Option<String>,
    raw: Raw,
}

/// An element as the user wrote it.
#[derive(Clone, Debug)]
enum Raw {
    /// An item of a comma list.
    Short(String),
    /// An element of a JSON list.
    Json(Box<RawValue>),
    /// An element of a JSON list that names its interface only by the old key, which the CNI libraries other than
    /// Multus' own do not know.
    JsonWithOldKey(Box<RawValue>),
}

impl Element {
    /// A network that no user wrote: ours.
    #[must_use]
    pub fn of(network: NetworkRef) -> Self {
        Self {
            raw: Raw::Short(network.to_string()),
            selection: Selection {
                network,
                interface: None,
                own_guid: false,
            },
            guid: None,
        }
    }

    /// The element in JSON: the user's own bytes where it was JSON, the canonical form otherwise.
    #[must_use]
    pub fn to_json(&self) -> String {
        match &self.raw {
            Raw::Json(raw) => raw.get().to_owned(),
            Raw::JsonWithOldKey(raw) => {
                match (&self.selection.interface, raw.get().trim_end().strip_suffix('}')) {
                    // Last of the keys, because the last wins: `"interface": ""` may stand before it.
                    (Some(interface), Some(open)) => {
                        format!("{open},\"interface\":{}}}", json_text(interface.as_str()))
                    }
                    _ => raw.get().to_owned(),
                }
            }
            Raw::Short(_) => {
                let Selection {
                    network, interface, ..
                } = &self.selection;
                let mut json = format!(
                    "{{\"name\":{},\"namespace\":{}",
                    json_text(network.name.as_str()),
                    json_text(network.namespace.as_str())
                );
                if let Some(interface) = interface {
                    json.push_str(",\"interface\":");
                    json.push_str(&json_text(interface.as_str()));
                }
                json.push('}');
                json
            }
        }
    }

    /// Whether every reader of the annotation takes the element, as it stands, for what Multus takes it for.
    /// ib-kubernetes and network-resources-injector want an interface of a comma list to be a DNS label, and no
    /// blanks around the slash.
    #[must_use]
    pub fn is_portable(&self) -> bool {
        match &self.raw {
            Raw::Json(_) => true,
            Raw::JsonWithOldKey(_) => false,
            Raw::Short(text) => {
                let inner_blank = text.trim().contains(char::is_whitespace);
                let label = self
                    .selection
                    .interface
                    .as_ref()
                    .is_none_or(|interface| is_label(interface.as_str()));
                !inner_blank && label
            }
        }
    }
}

/// Reads the annotation of a pod in this namespace, in which networks without a namespace are looked for.
///
/// # Errors
/// Everything that is wrong with it, element by element.
pub fn parse_networks(text: &str, pod_namespace: &NamespaceName) -> Result<Vec<Element>, Problems> {
    parse(annotation::NETWORKS, text, pod_namespace)
}

/// Reads `v1.multus-cni.io/default-network`: one element, looked for in Multus' own namespace.
///
/// # Errors
/// Everything that is wrong with it; no element and more than one are wrong, too.
pub fn parse_default_network(text: &str, multus_namespace: &NamespaceName) -> Result<Element, Problems> {
    let elements = parse(annotation::DEFAULT_NETWORK, text, multus_namespace)?;
    match <[Element; 1]>::try_from(elements) {
        Ok([element]) => Ok(element),
        Err(others) => Err(Problems::from(Problem::new(
            format!("annotation {}", annotation::DEFAULT_NETWORK),
            format!("{} networks in {}", others.len(), quoted(text)),
            "exactly one network",
            "name one network, or remove the annotation",
        ))),
    }
}

fn parse(key: &'static str, text: &str, namespace: &NamespaceName) -> Result<Vec<Element>, Problems> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let elements: Vec<Result<Element, Problems>> = if text.contains(['[', '{', '"']) {
        let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
            Problem::new(
                format!("annotation {key}"),
                format!("{} ({error})", quoted(text)),
                "a JSON list of objects, or names separated by commas",
                "mend the JSON; each network is an object such as {\"name\": \"rail0\", \"namespace\": \"fabric\"}",
            )
        })?;
        let number = |(index, raw)| json_element(&Place { key, index }, raw, namespace);
        raw.into_iter().enumerate().map(number).collect()
    } else {
        let number = |(index, item)| short_element(&Place { key, index }, item, namespace);
        text.split(',').enumerate().map(number).collect()
    };

    let mut problems = Problems::none();
    let mut read = Vec::with_capacity(elements.len());
    for element in elements {
        match element {
            Ok(element) => read.push(element),
            Err(found) => problems.extend(found),
        }
    }
    problems.or(read)
}

/// Which element of which annotation, for problems.
struct Place {
    key: &'static str,
    index: usize,
}

impl Place {
    fn problem(&self, field: &str, found: &str, expected: &str, remedy: &str) -> Problem {
        let dot = if field.is_empty() { "" } else { "." };
        Problem::new(
            format!("annotation {}[{}]{dot}{field}", self.key, self.index),
            quoted(found),
            expected,
            remedy,
        )
    }

    /// What makes a name, a namespace and an interface usable, however they were written.
    fn check(&self, name: &str, namespace: &str, interface: &str) -> Problems {
        let mut problems = Problems::none();
        if !name.split('.').all(is_label) {
            problems.push(self.problem(
                "name",
                name,
                "the name of a NetworkAttachmentDefinition",
                "name an existing network, and give its namespace apart from its name",
            ));
        }
        if !is_label(namespace) {
            problems.push(self.problem(
                "namespace",
                namespace,
                "the name of a namespace",
                "name the namespace of the network, or leave it out for the pod's own",
            ));
        }
        let sound = interface.len() <= LONGEST_INTERFACE
            && !interface.contains(|c: char| c.is_whitespace() || c == '/' || c == ':')
            && !matches!(interface, "." | "..");
        if !sound {
            problems.push(self.problem(
                "interface",
                interface,
                "an interface name of at most 15 bytes without blanks, colons and slashes",
                "choose another interface name, or leave it out for net1, net2 and so on",
            ));
        }
        problems
    }
}

fn short_element(place: &Place, item: &str, namespace: &NamespaceName) -> Result<Element, Problems> {
    let malformed = || {
        place.problem(
            "",
            item,
            "[namespace/]name[@interface]",
            "write one slash and one at-sign at most; separate networks by commas",
        )
    };
    let (in_namespace, rest) = match item.split_once('/') {
        Some((in_namespace, rest)) => (in_namespace.trim(), rest),
        None => ("", item),
    };
    let (name, interface) = match rest.split_once('@') {
        Some((name, interface)) => (name.trim(), interface.trim()),
        None => (rest.trim(), ""),
    };
    if rest.contains('/') || interface.contains('@') {
        return Err(malformed().into());
    }
    // The short form takes labels only; a network with a dot in its name has to be written in JSON.
    if name.contains('.') {
        return Err(place
            .problem(
                "name",
                name,
                "a name of lower case letters, digits and dashes",
                "write the annotation as a JSON list, which takes names with dots",
            )
            .into());
    }
    let in_namespace = if in_namespace.is_empty() {
        namespace.clone()
    } else {
        in_namespace.into()
    };
    place.check(name, in_namespace.as_str(), interface).or(Element {
        selection: Selection {
            network: NetworkRef::new(in_namespace, name),
            interface: interface_name(interface),
            own_guid: false,
        },
        guid: None,
        raw: Raw::Short(item.to_owned()),
    })
}

fn json_element(place: &Place, raw: &RawValue, namespace: &NamespaceName) -> Result<Element, Problems> {
    let Ok(pairs) = serde_json::from_str::<Pairs<'_>>(raw.get()) else {
        return Err(place
            .problem(
                "",
                raw.get(),
                "an object with a name",
                "write each network as an object such as {\"name\": \"rail0\", \"namespace\": \"fabric\"}",
            )
            .into());
    };
    let mut fields = Fields::default();
    let mut problems = Problems::none();
    for (key, value) in &pairs.0 {
        let key = folded(key);
        if let Err(expected) = fields.set(&key, value) {
            problems.push(place.problem(&key, value.get(), expected, "mend the value, or remove the key"));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }

    let in_namespace = if fields.namespace.is_empty() {
        namespace.clone()
    } else {
        fields.namespace.as_str().into()
    };
    let old_key = fields.interface.is_empty() && !fields.interface_request.is_empty();
    let interface = if old_key {
        &fields.interface_request
    } else {
        &fields.interface
    };
    problems.extend(place.check(&fields.name, in_namespace.as_str(), interface));
    problems.extend(fields.check_addresses(place));

    let guid = fields.guid();
    problems.or(Element {
        selection: Selection {
            network: NetworkRef::new(in_namespace, fields.name.as_str()),
            interface: interface_name(interface),
            own_guid: guid.as_deref().is_some_and(is_usable_guid),
        },
        guid,
        raw: if old_key {
            Raw::JsonWithOldKey(raw.to_owned())
        } else {
            Raw::Json(raw.to_owned())
        },
    })
}

/// The keys Multus knows, after all of an object's pairs were applied in order.
#[derive(Default)]
struct Fields {
    name: String,
    namespace: String,
    interface: String,
    interface_request: String,
    ips: Vec<String>,
    mac: String,
    infiniband_guid: String,
    cni_args: BTreeMap<String, Box<RawValue>>,
}

impl Fields {
    /// Applies one pair as Go's decoder does, or says what the key wants. The key is in lower case.
    fn set(&mut self, key: &str, value: &RawValue) -> Result<(), &'static str> {
        let text = match key {
            "name" => &mut self.name,
            "namespace" => &mut self.namespace,
            "interface" => &mut self.interface,
            "interfacerequest" => &mut self.interface_request,
            "mac" => &mut self.mac,
            "infiniband-guid" => &mut self.infiniband_guid,
            "deviceid" => return Shape::Text.check(value),
            "portmappings" => return Shape::Objects(&PORT_MAPPING).check(value),
            "bandwidth" => return Shape::Object(&BANDWIDTH).check(value),
            "default-route" => return Shape::Addresses.check(value),
            "ips" => {
                Shape::Texts.check(value)?;
                self.ips = decoded::<Vec<Option<String>>>(value)
                    .unwrap_or_default()
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect();
                return Ok(());
            }
            "cni-args" => {
                // Go decodes a second object into the map that the first one made; null takes the map away.
                match decoded::<Pairs<'_>>(value) {
                    Some(pairs) => self
                        .cni_args
                        .extend(pairs.0.into_iter().map(|(key, value)| (key, value.to_owned()))),
                    None if is_null(value) => self.cni_args.clear(),
                    None => return Err("an object"),
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        Shape::Text.check(value)?;
        // null leaves what an earlier pair has set.
        if let Some(new) = decoded::<String>(value) {
            *text = new;
        }
        Ok(())
    }

    /// The GUID for the interface: the network's own key before the CNI argument.
    fn guid(&self) -> Option<String> {
        if !self.infiniband_guid.is_empty() {
            return Some(self.infiniband_guid.clone());
        }
        let argument = self.cni_args.get("guid")?;
        Some(decoded::<String>(argument).unwrap_or_else(|| argument.get().to_owned()))
    }

    fn check_addresses(&self, place: &Place) -> Problems {
        let mut problems = Problems::none();
        for (field, mac) in [("mac", &self.mac), ("infiniband-guid", &self.infiniband_guid)] {
            if !mac.is_empty() && !is_hardware_address(mac) {
                problems.push(place.problem(
                    field,
                    mac,
                    "octets in hexadecimal separated by colons, such as 02:00:00:00:00:00:00:01",
                    "mend the address, or remove the key",
                ));
            }
        }
        for ip in self.ips.iter().filter(|ip| !is_address_or_cidr(ip)) {
            problems.push(place.problem(
                "ips",
                ip,
                "IP addresses, with or without a prefix length",
                "mend the address, or remove it",
            ));
        }
        problems
    }
}

const PORT_MAPPING: [(&str, Shape); 4] = [
    ("hostport", Shape::Integer),
    ("containerport", Shape::Integer),
    ("protocol", Shape::Text),
    ("hostip", Shape::Text),
];

const BANDWIDTH: [(&str, Shape); 4] = [
    ("ingressrate", Shape::Integer),
    ("ingressburst", Shape::Integer),
    ("egressrate", Shape::Integer),
    ("egressburst", Shape::Integer),
];

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn interface_name(text: &str) -> Option<InterfaceName> {
    (!text.is_empty()).then(|| text.into())
}

/// The form Kubernetes calls a DNS-1123 label; its length is not Multus' concern.
fn is_label(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}

/// What ib-sriov-cni takes for a GUID: eight octets with colons, not all zero.
fn is_usable_guid(text: &str) -> bool {
    text.split(':').count() == 8
        && text.split(':').all(is_octet)
        && text.contains(|c: char| c != '0' && c != ':')
}

/// What Go's `net.ParseMAC` takes: 6, 8 or 20 bytes as octets with colons or dashes, as groups of four digits with
/// dots or, since Go 1.26, as bare digits.
fn is_hardware_address(text: &str) -> bool {
    let separated = |separator: char| {
        matches!(text.split(separator).count(), 6 | 8 | 20) && text.split(separator).all(is_octet)
    };
    let dotted = || {
        matches!(text.split('.').count(), 3 | 4 | 10)
            && text
                .split('.')
                .all(|group| group.len() == 4 && is_hexadecimal(group))
    };
    let bare = || matches!(text.len(), 12 | 16 | 40) && is_hexadecimal(text);
    separated(':') || separated('-') || dotted() || bare()
}

fn is_octet(text: &str) -> bool {
    text.len() == 2 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_address_or_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    address.parse::<IpAddr>().is_ok_and(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        digits && length.parse::<u32>().is_ok_and(|length| length <= most)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parsed(text: &str) -> Result<Vec<String>, String> {
        parse_networks(text, &"t".into())
            .map(|elements| {
                elements
                    .iter()
                    .map(|element| {
                        let Selection {
                            network, interface, ..
                        } = &element.selection;
                        match interface {
                            Some(interface) => format!("{network}@{interface}"),
                            None => network.to_string(),
                        }
                    })
                    .collect()
            })
            .map_err(|problems| problems.to_string())
    }

    // The rows of the table of three parsers, by their verdicts.
    #[rstest]
    #[case::nothing("", &[])]
    #[case("a,b", &["t/a", "t/b"])]
    #[case("a, b", &["t/a", "t/b"])]
    #[case(" a ", &["t/a"])]
    #[case("t/a@x", &["t/a@x"])]
    #[case("t/a@", &["t/a"])]
    #[case("/a", &["t/a"])]
    #[case("t / a", &["t/a"])]
    #[case("a@uplink_p0", &["t/a@uplink_p0"])]
    #[case("a@ib0.8001", &["t/a@ib0.8001"])]
    #[case("a@-x", &["t/a@-x"])]
    #[case::a_network_called_null("null", &["t/null"])]
    #[case::the_same_network_twice("a,a", &["t/a", "t/a"])]
    #[case("[]", &[])]
    #[case(r#"[{"NAME":"a"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","color":"red"}]"#, &["t/a"])]
    #[case(r#"[{"name":"b","name":"a"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","namespace":null}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","namespace":"n","namespace":null}]"#, &["n/a"])]
    #[case(r#"  [{"name":"a"}] "#, &["t/a"])]
    #[case(r#"[{"name":"a.b"}]"#, &["t/a.b"])]
    #[case(r#"[{"name":"a","interfaceRequest":"x"}]"#, &["t/a@x"])]
    #[case(r#"[{"name":"a","interfaceRequest":"x","interface":"y"}]"#, &["t/a@y"])]
    #[case(r#"[{"name":"a","interface":"uplink_p0"}]"#, &["t/a@uplink_p0"])]
    #[case(r#"[{"name":"a","interface":""}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","deviceID":"0000:3b:00.4"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","infiniband-guid":"02:00:00:00:00:01"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","infiniband-guid":"00:00:00:00:00:00:00:00"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","infiniband-guid":"0200000000000001"}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","mac":"02-00-00-00-00-01"},{"name":"a","mac":"0200.0000.0001"}]"#, &["t/a", "t/a"])]
    #[case(r#"[{"name":"a","ips":["10.0.0.1","10.0.0.0/24","fd00::1/64"]}]"#, &["t/a"])]
    #[case(r#"[{"name":"a","default-route":["10.0.0.1"],"bandwidth":{"ingressRate":1},"portMappings":[{"hostPort":80}]}]"#, &["t/a"])]
    fn accepts_what_multus_attaches(#[case] text: &str, #[case] expected: &[&str]) {
        let expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(parsed(text), Ok(expected), "{text}");
    }

    #[rstest]
    #[case("a,")]
    #[case(",")]
    #[case("a,,b")]
    #[case(" ")]
    #[case("@x")]
    #[case("t/@x")]
    #[case("[{}]")]
    #[case("a@sixteencharacter")]
    #[case("a@0123456789abcdef")]
    #[case("t/a/b")]
    #[case("a@x@y")]
    #[case("a@x/y")]
    #[case("A")]
    #[case("a.b")]
    #[case("a_b")]
    #[case("a;b")]
    #[case("a b")]
    #[case("[null]")]
    #[case(r#"{"name":"a"}"#)]
    #[case(r#""a""#)]
    #[case(r#"["a"]"#)]
    #[case(r#"[{"name":"a"},]"#)]
    #[case(r#"[{"name":"a"}] x"#)]
    #[case(r#"[{"name":"a","mac":1}]"#)]
    #[case(r#"[{"name":"a","ips":"10.0.0.1"}]"#)]
    #[case(r#"[{"name":"a","cni-args":"x"}]"#)]
    #[case(r#"[{"name":"a","default-route":["x"]}]"#)]
    #[case(r#"[{"name":"a","bandwidth":{"INGRESSRATE":"fast"}}]"#)]
    #[case(r#"[{"name":"a","portMappings":[{"hostPort":80.5}]}]"#)]
    #[case(r#"[{"name":"t/a"}]"#)]
    #[case(r#"[{"name":"a@x"}]"#)]
    #[case(r#"[{"name":"A_b"}]"#)]
    #[case(r#"[{"name":"a","mac":"zz"}]"#)]
    #[case(r#"[{"name":"a","ips":["x"]}]"#)]
    #[case(r#"[{"name":"a","ips":["10.0.0.1/+8"]}]"#)]
    #[case(r#"[{"name":"a","infiniband-guid":"0200:0000:0000:0001"}]"#)]
    #[case(r#"[{"name":"a","interface":"0123456789abcdef"}]"#)]
    #[case(r#"[{"name":"a","interface":"ib0:1"}]"#)]
    fn refuses_what_cannot_be_attached(#[case] text: &str) {
        assert!(parsed(text).is_err(), "{text} gave {:?}", parsed(text));
    }

    #[test]
    fn all_problems_are_told_at_once_with_their_places() {
        insta::assert_snapshot!(
            parsed(r#"[{"name":"a","mac":1,"ips":{}},{"name":"rail/0"},{"name":"b","interface":"a b"}]"#)
                .unwrap_err()
                .replace(" | ", "\n"),
            @r#"
        annotation k8s.v1.cni.cncf.io/networks[0].mac: found "1", expected a string; mend the value, or remove the key
        annotation k8s.v1.cni.cncf.io/networks[0].ips: found "{}", expected a list of strings; mend the value, or remove the key
        annotation k8s.v1.cni.cncf.io/networks[1].name: found "rail/0", expected the name of a NetworkAttachmentDefinition; name an existing network, and give its namespace apart from its name
        annotation k8s.v1.cni.cncf.io/networks[2].interface: found "a b", expected an interface name of at most 15 bytes without blanks, colons and slashes; choose another interface name, or leave it out for net1, net2 and so on
        "#
        );
    }

    #[rstest]
    #[case(r#"{"name":"a","infiniband-guid":"02:00:00:00:00:00:00:01"}"#, true)]
    #[case(r#"{"name":"a","cni-args":{"guid":"02:00:00:00:00:00:00:01"}}"#, true)]
    #[case(
        r#"{"name":"a","CNI-ARGS":{"guid":"02:00:00:00:00:00:00:01"},"cni-args":{"x":1}}"#,
        true
    )]
    #[case(
        r#"{"name":"a","cni-args":{"guid":"02:00:00:00:00:00:00:01"},"cni-args":null}"#,
        false
    )]
    #[case(r#"{"name":"a","cni-args":{"guid":7}}"#, false)]
    #[case(r#"{"name":"a","infiniband-guid":"02:00:00:00:00:01"}"#, false)]
    #[case(r#"{"name":"a","infiniband-guid":"00:00:00:00:00:00:00:00"}"#, false)]
    #[case(r#"{"name":"a","infiniband-guid":"0200000000000001"}"#, false)]
    #[case(r#"{"name":"a"}"#, false)]
    fn knows_a_guid_that_the_cni_takes(#[case] element: &str, #[case] own: bool) {
        let elements = parse_networks(&format!("[{element}]"), &"t".into()).unwrap();
        assert_eq!(elements[0].selection.own_guid, own);
    }

    #[rstest]
    #[case::bytes_survive(
        r#"[ {"name" : "a", "x":[1, 2.50],"name":"a"} ]"#,
        r#"{"name" : "a", "x":[1, 2.50],"name":"a"}"#
    )]
    #[case::short("n/a@x", r#"{"name":"a","namespace":"n","interface":"x"}"#)]
    #[case::short_in_the_pods_namespace("a", r#"{"name":"a","namespace":"t"}"#)]
    #[case::old_key(
        r#"[{"name":"a","interfaceRequest":"x","interface":""}]"#,
        r#"{"name":"a","interfaceRequest":"x","interface":"","interface":"x"}"#
    )]
    fn writes_an_element_back(#[case] text: &str, #[case] json: &str) {
        let elements = parse_networks(text, &"t".into()).unwrap();
        assert_eq!(elements[0].to_json(), json);
        let again = parse_networks(&format!("[{json}]"), &"t".into()).unwrap();
        assert_eq!(again[0].selection, elements[0].selection);
        assert_eq!(again[0].to_json(), json);
        assert!(again[0].is_portable());
    }

    #[rstest]
    #[case("a", true)]
    #[case(" t/a@x", true)]
    #[case("t / a", false)]
    #[case("a@uplink_p0", false)]
    #[case(r#"[{"name":"a","interface":"uplink_p0"}]"#, true)]
    #[case(r#"[{"name":"a","interfaceRequest":"x"}]"#, false)]
    fn knows_what_other_readers_would_misread(#[case] text: &str, #[case] portable: bool) {
        assert_eq!(
            parse_networks(text, &"t".into()).unwrap()[0].is_portable(),
            portable
        );
    }

    #[test]
    fn the_default_network_is_exactly_one() {
        let one = parse_default_network("calico", &"kube-system".into()).unwrap();
        assert_eq!(one.selection.network.to_string(), "kube-system/calico");
        assert!(parse_default_network("a,b", &"kube-system".into()).is_err());
        assert!(parse_default_network("[]", &"kube-system".into()).is_err());
        assert!(parse_default_network("", &"kube-system".into()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[\\[\\]{}\",:@/a-zA-Z0-9 .\\\\-]{0,60}|\\PC{0,40}") {
            let _ = parse_networks(&text, &"t".into());
        }
    }
}
