//! What must hold of every dump: a fabric that is printed reads back as it was, the order of nodes does not matter, and
//! damage is an error or changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::dump::{Dump, Format, Link, Port, PortKind, Switch};
use super::format::parse;
use super::matching::HostMap;
use super::model::Fabric;
use super::plan::plan;
use super::survey::survey;
use super::tests::text;
use crate::decide::fabric::{Guid, Speed, Width};

/// A small rail-optimised or plain fabric with odd names, some cables missing and some links slow.
fn fabrics() -> impl Strategy<Value = Dump> {
    let sizes = (1_u64..4, 1_u64..5, 1_u64..4, 0_u64..3);
    let name = select(vec!["node", "a \"b", "q[1]\" c", "é", "x y z", "MF0;n:m", ""]);
    let link = (
        select(vec![1_u8, 4]),
        select(vec![Speed::Sdr, Speed::Hdr, Speed::Ndr]),
    );
    (
        sizes,
        prop::collection::vec(name, 4),
        prop::collection::vec(link, 5),
        any::<u64>(),
        any::<u16>(),
    )
        .prop_map(|((units, hosts, rails, spines), names, links, missing, lid)| {
            let link = |number: u64| {
                let (lanes, speed) = links[usize::try_from(number).unwrap() % links.len()];
                Link {
                    width: Width::of_lanes(lanes),
                    speed: Some(speed),
                    state: None,
                }
            };
            let name = |number: u64| names[usize::try_from(number).unwrap() % names.len()];
            let mut dump = empty();
            let small = |number: u64| u16::try_from(number).unwrap();
            for unit in 0..units {
                for rail in 0..rails {
                    let leaf = Guid(0x1000 + unit * 16 + rail);
                    let mut linked = false;
                    for host in 0..hosts {
                        let number = (unit * hosts + host) * rails + rail;
                        if missing >> (number % 64) & 1 == 1 && host > 0 {
                            continue;
                        }
                        linked = true;
                        let port = Port {
                            kind: PortKind::Host,
                            adapter: Some(Guid(0x0010_0000 + number * 16)),
                            number: 1,
                            description: Some(format!("{}{unit}-{host} mlx5_{rail}", name(number))),
                            lid: Some(lid.wrapping_add(small(number))),
                            attached: Some((leaf, small(host + 1))),
                            link: link(number),
                        };
                        dump.ports.insert(Guid(0x0020_0000 + number * 16), port);
                    }
                    for spine in 0..spines {
                        linked = true;
                        let far = (Guid(0x9000 + spine), small(unit * rails + rail + 1));
                        dump.cables.insert(((leaf, small(100 + spine)), far), link(spine));
                        dump.switches.insert(far.0, switch(name(spine), lid));
                    }
                    if linked {
                        dump.switches.insert(leaf, switch(name(rail), lid));
                    }
                }
            }
            dump
        })
}

fn empty() -> Dump {
    Dump {
        format: Format::Ibnetdiscover,
        made_at: None,
        switches: BTreeMap::new(),
        ports: BTreeMap::new(),
        cables: BTreeMap::new(),
        torn: Vec::new(),
        notes: Vec::new(),
    }
}

fn switch(name: &str, lid: u16) -> Switch {
    Switch {
        name: name.to_owned(),
        lid: Some(lid),
    }
}

