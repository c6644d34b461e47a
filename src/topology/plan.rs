//! What the import would write, and whether it may.
//!
//! The plan says for every node what it should carry and what of that is new; nothing is ever taken from a node that the
//! dump does not know, and a name once given to a leaf group stays with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::fabric as annotation_text;
use crate::decide::annotation;
use crate::decide::fabric::{Guid, Rail, RailState};
use crate::decide::names::NodeName;

use super::matching::HostKey;
use super::model::Fabric;
use super::node::{NodeFacts, Nodes, TierLabels};
use super::survey::Survey;

/// Label keys of the tiers, closest first.
pub const TIERS: [&str; 3] = [annotation::LEAF_GROUP, annotation::SPINE, annotation::CORE];
/// How the names of each tier begin; the GUID of a switch follows.
const PREFIXES: [&str; 3] = ["lg", "sp", "co"];

/// What should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every node that the fabric says something about.
    pub nodes: BTreeMap<NodeName, NodePlan>,
    /// Hosts of the fabric that are no node.
    pub unmatched: Vec<String>,
    /// Hosts and nodes that could be several.
    pub ambiguous: Vec<String>,
    /// What was noticed.
    pub warnings: Vec<String>,
}

/// What one node should carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePlan {
    /// Its labels, by tier.
    pub labels: TierLabels,
    /// Its rails; none where the dump knows no rails, so that the annotation stays as it is.
    pub rails: Option<Vec<Rail>>,
    /// What of that is new.
    pub changes: Changes,
}

/// What has to be written to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Tiers whose label changes: the value now, and the one it gets (none takes it away).
    pub labels: Vec<(usize, Option<String>, Option<String>)>,
    /// The annotation's new text.
    pub annotation: Option<String>,
    /// Rails that come, go or differ, for people.
    pub rails: Vec<String>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotation.is_none()
    }
}

/// Why nothing is written although the dump is sound in itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many hosts that were there are gone.
    #[error(
        "{gone} of the {known} hosts that the last import knew are not in this dump ({examples}), more than \
         {most} in a hundred: was it made by an isolated host, or is a subnet's file missing? If they are really \
         gone, give --force"
    )]
    Shrunk {
        /// Hosts that were there.
        known: usize,
        /// How many of them are not.
        gone: usize,
        /// The limit, in percent.
        most: u8,
        /// Some of them.
        examples: String,
    },
    /// No host is a node.
    #[error(
        "none of the {hosts} hosts in the dump is one of the {nodes} nodes: is it the dump of another cluster's \
         fabric? Hosts that are named otherwise than their nodes need --map, or port GUIDs in SriovNetworkNodeStates"
    )]
    Foreign {
        /// Hosts in the dump.
        hosts: usize,
        /// Nodes there are.
        nodes: usize,
    },
}

impl Plan {
    /// How many nodes change.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.nodes
            .values()
            .filter(|node| !node.changes.is_empty())
            .count()
    }

    /// How many rails are dark.
    #[must_use]
    pub fn dark(&self) -> usize {
        self.nodes
            .values()
            .flat_map(|node| node.rails.iter().flatten())
            .filter(|rail| rail.state == RailState::Dark)
            .count()
    }
}

