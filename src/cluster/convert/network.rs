//! Networks: NetworkAttachmentDefinitions, and SpiderMultusConfigs from which Spiderpool makes them.

use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::objects::Texts;
use crate::decide::annotation;
use crate::decide::names::{NetworkRef, ProfileName, ResourceName};
use crate::decide::network::{Attachment, Infiniband, Ipam, LinkState, Network, NodeLabel, Plugin};
use crate::decide::problem::{Problem, Problems, quoted};
use crate::decide::settings::Settings;

/// A network from its NetworkAttachmentDefinition.
#[must_use]
pub fn attachment(object: &DynamicObject, settings: &Settings) -> Network {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    network(
        object,
        "NetworkAttachmentDefinition",
        name,
        settings,
        |label, annotations, problems| {
            let config = object.data.get("spec").and_then(|spec| spec.get("config"));
            let attached = match config.filter(|config| !config.is_null()) {
                // Multus then takes the configuration of this name from the node's disk, where nobody can look.
                None | Some(Value::String(_))
                    if config
                        .and_then(Value::as_str)
                        .is_none_or(|text| text.trim().is_empty()) =>
                {
                    Attachment::unknown()
                }
                Some(Value::String(text)) => {
                    let place = format!("{label}, spec.config");
                    super::read_text::<ConfigObject>(&place, text).map_or_else(
                        |problem| {
                            problems.push(problem);
                            Attachment::unknown()
                        },
                        ConfigObject::attaches,
                    )
                }
                _ => {
                    problems.push(Problem::new(
                        format!("{label}, spec.config"),
                        "a value that is not text",
                        "a CNI configuration as JSON text",
                        "quote the configuration (config: |)",
                    ));
                    Attachment::unknown()
                }
            };
            Attachment {
                resource: annotations
                    .get(annotation::RESOURCE_NAME)
                    .map(|name| ResourceName::from(name.trim())),
                ..attached
            }
        },
    )
}

/// The network a SpiderMultusConfig stands for, until Spiderpool has made the NetworkAttachmentDefinition.
#[must_use]
pub fn multus_config(object: &DynamicObject, settings: &Settings) -> Network {
    let annotations = object.metadata.annotations.as_ref();
    let name = annotations
        .and_then(|annotations| annotations.get(annotation::SPIDERPOOL_CR_NAME))
        .filter(|name| !name.is_empty())
        .or(object.metadata.name.as_ref())
        .cloned()
        .unwrap_or_default();
    network(
        object,
        "SpiderMultusConfig",
        &name,
        settings,
        |label, _, problems| match super::read::<MultusSpec>(label, "spec", object.data.get("spec")) {
            Ok(spec) => spec.attaches(),
            Err(problem) => {
                problems.push(problem);
                Attachment::unknown()
            }
        },
    )
}

/// What both kinds share: the annotations.
fn network(
    object: &DynamicObject,
    kind: &str,
    name: &str,
    settings: &Settings,
    attaches: impl FnOnce(&str, &Texts, &mut Problems) -> Attachment,
) -> Network {
    let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
    let label = format!("{kind} {namespace}/{name}");
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let mut problems = Problems::none();
    let mut profiles = profiles(&label, &annotations, &mut problems);
    let may_join = &settings.profile_namespaces;
    if !may_join.is_empty() && !may_join.iter().any(|listed| listed.as_str() == namespace) {
        // A profile is everybody's: who may make networks somewhere may not change what others get by it.
        profiles.clear();
    }
    let rail = rail(&label, &annotations, &mut problems);
    let read = attaches(&label, &annotations, &mut problems);
    Network {
        at: NetworkRef::new(namespace, name),
        profiles,
        reading: problems.or(Attachment {
            rail,
            resource: read.resource.filter(|resource| !resource.as_str().is_empty()),
            further: further(&annotations, settings),
            nodes: nodes(&label, &annotations),
            ..read
        }),
    }
}

/// What is named besides Multus' own resource, which may stand in the list of keys as well.
fn further(annotations: &Texts, settings: &Settings) -> Vec<ResourceName> {
    let keys = settings.further_resource_keys.iter();
    keys.filter(|key| *key != annotation::RESOURCE_NAME)
        .filter_map(|key| annotations.get(key).map(|name| name.trim()))
        .filter(|name| !name.is_empty())
        .map(ResourceName::from)
        .collect()
}

