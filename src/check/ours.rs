//! Our own workloads in the cluster: what each of them does, and by which identity.

use super::facts::Facts;
use super::finding::Finding;
use super::objects::{ContainerSpec, Object, Workload};
use super::source::Source;
use super::tally::few;

/// How to install what is missing.
pub(super) const INSTALL: &str = "# the manifests of this release\nkubectl apply -f manifests/";

/// A part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Admission.
    Webhook,
    /// Placement.
    Extender,
}

impl Part {
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Webhook => "the webhook",
            Self::Extender => "the extender",
        }
    }
}

/// A workload that runs a part of the program.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// Which part.
    pub(super) part: Part,
    /// Where.
    pub(super) namespace: String,
    /// By which service account.
    pub(super) account: String,
    /// The Secret of `--self-signed-secret`.
    pub(super) secret: Option<(String, String)>,
    /// It asks the API server who may look (`--admin-auth apiserver`).
    pub(super) delegates: bool,
    /// The webhook configuration it keeps.
    pub(super) configuration: String,
    /// `kind namespace/name`, and how many of its pods are ready.
    pub(super) told: String,
    /// Whether at least one is.
    pub(super) is_ready: bool,
}

/// Everything that runs `pointsman serve`.
pub(super) fn ours(facts: &Facts) -> Vec<Ours> {
    let mut found = Vec::new();
    for (source, workload) in &facts.workloads {
        for container in &workload.body.spec.template.spec.containers {
            if !serves(container) {
                continue;
            }
            let secret = flag(container, "--self-signed-secret")
                .and_then(|text| text.split_once('/'))
                .map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
            for (part, listen) in [
                (Part::Webhook, "--webhook-listen"),
                (Part::Extender, "--extender-listen"),
            ] {
                if flag(container, listen) != Some("none") {
                    found.push(Ours {
                        secret: secret.clone(),
                        delegates: flag(container, "--admin-auth") == Some("apiserver"),
                        ..of(facts, part, *source, workload)
                    });
                }
            }
        }
    }
    found
}

/// Both parts run.
pub(super) fn runs(facts: &Facts) -> Finding {
    const SUBJECT: &str = "Pointsman itself";
    if !facts.knows(Source::Deployment)
        && let Some(unknown) = facts.unless_known(&[Source::Deployment], SUBJECT)
    {
        return unknown;
    }
    let ours = ours(facts);
    let missing: Vec<&str> = [Part::Webhook, Part::Extender]
        .into_iter()
        .filter(|part| ours.iter().all(|ours| ours.part != *part))
        .map(Part::told)
        .collect();
    if missing.len() == 2 {
        return Finding::unknown(
            SUBJECT,
            "no Deployment or DaemonSet runs it; it may run outside of the cluster",
            INSTALL,
        );
    }
    let down: Vec<String> = ours
        .iter()
        .filter(|ours| !ours.is_ready)
        .map(|ours| ours.told.clone())
        .collect();
    if !missing.is_empty() {
        return Finding::no(SUBJECT, format!("nothing runs {}", missing.join(" or ")), INSTALL);
    }
    if !down.is_empty() {
        return Finding::no(
            SUBJECT,
            few(&down),
            format!(
                "kubectl -n {0} get pods -o wide\nkubectl -n {0} get events --sort-by .lastTimestamp",
                facts.namespace
            ),
        );
    }
    let mut told: Vec<String> = ours.into_iter().map(|ours| ours.told).collect();
    told.dedup();
    Finding::yes(SUBJECT, few(&told))
}

fn of(facts: &Facts, part: Part, source: Source, workload: &Object<Workload>) -> Ours {
    let body = &workload.body;
    let (there, asked) = match source {
        Source::DaemonSet => (body.status.number_ready, body.status.desired_number_scheduled),
        _ => (body.status.ready_replicas, body.spec.replicas.unwrap_or(1)),
    };
    Ours {
        part,
        namespace: workload.namespace().to_owned(),
        account: body
            .spec
            .template
            .spec
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        secret: None,
        delegates: false,
        configuration: facts.configuration.webhook.configuration_name.clone(),
        told: format!("{} {}: {there} of {asked} ready", source.kind(), workload.at()),
        is_ready: there > 0,
    }
}

/// Whether a container runs `pointsman serve`: by our own flags, whatever the image is called.
fn serves(container: &ContainerSpec) -> bool {
    let words = || container.command.iter().chain(&container.args);
    words().any(|word| word == "serve")
        && words().any(|word| {
            [
                "--webhook-listen",
                "--extender-listen",
                "--self-signed-secret",
                "--tls-dir",
            ]
            .iter()
            .any(|flag| word == flag || word.starts_with(&format!("{flag}=")))
        })
}

/// The value of a flag, in either form.
fn flag<'a>(container: &'a ContainerSpec, name: &str) -> Option<&'a str> {
    let mut words = container.command.iter().chain(&container.args);
    while let Some(word) = words.next() {
        if word == name {
            return words.next().map(String::as_str);
        }
        if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}
