//! What becomes of a world: some of its first pods are of StatefulSets, go, and come back, on another node at times or
//! asking for something else; and meanwhile pools and networks are edited.

use serde_json::{Value, json};

use super::{Interface, MadePod, Maker, NODES};
use crate::harness::seeded::Seeded;

/// What happens between the first pods' lives.
#[derive(Default)]
pub(in super::super) struct Meanwhile {
    /// Pools by their position, and how they are changed; `null` is a deletion.
    pub(in super::super) pools: Vec<(usize, Value)>,
    /// Networks by their position, and what they become.
    pub(in super::super) networks: Vec<(usize, Value)>,
}

impl Meanwhile {
    pub(in super::super) fn is_nothing(&self) -> bool {
        self.pools.is_empty() && self.networks.is_empty()
    }
}

impl Maker {
    /// Settles which of the pods that come `first` come back, and as what; and what happens meanwhile. The choices are made
    /// by themselves, so that they leave the world as it is without them.
    pub(super) fn meanwhile(&mut self, seed: u64, pods: &mut [MadePod], first: usize) -> Meanwhile {
        self.random = Seeded::new(!seed ^ (u64::try_from(self.number).unwrap() << 32));
        // In every other world most of them do: what it takes for the agent to have seen everything is taken once.
        let chance = if self.number.is_multiple_of(2) { 85 } else { 0 };
        let returning: Vec<bool> = pods.iter().map(|_| self.random.percent(chance)).collect();
        if !returning.iter().take(first).any(|returns| *returns) {
            return Meanwhile::default();
        }
        let pools = (0..self.pools.len())
            .filter_map(|position| Some((position, self.edit(position)?)))
            .collect();
        let networks: Vec<(usize, Value)> = (0..self.networks.len())
            .filter_map(|position| {
                // One that gives no addresses stays so: whoever runs on it has none, and would be waited for.
                self.networks[position].as_ref()?;
                let other = self.random.percent(45).then(|| self.choices())?;
                self.networks[position] = Some(other);
                Some((position, self.config(position)))
            })
            .collect();
        for (position, pod) in pods.iter_mut().enumerate() {
            if position >= first {
                self.look_up(&mut pod.interfaces);
            } else if returning[position] {
                pod.again = Some(Box::new(self.again(pod)));
            }
        }
        Meanwhile { pools, networks }
    }

    fn edit(&mut self, position: usize) -> Option<Value> {
        let v6 = self.pools[position].1;
        let prefix = self.prefix(position, v6);
        let names: Vec<&str> = NODES.iter().map(|(name, ..)| *name).collect();
        match self.random.below(24) {
            0 => Some(json!({"spec": {"disable": true}})),
            1 => Some(json!({"spec": {"nodeName": self.random.some(&names)}})),
            2 => Some(json!({"spec": {"namespaceName": ["elsewhere"]}})),
            3 => Some(json!({"spec": {"podAffinity": {"matchLabels": {"app": "nobody"}}}})),
            // No address of it is free any more.
            4 | 5 => Some(json!({"spec": {"excludeIPs": [format!("{prefix}1-{prefix}9")]}})),
            6 => Some(json!({"spec": {"excludeIPs": []}})),
            7 => Some(Value::Null),
            _ => None,
        }
    }

    fn again(&mut self, pod: &MadePod) -> MadePod {
        let mut object = pod.object.clone();
        let mut interfaces: Vec<Interface> = pod.interfaces.clone();
        if self.random.percent(20) {
            object["spec"]["nodeName"] = json!(self.random.one(&NODES).0);
        }
        if self.random.percent(35) {
            let (networks, other) = self.attached();
            object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = networks;
            interfaces = other;
        }
        let annotations = object["metadata"]["annotations"].as_object_mut().unwrap();
        if self.random.percent(40) {
            annotations.remove("ipam.spidernet.io/ippool");
            annotations.remove("ipam.spidernet.io/ippools");
            self.name_pools(annotations, &interfaces, 40);
        }
        self.look_up(&mut interfaces);
        MadePod {
            object,
            interfaces,
            again: None,
        }
    }

    /// Has the interfaces name the pools that their networks name now.
    fn look_up(&self, interfaces: &mut [Interface]) {
        for interface in interfaces {
            interface.pools.clone_from(&self.networks[interface.network]);
        }
    }
}
