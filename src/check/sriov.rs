//! Rows about VFs: the SR-IOV operator's policies and states, against what nodes offer.

use std::collections::BTreeMap;

use super::facts::{Facts, Listing};
use super::finding::{Finding, apply};
use super::fleet::{Asked, asked, fleet};
use super::source::Source;
use super::tally::{Tally, Words, count};
use crate::decide::names::ResourceName;
use crate::decide::node::{Node, RdmaMode, SriovFacts, Sync};
use crate::decide::settings::NodeStatePolicy;

const STATES: &[Source] = &[Source::Node, Source::NodeState];

/// Policies select nodes, and give them the VFs they promise.
pub(super) fn policies(facts: &Facts) -> Finding {
    const SUBJECT: &str = "SriovNetworkNodePolicies";
    if let Some(unknown) = facts.unless_known(&[Source::Policy, Source::Node, Source::NodeState], SUBJECT) {
        return unknown;
    }
    let infiniband: Vec<&str> = asked_for_infiniband(facts);
    let mut tally = Tally::telling(facts.node.is_some());
    for policy in &facts.policies {
        let spec = &policy.body.spec;
        let selected: Vec<&Node> = facts
            .nodes()
            .map(AsRef::as_ref)
            .filter(|node: &&Node| {
                spec.node_selector
                    .iter()
                    .all(|(key, value)| node.labels.get(key) == Some(value))
            })
            .collect();
        if facts.node.is_some() && selected.is_empty() {
            continue;
        }
        let without = selected.iter().filter(|node| {
            facts.state(node).is_some_and(|state| {
                !state.groups.iter().any(|group| {
                    group.resource.as_deref() == Some(spec.resource_name.as_str()) && group.vfs > 0
                })
            })
        });
        let mut problems = Vec::new();
        if selected.is_empty() {
            problems.push("selects no node".to_owned());
        }
        let without: Vec<&str> = without.map(|node| node.name.as_str()).collect();
        if let Some(example) = without.first() {
            problems.push(format!(
                "{} of {} it selects, {example} among them, without VFs of {}",
                without.len(),
                count(selected.len(), "node"),
                spec.resource_name
            ));
        }
        if spec.num_vfs == 0 {
            problems.push("numVfs is 0".to_owned());
        }
        let is_ib = spec
            .link_type
            .as_deref()
            .is_some_and(|kind| kind.eq_ignore_ascii_case("ib"));
        if infiniband.contains(&spec.resource_name.as_str()) && !is_ib {
            problems.push("linkType is not ib, though an ib-sriov network uses its resource".to_owned());
        }
        tally.judge(&policy.at(), &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "policy",
            sound: "VFs on every node they select",
            nothing: "there is no SriovNetworkNodePolicy",
        },
        |first| {
            let Some((namespace, name)) = first.and_then(|at| at.split_once('/')) else {
                return policy_example(facts.operator_namespace());
            };
            format!(
                "# what it selects, and why the daemon has not made the VFs\n\
                 kubectl -n {namespace} get sriovnetworknodepolicy {name} -o yaml\n\
                 kubectl -n {namespace} get sriovnetworknodestates -o custom-columns=\
                 NODE:.metadata.name,SYNC:.status.syncStatus,ERROR:.status.lastSyncError\n\
                 # InfiniBand VFs need\n\
                 kubectl -n {namespace} patch sriovnetworknodepolicy {name} --type merge -p \
                 '{{\"spec\":{{\"linkType\":\"ib\",\"isRdma\":true,\"deviceType\":\"netdevice\"}}}}'"
            )
        },
    )
}