/// What should be on every node. Without `nodes` every host is one, that carries nothing yet.
#[must_use]
pub fn plan(survey: &Survey, nodes: Option<&Nodes>) -> Plan {
    let names = Names::of(survey, nodes);
    let nobody = NodeFacts::default();
    let empty = Nodes::new();
    let facts_of = |name: &NodeName| nodes.unwrap_or(&empty).get(name).unwrap_or(&nobody);
    let mut plan = Plan {
        unmatched: survey.matching.unmatched.clone(),
        ambiguous: survey.matching.ambiguous.clone(),
        warnings: [&survey.fabric.notes, &survey.matching.warnings]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
        ..Plan::default()
    };
    let hosts: BTreeSet<&HostKey> = survey.hosts.keys().chain(survey.matching.hosts.keys()).collect();
    for host in hosts {
        let name = match host {
            HostKey::Node(name) => name.clone(),
            HostKey::Other(name) if nodes.is_none() => name.as_str().into(),
            HostKey::Other(_) | HostKey::Nameless(_) => continue,
        };
        if nodes.is_some_and(|nodes| !nodes.contains_key(&name)) {
            plan.warnings.push(format!(
                "the map leads to {name}, which is no node: it is left out"
            ));
            continue;
        }
        if survey.matching.doubtful.contains(&name) {
            continue;
        }
        let facts = facts_of(&name);
        let labels = match survey.layout.of_host.get(host) {
            Some(group) => names.labels(survey, *group),
            // At no leaf: what is known of its place is the last that was.
            None => facts.tiers.clone(),
        };
        let rails = survey
            .fabric
            .has_guids
            .then(|| survey.hosts.get(host).cloned().unwrap_or_default());
        let changes = changes(facts, &labels, rails.as_deref());
        plan.nodes.insert(
            name,
            NodePlan {
                labels,
                rails,
                changes,
            },
        );
    }
    plan.warnings.extend(survey.miscabled.iter().map(|found| {
        format!(
            "{} rail {} ({}) is at {}{}, while that rail of its leaf group is at {}: are two cables swapped?",
            found.host.name(),
            found.rail,
            found.hca,
            survey.fabric.switch_name(found.leaf),
            found.port.map(|port| format!(" port {port}")).unwrap_or_default(),
            survey.fabric.switch_name(found.expected),
        )
    }));
    plan
}

/// Whether the plan may be carried out: `most` is the share of known hosts, in percent, that may be gone.
///
/// # Errors
/// Why not.
pub fn allowed(survey: &Survey, nodes: &Nodes, most: u8) -> Result<(), Refusal> {
    const EXAMPLES: usize = 3;
    let on_fabric = |name: &NodeName| {
        let key = HostKey::Node(name.clone());
        survey.matching.hosts.contains_key(&key) || survey.matching.doubtful.contains(name)
    };
    let known: Vec<&NodeName> = nodes
        .iter()
        .filter(|(_, facts)| {
            if survey.fabric.has_guids {
                facts.rails.iter().any(|rail| rail.state != RailState::Dark)
            } else {
                facts.tiers.iter().any(Option::is_some)
            }
        })
        .map(|(name, _)| name)
        .collect();
    let gone: Vec<&str> = known
        .iter()
        .filter(|name| !on_fabric(name))
        .map(|name| name.as_str())
        .collect();
    if gone.len().saturating_mul(100) > known.len().saturating_mul(usize::from(most)) {
        let mut examples = gone.iter().take(EXAMPLES).copied().collect::<Vec<_>>().join(", ");
        if gone.len() > EXAMPLES {
            examples.push_str(", ...");
        }
        return Err(Refusal::Shrunk {
            known: known.len(),
            gone: gone.len(),
            most,
            examples,
        });
    }
    let any = survey
        .matching
        .hosts
        .keys()
        .any(|host| matches!(host, HostKey::Node(_)));
    if !any {
        return Err(Refusal::Foreign {
            hosts: survey.matching.hosts.len(),
            nodes: nodes.len(),
        });
    }
    Ok(())
}

fn changes(facts: &NodeFacts, labels: &TierLabels, rails: Option<&[Rail]>) -> Changes {
    let mut changes = Changes {
        labels: facts
            .tiers
            .iter()
            .zip(labels)
            .enumerate()
            .filter(|(_, (now, wanted))| now != wanted)
            .map(|(tier, (now, wanted))| (tier, now.clone(), wanted.clone()))
            .collect(),
        ..Changes::default()
    };
    let Some(rails) = rails else {
        return changes;
    };
    if facts.annotation.is_some() && facts.rails == rails {
        return changes;
    }
    changes.annotation = Some(annotation_text::print(rails));
    let before: BTreeMap<Guid, &Rail> = facts.rails.iter().map(|rail| (rail.guid, rail)).collect();
    for rail in rails {
        match before.get(&rail.guid) {
            Some(known) if *known == rail => {}
            Some(known) => {
                changes
                    .rails
                    .push(format!("rail {}: {} -> {}", rail.rail, brief(known), brief(rail)));
            }
            None => changes
                .rails
                .push(format!("rail {}: new, {}", rail.rail, brief(rail))),
        }
    }
    for (guid, rail) in before {
        if rails.iter().all(|kept| kept.guid != guid) {
            changes
                .rails
                .push(format!("rail {}: {guid} is no rail of it any more", rail.rail));
        }
    }
    changes
}

