//! Policy on objects that outlive pods: what cannot be read is refused when it is written, not when a pod needs it.
//! What can be read and will still turn pods down is only told, because it may be meant to change before they come.

use super::annotation;
use super::cluster::ClusterSnapshot;
use super::mutation::links;
use super::names::NamespaceName;
use super::network::Network;
use super::policy::{self, Annotations};
use super::problem::{Problem, Problems, quoted};
use super::selector::Labels;

/// What is said about an object that is being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// What makes it unreadable.
    pub problems: Problems,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// Looks at a namespace's defaults for its pods.
#[must_use]
pub fn namespace(
    name: &NamespaceName,
    labels: &Labels,
    annotations: &Annotations,
    snapshot: &ClusterSnapshot,
) -> Validation {
    let profile = match policy::read_defaults(annotations) {
        Ok(profile) => profile,
        Err(problems) => {
            return Validation {
                problems,
                ..Validation::default()
            };
        }
    };
    let mut warnings = Vec::new();
    let gives_defaults = annotation::POLICY_KEYS
        .iter()
        .any(|key| annotations.contains_key(*key));
    let labelled = labels.get(annotation::INJECT).map(String::as_str) == Some(annotation::INJECT_LABEL_VALUE);
    if gives_defaults && !labelled {
        warnings.push(format!(
            "the annotations of namespace {name} apply to pods that carry one of their own; label it {}={} for all its \
             pods",
            annotation::INJECT,
            annotation::INJECT_LABEL_VALUE
        ));
    }
    if let Some(profile) = profile.filter(|profile| snapshot.profile(profile).is_empty()) {
        warnings.push(format!(
            "no network belongs to profile {profile} now: pods of namespace {name} are denied until one does"
        ));
    }
    Validation {
        problems: Problems::none(),
        warnings,
    }
}

/// Looks at a network, which `annotations` are those of; one that has none of our keys is none of our business.
#[must_use]
pub fn network(network: &Network, annotations: &Annotations, snapshot: &ClusterSnapshot) -> Validation {
    let mut problems = Problems::none();
    let ours = || {
        annotations
            .iter()
            .filter(|(key, _)| key.starts_with(annotation::DOMAIN))
    };
    if ours().next().is_none() {
        return Validation::default();
    }
    for (key, value) in ours() {
        if !annotation::NETWORK_KEYS.contains(&key.as_str()) {
            problems.push(Problem::new(
                format!("network {}, annotation {key}", network.at),
                quoted(value),
                format!("one of the keys {}", annotation::NETWORK_KEYS.join(", ")),
                "correct the key, or remove the annotation",
            ));
        }
    }
    let attachment = network.reading.as_ref();
    let attachment = attachment.map_err(|others| problems.extend(others.clone())).ok();
    let Some(attachment) = attachment.filter(|_| problems.is_empty()) else {
        return Validation {
            problems,
            ..Validation::default()
        };
    };
    let mut warnings = Vec::new();
    if let Some(profile) = network.profiles.first() {
        if attachment.resource.is_none() {
            warnings.push(format!(
                "network {} has no {}: pods of profile {profile} are denied until it has",
                network.at,
                annotation::RESOURCE_NAME
            ));
        }
        warnings.extend(
            links::problems(&network.at, attachment)
                .into_iter()
                .map(|problem| {
                    format!(
                        "pods of profile {profile} are denied: {}: found {}, expected {}",
                        problem.at, problem.found, problem.expected
                    )
                }),
        );
    }
    for profile in &network.profiles {
        let same_rail = snapshot.profile(profile).into_iter().find(|other| {
            let rail = other.reading.as_ref().ok().and_then(|other| other.rail);
            other.at != network.at && rail.is_some() && rail == attachment.rail
        });
        if let Some(other) = same_rail {
            warnings.push(format!(
                "network {} is the same rail of profile {profile} as {}: the two are ordered by name",
                other.at, network.at
            ));
        }
    }
    Validation { problems, warnings }
}
