//! Recorded dumps of simulated fabrics, held against what their generator says is true.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::dump::Dump;
use super::format::parse;
use super::layout::{Layout, arrange};
use super::matching::{HostKey, HostMap, Matching, matched};
use super::model::Fabric;
use crate::decide::fabric::{Guid, RailState};

pub(crate) fn text(path: &str) -> String {
    let path = format!("{}/tests/fixtures/fabrics/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn dump(path: &str) -> Dump {
    parse(&text(path)).unwrap_or_else(|problems| panic!("{path}: {problems}"))
}

pub(crate) fn fabric(paths: &[&str]) -> Fabric {
    let dumps = paths
        .iter()
        .map(|path| ((*path).to_owned(), dump(path)))
        .collect();
    Fabric::of(dumps).unwrap_or_else(|problems| panic!("{paths:?}: {problems}"))
}

/// Host, device, port GUID, switch GUID, switch port: what the generator cabled.
fn truth(path: &str) -> BTreeSet<(String, String, Guid, Guid, u16)> {
    text(path)
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let guid = |index: usize| cells[index].parse().unwrap();
            (
                cells[0].to_owned(),
                cells[1].to_owned(),
                guid(2),
                guid(3),
                cells[4].parse().unwrap(),
            )
        })
        .collect()
}

fn found(fabric: &Fabric, matching: &Matching) -> BTreeSet<(String, String, Guid, Guid, u16)> {
    matching
        .hosts
        .iter()
        .flat_map(|(host, ports)| ports.iter().map(move |(guid, _)| (host, guid)))
        .map(|(host, guid)| {
            let port = &fabric.ports[guid];
            let (leaf, number) = port.attached.unwrap();
            let device = super::layout::device(port.description.as_deref());
            (host.name(), device.to_owned(), *guid, leaf, number)
        })
        .collect()
}

fn arranged(paths: &[&str]) -> (Fabric, Matching, Layout) {
    let fabric = fabric(paths);
    let matching = matched(&fabric, None, &HostMap::new());
    let layout = arrange(&fabric, &matching);
    (fabric, matching, layout)
}

#[test]
fn every_cable_of_the_generator_is_found() {
    for folder in ["fat8", "rail64"] {
        let (fabric, matching, _) = arranged(&[&format!("{folder}/ibnetdiscover.txt")]);
        assert_eq!(
            found(&fabric, &matching),
            truth(&format!("{folder}/expected.tsv")),
            "{folder}"
        );
    }
}

#[test]
fn groups_are_leaves_of_a_fat_tree_and_units_of_a_rail_optimised_fabric() {
    let sizes = |layout: &Layout| -> Vec<(usize, usize)> {
        layout
            .groups
            .iter()
            .map(|group| {
                let hosts = group.hosts.iter().filter(|host| !host.name().starts_with("sm"));
                (group.leaves.len(), hosts.count())
            })
            .filter(|(_, hosts)| *hosts > 0)
            .collect()
    };
    let (_, _, layout) = arranged(&["fat8/ibnetdiscover.txt"]);
    assert_eq!(sizes(&layout), [(1, 2); 4]);
    let (_, _, layout) = arranged(&["rail64/ibnetdiscover.txt"]);
    assert_eq!(sizes(&layout), [(4, 32); 2]);
    let spines: BTreeSet<_> = layout.groups.iter().map(|group| group.around[0]).collect();
    assert_eq!(spines.len(), 1, "both units hang on the same spines");
}

