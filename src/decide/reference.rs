//! Every annotation and label that people may write or will find, described once: `docs/annotations.md` is made from
//! this, and a test keeps it so.

use super::annotation;
use super::mutation::gang;
use super::policy;

/// One key, or several that mean the same.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The keys.
    pub keys: Vec<&'static str>,
    /// What may be written, or what is written.
    pub value: &'static str,
    /// What it means, and what holds without it.
    pub meaning: &'static str,
    /// A value.
    pub example: &'static str,
}

/// Keys that belong together.
#[derive(Clone, Debug)]
pub struct Section {
    /// What they are and who writes them where.
    pub title: &'static str,
    /// What is to be known of all of them.
    pub about: &'static str,
    /// The keys.
    pub entries: Vec<Entry>,
}

/// The whole reference, in the order in which it is read.
#[must_use]
pub fn sections() -> Vec<Section> {
    vec![
        Section {
            title: "On pods, pod templates and namespaces",
            about: "A namespace's annotations are defaults for its pods, key by key; the pod's own win. They reach pods \
                    without an annotation of their own when the namespace carries the label `pointsman.io/inject: enabled`. \
                    Any other key of this domain is denied, with the list of these.",
            entries: policy_entries(),
        },
        Section {
            title: "On networks",
            about: "On a NetworkAttachmentDefinition, or on the SpiderMultusConfig it is made from. What cannot be read is \
                    refused when it is written.",
            entries: network_entries(),
        },
        Section {
            title: "Keys of others that are read",
            about: "So that what works under Multus, Spiderpool, network-resources-injector, Kueue or another gang \
                    scheduler works here.",
            entries: foreign_entries()
                .into_iter()
                .chain(foreign_gang_entries())
                .collect(),
        },
        Section {
            title: "Written by Pointsman",
            about: "For programs and people to read. A pod that is created with a record of a placement is denied; a record \
                    of an injection is replaced by ours.",
            entries: written_entries(),
        },
    ]
}

