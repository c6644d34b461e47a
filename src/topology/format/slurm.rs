//! SLURM's `topology.conf`: a tree of switches and the hosts below them, by name.
//!
//! `SwitchName=s0 Nodes=tux[0-3,12]`, `SwitchName=top Switches=s[0-3]`; and the blocks of topology/block. It knows no
//! GUIDs and no rails: numbers made from the names stand in for them, and only labels come of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::fabric::Guid;
use crate::decide::problem::{Problem, Problems, quoted};
use crate::topology::dump::{Dump, Format, Link, Port, PortKind, Switch};

/// The most names that a file may stand for: brackets make many of few bytes.
const MOST_NAMES: usize = 200_000;

/// Reads the text.
///
/// # Errors
/// Every line that is wrong; switches that are named and not described, hosts below two switches.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    let mut problems = Problems::none();
    let mut file = File::default();
    let joined = text.replace("\\\n", " ");
    for (index, line) in joined.lines().enumerate() {
        let place = format!("line {}", index.saturating_add(1));
        let content = line.split('#').next().unwrap_or_default().trim();
        if !content.is_empty()
            && let Err(problem) = file.line(&place, content)
        {
            problems.push(problem);
        }
    }
    file.check(&mut problems);
    let dump = file.dump();
    if dump.ports.is_empty() && problems.is_empty() {
        problems.push(Problem::new(
            "the file",
            "no host at all",
            "lines SwitchName=.. Nodes=..",
            "give the file that slurmctld reads",
        ));
    }
    problems.or(dump)
}

#[derive(Default)]
struct File {
    /// Hosts by switch.
    hosts: BTreeMap<String, Vec<String>>,
    /// Lower switches by switch.
    below: BTreeMap<String, Vec<String>>,
    names: usize,
}

impl File {
    fn line(&mut self, place: &str, content: &str) -> Result<(), Problem> {
        let wrong = |found: &str, expected: &str| {
            Problem::new(
                place,
                quoted(found),
                expected,
                "correct the line, or make the file again",
            )
        };
        let mut switches = Vec::new();
        let mut list = None;
        for part in content.split_ascii_whitespace() {
            let Some((key, value)) = part.split_once('=') else {
                return Err(wrong(part, "KEY=VALUE"));
            };
            match key.to_ascii_lowercase().as_str() {
                "switchname" | "blockname" => {
                    switches = expanded(value).ok_or_else(|| wrong(value, "a name"))?;
                }
                "nodes" | "switches" => {
                    let names = expanded(value).ok_or_else(|| wrong(value, "names, such as tux[0-3,12]"))?;
                    if list.is_some() {
                        return Err(wrong(content, "either Nodes= or Switches= of a switch"));
                    }
                    list = Some((key.eq_ignore_ascii_case("nodes"), names));
                }
                "linkspeed" | "blocksizes" => {}
                _ => {
                    return Err(wrong(
                        key,
                        "SwitchName, BlockName, Nodes, Switches, LinkSpeed or BlockSizes",
                    ));
                }
            }
        }
        let Some((is_hosts, names)) = list else {
            // `BlockSizes=18,36` stands alone.
            return if switches.is_empty() {
                Ok(())
            } else {
                Err(wrong(content, "Nodes= or Switches= as well"))
            };
        };
        let [switch] = switches.as_slice() else {
            return Err(wrong(content, "the name of one switch"));
        };
        self.names = self.names.saturating_add(names.len());
        if self.names > MOST_NAMES {
            return Err(wrong(content, "no more than 200000 names in all"));
        }
        let lists = if is_hosts {
            &mut self.hosts
        } else {
            &mut self.below
        };
        lists.entry(switch.clone()).or_default().extend(names);
        Ok(())
    }

