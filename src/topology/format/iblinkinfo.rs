//! `iblinkinfo -l`: a line for each port, with its live state.
//!
//! `0xa088c20300008011 "   node08 mlx5_1"  24    1[  ] ==( 4X        53.125 Gbps Active/  LinkUp)==>  0xfc6a1c0300000400
//! 5    4[  ] "MF0;leaf04:MQM8700/U1" ( )`; a port without a link has neither width nor far end. Speeds are those of one
//! lane. The line does not say what kind of node it is of: a switch lists all of its ports under one GUID, anything else
//! has a GUID for each.

use std::collections::HashMap;

use super::scan::{Scan, Stray, guid};
use crate::decide::fabric::{Guid, RailState, Speed, Width};
use crate::decide::problem::Problems;
use crate::topology::dump::{Dump, End, Format, Half, Link, Owner, OwnerKind, Parts, assemble};

/// Reads the text.
///
/// # Errors
/// When a line does not follow the grammar, and when there is no link at all.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    let mut stray = Stray::default();
    let mut rows: Vec<Row<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line = line.trim_end();
        stray.line();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match Row::read(line, number) {
            Some(row) => rows.push(row),
            None => stray.broken(number, line, "the line of a port, as iblinkinfo -l prints it"),
        }
    }
    let mut parts = Parts::default();
    stray.finish(&mut parts.notes)?;
    // A GUID with several port numbers is a switch's.
    let mut numbers: HashMap<Guid, (u16, bool)> = HashMap::new();
    for row in &rows {
        let (first, several) = numbers.entry(row.near.guid).or_insert((row.near.number, false));
        *several |= *first != row.near.number;
    }
    let is_switch = |guid: Guid| numbers.get(&guid).is_some_and(|(_, several)| *several);
    let end = |side: &Side<'_>| {
        if is_switch(side.guid) {
            End::Switch(side.guid, side.number)
        } else {
            End::Port(side.guid, side.number, None)
        }
    };
    for row in &rows {
        let owner = Owner {
            line: row.line,
            kind: OwnerKind::Adapter,
            name: row.near.name,
            lid: Some(row.near.lid),
        };
        if is_switch(row.near.guid) {
            let kind = OwnerKind::Switch;
            parts
                .switches
                .entry(row.near.guid)
                .or_insert(Owner { kind, ..owner });
        } else if row.far.is_some() {
            // A managed router describes itself as a managed switch does.
            let kind = if row.near.name.starts_with("MF0;") {
                OwnerKind::Router
            } else {
                OwnerKind::Adapter
            };
            parts.ports.insert(row.near.guid, Owner { kind, ..owner });
        }
        if let Some(far) = &row.far {
            parts.halves.push(Half {
                line: row.line,
                from: end(&row.near),
                to: end(far),
                to_name: far.name,
                to_lid: Some(far.lid),
                link: row.link,
            });
        }
    }
    assemble(Format::Iblinkinfo, parts)
}

struct Row<'a> {
    line: usize,
    near: Side<'a>,
    link: Link,
    far: Option<Side<'a>>,
}

struct Side<'a> {
    guid: Guid,
    name: &'a str,
    lid: u16,
    number: u16,
}

impl<'a> Row<'a> {
    fn read(text: &'a str, number: usize) -> Option<Self> {
        let (near, rest) = text.split_once(" ==(")?;
        let (how, far) = rest.split_once(")==>")?;
        let how = link_of(how)?;
        let near = near_side(near)?;
        let far = far_side(far)?;
        let is_up = how.state != Some(RailState::Down);
        (!is_up || far.is_some()).then_some(Self {
            line: number,
            near,
            link: how,
            // A far end that is still remembered of a link that is down is none.
            far: far.filter(|_| is_up),
        })
    }
}

/// `0xa088c20300008011 "   node08 mlx5_1"     24    1[  ]`.
fn near_side(text: &str) -> Option<Side<'_>> {
    let mut scan = Scan::new(text);
    let guid = guid(&mut scan)?;
    scan.blanks();
    let (name, tail) = scan.quoted_to_last()?;
    let (lid, number) = lid_and_port(&mut Scan::new(tail))?;
    Some(Side {
        guid,
        name: name.trim_start(),
        lid,
        number,
    })
}

/// `0xfc6a1c0300000400      5    4[  ] "MF0;leaf04:MQM8700/U1" (Could be 12X )`, or `[  ] "" ( )` of no link; the
/// outermost none says that it is neither.
#[expect(
    clippy::option_option,
    reason = "a line without a far end is as good as one with it"
)]
fn far_side(text: &str) -> Option<Option<Side<'_>>> {
    let mut scan = Scan::new(text);
    scan.blanks();
    if scan.rest().starts_with('[') {
        return Some(None);
    }
    let guid = guid(&mut scan)?;
    let (lid, number) = lid_and_port(&mut scan)?;
    scan.blanks();
    let (name, _) = scan.quoted_to_last()?;
    Some(Some(Side {
        guid,
        name: name.trim_start(),
        lid,
        number,
    }))
}

/// `24    1[  ]`.
fn lid_and_port(scan: &mut Scan<'_>) -> Option<(u16, u16)> {
    let lid = scan.number()?;
    let number = scan.number()?;
    scan.literal("[")?;
    scan.take_while(|c| c != ']');
    scan.literal("]")?;
    Some((lid, number))
}

/// ` 4X        53.125 Gbps Active/  LinkUp`, or `                Down/ Polling`.
fn link_of(text: &str) -> Option<Link> {
    let (logical, _) = text.split_once('/')?;
    let mut words = logical.split_ascii_whitespace();
    let state = match words.next_back()? {
        "Active" => RailState::Active,
        "Armed" => RailState::Armed,
        "Initialize" => RailState::Initialize,
        "Down" => RailState::Down,
        _ => return None,
    };
    let mut link = Link {
        state: Some(state),
        ..Link::default()
    };
    for word in words {
        if let Ok(width) = word.parse::<Width>() {
            link.width = Some(width);
        } else if let Some(speed) = speed(word) {
            link.speed = Some(speed);
        } else if !matches!(word, "Gbps") && !word.starts_with(['?', '(', 'u', 'U']) {
            return None;
        }
    }
    // A port that is up says how.
    (state == RailState::Down || link.width.is_some()).then_some(link)
}

/// The speed of one lane in Gbit/s: 2.5, 5.0, 10.0, 14.0625, 25.78125, 53.125, 106.25, 212.5; or its name.
fn speed(word: &str) -> Option<Speed> {
    if let Ok(speed) = word.parse() {
        return Some(speed);
    }
    let (whole, _) = word.split_once('.').unwrap_or((word, ""));
    Some(match whole.parse::<u16>().ok()? {
        2 => Speed::Sdr,
        5 => Speed::Ddr,
        10 => Speed::Qdr,
        14 => Speed::Fdr,
        25 => Speed::Edr,
        50 | 53 => Speed::Hdr,
        100 | 106 => Speed::Ndr,
        200 | 212 => Speed::Xdr,
        _ => return None,
    })
}
