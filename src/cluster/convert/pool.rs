//! Spiderpool's pools and reserved addresses.

use std::collections::BTreeMap;

use core::net::IpAddr;
use kube::core::DynamicObject;
use serde::Deserialize;

use super::SelectorObject;
use crate::decide::address::{AddressRange, AddressSet, Family};
use crate::decide::annotation;
use crate::decide::names::{NamespaceName, NetworkRef, NodeName, PodUid, PoolName};
use crate::decide::pod::Affinity;
use crate::decide::pool::{MAX_ALLOCATED, Pool, PoolFacts};
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::Settings;

/// A pool as its object has it; reserved addresses come from elsewhere, and make it a [`Pool`].
#[derive(Clone, Debug)]
pub struct PoolParts {
    /// Its name.
    pub name: PoolName,
    /// Facts with nothing reserved, the addresses it lists, and who holds which; or what is wrong.
    pub reading: Result<(PoolFacts, AddressSet, BTreeMap<IpAddr, PodUid>), Problems>,
}

impl PoolParts {
    /// The pool when the addresses of `reserved` are not handed out (Spiderpool, SpiderReservedIP).
    #[must_use]
    pub fn without(&self, reserved: &BTreeMap<Family, AddressSet>) -> Pool {
        let reading = self.reading.clone().map(|(mut facts, listed, held)| {
            let usable = reserved
                .get(&facts.family)
                .map_or_else(|| listed.clone(), |set| listed.minus(set));
            let size = usable.len();
            let taken = held.keys().filter(|address| usable.contains(**address)).count();
            let taken = u64::try_from(taken).unwrap_or(u64::MAX);
            let allocated = u64::try_from(held.len()).unwrap_or(u64::MAX);
            facts.size = size;
            facts.free = size
                .saturating_sub(taken)
                .min(MAX_ALLOCATED.saturating_sub(allocated));
            facts
        });
        Pool {
            name: self.name.clone(),
            reading,
        }
    }
}

/// A SpiderIPPool.
#[must_use]
pub fn pool(object: &DynamicObject, settings: &Settings) -> PoolParts {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let label = format!("SpiderIPPool {name}");
    let mut problems = Problems::none();
    let spec: SpecObject = collect(
        super::read(&label, "spec", object.data.get("spec")),
        &mut problems,
    );
    let status: StatusObject = collect(
        super::read(&label, "status", object.data.get("status")),
        &mut problems,
    );
    let listed = ranges(&label, "ips", spec.ips.as_ref(), &mut problems);
    let excluded = ranges(&label, "excludeIPs", spec.exclude_ips.as_ref(), &mut problems);
    let family = family(&label, &spec, &listed, &mut problems);
    let held = held(&label, status.allocated_ips.as_deref(), &mut problems);
    let networks = spec
        .multus_name
        .iter()
        .flatten()
        .map(|name| network_ref(name, settings))
        .collect();
    let mut holders: BTreeMap<PodUid, u32> = BTreeMap::new();
    for uid in held.values() {
        let count = holders.entry(uid.clone()).or_insert(0);
        *count = count.saturating_add(1);
    }
    let facts = PoolFacts {
        family,
        disabled: spec.disable.unwrap_or(false),
        terminating: object.metadata.deletion_timestamp.is_some(),
        default: spec.default.unwrap_or(false),
        nodes: Affinity {
            names: spec
                .node_name
                .iter()
                .flatten()
                .map(|name| NodeName::from(name.as_str()))
                .collect(),
            selector: super::selector(
                &format!("{label}, spec.nodeAffinity"),
                spec.node_affinity,
                &mut problems,
            ),
        },
        namespaces: Affinity {
            names: spec
                .namespace_name
                .iter()
                .flatten()
                .map(|name| NamespaceName::from(name.as_str()))
                .collect(),
            selector: super::selector(
                &format!("{label}, spec.namespaceAffinity"),
                spec.namespace_affinity,
                &mut problems,
            ),
        },
        pods: super::selector(
            &format!("{label}, spec.podAffinity"),
            spec.pod_affinity,
            &mut problems,
        ),
        networks,
        free: 0,
        size: 0,
        holders,
        subnet: object
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(annotation::SPIDERPOOL_OWNER_SUBNET))
            .cloned(),
    };
    let addresses = AddressSet::of(&listed).minus(&AddressSet::of(&excluded));
    PoolParts {
        name: name.into(),
        reading: problems.or((facts, addresses, held)),
    }
}

