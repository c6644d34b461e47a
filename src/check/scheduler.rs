//! Rows about kube-scheduler's configuration: whether it asks our extender, about what, and in a way that works.

use core::net::IpAddr;

use serde::Deserialize;
use serde_json::Value;

use super::facts::Facts;
use super::finding::Finding;
use super::fleet::asked;
use super::source::Source;
use super::tally::{count, few};
use crate::decide::settings::SchedulerMode;

/// From this many nodes on kube-scheduler looks at a sample only, unless told otherwise.
const SAMPLED_FROM: usize = 100;
/// In-tree scores add up to 1400, ours to 100 times the weight: below this, locality is outvoted.
const LEAST_WEIGHT: i64 = 10;

/// A KubeSchedulerConfiguration, as far as it concerns us.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Configuration {
    profiles: Vec<Profile>,
    percentage_of_nodes_to_score: Option<u32>,
    extenders: Vec<Extender>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Profile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Extender {
    url_prefix: String,
    filter_verb: String,
    prioritize_verb: String,
    bind_verb: String,
    preempt_verb: String,
    weight: i64,
    node_cache_capable: bool,
    #[serde(rename = "enableHTTPS")]
    enable_https: bool,
    tls_config: Option<Tls>,
    managed_resources: Vec<Managed>,
    ignorable: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Tls {
    insecure: bool,
    ca_file: String,
    ca_data: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Managed {
    name: String,
    ignored_by_scheduler: bool,
}

/// A configuration that asks us, and how.
struct Asking {
    place: String,
    configuration: Configuration,
    ours: Extender,
}

/// Some scheduler asks our extender.
pub(super) fn configuration(facts: &Facts) -> Finding {
    const SUBJECT: &str = "kube-scheduler's configuration";
    let (read, broken) = found(facts);
    if !broken.is_empty() {
        return Finding::no(SUBJECT, few(&broken), fix());
    }
    if read.is_empty() {
        return facts
            .unless_known(&[Source::ConfigMap], SUBJECT)
            .unwrap_or_else(|| none(SUBJECT));
    }
    let asking: Vec<String> = asking(facts)
        .into_iter()
        .map(|asking| format!("{} asks {}", asking.place, asking.ours.url_prefix))
        .collect();
    if asking.is_empty() {
        let places: Vec<String> = read.into_iter().map(|(place, _)| place).collect();
        Finding::no(SUBJECT, format!("no extender of ours in {}", few(&places)), fix())
    } else {
        Finding::yes(SUBJECT, few(&asking))
    }
}

/// The scheduler that pods are put on is one that asks us.
pub(super) fn profile(facts: &Facts) -> Finding {
    let wanted = match &facts.configuration.decisions.scheduler {
        SchedulerMode::Dedicated(name) => name.as_str(),
        SchedulerMode::Existing => "default-scheduler",
    };
    each(facts, "scheduler that pods are put on", |asking| {
        let names: Vec<&str> = asking
            .configuration
            .profiles
            .iter()
            .map(|profile| profile.scheduler_name.as_deref().unwrap_or("default-scheduler"))
            .collect();
        let names = if names.is_empty() {
            vec!["default-scheduler"]
        } else {
            names
        };
        if names.contains(&wanted) {
            Ok(format!("profile {wanted}"))
        } else {
            Err(format!(
                "no profile {wanted}, but {}: pods wait for nobody",
                names.join(", ")
            ))
        }
    })
}

/// It sends names, not whole nodes.
pub(super) fn cache_capable(facts: &Facts) -> Finding {
    each(facts, "nodeCacheCapable of the extender", |asking| {
        if asking.ours.node_cache_capable {
            Ok("true".to_owned())
        } else {
            Err("false: we answer an error, and the scheduler's own scores would be wrong".to_owned())
        }
    })
}

/// It shows us all nodes.
pub(super) fn sampling(facts: &Facts) -> Finding {
    let nodes = facts.snapshot.nodes.size();
    each(facts, "percentageOfNodesToScore", |asking| {
        let global = asking.configuration.percentage_of_nodes_to_score;
        let below: Vec<String> = asking
            .configuration
            .profiles
            .iter()
            .map(|profile| {
                let name = profile.scheduler_name.as_deref().unwrap_or("default-scheduler");
                (name, profile.percentage_of_nodes_to_score.or(global))
            })
            .chain(
                asking
                    .configuration
                    .profiles
                    .is_empty()
                    .then_some(("default-scheduler", global)),
            )
            .filter(|(_, percentage)| *percentage != Some(100))
            .map(|(name, percentage)| {
                let told = percentage.map_or_else(|| "not set".to_owned(), |number| number.to_string());
                format!("{name}: {told}")
            })
            .collect();
        if below.is_empty() {
            Ok("100".to_owned())
        } else if facts.knows(Source::Node) && nodes < SAMPLED_FROM {
            Ok(format!(
                "{}, but with {} all are shown",
                few(&below),
                count(nodes, "node")
            ))
        } else {
            Err(format!(
                "{}: we are shown a sample of the nodes, and can miss the only one that fits",
                few(&below)
            ))
        }
    })
}

/// It asks about every pod with VFs, and keeps counting them itself.
pub(super) fn resources(facts: &Facts) -> Finding {
    let wanted: Vec<String> = asked(facts)
        .into_iter()
        .filter(|(_, asked)| asked.vf)
        .map(|(resource, _)| resource.to_string())
        .collect();
    let dedicated = matches!(
        facts.configuration.decisions.scheduler,
        SchedulerMode::Dedicated(_)
    );
    each(facts, "managedResources of the extender", |asking| {
        let managed = &asking.ours.managed_resources;
        let ignored: Vec<String> = managed
            .iter()
            .filter(|managed| managed.ignored_by_scheduler)
            .map(|managed| managed.name.clone())
            .collect();
        if !ignored.is_empty() {
            return Err(format!(
                "ignoredByScheduler for {}: the scheduler no longer counts these VFs",
                few(&ignored)
            ));
        }
        if managed.is_empty() {
            return if dedicated {
                Ok("none: every pod of this scheduler is checked".to_owned())
            } else {
                Err("none: every pod of the cluster depends on us".to_owned())
            };
        }
        let missing: Vec<String> = wanted
            .iter()
            .filter(|wanted| managed.iter().all(|managed| managed.name != **wanted))
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "{} missing: pods that ask only for these are not checked",
                few(&missing)
            ));
        }
        let twice: Vec<String> = managed
            .iter()
            .filter(|managed| {
                let named = |extender: &&Extender| {
                    extender
                        .managed_resources
                        .iter()
                        .any(|other| other.name == managed.name)
                };
                asking.configuration.extenders.iter().filter(named).count() > 1
            })
            .map(|managed| managed.name.clone())
            .collect();
        if twice.is_empty() {
            Ok(format!(
                "{}, all that networks name",
                count(managed.len(), "resource")
            ))
        } else {
            Err(format!(
                "{} in two extenders: kube-scheduler refuses to start",
                few(&twice)
            ))
        }
    })
}