/// `KEY=VALUE`, or `KEY` for an empty value, as network-resources-injector reads it.
fn nodes(label: &str, annotations: &Texts) -> Result<Option<NodeLabel>, Problems> {
    let Some(text) = annotations.get(annotation::NODE_SELECTOR) else {
        return Ok(None);
    };
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || value.contains('=') || [key, value].concat().contains(char::is_whitespace) {
        return Err(Problems::from(Problem::new(
            format!("{label}, annotation {}", annotation::NODE_SELECTOR),
            quoted(text),
            "one label of nodes, KEY=VALUE or KEY",
            "correct it, or remove the annotation",
        )));
    }
    Ok(Some(NodeLabel {
        key: key.to_owned(),
        value: value.to_owned(),
    }))
}

/// Both fields as text; a partition key is at times written as a number, which is told where it matters.
fn infiniband(link_state: Option<&str>, pkey: Option<&Value>) -> Infiniband {
    let pkey = pkey.filter(|value| !value.is_null()).map(|value| {
        let text = value.as_str();
        text.map_or_else(|| value.to_string(), str::to_owned)
    });
    Infiniband {
        link: LinkState::of(link_state.unwrap_or_default()),
        pkey: pkey.filter(|text| !text.is_empty()),
    }
}

/// The profiles a network belongs to: ours, or what Spiderpool's own injection groups it by.
fn profiles(label: &str, annotations: &Texts, problems: &mut Problems) -> Vec<ProfileName> {
    let keys = [
        annotation::PROFILE,
        annotation::SPIDERPOOL_RDMA_INJECT,
        annotation::SPIDERPOOL_NETWORK_INJECT,
    ];
    let Some((key, text)) = keys.iter().find_map(|key| Some((*key, annotations.get(*key)?))) else {
        return Vec::new();
    };
    let names: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    // A pod cannot name one with a blank in it.
    if names.is_empty() || names.iter().any(|name| name.contains(char::is_whitespace)) {
        problems.push(Problem::new(
            format!("{label}, annotation {key}"),
            quoted(text),
            "one or more profile names, separated by commas",
            "name the profiles this network belongs to, or remove the annotation",
        ));
    }
    names.into_iter().map(ProfileName::from).collect()
}

fn rail(label: &str, annotations: &Texts, problems: &mut Problems) -> Option<u32> {
    let text = annotations.get(annotation::RAIL)?;
    let rail = text.trim().parse().ok();
    if rail.is_none() {
        problems.push(Problem::new(
            format!("{label}, annotation {}", annotation::RAIL),
            format!("{text:?}"),
            "a number from 0",
            "write the position of this rail, or remove the annotation to order rails by name",
        ));
    }
    rail
}

