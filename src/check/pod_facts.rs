//! What is known of one pod: what it was promised, and what it got.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::objects::{Allocation, Object, PodEndpoint};
use crate::cluster::convert;
use crate::cluster::objects::PodObject;
use crate::decide::annotation;
use crate::decide::pod::Pod;
use crate::decide::settings::Settings;

/// Multus' record of what it attached.
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One pod.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// The pod as decisions see it.
    pub pod: Pod,
    /// Its node, as soon as it is bound.
    pub node: Option<String>,
    /// What we promised at bind, or what is wrong with the record; none without one.
    pub placement: Option<Result<PlacementRecord, String>>,
    /// What Multus attached, or what is wrong with its record; none before it has.
    pub status: Option<Result<Vec<AttachedNetwork>, String>>,
    /// What Spiderpool gave it.
    pub endpoint: Option<Allocation>,
}

/// The record `pointsman.io/placement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PlacementRecord {
    /// The node.
    pub node: String,
    /// The tier domain of its gang.
    pub domain: Option<String>,
    /// For each interface, the pools its addresses come from.
    pub pools: BTreeMap<String, Vec<String>>,
}

/// One element of Multus' record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct AttachedNetwork {
    /// `namespace/name` of the network.
    pub name: String,
    /// The interface inside the pod.
    pub interface: String,
    /// Its addresses.
    pub ips: Vec<String>,
    /// The VF behind it, where the device plugin tells.
    pub device_info: Option<DeviceInfo>,
}

/// See [`AttachedNetwork`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// Of a PCI device.
    pub pci: Option<PciDevice>,
}

/// See [`AttachedNetwork`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PciDevice {
    /// The VF.
    pub pci_address: String,
    /// Its RDMA device.
    pub rdma_device: Option<String>,
}

impl PodFacts {
    /// Reads a pod.
    ///
    /// # Errors
    /// What is wrong with it as a pod.
    pub fn of(object: &Value, settings: &Settings) -> Result<Self, String> {
        let typed: PodObject = serde_path_to_error::deserialize(object)
            .map_err(|error| format!("Pod, {}: {}", error.path(), error.inner()))?;
        let annotations = typed.metadata.annotations.clone().unwrap_or_default();
        let text = |key: &str| annotations.get(key).map(String::as_str);
        Ok(Self {
            node: typed.spec.node_name.clone().filter(|node| !node.is_empty()),
            placement: text(annotation::PLACEMENT).map(json),
            status: text(NETWORK_STATUS).map(json),
            pod: convert::pod::pod(&typed, settings),
            endpoint: None,
        })
    }

    /// Takes in Spiderpool's record, where it is about this very pod.
    pub fn take_endpoint(&mut self, endpoint: Object<PodEndpoint>) {
        if endpoint.namespace() == self.pod.at.namespace.as_str()
            && endpoint.name() == self.pod.at.name.as_str()
        {
            self.endpoint = endpoint.body.status.current;
        }
    }
}

fn json<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
