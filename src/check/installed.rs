//! Rows about what is installed: kinds, and the workloads behind them.

use super::facts::{Facts, Listing};
use super::finding::Finding;
use super::fleet::{asked, fleet};
use super::source::Source;
use super::tally::{Tally, Words, count, few};

/// Spiderpool's kinds are served in the version we read.
pub(super) fn spiderpool_kinds(facts: &Facts) -> Finding {
    kinds(
        facts,
        "Spiderpool's CRDs",
        &[
            Source::Pool,
            Source::ReservedIp,
            Source::MultusConfig,
            Source::PodEndpoint,
        ],
        "# its chart brings them\n\
         helm upgrade --install spiderpool spiderpool/spiderpool --namespace spiderpool --create-namespace --reuse-values",
    )
}

/// Multus' kind is served in the version we read.
pub(super) fn multus_kinds(facts: &Facts) -> Finding {
    kinds(
        facts,
        "Multus' CRD",
        &[Source::Attachment],
        "# Spiderpool's chart brings it\n\
         helm upgrade --install spiderpool spiderpool/spiderpool --namespace spiderpool --create-namespace --reuse-values \
         --set multus.multusCNI.install=true",
    )
}

/// The SR-IOV operator's kinds are served in the version we read.
pub(super) fn sriov_kinds(facts: &Facts) -> Finding {
    kinds(
        facts,
        "the SR-IOV operator's CRDs",
        &[Source::NodeState, Source::Policy, Source::PoolConfig],
        "# Spiderpool's chart can bring the operator\n\
         helm upgrade --install spiderpool spiderpool/spiderpool --namespace spiderpool --create-namespace --reuse-values \
         --set sriov.install=true",
    )
}

/// The SR-IOV operator is recent enough to tell and to set RDMA modes, and its kinds are its own.
///
/// Where an older one runs, as Spiderpool's chart brings it, nodes may be in exclusive mode all the same (set at boot), so
/// that is not known; where one that tells modes runs and its kinds drop them, something is wrong.
pub(super) fn sriov_modes(facts: &Facts) -> Finding {
    const SUBJECT: &str = "version of the SR-IOV operator";
    let has = |source: Source, field: &str| {
        let name = source.kubectl();
        let definition = facts
            .definitions
            .iter()
            .find(|definition| definition.name() == name)?;
        let mut versions = definition.body.spec.versions.iter();
        let pointer = format!(
            "/openAPIV3Schema/properties/{}",
            field.replace('.', "/properties/")
        );
        Some(versions.any(|version| version.schema.pointer(&pointer).is_some()))
    };
    let fields = [
        (Source::NodeState, "status.system.rdmaMode"),
        (Source::PoolConfig, "spec.rdmaMode"),
    ];
    let images = operator_images(facts);
    let image = if images.is_empty() {
        String::new()
    } else {
        format!("{}: ", images.join(", "))
    };
    let lacking: Vec<String> = fields
        .iter()
        .filter(|(source, field)| has(*source, field) == Some(false))
        .map(|(source, field)| format!("{} has no {field}", source.kind()))
        .collect();
    if !lacking.is_empty() {
        let lacking = lacking.join(", ");
        return match images.iter().find_map(|image| tells_modes(image)) {
            Some(version) => Finding::no(
                SUBJECT,
                format!("{image}{lacking}, so what this operator tells and is told is dropped"),
                format!(
                    "# Helm does not change CRDs that are there: apply those of the operator's own chart\n\
                     helm show crds oci://ghcr.io/k8snetworkplumbingwg/sriov-network-operator-chart --version {version} \
                     | kubectl apply --server-side --force-conflicts -f -"
                ),
            ),
            None => Finding::unknown(
                SUBJECT,
                format!(
                    "{image}{lacking} (an operator before 1.4, as Spiderpool's chart brings it): nodes may be in exclusive \
                     mode, but nothing in the cluster tells it"
                ),
                format!(
                    "# on each node: is it in exclusive mode?\n\
                     {LOOK_AT_NODE}\n\
                     # where it is not, then reboot the node: the mode cannot be changed while pods run\n\
                     kubectl debug node/NODE -it --image=busybox -- chroot /host sh -c \
                     'echo options ib_core netns_mode=0 > /etc/modprobe.d/ib_core.conf'\n\
                     # or let the operator do and tell it: 1.4 or later, with the CRDs of its own chart"
                ),
            ),
        };
    }
    let told: Vec<&str> = fields
        .iter()
        .filter(|(source, field)| has(*source, field) == Some(true))
        .map(|(_, field)| *field)
        .collect();
    if told.len() < fields.len() {
        return Finding::unknown(
            SUBJECT,
            format!("{image}its definitions are not known"),
            "kubectl get crd sriovnetworknodestates.sriovnetwork.openshift.io \
             sriovnetworkpoolconfigs.sriovnetwork.openshift.io -o yaml",
        );
    }
    Finding::yes(SUBJECT, format!("{image}{}", told.join(", ")))
}

