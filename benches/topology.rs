//! How long it takes to read a large fabric, and to find out what to write: `make bench-topology`.
//!
//! The fabric is the one of the target: 1,984 hosts of 4 rails in 62 units, 248 leaves and 32 spines, as
//! `ibnetdiscover` prints it. `POINTSMAN_DUMP=FILE` takes a recorded dump instead.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its figures, and ends when it cannot have any"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pointsman::cluster::fabric;
use pointsman::decide::names::NodeName;
use pointsman::topology::format;
use pointsman::topology::matching::{HostKey, HostMap};
use pointsman::topology::model::Fabric;
use pointsman::topology::node::{NodeFacts, Nodes};
use pointsman::topology::plan::plan;
use pointsman::topology::survey::survey;

const RUNS: usize = 15;

fn main() {
    let text = std::env::var_os("POINTSMAN_DUMP").map_or_else(generated, |path| {
        std::fs::read_to_string(path).expect("POINTSMAN_DUMP can be read")
    });
    println!("dump: {} bytes, {} lines", text.len(), text.lines().count());
    let before = memory();

    let read = || {
        let dump = format::parse(&text).expect("the dump can be read");
        Fabric::of(vec![("dump".to_owned(), dump)]).expect("the dump is whole")
    };
    let fabric = read();
    let (switches, ports, cables) = (fabric.switches.len(), fabric.ports.len(), fabric.cables.len());
    println!("fabric: {switches} switches, {ports} ports, {cables} cables");
    report("parse and model", RUNS, || drop(read()));

    let empty: Nodes = survey(fabric.clone(), None, &HostMap::new())
        .hosts
        .keys()
        .filter_map(|host| match host {
            HostKey::Other(name) => Some((NodeName::from(name.as_str()), NodeFacts::default())),
            HostKey::Node(_) | HostKey::Nameless(_) => None,
        })
        .collect();
    let first = plan(
        &survey(fabric.clone(), Some(&empty), &HostMap::new()),
        Some(&empty),
    );
    let nodes: Nodes = first
        .nodes
        .iter()
        .map(|(name, node)| {
            let rails = node.rails.clone().unwrap_or_default();
            let facts = NodeFacts {
                annotation: Some(fabric::print(&rails)),
                rails,
                tiers: node.labels.clone(),
                ..NodeFacts::default()
            };
            (name.clone(), facts)
        })
        .collect();
    println!("nodes: {}, of which the second import changes {}", nodes.len(), {
        let surveyed = survey(fabric.clone(), Some(&nodes), &HostMap::new());
        plan(&surveyed, Some(&nodes)).changed()
    });

    let mut surveying = Vec::new();
    let mut planning = Vec::new();
    let mut first_import = Vec::new();
    for _ in 0..RUNS {
        let fabric = fabric.clone();
        let start = Instant::now();
        let surveyed = survey(fabric, Some(&nodes), &HostMap::new());
        surveying.push(start.elapsed());
        let start = Instant::now();
        drop(plan(&surveyed, Some(&nodes)));
        planning.push(start.elapsed());
        let start = Instant::now();
        drop(plan(&surveyed, Some(&empty)));
        first_import.push(start.elapsed());
    }
    print("match, group and number rails", surveying);
    print("diff and plan, nothing new", planning);
    print("diff and plan, everything new", first_import);
    if let (Some(before), Some(peak)) = (before, memory()) {
        println!(
            "memory: {} MB at most, {} MB of it before the dump was read",
            peak / 1024,
            before / 1024
        );
    }
}

fn report(what: &str, runs: usize, mut run: impl FnMut()) {
    let times = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    print(what, times);
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    println!(
        "{what}: median {median:.1?}, worst {worst:.1?} of {}",
        times.len()
    );
}

/// The most memory this process has had, in kB; none where the system does not tell.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The text of a fabric of 62 units of 32 hosts with 4 rails, each of whose leaves has a cable to each of 32 spines.
fn generated() -> String {
    const UNITS: u64 = 62;
    const HOSTS: u64 = 32;
    const RAILS: u64 = 4;
    const SPINES: u64 = 32;
    let leaf = |unit: u64, rail: u64| 0xfc6a_1c03_0010_0000 + (unit * 16 + rail) * 0x100;
    let spine = |number: u64| 0xfc6a_1c03_0080_0000 + number * 0x100;
    let adapter = |host: u64, rail: u64| 0xa088_c203_0000_0000 + (host + 1) * 0x1000 + rail * 0x10;
    let mut blocks: BTreeMap<u64, String> = BTreeMap::new();
    let head = |guid: u64, name: &str| {
        format!(
            "vendid=0x2c9\ndevid=0xd2f2\nsysimgguid={guid:#x}\nswitchguid={guid:#x}({guid:x})\nSwitch\t64 \"S-{guid:016x}\"\t\t# \"{name}\" enhanced port 0 lid 2 lmc 0\n"
        )
    };
    let leaf_name = |unit: u64, rail: u64| format!("MF0;ib-su{:02}-leaf-r{rail}:MQM9700/U1", unit + 1);
    let spine_name = |number: u64| format!("MF0;ib-spine{:02}:MQM9700/U1", number + 1);
    let mut text = "#\n# Topology file: generated on Mon Nov 23 01:38:14 2026\n#\n\n".to_owned();
    for unit in 0..UNITS {
        for rail in 0..RAILS {
            let (guid, name) = (leaf(unit, rail), leaf_name(unit, rail));
            let mut block = head(guid, &name);
            let mut hosts = String::new();
            for host in 0..HOSTS {
                let number = unit * HOSTS + host;
                let (node, port) = (adapter(number, rail), host + 1);
                let description = format!("gpu{:04} mlx5_{rail}", number + 1);
                writeln!(
                    block,
                    "[{port}]\t\"H-{node:016x}\"[1]({:x}) \t\t# \"{description}\" lid 3 4xHDR",
                    node + 1
                )
                .expect("a String takes everything");
                write!(
                    hosts,
                    "vendid=0x2c9\ndevid=0x1021\nsysimgguid={node:#x}\ncaguid={node:#x}\nCa\t1 \"H-{node:016x}\"\t\t# \"{description}\"\n[1]({:x}) \t\"S-{guid:016x}\"[{port}]\t\t# lid 3 lmc 0 \"{name}\" lid 2 4xHDR\n\n",
                    node + 1
                )
                .expect("a String takes everything");
            }
            for number in 0..SPINES {
                let (far, near_port, far_port) = (spine(number), HOSTS + 1 + number, unit * RAILS + rail + 1);
                writeln!(
                    block,
                    "[{near_port}]\t\"S-{far:016x}\"[{far_port}]\t\t# \"{}\" lid 2 4xHDR",
                    spine_name(number)
                )
                .expect("a String takes everything");
                let line =
                    format!("[{far_port}]\t\"S-{guid:016x}\"[{near_port}]\t\t# \"{name}\" lid 2 4xHDR\n");
                blocks
                    .entry(far)
                    .or_insert_with(|| head(far, &spine_name(number)).replace("Switch\t64", "Switch\t254"))
                    .push_str(&line);
            }
            blocks.insert(guid, block);
            text.push_str(&hosts);
        }
    }
    for block in blocks.into_values() {
        text.push_str(&block);
        text.push('\n');
    }
    text
}