#[test]
fn a_dead_rail_and_a_swapped_pair_of_cables_leave_the_groups_as_they_are() {
    let healthy = text("rail64/ibnetdiscover.txt");
    let port = |host: &str| {
        let block = healthy
            .split("\n\n")
            .find(|block| block.contains(&format!("# \"{host}\"\n")))
            .unwrap();
        let line = block.lines().find(|line| line.starts_with("[1]")).unwrap();
        (block.to_owned(), line.to_owned())
    };
    // The link is gone from both sides, as it is when a cable is pulled.
    let (block, line) = port("gpu0005 mlx5_2");
    let guid = line[4..20].to_owned();
    let dead: String = healthy
        .replace(&format!("{block}\n\n"), "")
        .lines()
        .filter(|line| !line.contains(&guid))
        .collect::<Vec<_>>()
        .join("\n");
    // The generator's own swap: two hosts of different units have each other's cable.
    let swapped = healthy
        .replace("gpu0003 mlx5_1", "gpu-swap mlx5_1")
        .replace("gpu0035 mlx5_1", "gpu0003 mlx5_1")
        .replace("gpu-swap mlx5_1", "gpu0035 mlx5_1");
    for (what, text, spread) in [("dead", dead, 0), ("swapped", swapped, 2)] {
        assert_ne!(text, healthy, "{what}");
        let fabric = Fabric::of(vec![(what.to_owned(), parse(&text).unwrap())]).unwrap();
        let matching = matched(&fabric, None, &HostMap::new());
        let layout = arrange(&fabric, &matching);
        let units: Vec<_> = layout
            .groups
            .iter()
            .filter(|group| group.leaves.len() == 4)
            .collect();
        assert_eq!(units.len(), 2, "{what}");
        let of_unit = |unit: usize| {
            let first = units[unit].leaves.first().unwrap();
            layout
                .of_host
                .iter()
                .filter(|(_, group)| layout.groups[**group].leaves.first() == Some(first))
                .count()
        };
        assert_eq!((of_unit(0), of_unit(1)), (32, 32), "{what}");
        let in_both = units[0].hosts.intersection(&units[1].hosts).count();
        assert_eq!(in_both, spread, "{what}");
    }
}

#[test]
fn the_edge_cases_are_read_as_they_are_meant() {
    let (fabric, matching, layout) = arranged(&["edge/ibnetdiscover.txt", "edge/ibnetdiscover-plane2.txt"]);
    let names: BTreeSet<String> = matching.hosts.keys().map(HostKey::name).collect();
    for host in [
        "edge01",
        "edge03",
        "edge04",
        "edge05.rack7.example.internal",
        "edge06",
        "edge13",
        "edge15.very-long-row-and-rack-name.datacenter-7.example.interna",
        "stor01",
    ] {
        assert!(names.contains(host), "{host}: {names:?}");
    }
    assert!(!names.contains("localhost"));
    assert_eq!(matching.ambiguous, ["localhost"]);
    assert!(
        !names
            .iter()
            .any(|name| name.contains("Aggregation") || name.contains("router"))
    );
    assert_eq!(
        names.iter().filter(|name| name.starts_with('(')).count(),
        2,
        "default descriptions stay apart"
    );
    let rails: BTreeMap<String, usize> = matching
        .hosts
        .iter()
        .map(|(host, ports)| (host.name(), ports.len()))
        .collect();
    assert_eq!(rails["edge01"], 3, "two cards in one plane, one in another");
    assert_eq!(rails["edge03"], 2, "two ports of one card");
    assert_eq!(
        rails["edge02"], 2,
        "one cable of a dual-port card, and the other plane"
    );
    let planes: BTreeSet<_> = layout.planes.values().collect();
    assert_eq!(planes.len(), 2);
    assert_eq!(fabric.switches.len(), 5);
}

#[test]
fn chassis_groups_and_full_listing_say_the_same_as_the_plain_text() {
    let plain = dump("fat8/ibnetdiscover.txt");
    let full = dump("fat8/ibnetdiscover-gf.txt");
    assert_eq!(
        (plain.switches, plain.ports, plain.cables),
        (full.switches, full.ports, full.cables)
    );
}

