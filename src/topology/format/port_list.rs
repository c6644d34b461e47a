//! `ibnetdiscover -p`: a line for each port, linked or not.
//!
//! `CA    24  1 0xa088c20300008011 4x HDR - SW     5  4 0xfc6a1c0300000400 ( 'node08 mlx5_1' - 'MF0;leaf04:MQM8700/U1' )`;
//! a port without a link ends after its speed, which then means nothing, with its node's description.

use super::scan::{Scan, Stray, guid, width_and_speed_words};
use crate::decide::fabric::Guid;
use crate::decide::problem::Problems;
use crate::topology::dump::{Dump, End, Format, Half, Owner, OwnerKind, Parts, assemble};

/// Reads the text.
///
/// # Errors
/// When a line does not follow the grammar, and when there is no link at all.
pub fn parse(text: &str) -> Result<Dump, Problems> {
    let mut parts = Parts::default();
    let mut stray = Stray::default();
    for (index, line) in text.lines().enumerate() {
        let number = index.saturating_add(1);
        let line = line.trim_end();
        stray.line();
        if line.is_empty() || line.starts_with("DR path ") || line.starts_with('#') {
            continue;
        }
        if row(line, number, &mut parts).is_none() {
            stray.broken(number, line, "the line of a port, as ibnetdiscover -p prints it");
        }
    }
    stray.finish(&mut parts.notes)?;
    assemble(Format::PortList, parts)
}

fn row<'a>(text: &'a str, number: usize, parts: &mut Parts<'a>) -> Option<()> {
    let mut scan = Scan::new(text);
    let near = side(&mut scan)?;
    let link = width_and_speed_words(scan.word()?, scan.word()?)?;
    scan.blanks();
    if scan.literal("- ").is_none() {
        let name = scan.rest().strip_prefix('\'')?.strip_suffix('\'')?;
        return if near.kind == OwnerKind::Switch {
            own(&near, name, number, parts)
        } else {
            Some(())
        };
    }
    let far = side(&mut scan)?;
    scan.blanks();
    scan.literal("( '")?;
    // A description may hold anything, a quote and a hyphen too; then the two cannot be told apart for sure.
    let (near_name, far_name) = scan.rest().strip_suffix("' )")?.split_once("' - '")?;
    own(&near, near_name, number, parts)?;
    parts.halves.push(Half {
        line: number,
        from: near.end(),
        to: far.end(),
        to_name: far_name,
        to_lid: Some(far.lid),
        link,
    });
    Some(())
}

/// Notes whose port a line is of; none where an earlier line said otherwise.
fn own<'a>(side: &Side, name: &'a str, line: usize, parts: &mut Parts<'a>) -> Option<()> {
    let owner = Owner {
        line,
        kind: side.kind,
        name,
        lid: Some(side.lid),
    };
    let owners = if side.kind == OwnerKind::Switch {
        &mut parts.switches
    } else {
        &mut parts.ports
    };
    let known = owners.entry(side.guid).or_insert(owner);
    (known.name == name && known.lid == owner.lid).then_some(())
}

struct Side {
    kind: OwnerKind,
    lid: u16,
    number: u16,
    guid: Guid,
}

impl Side {
    fn end(&self) -> End {
        match self.kind {
            OwnerKind::Switch => End::Switch(self.guid, self.number),
            OwnerKind::Adapter | OwnerKind::Router => End::Port(self.guid, self.number, None),
        }
    }
}

/// `CA    24  1 0xa088c20300008011`.
fn side(scan: &mut Scan<'_>) -> Option<Side> {
    let kind = match scan.word()? {
        "SW" => OwnerKind::Switch,
        "CA" => OwnerKind::Adapter,
        "RT" => OwnerKind::Router,
        _ => return None,
    };
    Some(Side {
        kind,
        lid: scan.number()?,
        number: scan.number()?,
        guid: guid(scan)?,
    })
}
