//! What of a node matters to the decisions: its VFs, and whether what they stand on is fit for use.

use super::amounts::Amounts;
use super::fabric::{Guid, Rail};
use super::names::{NodeName, PfName, ResourceName};
use super::problem::Problems;
use super::selector::Labels;
use super::suits::Taint;
use super::tier::PresetMarks;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// Its labels, which pools and tiers go by.
    pub labels: Labels,
    /// What it offers of every resource (`status.allocatable`).
    pub offers: Amounts,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`: it is cordoned.
    pub unschedulable: bool,
    /// The SR-IOV operator was asked to drain or reboot it (node annotation); seen before the cordon.
    pub drain_requested: bool,
    /// What else on the node itself keeps its VFs from use, and where that is said.
    pub faults: Vec<(NodeFault, String)>,
    /// Its rails by the fabric import, in the order of their numbers, or why what the import wrote cannot be read;
    /// none where no import has seen the node.
    pub fabric: Option<Result<Vec<Rail>, Problems>>,
    /// The presets of tiers whose closest label it carries.
    pub presets: PresetMarks,
}

/// What keeps the VFs of a whole node from use, whatever the SR-IOV operator's state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFault {
    /// Its kubelet does not say that it is ready.
    NotReady,
    /// A driver, or the configuration of a NIC, is not ready yet.
    DriverNotReady,
    /// The device plugin is kept from serving until the node is configured.
    PluginBlocked,
}

/// What the SR-IOV operator says of a node (its SriovNetworkNodeState), or why that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SriovState {
    /// The state's facts.
    pub reading: Result<SriovFacts, Problems>,
}

/// The facts of a readable SriovNetworkNodeState.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SriovFacts {
    /// Whether the wanted configuration is in force.
    pub sync: Sync,
    /// The desired and current drain phase, where one of them is not idle.
    pub drain: Option<String>,
    /// The state is left over from a daemon that is gone; until when it is kept.
    pub stale: Option<String>,
    /// Exclusive mode is in force, and shared mode is asked for: the next reboot ends it.
    pub leaving_exclusive: bool,
    /// Whether the RDMA subsystem gives each network namespace its own devices.
    pub rdma: RdmaMode,
    /// Every group of VFs that serves one resource from one PF.
    pub groups: Vec<VfGroup>,
}

/// `status.syncStatus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The configuration is in force.
    Succeeded,
    /// Anything else, as the operator words it.
    Other(String),
}

/// `status.system.rdmaMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdmaMode {
    /// A device belongs to one network namespace.
    Exclusive,
    /// All namespaces see all devices.
    Shared,
    /// The state does not say.
    Unknown,
}

/// The VFs of one PF that are handed out as one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfGroup {
    /// The resource without its prefix, as the operator's policies name it; none where the state does not say, so
    /// that the PF may serve any.
    pub resource: Option<String>,
    /// The PF.
    pub pf: PfName,
    /// The GUID of the PF's port, where the state tells it.
    pub guid: Option<Guid>,
    /// How many VFs of it serve the resource.
    pub vfs: u32,
    /// What keeps them from being used; none for a sound PF.
    pub faults: Vec<PfFault>,
}

impl VfGroup {
    /// Whether its VFs are, or may be, handed out as `resource`.
    #[must_use]
    pub fn serves(&self, resource: &ResourceName) -> bool {
        self.resource
            .as_deref()
            .is_none_or(|name| name == resource.suffix())
    }
}

/// What keeps the VFs of a PF from being used. Each applies only where a network needs what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PfFault {
    /// The link is administratively down.
    Down,
    /// The link type is not InfiniBand.
    NotInfiniband,
    /// A VF has a GUID of all zeros or all ones, with which ib-sriov-cni refuses to attach it. The kubelet picks
    /// any VF of the resource, so one is enough.
    GuidUnset,
    /// The number of VFs in force is not the number asked for.
    VfsDiffer,
    /// The MTU in force is not the one asked for.
    MtuDiffers,
}