/// Name and tag of each image in the SR-IOV operator's Deployment.
fn operator_images(facts: &Facts) -> Vec<String> {
    facts
        .workloads
        .iter()
        .filter(|(source, workload)| *source == Source::Deployment && is_called(workload.name(), OPERATOR))
        .flat_map(|(_, workload)| &workload.body.spec.template.spec.containers)
        .map(|container| container.image.rsplit('/').next().unwrap_or_default().to_owned())
        .filter(|image| !image.is_empty())
        .collect()
}

/// The version of the SR-IOV operator in an image's tag (`v1.6.0`), where it is one that tells modes: 1.4 or later.
fn tells_modes(image: &str) -> Option<&str> {
    let (_, tag) = image.split('@').next()?.rsplit_once(':')?;
    let version = tag.trim_start_matches('v');
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return None;
    };
    ((major, minor) >= (1, 4)).then_some(version)
}

/// What a node with VFs cannot do without runs on each of them.
pub(super) fn daemons(facts: &Facts) -> Finding {
    const SUBJECT: &str = "daemons on nodes with VFs";
    const WANTED: [&str; 4] = [
        "spiderpool-agent",
        "multus",
        "sriov-network-config-daemon",
        "sriov-device-plugin",
    ];
    if let Some(unknown) = facts.unless_known(&[Source::Node, Source::DaemonSet, Source::Pod], SUBJECT) {
        return unknown;
    }
    // What is not installed as a DaemonSet has its row above.
    let sets: Vec<(&str, &str)> = facts
        .workloads
        .iter()
        .filter(|(source, _)| *source == Source::DaemonSet)
        .filter_map(|(_, set)| {
            Some((
                *WANTED.iter().find(|word| set.name().contains(**word))?,
                set.name(),
            ))
        })
        .collect();
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, _) in fleet(facts, &asked(facts)) {
        let runs = |set: &str| {
            facts
                .daemons
                .get(set)
                .is_some_and(|nodes| nodes.contains(&node.name))
        };
        let missing: Vec<String> = WANTED
            .iter()
            .filter(|word| {
                let mut of_word = sets.iter().filter(|(of, _)| of == *word).peekable();
                of_word.peek().is_some() && !of_word.any(|(_, set)| runs(set))
            })
            .map(|word| format!("no ready {word}"))
            .collect();
        tally.judge(node.name.as_str(), &missing);
    }
    if sets.is_empty() {
        return Finding::unknown(
            SUBJECT,
            "none of them is a DaemonSet",
            "kubectl get daemonsets -A",
        );
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "agent, Multus, config daemon and device plugin are ready",
            nothing: "no node has VFs of a network",
        },
        |first| {
            let node = first.unwrap_or("NODE");
            format!(
                "# what runs there, and what its DaemonSets select and tolerate\n\
                 kubectl get pods -A -o wide --field-selector spec.nodeName={node} | grep -e spiderpool -e multus -e sriov\n\
                 kubectl get daemonsets -A -o wide | grep -e spiderpool -e multus -e sriov\n\
                 kubectl get node {node} -o jsonpath='{{.spec.taints}}'"
            )
        },
    )
}

/// Spiderpool runs.
pub(super) fn spiderpool_runs(facts: &Facts) -> Finding {
    runs(
        facts,
        "Spiderpool",
        &[
            (Source::Deployment, "spiderpool-controller"),
            (Source::DaemonSet, "spiderpool-agent"),
        ],
    )
}

/// Multus runs.
pub(super) fn multus_runs(facts: &Facts) -> Finding {
    runs(facts, "Multus", &[(Source::DaemonSet, "multus")])
}

