//! The text of `ibnetdiscover`, also with `-g` (grouped by chassis) and `-f` (full).
//!
//! The grammar, as `ibnetdiscover.c` of infiniband-diags prints it: for each node its ids, a line that describes it,
//! and one line for each of its ports that has a link. Descriptions stand between quotes that are not escaped, so that
//! the last quote of a line ends them; GUIDs in parentheses and after `guid=` are not padded.

use jiff::civil::DateTime;

use super::scan::{Scan, Stray};
use crate::decide::fabric::Guid;
use crate::decide::problem::Problems;
use crate::topology::dump::{Dump, End, Format, Half, Link, Owner, OwnerKind, Parts, assemble};

/// Reads the text.
///
/// # Errors
/// When a line of a node or a port does not follow the grammar, when too many lines are of no known kind, and when
/// there is no link at all.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    let mut parts = Parts::default();
    let mut stray = Stray::default();
    let mut node: Option<Node<'_>> = None;
    let mut announced: Option<Guid> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line = line.trim_end();
        stray.line();
        match line.as_bytes().first() {
            None => {}
            Some(b'#') => {
                if let Some(date) = line.strip_prefix("# Topology file: generated on ") {
                    parts.made_at = date_of(date);
                    if parts.made_at.is_none() {
                        parts.notes.push(format!("line {number}: {date:?} is not a date"));
                    }
                }
            }
            Some(b'[') => {
                let half = node
                    .as_ref()
                    .and_then(|node| port_line(line, number, node, &mut parts));
                match half {
                    Some(half) => parts.halves.push(half),
                    None => stray.broken(number, line, "the line of a port, below its node"),
                }
            }
            Some(b'<' | b'>') => stray.broken(number, line, "a dump, not the difference of two (`--diff`)"),
            Some(_) => {
                if let Some(found) = Node::read(line, number) {
                    let (guid, owner) = (found.guid, found.owner);
                    if announced.is_some_and(|announced| announced != guid) {
                        stray.broken(number, line, "the node whose GUID stands in the line before");
                    }
                    if owner.kind == OwnerKind::Switch && parts.switches.insert(guid, owner).is_some() {
                        stray.broken(number, line, "each switch once");
                    }
                    announced = None;
                    node = Some(found);
                } else if let Some(value) = guid_line(line) {
                    announced = value.strip_prefix("0x").and_then(|digits| digits.parse().ok());
                    if announced.is_none() {
                        stray.broken(number, line, "a GUID");
                    }
                    node = None;
                } else if begins_node(line) {
                    stray.broken(number, line, "the line of a node");
                } else if !harmless(line) {
                    stray.unknown(number, line);
                }
            }
        }
    }
    stray.finish(&mut parts.notes)?;
    assemble(Format::Ibnetdiscover, parts)
}

/// A node, by the line that describes it.
struct Node<'a> {
    guid: Guid,
    owner: Owner<'a>,
    /// How many ports it has, linked or not.
    ports: u16,
}

impl<'a> Node<'a> {
    /// `Switch<TAB>64 "S-<16 hex>"<TAB><TAB># "<description>" enhanced port 0 lid 5 lmc 0`; `Ca` and `Rt` end after the
    /// description.
    fn read(line: &'a str, number: usize) -> Option<Self> {
        let mut scan = Scan::new(line);
        let kind = scan.word()?;
        let ports = scan.number()?;
        scan.blanks();
        let (letter, guid) = id(&mut scan)?;
        let owner_kind = match (kind, letter) {
            ("Switch", 'S') => OwnerKind::Switch,
            ("Ca", 'H') => OwnerKind::Adapter,
            ("Rt", 'R') => OwnerKind::Router,
            _ => return None,
        };
        scan.blanks();
        scan.literal("# ")?;
        let (name, tail) = scan.quoted_to_last()?;
        let lid = match owner_kind {
            OwnerKind::Switch => {
                let mut tail = Scan::new(tail);
                let port = tail.word()?;
                if !matches!(port, "enhanced" | "base") {
                    return None;
                }
                tail.literal(" port 0 lid ")?;
                let lid = tail.number()?;
                tail.literal(" lmc ")?;
                tail.number()?;
                tail.end()?;
                Some(lid)
            }
            OwnerKind::Adapter | OwnerKind::Router if tail.is_empty() => None,
            OwnerKind::Adapter | OwnerKind::Router => return None,
        };
        Some(Self {
            guid,
            owner: Owner {
                line: number,
                kind: owner_kind,
                name,
                lid,
            },
            ports,
        })
    }
}

