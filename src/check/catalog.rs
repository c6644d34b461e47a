//! The one list of rows, in the order in which a cluster is built up: what each asks, why it matters, and what decides.

use super::facts::Facts;
use super::finding::Finding;
use super::pod_facts::PodFacts;
use super::{fabric, installed, networks, ours, pfs, pod, pools, rbac, scheduler, sriov, trial, webhook};

/// A question that has a row of its own.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name in output, documents and scripts; once released it never changes.
    pub id: &'static str,
    /// What is asked, as a sentence that a yes makes true.
    pub holds: &'static str,
    /// What goes wrong otherwise.
    pub otherwise: &'static str,
    /// What to do then, in a sentence; the row itself has the commands.
    pub remedy: &'static str,
    decide: Decide,
}

/// What a question is about, and what answers it.
#[derive(Clone, Copy)]
enum Decide {
    Cluster(fn(&Facts) -> Finding),
    Pod(fn(&Facts, &PodFacts) -> Finding),
}

impl Check {
    /// Its answer; none where the question is not about what is asked for (a pod, or the cluster).
    #[must_use]
    pub fn find(&self, facts: &Facts) -> Option<Finding> {
        match (self.decide, &facts.pod) {
            (Decide::Cluster(decide), None) => Some(decide(facts)),
            (Decide::Pod(decide), Some(pod)) => Some(decide(facts, pod)),
            (Decide::Cluster(_), Some(_)) | (Decide::Pod(_), None) => None,
        }
    }
}

macro_rules! cluster {
    ($id:literal, $holds:literal, $otherwise:literal, $remedy:literal, $decide:path) => {
        Check {
            id: $id,
            holds: $holds,
            otherwise: $otherwise,
            remedy: $remedy,
            decide: Decide::Cluster($decide),
        }
    };
}

macro_rules! pod {
    ($id:literal, $holds:literal, $otherwise:literal, $remedy:literal, $decide:path) => {
        Check {
            id: $id,
            holds: $holds,
            otherwise: $otherwise,
            remedy: $remedy,
            decide: Decide::Pod($decide),
        }
    };
}