/// A rail in a few words.
#[must_use]
pub fn brief(rail: &Rail) -> String {
    let mut text = rail.state.to_string();
    if !rail.leaf_name.is_empty() {
        text.push_str(" at ");
        text.push_str(&rail.leaf_name);
    }
    if let Some(port) = rail.port {
        text.push('/');
        text.push_str(&port.to_string());
    }
    if let (Some(width), Some(speed)) = (rail.width, rail.speed) {
        text.push(' ');
        text.push_str(&width.to_string());
        text.push_str(&speed.to_string());
    }
    text
}

/// The names of groups and areas, by the switch that stands for each.
struct Names([BTreeMap<Guid, String>; 3]);

impl Names {
    fn of(survey: &Survey, nodes: Option<&Nodes>) -> Self {
        let mut tiers: [BTreeMap<Guid, Vec<&HostKey>>; 3] = Default::default();
        for (host, group) in &survey.layout.of_host {
            for (tier, key) in keys(survey, *group).into_iter().enumerate() {
                if let (Some(key), Some(members)) = (key, tiers.get_mut(tier)) {
                    members.entry(key).or_default().push(host);
                }
            }
        }
        let mut names: [BTreeMap<Guid, String>; 3] = Default::default();
        for (tier, (members, names)) in tiers.iter().zip(&mut names).enumerate() {
            let carried = |host: &HostKey| match host {
                HostKey::Node(name) => nodes?.get(name)?.tiers.get(tier)?.as_deref(),
                HostKey::Other(_) | HostKey::Nameless(_) => None,
            };
            *names = named(members, carried, |key| derived(&survey.fabric, tier, key));
        }
        Self(names)
    }

    fn labels(&self, survey: &Survey, group: usize) -> TierLabels {
        let mut labels = TierLabels::default();
        for ((label, key), names) in labels.iter_mut().zip(keys(survey, group)).zip(&self.0) {
            *label = key.and_then(|key| names.get(&key)).cloned();
        }
        labels
    }
}

/// The switches that stand for a group and the areas around it.
fn keys(survey: &Survey, group: usize) -> [Option<Guid>; 3] {
    survey.layout.groups.get(group).map_or([None; 3], |group| {
        let [spine, core] = group.around;
        [group.leaves.first().copied(), spine, core]
    })
}

/// A name that only depends on the fabric.
fn derived(fabric: &Fabric, tier: usize, key: Guid) -> String {
    let prefix = PREFIXES.get(tier).copied().unwrap_or("x");
    if !fabric.has_guids {
        // A SLURM file has nothing but names, and they are their admin's.
        let name = fabric.switch_name(key);
        let fits = name.len() <= 63
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric());
        if fits {
            return name;
        }
    }
    format!("{prefix}-{:016x}", key.0)
}

