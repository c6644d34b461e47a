//! The SR-IOV operator's SriovNetworkNodeState.

use kube::core::DynamicObject;
use serde::Deserialize;

use crate::decide::annotation;
use crate::decide::fabric::Guid;
use crate::decide::node::{PfFault, RdmaMode, SriovFacts, SriovState, Sync, VfGroup};
use crate::decide::problem::{Problem, Problems};

/// A node's state; its name is the node's.
#[must_use]
pub fn state(object: &DynamicObject) -> SriovState {
    let label = format!(
        "SriovNetworkNodeState {}",
        object.metadata.name.as_deref().unwrap_or_default()
    );
    let mut problems = Problems::none();
    let spec = super::read::<SpecObject>(&label, "spec", object.data.get("spec"));
    let status = super::read::<StatusObject>(&label, "status", object.data.get("status"));
    let (spec, status) = match (spec, status) {
        (Ok(spec), Ok(status)) => (spec, status),
        (spec, status) => {
            [spec.err(), status.err()]
                .into_iter()
                .flatten()
                .for_each(|problem| problems.push(problem));
            return SriovState {
                reading: Err(problems),
            };
        }
    };
    let facts = SriovFacts {
        sync: match status.sync_status.as_deref() {
            Some("Succeeded") => Sync::Succeeded,
            Some(other) if !other.is_empty() => Sync::Other(other.to_owned()),
            _ => Sync::Other("not reported yet".to_owned()),
        },
        drain: drain(object),
        stale: object
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(annotation::SRIOV_KEEP_UNTIL))
            .filter(|until| !until.is_empty())
            .cloned(),
        leaving_exclusive: mode(spec.system.as_ref()) == RdmaMode::Shared
            && mode(status.system.as_ref()) == RdmaMode::Exclusive,
        rdma: mode(status.system.as_ref()),
        groups: groups(
            &label,
            &spec,
            &status.interfaces.unwrap_or_default(),
            &mut problems,
        ),
    };
    SriovState {
        reading: problems.or(facts),
    }
}

fn mode(system: Option<&SystemObject>) -> RdmaMode {
    match system.and_then(|system| system.rdma_mode.as_deref()) {
        Some("exclusive") => RdmaMode::Exclusive,
        Some("shared") => RdmaMode::Shared,
        _ => RdmaMode::Unknown,
    }
}

/// The phase of a drain; the request shows in these annotations before the node is cordoned.
fn drain(object: &DynamicObject) -> Option<String> {
    let annotations = object.metadata.annotations.as_ref()?;
    [annotation::SRIOV_CURRENT_STATE, annotation::SRIOV_DESIRED_STATE]
        .iter()
        .find_map(|key| {
            let phase = annotations.get(*key)?;
            (!phase.is_empty() && phase != "Idle").then(|| format!("{phase} ({key})"))
        })
}

/// For each resource that is fed by a PF: how many VFs, and what keeps them from use.
fn groups(
    label: &str,
    spec: &SpecObject,
    interfaces: &[InterfaceStatus],
    problems: &mut Problems,
) -> Vec<VfGroup> {
    let mut groups = Vec::new();
    for (index, wanted) in spec.interfaces.iter().flatten().enumerate() {
        let found = interfaces
            .iter()
            .find(|interface| interface.pci_address == wanted.pci_address);
        for (group_index, group) in wanted.vf_groups.iter().flatten().enumerate() {
            let Some(range) = vf_range(&group.vf_range) else {
                problems.push(Problem::new(
                    format!("{label}, spec.interfaces[{index}].vfGroups[{group_index}].vfRange"),
                    format!("{:?}", group.vf_range),
                    "a VF number, or two joined by a hyphen",
                    "look at the SriovNetworkNodePolicy it comes from",
                ));
                continue;
            };
            groups.push(VfGroup {
                resource: Some(group.resource_name.clone()),
                pf: wanted.name.as_deref().unwrap_or(&wanted.pci_address).into(),
                guid: found.and_then(InterfaceStatus::port_guid),
                vfs: found.map_or(0, |interface| interface.vfs_in(&range)),
                faults: found.map_or_else(
                    || vec![PfFault::VfsDiffer],
                    |interface| interface.faults(wanted.num_vfs, wanted.mtu, &range),
                ),
            });
        }
    }
    if groups.is_empty() {
        // Nothing tells which PF feeds which resource; then a fault of any of them may be of the one that is wanted.
        let all = 0..=u32::MAX;
        groups.extend(
            interfaces
                .iter()
                .filter(|interface| interface.vfs_in(&all) > 0)
                .map(|interface| VfGroup {
                    resource: None,
                    pf: interface.name.as_deref().unwrap_or(&interface.pci_address).into(),
                    guid: interface.port_guid(),
                    vfs: interface.vfs_in(&all),
                    faults: interface.faults(None, None, &all),
                }),
        );
    }
    groups
}