/// A SpiderSubnet as the pool that stands for it, without what the pools cut from it have left.
#[must_use]
pub fn subnet(object: &DynamicObject) -> Pool {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let label = format!("SpiderSubnet {name}");
    let mut problems = Problems::none();
    let spec: SpecObject = collect(
        super::read(&label, "spec", object.data.get("spec")),
        &mut problems,
    );
    let status: SubnetStatus = collect(
        super::read(&label, "status", object.data.get("status")),
        &mut problems,
    );
    let total = status.total_ip_count.unwrap_or(0);
    let facts = PoolFacts {
        family: family(&label, &spec, &[], &mut problems),
        disabled: false,
        terminating: object.metadata.deletion_timestamp.is_some(),
        default: false,
        nodes: Affinity::default(),
        namespaces: Affinity::default(),
        pods: None,
        networks: Vec::new(),
        // Given to pools, not to pods; what those have left is added where they are known.
        free: total.saturating_sub(status.allocated_ip_count.unwrap_or(0)),
        size: total,
        holders: BTreeMap::new(),
        subnet: None,
    };
    Pool {
        name: PoolName::of_subnet(name),
        reading: problems.or(facts),
    }
}

/// The addresses of a SpiderReservedIP, by family; one that is being deleted reserves nothing.
///
/// # Errors
/// What cannot be read in it.
pub fn reserved(object: &DynamicObject) -> Result<BTreeMap<Family, Vec<AddressRange>>, Problems> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(BTreeMap::new());
    }
    let label = format!(
        "SpiderReservedIP {}",
        object.metadata.name.as_deref().unwrap_or_default()
    );
    let mut problems = Problems::none();
    let spec: SpecObject = collect(
        super::read(&label, "spec", object.data.get("spec")),
        &mut problems,
    );
    let mut by_family: BTreeMap<Family, Vec<AddressRange>> = BTreeMap::new();
    for range in ranges(&label, "ips", spec.ips.as_ref(), &mut problems) {
        by_family.entry(range.family()).or_default().push(range);
    }
    problems.or(by_family)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SpecObject {
    ip_version: Option<u8>,
    subnet: Option<String>,
    ips: Option<Vec<String>>,
    #[serde(rename = "excludeIPs")]
    exclude_ips: Option<Vec<String>>,
    disable: Option<bool>,
    default: Option<bool>,
    node_name: Option<Vec<String>>,
    node_affinity: Option<SelectorObject>,
    namespace_name: Option<Vec<String>>,
    namespace_affinity: Option<SelectorObject>,
    pod_affinity: Option<SelectorObject>,
    multus_name: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatusObject {
    /// JSON as text; absent or empty while nothing is allocated.
    #[serde(rename = "allocatedIPs")]
    allocated_ips: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SubnetStatus {
    #[serde(rename = "totalIPCount")]
    total_ip_count: Option<u64>,
    #[serde(rename = "allocatedIPCount")]
    allocated_ip_count: Option<u64>,
}

#[derive(Deserialize)]
struct AllocationObject {
    #[serde(rename = "podUid", default)]
    pod_uid: String,
}

fn collect<T: Default>(read: Result<T, Problem>, problems: &mut Problems) -> T {
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        T::default()
    })
}

fn ranges(
    label: &str,
    field: &str,
    texts: Option<&Vec<String>>,
    problems: &mut Problems,
) -> Vec<AddressRange> {
    let mut ranges = Vec::new();
    for (index, text) in texts.into_iter().flatten().enumerate() {
        match text.parse() {
            Ok(range) => ranges.push(range),
            Err(error) => problems.push(Problem::new(
                format!("{label}, spec.{field}[{index}]"),
                format!("{text:?} ({error})"),
                "an IP address, or two joined by a hyphen",
                "correct the range; until then this pool gives no address",
            )),
        }
    }
    ranges
}

/// The family, as Spiderpool derives it: from `ipVersion`, else from the subnet.
fn family(label: &str, spec: &SpecObject, listed: &[AddressRange], problems: &mut Problems) -> Family {
    let subnet = spec
        .subnet
        .as_deref()
        .and_then(|subnet| subnet.split('/').next()?.parse::<IpAddr>().ok());
    let family = match (spec.ip_version, subnet) {
        (Some(4), _) => Some(Family::V4),
        (Some(6), _) => Some(Family::V6),
        (None, Some(address)) => Some(Family::of(address)),
        _ => None,
    };
    let Some(family) = family else {
        problems.push(Problem::new(
            format!("{label}, spec.ipVersion"),
            format!("{:?} with subnet {:?}", spec.ip_version, spec.subnet),
            "4 or 6, or a subnet to derive it from",
            "set ipVersion or a valid subnet",
        ));
        return Family::V4;
    };
    for range in listed.iter().filter(|range| range.family() != family) {
        problems.push(Problem::new(
            format!("{label}, spec.ips"),
            format!("{range}"),
            format!("{family} addresses, as the pool is {family}"),
            "correct the range, or ipVersion and subnet",
        ));
    }
    family
}