/// Nobody can answer in our place.
pub(super) fn transport(facts: &Facts) -> Finding {
    each(facts, "connection to the extender", |asking| {
        let url = &asking.ours.url_prefix;
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let host = rest.split('/').next().unwrap_or_default();
        let host = host
            .strip_prefix('[')
            .and_then(|inside| inside.split(']').next())
            .unwrap_or_else(|| host.rsplit_once(':').map_or(host, |(host, _)| host));
        let loopback =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if !(scheme == "https" || asking.ours.enable_https) {
            return if loopback {
                Ok(format!("{url}, over loopback"))
            } else {
                Err(format!(
                    "{url}: plain HTTP beyond loopback, anybody on the way can answer"
                ))
            };
        }
        match &asking.ours.tls_config {
            Some(tls) if tls.insecure => Err(format!("{url}: insecure, the certificate is not verified")),
            Some(tls) if !tls.ca_file.is_empty() || !tls.ca_data.is_empty() => {
                Ok(format!("{url}, verified against a CA"))
            }
            _ => Err(format!(
                "{url}: HTTPS without a CA, which kube-scheduler does not verify at all"
            )),
        }
    })
}

/// Filter, prioritize and bind are ours to answer.
pub(super) fn verbs(facts: &Facts) -> Finding {
    each(facts, "verbs and weight of the extender", |asking| {
        let ours = &asking.ours;
        let binders: Vec<String> = asking
            .configuration
            .extenders
            .iter()
            .filter(|extender| !extender.bind_verb.is_empty())
            .map(|extender| extender.url_prefix.clone())
            .collect();
        let mut problems = Vec::new();
        for (key, verb, wanted) in [
            ("filterVerb", &ours.filter_verb, "filter"),
            ("prioritizeVerb", &ours.prioritize_verb, "prioritize"),
        ] {
            if verb != wanted {
                problems.push(format!("{key} is {verb:?}, not {wanted}"));
            }
        }
        if !ours.preempt_verb.is_empty() && ours.preempt_verb != "preempt" {
            problems.push(format!("preemptVerb is {:?}, not preempt", ours.preempt_verb));
        }
        if binders.len() > 1 {
            problems.push(format!(
                "{} all bind: kube-scheduler refuses to start",
                binders.join(" and ")
            ));
        }
        if binders.is_empty() && facts.configuration.decisions.binds {
            problems.push("nobody has the bindVerb: promises are not written with the binding".to_owned());
        }
        if ours.weight < LEAST_WEIGHT {
            problems.push(format!(
                "weight {}: in-tree scores outvote locality (at least {LEAST_WEIGHT})",
                ours.weight
            ));
        }
        if ours.ignorable {
            problems.push("ignorable: pods are placed unchecked while we are down".to_owned());
        }
        if !problems.is_empty() {
            return Err(few(&problems));
        }
        let binder = if ours.bind_verb.is_empty() {
            let binder = binders.first().map_or("kube-scheduler", String::as_str);
            format!("bind by {binder}, so that promises are holds until the pod is seen bound")
        } else {
            "bind".to_owned()
        };
        let preempt = if ours.preempt_verb.is_empty() {
            ""
        } else {
            ", preempt"
        };
        Ok(format!(
            "filter, prioritize{preempt}, {binder}; weight {}",
            ours.weight
        ))
    })
}

