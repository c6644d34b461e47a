//! Fabrics on paper: what is cabled to what, as the topology file that ibsim serves, and the truth that an import of it
//! is held against.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// One end of a cable: a node of the topology file, and its port.
pub(crate) type End = (String, u16);

/// A fabric.
#[derive(Clone, Default)]
pub(crate) struct Plan {
    /// Switches by name, with the number of their ports and their GUID; in the order of the file.
    switches: Vec<(String, u16, u64)>,
    /// Channel adapters by name, with their GUID.
    adapters: Vec<(String, u64)>,
    cables: BTreeMap<End, End>,
    /// The group that each host belongs to by design.
    groups: BTreeMap<String, String>,
}

/// Where a host's port is plugged in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plug {
    pub(crate) host: String,
    pub(crate) device: String,
    pub(crate) port_guid: u64,
    pub(crate) leaf: String,
    pub(crate) leaf_guid: u64,
    pub(crate) leaf_port: u16,
}

impl Plan {
    /// A fat tree of two levels: 8 hosts of two rails each, two hosts a leaf, both rails on it; two spines.
    pub(crate) fn fat_tree() -> Self {
        let mut plan = Self::default();
        for leaf in 1..=4 {
            plan.switch(format!("leaf{leaf:02}"), 20, leaf);
        }
        for spine in 1..=2 {
            plan.switch(format!("spine{spine:02}"), 20, 0x7f + spine);
        }
        for host in 1..=8_u16 {
            let (leaf, first) = (format!("leaf{:02}", (host - 1) / 2 + 1), (host - 1) % 2 * 2 + 1);
            plan.groups.insert(format!("node{host:02}"), leaf.clone());
            for rail in 0..2 {
                let adapter = plan.adapter(&format!("node{host:02}"), host, rail);
                plan.cable((adapter, 1), (leaf.clone(), first + rail));
            }
        }
        plan.managers(["leaf01", "leaf02"], 10);
        for leaf in 1..=4_u16 {
            for spine in 1..=2_u16 {
                for link in 1..=2 {
                    let up = (format!("leaf{leaf:02}"), 12 + (spine - 1) * 2 + link);
                    plan.cable(up, (format!("spine{spine:02}"), (leaf - 1) * 2 + link));
                }
            }
        }
        plan
    }

    /// A rail-optimised fabric of two units: each has a leaf for every rail, to which all of its hosts are cabled; four
    /// spines, each leaf with two cables to each.
    pub(crate) fn rails(hosts: u16, rails: u16) -> Self {
        let mut plan = Self::default();
        let units = 2;
        for unit in 1..=units {
            for rail in 0..rails {
                plan.switch(
                    format!("su{unit:02}-r{rail}"),
                    hosts + 8,
                    0xff0 + unit * 16 + rail,
                );
            }
        }
        let spine_ports = units * rails * 2 + 1;
        for spine in 1..=4 {
            plan.switch(format!("spine{spine:02}"), spine_ports, 0x7fff + spine);
        }
        for unit in 1..=units {
            for place in 1..=hosts {
                let number = (unit - 1) * hosts + place;
                let host = format!("gpu{number:04}");
                plan.groups.insert(host.clone(), format!("su{unit:02}"));
                for rail in 0..rails {
                    let adapter = plan.adapter(&host, number, rail);
                    plan.cable((adapter, 1), (format!("su{unit:02}-r{rail}"), place));
                }
            }
        }
        plan.managers(["spine01", "spine02"], spine_ports);
        for unit in 1..=units {
            for rail in 0..rails {
                for spine in 1..=4 {
                    for link in 1..=2 {
                        let up = (format!("su{unit:02}-r{rail}"), hosts + (spine - 1) * 2 + link);
                        let down = ((unit - 1) * rails + rail) * 2 + link;
                        plan.cable(up, (format!("spine{spine:02}"), down));
                    }
                }
            }
        }
        plan
    }

    fn switch(&mut self, name: String, ports: u16, number: u16) {
        let guid = 0xfc6a_1c03_0000_0000 + u64::from(number) * 0x100;
        self.switches.push((name, ports, guid));
    }

    fn adapter(&mut self, host: &str, number: u16, rail: u16) -> String {
        let guid = 0xa088_c203_0000_0000 + u64::from(number) * 0x1000 + u64::from(rail) * 0x10;
        let name = format!("{host}_mlx5_{rail}");
        self.adapters.push((name.clone(), guid));
        name
    }

