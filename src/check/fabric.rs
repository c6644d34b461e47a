//! Rows about the fabric: what the last import from the Subnet Manager's dumps says, and whether it still holds.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::facts::{Facts, Listing};
use super::finding::Finding;
use super::fleet::{asked, fleet};
use super::source::Source;
use super::tally::{Tally, Words, count, few};
use crate::decide::fabric::RailState;
use crate::decide::links::{BadLinks, LinkTrouble};
use crate::decide::node::Node;
use crate::decide::tier::{Conflict, PRESETS, Tiers};

/// The Subnet Manager's view of the fabric was taken over, and not too long ago.
pub(super) fn import(facts: &Facts) -> Finding {
    const SUBJECT: &str = "what the Subnet Manager sees of the fabric";
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    let told = facts.nodes().filter(|node| node.fabric.is_some()).count();
    let remedy = format!(
        "# is a Subnet Manager master? without one, VFs of new pods do not come up, and repaired ports stay down\n\
         sminfo\n\
         # on a host with InfiniBand: take over what is there now\n\
         ibnetdiscover > fabric.txt && iblinkinfo -l > links.txt\n\
         pointsman topology import fabric.txt --state links.txt --nodes-from-cluster --namespace {} --apply",
        facts.namespace
    );
    let Some(looked) = facts.snapshot.fabric else {
        let why = match facts.listing(Source::Lease) {
            Listing::Unknown(why) => format!("Lease pointsman-fabric: {why}"),
            Listing::Complete | Listing::Absent => {
                format!("there is no Lease {}/pointsman-fabric", facts.namespace)
            }
        };
        let without = if told == 0 {
            "no node has rails, so that dead links and distances are not known".to_owned()
        } else {
            format!("{} with rails of unknown age", count(told, "node"))
        };
        return Finding::unknown(SUBJECT, format!("{why}; {without}"), remedy);
    };
    let Ok(at) = Timestamp::from_second(looked.unix_seconds) else {
        return Finding::unknown(SUBJECT, "the import's date is beyond all time", remedy);
    };
    let age = facts.now.duration_since(at).max(SignedDuration::ZERO);
    let most = facts.configuration.decisions.links.max_age;
    let evidence = format!(
        "imported {} ago ({}), {} with rails",
        spoken(age),
        at.strftime("%Y-%m-%dT%H:%MZ"),
        count(told, "node")
    );
    if age.unsigned_abs() > most {
        Finding::no(
            SUBJECT,
            format!(
                "{evidence}; after {} it only prefers",
                spoken(SignedDuration::try_from(most).unwrap_or(SignedDuration::MAX))
            ),
            remedy,
        )
    } else {
        Finding::yes(SUBJECT, evidence)
    }
}

/// Every rail of every node with VFs is up, wide and fast.
pub(super) fn rails(facts: &Facts) -> Finding {
    const SUBJECT: &str = "rails on the fabric";
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    let asked = asked(facts);
    let settings = &facts.configuration.decisions;
    let mut tally = Tally::telling(facts.node.is_some());
    for (node, _) in fleet(facts, &asked) {
        match &node.fabric {
            None => tally.unsure(node.name.as_str(), "no import has seen it"),
            Some(Err(problems)) => tally.wrong(node.name.as_str(), problems.to_string()),
            Some(Ok(rails)) => {
                let bad = BadLinks::of(node, &facts.snapshot, settings);
                let problems: Vec<String> = rails
                    .iter()
                    .filter_map(|rail| bad.of_rail(u32::from(rail.rail)))
                    .map(|bad| {
                        let trouble = match bad.trouble {
                            LinkTrouble::Dark => "no link",
                            LinkTrouble::Inactive => "not brought up by the Subnet Manager",
                            LinkTrouble::Degraded => "narrower or slower than it should be",
                        };
                        let rail = &bad.rail;
                        format!("rail {} {} {}: {trouble}", rail.rail, rail.hca, rail.guid)
                    })
                    .collect();
                let untold = rails.iter().all(|rail| rail.state == RailState::Unknown);
                if problems.is_empty() && untold {
                    tally.unsure(node.name.as_str(), "the dump carries no states");
                } else {
                    tally.judge(node.name.as_str(), &problems);
                }
            }
        }
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "every rail is Active, as wide and as fast as its peers",
            nothing: super::sriov::NOTHING,
        },
        |first| {
            let node = first.unwrap_or("NODE");
            format!(
                "# the rails as imported, and the ports as the node sees them\n\
                 kubectl get node {node} -o jsonpath='{{.metadata.annotations.pointsman\\.io/fabric}}'\n\
                 kubectl debug node/{node} -it --image=busybox -- chroot /host ibstat\n\
                 # once repaired: import again, with a dump that carries states\n\
                 iblinkinfo -l > links.txt && ibnetdiscover > fabric.txt\n\
                 pointsman topology import fabric.txt --state links.txt --nodes-from-cluster --namespace {} --apply",
                facts.namespace
            )
        },
    )
}