fn entry(keys: &[&'static str], value: &'static str, meaning: &'static str, example: &'static str) -> Entry {
    Entry {
        keys: keys.to_vec(),
        value,
        meaning,
        example,
    }
}

fn policy_entries() -> Vec<Entry> {
    let policy = |key, meaning, example| {
        entry(
            &[key],
            policy::expected(key).unwrap_or_default(),
            meaning,
            example,
        )
    };
    vec![
        policy(
            annotation::PROFILE,
            "Attach every network that belongs to this profile, with one VF for each. Without it nothing is attached.",
            "eight-rails",
        ),
        policy(
            annotation::INJECT,
            "`true` without a profile: complete what the pod's own networks need. `false`: leave this pod alone, whatever \
             its namespace says.",
            "true",
        ),
        policy(
            annotation::RAILS,
            "How many of the profile's rails; fewer than all are those with the most free VFs, ties by rail order. Without \
             it all.",
            "4",
        ),
        policy(
            annotation::CONTAINER,
            "The container, or init container with `restartPolicy: Always`, that gets the VFs. Without it the first that \
             asks for an accelerator, else the first that has such VFs, else the first.",
            "trainer",
        ),
        policy(
            annotation::LOCALITY,
            "Where on the fabric the pod's gang may be: inside one domain of the tier or not at all, inside one if that can \
             be, or anywhere. Without it what the configuration says, `preferred=leaf-group` unless changed.",
            "required=leaf-group",
        ),
        policy(
            annotation::GANG,
            "Pods of one namespace with this value belong together. Without it the gang is known from whoever made the pod; \
             see below.",
            "train-1",
        ),
        policy(
            annotation::GANG_SIZE,
            "How many pods the gang has. Without it the parallelism of the pod's Job, or what the labels below say.",
            "16",
        ),
    ]
}

fn network_entries() -> Vec<Entry> {
    vec![
        entry(
            &[annotation::PROFILE],
            "names of profiles, separated by commas",
            "The profiles this network belongs to.",
            "eight-rails, four-rails",
        ),
        entry(
            &[annotation::RAIL],
            "a number from 0",
            "Its position among the profile's rails. Without it the natural order of names: `rail2` before `rail10`.",
            "0",
        ),
    ]
}

fn foreign_entries() -> Vec<Entry> {
    vec![
        entry(
            &[annotation::NETWORKS],
            "Multus' list of networks, as JSON or separated by commas",
            "The pod's own networks: kept as they are, byte for byte, with the profile's appended. Where Multus keeps namespaces \
             apart, `multus: {namespaceIsolation: true}` in the configuration lets a network it would refuse be denied.",
            "storage/nfs@data",
        ),
        entry(
            &[annotation::DEFAULT_NETWORK],
            "one network, looked for in Multus' own namespace",
            "Its VF is counted. An `ib-sriov` network is denied here, because Multus passes it no GUID.",
            "kube-system/calico",
        ),
        entry(
            &[annotation::RESOURCE_NAME],
            "on a network: a resource with its prefix",
            "The device-plugin resource of which the pod gets one for each network; further keys by \
             `furtherResourceNameKeys` in the configuration.",
            "spidernet.io/ib_rail0",
        ),
        entry(
            &[annotation::NODE_SELECTOR],
            "on a network: KEY=VALUE or KEY",
            "A label that the pod's node must have; added to the pod's `nodeSelector`. What contradicts it is denied.",
            "rack=a",
        ),
        entry(
            &[
                annotation::SPIDERPOOL_RDMA_INJECT,
                annotation::SPIDERPOOL_NETWORK_INJECT,
            ],
            "a name",
            "Spiderpool's own keys, on pods, namespaces and SpiderMultusConfigs: a profile where ours is absent. With a \
             warning, because Spiderpool's webhook would act on them, too.",
            "eight-rails",
        ),
        entry(
            &[annotation::SPIDERPOOL_CR_NAME],
            "on a SpiderMultusConfig: a name",
            "The name of the NetworkAttachmentDefinition that is made from it.",
            "rail0-ib",
        ),
        entry(
            &[
                annotation::IPAM_POOLS,
                annotation::IPAM_POOL,
                annotation::IPAM_SUBNETS,
                annotation::IPAM_SUBNET,
                annotation::IPAM_DEFAULT_V4,
                annotation::IPAM_DEFAULT_V6,
            ],
            "as Spiderpool documents them, on pods and (the defaults) on namespaces",
            "Which pools an interface may get its addresses from, by Spiderpool's own precedence. Choices that can never \
             work are denied: a pool that does not exist or is of the wrong family, one pool for several rails, a list \
             that leaves an interface out or names one that the pod does not have. Where it lists an interface that takes \
             no address from Spiderpool, that is said, as an address is taken all the same; `eth0` counts as \
             Spiderpool's where it is listed. Where the pools of two rails only overlap, nodes on which both could get \
             the same address are refused.",
            r#"[{"interface":"net1","ipv4":["rail0"]}]"#,
        ),
    ]
}

/// What other gang schedulers and controllers say of a pod's gang.
fn foreign_gang_entries() -> Vec<Entry> {
    let groups: Vec<&str> = gang::GROUP_LABELS
        .iter()
        .chain(&gang::GROUP_ANNOTATIONS)
        .copied()
        .collect();
    vec![
        entry(
            &groups,
            "a name",
            "Labels, and Volcano's and KAI's annotations, that name the pod's gang, where ours does not. So does \
             `spec.schedulingGroup` of Kubernetes' own PodGroups, whose locality is left to the scheduler.",
            "train-1",
        ),
        entry(
            &[gang::GROUP_SIZE, gang::LEADER_WORKER_SIZE],
            "a number",
            "The size of such a gang.",
            "8",
        ),
        entry(
            &[gang::JOB_SET, gang::LEADER_WORKER_SET, gang::TRAINING_JOB],
            "a name",
            "Labels of a JobSet's, LeaderWorkerSet's or Kubeflow training job's pods (PyTorchJob, MPIJob): their gang. The \
             pods of a Job or StatefulSet are known by their owner.",
            "train",
        ),
        entry(
            &gang::REQUIRED_ALIASES,
            "the label key of a tier",
            "Kueue's and KAI's ways to require a tier, where our key is absent.",
            "fabric.topograph.run/tier-0",
        ),
        entry(
            &gang::PREFERRED_ALIASES,
            "the label key of a tier",
            "And to prefer one.",
            "fabric.topograph.run/tier-0",
        ),
        entry(
            &[gang::UNCONSTRAINED_ALIAS],
            "true",
            "And to ask for none.",
            "true",
        ),
    ]
}

fn written_entries() -> Vec<Entry> {
    vec![
        entry(
            &[annotation::INJECTED],
            "annotation of pods, JSON",
            "What the webhook did: version, profile, the rails with network, resource and interface, and the container.",
            r#"{"container":"trainer","profile":"one-rail","rails":[{"interface":"net1","network":"spiderpool/rail0","resource":"spidernet.io/ib_rail0"}],"version":1}"#,
        ),
        entry(
            &[annotation::GANG],
            "label of pods",
            "The gang, resolved; with the annotations for its size and locality.",
            "train",
        ),
        entry(
            &[annotation::PLACEMENT],
            "annotation of pods, JSON, written with the Binding",
            "The node, the gang's domain, and the pools reserved for each interface.",
            r#"{"node":"n1","domain":"spine-1/su-01","position":"spine-1/su-01/0012/n1","pools":{"net1":["rail0"]}}"#,
        ),
        entry(
            &[annotation::FABRIC_POSITION],
            "annotation of pods, written with the Binding",
            "Where on the fabric the pod's node is, in a form that sorts neighbors next to each other. Its container reads \
             it as `POINTSMAN_FABRIC_POSITION`, unless it has a variable of that name.",
            "spine-1/su-01/0012/n1",
        ),
        entry(
            &[annotation::NUDGED],
            "annotation of pods that wait",
            "A change of it makes the scheduler try the pod again.",
            "2026-11-24T10:00:00Z",
        ),
        entry(
            &[annotation::LEAF_GROUP, annotation::SPINE, annotation::CORE],
            "labels of nodes",
            "The node's domains on the fabric, the closest first.",
            "su-1",
        ),
        entry(
            &[annotation::FABRIC],
            "annotation of nodes, JSON",
            "What the fabric import found of the node's rails.",
            r#"{"version":1,"rails":[{"rail":0,"hca":"mlx5_0","guid":"0xa088c20300001001","leaf":"0xfc6a1c0300000100","port":12,"state":"Active","width":"4x","speed":"HDR","source":"guid"}]}"#,
        ),
        entry(
            &[annotation::FABRIC_NODES, annotation::FABRIC_DARK],
            "annotations of the Lease `pointsman-fabric`",
            "How many nodes the last import knew, and how many of their rails were dark.",
            "64",
        ),
    ]
}
