//! What one dump of a fabric says, whatever tool wrote it: switches, ports of hosts, links; and what is wrong with it.
//!
//! Every tool lists each link twice, once from either end. Both are kept until `assemble` has held one against the
//! other: a file that was cut off, written into while it was read, or damaged, is known by ends that do not meet.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::DateTime;

use crate::decide::fabric::{Guid, RailState, Speed, Width};
use crate::decide::problem::{Problem, Problems};

/// One dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// What wrote it.
    pub format: Format,
    /// When it says it was made, by the clock and in the time zone of whoever made it.
    pub made_at: Option<DateTime>,
    /// Switches by node GUID.
    pub switches: BTreeMap<Guid, Switch>,
    /// Ports of everything that is no switch, by port GUID.
    pub ports: BTreeMap<Guid, Port>,
    /// Links between switches, each once, the smaller end first.
    pub cables: BTreeMap<Cable, Link>,
    /// Links that the file lists from one end only, or differently from either end: a sign that it is not whole.
    pub torn: Vec<String>,
    /// What was noticed and does no harm.
    pub notes: Vec<String>,
}

/// What wrote a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::EnumIter)]
pub enum Format {
    /// `ibnetdiscover`, also with `-g` or `-f`.
    Ibnetdiscover,
    /// `ibnetdiscover -p`.
    PortList,
    /// `iblinkinfo -l`.
    Iblinkinfo,
    /// OpenSM's `opensm-subnet.lst`.
    SubnetList,
    /// SLURM's `topology.conf`.
    Slurm,
    /// UFM's `/ufmRest/resources/ports`.
    UfmPorts,
}

impl Format {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ibnetdiscover => "ibnetdiscover",
            Self::PortList => "ibnetdiscover -p",
            Self::Iblinkinfo => "iblinkinfo -l",
            Self::SubnetList => "opensm-subnet.lst",
            Self::Slurm => "SLURM topology.conf",
            Self::UfmPorts => "UFM ports",
        }
    }

    /// Whether it tells the state of ports.
    #[must_use]
    pub fn has_states(self) -> bool {
        matches!(self, Self::Iblinkinfo | Self::SubnetList | Self::UfmPorts)
    }

    /// Whether it knows GUIDs; without them only labels can be made of it.
    #[must_use]
    pub fn has_guids(self) -> bool {
        self != Self::Slurm
    }
}

/// A switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// Its description; empty where the dump has none.
    pub name: String,
    /// Its LID, where the dump tells; 0 where none is set.
    pub lid: Option<u16>,
}

/// A port of a host, of a router, or of a switch's own aggregation engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What it belongs to.
    pub kind: PortKind,
    /// The node GUID of its adapter, where the dump tells.
    pub adapter: Option<Guid>,
    /// Its number on that adapter.
    pub number: u16,
    /// The node's description; none where the dump gives two that differ.
    pub description: Option<String>,
    /// Its LID, where the dump tells; 0 where none is set.
    pub lid: Option<u16>,
    /// The switch and its port at the other end; none where that is another host.
    pub attached: Option<(Guid, u16)>,
    /// Lanes, speed and state of its link.
    pub link: Link,
}

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A host's adapter.
    Host,
    /// A router, at which the plane ends.
    Router,
    /// A switch's in-network computing engine (SHARP): no host, and no sign of a leaf.
    Aggregation,
}

/// Two switch ports, the smaller first.
pub type Cable = ((Guid, u16), (Guid, u16));

/// How a link runs, as far as the dump tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its lanes.
    pub width: Option<Width>,
    /// The speed of each.
    pub speed: Option<Speed>,
    /// Its logical state.
    pub state: Option<RailState>,
}

/// One end of a link, with all that both of its mentions must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    /// A switch, and the number of its port.
    Switch(Guid, u16),
    /// A port of anything else: its GUID, its number, and its adapter's node GUID where the dump tells.
    Port(Guid, u16, Option<Guid>),
}

/// A link as seen from one end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Half<'a> {
    pub line: usize,
    pub from: End,
    pub to: End,
    /// What the line calls the far node.
    pub to_name: &'a str,
    pub to_lid: Option<u16>,
    pub link: Link,
}

/// What the dump says of a node apart from its links, for each of its ports that has a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub line: usize,
    pub kind: OwnerKind,
    pub name: &'a str,
    pub lid: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerKind {
    Switch,
    Adapter,
    Router,
}