/// Nodes with VFs carry the labels of one set of tiers.
pub(super) fn tiers(facts: &Facts) -> Finding {
    const SUBJECT: &str = "fabric tiers";
    if let Some(unknown) = facts.unless_known(&[Source::Node], SUBJECT) {
        return unknown;
    }
    let configured = &facts.configuration.decisions.tiers;
    let choose = "# in our configuration, under data.config.yaml, one of the presets or keys of your own:\n\
                  #   locality: { preset: pointsman }\n\
                  #   locality: { tiers: [example.org/leaf, example.org/spine] }\n";
    let edit = format!("kubectl -n {} edit configmap pointsman", facts.namespace);
    if let Some(conflict) = Conflict::of(configured, &facts.snapshot) {
        return Finding::no(SUBJECT, conflict.to_string(), format!("{choose}{edit}"));
    }
    let tiers = Tiers::of(configured, &facts.snapshot);
    let label = "# labels from the fabric itself\n\
                 ibnetdiscover | pointsman topology import - --nodes-from-cluster --dry-run";
    let Some(closest) = tiers.key(0) else {
        return Finding::unknown(
            SUBJECT,
            "no node carries the label of a known tier: gangs that require locality find no domain",
            format!("{label}\n{choose}{edit}"),
        );
    };
    let asked = asked(facts);
    let mut tally = Tally::telling(facts.node.is_some());
    let mut domains = BTreeSet::new();
    let is_in = |node: &Node| tiers.domain(0, &node.labels);
    for (node, _) in fleet(facts, &asked) {
        match is_in(node) {
            Some(domain) => {
                domains.insert(domain.to_string());
                tally.sound();
            }
            None => tally.wrong(node.name.as_str(), format!("no label {closest}")),
        }
    }
    let finding = tally.finding(
        Words {
            subject: SUBJECT,
            thing: "node with VFs",
            sound: "",
            nothing: super::sriov::NOTHING,
        },
        |_| label.to_owned(),
    );
    if finding.answer != super::finding::Answer::Yes {
        return finding;
    }
    let preset = PRESETS
        .iter()
        .find(|preset| preset.keys.first() == Some(&closest))
        .map_or("the configured tiers", |preset| preset.name);
    let names: Vec<String> = domains.into_iter().collect();
    Finding {
        evidence: format!(
            "{preset}: {} in {} ({})",
            finding.evidence.trim_end_matches(": "),
            count(names.len(), "leaf group"),
            few(&names)
        ),
        ..finding
    }
}

/// Of two units the larger: what an operator needs to know of an age.
fn spoken(age: SignedDuration) -> String {
    let minutes = age.as_secs() / 60;
    match (minutes / (24 * 60), minutes / 60) {
        (0, 0) => format!("{minutes} min"),
        (0 | 1, hours) => format!("{hours} h"),
        (days, _) => format!("{days} days"),
    }
}
