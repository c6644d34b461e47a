//! Which node a port of the fabric belongs to.
//!
//! The ladder, the first that hits wins: the port GUID of a PF; the user's map; the node's name, its first label, its
//! host name label, its addresses. A name that two nodes claim, or that two systems carry, is ambiguous and matched to
//! none of them: a wrong node is worse than no node.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::decide::fabric::{Guid, MatchedBy};
use crate::decide::names::NodeName;

use super::dump::{Port, PortKind};
use super::host::Description;
use super::model::Fabric;
use super::node::{NodeFacts, Nodes};

/// A user's own mapping: the host's name in the description, or a port or adapter GUID, to a node.
pub type HostMap = BTreeMap<String, NodeName>;

/// Who is behind each port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// Hosts with the ports that are theirs, in the order of their GUIDs.
    pub hosts: BTreeMap<HostKey, Vec<(Guid, MatchedBy)>>,
    /// Hosts of the fabric that are no node.
    pub unmatched: Vec<String>,
    /// Hosts that could be several nodes, and nodes that could be several hosts.
    pub ambiguous: Vec<String>,
    /// Nodes of which an ambiguous host could be one: nothing is written to them.
    pub doubtful: BTreeSet<NodeName>,
    /// What was noticed.
    pub warnings: Vec<String>,
    /// Whether it is known which nodes there are; if not, every host counts as one.
    pub by_nodes: bool,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostKey {
    /// A node of the cluster.
    Node(NodeName),
    /// Not a node, or nobody said which nodes there are: by the name it carries.
    Other(String),
    /// Without a name: by the GUID of its adapter, or of the port where the dump does not tell that.
    Nameless(Guid),
}

impl HostKey {
    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Node(name) => name.to_string(),
            Self::Other(name) => name.clone(),
            Self::Nameless(guid) => format!("({guid})"),
        }
    }
}

/// Matches every port of a host. Without `nodes`, hosts go by the names they carry.
#[must_use]
pub fn matched(fabric: &Fabric, nodes: Option<&Nodes>, map: &HostMap) -> Matching {
    let mut matching = Matching {
        by_nodes: nodes.is_some(),
        ..Matching::default()
    };
    let empty = Nodes::new();
    let known = nodes.unwrap_or(&empty);
    let ladder = Ladder::of(known);
    let Named { whole, cut } = certain(fabric, known, map, &mut matching);
    by_name(&whole, nodes, map, &ladder, &mut matching);
    by_beginning(&cut, &ladder, &mut matching);
    // What is matched for certain is not in doubt because of a name.
    matching.doubtful = core::mem::take(&mut matching.doubtful)
        .into_iter()
        .filter(|node| !matching.hosts.contains_key(&HostKey::Node(node.clone())))
        .collect();
    for list in [&mut matching.unmatched, &mut matching.ambiguous] {
        list.sort();
        list.dedup();
    }
    for ports in matching.hosts.values_mut() {
        ports.sort_unstable_by_key(|(guid, _)| *guid);
    }
    matching
}

/// Ports that only their descriptions can match.
#[derive(Default)]
struct Named<'a> {
    /// By the host's name in lower case.
    whole: BTreeMap<String, Vec<NamedPort<'a>>>,
    /// By the beginning of a name that was cut.
    cut: BTreeMap<String, Vec<Guid>>,
}

struct NamedPort<'a> {
    guid: Guid,
    number: u16,
    device: &'a str,
}

/// Matches what GUIDs match, and sorts the other ports by the names they carry.
fn certain<'a>(fabric: &'a Fabric, nodes: &Nodes, map: &HostMap, matching: &mut Matching) -> Named<'a> {
    let by_guid = pfs(nodes, matching);
    let by_last_import = last_import(nodes);
    let mut named = Named::default();
    for (guid, port) in fabric
        .ports
        .iter()
        .filter(|(_, port)| port.kind == PortKind::Host)
    {
        if let Some(node) = by_guid.get(guid) {
            matching.assign(HostKey::Node(node.clone()), *guid, MatchedBy::Guid);
            continue;
        }
        if let Some(node) = mapped_guid(map, *guid, port) {
            matching.assign(HostKey::Node(node.clone()), *guid, MatchedBy::Map);
            continue;
        }
        match port
            .description
            .as_deref()
            .map_or(Description::Default, Description::read)
        {
            Description::Named { host, device } => {
                named
                    .whole
                    .entry(host.to_lowercase())
                    .or_default()
                    .push(NamedPort {
                        guid: *guid,
                        number: port.number,
                        device,
                    });
            }
            Description::Cut(text) => named.cut.entry(text.to_lowercase()).or_default().push(*guid),
            // A host that is starting has not written its name yet; whose port it is has not changed meanwhile.
            Description::Default if by_last_import.contains_key(guid) => {
                if let Some((node, by)) = by_last_import.get(guid) {
                    matching.assign(HostKey::Node((*node).clone()), *guid, *by);
                }
            }
            Description::Default => {
                let adapter = port.adapter.unwrap_or(*guid);
                let text = port
                    .description
                    .as_deref()
                    .unwrap_or("two different names")
                    .trim();
                matching.unmatched.push(format!("{text} ({adapter})"));
                matching.assign(HostKey::Nameless(adapter), *guid, MatchedBy::Name);
            }
        }
    }
    named
}