/// Every node with VFs has a state that can be read.
pub(super) fn node_states(facts: &Facts) -> Finding {
    const SUBJECT: &str = "SriovNetworkNodeStates";
    if facts.configuration.decisions.node_state == NodeStatePolicy::Trust {
        return Finding::yes(
            SUBJECT,
            "none is required: nodeState is trust in the configuration",
        );
    }
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    if matches!(facts.listing(Source::NodeState), Listing::Unknown(_)) {
        return facts
            .unless_known(&[Source::NodeState], SUBJECT)
            .unwrap_or_else(|| Finding::unknown(SUBJECT, "they are not known", ""));
    }
    let asked = asked(facts);
    let required = facts.configuration.decisions.node_state == NodeStatePolicy::Require
        || !facts.snapshot.sriov.is_empty();
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, _) in fleet(facts, &asked) {
        match facts.snapshot.sriov.get(&node.name).map(|state| &state.reading) {
            Some(Ok(_)) => tally.sound(),
            Some(Err(problems)) => tally.wrong(node.name.as_str(), problems.to_string()),
            None if required => tally.wrong(node.name.as_str(), "none"),
            None => tally.unsure(node.name.as_str(), "none"),
        }
    }
    let namespace = facts.operator_namespace();
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "a state for each",
            nothing: NOTHING,
        },
        |first| {
            let node = first.unwrap_or("NODE");
            format!(
                "# does the config daemon run there?\n\
                 kubectl -n {namespace} get pods -l app=sriov-network-config-daemon --field-selector spec.nodeName={node} -o wide\n\
                 kubectl -n {namespace} get sriovnetworknodestate {node} -o yaml"
            )
        },
    )
}

/// What policies ask for is in force.
pub(super) fn in_sync(facts: &Facts) -> Finding {
    let words = Words {
        subject: "SR-IOV configuration of nodes",
        thing: "node with VFs",
        sound: "syncStatus is Succeeded",
        nothing: NOTHING,
    };
    each_state(
        facts,
        words,
        |_, _, state| {
            Ok(match &state.sync {
                Sync::Succeeded => Vec::new(),
                Sync::Other(status) => vec![format!("syncStatus {status}")],
            })
        },
        |namespace, node| state_and_log("syncStatus", namespace, node),
    )
}

/// No node is being drained or rebooted by the operator.
pub(super) fn drain(facts: &Facts) -> Finding {
    let words = Words {
        subject: "drains and reboots by the SR-IOV operator",
        thing: "node with VFs",
        sound: "none is under way",
        nothing: NOTHING,
    };
    each_state(
        facts,
        words,
        |_, node, state| {
            let requested = node
                .drain_requested
                .then(|| "drain or reboot requested on the node".to_owned());
            Ok(state.drain.iter().cloned().chain(requested).collect())
        },
        |namespace, node| state_and_log("lastSyncError", namespace, node),
    )
}

/// A node offers as many VFs as it has.
pub(super) fn allocatable(facts: &Facts) -> Finding {
    let words = Words {
        subject: "VFs that the device plugin offers",
        thing: "node with VFs",
        sound: "allocatable equals the VFs that exist, for every resource a network names",
        nothing: NOTHING,
    };
    each_state(facts, words, differing_counts, |namespace, node| {
        format!(
            "# what the device plugin was told, and what it found\n\
             kubectl -n {namespace} get configmap device-plugin-config -o jsonpath='{{.data.{key}}}'\n\
             kubectl -n {namespace} logs -l app=sriov-device-plugin --tail=50\n\
             # start it again on the node\n\
             kubectl -n {namespace} delete pod -l app=sriov-device-plugin --field-selector spec.nodeName={node}",
            key = node.replace('.', "\\.")
        )
    })
}

/// The resources of which a node offers another number of VFs than it has.
fn differing_counts(
    asked: &BTreeMap<ResourceName, Asked>,
    node: &Node,
    state: &SriovFacts,
) -> Result<Vec<String>, &'static str> {
    if state.groups.iter().any(|group| group.resource.is_none()) {
        return Err("its state does not say which PF serves which resource");
    }
    Ok(asked
        .iter()
        .filter(|(_, asked)| asked.vf)
        // Under another prefix it is on offer: the network that names it so is told elsewhere.
        .filter(|(resource, _)| {
            let twin = |other: &ResourceName| other != *resource && other.suffix() == resource.suffix();
            node.offers.count(resource) > 0
                || !node
                    .offers
                    .iter()
                    .any(|(other, amount)| amount > 0 && twin(other))
        })
        .filter_map(|(resource, _)| {
            let named = state
                .groups
                .iter()
                .filter(|group| group.resource.as_deref() == Some(resource.suffix()));
            let vfs: u32 = named.map(|group| group.vfs).sum();
            let offered = node.offers.count(resource);
            (vfs != offered).then(|| format!("{resource}: {vfs} VFs, {offered} allocatable"))
        })
        .collect())
}

