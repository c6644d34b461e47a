//! The Kubernetes cluster on a planned fabric, as files: nodes with their SriovNetworkNodeStates, one network and one
//! pool for each rail, Jobs.

use std::collections::BTreeMap;
use std::path::Path;

use pointsman::decide::annotation::{FABRIC, LEAF_GROUP};
use pointsman::simulate::{Input, Report, simulate};
use serde_json::{Value, json};

use super::plan::{Plan, Plug};

/// What an import says of each node: its labels, and the content of its annotation.
pub(crate) type Imported = BTreeMap<String, (BTreeMap<String, String>, Value)>;

/// What an import of the sound fabric should say, by design.
pub(crate) fn by_design(plan: &Plan) -> Imported {
    let mut nodes = Imported::new();
    for host in plan.hosts() {
        let labels = BTreeMap::from([(LEAF_GROUP.to_owned(), plan.group(host).to_owned())]);
        nodes.insert(host.to_owned(), (labels, json!({"version": 1, "rails": []})));
    }
    for plug in plan.plugs() {
        let rails = nodes.get_mut(&plug.host).unwrap().1["rails"]
            .as_array_mut()
            .unwrap();
        rails.push(json!({
            "rail": rails.len(), "hca": plug.device, "guid": format!("{:#018x}", plug.port_guid),
            "leaf": format!("{:#018x}", plug.leaf_guid), "leafName": plug.leaf, "port": plug.leaf_port,
            "state": "Active", "width": "4x", "speed": "HDR", "source": "guid",
        }));
    }
    nodes
}

/// The nodes with what an import says of them, their states, and `vfs` VFs on every rail.
pub(crate) fn nodes(plan: &Plan, imported: &Imported, vfs: u32) -> Vec<Value> {
    let mut by_host: BTreeMap<String, Vec<Plug>> = BTreeMap::new();
    for plug in plan.plugs() {
        by_host.entry(plug.host.clone()).or_default().push(plug);
    }
    let mut objects = Vec::new();
    for (host, plugs) in by_host {
        let mut offers = json!({"cpu": "192", "memory": "2Ti", "pods": "250"});
        let (mut wanted, mut found) = (Vec::new(), Vec::new());
        for (rail, plug) in plugs.iter().enumerate() {
            offers[resource(rail)] = vfs.to_string().into();
            let address = format!("0000:{:02x}:00.0", 0x10 + rail);
            // The kernel's name of the network device says nothing of the RDMA device's.
            let name = format!("ibs{rail}");
            wanted.push(json!({"pciAddress": address, "name": name, "numVfs": vfs,
                "vfGroups": [{"resourceName": format!("ib_rail{rail}"), "vfRange": format!("0-{}", vfs - 1)}]}));
            found.push(json!({"pciAddress": address, "name": name, "linkType": "IB", "linkAdminState": "up",
                "numVfs": vfs, "mac": mac(plug.port_guid),
                "Vfs": (0..vfs).map(|vf| json!({"vfID": vf, "guid": format!("0a1b:2c3d:{rail:04x}:{:04x}", vf + 1)}))
                    .collect::<Vec<_>>()}));
        }
        let (labels, fabric) = imported.get(&host).cloned().unwrap_or_default();
        let annotations = match fabric {
            Value::Null => json!({}),
            fabric => json!({FABRIC: fabric.to_string()}),
        };
        objects.push(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": host, "labels": labels, "annotations": annotations},
            "status": {"allocatable": offers}}));
        objects.push(
            json!({"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState",
            "metadata": {"name": host, "namespace": "sriov-network-operator"},
            "spec": {"interfaces": wanted},
            "status": {"syncStatus": "Succeeded", "system": {"rdmaMode": "exclusive"}, "interfaces": found}}),
        );
    }
    objects
}

/// The networks and pools of so many rails: the profile `all`, and `first` with the first rail only.
pub(crate) fn networks(rails: usize) -> Vec<Value> {
    let mut objects = Vec::new();
    for rail in 0..rails {
        let name = format!("rail{rail}");
        let profiles = if rail == 0 { "all,first" } else { "all" };
        objects.push(json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderIPPool",
            "metadata": {"name": name},
            "spec": {"subnet": format!("10.{rail}.0.0/16"), "ips": [format!("10.{rail}.1.1-10.{rail}.9.250")]}}));
        objects.push(
            json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderMultusConfig",
            "metadata": {"name": name, "namespace": "rdma",
                "annotations": {"pointsman.io/profile": profiles, "pointsman.io/rail": rail.to_string()}},
            "spec": {"cniType": "ib-sriov",
                "ibsriov": {"resourceName": resource(rail), "ippools": {"ipv4": [name]}}}}),
        );
    }
    objects
}

/// A Job of so many pods on all rails.
pub(crate) fn job(name: &str, pods: usize) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"},
        "spec": {"parallelism": pods, "completions": pods, "completionMode": "Indexed",
            "template": {"metadata": {"annotations": {"pointsman.io/profile": "all"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "trainer:1"}]}}}})
}

/// A pod of a profile.
pub(crate) fn pod(name: &str, profile: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
            "annotations": {"pointsman.io/profile": profile}},
        "spec": {"containers": [{"name": "main", "image": "trainer:1"}]}})
}

/// Writes objects where the program reads them.
pub(crate) fn write(objects: &[Value], file: &Path) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(file, list.to_string()).unwrap();
}

/// What `pointsman simulate` makes of a cluster.
pub(crate) fn play(objects: &[Value]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cluster.json");
    write(objects, &file);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let input = Input {
        paths: vec![file],
        ..Input::default()
    };
    runtime.block_on(simulate(&input)).unwrap()
}

fn resource(rail: usize) -> String {
    format!("spidernet.io/ib_rail{rail}")
}

/// The IPoIB address of a port, as the SR-IOV operator copies it from the kernel.
pub(crate) fn mac(port_guid: u64) -> String {
    let bytes = [0x00, 0x00, 0x10, 0x49, 0xfe, 0x80, 0, 0, 0, 0, 0, 0]
        .into_iter()
        .chain(port_guid.to_be_bytes());
    bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