/// A row about every configuration that asks us.
fn each(facts: &Facts, subject: &str, judge: impl Fn(&Asking) -> Result<String, String>) -> Finding {
    let asking = asking(facts);
    if asking.is_empty() {
        return match facts.unless_known(&[Source::ConfigMap], subject) {
            Some(unknown) if facts.scheduler_files.is_empty() => unknown,
            _ => none(subject),
        };
    }
    let (mut fine, mut wrong) = (Vec::new(), Vec::new());
    for asking in &asking {
        match judge(asking) {
            Ok(told) => fine.push(format!("{}: {told}", asking.place)),
            Err(told) => wrong.push(format!("{}: {told}", asking.place)),
        }
    }
    if wrong.is_empty() {
        Finding::yes(subject, few(&fine))
    } else {
        Finding::no(subject, few(&wrong), fix())
    }
}

/// Every scheduler configuration with its place, and what cannot be read as one.
fn found(facts: &Facts) -> (Vec<(String, Configuration)>, Vec<String>) {
    let in_maps = facts.config_maps.iter().flat_map(|map| {
        map.body
            .data
            .iter()
            .filter(|(_, text)| text.contains("KubeSchedulerConfiguration"))
            .map(move |(key, text)| (format!("ConfigMap {} {key}", map.at()), text.as_str()))
    });
    let in_files = facts
        .scheduler_files
        .iter()
        .map(|(place, text)| (place.clone(), text.as_str()));
    let (mut read, mut broken) = (Vec::new(), Vec::new());
    for (place, text) in in_maps.chain(in_files) {
        match parse(text) {
            Ok(configuration) => read.push((place, configuration)),
            Err(problem) => broken.push(format!("{place}: {problem}")),
        }
    }
    (read, broken)
}

fn parse(text: &str) -> Result<Configuration, String> {
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or("no YAML").to_owned())?;
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind != "KubeSchedulerConfiguration" {
        return Err(format!("kind {kind:?}, not KubeSchedulerConfiguration"));
    }
    serde_path_to_error::deserialize(super::gather::without_nulls(value))
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))
}

/// The configurations that ask us: by where our extender listens by default, by its name, or by the VFs it manages.
fn asking(facts: &Facts) -> Vec<Asking> {
    let resources = asked(facts);
    let is_ours = |extender: &Extender| {
        extender.url_prefix.contains("pointsman")
            || extender.url_prefix.trim_end_matches('/').ends_with(":8888")
            || extender
                .managed_resources
                .iter()
                .any(|managed| resources.keys().any(|resource| resource.as_str() == managed.name))
    };
    found(facts)
        .0
        .into_iter()
        .filter_map(|(place, configuration)| {
            let ours = configuration
                .extenders
                .iter()
                .find(|extender| is_ours(extender))?
                .clone();
            Some(Asking {
                place,
                configuration,
                ours,
            })
        })
        .collect()
}

fn none(subject: &str) -> Finding {
    Finding::unknown(
        subject,
        "no scheduler configuration that asks us is in a ConfigMap; one of the control plane is a file on its nodes",
        "# on a control-plane node: what kube-scheduler is started with\n\
         grep -e --config /etc/kubernetes/manifests/kube-scheduler.yaml\n\
         pointsman check --scheduler-config /etc/kubernetes/scheduler.yaml",
    )
}

fn fix() -> String {
    "# the configuration that fits this cluster; kube-scheduler reads it once, at its start\npointsman scheduler-config"
        .to_owned()
}