/// The SR-IOV operator, its config daemon and its device plugin run.
pub(super) fn sriov_runs(facts: &Facts) -> Finding {
    runs(
        facts,
        "the SR-IOV operator",
        &[
            (Source::Deployment, OPERATOR),
            (Source::DaemonSet, "sriov-network-config-daemon"),
            (Source::DaemonSet, "sriov-device-plugin"),
        ],
    )
}

/// Each kind by its definition; where definitions are not known, objects of the kind speak for it.
fn kinds(facts: &Facts, subject: &str, sources: &[Source], remedy: &str) -> Finding {
    let (mut served, mut wrong, mut unsure) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        let (_, version, _) = source.api();
        let name = source.kubectl();
        let definition = facts
            .definitions
            .iter()
            .find(|definition| definition.name() == name);
        if let Some(definition) = definition {
            let versions = &definition.body.spec.versions;
            let is_served = versions.iter().any(|known| known.served && known.name == version);
            if is_served {
                served.push(format!("{} {version}", source.api().2));
            } else {
                let known: Vec<&str> = versions.iter().map(|known| known.name.as_str()).collect();
                wrong.push(format!("{name} serves {}, not {version}", known.join(", ")));
            }
        } else if facts.knows(*source) {
            served.push(format!("{} {version}", source.api().2));
        } else if facts.knows(Source::Definition) || *facts.listing(*source) == Listing::Absent {
            wrong.push(format!("there is no {name}"));
        } else {
            unsure.push(name);
        }
    }
    if !wrong.is_empty() {
        Finding::no(subject, wrong.join("; "), remedy)
    } else if unsure.is_empty() {
        Finding::yes(subject, served.join(", "))
    } else {
        Finding::unknown(
            subject,
            format!("neither a definition nor an object of {}", unsure.join(", ")),
            format!("kubectl get crd {}", unsure.join(" ")),
        )
    }
}

/// Shows the RDMA mode of a node on itself.
const LOOK_AT_NODE: &str = "kubectl debug node/NODE -it --image=busybox -- chroot /host rdma system show";

/// What the SR-IOV operator's Deployment is called, by its own chart and by Spiderpool's.
const OPERATOR: &str = "sriov-network-operator|sriov-operator";

/// Whether a name contains one of the words.
fn is_called(name: &str, words: &str) -> bool {
    words.split('|').any(|word| name.contains(word))
}

/// Each workload whose name contains the word is there with all its pods ready.
fn runs(facts: &Facts, subject: &str, wanted: &[(Source, &str)]) -> Finding {
    let kinds: Vec<Source> = wanted.iter().map(|(kind, _)| *kind).collect();
    if kinds.iter().any(|kind| !facts.knows(*kind))
        && let Some(unknown) = facts.unless_known(&kinds, subject)
    {
        return unknown;
    }
    let (mut ready, mut wrong, mut remedies) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, word) in wanted {
        let found: Vec<_> = facts
            .workloads
            .iter()
            .filter(|(source, workload)| source == kind && is_called(workload.name(), word))
            .map(|(_, workload)| workload)
            .collect();
        if found.is_empty() {
            let word = word.split('|').next().unwrap_or(word);
            wrong.push(format!("there is no {} {word}", kind.kind()));
            remedies.push(format!("kubectl get {} -A | grep {word}", kind.kubectl()));
        }
        for workload in found {
            let status = &workload.body.status;
            let (there, asked) = match kind {
                Source::DaemonSet => (status.number_ready, status.desired_number_scheduled),
                _ => (status.ready_replicas, workload.body.spec.replicas.unwrap_or(1)),
            };
            let told = format!("{} {}: {there} of {asked} ready", kind.kind(), workload.at());
            if there >= asked && asked > 0 {
                ready.push(told);
            } else {
                let (namespace, name) = (workload.namespace(), workload.name());
                remedies.push(format!(
                    "kubectl -n {namespace} get pods -o wide | grep {name}\n\
                     kubectl -n {namespace} describe {} {name}",
                    kind.kubectl()
                ));
                wrong.push(told);
            }
        }
    }
    if wrong.is_empty() {
        Finding::yes(subject, few(&ready))
    } else {
        Finding::no(
            subject,
            format!("{}: {}", count(wrong.len(), "workload"), few(&wrong)),
            remedies.join("\n"),
        )
    }
}
