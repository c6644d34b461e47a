//! A pod as it arrived, made into what the decision looks at.
//!
//! Only the fields below are read; whatever else the pod has is passed over. What is read must be of its type:
//! kube-apiserver has checked that, files of `simulate` have not been checked by anyone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::known::Known;
use crate::cluster::convert;
use crate::cluster::multus::{self, Element};
use crate::cluster::quantity;
use crate::decide::annotation;
use crate::decide::device::DeviceClaimRef;
use crate::decide::mutation::{ContainerFacts, Hugepages, OwnNetwork, Owner, PodClaim, PodFacts, Told};
use crate::decide::names::{NamespaceName, ResourceName};
use crate::decide::policy::Annotations;
use crate::decide::problem::{Problem, Problems, quoted};
use crate::decide::selector::Labels;
use crate::decide::settings::Settings;

/// The variable by which a container learns its pod's place on the fabric.
pub const POSITION_VARIABLE: &str = "POINTSMAN_FABRIC_POSITION";

/// The variable by which a container learns its own name, as network-resources-injector sets it.
pub const NAME_VARIABLE: &str = "CONTAINER_NAME";

/// The volume by which a pod is shown its own metadata, and where it is mounted: as network-resources-injector has it.
pub const PODNETINFO: &str = "podnetinfo";
/// See [`PODNETINFO`].
pub const PODNETINFO_PATH: &str = "/etc/podnetinfo";

/// A pod, as far as it is read.
#[derive(Debug, Deserialize)]
pub struct RawPod {
    /// Its metadata.
    pub metadata: RawMetadata,
    /// What it asks for.
    pub spec: RawSpec,
}

/// See [`RawPod`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawMetadata {
    /// Its name, unless one is generated.
    pub name: Option<String>,
    /// What its name will begin with.
    pub generate_name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its annotations.
    pub annotations: Option<Annotations>,
    /// Its labels.
    pub labels: Option<Labels>,
    /// Who made it.
    pub owner_references: Option<Vec<RawOwner>>,
}

/// An owner of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawOwner {
    /// Its API group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// It is the one that made the pod.
    pub controller: Option<bool>,
}

/// See [`RawPod`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawSpec {
    /// It shares its node's network.
    pub host_network: Option<bool>,
    /// Who schedules it.
    pub scheduler_name: Option<String>,
    /// Labels its node must have.
    pub node_selector: Option<Labels>,
    /// Its volumes.
    pub volumes: Option<Vec<RawNamed>>,
    /// The PodGroup it joins.
    pub scheduling_group: Option<RawGroup>,
    /// Its containers.
    pub containers: Option<Vec<RawContainer>>,
    /// Its init containers.
    pub init_containers: Option<Vec<RawContainer>>,
    /// The resource claims it brings.
    pub resource_claims: Option<Vec<RawClaim>>,
}

/// See [`RawSpec`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawGroup {
    /// Its name.
    pub pod_group_name: Option<String>,
}

/// A container or init container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawContainer {
    /// Its name.
    pub name: String,
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<String>,
    /// Its requests and limits.
    pub resources: Option<RawResources>,
    /// What it may do.
    pub security_context: Option<RawSecurityContext>,
    /// Its environment.
    pub env: Option<Vec<RawNamed>>,
    /// The volumes it mounts.
    pub volume_mounts: Option<Vec<RawMount>>,
}

/// A volume, or a variable of a container's environment: its name is all that matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawNamed {
    /// Its name.
    pub name: Known,
}

/// A volume that a container mounts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawMount {
    /// The volume.
    pub name: Known,
    /// Where.
    pub mount_path: Known,
}

/// Requests and limits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawResources {
    /// What it is given at least.
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What it is given at most.
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// A resource claim that the pod brings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RawClaim {
    /// Its name in the pod.
    pub name: String,
    /// The ResourceClaim, where it is one that stands for itself.
    pub resource_claim_name: Option<String>,
    /// Else the ResourceClaimTemplate that it will be made from.
    pub resource_claim_template_name: Option<String>,
}

