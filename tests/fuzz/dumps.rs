//! Dumps of a fabric, each format by itself: what is read can be planned with, and reads the same again.

use pointsman::simulate::columns::Style;
use pointsman::topology::dump::Format;
use pointsman::topology::format::{parse, recognize};
use pointsman::topology::matching::HostMap;
use pointsman::topology::model::Fabric;
use pointsman::topology::objects::plain_names;
use pointsman::topology::plan::plan;
use pointsman::topology::report::write_plan;
use pointsman::topology::survey::survey;

use super::engine::{Target, fuzz};
use super::{outcome, text};

const WORDS: &[&str] = &[
    "\n",
    "\"",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "#",
    "\\\n",
    " - ",
    "==(",
    ")==>",
    "0x",
    "0xfc6a1c0300000100",
    "0xa088c20300001001",
    "0xffffffffffffffff",
    "65536",
    "255",
    "4xHDR",
    "4X",
    "12X",
    "2.5 Gbps",
    "Active/  LinkUp",
    "Down/ Polling",
    "LOG=INI",
    "PHY=4x",
    "SPD=100",
    "LID:",
    "SW",
    "CA",
    "RT",
    "Switch\t36 ",
    "Ca\t1 ",
    "caguid=",
    "switchguid=",
    "vendid=",
    "node01 mlx5_0",
    "MF0;leaf01:MQM8700/U1",
    "# Topology file: generated on Tue Nov 24 10:01:39 2026",
];

/// The links between `leaf` and its hosts, from both ends: a whole fabric, and a small one.
fn about(dump: &str, leaf: &str) -> String {
    let lines = dump
        .lines()
        .filter(|line| line.contains(leaf) && line.contains("node0"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn target(name: &str, format: Format, seeds: &[&str], words: &[&str]) {
    for seed in seeds {
        assert_eq!(recognize(seed), Some(format), "{name}");
        let fabric = Fabric::of(vec![("the dump".to_owned(), parse(seed).unwrap())]).unwrap();
        assert!(!fabric.ports.is_empty(), "{name}");
    }
    let nodes = plain_names("node01\nnode02\nn1\n").unwrap();
    let check = |input: &[u8]| {
        let text = text(input);
        let read = parse(&text);
        assert_eq!(read, parse(&text), "reads differently the second time");
        outcome(&read, |dump| {
            let fabric = Fabric::of(vec![("the dump".to_owned(), dump.clone())]);
            let laid = outcome(&fabric, |fabric| {
                let survey = survey(fabric.clone(), Some(&nodes), &HostMap::new());
                let plan = plan(&survey, Some(&nodes));
                write_plan(&plan, Style::Plain, &mut Vec::new()).unwrap();
                format!("{} {}", survey.hosts.len(), plan.changed())
            });
            format!(
                "{} {} {} {} {} {laid}",
                dump.switches.len(),
                dump.ports.len(),
                dump.cables.len(),
                dump.torn.len(),
                dump.notes.len()
            )
        })
    };
    let words: Vec<&str> = WORDS.iter().chain(words).copied().collect();
    fuzz(&Target {
        name,
        seeds,
        words: &words,
        check: &check,
    });
}

#[test]
fn dumps_of_ibnetdiscover() {
    let seeds = [include_str!("../fixtures/fabrics/edge/ibnetdiscover-plane2.txt")];
    target(
        "ibnetdiscover",
        Format::Ibnetdiscover,
        &seeds,
        &["H-", "S-", "R-", "lid 3 lmc 0", "base port 0"],
    );
}

#[test]
fn dumps_of_ibnetdiscover_p() {
    let seed = about(
        include_str!("../fixtures/fabrics/fat8/ibnetdiscover-p.txt"),
        "leaf01",
    );
    target(
        "ibnetdiscover -p",
        Format::PortList,
        &[&seed],
        &["4x HDR - SW", "???"],
    );
}

#[test]
fn dumps_of_iblinkinfo() {
    let seed = about(
        include_str!("../fixtures/fabrics/fat8/iblinkinfo-l.txt"),
        "leaf01",
    );
    target(
        "iblinkinfo -l",
        Format::Iblinkinfo,
        &[&seed],
        &["(Could be 12X )", "[  ]"],
    );
}

#[test]
fn dumps_of_opensm() {
    let seed = about(
        include_str!("../fixtures/fabrics/fat8/opensm-subnet.lst"),
        "leaf01",
    );
    target(
        "opensm-subnet.lst",
        Format::SubnetList,
        &[&seed],
        &["Ports:", "NodeGUID:", "PortGUID:", "PN:01", "CA-SM"],
    );
}

#[test]
fn configurations_of_slurm() {
    let seeds = [
        "SwitchName=s0 Nodes=node[01-02]\nSwitchName=s1 Nodes=n3 LinkSpeed=1\nSwitchName=top Switches=s[0-1]\n",
        "BlockName=b1 Nodes=node[01-02],n[3-9]\nBlockSizes=2,4\n",
    ];
    let words = [
        "SwitchName=",
        "BlockName=",
        "BlockSizes=",
        "Nodes=",
        "Switches=",
        "[0-9]",
        "[00-99999999]",
        ",",
    ];
    target("SLURM", Format::Slurm, &seeds, &words);
}

#[test]
fn ports_of_ufm() {
    let port = |kind: &str, guid: &str, name: &str, peer: &str, peer_name: &str| {
        serde_json::json!({
            "description": format!("{kind} IB Port"), "guid": guid, "number": 1, "lid": 1, "peer_lid": 1,
            "node_description": name, "peer_node_description": peer_name, "logical_state": "Active",
            "active_speed": "NDR", "active_width": "4x", "peer": format!("{peer}_1"),
        })
    };
    let (host, leaf) = ("0xa088c20300001001", "0xfc6a1c0300000100");
    let ports = [
        port("Computer", host, "node01 mlx5_0", leaf, "leaf01"),
        port("Switch", leaf, "leaf01", host, "node01 mlx5_0"),
    ];
    let seed = serde_json::to_string_pretty(&ports).unwrap();
    let words = [
        "null",
        ":",
        ",",
        "peer",
        "guid",
        "number",
        "logical_state",
        "Gateway",
        "N/A",
        "-1",
        "1e9",
    ];
    target("UFM", Format::UfmPorts, &[&seed], &words);
}
