//! Nodes and SriovNetworkNodeStates, as the API server or a file has them, to what the import needs of them.

use std::collections::BTreeMap;

use kube::core::{DynamicObject, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::fabric;
use crate::decide::annotation;
use crate::decide::fabric::Guid;
use crate::decide::names::NodeName;
use crate::decide::problem::{Problem, Problems, quoted};

use super::matching::HostMap;
use super::node::{NodeFacts, Nodes, Pf};
use super::plan::TIERS;

/// What was read of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Nodes,
    /// What could not be read of some of them; the rest is unaffected.
    pub warnings: Vec<String>,
    /// PFs by node, until the nodes are known.
    pfs: BTreeMap<String, Vec<Pf>>,
}

impl Cluster {
    /// Adds a Node.
    pub fn node(&mut self, metadata: &ObjectMeta, data: &Value) {
        let Some(name) = metadata.name.as_deref() else {
            return;
        };
        let labels = metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
        let text = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(annotation::FABRIC));
        let rails = text.map_or(Ok(Vec::new()), |text| {
            fabric::parse(&format!("node {name}"), text)
        });
        let rails = rails.unwrap_or_else(|problems| {
            self.warnings.push(format!("{problems}; it will be written anew"));
            Vec::new()
        });
        let status = data.get("status").map(NodeStatus::deserialize);
        let addresses = match status {
            Some(Ok(status)) => status.addresses.unwrap_or_default(),
            Some(Err(error)) => {
                self.warnings.push(format!("node {name}, status: {error}"));
                Vec::new()
            }
            None => Vec::new(),
        };
        let facts = NodeFacts {
            host_label: label("kubernetes.io/hostname"),
            addresses: addresses
                .into_iter()
                .filter(|address| matches!(address.r#type.as_str(), "Hostname" | "InternalDNS"))
                .map(|address| address.address)
                .collect(),
            pfs: None,
            rails,
            annotation: text.cloned(),
            tiers: TIERS.map(label),
        };
        self.nodes.insert(name.into(), facts);
    }

    /// Adds a SriovNetworkNodeState, which has its node's name.
    pub fn state(&mut self, metadata: &ObjectMeta, data: &Value) {
        let Some(name) = metadata.name.as_deref() else {
            return;
        };
        match data.get("status").map(StateStatus::deserialize) {
            Some(Ok(status)) => {
                let mut pfs: Vec<Pf> = status
                    .interfaces
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(Interface::pf)
                    .collect();
                pfs.sort();
                self.pfs.insert(name.to_owned(), pfs);
            }
            Some(Err(error)) => self.warnings.push(format!(
                "SriovNetworkNodeState {name}, status: {error}; its node is matched by name"
            )),
            None => {}
        }
    }

    /// Adds an object of a file; whatever is neither is passed over.
    pub fn object(&mut self, object: &DynamicObject) {
        let kind = object.types.as_ref().map(|types| types.kind.as_str());
        match kind {
            Some("Node") => self.node(&object.metadata, &object.data),
            Some("SriovNetworkNodeState") => self.state(&object.metadata, &object.data),
            _ => {}
        }
    }

    /// Gives every node its PFs; to be called once, after all objects.
    #[must_use]
    pub fn finish(mut self) -> Self {
        for (name, pfs) in core::mem::take(&mut self.pfs) {
            if let Some(facts) = self.nodes.get_mut(name.as_str()) {
                facts.pfs = Some(pfs);
            }
        }
        self
    }
}

/// Names, one a line, for whoever has no objects at hand. None where the text is anything else.
#[must_use]
pub fn plain_names(text: &str) -> Option<Nodes> {
    let mut nodes = Nodes::new();
    for line in text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
    {
        if line.is_empty() {
            continue;
        }
        let is_name = line
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'));
        if !is_name || line.starts_with("---") {
            return None;
        }
        nodes.insert(NodeName::from(line), NodeFacts::default());
    }
    (!nodes.is_empty()).then_some(nodes)
}

/// The lines `host=node` of a map file; a host is also what has a node or port GUID (`0x..`).
///
/// # Errors
/// Every line that is something else.
pub fn host_map(file: &str, text: &str) -> Result<HostMap, Problems> {
    let mut problems = Problems::none();
    let mut map = HostMap::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        let mut wrong = |expected: &str| {
            problems.push(Problem::new(
                format!("{file}, line {}", index.saturating_add(1)),
                quoted(line),
                expected,
                "correct the line",
            ));
        };
        match content
            .split_once('=')
            .map(|(host, node)| (host.trim(), node.trim()))
        {
            Some((host, node)) if !host.is_empty() && !node.is_empty() => {
                let key = match host.strip_prefix("0x").map(str::parse::<Guid>) {
                    Some(Ok(guid)) => guid.to_string(),
                    Some(Err(_)) => {
                        wrong("a GUID such as 0xa088c20300001001 before the equals sign");
                        continue;
                    }
                    None => host.to_lowercase(),
                };
                if map
                    .insert(key, node.into())
                    .is_some_and(|other| other.as_str() != node)
                {
                    wrong("each host once");
                }
            }
            _ => wrong("host=node"),
        }
    }
    problems.or(map)
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct NodeStatus {
    addresses: Option<Vec<Address>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StateStatus {
    interfaces: Option<Vec<Interface>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Interface {
    pci_address: String,
    name: Option<String>,
    link_type: Option<String>,
    mac: Option<String>,
    num_vfs: Option<u32>,
}

impl Interface {
    /// As a PF, where its link is InfiniBand; the operator does not say so of one that is down.
    fn pf(self) -> Option<Pf> {
        let guid = self.mac.as_deref().and_then(Guid::of_hardware_address);
        let infiniband = match self.link_type.as_deref() {
            None | Some("") => guid.is_some(),
            Some(kind) => kind.eq_ignore_ascii_case("ib") || kind.eq_ignore_ascii_case("infiniband"),
        };
        infiniband.then(|| Pf {
            name: self.name.unwrap_or_default(),
            pci: self.pci_address,
            guid,
            vfs: self.num_vfs.unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_gets_the_pfs_of_its_state() {
        let mut cluster = Cluster::default();
        for object in [
            json!({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
                "metadata": {"name": "n1", "namespace": "sriov"},
                "status": {"interfaces": [
                    {"pciAddress": "0000:86:00.0", "name": "ibs2", "linkType": "IB", "numVfs": 8,
                     "mac": "00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:10"},
                    {"pciAddress": "0000:17:00.0", "name": "ibs1", "linkType": "ib", "mac": "00:11:22:33:44:55"},
                    {"pciAddress": "0000:01:00.0", "name": "eth0", "linkType": "ETH", "mac": "00:11:22:33:44:55"}]}}),
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1",
                "labels": {"kubernetes.io/hostname": "host1", "pointsman.io/leaf-group": "lg-1"}},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"},
                    {"type": "InternalDNS", "address": "host1.example"}]}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n2"}}),
        ] {
            cluster.object(&serde_json::from_value(object).unwrap());
        }
        let cluster = cluster.finish();
        assert!(cluster.warnings.is_empty(), "{:?}", cluster.warnings);
        assert_eq!(cluster.nodes.len(), 1);
        let facts = &cluster.nodes["n1"];
        assert_eq!(facts.addresses, ["host1.example"]);
        assert_eq!(facts.tiers, [Some("lg-1".to_owned()), None, None]);
        let pfs = facts.pfs.as_ref().unwrap();
        assert_eq!(pfs.len(), 2);
        assert_eq!(pfs[0].guid, None, "six bytes are no GUID");
        assert_eq!(pfs[1].guid, Some(Guid(0xe8eb_d303_0093_ae10)));
        assert!(!pfs[0].in_use() && pfs[1].in_use());
        assert!(!facts.all_pfs_known());
    }

    #[test]
    fn a_map_is_read_whole_or_not_at_all() {
        let map = host_map(
            "map",
            "# comment\nOldName = node-1 # moved\n0xa088c20300001001=node-2\n",
        )
        .unwrap();
        assert_eq!(map["oldname"].as_str(), "node-1");
        assert_eq!(map["0xa088c20300001001"].as_str(), "node-2");
        let told = host_map("map", "a\n=b\n0xzz=c\nx=1\nx=2\n")
            .unwrap_err()
            .to_string();
        for place in ["map, line 1", "map, line 2", "map, line 3", "map, line 5"] {
            assert!(told.contains(place), "{told}");
        }
    }

    #[test]
    fn names_alone_are_nodes_too() {
        assert_eq!(plain_names("node-1\n\nnode-2 # rack 1\n").unwrap().len(), 2);
        for other in ["", "kind: Node", "---\nkind: List", "{}", "Node1"] {
            assert_eq!(plain_names(other), None, "{other}");
        }
    }
}