    fn check(&self, problems: &mut Problems) {
        for (switch, below) in &self.below {
            for lower in below {
                if !self.hosts.contains_key(lower) && !self.below.contains_key(lower) {
                    problems.push(Problem::new(
                        format!("SwitchName={switch}"),
                        format!("{lower:?} among its switches, which is not described"),
                        "a line for every switch",
                        "the file is not whole: make it again",
                    ));
                }
            }
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (switch, hosts) in &self.hosts {
            for host in hosts {
                if let Some(other) = seen.insert(host, switch) {
                    problems.push(Problem::new(
                        format!("SwitchName={switch}"),
                        format!("host {host:?}, which is below {other} too"),
                        "every host below one switch",
                        "give the dump of the fabric itself; a rail-optimised fabric is no tree",
                    ));
                }
            }
        }
    }

    fn dump(&self) -> Dump {
        let names: BTreeSet<&String> = self.hosts.keys().chain(self.below.keys()).collect();
        let mut dump = Dump {
            format: Format::Slurm,
            made_at: None,
            switches: names
                .into_iter()
                .map(|name| {
                    let switch = Switch {
                        name: name.clone(),
                        lid: None,
                    };
                    (stand_in("switch", name), switch)
                })
                .collect(),
            ports: BTreeMap::new(),
            cables: BTreeMap::new(),
            torn: Vec::new(),
            notes: Vec::new(),
        };
        for (switch, hosts) in &self.hosts {
            for (number, host) in (1_u16..).zip(hosts) {
                let port = Port {
                    kind: PortKind::Host,
                    adapter: None,
                    number: 1,
                    description: Some(host.clone()),
                    lid: None,
                    attached: Some((stand_in("switch", switch), number)),
                    link: Link::default(),
                };
                dump.ports.insert(stand_in("host", host), port);
            }
        }
        for (switch, below) in &self.below {
            for (number, lower) in (1_u16..).zip(below) {
                let ends = (
                    (stand_in("switch", switch), number),
                    (stand_in("switch", lower), 0),
                );
                let cable = if ends.0 < ends.1 { ends } else { (ends.1, ends.0) };
                dump.cables.insert(cable, Link::default());
            }
        }
        dump
    }
}

/// A number for a name, the same at every run (FNV-1a, 64 bits).
fn stand_in(kind: &str, name: &str) -> Guid {
    let hash = kind
        .bytes()
        .chain([b' '])
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    Guid(hash)
}

/// The names of a host list: `a[001-032,040],b7`; none where its brackets are wrong.
fn expanded(list: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for part in outside_brackets(list)? {
        if part.is_empty() {
            return None;
        }
        let mut grown = vec![String::new()];
        let mut rest = part;
        while let Some((before, more)) = rest.split_once('[') {
            let (ranges, after) = more.split_once(']')?;
            let numbers = numbers(ranges)?;
            if grown.len().saturating_mul(numbers.len()) > MOST_NAMES {
                return None;
            }
            grown = grown
                .iter()
                .flat_map(|stem| {
                    numbers
                        .iter()
                        .map(move |number| format!("{stem}{before}{number}"))
                })
                .collect();
            rest = after;
        }
        names.extend(grown.into_iter().map(|stem| stem + rest));
    }
    Some(names)
}

/// The parts between commas that are in no brackets.
fn outside_brackets(list: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut inside = false;
    let mut start = 0_usize;
    for (at, c) in list.char_indices() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            '[' | ']' => return None,
            ',' if !inside => {
                parts.push(list.get(start..at)?);
                start = at.saturating_add(1);
            }
            _ => {}
        }
    }
    parts.push(list.get(start..)?);
    (!inside).then_some(parts)
}

/// `001-032,040`: numbers as they are written, zeros before them kept.
fn numbers(ranges: &str) -> Option<Vec<String>> {
    let mut numbers = Vec::new();
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(first) || !is_number(last) {
            return None;
        }
        let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if from > to || to.saturating_sub(from) >= MOST_NAMES {
            return None;
        }
        let digits = first.len();
        numbers.extend((from..=to).map(|number| format!("{number:0digits$}")));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_lists_expand_as_slurm_expands_them() {
        let names = |list: &str| expanded(list).unwrap().join(" ");
        assert_eq!(names("a[08-10,12],b7"), "a08 a09 a10 a12 b7");
        assert_eq!(names("r[1-2]n[1-2]x"), "r1n1x r1n2x r2n1x r2n2x");
        for wrong in ["a[", "a]", "a[1-]", "a[2-1]", "a[x]", "", "a,,b", "a[0-99999999]"] {
            assert_eq!(expanded(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_tree_becomes_switches_hosts_and_cables() {
        let dump = parse("# SLURM\nSwitchName=s0 Nodes=n[1-2]\nSwitchName=s1 Nodes=n3 LinkSpeed=1\nSwitchName=top Switches=s[0-1]\n")
            .unwrap();
        assert_eq!(
            (dump.switches.len(), dump.ports.len(), dump.cables.len()),
            (3, 3, 2)
        );
    }

    #[test]
    fn what_is_not_a_whole_tree_is_told() {
        for (text, told) in [
            ("SwitchName=top Switches=s[0-1]\n", "\"s0\" among its switches"),
            (
                "SwitchName=a Nodes=n1\nSwitchName=b Nodes=n[1-2]\n",
                "which is below a too",
            ),
            ("SwitchName=a\n", "Nodes= or Switches= as well"),
            ("SwitchName=a Nodes=n[1\n", "names, such as"),
            ("Nodename=a\n", "SwitchName, BlockName"),
            ("BlockSizes=2\n", "no host at all"),
        ] {
            let problems = parse(text).unwrap_err().to_string();
            assert!(problems.contains(told), "{text}: {problems}");
        }
    }
}