/// Nodes are in exclusive RDMA mode where a network isolates RDMA devices.
pub(super) fn exclusive(facts: &Facts) -> Finding {
    const SUBJECT: &str = "exclusive RDMA mode";
    if let Some(unknown) = facts.unless_known(STATES, SUBJECT) {
        return unknown;
    }
    let asked = asked(facts);
    if !asked.is_empty() && asked.values().all(|asked| !asked.exclusive) {
        return Finding::yes(SUBJECT, "no network has rdmaIsolation, so no mode is asked for");
    }
    let told = facts.modes_are_told();
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, state) in fleet(facts, &asked) {
        match state.map(|state| state.rdma) {
            Some(RdmaMode::Exclusive) => tally.sound(),
            Some(RdmaMode::Shared) => tally.wrong(node.name.as_str(), "shared"),
            Some(RdmaMode::Unknown) if told => tally.wrong(node.name.as_str(), "mode not told"),
            Some(RdmaMode::Unknown) => tally.unsure(node.name.as_str(), "mode not told"),
            None => tally.unsure(node.name.as_str(), "no state"),
        }
    }
    let finding = tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "in exclusive mode",
            nothing: NOTHING,
        },
        |_| exclusive_remedy(facts),
    );
    // An older operator, or its CRDs from Spiderpool's chart, have no such field.
    if told {
        return finding;
    }
    let namespace = facts.operator_namespace();
    Finding {
        remedy: format!(
            "# the operator tells the mode from 1.4 on, and only with its own CRDs; on a node itself\n\
             kubectl debug node/NODE -it --image=busybox -- chroot /host rdma system show\n\
             # does the CRD have the field?\n\
             kubectl get crd sriovnetworknodestates.sriovnetwork.openshift.io -o json | grep -c rdmaMode\n\
             kubectl -n {namespace} get sriovnetworkpoolconfigs -o yaml"
        ),
        ..finding
    }
}

fn exclusive_remedy(facts: &Facts) -> String {
    let namespace = facts.operator_namespace();
    let note =
        "# the operator reboots the nodes, one after the other: the mode cannot be changed while pods run\n";
    let shared = facts
        .pool_configs
        .iter()
        .find(|config| config.body.spec.rdma_mode.as_deref() != Some("exclusive"));
    match shared {
        Some(config) => format!(
            "{note}kubectl -n {} patch sriovnetworkpoolconfig {} --type merge -p '{{\"spec\":{{\"rdmaMode\":\"exclusive\"}}}}'",
            config.namespace(),
            config.name()
        ),
        None if facts.pool_configs.is_empty() => {
            let object = format!(
                "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkPoolConfig\n\
                 metadata: {{ name: rdma, namespace: {namespace} }}\nspec:\n  \
                 nodeSelector: {{ matchLabels: {{ feature.node.kubernetes.io/network-sriov.capable: \"true\" }} }}\n  \
                 maxUnavailable: 1\n  rdmaMode: exclusive"
            );
            format!("{note}{}", apply("selects the nodes with VFs", &object))
        }
        None => format!(
            "# {} asks for it: do these nodes match its selector, and have they been rebooted?\n\
             kubectl -n {namespace} get sriovnetworkpoolconfigs -o yaml\n\
             kubectl -n {namespace} get sriovnetworknodestates -o custom-columns=\
             NODE:.metadata.name,WANTED:.spec.system.rdmaMode,IS:.status.system.rdmaMode",
            count(facts.pool_configs.len(), "SriovNetworkPoolConfig")
        ),
    }
}