/// A CNI configuration: one plugin, or a list of them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigObject {
    plugins: Option<Vec<PluginObject>>,
    #[serde(flatten)]
    single: PluginObject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PluginObject {
    r#type: Option<String>,
    #[serde(rename = "rdmaIsolation")]
    rdma_isolation: Option<bool>,
    #[serde(rename = "ibKubernetesEnabled")]
    ib_kubernetes: Option<bool>,
    link_state: Option<Value>,
    pkey: Option<Value>,
    ipam: Option<IpamObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IpamObject {
    r#type: Option<String>,
    default_ipv4_ippool: Option<Vec<String>>,
    default_ipv6_ippool: Option<Vec<String>>,
    match_master_subnet: Option<bool>,
}

impl ConfigObject {
    fn attaches(self) -> Attachment {
        let plugins = match self.plugins {
            Some(plugins) => plugins,
            None => vec![self.single],
        };
        let has = |wanted: &str| {
            plugins
                .iter()
                .find(|plugin| plugin.r#type.as_deref() == Some(wanted))
        };
        let plugin = if let Some(ib) = has("ib-sriov") {
            Plugin::IbSriov {
                rdma_isolation: ib.rdma_isolation.unwrap_or(false),
                ib_kubernetes: ib.ib_kubernetes.unwrap_or(false),
            }
        } else if has("sriov").is_some() {
            Plugin::Sriov {
                rdma_isolation: has("rdma").is_some(),
            }
        } else {
            Plugin::Other
        };
        let infiniband = has("ib-sriov")
            .map(|ib| {
                let link_state = ib.link_state.as_ref().and_then(Value::as_str);
                infiniband(link_state, ib.pkey.as_ref())
            })
            .unwrap_or_default();
        let ipam = plugins
            .into_iter()
            .filter_map(|plugin| plugin.ipam)
            .find(|ipam| ipam.r#type.as_deref() == Some("spiderpool"))
            .map_or(Ipam::Unlimited, |ipam| Ipam::Spiderpool {
                v4: ipam.default_ipv4_ippool.unwrap_or_default(),
                v6: ipam.default_ipv6_ippool.unwrap_or_default(),
                by_subnet: ipam.match_master_subnet.unwrap_or(false),
            });
        Attachment {
            plugin,
            ipam,
            infiniband,
            ..Attachment::unknown()
        }
    }
}

/// `spec` of a SpiderMultusConfig; the block of its `cniType` matters.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MultusSpec {
    cni_type: Option<String>,
    #[serde(rename = "disableIPAM")]
    disable_ipam: Option<bool>,
    ibsriov: Option<Block>,
    sriov: Option<Block>,
    macvlan: Option<Block>,
    ipvlan: Option<Block>,
    vlan: Option<Block>,
    ipoib: Option<Block>,
    ovs: Option<Block>,
    #[serde(rename = "customCNI")]
    custom_cni: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Block {
    resource_name: Option<String>,
    rdma_resource_name: Option<String>,
    rdma_isolation: Option<bool>,
    enable_ib_kubernetes: Option<bool>,
    link_state: Option<String>,
    pkey: Option<Value>,
    ippools: Option<PoolsObject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolsObject {
    ipv4: Option<Vec<String>>,
    ipv6: Option<Vec<String>>,
    /// Spiderpool takes it over for `sriov` only (`pkg/multuscniconfig`).
    #[serde(rename = "matchMasterSubnet")]
    match_master_subnet: Option<bool>,
}

impl MultusSpec {
    /// As Spiderpool's `pkg/multuscniconfig` makes the NetworkAttachmentDefinition, defaults included.
    fn attaches(self) -> Attachment {
        let block = match self.cni_type.as_deref().unwrap_or("custom") {
            "ib-sriov" => self.ibsriov,
            "sriov" => self.sriov,
            "macvlan" => self.macvlan,
            "ipvlan" => self.ipvlan,
            "vlan" => self.vlan,
            "ipoib" => self.ipoib,
            "ovs" => self.ovs,
            _ => {
                let config: Option<ConfigObject> = self
                    .custom_cni
                    .as_deref()
                    .and_then(|text| serde_json::from_str(text).ok());
                return config.unwrap_or_default().attaches();
            }
        }
        .unwrap_or_default();
        let infiniband = match self.cni_type.as_deref() {
            Some("ib-sriov") => infiniband(block.link_state.as_deref(), block.pkey.as_ref()),
            _ => Infiniband::default(),
        };
        let plugin = match self.cni_type.as_deref() {
            Some("ib-sriov") => Plugin::IbSriov {
                rdma_isolation: block.rdma_isolation.unwrap_or(true),
                ib_kubernetes: block.enable_ib_kubernetes.unwrap_or(false),
            },
            Some("sriov") => Plugin::Sriov {
                rdma_isolation: block.rdma_isolation.unwrap_or(false),
            },
            _ => Plugin::Other,
        };
        let ipam = if self.disable_ipam.unwrap_or(false) {
            Ipam::Unlimited
        } else {
            let pools = block.ippools.unwrap_or_default();
            Ipam::Spiderpool {
                v4: pools.ipv4.unwrap_or_default(),
                v6: pools.ipv6.unwrap_or_default(),
                by_subnet: self.cni_type.as_deref() == Some("sriov")
                    && pools.match_master_subnet.unwrap_or(false),
            }
        };
        Attachment {
            resource: block
                .resource_name
                .or(block.rdma_resource_name)
                .map(ResourceName::from),
            plugin,
            ipam,
            infiniband,
            ..Attachment::unknown()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_multus_config_stands_for_the_network_made_from_it() {
        let config = object(json!({
            "apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderMultusConfig",
            "metadata": {"name": "rail1", "namespace": "hpc", "annotations": {
                "pointsman.io/profile": "eight-rails, four-rails", "pointsman.io/rail": "1",
                "multus.spidernet.io/cr-name": "rail1-ib",
            }},
            "spec": {"cniType": "ib-sriov", "ibsriov": {"resourceName": "spidernet.io/ib_rail1", "ippools": {"ipv4": ["rail1-pool"]}}},
        }));
        let made = object(json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "rail1-ib", "namespace": "hpc", "annotations": {
                "pointsman.io/profile": "eight-rails, four-rails", "pointsman.io/rail": "1",
                "k8s.v1.cni.cncf.io/resourceName": "spidernet.io/ib_rail1",
            }},
            "spec": {"config": "{\"cniVersion\":\"0.3.1\",\"name\":\"rail1-ib\",\"plugins\":[{\"type\":\"ib-sriov\",\"pkey\":\"\",\"link_state\":\"enable\",\"rdmaIsolation\":true,\"ibKubernetesEnabled\":false,\"ipam\":{\"type\":\"spiderpool\",\"default_ipv4_ippool\":[\"rail1-pool\"]}},{\"type\":\"coordinator\"}]}"},
        }));
        assert_eq!(
            multus_config(&config, &Settings::default()),
            attachment(&made, &Settings::default())
        );
        assert_eq!(attachment(&made, &Settings::default()).profiles.len(), 2);
    }

    #[test]
    fn only_listed_namespaces_put_networks_into_profiles() {
        let network = object(json!({
            "metadata": {"name": "rail1", "namespace": "tenant", "annotations": {
                "pointsman.io/profile": "eight-rails",
                "k8s.v1.cni.cncf.io/resourceName": "spidernet.io/ib_rail1",
            }},
            "spec": {"config": "{\"type\": \"ib-sriov\"}"},
        }));
        for (listed, profiles) in [
            (vec![], 1),
            (vec!["tenant"], 1),
            (vec!["spiderpool", "tenants"], 0),
        ] {
            let settings = Settings {
                profile_namespaces: listed.into_iter().map(Into::into).collect(),
                ..Settings::default()
            };
            let network = attachment(&network, &settings);
            assert_eq!(network.profiles.len(), profiles);
            assert!(network.reading.is_ok(), "pods may still name it themselves");
        }
    }

    #[test]
    fn a_broken_configuration_is_told_with_object_and_field_and_keeps_its_profile() {
        let broken = object(json!({
            "metadata": {"name": "rail1", "namespace": "hpc", "annotations": {"pointsman.io/profile": "p", "pointsman.io/rail": "one"}},
            "spec": {"config": "{\"type\": \"ib-sriov\", \"rdmaIsolation\": \"yes\"}"},
        }));
        let network = attachment(&broken, &Settings::default());
        assert_eq!(network.profiles, ["p".into()]);
        let text = network.reading.unwrap_err().to_string();
        assert!(
            text.contains(
                "NetworkAttachmentDefinition hpc/rail1, annotation pointsman.io/rail: found \"one\""
            ),
            "{text}"
        );
        assert!(text.contains("hpc/rail1, spec.config"), "{text}");
        assert!(text.contains("expected a boolean"), "{text}");
    }

    #[test]
    fn link_and_partition_key_are_read_from_both_kinds() {
        let config = object(json!({
            "metadata": {"name": "rail1", "namespace": "hpc"},
            "spec": {"cniType": "ib-sriov", "ibsriov": {"linkState": "disable", "pkey": "1000"}},
        }));
        // A number, as some guides write it.
        let made = object(json!({
            "metadata": {"name": "rail1", "namespace": "hpc"},
            "spec": {"config": r#"{"plugins":[{"type":"tuning","pkey":[1]},{"type":"ib-sriov","link_state":"disable","pkey":1000}]}"#},
        }));
        for network in [
            multus_config(&config, &Settings::default()),
            attachment(&made, &Settings::default()),
        ] {
            let infiniband = network.reading.unwrap().infiniband;
            assert_eq!(
                (infiniband.link, infiniband.pkey.as_deref()),
                (LinkState::Disabled, Some("1000"))
            );
        }
    }

    #[test]
    fn a_network_without_configuration_is_on_the_nodes_disk() {
        let bare = object(json!({"metadata": {"name": "x", "namespace": "hpc"}}));
        let reading = attachment(&bare, &Settings::default()).reading.unwrap();
        assert_eq!((reading.plugin, reading.ipam), (Plugin::Other, Ipam::Unlimited));
    }

    #[test]
    fn what_network_resources_injector_reads_is_read_too() {
        let settings = Settings {
            further_resource_keys: vec![annotation::RESOURCE_NAME.to_owned(), "x.io/bridge".to_owned()],
            ..Settings::default()
        };
        let read = |selector: &str| {
            let network = object(
                json!({"metadata": {"name": "x", "namespace": "hpc", "annotations": {
                    "k8s.v1.cni.cncf.io/resourceName": "x.io/vf", "x.io/bridge": " x.io/br1 ",
                    "k8s.v1.cni.cncf.io/nodeSelector": selector,
                }}}),
            );
            attachment(&network, &settings).reading.unwrap()
        };
        let label = |key: &str, value: &str| {
            Ok(Some(NodeLabel {
                key: key.to_owned(),
                value: value.to_owned(),
            }))
        };
        let attachment = read("rack=a");
        assert_eq!(attachment.resource, Some("x.io/vf".into()));
        assert_eq!(attachment.further, ["x.io/br1".into()]);
        assert_eq!(attachment.nodes, label("rack", "a"));
        assert_eq!(read("rdma").nodes, label("rdma", ""));
        for wrong in ["", "=a", "a=b=c", "a=b c"] {
            assert!(read(wrong).nodes.is_err(), "{wrong}");
        }
    }
}