    /// Two hosts for Subnet Managers, `sm01` and `sm02`.
    fn managers(&mut self, switches: [&str; 2], port: u16) {
        for (number, switch) in (1..).zip(switches) {
            let adapter = self.adapter(&format!("sm{number:02}"), 0xff0 + number, 0);
            self.cable((adapter, 1), (switch.to_owned(), port));
        }
    }

    fn cable(&mut self, one: End, other: End) {
        for end in [&one, &other] {
            assert!(!self.cables.contains_key(end), "{end:?} is taken");
        }
        self.cables.insert(one.clone(), other.clone());
        self.cables.insert(other, one);
    }

    /// Plugs two adapters into each other's place.
    pub(crate) fn swap(&mut self, one: &str, other: &str) {
        let [one, other] = [one, other].map(|name| (name.to_owned(), 1));
        let [at_one, at_other] = [&one, &other].map(|end| self.cables.remove(end).unwrap());
        self.cables.remove(&at_one);
        self.cables.remove(&at_other);
        self.cable(one, at_other);
        self.cable(other, at_one);
    }

    /// The other end of a cable.
    pub(crate) fn across(&self, end: &End) -> Option<&End> {
        self.cables.get(end)
    }

    /// The switch of this GUID.
    pub(crate) fn switch_of(&self, guid: u64) -> Option<&str> {
        let found = self.switches.iter().find(|(.., known)| *known == guid);
        found.map(|(name, ..)| name.as_str())
    }

    pub(crate) fn is_switch(&self, name: &str) -> bool {
        self.switches.iter().any(|(known, ..)| known == name)
    }

    /// How many switches there are.
    pub(crate) fn switches(&self) -> usize {
        self.switches.len()
    }

    /// How many ends the cables have.
    pub(crate) fn ends(&self) -> usize {
        self.cables.len()
    }

    /// Where every port of a host is plugged in, the Subnet Managers' aside.
    pub(crate) fn plugs(&self) -> Vec<Plug> {
        let of_hosts = self.adapters.iter().filter(|(name, _)| !name.starts_with("sm"));
        let plug = |(name, guid): &(String, u64)| {
            let (host, device) = name.split_once('_').unwrap();
            let (leaf, leaf_port) = self.cables[&(name.clone(), 1)].clone();
            let (.., leaf_guid) = self.switches.iter().find(|(known, ..)| *known == leaf).unwrap();
            Plug {
                host: host.to_owned(),
                device: device.to_owned(),
                // The simulated port's GUID is its adapter's and the number of the port.
                port_guid: guid + 1,
                leaf_guid: *leaf_guid,
                leaf,
                leaf_port,
            }
        };
        of_hosts.map(plug).collect()
    }

    /// The hosts in the groups they belong to by design.
    pub(crate) fn groups(&self) -> BTreeSet<BTreeSet<String>> {
        let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (host, group) in &self.groups {
            groups.entry(group).or_default().insert(host.clone());
        }
        groups.into_values().collect()
    }

    /// The group of a host by design.
    pub(crate) fn group(&self, host: &str) -> &str {
        &self.groups[host]
    }

    pub(crate) fn hosts(&self) -> Vec<&str> {
        self.groups.keys().map(String::as_str).collect()
    }

    /// The file that ibsim reads: links of four lanes, HDR.
    pub(crate) fn net(&self) -> String {
        let mut net = "width=3\nspeed=7\nextspeed=7\n".to_owned();
        let ports = |net: &mut String, name: &str, count: u16| {
            for port in 1..=count {
                if let Some((other, other_port)) = self.cables.get(&(name.to_owned(), port)) {
                    writeln!(net, "[{port}]\t\"{other}\"[{other_port}]").unwrap();
                }
            }
        };
        for (name, count, guid) in &self.switches {
            write!(
                net,
                "\nvendid=0x2c9\ndevid=0xd2f2\nsysimgguid={guid:#x}\nswitchguid={guid:#x}\n"
            )
            .unwrap();
            writeln!(
                net,
                "Switch\t{count} \"{name}\"\t\t# \"MF0;{name}:MQM8700/U1\" enhanced port 0"
            )
            .unwrap();
            ports(&mut net, name, *count);
        }
        for (name, guid) in &self.adapters {
            write!(
                net,
                "\nvendid=0x2c9\ndevid=0x101b\nsysimgguid={guid:#x}\ncaguid={guid:#x}\n"
            )
            .unwrap();
            writeln!(net, "Ca\t1 \"{name}\"\t\t# \"{}\"", name.replacen('_', " ", 1)).unwrap();
            ports(&mut net, name, 1);
        }
        net
    }
}
