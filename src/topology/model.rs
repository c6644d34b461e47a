//! The fabric that all dumps together describe.
//!
//! Dumps of different subnets add up; dumps of the same subnet lie over each other, and then the one that knows states
//! decides whether a port is up. What two of them contradict each other about is an error: they are of different times.

use std::collections::{BTreeMap, VecDeque};

use crate::decide::fabric::{Guid, RailState};
use crate::decide::problem::{Problem, Problems};

use super::dump::{Cable, Dump, Link, Port, PortKind, Switch, worse};

/// The whole fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fabric {
    /// Switches by node GUID. Names of switches are neither unique nor stable.
    pub switches: BTreeMap<Guid, Switch>,
    /// Ports of everything that is no switch, by port GUID.
    pub ports: BTreeMap<Guid, Port>,
    /// Links between switches, each once.
    pub cables: BTreeMap<Cable, Link>,
    /// Whether GUIDs are real; those of a SLURM file stand in for names, and nothing can be said of single rails.
    pub has_guids: bool,
    /// What was noticed in the dumps and does no harm.
    pub notes: Vec<String>,
}

impl Fabric {
    /// Lays dumps, each with the name of its file, together.
    ///
    /// # Errors
    /// When a dump is torn, or two contradict each other.
    pub fn of(dumps: Vec<(String, Dump)>) -> Result<Self, Problems> {
        let mut problems = Problems::none();
        for (file, dump) in &dumps {
            if !dump.torn.is_empty() {
                problems.push(Problem::new(
                    file.as_str(),
                    format!("links that do not meet ({})", dump.torn.join("; ")),
                    "every link listed from both of its ends, alike",
                    "the file is cut off, damaged or was read while it was written: make it again",
                ));
            }
        }
        let guids = dumps.iter().filter(|(_, dump)| dump.format.has_guids()).count();
        if guids != 0 && guids != dumps.len() {
            problems.push(Problem::new(
                "the files",
                "a SLURM topology.conf together with others",
                "files that know GUIDs, or SLURM's alone",
                "import the dump of the fabric; it says more than the file made from it",
            ));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut fabric = Self {
            has_guids: guids > 0,
            ..Self::default()
        };
        for (file, dump) in &dumps {
            fabric
                .notes
                .extend(dump.notes.iter().map(|note| format!("{file}: {note}")));
        }
        fabric.down_by_absence(&dumps);
        for (file, dump) in dumps {
            fabric.lay(&file, dump, &mut problems);
        }
        fabric
            .ports
            .values_mut()
            .filter(|port| {
                port.lid == Some(0) && port.link.state.is_none_or(|state| state != RailState::Down)
            })
            .for_each(|port| port.link.state = Some(RailState::Initialize));
        problems.or(fabric)
    }

    /// A port that one dump lists, and that another, which tells states and knows the switch it was attached to, does
    /// not list: its link went down in between.
    fn down_by_absence(&mut self, dumps: &[(String, Dump)]) {
        let with_states = || dumps.iter().filter(|(_, dump)| dump.format.has_states());
        for (_, dump) in dumps {
            for (guid, port) in &dump.ports {
                let Some((leaf, _)) = port.attached else {
                    continue;
                };
                let absent = with_states()
                    .any(|(_, other)| other.switches.contains_key(&leaf) && !other.ports.contains_key(guid));
                if absent {
                    let mut port = port.clone();
                    port.link.state = Some(RailState::Down);
                    self.ports.insert(*guid, port);
                }
            }
        }
    }

    fn lay(&mut self, file: &str, dump: Dump, problems: &mut Problems) {
        for (guid, switch) in dump.switches {
            let known = self.switches.entry(guid).or_insert_with(|| switch.clone());
            if known.name.is_empty() {
                known.name = switch.name;
            }
            known.lid = known.lid.or(switch.lid);
        }
        for (guid, port) in dump.ports {
            let Some(known) = self.ports.get_mut(&guid) else {
                self.ports.insert(guid, port);
                continue;
            };
            if known.attached != port.attached {
                problems.push(Problem::new(
                    file,
                    format!("port {guid} at {}", place(port.attached)),
                    format!("{}, as another file says", place(known.attached)),
                    "give dumps of the same time",
                ));
            }
            // The formats tell different things of one port; what is told by one of them is kept.
            if known.kind == PortKind::Host {
                known.kind = port.kind;
            }
            known.adapter = known.adapter.or(port.adapter);
            if known.description.is_none() {
                known.description = port.description;
            }
            known.lid = known.lid.or(port.lid);
            known.link = Link {
                width: known.link.width.into_iter().chain(port.link.width).min(),
                speed: known.link.speed.into_iter().chain(port.link.speed).min(),
                state: worse(known.link.state, port.link.state),
            };
        }
        for (cable, link) in dump.cables {
            let known = self.cables.entry(cable).or_insert(link);
            known.state = worse(known.state, link.state);
        }
    }

    /// The neighbors of every switch, each once.
    #[must_use]
    pub fn neighbors(&self) -> BTreeMap<Guid, Vec<Guid>> {
        let mut neighbors: BTreeMap<Guid, Vec<Guid>> =
            self.switches.keys().map(|guid| (*guid, Vec::new())).collect();
        for ((one, _), (other, _)) in self.cables.keys() {
            neighbors.entry(*one).or_default().push(*other);
            neighbors.entry(*other).or_default().push(*one);
        }
        for list in neighbors.values_mut() {
            list.sort_unstable();
            list.dedup();
        }
        neighbors
    }

    /// The number of cables from each of `starts` to every switch that can be reached.
    #[must_use]
    pub fn distances(
        neighbors: &BTreeMap<Guid, Vec<Guid>>,
        starts: impl IntoIterator<Item = Guid>,
    ) -> BTreeMap<Guid, usize> {
        let mut distances = BTreeMap::new();
        let mut queue = VecDeque::new();
        for start in starts {
            distances.insert(start, 0);
            queue.push_back((start, 0_usize));
        }
        while let Some((switch, distance)) = queue.pop_front() {
            for neighbor in neighbors.get(&switch).into_iter().flatten() {
                if !distances.contains_key(neighbor) {
                    let further = distance.saturating_add(1);
                    distances.insert(*neighbor, further);
                    queue.push_back((*neighbor, further));
                }
            }
        }
        distances
    }

    /// For every switch the number of its plane: of the connected part of the fabric it is in.
    #[must_use]
    pub fn planes(neighbors: &BTreeMap<Guid, Vec<Guid>>) -> BTreeMap<Guid, usize> {
        let mut planes: BTreeMap<Guid, usize> = BTreeMap::new();
        let mut next = 0_usize;
        for switch in neighbors.keys() {
            if !planes.contains_key(switch) {
                for reached in Self::distances(neighbors, [*switch]).into_keys() {
                    planes.insert(reached, next);
                }
                next = next.saturating_add(1);
            }
        }
        planes
    }

    /// What people call a switch: the name in the description of a managed one, else the end of its GUID.
    #[must_use]
    pub fn switch_name(&self, guid: Guid) -> String {
        let name = self.switches.get(&guid).map_or("", |switch| switch.name.as_str());
        display_name(guid, name)
    }
}

/// `leaf01` of `MF0;leaf01:MQM8700/U1`; `S-..000300` for firmware's own text, which many switches share; other texts
/// stay whole.
#[must_use]
pub fn display_name(guid: Guid, description: &str) -> String {
    if let Some((_, rest)) = description.split_once(';')
        && let Some((name, _)) = rest.split_once(':')
        && !name.is_empty()
    {
        return name.to_owned();
    }
    if description.trim().is_empty() || description.contains("Mellanox Technologies") {
        let digits = format!("{:016x}", guid.0);
        return format!("S-..{}", digits.get(10..).unwrap_or(&digits));
    }
    description.trim().to_owned()
}

fn place(attached: Option<(Guid, u16)>) -> String {
    attached.map_or_else(
        || "no switch".to_owned(),
        |(switch, number)| format!("switch {switch} port {number}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_switches_have_names_and_others_the_end_of_their_guid() {
        let guid = Guid(0xfc6a_1c03_0002_0300);
        assert_eq!(display_name(guid, "MF0;leaf01:MQM8700/U1"), "leaf01");
        assert_eq!(display_name(guid, "SwitchIB Mellanox Technologies"), "S-..020300");
        assert_eq!(display_name(guid, "rack 7 top"), "rack 7 top");
    }
}
