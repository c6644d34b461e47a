//! A made-up corner of a cluster: a namespace with its networks, pools that are tied to this and that, and pods that
//! ask for addresses in every way Spiderpool knows.

mod again;

use serde_json::{Map, Value, json};

pub(super) use self::again::Meanwhile;
use crate::harness::seeded::Seeded;

/// The nodes that all worlds share, with the labels that pools select by.
pub(super) const NODES: [(&str, &str, &str); 5] = [
    ("diff-n0", "a", "x"),
    ("diff-n1", "a", "y"),
    ("diff-n2", "b", "x"),
    ("diff-n3", "b", ""),
    ("diff-n4", "", "y"),
];

/// One world.
pub(super) struct World {
    pub(super) namespace: Value,
    pub(super) pools: Vec<MadePool>,
    pub(super) reserved: Vec<Value>,
    pub(super) networks: Vec<Value>,
    pub(super) pods: Vec<MadePod>,
    /// What happens between the lives of those of the first pods that come back.
    pub(super) meanwhile: Meanwhile,
}

/// A pool, and whether it is being deleted.
pub(super) struct MadePool {
    pub(super) object: Value,
    pub(super) terminating: bool,
}

/// A pod and what Multus will make of it.
pub(super) struct MadePod {
    pub(super) object: Value,
    pub(super) interfaces: Vec<Interface>,
    /// It is of a StatefulSet, and this is what it comes back as.
    pub(super) again: Option<Box<Self>>,
}

/// One interface: the pools that its network names, or none where the network has no addresses of Spiderpool's.
#[derive(Clone)]
pub(super) struct Interface {
    pub(super) name: String,
    network: usize,
    pub(super) pools: Option<[Vec<String>; 2]>,
}

impl World {
    /// The pods that come `first` may be of StatefulSets.
    pub(super) fn make(number: usize, seed: u64, first: usize) -> Self {
        let random = Seeded::new(seed ^ (u64::try_from(number).unwrap() << 32));
        let mut maker = Maker {
            random,
            number,
            pools: Vec::new(),
            networks: Vec::new(),
        };
        let pools: Vec<MadePool> = (0..3 + maker.random.below(4))
            .map(|position| maker.pool(position))
            .collect();
        let networks: Vec<Value> = (0..2).map(|position| maker.network(position)).collect();
        let (namespace, reserved) = (maker.namespace(), maker.reserved());
        let mut pods: Vec<MadePod> = (0..8).map(|position| maker.pod(position)).collect();
        Self {
            namespace,
            reserved,
            meanwhile: maker.meanwhile(seed, &mut pods, first),
            pods,
            pools,
            networks,
        }
    }
}

struct Maker {
    random: Seeded,
    number: usize,
    /// Name and whether it is IPv6.
    pools: Vec<(String, bool)>,
    /// What each network names.
    networks: Vec<Option<[Vec<String>; 2]>>,
}

impl Maker {
    fn world(&self) -> String {
        format!("diff-{:03}", self.number)
    }

    fn prefix(&self, position: usize, v6: bool) -> String {
        if v6 {
            format!("fd00:{:x}:{position}::", self.number)
        } else {
            format!(
                "100.{}.{}.",
                64 + self.number / 32,
                (self.number % 32) * 8 + position
            )
        }
    }

    fn pool(&mut self, position: usize) -> MadePool {
        let v6 = self.random.percent(30);
        let name = format!("{}-{}{position}", self.world(), if v6 { "s" } else { "f" });
        let prefix = self.prefix(position, v6);
        let size = self.random.below(5);
        let ranges = match (size, self.random.percent(50)) {
            (0, _) => json!([]),
            (1, _) => json!([format!("{prefix}1")]),
            (_, true) => json!([format!("{prefix}1-{prefix}{size}")]),
            (_, false) => json!(
                (1..=size)
                    .map(|last| format!("{prefix}{last}"))
                    .collect::<Vec<_>>()
            ),
        };
        let subnet = if v6 {
            format!("{prefix}/120")
        } else {
            format!("{prefix}0/24")
        };
        let mut spec = json!({
            "ipVersion": if v6 { 6 } else { 4 },
            "subnet": subnet,
            "ips": ranges,
            "disable": self.random.percent(5),
        });
        if self.random.percent(12) {
            spec["excludeIPs"] = json!([format!("{prefix}1")]);
        }
        self.tie(&mut spec);
        let names: Vec<&str> = NODES.iter().map(|(name, ..)| *name).collect();
        if self.random.percent(15) {
            spec["nodeName"] = json!(self.random.some(&names));
        }
        if self.random.percent(10) {
            spec["nodeAffinity"] = self.selector("rack", "row");
        }
        if self.random.percent(10) {
            spec["podAffinity"] = self.selector("app", "role");
        }
        if self.random.percent(8) {
            let own = format!("{}/net-0", self.world());
            spec["multusName"] = match self.random.below(4) {
                0 => json!([own]),
                1 => json!([own, format!("{}/net-1", self.world())]),
                2 => json!([format!("{}/net-1", self.world())]),
                // A bare name means a network in Spiderpool's own namespace.
                _ => json!(["net-0"]),
            };
        }
        let terminating = self.random.percent(3);
        let finalizers = if terminating {
            json!(["pointsman.io/test"])
        } else {
            json!([])
        };
        self.pools.push((name.clone(), v6));
        MadePool {
            object: json!({"metadata": {"name": name, "finalizers": finalizers}, "spec": spec}),
            terminating,
        }
    }

