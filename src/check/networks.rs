//! Rows about networks: what SpiderMultusConfigs ask for, what Multus will find, and whether nodes have it.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::finding::{Finding, apply};
use super::fleet::{asked, networks};
use super::source::Source;
use super::tally::{Tally, Words, count, few};
use crate::decide::mutation::link_problems;
use crate::decide::names::{NetworkRef, ResourceName};

const BOTH: &[Source] = &[Source::Attachment, Source::MultusConfig];

/// Every network can be read.
pub(super) fn readable(facts: &Facts) -> Finding {
    const SUBJECT: &str = "NetworkAttachmentDefinitions and SpiderMultusConfigs";
    // One of the two is enough to know networks by.
    if BOTH.iter().all(|source| !facts.knows(*source))
        && let Some(unknown) = facts.unless_known(BOTH, SUBJECT)
    {
        return unknown;
    }
    let problems = facts.problems_of(BOTH);
    let total = facts.attachments.len() + facts.multus_configs.len();
    if problems.is_empty() && total == 0 {
        return Finding::unknown(SUBJECT, "there is no network", example());
    }
    if problems.is_empty() {
        return Finding::yes(SUBJECT, format!("{} read", count(total, "object")));
    }
    Finding::no(
        SUBJECT,
        format!("{} of {total} cannot be read: {}", problems.len(), few(&problems)),
        "# correct what is named above; a SpiderMultusConfig's NetworkAttachmentDefinition is made from it\n\
         kubectl get -A spidermultusconfigs.spiderpool.spidernet.io\n\
         kubectl get -A network-attachment-definitions.k8s.cni.cncf.io",
    )
}

/// Every SpiderMultusConfig has become the NetworkAttachmentDefinition it stands for.
pub(super) fn made(facts: &Facts) -> Finding {
    const SUBJECT: &str = "NetworkAttachmentDefinitions of SpiderMultusConfigs";
    if let Some(unknown) = facts.unless_known(BOTH, SUBJECT) {
        return unknown;
    }
    let mut tally = Tally::default();
    for (config, wanted) in &facts.multus_configs {
        let exists = facts.attachments.contains(&wanted.at);
        let there = facts.snapshot.networks.get(&wanted.at);
        let problem = match (exists, there.map(|there| &there.reading), &wanted.reading) {
            (false, _, _) => Some(format!("there is no {}", wanted.at)),
            (true, Some(Ok(there)), Ok(wanted)) if there.resource != wanted.resource => {
                let name = |resource: &Option<ResourceName>| {
                    resource
                        .as_ref()
                        .map_or_else(|| "none".to_owned(), ToString::to_string)
                };
                Some(format!(
                    "resource {} in the SpiderMultusConfig, {} in the NetworkAttachmentDefinition",
                    name(&wanted.resource),
                    name(&there.resource)
                ))
            }
            (true, Some(Ok(there)), Ok(wanted))
                if (there.plugin, &there.ipam) != (wanted.plugin, &wanted.ipam) =>
            {
                Some("its NetworkAttachmentDefinition has another plugin or other pools".to_owned())
            }
            _ => None,
        };
        tally.judge(config, &problem.into_iter().collect::<Vec<_>>());
    }
    if facts.multus_configs.is_empty() {
        return Finding::yes(SUBJECT, "there is no SpiderMultusConfig to make one from");
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "SpiderMultusConfig",
            sound: "its NetworkAttachmentDefinition is there and says the same",
            nothing: "there is no SpiderMultusConfig",
        },
        |first| {
            let config = first.unwrap_or("NAMESPACE/NAME").to_owned();
            let made = facts.multus_configs.get(&config);
            let at = made.map_or_else(|| config.clone(), |made| made.at.to_string());
            let split = |at: &str| {
                at.split_once('/').map_or_else(
                    || at.to_owned(),
                    |(namespace, name)| format!("-n {namespace} NAD {name}"),
                )
            };
            let config = split(&config).replace("NAD", "get -o yaml spidermultusconfig");
            let attachment = split(&at);
            format!(
                "# Spiderpool's controller makes it; it says why not\n\
                 kubectl {config}\n\
                 kubectl -n {} logs deployment/spiderpool-controller --tail=200 | grep -i multus\n\
                 # one that somebody else made is not changed: remove it, and it is made again\n\
                 kubectl {}",
                facts.configuration.decisions.spiderpool_namespace,
                attachment.replace("NAD", "delete network-attachment-definition")
            )
        },
    )
}

