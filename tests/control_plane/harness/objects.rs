//! What a cluster's admin and its users write: pools, networks, pods and Jobs.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{MULTUS_CONFIGS, NETWORKS, POOLS};
use super::nodes::PREFIX;
use super::plane::ControlPlane;
use super::wait::{eventually, expect};

const LIMIT: Duration = Duration::from_mins(1);

/// A profile's networks and pools: one SpiderMultusConfig and one pool for each rail.
pub(crate) struct Profile {
    name: String,
    resources: String,
    /// The second octet of its addresses: pools of two profiles must not overlap.
    octet: u8,
    rails: usize,
    addresses: u8,
    /// The rail whose pool serves some nodes only, and those.
    only_on: Option<(usize, Vec<String>)>,
    /// Networks name their pools by a wildcard.
    by_wildcard: bool,
}

impl Profile {
    /// A profile whose rail K draws on the resource `<resources>_railK`.
    pub(crate) fn new(name: &str, resources: &str, octet: u8) -> Self {
        let [name, resources] = [name, resources].map(str::to_owned);
        Self {
            name,
            resources,
            octet,
            rails: 1,
            addresses: 100,
            only_on: None,
            by_wildcard: false,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn rails(mut self, rails: usize) -> Self {
        self.rails = rails;
        self
    }

    /// How many addresses each rail's pool has.
    pub(crate) fn addresses(mut self, addresses: u8) -> Self {
        self.addresses = addresses;
        self
    }

    /// The pool of one rail has addresses for these nodes only.
    pub(crate) fn only_on(mut self, rail: usize, nodes: &[&str]) -> Self {
        self.only_on = Some((rail, nodes.iter().map(|&node| node.to_owned()).collect()));
        self
    }

    /// Each rail draws on every pool whose name begins with its network's.
    pub(crate) fn by_wildcard(self) -> Self {
        Self {
            by_wildcard: true,
            ..self
        }
    }

    pub(crate) fn network(&self, rail: usize) -> String {
        format!("{}-rail{rail}", self.name)
    }

    pub(crate) fn pool(&self, rail: usize) -> String {
        format!("{}-rail{rail}-pool", self.name)
    }

    /// Another pool of the rail, where they go by a wildcard.
    pub(crate) fn extra_pool(&self, rail: usize) -> String {
        format!("{}-rail{rail}-extra", self.name)
    }

    /// That pool, with so many addresses above those of the first.
    pub(crate) fn extra_pool_object(&self, rail: usize, addresses: u8) -> Value {
        let prefix = self.address_prefix(rail);
        let last = self.addresses + addresses;
        json!({
            "metadata": {"name": self.extra_pool(rail)},
            "spec": {
                "ipVersion": 4,
                "subnet": format!("{prefix}0/24"),
                "ips": [format!("{prefix}{}-{prefix}{last}", self.addresses + 1)],
            },
        })
    }

    pub(crate) fn resource(&self, rail: usize) -> String {
        format!("{PREFIX}/{}_rail{rail}", self.resources)
    }

    /// What is common to all addresses of a rail.
    pub(crate) fn address_prefix(&self, rail: usize) -> String {
        format!("10.{}.{rail}.", self.octet)
    }

    /// The pool's range of so many addresses.
    pub(crate) fn range(&self, rail: usize, addresses: u8) -> String {
        let prefix = self.address_prefix(rail);
        format!("{prefix}1-{prefix}{addresses}")
    }

    /// Creates pools and SpiderMultusConfigs, the latter in `namespace`, and waits until Spiderpool has made the
    /// networks of them.
    pub(crate) async fn create(&self, plane: &ControlPlane, namespace: &str) {
        for rail in 0..self.rails {
            plane
                .api
                .create(&POOLS.all(), self.pool_object(rail))
                .await
                .unwrap();
            plane
                .api
                .create(&MULTUS_CONFIGS.within(namespace), self.network_object(rail))
                .await
                .unwrap();
        }
        for rail in 0..self.rails {
            let network = NETWORKS.within(namespace).named(&self.network(rail));
            eventually(
                &format!("the network of rail {rail} of {}", self.name),
                LIMIT,
                async || plane.api.get(&network).await.map_err(|refused| refused.message),
            )
            .await;
            let pool = POOLS.all().named(&self.pool(rail));
            eventually(
                &format!("Spiderpool counts {}", self.pool(rail)),
                LIMIT,
                async || {
                    let pool = plane.api.get(&pool).await.unwrap();
                    expect(pool["status"]["totalIPCount"] == json!(self.addresses), || {
                        pool.to_string()
                    })
                },
            )
            .await;
        }
    }

    fn pool_object(&self, rail: usize) -> Value {
        let nodes = self
            .only_on
            .iter()
            .find(|(only, _)| *only == rail)
            .map(|(_, nodes)| nodes);
        json!({
            "metadata": {"name": self.pool(rail)},
            "spec": {
                "ipVersion": 4,
                "subnet": format!("{}0/24", self.address_prefix(rail)),
                "ips": [self.range(rail, self.addresses)],
                "nodeName": nodes.cloned().unwrap_or_default(),
            },
        })
    }

    fn network_object(&self, rail: usize) -> Value {
        let pool = if self.by_wildcard {
            format!("{}-*", self.network(rail))
        } else {
            self.pool(rail)
        };
        json!({
            "metadata": {"name": self.network(rail), "annotations": {
                "pointsman.io/profile": self.name,
                "pointsman.io/rail": rail.to_string(),
            }},
            "spec": {
                "cniType": "ib-sriov",
                "enableCoordinator": false,
                "ibsriov": {"resourceName": self.resource(rail), "ippools": {"ipv4": [pool]}},
            },
        })
    }
}

/// A container that does nothing; nodes played by KWOK run no images.
pub(crate) fn container(name: &str) -> Value {
    json!({"name": name, "image": "example.com/trainer:1"})
}

/// A pod that asks for a profile with the one annotation that this takes.
pub(crate) fn pod_of(name: &str, profile: &str) -> Value {
    json!({
        "metadata": {"name": name, "annotations": {"pointsman.io/profile": profile}},
        "spec": {"containers": [container("trainer")]},
    })
}

/// A Job of so many pods at once.
pub(crate) fn job(name: &str, pods: usize, template: Value) -> Value {
    let mut template = template;
    template["spec"]["restartPolicy"] = json!("Never");
    json!({"metadata": {"name": name}, "spec": {"parallelism": pods, "completions": pods, "template": template}})
}