/// Names for groups of hosts: what most hosts of a group carry already, unless more hosts of another group do; else
/// a new name.
fn named<'a>(
    groups: &BTreeMap<Guid, Vec<&'a HostKey>>,
    carried: impl Fn(&'a HostKey) -> Option<&'a str>,
    derived: impl Fn(Guid) -> String,
) -> BTreeMap<Guid, String> {
    let mut votes: BTreeMap<&str, BTreeMap<Guid, usize>> = BTreeMap::new();
    for (key, hosts) in groups {
        for value in hosts.iter().filter_map(|host| carried(host)) {
            let count = votes.entry(value).or_default().entry(*key).or_insert(0);
            *count = count.saturating_add(1);
        }
    }
    let mut names: BTreeMap<Guid, (usize, &str)> = BTreeMap::new();
    for (value, groups) in votes {
        let most = groups.values().copied().max().unwrap_or(0);
        if let Some((key, count)) = groups.into_iter().find(|(_, count)| *count == most) {
            let name = names.entry(key).or_insert((count, value));
            if count > name.0 {
                *name = (count, value);
            }
        }
    }
    let mut used: BTreeSet<String> = names.values().map(|(_, value)| (*value).to_owned()).collect();
    groups
        .keys()
        .map(|key| {
            let name = names.get(key).map_or_else(
                || {
                    let wanted = derived(*key);
                    let mut name = wanted.clone();
                    let mut next = 2_usize;
                    while used.contains(&name) {
                        name = format!("{wanted}-{next}");
                        next = next.saturating_add(1);
                    }
                    name
                },
                |(_, value)| (*value).to_owned(),
            );
            used.insert(name.clone());
            (*key, name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fabric::MatchedBy;
    use crate::topology::matching::HostMap;
    use crate::topology::node::Pf;
    use crate::topology::survey::survey;
    use crate::topology::tests::fabric;

    const HEALTHY: &str = "fat8/ibnetdiscover.txt";

    fn nodes(count: usize) -> Nodes {
        (1..=count)
            .map(|number| (NodeName::from(format!("node{number:02}")), NodeFacts::default()))
            .collect()
    }

    fn planned(paths: &[&str], nodes: &Nodes) -> Plan {
        plan(&survey(fabric(paths), Some(nodes), &HostMap::new()), Some(nodes))
    }

    /// The nodes as they are once the plan is carried out.
    fn carried_out(plan: &Plan, nodes: &Nodes) -> Nodes {
        let mut after = nodes.clone();
        for (name, node) in &plan.nodes {
            let facts = after.get_mut(name).unwrap();
            facts.tiers = node.labels.clone();
            if let Some(text) = &node.changes.annotation {
                facts.rails = annotation_text::parse("node", text).unwrap();
                facts.annotation = Some(text.clone());
            }
        }
        after
    }

    #[test]
    fn the_first_import_labels_every_node_and_the_second_changes_nothing() {
        let nodes = nodes(8);
        let first = planned(&[HEALTHY], &nodes);
        assert_eq!((first.nodes.len(), first.changed(), first.dark()), (8, 8, 0));
        assert_eq!(first.unmatched, ["sm01", "sm02"]);
        let labels = &first.nodes["node03"].labels;
        assert_eq!(labels[0].as_deref(), Some("lg-fc6a1c0300000200"));
        assert_eq!(labels[1].as_deref(), Some("sp-fc6a1c0300008000"));
        assert_eq!(labels[2], None);
        let rails = first.nodes["node03"].rails.as_ref().unwrap();
        let numbers: Vec<_> = rails
            .iter()
            .map(|rail| (rail.rail, rail.hca.as_str(), rail.port))
            .collect();
        assert_eq!(numbers, [(0, "mlx5_0", Some(1)), (1, "mlx5_1", Some(2))]);
        assert_eq!(rails[0].leaf_name, "leaf02");
        let after = carried_out(&first, &nodes);
        assert_eq!(planned(&[HEALTHY], &after).changed(), 0);
    }

    #[test]
    fn a_rail_that_goes_keeps_its_number_and_place_and_comes_back() {
        let nodes = carried_out(&planned(&[HEALTHY], &nodes(8)), &nodes(8));
        let faults = planned(&["fat8/faults/ibnetdiscover.txt"], &nodes);
        assert!(faults.dark() > 0);
        for (name, node) in &faults.nodes {
            let before = &nodes[name];
            assert_eq!(node.labels, before.tiers, "{name}");
            let rails = node.rails.as_ref().unwrap();
            assert_eq!(rails.len(), before.rails.len());
            for (now, then) in rails.iter().zip(&before.rails) {
                assert_eq!(
                    (now.rail, now.guid, now.leaf, now.port),
                    (then.rail, then.guid, then.leaf, then.port)
                );
                assert_eq!(now.state == RailState::Dark, now.width.is_none());
            }
        }
        let broken = carried_out(&faults, &nodes);
        let repaired = planned(&[HEALTHY], &broken);
        assert_eq!(repaired.dark(), 0);
        assert_eq!(carried_out(&repaired, &broken), nodes);
    }

    #[test]
    fn a_name_once_given_stays_with_the_group() {
        let mut nodes = carried_out(&planned(&[HEALTHY], &nodes(8)), &nodes(8));
        for name in ["node01", "node02"] {
            nodes.get_mut(name).unwrap().tiers[0] = Some("row-7".to_owned());
        }
        // One of another group claims it as well: the majority keeps it.
        nodes.get_mut("node03").unwrap().tiers[0] = Some("row-7".to_owned());
        let plan = planned(&[HEALTHY], &nodes);
        assert_eq!(plan.changed(), 1);
        assert_eq!(plan.nodes["node01"].labels[0].as_deref(), Some("row-7"));
        assert_eq!(
            plan.nodes["node03"].changes.labels,
            [(
                0,
                Some("row-7".to_owned()),
                Some("lg-fc6a1c0300000200".to_owned())
            )]
        );
    }

    #[test]
    fn a_port_guid_tells_more_than_a_name() {
        // node01 of the fabric is node02 of the cluster and the other way round, by the GUIDs of their PFs.
        let mut nodes = nodes(8);
        let pf = |guid: u64, name: &str| Pf {
            pci: name.to_owned(),
            name: name.to_owned(),
            guid: Some(Guid(guid)),
            vfs: 8,
        };
        nodes.get_mut("node01").unwrap().pfs = Some(vec![
            pf(0xa088_c203_0000_2001, "ibs0"),
            pf(0xa088_c203_0000_2011, "ibs1"),
        ]);
        nodes.get_mut("node02").unwrap().pfs = Some(vec![
            pf(0xa088_c203_0000_1001, "ibs0"),
            pf(0xa088_c203_00ff_ff01, "ibs1"),
        ]);
        let plan = planned(&[HEALTHY], &nodes);
        let rails = |name: &str| plan.nodes[name].rails.clone().unwrap();
        assert!(rails("node01").iter().all(|rail| rail.source == MatchedBy::Guid));
        assert_eq!(rails("node01")[0].guid, Guid(0xa088_c203_0000_2001));
        // The PF that is not on the fabric is dark; the port of the host that is no PF of it is not counted.
        let second = rails("node02");
        assert_eq!(second.len(), 2);
        assert_eq!((second[1].state, second[1].rail), (RailState::Dark, 1));
        assert_eq!(second[1].leaf, None);
        assert!(
            plan.warnings
                .iter()
                .any(|warning| warning.contains("is no PF of node"))
        );
    }

    #[test]
    fn an_adapter_that_was_replaced_leaves_no_dark_rail_behind() {
        let mut nodes = carried_out(&planned(&[HEALTHY], &nodes(8)), &nodes(8));
        let facts = nodes.get_mut("node01").unwrap();
        facts.rails[0].guid = Guid(0xdead);
        facts.annotation = Some(annotation_text::print(&facts.rails));
        let plan = planned(&[HEALTHY], &nodes);
        assert_eq!((plan.changed(), plan.dark()), (1, 0));
    }

    #[test]
    fn a_host_that_has_not_written_its_name_yet_is_known_from_the_last_import() {
        let nodes = carried_out(&planned(&[HEALTHY], &nodes(8)), &nodes(8));
        let mut starting = fabric(&[HEALTHY]);
        for port in starting.ports.values_mut() {
            if port.description.as_deref() == Some("node01 mlx5_1") {
                port.description = Some("MT4123 ConnectX6   Mellanox Technologies".to_owned());
            }
        }
        let survey = survey(starting, Some(&nodes), &HostMap::new());
        let plan = plan(&survey, Some(&nodes));
        assert_eq!((plan.changed(), plan.dark()), (0, 0));
    }

    #[test]
    fn what_is_ambiguous_is_left_alone() {
        let mut nodes = nodes(2);
        nodes.insert("localhost".into(), NodeFacts::default());
        let edge = &["edge/ibnetdiscover.txt", "edge/ibnetdiscover-plane2.txt"];
        for name in ["edge01", "edge02", "edge03", "edge05", "edge06"] {
            nodes.insert(name.into(), NodeFacts::default());
        }
        nodes.insert(
            "edge15.very-long-row-and-rack-name.datacenter-7.example.internal".into(),
            NodeFacts::default(),
        );
        let plan = planned(edge, &nodes);
        assert_eq!(plan.ambiguous, ["localhost"]);
        assert!(!plan.nodes.contains_key("localhost"));
        for name in [
            "edge05",
            "edge06",
            "edge15.very-long-row-and-rack-name.datacenter-7.example.internal",
        ] {
            assert!(plan.nodes.contains_key(name), "{name}: {:?}", plan.nodes.keys());
        }
        assert!(plan.unmatched.contains(&"pod-7f9c".to_owned()));
        let rails = plan.nodes["edge01"].rails.as_ref().unwrap();
        let states: Vec<_> = rails.iter().map(|rail| (rail.hca.as_str(), rail.state)).collect();
        assert_eq!(
            states,
            [
                ("mlx5_0", RailState::Unknown),
                ("mlx5_1", RailState::Unknown),
                ("mlx5_2", RailState::Initialize)
            ]
        );
    }

    #[test]
    fn two_nodes_that_could_be_one_host_are_both_left_alone() {
        let mut nodes = nodes(8);
        nodes.remove("node01");
        nodes.insert("node01.a.example".into(), NodeFacts::default());
        nodes.insert("node01.b.example".into(), NodeFacts::default());
        let plan = planned(&[HEALTHY], &nodes);
        assert_eq!(plan.ambiguous, ["node01"]);
        assert_eq!(plan.nodes.len(), 7);
    }

    #[test]
    fn a_shrunken_or_foreign_dump_is_refused() {
        let known = carried_out(&planned(&[HEALTHY], &nodes(8)), &nodes(8));
        let isolated = |most: u8, nodes: &Nodes| {
            let mut small = fabric(&[HEALTHY]);
            small.ports.retain(|guid, _| *guid < Guid(0xa088_c203_0000_7000));
            let survey = survey(small, Some(nodes), &HostMap::new());
            let dark = plan(&survey, Some(nodes));
            (allowed(&survey, nodes, most), dark)
        };
        let (refused, plan) = isolated(20, &known);
        assert!(
            matches!(
                refused,
                Err(Refusal::Shrunk {
                    known: 8,
                    gone: 2,
                    ..
                })
            ),
            "{refused:?}"
        );
        // Even where it is forced, no label is taken away.
        for (name, node) in &plan.nodes {
            assert_eq!(node.labels, known[name].tiers);
        }
        assert_eq!(plan.dark(), 4);
        assert_eq!(isolated(25, &known).0, Ok(()));
        let strangers: Nodes = [("a".into(), NodeFacts::default())].into();
        assert!(matches!(
            isolated(100, &strangers).0,
            Err(Refusal::Foreign { .. })
        ));
    }

    #[test]
    fn rails_keep_their_numbers_in_a_group_where_one_is_dead() {
        let nodes: Nodes = (1..=64)
            .map(|number| (NodeName::from(format!("gpu{number:04}")), NodeFacts::default()))
            .collect();
        let mut dead = fabric(&["rail64/ibnetdiscover.txt"]);
        dead.ports.remove(&Guid(0xa088_c203_0000_5021));
        let survey = survey(dead, Some(&nodes), &HostMap::new());
        let plan = plan(&survey, Some(&nodes));
        let numbers: Vec<u16> = plan.nodes["gpu0005"]
            .rails
            .iter()
            .flatten()
            .map(|rail| rail.rail)
            .collect();
        assert_eq!(numbers, [0, 1, 3]);
        let groups: BTreeSet<_> = plan.nodes.values().map(|node| node.labels[0].clone()).collect();
        assert_eq!(groups.len(), 2);
        assert_eq!(survey.miscabled, []);
    }
}
