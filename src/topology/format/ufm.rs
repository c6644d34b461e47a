//! UFM's `/ufmRest/resources/ports`: a JSON object for each port of the fabric.
//!
//! `guid` and `number` say which port it is, `peer` (`<guid>_<number>`) which one it is linked to; `description` begins
//! with what it belongs to, such as `Computer IB Port` or `Switch IB Port`.

use serde::Deserialize;
use serde_json::Value;

use super::scan::unknown;
use crate::decide::fabric::{Guid, RailState};
use crate::decide::problem::{Problem, Problems};
use crate::topology::dump::{Dump, End, Format, Half, Link, Owner, OwnerKind, Parts, assemble};

/// Reads the text.
///
/// # Errors
/// When it is no such list, for every port that cannot be read, and when there is no link at all.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    let mut json = serde_json::Deserializer::from_str(text);
    let objects: Vec<PortObject> = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        Problem::new(
            format!("the file, {}", error.path()),
            error.inner().to_string(),
            "ports as UFM's /ufmRest/resources/ports lists them",
            "fetch the list again",
        )
    })?;
    let mut problems = Problems::none();
    let mut parts = Parts::default();
    let rows: Vec<Row<'_>> = objects
        .iter()
        .enumerate()
        .filter_map(|(index, port)| port.row(index).map_err(|problem| problems.push(problem)).ok())
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let kinds: std::collections::HashMap<(Guid, u16), OwnerKind> = rows
        .iter()
        .map(|row| ((row.guid, row.number), row.kind))
        .collect();
    for row in &rows {
        let owner = Owner {
            line: row.index,
            kind: row.kind,
            name: row.name,
            lid: row.lid,
        };
        match row.kind {
            OwnerKind::Switch => parts.switches.entry(row.guid).or_insert(owner),
            OwnerKind::Adapter | OwnerKind::Router => parts.ports.entry(row.guid).or_insert(owner),
        };
        if let Some((peer, number)) = row.peer {
            // A peer that is not in the list has no other end to be compared with, and that is told.
            let kind = kinds.get(&(peer, number)).copied().unwrap_or(OwnerKind::Switch);
            parts.halves.push(Half {
                line: row.index,
                from: end(row.kind, row.guid, row.number),
                to: end(kind, peer, number),
                to_name: row.peer_name,
                to_lid: row.peer_lid,
                link: row.link,
            });
        }
    }
    assemble(Format::UfmPorts, parts)
}

fn end(kind: OwnerKind, guid: Guid, number: u16) -> End {
    match kind {
        OwnerKind::Switch => End::Switch(guid, number),
        OwnerKind::Adapter | OwnerKind::Router => End::Port(guid, number, None),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PortObject {
    description: Option<String>,
    guid: Option<String>,
    number: Option<Value>,
    lid: Option<u16>,
    node_description: Option<String>,
    logical_state: Option<String>,
    active_speed: Option<String>,
    active_width: Option<String>,
    peer: Option<String>,
    peer_lid: Option<u16>,
    peer_node_description: Option<String>,
}

struct Row<'a> {
    /// Its place in the list, from 1.
    index: usize,
    kind: OwnerKind,
    guid: Guid,
    number: u16,
    name: &'a str,
    lid: Option<u16>,
    link: Link,
    peer: Option<(Guid, u16)>,
    peer_name: &'a str,
    peer_lid: Option<u16>,
}

impl PortObject {
    fn row(&self, index: usize) -> Result<Row<'_>, Problem> {
        let wrong = |field: &str, found: &str, expected: &str| {
            Problem::new(
                format!("port [{index}].{field}"),
                format!("{found:?}"),
                expected,
                "fetch the list again",
            )
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let guid = said(self.guid.as_deref())
            .and_then(|guid| guid.parse().ok())
            .ok_or_else(|| wrong("guid", &text(&self.guid), "a GUID"))?;
        let number = self.number.as_ref().and_then(number_of);
        let number = number.ok_or_else(|| {
            let found = self.number.as_ref().map(ToString::to_string).unwrap_or_default();
            wrong("number", &found, "the number of the port")
        })?;
        let peer = said(self.peer.as_deref())
            .map(|peer| {
                peer.split_once('_')
                    .and_then(|(guid, number)| Some((guid.parse().ok()?, number.parse().ok()?)))
                    .ok_or_else(|| wrong("peer", peer, "<guid>_<number>"))
            })
            .transpose()?;
        let state = match said(self.logical_state.as_deref())
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            Some("active") => Some(RailState::Active),
            Some("armed") => Some(RailState::Armed),
            Some("initialize" | "init" | "initialized") => Some(RailState::Initialize),
            Some("down") => Some(RailState::Down),
            None | Some("unknown") => None,
            Some(_) => {
                return Err(wrong(
                    "logical_state",
                    &text(&self.logical_state),
                    "Active, Armed, Initialize or Down",
                ));
            }
        };
        let width = said(self.active_width.as_deref())
            .map(|width| width.to_ascii_lowercase().parse())
            .transpose()
            .map_err(|_| wrong("active_width", &text(&self.active_width), "1x, 2x, 4x, 8x or 12x"))?;
        let speed = said(self.active_speed.as_deref())
            .map(|speed| speed.to_ascii_uppercase().parse())
            .transpose()
            .map_err(|_| {
                wrong(
                    "active_speed",
                    &text(&self.active_speed),
                    "a speed's name, such as HDR",
                )
            })?;
        let description = self.description.as_deref().unwrap_or_default();
        let kind = if description.starts_with("Switch") {
            OwnerKind::Switch
        } else if description.starts_with("Gateway") || description.starts_with("Router") {
            OwnerKind::Router
        } else {
            OwnerKind::Adapter
        };
        Ok(Row {
            index: index.saturating_add(1),
            kind,
            guid,
            number,
            name: self.node_description.as_deref().unwrap_or_default(),
            lid: self.lid,
            link: Link { width, speed, state },
            peer,
            peer_name: self.peer_node_description.as_deref().unwrap_or_default(),
            peer_lid: self.peer_lid,
        })
    }
}

/// What UFM says, where it says something.
fn said(text: Option<&str>) -> Option<&str> {
    text.map(str::trim)
        .filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("n/a") && !unknown(text))
}

fn number_of(value: &Value) -> Option<u16> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| number.try_into().ok()),
    }
}