/// A quantity, which YAML files may write as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "no quantity, which is a text or a number")]
pub enum Quantity {
    /// `"8"`, as kube-apiserver writes it.
    Text(String),
    /// `8`.
    Number(serde_json::Number),
}

impl Quantity {
    /// The number of devices it means; none when it means none.
    #[must_use]
    pub fn count(&self) -> Option<u32> {
        match self {
            Self::Text(text) => quantity::count(text),
            Self::Number(number) => quantity::count(&number.to_string()),
        }
    }
}

impl Quantity {
    fn is_zero(&self) -> bool {
        let milli = match self {
            Self::Text(text) => quantity::milli(text),
            Self::Number(number) => quantity::milli(&number.to_string()),
        };
        milli == Some(0)
    }
}

/// What a container may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawSecurityContext {
    /// Everything.
    pub privileged: Option<bool>,
    /// Single capabilities.
    pub capabilities: Option<RawCapabilities>,
}

/// See [`RawSecurityContext`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RawCapabilities {
    /// Those it is given.
    pub add: Option<Vec<String>>,
}

/// A pod that was read.
#[derive(Debug)]
pub struct Arrived {
    /// Its fields.
    pub raw: RawPod,
    /// The networks it lists; empty when the list cannot be read.
    pub networks: Vec<Element>,
    /// What the decision looks at.
    pub facts: PodFacts,
}

/// Reads the pod of a request that is created in `namespace`.
///
/// # Errors
/// What cannot be read, with the path of the field.
pub fn read(object: &RawValue, namespace: Option<&str>, settings: &Settings) -> Result<Arrived, Problems> {
    let raw: RawPod = serde_json::from_str(object.get()).map_err(|_| unreadable(object))?;
    let namespace: NamespaceName = namespace
        .filter(|name| !name.is_empty())
        .or(raw.metadata.namespace.as_deref())
        .unwrap_or("default")
        .into();
    let annotations = raw.metadata.annotations.clone().unwrap_or_default();
    let networks = annotations
        .get(annotation::NETWORKS)
        .map_or_else(|| Ok(Vec::new()), |text| multus::parse_networks(text, &namespace));
    let default_network = annotations
        .get(annotation::DEFAULT_NETWORK)
        .map(|text| multus::parse_default_network(text, &settings.multus_namespace))
        .transpose()
        .map(|element| element.map(|element| element.selection.network));
    let (networks, own) = match networks {
        Ok(elements) => {
            let own = elements
                .iter()
                .map(|element| OwnNetwork {
                    selection: element.selection.clone(),
                    guid: element.guid.clone(),
                })
                .collect();
            (elements, Ok(own))
        }
        Err(problems) => (Vec::new(), Err(problems)),
    };

    let mut problems = Problems::none();
    let main = containers(
        "spec.containers",
        raw.spec.containers.as_deref(),
        true,
        &mut problems,
    );
    let init = containers(
        "spec.initContainers",
        raw.spec.init_containers.as_deref(),
        false,
        &mut problems,
    );
    let device_claims = raw.spec.resource_claims.iter().flatten();
    let device_claims = device_claims.map(|claim| claim.read(&namespace)).collect();
    let facts = PodFacts {
        namespace,
        device_claims,
        name: raw
            .metadata
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(Into::into),
        pools: convert::pod::pools(&annotations),
        annotations,
        networks: own,
        default_network,
        containers: main,
        init_containers: init,
        host_network: raw.spec.host_network.unwrap_or(false),
        node_selector: raw.spec.node_selector.clone().unwrap_or_default(),
        has_podnetinfo: names(raw.spec.volumes.as_deref(), PODNETINFO),
        labels: raw.metadata.labels.clone().unwrap_or_default(),
        owner: raw.metadata.owner_references.iter().flatten().find_map(owner),
        pod_group: raw
            .spec
            .scheduling_group
            .as_ref()
            .and_then(|group| group.pod_group_name.clone())
            .filter(|name| !name.is_empty()),
        scheduler: raw
            .spec
            .scheduler_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(Into::into),
    };
    problems.or(Arrived { raw, networks, facts })
}