/// Prints a dump as `ibnetdiscover` does, its nodes in the order that `turn` gives.
fn printed(dump: &Dump, turn: usize) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let how = |link: Link| format!("{}{}", link.width.unwrap(), link.speed.unwrap());
    for (guid, switch) in &dump.switches {
        let lid = switch.lid.unwrap();
        let mut block = format!(
            "vendid=0x2c9\ndevid=0xd2f2\nsysimgguid={:#x}\nswitchguid={:#x}({:x})\nSwitch\t254 \"S-{:016x}\"\t\t# \"{}\" enhanced port 0 lid {lid} lmc 0\n",
            guid.0, guid.0, guid.0, guid.0, switch.name
        );
        for (port_guid, port) in &dump.ports {
            let (leaf, number) = port.attached.unwrap();
            if leaf == *guid {
                let (name, lid) = (port.description.as_ref().unwrap(), port.lid.unwrap());
                let adapter = port.adapter.unwrap().0;
                writeln!(
                    block,
                    "[{number}]\t\"H-{adapter:016x}\"[{}]({:x}) \t\t# \"{name}\" lid {lid} {}",
                    port.number,
                    port_guid.0,
                    how(port.link)
                )
                .unwrap();
            }
        }
        for (&(one, other), &link) in &dump.cables {
            for (near, far) in [(one, other), (other, one)] {
                if near.0 == *guid {
                    let (name, lid) = (&dump.switches[&far.0].name, dump.switches[&far.0].lid.unwrap());
                    writeln!(
                        block,
                        "[{}]\t\"S-{:016x}\"[{}]\t\t# \"{name}\" lid {lid} {}",
                        near.1,
                        far.0.0,
                        far.1,
                        how(link)
                    )
                    .unwrap();
                }
            }
        }
        blocks.push(block);
    }
    for (guid, port) in &dump.ports {
        let (leaf, number) = port.attached.unwrap();
        let (name, lid, adapter) = (
            port.description.as_ref().unwrap(),
            port.lid.unwrap(),
            port.adapter.unwrap().0,
        );
        let switch = &dump.switches[&leaf];
        blocks.push(format!(
            "vendid=0x2c9\ndevid=0x101b\ncaguid={adapter:#x}\nCa\t1 \"H-{adapter:016x}\"\t\t# \"{name}\"\n[{}]({:x}) \t\"S-{:016x}\"[{number}]\t\t# lid {lid} lmc 0 \"{}\" lid {} {}\n",
            port.number,
            guid.0,
            leaf.0,
            switch.name,
            switch.lid.unwrap(),
            how(port.link)
        ));
    }
    let turn = turn % blocks.len().max(1);
    blocks.rotate_left(turn);
    format!(
        "#\n# Topology file: generated on nobody knows\n#\n\n{}",
        blocks.join("\n")
    )
}

fn whole(text: &str) -> Option<Fabric> {
    Fabric::of(vec![("dump".to_owned(), parse(text).ok()?)]).ok()
}

/// Whether a fabric is what another is, apart from names that the damaged text gives in two ways: those are unknown.
fn same(damaged: &Fabric, healthy: &Fabric) -> bool {
    let mut damaged = damaged.clone();
    for (guid, port) in &mut damaged.ports {
        if let Some(known) = healthy.ports.get(guid).filter(|_| port.description.is_none()) {
            port.description.clone_from(&known.description);
            port.kind = known.kind;
        }
    }
    (&damaged.switches, &damaged.ports, &damaged.cables)
        == (&healthy.switches, &healthy.ports, &healthy.cables)
}

const RECORDED: [&str; 5] = [
    "fat8/ibnetdiscover.txt",
    "fat8/ibnetdiscover-p.txt",
    "fat8/iblinkinfo-l.txt",
    "fat8/opensm-subnet.lst",
    "edge/ibnetdiscover.txt",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back_as_it_was(dump in fabrics(), turn in any::<usize>()) {
        let read = parse(&printed(&dump, turn)).unwrap();
        prop_assert!(read.torn.is_empty(), "{:?}", read.torn);
        prop_assert_eq!(read.switches, dump.switches);
        prop_assert_eq!(read.ports, dump.ports);
        prop_assert_eq!(read.cables, dump.cables);
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(dump in fabrics(), one in any::<usize>(), other in any::<usize>()) {
        let planned = |turn| {
            let fabric = whole(&printed(&dump, turn)).unwrap();
            plan(&survey(fabric, None, &HostMap::new()), None)
        };
        prop_assert_eq!(planned(one).nodes, planned(other).nodes);
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_changes_nothing(file in select(&RECORDED[..]), at in any::<Index>(), bit in 0_u8..8) {
        let healthy = text(file);
        let mut bytes = healthy.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let damaged = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(read) = whole(&damaged) {
            let near: String = healthy[..at].lines().last().unwrap_or_default().to_owned();
            prop_assert!(same(&read, &whole(&healthy).unwrap()), "{}: bit {} of byte {} after {:?}", file, bit, at, near);
        }
    }

    #[test]
    fn a_cut_is_an_error_or_takes_nothing_away(file in select(&RECORDED[..]), end in any::<Index>()) {
        let healthy = text(file);
        let end = end.index(healthy.len());
        if let Some(read) = whole(&healthy[..end]) {
            prop_assert!(same(&read, &whole(&healthy).unwrap()), "{} cut at {}", file, end);
        }
    }
}