/// Matches hosts by their names; without nodes every name that stands for one system is a host.
fn by_name(
    hosts: &BTreeMap<String, Vec<NamedPort<'_>>>,
    nodes: Option<&Nodes>,
    map: &HostMap,
    ladder: &Ladder,
    matching: &mut Matching,
) {
    let mut claims: BTreeMap<NodeName, Vec<(&String, MatchedBy)>> = BTreeMap::new();
    for (host, ports) in hosts {
        if two_systems(ports) {
            matching.ambiguous.push(host.clone());
            matching.doubtful.extend(ladder.candidates(host));
            matching.doubtful.extend(map.get(host).cloned());
            matching.warnings.push(format!(
                "{host} is the name of several systems (ports {}): none of them is matched by it",
                list(ports.iter().map(|port| port.guid.to_string()))
            ));
            continue;
        }
        let found = match map.get(host) {
            Some(node) => Found::One(node.clone(), MatchedBy::Map),
            None if nodes.is_none() => Found::Nothing,
            None => ladder.find(host),
        };
        match found {
            Found::One(node, by) => claims.entry(node).or_default().push((host, by)),
            Found::Several(several) => {
                matching.ambiguous.push(host.clone());
                matching.warnings.push(format!(
                    "{host} could be any of the nodes {}: it is matched to none",
                    list(several.iter().map(ToString::to_string))
                ));
                matching.doubtful.extend(several);
            }
            Found::Nothing => {
                if nodes.is_some() {
                    matching.unmatched.push(host.clone());
                }
                for port in ports {
                    matching.assign(HostKey::Other(host.clone()), port.guid, MatchedBy::Name);
                }
            }
        }
    }
    for (node, claimants) in claims {
        let [(host, by)] = claimants.as_slice() else {
            matching.warnings.push(format!(
                "node {node} could be any of the hosts {}: it is matched to none",
                list(claimants.iter().map(|(host, _)| (*host).clone()))
            ));
            matching
                .ambiguous
                .extend(claimants.into_iter().map(|(host, _)| host.clone()));
            matching.doubtful.insert(node);
            continue;
        };
        // Its PFs are known and this is none of them: a function that was passed through, or another's card.
        let foreign = nodes
            .and_then(|nodes| nodes.get(&node))
            .is_some_and(NodeFacts::all_pfs_known);
        for port in hosts.get(*host).into_iter().flatten() {
            if foreign {
                matching.warnings.push(format!(
                    "{host} {} ({}) is no PF of node {node} by its SriovNetworkNodeState: it is left out",
                    port.device, port.guid
                ));
            } else {
                matching.assign(HostKey::Node(node.clone()), port.guid, *by);
            }
        }
    }
}

/// Matches names that were cut, where only one node's begins so.
fn by_beginning(cut: &BTreeMap<String, Vec<Guid>>, ladder: &Ladder, matching: &mut Matching) {
    for (text, ports) in cut {
        let key = match ladder.beginning(text) {
            Found::One(node, _) => HostKey::Node(node),
            Found::Several(several) => {
                matching.ambiguous.push(text.clone());
                matching.warnings.push(format!(
                    "{text} is a cut name and could be any of the nodes {}: it is matched to none",
                    list(several.iter().map(ToString::to_string))
                ));
                matching.doubtful.extend(several);
                continue;
            }
            Found::Nothing => {
                matching.unmatched.push(text.clone());
                HostKey::Other(text.clone())
            }
        };
        for guid in ports {
            matching.assign(key.clone(), *guid, MatchedBy::Name);
        }
    }
}

impl Matching {
    fn assign(&mut self, host: HostKey, port: Guid, by: MatchedBy) {
        self.hosts.entry(host).or_default().push((port, by));
    }
}