fn held(label: &str, text: Option<&str>, problems: &mut Problems) -> BTreeMap<IpAddr, PodUid> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return BTreeMap::new();
    };
    let place = format!("{label}, status.allocatedIPs");
    let records: Option<BTreeMap<IpAddr, AllocationObject>> =
        collect(super::read_text(&place, text).map(Some), problems).flatten();
    records
        .unwrap_or_default()
        .into_iter()
        .map(|(address, record)| (address, record.pod_uid.into()))
        .collect()
}

/// `multusName`: `namespace/name`, or a bare name in Spiderpool's own namespace.
fn network_ref(name: &str, settings: &Settings) -> NetworkRef {
    match name.split_once('/') {
        Some((namespace, name)) => NetworkRef::new(namespace, name),
        None => NetworkRef::new(settings.spiderpool_namespace.clone(), name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: serde_json::Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn reserved_of(texts: &[&str]) -> BTreeMap<Family, AddressSet> {
        let ranges: Vec<AddressRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
        BTreeMap::from([(Family::V4, AddressSet::of(&ranges))])
    }

    #[test]
    fn free_addresses_count_as_spiderpool_counts() {
        // The example of Spiderpool's documentation: .1-.10 without .10, .1-.2 reserved, three allocated.
        let parts = pool(
            &object(json!({"metadata": {"name": "p"}, "spec": {
                "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.10"], "excludeIPs": ["10.0.0.10"]},
                "status": {"allocatedIPCount": 9, "allocatedIPs":
                    r#"{"10.0.0.3":{"pod":"a/b","podUid":"u1"},"10.0.0.4":{"pod":"a/c","podUid":"u2"},"10.0.0.5":{"pod":"a/c","podUid":"u2"}}"#}})),
            &Settings::default(),
        );
        let facts = parts
            .without(&reserved_of(&["10.0.0.1-10.0.0.2"]))
            .reading
            .unwrap();
        assert_eq!((facts.size, facts.free), (7, 4));
        assert_eq!(
            facts.holders,
            BTreeMap::from([("u1".into(), 1), ("u2".into(), 2)])
        );
    }

    #[test]
    fn a_pool_gives_at_most_five_thousand_addresses() {
        let parts = pool(
            &object(json!({"metadata": {"name": "p"}, "spec": {
                "ipVersion": 4, "subnet": "10.0.0.0/16", "ips": ["10.0.0.1-10.0.255.1"]},
                "status": {"allocatedIPs": r#"{"10.0.0.3":{"pod":"a/b","podUid":"u1"}}"#}})),
            &Settings::default(),
        );
        assert_eq!(parts.without(&BTreeMap::new()).reading.unwrap().free, 4_999);
    }

    #[test]
    fn a_fresh_pool_has_allocated_nothing() {
        for allocated in [json!(null), json!(""), json!("{}"), json!("null")] {
            let parts = pool(
                &object(
                    json!({"metadata": {"name": "p"}, "spec": {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.4"]},
                    "status": {"allocatedIPs": allocated}}),
                ),
                &Settings::default(),
            );
            let facts = parts.without(&BTreeMap::new()).reading;
            assert_eq!(facts.map(|facts| facts.free), Ok(4), "{allocated}");
        }
    }

    #[test]
    fn a_network_named_without_a_namespace_is_spiderpools_own() {
        let parts = pool(
            &object(
                json!({"metadata": {"name": "p"}, "spec": {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1"],
                "multusName": ["rail0", "rdma/rail1"]}}),
            ),
            &Settings::default(),
        );
        let facts = parts.without(&BTreeMap::new()).reading.unwrap();
        assert_eq!(
            facts.networks,
            [
                NetworkRef::new("spiderpool", "rail0"),
                NetworkRef::new("rdma", "rail1")
            ]
        );
    }

    #[test]
    fn a_subnet_stands_as_a_pool_with_what_it_has_not_given_away() {
        let subnet = subnet(&object(
            json!({"metadata": {"name": "racks"}, "spec": {"ipVersion": 4, "subnet": "10.0.0.0/16"},
            "status": {"totalIPCount": 10, "allocatedIPCount": 4}}),
        ));
        assert!(subnet.name.is_of_subnet());
        let facts = subnet.reading.unwrap();
        assert_eq!((facts.free, facts.size), (6, 10));
    }

    #[test]
    fn all_that_is_wrong_with_a_pool_is_told_at_once() {
        let parts = pool(
            &object(json!({"metadata": {"name": "p"}, "spec": {
                "subnet": "10.0.0.0/24", "ips": ["10.0.0.9-10.0.0.1", "10.0.0.x"]},
                "status": {"allocatedIPs": "{"}})),
            &Settings::default(),
        );
        let text = parts.reading.unwrap_err().to_string();
        assert!(text.contains("SpiderIPPool p, spec.ips[0]"), "{text}");
        assert!(text.contains("SpiderIPPool p, spec.ips[1]"), "{text}");
        assert!(text.contains("SpiderIPPool p, status.allocatedIPs"), "{text}");
    }
}
