//! A picture as a tree of text, as JSON, and as a graph for Graphviz.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;

use crate::cluster::fabric::{FabricWire, wire};
use crate::decide::fabric::{Guid, Rail};

use super::picture::{GroupPicture, Health, HostPicture, Picture, Usual};
use super::plan::brief;
use crate::simulate::columns::plural;

/// Writes a tree: areas, leaf groups, leaves, hosts.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_tree(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    let mut around: Option<(&Option<String>, &Option<String>)> = None;
    for group in &picture.groups {
        if around != Some((&group.core, &group.spine)) {
            around = Some((&group.core, &group.spine));
            let names: Vec<String> = [("core", &group.core), ("spine", &group.spine)]
                .into_iter()
                .filter_map(|(tier, name)| Some(format!("{tier} {}", name.as_ref()?)))
                .collect();
            if !names.is_empty() {
                writeln!(out, "{}", names.join(", "))?;
            }
        }
        let indent = if group.spine.is_some() { "  " } else { "" };
        writeln!(
            out,
            "{indent}leaf group {}: {}, {}",
            group.name,
            plural(group.hosts.len(), "host"),
            leaves(group.leaves.len())
        )?;
        for (guid, name, rails) in &group.leaves {
            writeln!(out, "{indent}  leaf {name} ({guid}), {}", numbers(rails))?;
        }
        for host in &group.hosts {
            writeln!(out, "{indent}  {}", line(host, picture.usual))?;
        }
    }
    if !picture.loose.is_empty() {
        writeln!(out, "in no leaf group")?;
        for host in &picture.loose {
            writeln!(out, "  {}", line(host, picture.usual))?;
        }
    }
    if !picture.higher.is_empty() {
        writeln!(out, "other switches")?;
        for (guid, name, level) in &picture.higher {
            let level = level.map_or_else(
                || "out of reach of the leaves".to_owned(),
                |level| format!("{} from the next leaf", plural(level, "cable")),
            );
            writeln!(out, "  {name} ({guid}), {level}")?;
        }
    }
    Ok(())
}

fn leaves(count: usize) -> String {
    if count == 1 {
        "1 leaf".to_owned()
    } else {
        format!("{count} leaves")
    }
}

fn numbers(rails: &BTreeSet<u16>) -> String {
    let all: Vec<String> = rails.iter().map(ToString::to_string).collect();
    let noun = if all.len() == 1 { "rail" } else { "rails" };
    format!("{noun} {}", all.join(", "))
}

/// A host in one line: what is well in short, what is not in full.
fn line(host: &HostPicture, usual: Usual) -> String {
    let mut parts = vec![format!("{}: {}", host.name, plural(host.rails.len(), "rail"))];
    let fine: Vec<&Rail> = host
        .rails
        .iter()
        .filter(|rail| usual.health(rail) == Health::Fine)
        .collect();
    if let Some(first) = fine.first() {
        let all = fine.len() == host.rails.len();
        let how = match (first.width, first.speed) {
            (Some(width), Some(speed)) => format!(" {width}{speed}"),
            _ => String::new(),
        };
        let count = if all {
            String::new()
        } else {
            format!("{} ", fine.len())
        };
        parts.push(format!("{count}{}{how}", first.state));
    }
    for rail in &host.rails {
        let health = usual.health(rail);
        if health != Health::Fine {
            let slow = if health == Health::Slow { "SLOW, " } else { "" };
            parts.push(format!("rail {} ({}) {slow}{}", rail.rail, rail.hca, brief(rail)));
        }
    }
    parts.join(", ")
}

/// The picture as JSON.
#[derive(Debug, Serialize)]
pub struct PictureWire<'a> {
    groups: Vec<GroupWire<'a>>,
    loose: Vec<HostWire<'a>>,
    switches: Vec<SwitchWire<'a>>,
}

#[derive(Debug, Serialize)]
struct GroupWire<'a> {
    name: &'a str,
    spine: Option<&'a str>,
    core: Option<&'a str>,
    leaves: Vec<LeafWire<'a>>,
    hosts: Vec<HostWire<'a>>,
}

#[derive(Debug, Serialize)]
struct LeafWire<'a> {
    guid: String,
    name: &'a str,
    rails: &'a BTreeSet<u16>,
}

#[derive(Debug, Serialize)]
struct HostWire<'a> {
    name: &'a str,
    fabric: FabricWire,
    /// Numbers of the rails that run narrower or slower than most.
    slow: Vec<u16>,
}

#[derive(Debug, Serialize)]
struct SwitchWire<'a> {
    guid: String,
    name: &'a str,
    level: Option<usize>,
}

impl<'a> From<&'a Picture> for PictureWire<'a> {
    fn from(picture: &'a Picture) -> Self {
        let host = |host: &'a HostPicture| HostWire {
            name: &host.name,
            fabric: wire(&host.rails),
            slow: host
                .rails
                .iter()
                .filter(|rail| picture.usual.health(rail) == Health::Slow)
                .map(|rail| rail.rail)
                .collect(),
        };
        let group = |group: &'a GroupPicture| GroupWire {
            name: &group.name,
            spine: group.spine.as_deref(),
            core: group.core.as_deref(),
            leaves: group
                .leaves
                .iter()
                .map(|(guid, name, rails)| LeafWire {
                    guid: guid.to_string(),
                    name,
                    rails,
                })
                .collect(),
            hosts: group.hosts.iter().map(host).collect(),
        };
        Self {
            groups: picture.groups.iter().map(group).collect(),
            loose: picture.loose.iter().map(host).collect(),
            switches: picture
                .higher
                .iter()
                .map(|(guid, name, level)| SwitchWire {
                    guid: guid.to_string(),
                    name,
                    level: *level,
                })
                .collect(),
        }
    }
}

/// Writes a graph in Graphviz' language.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_dot(picture: &Picture, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "graph fabric {{")?;
    writeln!(out, "  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];")?;
    for (guid, name, _) in &picture.higher {
        writeln!(out, "  {} [label={}];", id(*guid), quoted(name))?;
    }
    for (number, group) in picture.groups.iter().enumerate() {
        writeln!(out, "  subgraph cluster_{number} {{")?;
        writeln!(out, "    label={};", quoted(&group.name))?;
        for (guid, name, _) in &group.leaves {
            writeln!(
                out,
                "    {} [label={}, style=filled, fillcolor=\"#dbe7f3\"];",
                id(*guid),
                quoted(name)
            )?;
        }
        for host in &group.hosts {
            writeln!(out, "    {} [shape=plaintext];", quoted(&host.name))?;
        }
        writeln!(out, "  }}")?;
    }
    let hosts = picture.groups.iter().flat_map(|group| &group.hosts);
    for host in hosts.chain(&picture.loose) {
        for rail in &host.rails {
            let Some(leaf) = rail.leaf else { continue };
            let style = match picture.usual.health(rail) {
                Health::Fine => "color=\"#2e7d32\"",
                Health::Slow => "color=\"#ef6c00\", penwidth=2",
                Health::Unfit => "color=\"#c62828\", penwidth=2",
                Health::Dark => "color=\"#c62828\", style=dashed, penwidth=2",
            };
            writeln!(
                out,
                "  {} -- {} [label=\"{}\", {style}];",
                id(leaf),
                quoted(&host.name),
                rail.rail
            )?;
        }
    }
    for ((one, other), count) in &picture.trunks {
        writeln!(out, "  {} -- {} [label=\"x{count}\"];", id(*one), id(*other))?;
    }
    writeln!(out, "}}")
}

fn id(guid: Guid) -> String {
    format!("\"{guid}\"")
}

/// A text between quotes, as Graphviz reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