impl RawClaim {
    fn read(&self, namespace: &NamespaceName) -> PodClaim {
        let named = |name: &Option<String>| name.as_deref().filter(|name| !name.is_empty()).map(Into::into);
        let claim =
            named(&self.resource_claim_name).map(|name| DeviceClaimRef::Claim(namespace.clone(), name));
        let template = || {
            named(&self.resource_claim_template_name)
                .map(|name| DeviceClaimRef::Template(namespace.clone(), name))
        };
        PodClaim {
            name: self.name.clone(),
            at: claim.or_else(template),
        }
    }
}

fn owner(owner: &RawOwner) -> Option<Owner> {
    owner.controller.unwrap_or(false).then(|| Owner {
        group: owner
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
    })
}

/// Reads once more, to find where it goes wrong: keeping the path costs a third of the time, and pods that cannot
/// be read are rare.
fn unreadable(object: &RawValue) -> Problem {
    let mut deserializer = serde_json::Deserializer::from_str(object.get());
    let (at, why) = match serde_path_to_error::deserialize::<_, RawPod>(&mut deserializer) {
        Err(error) => (error.path().to_string(), error.inner().to_string()),
        Ok(_) => (".".to_owned(), "a pod".to_owned()),
    };
    Problem::new(
        if at == "." {
            "pod".to_owned()
        } else {
            format!("pod, field {at}")
        },
        why,
        "a field as the Kubernetes API defines it",
        "mend the field",
    )
}

fn containers(
    field: &str,
    containers: Option<&[RawContainer]>,
    main: bool,
    problems: &mut Problems,
) -> Vec<ContainerFacts> {
    let read = |(index, container): (usize, &RawContainer)| {
        let resources = container.resources.as_ref();
        let mut counts = |part: &str, map: Option<&BTreeMap<String, Quantity>>| {
            device_counts(&format!("{field}[{index}].resources.{part}"), map, problems)
        };
        let requests = counts(
            "requests",
            resources.and_then(|resources| resources.requests.as_ref()),
        );
        let limits = counts(
            "limits",
            resources.and_then(|resources| resources.limits.as_ref()),
        );
        ContainerFacts {
            name: container.name.as_str().into(),
            lasting: main || container.restart_policy.as_deref() == Some("Always"),
            requests,
            limits,
            told: Told {
                position: names(container.env.as_deref(), POSITION_VARIABLE),
                own_name: names(container.env.as_deref(), NAME_VARIABLE),
            },
            mounts_podnetinfo: container
                .volume_mounts
                .iter()
                .flatten()
                .any(|mount| mount.name == PODNETINFO || mount.mount_path == PODNETINFO_PATH),
            hugepages: resources.map(hugepages).unwrap_or_default(),
            locks_memory: container
                .security_context
                .as_ref()
                .is_some_and(RawSecurityContext::locks_memory),
        }
    };
    containers
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(read)
        .collect()
}

fn names(list: Option<&[RawNamed]>, name: &'static str) -> bool {
    list.unwrap_or_default().iter().any(|one| one.name == name)
}

/// The huge pages of a container, those of size zero left out.
fn hugepages(resources: &RawResources) -> Vec<Hugepages> {
    let of = |requested: bool, map: Option<&BTreeMap<String, Quantity>>| {
        let sizes = map.into_iter().flatten().filter_map(move |(name, quantity)| {
            let size = name.strip_prefix("hugepages-")?;
            let number = ["Ki", "Mi", "Gi"]
                .iter()
                .find_map(|unit| size.strip_suffix(unit))?;
            let is_size = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (is_size && !quantity.is_zero()).then(|| Hugepages {
                requested,
                size: size.to_owned(),
            })
        });
        sizes.collect::<Vec<_>>()
    };
    let mut all = of(true, resources.requests.as_ref());
    all.extend(of(false, resources.limits.as_ref()));
    all
}