/// No node with exclusive VFs offers shared RDMA devices, too.
pub(super) fn shared_plugin(facts: &Facts) -> Finding {
    const SUBJECT: &str = "shared RDMA devices on nodes with VFs";
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    let asked = asked(facts);
    let prefixes = &facts.configuration.decisions.shared_rdma_prefixes;
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, _) in fleet(facts, &asked) {
        let shared: Vec<String> = node
            .offers
            .iter()
            .filter(|(resource, amount)| {
                *amount > 0
                    && prefixes
                        .iter()
                        .any(|prefix| resource.as_str().starts_with(prefix.as_str()))
            })
            .map(|(resource, _)| format!("{} of {resource}", node.offers.count(resource)))
            .collect();
        tally.judge(node.name.as_str(), &shared);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "no shared RDMA device",
            nothing: NOTHING,
        },
        |first| {
            let node = first.unwrap_or("NODE");
            let plugin = facts
                .workloads
                .iter()
                .map(|(_, workload)| workload)
                .find(|workload| workload.name().contains("rdma-shared"));
            let (namespace, name) = plugin.map_or(("NAMESPACE", "NAME"), |plugin| (plugin.namespace(), plugin.name()));
            format!(
                "# who offers them, and how to keep it off the node\n\
                 kubectl get pods -A -o wide --field-selector spec.nodeName={node} | grep -i rdma\n\
                 kubectl -n {namespace} patch daemonset {name} --type merge -p \
                 '{{\"spec\":{{\"template\":{{\"spec\":{{\"affinity\":{{\"nodeAffinity\":\
                 {{\"requiredDuringSchedulingIgnoredDuringExecution\":{{\"nodeSelectorTerms\":[{{\"matchExpressions\":\
                 [{{\"key\":\"kubernetes.io/hostname\",\"operator\":\"NotIn\",\"values\":[\"{node}\"]}}]}}]}}}}}}}}}}}}}}'"
            )
        },
    )
}

pub(super) const NOTHING: &str = "no network names a resource with VFs, or no node has them";

/// A row about what the operator says of each node with VFs: `problems` finds what is wrong on one, or why nobody can
/// tell; `remedy` is for the operator's namespace and the first node with a problem.
pub(super) fn each_state(
    facts: &Facts,
    words: Words,
    problems: impl Fn(&BTreeMap<ResourceName, Asked>, &Node, &SriovFacts) -> Result<Vec<String>, &'static str>,
    remedy: impl Fn(&str, &str) -> String,
) -> Finding {
    if let Some(unknown) = facts.unless_known(STATES, words.subject) {
        return unknown;
    }
    let asked = asked(facts);
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, state) in fleet(facts, &asked) {
        let name = node.name.as_str();
        match state
            .ok_or("no state")
            .and_then(|state| problems(&asked, node, state))
        {
            Ok(problems) => tally.judge(name, &problems),
            Err(why) => tally.unsure(name, why),
        }
    }
    tally.finding(words, |first| {
        remedy(facts.operator_namespace(), first.unwrap_or("NODE"))
    })
}

/// What the operator and its daemon say of a node.
fn state_and_log(field: &str, namespace: &str, node: &str) -> String {
    format!(
        "# {field}, and what the daemon says\n\
         kubectl -n {namespace} get sriovnetworknodestate {node} -o \
         jsonpath='{{.status.syncStatus}} {{.status.lastSyncError}} {{.metadata.annotations}}'\n\
         kubectl -n {namespace} logs -l app=sriov-network-config-daemon --tail=50"
    )
}

/// Resources, without their prefix, that an `ib-sriov` network names.
fn asked_for_infiniband(facts: &Facts) -> Vec<&str> {
    super::fleet::networks(facts)
        .filter(|(_, attachment)| matches!(attachment.plugin, crate::decide::network::Plugin::IbSriov { .. }))
        .filter_map(|(_, attachment)| attachment.resource.as_ref())
        .map(ResourceName::suffix)
        .collect()
}

fn policy_example(namespace: &str) -> String {
    let object = format!(
        "apiVersion: sriovnetwork.openshift.io/v1\nkind: SriovNetworkNodePolicy\n\
         metadata: {{ name: rail0, namespace: {namespace} }}\nspec:\n  resourceName: ib_rail0\n  \
         nodeSelector: {{ feature.node.kubernetes.io/network-sriov.capable: \"true\" }}\n  numVfs: 8\n  \
         linkType: ib\n  deviceType: netdevice\n  isRdma: true\n  nicSelector: {{ pfNames: [ibs1] }}"
    );
    apply("one for each rail", &object)
}