/// The parts of a dump, before its ends are held against each other.
#[derive(Debug, Default)]
pub(crate) struct Parts<'a> {
    /// Of switches, by node GUID.
    pub switches: HashMap<Guid, Owner<'a>>,
    /// Of everything else, by port GUID.
    pub ports: HashMap<Guid, Owner<'a>>,
    pub halves: Vec<Half<'a>>,
    pub made_at: Option<DateTime>,
    pub notes: Vec<String>,
}

/// Examples told of each kind of damage; the rest is counted.
const EXAMPLES: usize = 5;

/// Holds the two mentions of every link against each other.
///
/// # Errors
/// When there is no link at all.
pub(crate) fn assemble(format: Format, parts: Parts<'_>) -> Result<Dump, Problems> {
    let Parts {
        switches,
        ports,
        mut halves,
        made_at,
        notes,
    } = parts;
    if halves.is_empty() {
        return Err(Problem::new(
            "the file",
            "no link at all",
            "a dump of a fabric",
            "ask from a host whose port is up; an isolated host sees only itself",
        )
        .into());
    }
    halves.sort_unstable_by_key(|half| half.from);
    let mut dump = Dump {
        format,
        made_at,
        switches: BTreeMap::new(),
        ports: BTreeMap::new(),
        cables: BTreeMap::new(),
        torn: Vec::new(),
        notes,
    };
    // In this order the maps are filled from their ends, which is what they do best.
    let mut owners: Vec<(&Guid, &Owner<'_>)> = switches.iter().collect();
    owners.sort_unstable_by_key(|(guid, _)| **guid);
    dump.switches = owners
        .into_iter()
        .map(|(guid, owner)| {
            let switch = Switch {
                name: owner.name.to_owned(),
                lid: owner.lid,
            };
            (*guid, switch)
        })
        .collect();
    let mut torn = Torn::default();
    listed_twice(&halves, &mut torn);
    for half in &halves {
        let Some(back) = meet(half, &halves, &mut torn) else {
            continue;
        };
        if let End::Switch(guid, _) = half.to {
            mentioned(guid, half, &switches, &mut torn);
        }
        let link = Link {
            width: half.link.width.or(back.link.width),
            speed: half.link.speed.or(back.link.speed),
            state: worse(half.link.state, back.link.state),
        };
        match (half.from, half.to) {
            (End::Switch(near, number), End::Switch(far, far_number)) => {
                if (near, number) < (far, far_number) {
                    dump.cables.insert(((near, number), (far, far_number)), link);
                }
            }
            (End::Switch(..), End::Port(..)) => {}
            (End::Port(guid, number, adapter), to) => {
                let (kind, description, lid) = described(ports.get(&guid), back, &mut torn, &mut dump.notes);
                let port = Port {
                    kind,
                    adapter,
                    number,
                    description,
                    lid,
                    attached: match to {
                        End::Switch(switch, number) => Some((switch, number)),
                        End::Port(..) => None,
                    },
                    link,
                };
                dump.ports.insert(guid, port);
            }
        }
    }
    for (guid, owner) in &switches {
        // Nothing is found but by a link.
        let first = halves.partition_point(|half| half.from < End::Switch(*guid, 0));
        let linked = halves
            .get(first)
            .is_some_and(|half| matches!(half.from, End::Switch(found, _) if found == *guid));
        if !linked {
            torn.push(format!("line {}: switch {guid} has no link", owner.line));
        }
    }
    dump.torn = torn.finish();
    Ok(dump)
}

/// Tells of ends that are listed more than once; `halves` are sorted by them.
fn listed_twice(halves: &[Half<'_>], torn: &mut Torn) {
    for pair in halves.windows(2) {
        if let [first, second] = pair
            && first.from == second.from
        {
            torn.push(format!(
                "line {}: {} was listed in line {} already",
                first.line.max(second.line),
                print(first.from),
                first.line.min(second.line)
            ));
        }
    }
}

/// The same link as listed from its other end; tells where the two do not agree.
fn meet<'h, 'a>(half: &Half<'a>, halves: &'h [Half<'a>], torn: &mut Torn) -> Option<&'h Half<'a>> {
    let back = halves
        .binary_search_by_key(&half.to, |other| other.from)
        .ok()
        .and_then(|found| halves.get(found));
    let Some(back) = back else {
        torn.push(format!(
            "line {}: {} leads to {}, of which the file lists no link",
            half.line,
            print(half.from),
            print(half.to)
        ));
        return None;
    };
    if back.to != half.from {
        torn.push(format!(
            "line {}: {} leads to {}, which in line {} leads to {}",
            half.line,
            print(half.from),
            print(half.to),
            back.line,
            print(back.to)
        ));
        return None;
    }
    if let Some(difference) =
        differs(half.link.width, back.link.width).or_else(|| differs(half.link.speed, back.link.speed))
    {
        torn.push(format!(
            "lines {} and {}: the two ends of one link differ, {difference}",
            half.line.min(back.line),
            half.line.max(back.line)
        ));
    }
    Some(back)
}

/// Kind, description and LID of the port that `back` leads to, from what it says of itself and what `back` says of it.
fn described(
    owner: Option<&Owner<'_>>,
    back: &Half<'_>,
    torn: &mut Torn,
    notes: &mut Vec<String>,
) -> (PortKind, Option<String>, Option<u16>) {
    let (name, lid, kind) = owner.map_or((back.to_name, back.to_lid, OwnerKind::Adapter), |owner| {
        (owner.name, owner.lid, owner.kind)
    });
    if let (Some(owner), Some(difference)) = (owner, differs(lid, back.to_lid)) {
        torn.push(format!(
            "lines {} and {}: the LID of {name:?} differs, {difference}",
            owner.line, back.line
        ));
    }
    // A node-name-map renames what the other side calls the host, and not what the host calls itself.
    let agreed = name == back.to_name;
    if !agreed {
        notes.push(format!(
            "line {}: what calls itself {name:?} is called {:?} from the other end of its link: it is not known by name",
            back.line, back.to_name
        ));
    }
    let kind = match kind {
        OwnerKind::Router | OwnerKind::Switch => PortKind::Router,
        OwnerKind::Adapter if name.contains("Aggregation Node") => PortKind::Aggregation,
        OwnerKind::Adapter => PortKind::Host,
    };
    (kind, agreed.then(|| name.to_owned()), lid.or(back.to_lid))
}

/// Holds what a line says of the switch at its far end against what that switch says of itself.
fn mentioned(guid: Guid, half: &Half<'_>, switches: &HashMap<Guid, Owner<'_>>, torn: &mut Torn) {
    let Some(owner) = switches.get(&guid) else {
        torn.push(format!("line {}: switch {guid} is not described", half.line));
        return;
    };
    if owner.name != half.to_name {
        torn.push(format!(
            "lines {} and {}: switch {guid} is called {:?} and {:?}",
            owner.line, half.line, owner.name, half.to_name
        ));
    }
    if let Some(difference) = differs(owner.lid, half.to_lid) {
        torn.push(format!(
            "lines {} and {}: the LID of switch {guid} differs, {difference}",
            owner.line, half.line
        ));
    }
}

/// What two mentions of one thing say, where both say something and it is not the same.
fn differs<T: PartialEq + core::fmt::Display>(one: Option<T>, other: Option<T>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(format!("{one} and {other}")),
        _ => None,
    }
}

/// The state that promises less; each end tells its own.
#[must_use]
pub(crate) fn worse(one: Option<RailState>, other: Option<RailState>) -> Option<RailState> {
    let rank = |state: RailState| match state {
        RailState::Dark => 0,
        RailState::Down => 1,
        RailState::Initialize => 2,
        RailState::Armed => 3,
        RailState::Active => 4,
        RailState::Unknown => 5,
    };
    one.into_iter().chain(other).min_by_key(|state| rank(*state))
}

fn print(end: End) -> String {
    match end {
        End::Switch(guid, number) => format!("switch {guid} port {number}"),
        End::Port(guid, number, _) => format!("adapter port {guid} (number {number})"),
    }
}

/// Damage, as many examples of it as people read.
#[derive(Default)]
struct Torn {
    told: Vec<String>,
    more: usize,
}

impl Torn {
    fn push(&mut self, text: String) {
        if self.told.len() < EXAMPLES {
            self.told.push(text);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.told.sort_unstable();
        self.told.dedup();
        if self.more > 0 {
            self.told.push(format!("and {} more like these", self.more));
        }
        self.told
    }
}