    /// Whom the pool serves among namespaces. One that is a cluster-wide default is tied to its own world: worlds are
    /// tried side by side.
    fn tie(&mut self, spec: &mut Value) {
        let own = json!({"matchLabels": {"world": self.world()}});
        if self.random.percent(20) {
            spec["default"] = json!(true);
            if self.random.percent(50) {
                spec["namespaceName"] = json!([self.world()]);
            } else {
                spec["namespaceAffinity"] = own;
            }
            return;
        }
        match self.random.below(18) {
            0 => spec["namespaceName"] = json!([self.world(), "elsewhere"]),
            1 => spec["namespaceName"] = json!(["elsewhere"]),
            2 => spec["namespaceAffinity"] = own,
            3 => spec["namespaceAffinity"] = self.selector("team", "stage"),
            // A name comes before a selector that does not match.
            4 => {
                spec["namespaceName"] = json!([self.world()]);
                spec["namespaceAffinity"] = json!({"matchLabels": {"world": "another"}});
            }
            _ => {}
        }
    }

    fn selector(&mut self, first: &str, second: &str) -> Value {
        let value = *self.random.one(&["a", "b"]);
        match self.random.below(5) {
            0 => json!({"matchLabels": {first: value}}),
            1 => json!({"matchExpressions": [{"key": first, "operator": "In", "values": ["a", "b"]}]}),
            2 => json!({"matchExpressions": [{"key": first, "operator": "NotIn", "values": [value]}]}),
            3 => json!({"matchExpressions": [{"key": second, "operator": "Exists"}]}),
            _ => json!({"matchLabels": {first: value},
                "matchExpressions": [{"key": second, "operator": "DoesNotExist"}]}),
        }
    }

    fn labels(&mut self, first: &str, second: &str) -> Map<String, Value> {
        let mut labels = Map::new();
        if self.random.percent(80) {
            labels.insert(first.to_owned(), json!(self.random.one(&["a", "b"])));
        }
        if self.random.percent(50) {
            labels.insert(second.to_owned(), json!(self.random.one(&["x", "y"])));
        }
        labels
    }

    /// Names and wildcards for one family; most mean something, some mean nothing, some twice the same.
    fn choice(&mut self, v6: bool) -> Vec<String> {
        let of_family: Vec<String> = self
            .pools
            .iter()
            .filter(|(_, other)| *other == v6)
            .map(|(name, _)| name.clone())
            .collect();
        let letter = if v6 { "s" } else { "f" };
        let mut names = match self.random.below(10) {
            0 => vec![format!("{}-{letter}*", self.world())],
            1 => vec![format!("{}-{letter}[0-2]", self.world())],
            2 => vec![format!("{}-?[^3-9]", self.world())],
            3 if self.random.percent(30) => vec![format!("{}-none*", self.world())],
            _ if of_family.is_empty() => vec![format!("{}-*", self.world())],
            3..=6 => vec![self.random.one(&of_family).clone()],
            _ => self.random.some(&of_family),
        };
        if self.random.percent(2) {
            names.push(format!("{}-missing", self.world()));
        }
        if self.random.percent(2) {
            names.push(self.random.one(&names.clone()).clone());
        }
        if self.random.percent(2) {
            let any: Vec<String> = self.pools.iter().map(|(name, _)| name.clone()).collect();
            names = vec![self.random.one(&any).clone()];
        }
        names
    }

    /// Pools of both families, of which one may be left out.
    fn choices(&mut self) -> [Vec<String>; 2] {
        let which = self.random.below(10);
        let v4 = if which < 9 || self.pools.iter().all(|(_, v6)| !v6) {
            self.choice(false)
        } else {
            Vec::new()
        };
        let v6 = if which > 7 { self.choice(true) } else { Vec::new() };
        [v4, v6]
    }

    fn network(&mut self, position: usize) -> Value {
        let pools = match self.random.below(12) {
            0 => None,
            1 => Some([Vec::new(), Vec::new()]),
            _ => Some(self.choices()),
        };
        self.networks.push(pools);
        json!({"metadata": {"name": format!("net-{position}")}, "spec": {"config": self.config(position)}})
    }