/// `ibnetdiscover -g` adds to a port of a modular switch the number on its housing, on both sides of a link.
#[test]
fn numbers_on_the_housing_change_nothing() {
    let plain = text("fat8/ibnetdiscover.txt");
    let marked: String = plain
        .lines()
        .map(|line| {
            let line = if line.starts_with('[') {
                // The link's own port and the port across: `[1](guid)` has its number behind the first bracket, too.
                line.replacen(']', "][ext 3]", 1).replacen("\"[", "\"@[", 1)
            } else {
                line.to_owned()
            };
            match line.split_once("\"@[") {
                Some((own, across)) => format!("{own}\"[{}\n", across.replacen(']', "][ext 12]", 1)),
                None => line + "\n",
            }
        })
        .collect();
    assert!(
        marked.contains("[1][ext 3](") && marked.contains("[1][ext 12]("),
        "{marked}"
    );
    let (plain, marked) = (parse(&plain).unwrap(), parse(&marked).unwrap());
    assert_eq!(plain.switches.len(), 6);
    assert_eq!(
        (plain.switches, plain.ports, plain.cables),
        (marked.switches, marked.ports, marked.cables)
    );
}

#[test]
fn a_file_that_was_cut_off_is_refused_wherever_the_cut_is() {
    let whole = text("fat8/ibnetdiscover.txt");
    let ends: Vec<usize> = whole.char_indices().map(|(at, _)| at).step_by(97).collect();
    // The last port line may lose blanks at its end and still be whole.
    let last = whole.trim_end().len();
    for end in ends.into_iter().filter(|end| *end < last) {
        let read = parse(&whole[..end]).and_then(|dump| Fabric::of(vec![("cut".to_owned(), dump)]));
        assert!(
            read.is_err(),
            "cut at {end}: {:?}",
            &whole[end.saturating_sub(40)..end]
        );
    }
}

/// What every format knows: the adapters' own GUIDs and the states are not in all of them.
fn common(
    dump: Dump,
) -> (
    BTreeMap<Guid, String>,
    BTreeMap<Guid, super::dump::Port>,
    BTreeSet<super::dump::Cable>,
) {
    let names = dump
        .switches
        .into_iter()
        .map(|(guid, switch)| (guid, switch.name))
        .collect();
    let ports = dump
        .ports
        .into_iter()
        .map(|(guid, mut port)| {
            port.adapter = None;
            port.link.state = None;
            (guid, port)
        })
        .collect();
    (names, ports, dump.cables.into_keys().collect())
}

#[test]
fn all_formats_tell_the_same_of_one_fabric() {
    let plain = common(dump("fat8/ibnetdiscover.txt"));
    for other in ["ibnetdiscover-p.txt", "iblinkinfo-l.txt", "opensm-subnet.lst"] {
        let other = dump(&format!("fat8/{other}"));
        assert!(other.torn.is_empty(), "{:?}", other.torn);
        assert_eq!(common(other), plain);
    }
    let faults = common(dump("fat8/faults/ibnetdiscover.txt"));
    assert_ne!(faults, plain);
    for other in ["iblinkinfo-l.txt", "opensm-subnet.lst"] {
        assert_eq!(common(dump(&format!("fat8/faults/{other}"))), faults);
    }
    // Without the kinds of nodes a router is known by its description, so that the edge cases agree, too.
    let edge = common(dump("edge/ibnetdiscover.txt"));
    for other in ["iblinkinfo-l.txt", "opensm-subnet.lst"] {
        let other = common(dump(&format!("edge/{other}")));
        assert_eq!(other.0, edge.0);
        assert_eq!(other.1, edge.1);
        assert_eq!(other.2, edge.2);
    }
}

#[test]
fn only_a_dump_with_states_tells_that_a_port_was_never_configured() {
    let guid = Guid(0xa088_c203_0000_8011);
    let alone = fabric(&["fat8/sm-dead/ibnetdiscover.txt"]);
    assert_eq!(alone.ports[&guid].link.state, None, "the text looks perfect");
    let with_state = fabric(&["fat8/sm-dead/ibnetdiscover.txt", "fat8/sm-dead/iblinkinfo-l.txt"]);
    assert_eq!(with_state.ports[&guid].link.state, Some(RailState::Initialize));
    let others = with_state.ports.iter().filter(|(other, _)| **other != guid);
    for (_, port) in others {
        assert_eq!(port.link.state, Some(RailState::Active));
    }
}