/// Profiles exist, and each has one resource for each rail.
pub(super) fn profiles(facts: &Facts) -> Finding {
    const SUBJECT: &str = "profiles";
    if BOTH.iter().all(|source| !facts.knows(*source))
        && let Some(unknown) = facts.unless_known(BOTH, SUBJECT)
    {
        return unknown;
    }
    let mut tally = Tally::default();
    let mut sizes = Vec::new();
    for profile in facts.snapshot.profiles() {
        let members = facts.snapshot.profile(&profile);
        let mut problems = Vec::new();
        let mut resources: BTreeMap<&ResourceName, &NetworkRef> = BTreeMap::new();
        let mut rails: BTreeMap<u32, &NetworkRef> = BTreeMap::new();
        for network in &members {
            let Ok(attachment) = &network.reading else {
                problems.push(format!("{} cannot be read", network.at));
                continue;
            };
            match &attachment.resource {
                None => problems.push(format!("{} names no resource", network.at)),
                Some(resource) => {
                    if let Some(other) = resources.insert(resource, &network.at) {
                        problems.push(format!("{other} and {} share {resource}", network.at));
                    }
                }
            }
            if let Some(rail) = attachment.rail
                && let Some(other) = rails.insert(rail, &network.at)
            {
                problems.push(format!("{other} and {} are both rail {rail}", network.at));
            }
        }
        sizes.push(format!("{profile} with {}", count(members.len(), "rail")));
        tally.judge(profile.as_str(), &problems);
    }
    let finding = tally.finding(
        Words {
            subject: SUBJECT,
            thing: "profile",
            sound: "",
            nothing: "no network belongs to a profile",
        },
        |_| {
            "# which networks, with profile, rail and resource\n\
             kubectl get -A network-attachment-definitions.k8s.cni.cncf.io -o custom-columns=\
             'NAMESPACE:.metadata.namespace,NAME:.metadata.name,PROFILE:.metadata.annotations.pointsman\\.io/profile,\
             RAIL:.metadata.annotations.pointsman\\.io/rail,RESOURCE:.metadata.annotations.k8s\\.v1\\.cni\\.cncf\\.io/resourceName'\n\
             # one resource for each rail; on the SpiderMultusConfig, from which Spiderpool copies it\n\
             kubectl -n NAMESPACE annotate --overwrite spidermultusconfig NAME pointsman.io/profile=PROFILE pointsman.io/rail=0"
                .to_owned()
        },
    );
    match finding.answer {
        super::finding::Answer::Yes => Finding {
            evidence: few(&sizes),
            ..finding
        },
        _ => finding,
    }
}

/// Some node offers every resource that a network names.
pub(super) fn resources(facts: &Facts) -> Finding {
    const SUBJECT: &str = "resources that networks name";
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    if BOTH.iter().all(|source| !facts.knows(*source))
        && let Some(unknown) = facts.unless_known(BOTH, SUBJECT)
    {
        return unknown;
    }
    let mut tally = Tally::telling(facts.node.is_some());
    for (resource, asked) in asked(facts) {
        if facts.nodes().any(|node| node.offers.count(&resource) > 0) {
            tally.sound();
        } else {
            let names: Vec<String> = asked.networks.iter().map(ToString::to_string).collect();
            tally.wrong(resource.as_str(), format!("named by {}", few(&names)));
        }
    }
    for (at, attachment) in networks(facts) {
        let wants_vf = matches!(
            attachment.plugin,
            crate::decide::network::Plugin::IbSriov { .. } | crate::decide::network::Plugin::Sriov { .. }
        );
        if wants_vf && attachment.resource.is_none() {
            tally.wrong(at.to_string(), "the network names none, so it gets no VF");
        }
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "resource",
            sound: if facts.node.is_some() {
                "the node offers it"
            } else {
                "some node offers it"
            },
            nothing: "no network names a resource",
        },
        |first| {
            let resource = first.unwrap_or("spidernet.io/ib_rail0");
            let suffix = resource.rsplit_once('/').map_or(resource, |(_, suffix)| suffix);
            format!(
                "# what nodes offer, and the policies behind it; prefix and name must be those the network names\n\
                 kubectl get nodes -o jsonpath='{{range .items[*]}}{{.metadata.name}} {{.status.allocatable}}{{\"\\n\"}}{{end}}'\n\
                 kubectl get -A sriovnetworknodepolicies.sriovnetwork.openshift.io -o custom-columns=\
                 NAMESPACE:.metadata.namespace,NAME:.metadata.name,RESOURCE:.spec.resourceName | grep -w {suffix}\n\
                 # the operator's prefix\n\
                 kubectl -n {} get deployments -o yaml | grep -A1 RESOURCE_PREFIX",
                facts.operator_namespace()
            )
        },
    )
}

/// Links are on, and partition keys are such as ib-kubernetes takes.
pub(super) fn links(facts: &Facts) -> Finding {
    const SUBJECT: &str = "link_state and pkey of ib-sriov networks";
    if BOTH.iter().all(|source| !facts.knows(*source))
        && let Some(unknown) = facts.unless_known(BOTH, SUBJECT)
    {
        return unknown;
    }
    let mut tally = Tally::default();
    for (at, attachment) in networks(facts) {
        if !matches!(attachment.plugin, crate::decide::network::Plugin::IbSriov { .. }) {
            continue;
        }
        let problems: Vec<String> = link_problems(at, attachment)
            .into_iter()
            .map(|problem| {
                let field = problem
                    .at
                    .rsplit_once(", ")
                    .map_or("", |(_, field)| field)
                    .to_owned();
                format!("{field} {}, expected {}", problem.found, problem.expected)
            })
            .collect();
        tally.judge(&at.to_string(), &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "ib-sriov network",
            sound: "links are on, partition keys are well-formed",
            nothing: "there is no ib-sriov network",
        },
        |first| {
            let (namespace, name) = first
                .and_then(|at| at.split_once('/'))
                .unwrap_or(("NAMESPACE", "NAME"));
            format!(
                "# where the network is made from a SpiderMultusConfig\n\
                 kubectl -n {namespace} patch spidermultusconfig {name} --type merge -p \
                 '{{\"spec\":{{\"ibsriov\":{{\"linkState\":\"enable\",\"pkey\":\"0x0001\"}}}}}}'\n\
                 # else in the configuration itself\n\
                 kubectl -n {namespace} edit network-attachment-definition {name}"
            )
        },
    )
}

fn example() -> String {
    apply(
        "one for each rail",
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderMultusConfig\nmetadata:\n  name: rail0\n  \
         namespace: spiderpool\n  annotations: { pointsman.io/profile: eight-rails, pointsman.io/rail: \"0\" }\n\
         spec:\n  cniType: ib-sriov\n  ibsriov:\n    resourceName: spidernet.io/ib_rail0\n    \
         ippools: { ipv4: [rail0] }",
    )
}