    fn config(&self, position: usize) -> Value {
        let mut config = json!({"cniVersion": "0.3.1", "type": "ib-sriov"});
        if let Some([v4, v6]) = &self.networks[position] {
            config["ipam"] =
                json!({"type": "spiderpool", "default_ipv4_ippool": v4, "default_ipv6_ippool": v6});
        }
        json!(config.to_string())
    }

    fn namespace(&mut self) -> Value {
        let mut labels = self.labels("team", "stage");
        labels.insert("world".to_owned(), json!(self.world()));
        let mut annotations = Map::new();
        if self.random.percent(12) {
            let v4 = json!(self.choice(false)).to_string();
            annotations.insert("ipam.spidernet.io/default-ipv4-ippool".to_owned(), json!(v4));
        }
        if self.random.percent(5) {
            let v6 = json!(self.choice(true)).to_string();
            annotations.insert("ipam.spidernet.io/default-ipv6-ippool".to_owned(), json!(v6));
        }
        json!({"metadata": {"name": self.world(), "labels": labels, "annotations": annotations}})
    }

    fn reserved(&mut self) -> Vec<Value> {
        let of_pool = |position: usize, (_, v6): &(String, bool)| {
            let prefix = self.prefix(position, *v6);
            json!({
                "metadata": {"name": format!("{}-{position}", self.world())},
                "spec": {"ipVersion": if *v6 { 6 } else { 4 }, "ips": [format!("{prefix}1-{prefix}2")]},
            })
        };
        let all: Vec<Value> = self
            .pools
            .iter()
            .enumerate()
            .map(|(p, pool)| of_pool(p, pool))
            .collect();
        all.into_iter().filter(|_| self.random.percent(8)).collect()
    }

    fn pod(&mut self, position: usize) -> MadePod {
        let (networks, interfaces) = self.attached();
        let mut annotations = Map::new();
        annotations.insert("k8s.v1.cni.cncf.io/networks".to_owned(), networks);
        self.name_pools(&mut annotations, &interfaces, 10);
        let (node, ..) = *self.random.one(&NODES);
        MadePod {
            object: json!({
                "metadata": {"name": format!("pod-{position}"), "labels": self.labels("app", "role"), "annotations": annotations},
                "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.com/trainer:1"}]},
            }),
            interfaces,
            again: None,
        }
    }

    /// Networks for a pod, and what Multus makes of them.
    fn attached(&mut self) -> (Value, Vec<Interface>) {
        let mut used: Vec<usize> = vec![self.random.below(self.networks.len())];
        if self.random.percent(30) {
            used.push(self.random.below(self.networks.len()));
        }
        let named = self.random.percent(15);
        let interfaces: Vec<Interface> = used
            .iter()
            .enumerate()
            .map(|(place, network)| Interface {
                name: if named {
                    format!("ib{place}")
                } else {
                    format!("net{}", place + 1)
                },
                network: *network,
                pools: self.networks[*network].clone(),
            })
            .collect();
        let elements = used.iter().zip(&interfaces).map(|(network, interface)| {
            let mut element = json!({"name": format!("net-{network}")});
            if named {
                element["interface"] = json!(interface.name);
            }
            element
        });
        (json!(json!(elements.collect::<Vec<_>>()).to_string()), interfaces)
    }

    /// At times, pools that the pod itself names.
    fn name_pools(&mut self, annotations: &mut Map<String, Value>, interfaces: &[Interface], chance: usize) {
        let both = |[v4, v6]: [Vec<String>; 2]| json!({"ipv4": v4, "ipv6": v6});
        if self.random.percent(chance) {
            let choice = both(self.choices()).to_string();
            annotations.insert("ipam.spidernet.io/ippool".to_owned(), json!(choice));
        }
        if self.random.percent(chance + 2) {
            let list = self.list(interfaces);
            annotations.insert("ipam.spidernet.io/ippools".to_owned(), json!(list.to_string()));
        }
    }

    /// `ippools` for these interfaces: by name, at times one too few or too many; or by position.
    fn list(&mut self, interfaces: &[Interface]) -> Value {
        let mut names: Vec<&str> = interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        let by_position = self.random.percent(25);
        if by_position {
            names.insert(0, "eth0");
        } else {
            names.retain(|_| self.random.percent(95));
            if self.random.percent(10) {
                names.push(*self.random.one(&["eth0", "net7"]));
            }
        }
        let items = names.into_iter().map(|name| {
            let [v4, v6] = self.choices();
            if by_position {
                json!({"ipv4": v4, "ipv6": v6})
            } else {
                json!({"interface": name, "ipv4": v4, "ipv6": v6})
            }
        });
        json!(items.collect::<Vec<_>>())
    }
}