#[test]
fn a_port_that_the_later_dump_lacks_is_down() {
    let together = fabric(&["fat8/ibnetdiscover.txt", "fat8/faults/opensm-subnet.lst"]);
    let down: Vec<&Guid> = together
        .ports
        .iter()
        .filter(|(_, port)| port.link.state == Some(RailState::Down))
        .map(|(guid, _)| guid)
        .collect();
    let healthy = dump("fat8/ibnetdiscover.txt");
    let faults = dump("fat8/faults/ibnetdiscover.txt");
    let gone: Vec<&Guid> = healthy
        .ports
        .keys()
        .filter(|guid| !faults.ports.contains_key(guid))
        .collect();
    assert!(!gone.is_empty());
    assert_eq!(down, gone);
}

#[test]
fn a_port_without_a_lid_is_not_configured() {
    let plane = fabric(&["edge/ibnetdiscover-plane2.txt"]);
    for port in plane.ports.values() {
        assert_eq!(port.link.state, Some(RailState::Initialize));
    }
}

#[test]
fn dumps_that_contradict_each_other_are_refused() {
    let healthy = text("rail64/ibnetdiscover.txt");
    let swapped = healthy
        .replace("a088c20300003011", "a088c203000030ff")
        .replace("a088c20300023011", "a088c20300003011")
        .replace("a088c203000030ff", "a088c20300023011");
    let dumps = vec![
        ("before".to_owned(), parse(&healthy).unwrap()),
        ("after".to_owned(), parse(&swapped).unwrap()),
    ];
    let told = Fabric::of(dumps).unwrap_err().to_string();
    assert!(told.contains("give dumps of the same time"), "{told}");
}

#[test]
fn ufm_tells_both_ends_of_a_link() {
    let port = |kind: &str, guid: &str, number: u16, name: &str, peer: &str, peer_name: &str| {
        serde_json::json!({
            "description": format!("{kind} IB Port"), "guid": guid, "number": number, "lid": 1, "peer_lid": 1,
            "node_description": name, "logical_state": "Active", "physical_state": "Link Up",
            "active_speed": "NDR", "active_width": "4x", "peer": peer, "peer_node_description": peer_name,
        })
    };
    let leaf = ("fc6a1c0300000100", "MF0;leaf01:MQM9700/U1");
    let host = ("a088c20300001001", "node01 mlx5_0");
    let unlinked = serde_json::json!({
        "description": "Switch IB Port", "guid": leaf.0, "number": "7", "lid": 1, "node_description": leaf.1,
        "logical_state": "Down", "active_speed": null, "active_width": null, "peer": "N/A",
    });
    let ports = [
        port("Switch", leaf.0, 3, leaf.1, "a088c20300001001_1", host.1),
        port("Computer", host.0, 1, host.1, "fc6a1c0300000100_3", leaf.1),
        unlinked,
    ];
    let whole = parse(&serde_json::to_string(&ports).unwrap()).unwrap();
    assert!(whole.torn.is_empty(), "{:?}", whole.torn);
    assert_eq!(whole.ports.len(), 1);
    let port = &whole.ports[&Guid(0xa088_c203_0000_1001)];
    assert_eq!(port.attached, Some((Guid(0xfc6a_1c03_0000_0100), 3)));
    assert_eq!(port.link.state, Some(RailState::Active));
    let half = parse(&serde_json::to_string(&ports[..1]).unwrap()).unwrap();
    assert_eq!(half.torn.len(), 1);
}

#[test]
fn what_is_no_dump_is_told_what_would_be() {
    for text in ["", "\n", "hello\n", "CA: node08 mlx5_1:\n", "{\"a\": 1}", "[1]\n"] {
        let told = parse(text).unwrap_err().to_string();
        assert!(told.contains("iblinkinfo -l"), "{text}: {told}");
    }
}
