//! OpenSM's `opensm-subnet.lst`, which it writes after every heavy sweep: a line for each end of each link, with the
//! state that the Subnet Manager knows.
//!
//! `{ CA Ports:01 SystemGUID:.. NodeGUID:.. PortGUID:.. VenID:0002C9 DevID:101B Rev:000000A1 {node01 mlx5_0} LID:0008
//! PN:01 } { SW .. } PHY=4x LOG=ACT SPD=50`; LIDs and port numbers are hexadecimal, the speed is that of one lane. The
//! file is written in place: whoever reads it meanwhile sees a part of it.

use super::scan::{Scan, Stray, unknown};
use crate::decide::fabric::{Guid, RailState, Speed};
use crate::decide::problem::Problems;
use crate::topology::dump::{Dump, End, Format, Half, Link, Owner, OwnerKind, Parts, assemble};

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
        if !line.is_empty() && row(line, number, &mut parts).is_none() {
            stray.broken(number, line, "a link, as OpenSM writes it into opensm-subnet.lst");
        }
    }
    stray.finish(&mut parts.notes)?;
    assemble(Format::SubnetList, parts)
}

fn row<'a>(text: &'a str, number: usize, parts: &mut Parts<'a>) -> Option<()> {
    let mut scan = Scan::new(text);
    let near = Side::read(&mut scan)?;
    let far = Side::read(&mut scan)?;
    let how = link(&mut scan)?;
    let owner = Owner {
        line: number,
        kind: near.kind,
        name: near.name,
        lid: Some(near.lid),
    };
    let (owners, key) = match near.kind {
        OwnerKind::Switch => (&mut parts.switches, near.node),
        OwnerKind::Adapter | OwnerKind::Router => (&mut parts.ports, near.port),
    };
    let known = owners.entry(key).or_insert(owner);
    if known.name != near.name || known.lid != owner.lid {
        return None;
    }
    parts.halves.push(Half {
        line: number,
        from: near.end(),
        to: far.end(),
        to_name: far.name,
        to_lid: Some(far.lid),
        link: how,
    });
    Some(())
}

struct Side<'a> {
    kind: OwnerKind,
    node: Guid,
    port: Guid,
    name: &'a str,
    lid: u16,
    number: u16,
}

impl<'a> Side<'a> {
    fn read(scan: &mut Scan<'a>) -> Option<Self> {
        scan.blanks();
        scan.literal("{ ")?;
        // `CA-SM` is where a Subnet Manager sits.
        let kind = match scan.word()?.trim_end_matches("-SM") {
            "SW" => OwnerKind::Switch,
            "CA" => OwnerKind::Adapter,
            "RT" | "Rt" | "Router" => OwnerKind::Router,
            _ => return None,
        };
        field(scan, "Ports:")?;
        field(scan, "SystemGUID:")?;
        let node = field(scan, "NodeGUID:")?.parse().ok()?;
        let port = field(scan, "PortGUID:")?.parse().ok()?;
        for key in ["VenID:", "DevID:", "Rev:"] {
            field(scan, key)?;
        }
        scan.literal(" {")?;
        let (name, rest) = scan.rest().split_once("} LID:")?;
        *scan = Scan::new(rest);
        let lid = hexadecimal(scan.take_while(|c| c.is_ascii_hexdigit()))?;
        let number = hexadecimal(field(scan, "PN:")?)?;
        scan.literal(" }")?;
        Some(Self {
            kind,
            node,
            port,
            name,
            lid,
            number,
        })
    }

    fn end(&self) -> End {
        match self.kind {
            OwnerKind::Switch => End::Switch(self.node, self.number),
            OwnerKind::Adapter | OwnerKind::Router => End::Port(self.port, self.number, Some(self.node)),
        }
    }
}

/// ` Key:value`.
fn field<'a>(scan: &mut Scan<'a>, key: &str) -> Option<&'a str> {
    scan.blanks();
    scan.literal(key)?;
    Some(scan.take_while(|c| c.is_ascii_hexdigit())).filter(|value| !value.is_empty())
}

fn hexadecimal(text: &str) -> Option<u16> {
    u16::from_str_radix(text, 16).ok()
}

/// ` PHY=4x LOG=ACT SPD=50`.
fn link(scan: &mut Scan<'_>) -> Option<Link> {
    scan.literal(" PHY=")?;
    let width = scan.word()?;
    scan.literal(" LOG=")?;
    let state = match scan.word()? {
        "ACT" => RailState::Active,
        "ARM" => RailState::Armed,
        "INI" => RailState::Initialize,
        "DWN" => RailState::Down,
        _ => return None,
    };
    scan.literal(" SPD=")?;
    let speed = scan.word()?;
    scan.end()?;
    let speed = match speed {
        "2.5" => Some(Speed::Sdr),
        "5" => Some(Speed::Ddr),
        "10" => Some(Speed::Qdr),
        "FDR10" => Some(Speed::Fdr10),
        "14" => Some(Speed::Fdr),
        "25" => Some(Speed::Edr),
        "50" => Some(Speed::Hdr),
        "100" => Some(Speed::Ndr),
        "200" => Some(Speed::Xdr),
        // OpenSM 3.3.23 has no word for NDR.
        other if unknown(other) => None,
        _ => return None,
    };
    let width = if unknown(width) {
        None
    } else {
        Some(width.parse().ok()?)
    };
    Some(Link {
        width,
        speed,
        state: Some(state),
    })
}