/// The node of every PF; one that two nodes claim is nobody's.
fn pfs(nodes: &Nodes, matching: &mut Matching) -> HashMap<Guid, NodeName> {
    let mut owners: HashMap<Guid, NodeName> = HashMap::new();
    let mut twice: BTreeMap<Guid, BTreeSet<NodeName>> = BTreeMap::new();
    for (node, facts) in nodes {
        for guid in facts.guids() {
            if let Some(other) = owners.insert(guid, node.clone())
                && other != *node
            {
                twice.entry(guid).or_default().extend([other, node.clone()]);
            }
        }
    }
    for (guid, claimants) in twice {
        owners.remove(&guid);
        matching.ambiguous.push(guid.to_string());
        matching.warnings.push(format!(
            "port GUID {guid} is claimed by the nodes {}: it is matched to none",
            list(claimants.iter().map(ToString::to_string))
        ));
        matching.doubtful.extend(claimants);
    }
    owners
}

/// The node of every port that the last import knew, and how it knew; one that two nodes carry is nobody's.
fn last_import(nodes: &Nodes) -> HashMap<Guid, (&NodeName, MatchedBy)> {
    let mut owners: HashMap<Guid, (&NodeName, MatchedBy)> = HashMap::new();
    let mut twice: BTreeSet<Guid> = BTreeSet::new();
    for (node, facts) in nodes {
        for rail in &facts.rails {
            if owners.insert(rail.guid, (node, rail.source)).is_some() {
                twice.insert(rail.guid);
            }
        }
    }
    owners.retain(|guid, _| !twice.contains(guid));
    owners
}

fn mapped_guid<'a>(map: &'a HostMap, guid: Guid, port: &Port) -> Option<&'a NodeName> {
    if map.is_empty() {
        return None;
    }
    map.get(&guid.to_string())
        .or_else(|| map.get(&port.adapter?.to_string()))
}

/// Whether a name stands for more than one system: the same device and port number on different adapters.
fn two_systems(ports: &[NamedPort<'_>]) -> bool {
    let mut seen: BTreeSet<(&str, u16)> = BTreeSet::new();
    ports
        .iter()
        // Texts of one word do not tell the devices of a host apart.
        .filter(|port| !port.device.is_empty())
        .any(|port| !seen.insert((port.device, port.number)))
}

fn list(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

enum Found {
    Nothing,
    One(NodeName, MatchedBy),
    Several(BTreeSet<NodeName>),
}

/// The names of nodes, a rung for each kind, closest first.
struct Ladder {
    rungs: [BTreeMap<String, BTreeSet<NodeName>>; 4],
}

impl Ladder {
    fn of(nodes: &Nodes) -> Self {
        let mut rungs: [BTreeMap<String, BTreeSet<NodeName>>; 4] = Default::default();
        let [names, shorts, labels, addresses] = &mut rungs;
        for (node, facts) in nodes {
            let name = node.as_str().to_lowercase();
            let add = |rung: &mut BTreeMap<String, BTreeSet<NodeName>>, text: &str| {
                rung.entry(text.to_lowercase()).or_default().insert(node.clone());
            };
            add(names, &name);
            add(shorts, short(&name));
            if let Some(label) = &facts.host_label {
                add(labels, label);
                add(labels, short(label));
            }
            for address in &facts.addresses {
                add(addresses, address);
                add(addresses, short(address));
            }
        }
        Self { rungs }
    }

    /// The node of a host, by its whole name first and by its part before the first dot after.
    fn find(&self, host: &str) -> Found {
        for text in [host, short(host)] {
            for rung in &self.rungs {
                match rung.get(text) {
                    None => {}
                    Some(nodes) if nodes.len() > 1 => return Found::Several(nodes.clone()),
                    Some(nodes) => {
                        return nodes
                            .first()
                            .map_or(Found::Nothing, |node| Found::One(node.clone(), MatchedBy::Name));
                    }
                }
            }
        }
        Found::Nothing
    }

    /// Every node that a host could be.
    fn candidates(&self, host: &str) -> BTreeSet<NodeName> {
        [host, short(host)]
            .into_iter()
            .flat_map(|text| self.rungs.iter().filter_map(move |rung| rung.get(text)))
            .flatten()
            .cloned()
            .collect()
    }

    /// The node one of whose names begins with a text that was cut; the part before its first dot is whole, and will do
    /// where no name begins so.
    fn beginning(&self, text: &str) -> Found {
        let nodes: BTreeSet<NodeName> = self
            .rungs
            .iter()
            .flat_map(|rung| {
                rung.range(text.to_owned()..)
                    .take_while(|(name, _)| name.starts_with(text))
            })
            .flat_map(|(_, nodes)| nodes.iter().cloned())
            .collect();
        match (nodes.len(), nodes.first()) {
            (0, _) if text.contains('.') => self.find(short(text)),
            (1, Some(node)) => Found::One(node.clone(), MatchedBy::Name),
            (0 | 1, _) => Found::Nothing,
            _ => Found::Several(nodes),
        }
    }
}

/// The part of a name before its first dot.
fn short(name: &str) -> &str {
    name.split_once('.').map_or(name, |(short, _)| short)
}