/// The extended resources of a map; others are in units that do not matter here.
fn device_counts(
    field: &str,
    map: Option<&BTreeMap<String, Quantity>>,
    problems: &mut Problems,
) -> BTreeMap<ResourceName, u32> {
    let mut counts = BTreeMap::new();
    for (name, quantity) in map.into_iter().flatten() {
        let name = ResourceName::from(name.as_str());
        if !name.is_extended() {
            continue;
        }
        if let Some(count) = quantity.count() {
            counts.insert(name, count);
        } else {
            problems.push(Problem::new(
                format!("{field}.{name}"),
                match quantity {
                    Quantity::Text(text) => quoted(text),
                    Quantity::Number(number) => number.to_string(),
                },
                "a number of devices",
                "mend the quantity",
            ));
        }
    }
    counts
}

impl RawSecurityContext {
    fn locks_memory(&self) -> bool {
        let added = self
            .capabilities
            .as_ref()
            .and_then(|capabilities| capabilities.add.as_ref());
        self.privileged == Some(true)
            || added
                .into_iter()
                .flatten()
                .any(|name| matches!(name.as_str(), "IPC_LOCK" | "CAP_IPC_LOCK" | "ALL"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(pod: &str) -> Result<Arrived, String> {
        let object: &RawValue = serde_json::from_str(pod).unwrap();
        read(object, Some("t"), &Settings::default()).map_err(|problems| problems.to_string())
    }

    #[test]
    fn a_wrong_type_is_told_with_its_path() {
        let pod = r#"{"metadata":{},"spec":{"containers":[{"name":"a"},{"name":"b","resources":{"limits":{"x/y":true}}}]}}"#;
        insta::assert_snapshot!(arrived(pod).unwrap_err(), @"pod, field spec.containers[1].resources.limits.x/y: found no quantity, which is a text or a number at line 1 column 96, expected a field as the Kubernetes API defines it; mend the field");
        let pod = r#"{"metadata":{"annotations":{"a":1}},"spec":{}}"#;
        insta::assert_snapshot!(arrived(pod).unwrap_err(), @"pod, field metadata.annotations.a: found invalid type: integer `1`, expected a string at line 1 column 33, expected a field as the Kubernetes API defines it; mend the field");
        insta::assert_snapshot!(arrived(r#"{"metadata":{}}"#).unwrap_err(), @"pod: found missing field `spec` at line 1 column 15, expected a field as the Kubernetes API defines it; mend the field");
    }

    #[test]
    fn a_quantity_that_is_no_number_of_devices_is_told() {
        let pod = r#"{"metadata":{},"spec":{"initContainers":[{"name":"a","resources":{"limits":{"x/y":"lots","cpu":"1"}}}]}}"#;
        insta::assert_snapshot!(arrived(pod).unwrap_err(), @r#"spec.initContainers[0].resources.limits.x/y: found "lots", expected a number of devices; mend the quantity"#);
    }

    #[test]
    fn reads_what_matters_and_passes_over_the_rest() {
        let pod = r#"{"kind":"Pod","metadata":{"generateName":"a-","annotations":{"k8s.v1.cni.cncf.io/networks":"n/a@x"}},
            "spec":{"flavor":{"new":[1]},"hostNetwork":true,"schedulerName":"s",
            "containers":[{"name":"a","resources":{"requests":{"x/y":"2k","cpu":"1","memory":"1Gi"},"limits":{"x/y":2000}},
                "securityContext":{"capabilities":{"add":["IPC_LOCK"],"drop":["ALL"]}}}],
            "initContainers":[{"name":"i","restartPolicy":"Always"},{"name":"j","securityContext":{"privileged":true}}]}}"#;
        let facts = arrived(pod).unwrap().facts;
        assert!(facts.host_network);
        assert_eq!(facts.scheduler, Some("s".into()));
        assert_eq!(facts.networks.unwrap()[0].selection.network.to_string(), "n/a");
        let [a] = facts.containers.try_into().unwrap();
        assert!(a.lasting && a.locks_memory);
        assert_eq!(a.requests, BTreeMap::from([("x/y".into(), 2000)]));
        assert_eq!(a.limits, a.requests);
        let [i, j] = facts.init_containers.try_into().unwrap();
        assert!(i.lasting && !i.locks_memory);
        assert!(!j.lasting && j.locks_memory);
    }
}
