//! Every annotation and label key the program reads or writes, each spelled exactly once.

/// The domain of our own keys, with its slash: an unknown key that starts so is an error.
pub const DOMAIN: &str = "pointsman.io/";

/// Policy: attach every network that belongs to this profile. On networks: the profiles a network belongs to.
pub const PROFILE: &str = "pointsman.io/profile";
/// Policy: complete a pod's own networks (`true`), or leave the pod alone (`false`).
pub const INJECT: &str = "pointsman.io/inject";
/// Policy: how many of the profile's rails, `all` or a number.
pub const RAILS: &str = "pointsman.io/rails";
/// Policy: the container that gets the VFs.
pub const CONTAINER: &str = "pointsman.io/container";
/// Policy: fabric locality of the gang.
pub const LOCALITY: &str = "pointsman.io/locality";
/// Policy: the gang a pod belongs to (annotation), and the label that carries the resolved value.
pub const GANG: &str = "pointsman.io/gang";
/// Policy: how many pods the gang has.
pub const GANG_SIZE: &str = "pointsman.io/gang-size";
/// On networks: the position among the profile's rails.
pub const RAIL: &str = "pointsman.io/rail";

/// The keys a user may set on a pod or a namespace, in the order an error lists them.
pub const POLICY_KEYS: [&str; 7] = [PROFILE, INJECT, RAILS, CONTAINER, LOCALITY, GANG, GANG_SIZE];

/// The keys a user may set on a network, in the order an error lists them.
pub const NETWORK_KEYS: [&str; 2] = [PROFILE, RAIL];

/// The value of the label [`INJECT`] on a namespace, by which kube-apiserver asks about all its pods.
pub const INJECT_LABEL_VALUE: &str = "enabled";

/// Record: what the webhook did to the pod.
pub const INJECTED: &str = "pointsman.io/injected";
/// Record: where the pod was placed and what was reserved for it; written with its Binding.
pub const PLACEMENT: &str = "pointsman.io/placement";
/// Written on a waiting pod when something it waits for became free; any change of it makes the scheduler retry.
pub const NUDGED: &str = "pointsman.io/nudged";
/// Where on the fabric a placed pod sits, in a form that sorts neighbours next to each other.
pub const FABRIC_POSITION: &str = "pointsman.io/fabric-position";
/// On nodes: the rails of the node as the fabric import found them.
pub const FABRIC: &str = "pointsman.io/fabric";
/// On the Lease of the fabric import: how many nodes the fabric knows.
pub const FABRIC_NODES: &str = "pointsman.io/fabric-nodes";
/// On that Lease: how many rails are dark.
pub const FABRIC_DARK: &str = "pointsman.io/fabric-dark";
/// On nodes: the closest tier of the fabric.
pub const LEAF_GROUP: &str = "pointsman.io/leaf-group";
/// On nodes: the tier around it.
pub const SPINE: &str = "pointsman.io/spine";
/// On nodes: the third tier.
pub const CORE: &str = "pointsman.io/core";

/// The keys we write on pods: known, but not for users to set.
pub const WRITTEN_KEYS: [&str; 4] = [INJECTED, PLACEMENT, NUDGED, FABRIC_POSITION];

/// On the Secret of `--self-signed-secret`: the CA in it is of our own making, and ours to renew.
pub const AUTHORITY: &str = "pointsman.io/authority";

/// Multus: the additional networks of a pod.
pub const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// Multus: the network that takes the place of the cluster's default one.
pub const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// Multus, on a NetworkAttachmentDefinition: the device-plugin resource a pod needs one of.
pub const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// network-resources-injector, on a NetworkAttachmentDefinition: the label of the nodes it can be attached on.
pub const NODE_SELECTOR: &str = "k8s.v1.cni.cncf.io/nodeSelector";

/// Spiderpool's own injection, first form: read as [`PROFILE`] when that is absent.
pub const SPIDERPOOL_RDMA_INJECT: &str = "cni.spidernet.io/rdma-resource-inject";
/// Spiderpool's own injection, second form.
pub const SPIDERPOOL_NETWORK_INJECT: &str = "cni.spidernet.io/network-resource-inject";
/// On a SpiderMultusConfig: the name of the NetworkAttachmentDefinition that is made from it.
pub const SPIDERPOOL_CR_NAME: &str = "multus.spidernet.io/cr-name";
/// Spiderpool IPAM, on pods: pools for every interface.
pub const IPAM_POOL: &str = "ipam.spidernet.io/ippool";
/// Spiderpool IPAM, on pods: pools per interface.
pub const IPAM_POOLS: &str = "ipam.spidernet.io/ippools";
/// Spiderpool IPAM, on pods: a subnet to make pools from.
pub const IPAM_SUBNET: &str = "ipam.spidernet.io/subnet";
/// Spiderpool IPAM, on pods: a subnet per interface.
pub const IPAM_SUBNETS: &str = "ipam.spidernet.io/subnets";
/// Spiderpool IPAM, on namespaces: default IPv4 pools.
pub const IPAM_DEFAULT_V4: &str = "ipam.spidernet.io/default-ipv4-ippool";
/// Spiderpool IPAM, on namespaces: default IPv6 pools.
pub const IPAM_DEFAULT_V6: &str = "ipam.spidernet.io/default-ipv6-ippool";

/// SR-IOV operator, on SriovNetworkNodeStates: what the daemon wants the drain controller to do.
pub const SRIOV_DESIRED_STATE: &str = "sriovnetwork.openshift.io/desired-state";
/// SR-IOV operator, on SriovNetworkNodeStates: what the drain controller has done.
pub const SRIOV_CURRENT_STATE: &str = "sriovnetwork.openshift.io/current-state";
/// SR-IOV operator, on SriovNetworkNodeStates: the daemon of the node is gone, and the state is kept until then.
pub const SRIOV_KEEP_UNTIL: &str = "sriovnetwork.openshift.io/keep-state-until";
/// SR-IOV operator, label on Nodes: whether the device plugin runs there, `Enabled` or `Disabled`.
pub const SRIOV_DEVICE_PLUGIN: &str = "sriovnetwork.openshift.io/device-plugin";
/// SR-IOV operator, on pods of the device plugin: it waits for the node's configuration, and serves nothing.
pub const SRIOV_PLUGIN_WAITS: &str = "sriovnetwork.openshift.io/device-plugin-wait-config";
/// NVIDIA network operator, labels on Nodes: `true` while a driver or a NIC's firmware is not ready.
pub const NVIDIA_WAITS: [&str; 2] = [
    "network.nvidia.com/operator.mofed.wait",
    "network.nvidia.com/operator.nic-configuration.wait",
];
/// Spiderpool, label on pools it has made by itself: the subnet they are cut from.
pub const SPIDERPOOL_OWNER_SUBNET: &str = "ipam.spidernet.io/owner-spider-subnet";
/// SR-IOV operator, on Nodes: the request side of a drain, visible before the cordon.
pub const SRIOV_NODE_STATE: &str = "sriovnetwork.openshift.io/state";
