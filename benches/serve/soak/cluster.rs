//! The cluster that the soak churns: small enough to be told in full, and short of addresses, so that promises matter.

use pointsman::decide::annotation;
use serde_json::{Value, json};

pub(super) const NODES: usize = 400;
pub(super) const RAILS: usize = 2;
/// VFs of each rail on a node: as many pods.
pub(super) const VFS: usize = 8;
const LEAF_GROUP: usize = 16;
/// Nodes that share a pool of each rail, and its addresses: fewer than the nodes have VFs.
pub(super) const UNIT: usize = 10;
pub(super) const ADDRESSES: usize = 70;
pub(super) const PROFILE: &str = "two-rails";
pub(super) const TEAMS: usize = 4;

pub(super) fn node_name(index: usize) -> String {
    format!("gpu-node-{index:04}")
}

pub(super) fn pool_name(rail: usize, unit: usize) -> String {
    format!("rail{rail}-u{unit:02}")
}

pub(super) fn address(rail: usize, unit: usize, number: usize) -> String {
    format!("10.{rail}.{unit}.{}", number + 10)
}

fn resource(rail: usize) -> String {
    format!("spidernet.io/ib_rail{rail}")
}

pub(super) fn node(index: usize) -> Value {
    let mut offers = json!({"cpu": "256", "memory": "2Ti", "pods": "250"});
    for rail in 0..RAILS {
        offers[resource(rail)] = VFS.to_string().into();
    }
    let name = node_name(index);
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "uid": format!("node-{index}"), "labels": {
            "kubernetes.io/hostname": name, "example.com/unit": format!("u{}", index / UNIT),
            annotation::LEAF_GROUP: leaf_group(index), annotation::SPINE: format!("sp-{}", index / LEAF_GROUP / 8)}},
        "spec": {},
        "status": {"allocatable": offers, "capacity": offers, "conditions": [{"type": "Ready", "status": "True"}]}})
}

pub(super) fn leaf_group(index: usize) -> String {
    format!("lg-{:03}", index / LEAF_GROUP)
}

pub(super) fn node_state(index: usize) -> Value {
    let wanted = |rail: usize| {
        json!({"pciAddress": format!("0000:{rail}a:00.0"), "name": format!("ib{rail}"), "numVfs": VFS,
            "vfGroups": [{"resourceName": format!("ib_rail{rail}"), "vfRange": format!("0-{}", VFS - 1)}]})
    };
    let found = |rail: usize| {
        let vfs: Vec<Value> = (0..VFS)
            .map(|vf| json!({"vfID": vf, "guid": format!("e8:eb:d3:{rail:02x}:{vf:02x}:{:02x}:{:02x}:01", index >> 8, index & 255)}))
            .collect();
        json!({"pciAddress": format!("0000:{rail}a:00.0"), "name": format!("ib{rail}"), "linkType": "IB", "linkAdminState": "up",
            "numVfs": VFS, "Vfs": vfs})
    };
    json!({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
        "metadata": {"name": node_name(index), "namespace": "sriov-network-operator"},
        "spec": {"interfaces": (0..RAILS).map(wanted).collect::<Vec<_>>()},
        "status": {"syncStatus": "Succeeded", "system": {"rdmaMode": "exclusive"},
            "interfaces": (0..RAILS).map(found).collect::<Vec<_>>()}})
}

pub(super) fn network(rail: usize) -> Value {
    let config = json!({"cniVersion": "0.3.1", "name": format!("rail{rail}"), "type": "ib-sriov", "rdmaIsolation": true,
        "ipam": {"type": "spiderpool", "default_ipv4_ippool": [format!("rail{rail}-*")]}});
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": format!("rail{rail}"), "namespace": "rdma", "annotations": {
            annotation::PROFILE: PROFILE, annotation::RAIL: rail.to_string(), annotation::RESOURCE_NAME: resource(rail)}},
        "spec": {"config": config.to_string()}})
}

pub(super) fn pool(rail: usize, unit: usize) -> Value {
    json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
        "metadata": {"name": pool_name(rail, unit)},
        "spec": {"ipVersion": 4, "subnet": format!("10.{rail}.{unit}.0/24"),
            "ips": [format!("{}-{}", address(rail, unit, 0), address(rail, unit, ADDRESSES - 1))],
            "nodeAffinity": {"matchLabels": {"example.com/unit": format!("u{unit}")}}},
        "status": {"totalIPCount": ADDRESSES, "allocatedIPs": "{}"}})
}

pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {}}, "status": {"phase": "Active"}})
}

/// A kind of pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One that wants nothing of ours.
    Plain,
    Alone,
    /// Of a gang of so many; whether it must be in one leaf group.
    Gang(usize, bool),
    /// Of a gang that no leaf group has room for.
    TooLarge,
}

/// A pod as its owner writes it.
pub(super) fn pod(name: &str, team: usize, shape: Shape, gang: usize) -> Value {
    let mut metadata = json!({"name": name, "namespace": format!("team-{team}"), "labels": {"soak": "rails"},
        "annotations": {annotation::PROFILE: PROFILE}});
    let (size, locality) = match shape {
        Shape::Plain => {
            metadata["labels"]["soak"] = "plain".into();
            metadata["annotations"] = json!({});
            (0, "")
        }
        Shape::Alone => (0, ""),
        Shape::Gang(size, true) => (size, "required=leaf-group"),
        Shape::Gang(size, false) => (size, "preferred=leaf-group"),
        Shape::TooLarge => (LEAF_GROUP * VFS + 1, "required=leaf-group"),
    };
    if size > 0 {
        metadata["labels"][annotation::GANG] = format!("gang-{gang}").into();
        metadata["annotations"][annotation::GANG_SIZE] = size.to_string().into();
        metadata["annotations"][annotation::LOCALITY] = locality.into();
    }
    let environment: Vec<Value> = (0..30)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": "v".repeat(24)}))
        .collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {"containers": [{"name": "main", "image": "registry.example/trainer:1", "env": environment,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]},
        "status": {"phase": "Pending"}})
}