/// Every row, in order.
pub const CHECKS: &[Check] = &[
    cluster!(
        "crds.spiderpool",
        "Spiderpool's kinds are served in the version we read (v2beta1).",
        "Nothing gives pods addresses, and profiles cannot be written as SpiderMultusConfigs.",
        "Install or upgrade Spiderpool by its Helm chart.",
        installed::spiderpool_kinds
    ),
    cluster!(
        "crds.multus",
        "NetworkAttachmentDefinitions are served (v1).",
        "No pod can have a second network.",
        "Install Multus, for example by Spiderpool's chart.",
        installed::multus_kinds
    ),
    cluster!(
        "crds.sriov",
        "The SR-IOV operator's node states, policies and pool configurations are served (v1).",
        "Nothing makes VFs, and their health cannot be read.",
        "Install the SR-IOV network operator, for example by Spiderpool's chart with sriov.install=true.",
        installed::sriov_kinds
    ),
    cluster!(
        "crds.sriov-modes",
        "The SR-IOV operator is 1.4 or later and its CRDs are its own: node states tell the RDMA mode, pool configurations set it.",
        "The operator is recent enough, and its modes get lost: pods may land where the CNI plugin refuses them. Where it is older, \
         as in Spiderpool's chart, nobody can see which nodes are in exclusive mode, so none is demanded: unknown.",
        "Apply the CRDs of the operator's own chart; with an older operator look at each node, or upgrade it.",
        installed::sriov_modes
    ),
    cluster!(
        "operators.spiderpool",
        "Spiderpool's controller and its agents are ready.",
        "Pods hang in ContainerCreating on nodes without an agent; networks are not made.",
        "Look at the pods of the workload that is named.",
        installed::spiderpool_runs
    ),
    cluster!(
        "operators.multus",
        "Multus is ready on every node it selects.",
        "Pods on the others start without their RDMA networks, or not at all.",
        "Look at the pods of the DaemonSet that is named.",
        installed::multus_runs
    ),
    cluster!(
        "operators.sriov",
        "The SR-IOV operator, its config daemon and its device plugin are ready.",
        "VFs are not made, not watched, or not offered.",
        "Look at the pods of the workload that is named.",
        installed::sriov_runs
    ),
    cluster!(
        "operators.nodes",
        "On every node with VFs, Spiderpool's agent, Multus, the SR-IOV config daemon and the device plugin are ready.",
        "Pods that land on a node without one of them hang in ContainerCreating, or its VFs are not offered.",
        "Let the DaemonSet select the node and tolerate its taints; look at its pod there.",
        installed::daemons
    ),
    cluster!(
        "operators.pointsman",
        "Our own webhook and extender run.",
        "Pods that opted in cannot be created, or wait for a scheduler that is not there.",
        "Install the manifests, or look at the pods of the workload that is named.",
        ours::runs
    ),
    cluster!(
        "sriov.policies",
        "Every SriovNetworkNodePolicy selects nodes, and they have the VFs it asks for; linkType is ib where an ib-sriov network uses them.",
        "A rail exists on paper only.",
        "Correct the policy's selectors, or read what the config daemon says of the node.",
        sriov::policies
    ),
    cluster!(
        "sriov.node-states",
        "Every node with VFs has a SriovNetworkNodeState that can be read.",
        "The extender refuses such nodes, because nothing vouches for their VFs (setting nodeState).",
        "Let the config daemon run there, or set nodeState: trust.",
        sriov::node_states
    ),
    cluster!(
        "sriov.in-sync",
        "The wanted SR-IOV configuration is in force on every node with VFs (syncStatus Succeeded).",
        "VFs may be made anew at any moment; the extender refuses the node.",
        "Wait, then read status.lastSyncError and the daemon's log.",
        sriov::in_sync
    ),
    cluster!(
        "sriov.drain",
        "No node with VFs is being drained or rebooted by the operator.",
        "Pods that land there are evicted; the extender refuses the node.",
        "Wait; an operator that is stuck says why in its log.",
        sriov::drain
    ),
    cluster!(
        "sriov.allocatable",
        "Each node offers exactly the VFs that exist on it, for every resource a network names.",
        "The scheduler counts VFs that are not there, or leaves some unused.",
        "Compare the device plugin's configuration with the node, and restart its pod.",
        sriov::allocatable
    ),
    cluster!(
        "sriov.exclusive",
        "Nodes with VFs are in exclusive RDMA mode, where a network has rdmaIsolation.",
        "ib-sriov-cni refuses to attach the VF; the extender refuses the node.",
        "Set rdmaMode: exclusive in the SriovNetworkPoolConfig; the operator reboots the nodes. The mode cannot be changed while pods run.",
        sriov::exclusive
    ),
    cluster!(
        "sriov.link-type",
        "PFs behind ib-sriov networks are InfiniBand.",
        "ib-sriov-cni cannot use them.",
        "Set LINK_TYPE in the firmware and linkType: ib in the policy.",
        pfs::link_type
    ),
    cluster!(
        "sriov.link-up",
        "PFs are administratively up.",
        "Their VFs carry nothing, though the device plugin offers them.",
        "Set the link up, or repair the cable.",
        pfs::link_up
    ),
    cluster!(
        "sriov.vf-count",
        "Every PF has the number of VFs its policy asks for.",
        "The node has fewer VFs than promised, or the change waits for a reboot.",
        "Compare numVfs with totalvfs; raise NUM_OF_VFS in the firmware.",
        pfs::vf_count
    ),
    cluster!(
        "sriov.guids",
        "VFs have GUIDs of their own, where ib-kubernetes does not give them.",
        "ib-sriov-cni refuses a VF whose GUID is all zeros or all ones: the pod hangs in ContainerCreating.",
        "Let the config daemon set them again, or use ib-kubernetes.",
        pfs::guids
    ),
    cluster!(
        "sriov.shared-plugin",
        "No node with VFs offers shared RDMA devices (rdma/*).",
        "The shared device plugin cannot work in exclusive mode, and the two undermine each other; the extender refuses the node.",
        "Take the node out of the shared plugin's selector.",
        sriov::shared_plugin
    ),
    cluster!(
        "networks.readable",
        "Every NetworkAttachmentDefinition and SpiderMultusConfig can be read.",
        "Pods of its profile are denied.",
        "Correct the field that is named.",
        networks::readable
    ),
    cluster!(
        "networks.made",
        "Every SpiderMultusConfig has become the NetworkAttachmentDefinition of its name (or of multus.spidernet.io/cr-name), and that says the same.",
        "Multus does not find the network, or finds another one.",
        "Read the controller's log; remove a NetworkAttachmentDefinition that somebody else made.",
        networks::made
    ),
    cluster!(
        "networks.profiles",
        "There is a profile, and each of its rails has a resource and a number of its own.",
        "Within one resource nothing ties a network to a PF: two rails may get VFs of the same one.",
        "Annotate the SpiderMultusConfigs, and give each rail a resource.",
        networks::profiles
    ),
    cluster!(
        "networks.resources",
        "Some node offers every resource that a network names.",
        "Pods of that network wait for ever.",
        "Make prefix and name the same in network and policy.",
        networks::resources
    ),
    cluster!(
        "networks.links",
        "ib-sriov networks turn the link on, and their pkey is such as ib-kubernetes reads (0x and hexadecimal digits, at most 0x7fff).",
        "No packet passes, or the pod is never configured.",
        "Correct link_state and pkey.",
        networks::links
    ),
    cluster!(
        "pools.readable",
        "Every SpiderIPPool and SpiderReservedIP can be read.",
        "The pool gives no address.",
        "Correct the field that is named.",
        pools::readable
    ),
    cluster!(
        "pools.named",
        "Every pool that a network names exists.",
        "Every pod of that network fails in its sandbox.",
        "Create the pool, or correct the name.",
        pools::named
    ),
    cluster!(
        "pools.free",
        "Every network finds a free address, on every node where pools are tied to nodes.",
        "Pods wait until addresses are released.",
        "Add addresses to the pool, or find out who holds them.",
        pools::free
    ),
    cluster!(
        "pools.counters",
        "What pools say they have handed out equals what they have recorded.",
        "Spiderpool's books are wrong; we count records, so that placement is not affected.",
        "Restart Spiderpool's controller, which counts anew.",
        pools::counters
    ),
    cluster!(
        "pools.records",
        "Every address that is recorded as taken belongs to a pod that exists.",
        "Addresses have leaked, or are about to be collected (within ten minutes).",
        "Wait for the collector; then remove the SpiderEndpoint that is stuck.",
        pools::records
    ),
    cluster!(
        "pools.subnets",
        "Every SpiderSubnet can be read and has addresses left for pools, and Spiderpool cuts pools from it (enableSpiderSubnet).",
        "Applications that name the subnet get no pool, and their pods wait.",
        "Widen the subnet, remove pools that nobody uses, or switch the feature on.",
        pools::subnets
    ),
    cluster!(
        "pools.rails",
        "Each rail of a profile draws from pools of its own.",
        "Spiderpool gives a pod that already holds an address of a pool the same one again: two rails get one address.",
        "Give each rail a pool.",
        pools::rails
    ),
    cluster!(
        "pools.namespaces",
        "No namespace names default pools that outrank those of the networks.",
        "All rails of the namespace's pods draw from those pools instead.",
        "Remove the namespace's annotations.",
        pools::namespaces
    ),
    cluster!(
        "pools.families",
        "We reckon with the IP families that Spiderpool hands out.",
        "Placement waits for addresses that nobody hands out, or forgets some.",
        "Set ipFamilies in our configuration as in Spiderpool's.",
        pools::families
    ),
    cluster!(
        "fabric.import",
        "What the Subnet Manager sees has been imported, and not longer ago than fabric.maxAge.",
        "Dead links are not known: pods land on rails that carry nothing. Old data only prefers. (The OpenSM of linux-rdma has no VF virtualization for ConnectX-4 and later: those fabrics need NVIDIA's OpenSM or UFM. While no Subnet Manager is master, VFs of new pods do not come up, though every object looks healthy.)",
        "Find out whether a Subnet Manager is master, and import its dumps again.",
        fabric::import
    ),
    cluster!(
        "fabric.rails",
        "Every rail of every node with VFs is Active, and as wide and fast as its peers, by the import.",
        "The extender keeps pods off that rail.",
        "Repair the link, then import again.",
        fabric::rails
    ),
    cluster!(
        "fabric.tiers",
        "Every node with VFs carries the closest label of one known set of tiers.",
        "Such a node is in no domain: gangs that require locality never use it.",
        "Import the fabric, or name the tiers in the configuration.",
        fabric::tiers
    ),
    cluster!(
        "webhook.registered",
        "The API server asks our webhook about pods that are created.",
        "Annotations do nothing: pods start without their networks.",
        "Apply the MutatingWebhookConfiguration.",
        webhook::registered
    ),
    cluster!(
        "webhook.certificate",
        "The webhook's caBundle can be read, and is valid for another week at least.",
        "The API server does not trust the webhook: no pod that opted in can be created.",
        "Find out why the webhook does not write it; its log says.",
        webhook::certificate
    ),
    cluster!(
        "webhook.answers",
        "A pod that only our webhook denies, sent to the API server as a dry run (nothing is stored), is denied by it: the way there, and the certificate it serves, are right.",
        "No pod that opted in can be created, whatever the other rows about admission say.",
        "Do what the API server's words say: mostly it is the certificate, a network policy, or a node that is down.",
        trial::answers
    ),
    cluster!(
        "webhook.service",
        "The webhook's Service exists, has the port that is asked, and has ready endpoints.",
        "No pod that opted in can be created.",
        "Look at the webhook's pods.",
        webhook::service
    ),
    cluster!(
        "webhook.policy",
        "failurePolicy is Fail, matchConditions keep other pods away, and the webhook is asked again when others change the pod.",
        "Pods start without what they need, or all pods depend on us.",
        "Apply the MutatingWebhookConfiguration as it is shipped.",
        webhook::policy
    ),
    cluster!(
        "webhook.namespaces",
        "kube-system and our own namespace are left alone.",
        "While we are down, what we need to come up cannot be created.",
        "Exclude them in each namespaceSelector.",
        webhook::namespaces
    ),
    cluster!(
        "webhook.others",
        "Nobody else injects networks or VFs in a way that undoes ours (Spiderpool's pod webhook, network-resources-injector).",
        "Networks are overwritten, or VFs counted twice.",
        "Switch the other one off.",
        webhook::others
    ),
    cluster!(
        "scheduler.configuration",
        "A kube-scheduler's configuration (in a ConfigMap, or given by --scheduler-config) asks our extender.",
        "Pods are placed without a look at VFs, pools and fabric.",
        "Use what `pointsman scheduler-config` prints.",
        scheduler::configuration
    ),
    cluster!(
        "scheduler.profile",
        "That scheduler has the profile pods are put on (scheduler.name in dedicated mode, else default-scheduler).",
        "Pods that opted in wait for a scheduler that does not exist.",
        "Make both names the same.",
        scheduler::profile
    ),
    cluster!(
        "scheduler.cache-capable",
        "nodeCacheCapable is true.",
        "Every pod fails with an error: the other form breaks the scheduler's own scoring.",
        "Set it, and restart kube-scheduler.",
        scheduler::cache_capable
    ),
    cluster!(
        "scheduler.sampling",
        "percentageOfNodesToScore is 100 in the profile, or the cluster has fewer than 100 nodes.",
        "We are shown a sample of the nodes: the only one that fits, or a gang's domain, can be missed.",
        "Set it, and restart kube-scheduler.",
        scheduler::sampling
    ),
    cluster!(
        "scheduler.resources",
        "managedResources hold every VF resource a network names (or none, with a scheduler of our own), and the scheduler goes on counting them.",
        "Pods are not checked, or VFs are given twice.",
        "Use what `pointsman scheduler-config` prints.",
        scheduler::resources
    ),
    cluster!(
        "scheduler.transport",
        "The extender is asked over loopback, or over HTTPS with a CA.",
        "kube-scheduler believes anybody: without a CA it verifies nothing.",
        "Run the extender beside the scheduler, or set tlsConfig.caFile.",
        scheduler::transport
    ),
    cluster!(
        "scheduler.verbs",
        "filter and prioritize are ours, exactly one extender binds, the weight is at least 10, and we are not ignorable.",
        "kube-scheduler refuses to start, or goes its own way.",
        "Use what `pointsman scheduler-config` prints.",
        scheduler::verbs
    ),
    cluster!(
        "rbac.webhook",
        "The webhook's service account has every right the webhook uses.",
        "It never gets ready, or cannot keep its certificate.",
        "Install the manifests again, or apply the role that the row prints.",
        rbac::webhook
    ),
    cluster!(
        "rbac.extender",
        "The extender's service account has every right the extender uses.",
        "It never gets ready, or cannot bind.",
        "Install the manifests again, or apply the role that the row prints.",
        rbac::extender
    ),
    cluster!(
        "rbac.caller",
        "You may read everything this check looks at (asked of the API server for you).",
        "Rows stay unknown.",
        "Apply the role that the row prints, or ask somebody who may.",
        rbac::caller
    ),
    pod!(
        "pod.node",
        "The pod is bound to the node its placement record names.",
        "What was reserved for it is elsewhere.",
        "Delete the pod; its controller makes it again.",
        pod::node
    ),
    pod!(
        "pod.domain",
        "The pod's node is in the fabric domain its gang was promised.",
        "The gang is spread over the fabric.",
        "Import the fabric again, or restart the gang.",
        pod::domain
    ),
    pod!(
        "pod.networks",
        "Multus attached every network the pod lists, on the interface it lists (network-status).",
        "The pod lacks a rail.",
        "Read the events of its sandbox; look at its node.",
        pod::networks
    ),
    pod!(
        "pod.vfs",
        "The pod requests a VF for every network that needs one, and each network has a VF of its own (device-info).",
        "Networks without a VF fail; two on one VF disturb each other.",
        "Create the pod again through the webhook.",
        pod::vfs
    ),
    pod!(
        "pod.addresses",
        "Spiderpool gave the pod one address on every interface, from the pools that were promised (SpiderEndpoint).",
        "Pods hang in ContainerCreating, or two rails share an address.",
        "Read the SpiderEndpoint and the events of its sandbox.",
        pod::addresses
    ),
];
