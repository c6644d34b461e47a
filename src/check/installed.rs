//! Rows about what is installed: kinds, and the workloads behind them.

use super::facts::{Facts, Listing};
use super::finding::Finding;
use super::source::{DEFINITIONS, Source};
use super::tally::{count, few};

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
    let finding = kinds(
        facts,
        "the SR-IOV operator's CRDs",
        &[Source::NodeState, Source::Policy, Source::PoolConfig],
        "# Spiderpool's chart can bring the operator\n\
         helm upgrade --install spiderpool spiderpool/spiderpool --namespace spiderpool --create-namespace --reuse-values \
         --set sriov.install=true",
    );
    let tells_mode = facts
        .definitions
        .iter()
        .find(|definition| definition.name() == DEFINITIONS[5])
        .map(|definition| {
            definition.body.spec.versions.iter().any(|version| {
                let pointer = "/openAPIV3Schema/properties/status/properties/system/properties/rdmaMode";
                version.schema.pointer(pointer).is_some()
            })
        });
    match tells_mode {
        Some(false) => Finding {
            evidence: format!(
                "{}; SriovNetworkNodeState has no status.system.rdmaMode (operator before 1.4, or Spiderpool's CRDs)",
                finding.evidence
            ),
            ..finding
        },
        _ => finding,
    }
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
            (Source::Deployment, "sriov-network-operator"),
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
            .filter(|(source, workload)| source == kind && workload.name().contains(word))
            .map(|(_, workload)| workload)
            .collect();
        if found.is_empty() {
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
