//! Nodes as they look to a scheduler, with InfiniBand cards cut into VFs: the Node that a kubelet and the device plugin
//! keep up, and the SriovNetworkNodeState that the SR-IOV operator's daemon writes.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{NAMESPACES, NODE_STATES, NODES};
use super::plane::ControlPlane;
use super::wait::{eventually, expect};

/// Where the SR-IOV operator lives.
pub(crate) const OPERATOR_NAMESPACE: &str = "sriov-network-operator";

/// The device plugin's resource prefix.
pub(crate) const PREFIX: &str = "spidernet.io";

/// One InfiniBand card's port, the PF, and its VFs.
struct Rail {
    /// Without prefix.
    resource: String,
    vfs: u32,
    port_up: bool,
    /// The GUID of the port on the fabric, of which the operator tells the IPoIB address.
    port_guid: Option<u64>,
}

/// A healthy node unless told otherwise.
pub(crate) struct IbNode {
    name: String,
    labels: serde_json::Map<String, Value>,
    rails: Vec<Rail>,
    others: Vec<(String, u32)>,
    rdma_mode: &'static str,
    guids: bool,
    state: &'static str,
}

impl IbNode {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "pointsman.io/leaf-group": "su-1"});
        let Value::Object(labels) = labels else {
            unreachable!("it is an object")
        };
        Self {
            name,
            labels,
            rails: Vec::new(),
            others: Vec::new(),
            rdma_mode: "exclusive",
            guids: true,
            state: "Idle",
        }
    }

    pub(crate) fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), json!(value));
        self
    }

    /// As a node is before anybody has imported the fabric.
    pub(crate) fn unlabelled(mut self) -> Self {
        self.labels.remove("pointsman.io/leaf-group");
        self
    }

    /// Adds a PF whose VFs the device plugin offers as `spidernet.io/<resource>`.
    pub(crate) fn rail(mut self, resource: impl Into<String>, vfs: u32) -> Self {
        self.rails.push(Rail {
            resource: resource.into(),
            vfs,
            port_up: true,
            port_guid: None,
        });
        self
    }

    /// The last PF is the one with this port on the fabric.
    pub(crate) fn port_guid(mut self, guid: u64) -> Self {
        if let Some(rail) = self.rails.last_mut() {
            rail.port_guid = Some(guid);
        }
        self
    }

    /// Adds the rails of a test: `<prefix>_rail0` and on, 8 VFs each.
    pub(crate) fn rails(self, prefix: &str, rails: usize) -> Self {
        (0..rails).fold(self, |node, rail| node.rail(format!("{prefix}_rail{rail}"), 8))
    }

    /// Adds something else that pods may ask for.
    pub(crate) fn offers(mut self, resource: &str, count: u32) -> Self {
        self.others.push((resource.to_owned(), count));
        self
    }

    /// The RDMA devices stay visible in every network namespace: no isolation.
    pub(crate) fn shared_rdma(mut self) -> Self {
        self.rdma_mode = "shared";
        self
    }

    /// No VF ever got its GUID, so the CNI plugin would refuse each of them.
    pub(crate) fn zero_guids(mut self) -> Self {
        self.guids = false;
        self
    }

    /// The operator is about to reconfigure the cards; the node is not cordoned yet.
    pub(crate) fn draining(mut self) -> Self {
        self.state = "Draining";
        self
    }

    /// The port of one PF is administratively down; its VFs are still offered.
    pub(crate) fn port_down(mut self, rail: usize) -> Self {
        self.rails[rail].port_up = false;
        self
    }

    /// Creates the state, then the node, and waits until the node is Ready and takes pods.
    pub(crate) async fn create(&self, plane: &ControlPlane) {
        let api = &plane.api;
        // Several tests come here at once; one of them creates the namespace.
        let _ = api
            .create(
                &NAMESPACES.all(),
                json!({"metadata": {"name": OPERATOR_NAMESPACE}}),
            )
            .await;
        let states = NODE_STATES.within(OPERATOR_NAMESPACE);
        api.create(&states, self.node_state()).await.unwrap();
        api.merge_status(&states.named(&self.name), json!({"status": self.state_status()}))
            .await
            .unwrap();
        api.create(&NODES.all(), self.node()).await.unwrap();
        eventually(
            &format!("node {} takes pods", self.name),
            Duration::from_mins(1),
            async || {
                let node = api.get(&NODES.all().named(&self.name)).await.unwrap();
                let conditions = node["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let ready = conditions
                    .iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True");
                expect(ready && node["spec"]["taints"].is_null(), || node.to_string())
            },
        )
        .await;
    }

    /// The Node object, as a kubelet registers it.
    pub(crate) fn node(&self) -> Value {
        let mut offered = json!({"cpu": "192", "memory": "2Ti", "pods": "250"});
        for rail in &self.rails {
            offered[format!("{PREFIX}/{}", rail.resource)] = json!(rail.vfs.to_string());
        }
        for (resource, count) in &self.others {
            offered[resource] = json!(count.to_string());
        }
        json!({
            "metadata": {"name": self.name, "labels": self.labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
            "status": {"capacity": offered, "allocatable": offered},
        })
    }

    fn node_state(&self) -> Value {
        let interfaces = self.rails.iter().enumerate().map(|(number, rail)| {
            json!({
                "pciAddress": pci_address(number, 0), "name": format!("ibs{number}"), "numVfs": rail.vfs,
                "linkType": "IB", "mtu": 4092,
                "vfGroups": [{
                    "resourceName": rail.resource, "vfRange": format!("0-{}", rail.vfs - 1),
                    "policyName": rail.resource.replace('_', "-"), "deviceType": "netdevice", "isRdma": true,
                }],
            })
        });
        let desired = if self.state == "Idle" {
            "Idle"
        } else {
            "Drain_Required"
        };
        json!({
            "metadata": {"name": self.name, "annotations": {
                "sriovnetwork.openshift.io/desired-state": desired,
                "sriovnetwork.openshift.io/current-state": self.state,
            }},
            "spec": {"system": {"rdmaMode": self.rdma_mode}, "interfaces": interfaces.collect::<Vec<_>>()},
        })
    }

    fn state_status(&self) -> Value {
        let interfaces = self.rails.iter().enumerate().map(|(number, rail)| {
            json!({
                "name": format!("ibs{number}"), "pciAddress": pci_address(number, 0), "vendor": "15b3",
                "deviceID": "1021", "driver": "mlx5_core", "linkType": "IB", "linkSpeed": "400000 Mb/s",
                "linkAdminState": if rail.port_up { "up" } else { "down" },
                "mac": rail.port_guid.map_or_else(String::new, ipoib_address),
                "mtu": 4092, "numVfs": rail.vfs, "totalvfs": 16,
                "Vfs": (0..rail.vfs).map(|vf| self.vf(number, vf)).collect::<Vec<_>>(),
            })
        });
        json!({
            "syncStatus": "Succeeded", "lastSyncError": "", "system": {"rdmaMode": self.rdma_mode},
            "interfaces": interfaces.collect::<Vec<_>>(),
        })
    }

    fn vf(&self, rail: usize, vf: u32) -> Value {
        let guid = if self.guids {
            format!("0a1b:2c3d:{rail:04x}:{:04x}", vf + 1)
        } else {
            "0000:0000:0000:0000".to_owned()
        };
        json!({
            "pciAddress": pci_address(rail, vf + 1), "vfID": vf, "driver": "mlx5_core",
            "name": format!("ibs{rail}v{vf}"), "guid": guid, "vendor": "15b3", "deviceID": "101e", "mtu": 4092,
        })
    }
}

/// As the kernel prints it: a queue pair, the subnet's prefix, the port's GUID.
fn ipoib_address(port_guid: u64) -> String {
    let prefix = [0x00, 0x00, 0x10, 0x49, 0xfe, 0x80, 0, 0, 0, 0, 0, 0];
    let bytes = prefix.into_iter().chain(port_guid.to_be_bytes());
    bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}

fn pci_address(rail: usize, function: u32) -> String {
    format!("0000:{:02x}:{:02x}.{}", 0x10 + rail, function / 8, function % 8)
}