/// The line of a port:
/// `[1]<TAB>"H-<16 hex>"[1](<port GUID>) <TAB><TAB># "<description>" lid 8 4xHDR` below a switch,
/// `[1](<port GUID>) <TAB>"S-<16 hex>"[4]<TAB><TAB># lid 8 lmc 0 "<description>" lid 2 4xHDR` below anything else.
fn port_line<'a>(text: &'a str, number: usize, node: &Node<'a>, parts: &mut Parts<'a>) -> Option<Half<'a>> {
    let mut scan = Scan::new(text);
    let near = port_number(&mut scan)?;
    let near_guid = port_guid(&mut scan);
    scan.blanks();
    let (letter, far_node) = id(&mut scan)?;
    let far = port_number(&mut scan)?;
    scan.blanks();
    let far_guid = port_guid(&mut scan);
    scan.blanks();
    scan.literal("# ")?;
    let from = match (node.owner.kind, near_guid) {
        (OwnerKind::Switch, None) => End::Switch(node.guid, near),
        (OwnerKind::Adapter | OwnerKind::Router, Some(guid)) => {
            scan.literal("lid ")?;
            let lid = scan.number()?;
            scan.literal(" lmc ")?;
            scan.number()?;
            scan.literal(" ")?;
            let owner = Owner {
                lid: Some(lid),
                ..node.owner
            };
            parts.ports.insert(guid, owner);
            End::Port(guid, near, Some(node.guid))
        }
        _ => return None,
    };
    let to = match (letter, far_guid) {
        ('S', None) => End::Switch(far_node, far),
        ('H' | 'R', Some(guid)) => End::Port(guid, far, Some(far_node)),
        _ => return None,
    };
    if near == 0 || near > node.ports {
        return None;
    }
    let (to_name, tail) = scan.quoted_to_last()?;
    let mut tail = Scan::new(tail);
    tail.literal(" lid ")?;
    let to_lid = tail.number()?;
    tail.blanks();
    let link = Link {
        state: None,
        ..super::scan::width_and_speed(tail.word()?)?
    };
    // ` s=4 w=2 v=4` of -f, ` slot 3` and ` (scp)` of ancient gateways: nothing that is needed.
    let rest = tail.rest();
    (rest.is_empty() || rest.starts_with(' ')).then_some(Half {
        line: number,
        from,
        to,
        to_name,
        to_lid: Some(to_lid),
        link,
    })
}

/// `"S-<16 hex>"`.
fn id(scan: &mut Scan<'_>) -> Option<(char, Guid)> {
    scan.literal("\"")?;
    let letter = scan.char()?;
    scan.literal("-")?;
    let digits = scan.take_while(|c| c.is_ascii_hexdigit());
    scan.literal("\"")?;
    (digits.len() == 16).then_some((letter, digits.parse().ok()?))
}

/// `[12]`, with -g also `[12][ext 3]`.
fn port_number(scan: &mut Scan<'_>) -> Option<u16> {
    scan.literal("[")?;
    let number = scan.number()?;
    scan.literal("]")?;
    let before = *scan;
    scan.blanks();
    if scan.literal("[ext ").is_some() {
        scan.take_while(|c| c != ']');
        scan.literal("]")?;
    } else {
        *scan = before;
    }
    Some(number)
}

/// `(<hex>)`, where there is one.
fn port_guid(scan: &mut Scan<'_>) -> Option<Guid> {
    let before = *scan;
    let guid = scan.literal("(").and_then(|()| {
        let digits = scan.take_while(|c| c.is_ascii_hexdigit());
        scan.literal(")")?;
        digits.parse().ok()
    });
    if guid.is_none() {
        *scan = before;
    }
    guid
}

/// The value in `switchguid=0x..(..)`, `caguid=0x..` or `rtguid=0x..`: the GUID of the next node.
fn guid_line(line: &str) -> Option<&str> {
    let value = ["switchguid=", "caguid=", "rtguid="]
        .into_iter()
        .find_map(|key| line.strip_prefix(key))?;
    value.split(['(', '\t', ' ']).next()
}

fn begins_node(line: &str) -> bool {
    ["Switch", "Ca\t", "Ca ", "Rt\t", "Rt "]
        .into_iter()
        .any(|word| line.starts_with(word))
}

/// Lines that say nothing about links: ids, the headings of -g, and the progress that -s and errors print.
fn harmless(line: &str) -> bool {
    [
        "vendid=",
        "devid=",
        "sysimgguid=",
        "Chassis ",
        "Non-Chassis Nodes",
        "DR path ",
    ]
    .into_iter()
    .any(|start| line.starts_with(start))
}

/// `Mon Nov 23 01:38:14 2026`, as C's `ctime` prints it.
fn date_of(text: &str) -> Option<DateTime> {
    DateTime::strptime("%a %b %e %H:%M:%S %Y", text.trim()).ok()
}