/// `0-7`, or `3`.
fn vf_range(text: &str) -> Option<core::ops::RangeInclusive<u32>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SpecObject {
    interfaces: Option<Vec<InterfaceSpec>>,
    system: Option<SystemObject>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InterfaceSpec {
    pci_address: String,
    name: Option<String>,
    num_vfs: Option<u32>,
    mtu: Option<u32>,
    vf_groups: Option<Vec<GroupObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GroupObject {
    resource_name: String,
    vf_range: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusObject {
    sync_status: Option<String>,
    system: Option<SystemObject>,
    interfaces: Option<Vec<InterfaceStatus>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SystemObject {
    rdma_mode: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct InterfaceStatus {
    pci_address: String,
    name: Option<String>,
    link_type: Option<String>,
    link_admin_state: Option<String>,
    num_vfs: Option<u32>,
    mac: Option<String>,
    mtu: Option<u32>,
    // The operator writes this one key with a capital.
    #[serde(rename = "Vfs")]
    vfs: Option<Vec<VfObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VfObject {
    #[serde(rename = "vfID")]
    vf_id: u32,
    guid: Option<String>,
    driver: Option<String>,
}

impl InterfaceStatus {
    fn in_range<'a>(
        &'a self,
        range: &'a core::ops::RangeInclusive<u32>,
    ) -> impl Iterator<Item = &'a VfObject> {
        // The device plugin serves VFs with a driver; a VF inside a pod is listed as it was last seen. A state that
        // names no driver at all says nothing about them.
        let has_driver = |vf: &VfObject| vf.driver.as_deref().is_some_and(|driver| !driver.is_empty());
        let told = self.vfs.iter().flatten().any(has_driver);
        self.vfs
            .iter()
            .flatten()
            .filter(move |vf| range.contains(&vf.vf_id) && (!told || has_driver(vf)))
    }

    /// The GUID of an InfiniBand port: the last 8 of the 20 bytes of its IPoIB address. An address of another form
    /// (Ethernet's has 6 bytes) tells nothing.
    fn port_guid(&self) -> Option<Guid> {
        let bytes: Vec<u8> = self
            .mac
            .as_deref()?
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect::<Option<_>>()?;
        let guid: [u8; 8] = (bytes.len() == 20).then(|| bytes.last_chunk().copied())??;
        let guid = u64::from_be_bytes(guid);
        (guid != 0 && guid != u64::MAX).then_some(Guid(guid))
    }

    fn vfs_in(&self, range: &core::ops::RangeInclusive<u32>) -> u32 {
        u32::try_from(self.in_range(range).count()).unwrap_or(u32::MAX)
    }

    fn faults(
        &self,
        wanted: Option<u32>,
        mtu: Option<u32>,
        range: &core::ops::RangeInclusive<u32>,
    ) -> Vec<PfFault> {
        let set = |text: &Option<String>, good: &str| {
            text.as_deref()
                .is_none_or(|text| text.is_empty() || text.eq_ignore_ascii_case(good))
        };
        let mut faults = Vec::new();
        if !set(&self.link_admin_state, "up") {
            faults.push(PfFault::Down);
        }
        if !set(&self.link_type, "IB") {
            faults.push(PfFault::NotInfiniband);
        }
        if self
            .in_range(range)
            .any(|vf| vf.guid.as_deref().is_some_and(is_unset))
        {
            faults.push(PfFault::GuidUnset);
        }
        let in_force = self.num_vfs.unwrap_or_else(|| self.vfs_in(&(0..=u32::MAX)));
        if wanted.is_some_and(|wanted| in_force != wanted) {
            faults.push(PfFault::VfsDiffer);
        }
        // 0 is how the operator writes that nobody asked for one.
        if let (Some(wanted), Some(found)) = (mtu, self.mtu)
            && ![0, found].contains(&wanted)
        {
            faults.push(PfFault::MtuDiffers);
        }
        faults
    }
}

/// A GUID of all zeros or all ones, in any of the forms it is printed in. An empty one says nothing: the device
/// is in a pod's network namespace.
fn is_unset(guid: &str) -> bool {
    let digits: String = guid
        .trim()
        .trim_start_matches("0x")
        .chars()
        .filter(|c| *c != ':')
        .collect();
    !digits.is_empty() && (digits.chars().all(|c| c == '0') || digits.chars().all(|c| matches!(c, 'f' | 'F')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(change: impl FnOnce(&mut Value)) -> SriovState {
        let mut value = json!({
            "metadata": {"name": "n1", "annotations": {
                "sriovnetwork.openshift.io/desired-state": "Idle", "sriovnetwork.openshift.io/current-state": "Idle"}},
            "spec": {"interfaces": [{"pciAddress": "0000:3b:00.0", "name": "ibs1", "numVfs": 2, "mtu": 4092,
                "vfGroups": [{"resourceName": "ib_rail0", "vfRange": "0-1"}]}]},
            "status": {"syncStatus": "Succeeded", "system": {"rdmaMode": "exclusive"},
                "interfaces": [{"pciAddress": "0000:3b:00.0", "name": "ibs1", "linkType": "IB", "linkAdminState": "up",
                    "numVfs": 2, "mtu": 4092, "Vfs": [{"vfID": 0, "guid": "0a1b:2c3d:4e5f:6071"}, {"vfID": 1, "guid": ""}]}]},
        });
        change(&mut value);
        state(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_sound_node_has_no_fault() {
        let facts = read(|_| ()).reading.unwrap();
        assert_eq!(facts.sync, Sync::Succeeded);
        assert_eq!(facts.rdma, RdmaMode::Exclusive);
        assert_eq!(facts.drain, None);
        let [group] = facts.groups.as_slice() else {
            panic!("{facts:?}")
        };
        assert_eq!(
            (group.resource.as_deref(), group.vfs, group.faults.as_slice()),
            (Some("ib_rail0"), 2, [].as_slice())
        );
    }

    #[test]
    fn each_fault_is_seen() {
        let fault = |path: &str, value: Value| {
            let facts = read(|state| *state.pointer_mut(path).unwrap() = value)
                .reading
                .unwrap();
            facts.groups[0].faults.clone()
        };
        let pf = "/status/interfaces/0";
        assert_eq!(
            fault(&format!("{pf}/linkAdminState"), "down".into()),
            [PfFault::Down]
        );
        assert_eq!(
            fault(&format!("{pf}/linkType"), "ETH".into()),
            [PfFault::NotInfiniband]
        );
        assert_eq!(fault(&format!("{pf}/numVfs"), 1.into()), [PfFault::VfsDiffer]);
        assert_eq!(fault(&format!("{pf}/mtu"), 2048.into()), [PfFault::MtuDiffers]);
        assert_eq!(
            fault(&format!("{pf}/Vfs/0/guid"), "0000:0000:0000:0000".into()),
            [PfFault::GuidUnset]
        );
        assert_eq!(
            fault(&format!("{pf}/Vfs/0/guid"), "ff:ff:ff:ff:ff:ff:ff:ff".into()),
            [PfFault::GuidUnset]
        );
    }

    #[test]
    fn the_ports_guid_is_the_end_of_the_ipoib_address() {
        let guid = |mac: &str| {
            let facts = read(|state| state["status"]["interfaces"][0]["mac"] = mac.into());
            facts.reading.unwrap().groups[0].guid
        };
        let whole = "00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:10";
        assert_eq!(guid(whole), Some(Guid(0xe8eb_d303_0093_ae10)));
        for other in ["", "e8:eb:d3:93:ae:10", "00:00:10:49", &whole.replace("ae", "xx")] {
            assert_eq!(guid(other), None, "{other}");
        }
    }

    #[test]
    fn a_drain_is_seen_in_either_annotation() {
        for key in ["desired-state", "current-state"] {
            let facts = read(|state| {
                state["metadata"]["annotations"][format!("sriovnetwork.openshift.io/{key}")] =
                    "Drain_Required".into();
            });
            assert!(
                facts
                    .reading
                    .unwrap()
                    .drain
                    .is_some_and(|phase| phase.starts_with("Drain_Required"))
            );
        }
    }

    #[test]
    fn a_state_that_outlives_its_daemon_is_known_by_its_annotation() {
        let facts = read(|state| {
            state["metadata"]["annotations"][annotation::SRIOV_KEEP_UNTIL] = "2026-11-24T12:00:00Z".into();
        });
        assert_eq!(
            facts.reading.unwrap().stale.as_deref(),
            Some("2026-11-24T12:00:00Z")
        );
    }

    #[test]
    fn shared_mode_asked_for_is_told_from_shared_mode_in_force() {
        let leaves = |spec: &str, status: &str| {
            let facts = read(|state| {
                state["spec"]["system"] = json!({"rdmaMode": spec});
                state["status"]["system"] = json!({"rdmaMode": status});
            });
            facts.reading.unwrap().leaving_exclusive
        };
        assert!(leaves("shared", "exclusive"));
        assert!(
            !leaves("exclusive", "exclusive")
                && !leaves("shared", "shared")
                && !leaves("exclusive", "shared")
        );
    }

    #[test]
    fn a_vf_without_a_driver_is_not_served() {
        let facts = read(|state| {
            let vfs = &mut state["status"]["interfaces"][0]["Vfs"];
            vfs[0]["driver"] = "mlx5_core".into();
            vfs[1]["driver"] = "".into();
        });
        assert_eq!(facts.reading.unwrap().groups[0].vfs, 1);
    }

    #[test]
    fn a_malformed_state_is_told_with_its_field() {
        let text = read(|state| state["status"]["interfaces"] = "none".into())
            .reading
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("SriovNetworkNodeState n1, status.interfaces: found string \"none\""),
            "{text}"
        );
        let text = read(|state| state["spec"]["interfaces"][0]["vfGroups"][0]["vfRange"] = "all".into())
            .reading
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("spec.interfaces[0].vfGroups[0].vfRange: found \"all\""),
            "{text}"
        );
    }
}
