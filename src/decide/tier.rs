//! Levels of locality on the fabric, by node labels, from the closest outward; and domains, the places in them.

use std::collections::BTreeMap;

use super::annotation;
use super::cluster::ClusterSnapshot;
use super::node::Node;
use super::policy::Tier;
use super::selector::Labels;

/// Label keys of the tiers, the closest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers(Vec<String>);

/// A place on the fabric: the values of the tiers from the outermost to the one meant. The whole path tells places
/// apart, because values need not be unique under different parents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Vec<String>);

/// Known sets of keys, tried in this order; the first whose closest key some node carries is taken.
pub const PRESETS: [(&str, &[&str]); 6] = [
    (
        "pointsman",
        &[annotation::LEAF_GROUP, annotation::SPINE, annotation::CORE],
    ),
    (
        "topograph",
        &[
            "fabric.topograph.run/tier-0",
            "fabric.topograph.run/tier-1",
            "fabric.topograph.run/tier-2",
        ],
    ),
    (
        "topograph-0",
        &[
            "network.topology.nvidia.com/leaf",
            "network.topology.nvidia.com/spine",
            "network.topology.nvidia.com/core",
        ],
    ),
    (
        "gke",
        &[
            "cloud.google.com/gce-topology-subblock",
            "cloud.google.com/gce-topology-block",
        ],
    ),
    // AWS counts from the outside: layer 3 is the closest.
    (
        "aws",
        &[
            "topology.k8s.aws/network-node-layer-3",
            "topology.k8s.aws/network-node-layer-2",
            "topology.k8s.aws/network-node-layer-1",
        ],
    ),
    (
        "oci",
        &[
            "oci.oraclecloud.com/host.rack_id",
            "oci.oraclecloud.com/host.network_block_id",
        ],
    ),
];

impl Tiers {
    /// The configured keys, or those of the first preset that some node carries; none where no node has any.
    #[must_use]
    pub fn of(configured: &[String], snapshot: &ClusterSnapshot) -> Self {
        if !configured.is_empty() {
            return Self(configured.to_vec());
        }
        let carried = |key: &str| snapshot.nodes.values().any(|node| node.labels.contains_key(key));
        let preset = PRESETS
            .iter()
            .find(|(_, keys)| keys.first().is_some_and(|key| carried(key)));
        Self(
            preset
                .map(|(_, keys)| keys.iter().map(|key| (*key).to_owned()).collect())
                .unwrap_or_default(),
        )
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The label key of a level.
    #[must_use]
    pub fn key(&self, level: usize) -> Option<&str> {
        self.0.get(level).map(String::as_str)
    }

    /// The level a pod means, counted from the closest; none where no such tier is known.
    #[must_use]
    pub fn level(&self, tier: &Tier) -> Option<usize> {
        let level = match tier {
            Tier::LeafGroup => 0,
            Tier::Spine => 1,
            Tier::Core => 2,
            Tier::Label(key) => self.0.iter().position(|known| known == key)?,
        };
        (level < self.0.len()).then_some(level)
    }

    /// The domain of this level that has these labels; none where the level's own label is absent.
    #[must_use]
    pub fn domain(&self, level: usize, labels: &Labels) -> Option<Domain> {
        labels.get(self.0.get(level)?)?;
        let outward = self.0.get(level..)?;
        Some(Domain(
            outward
                .iter()
                .rev()
                .map(|key| labels.get(key).cloned().unwrap_or_default())
                .collect(),
        ))
    }

    /// The nodes of every domain of this level, in order.
    #[must_use]
    pub fn domains<'a>(
        &self,
        level: usize,
        snapshot: &'a ClusterSnapshot,
    ) -> BTreeMap<Domain, Vec<&'a Node>> {
        let mut domains: BTreeMap<Domain, Vec<&Node>> = BTreeMap::new();
        for node in snapshot.nodes.values() {
            if let Some(domain) = self.domain(level, &node.labels) {
                domains.entry(domain).or_default().push(node);
            }
        }
        domains
    }
}

impl core::fmt::Display for Domain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let known: Vec<&str> = self
            .0
            .iter()
            .map(String::as_str)
            .filter(|value| !value.is_empty())
            .collect();
        f.write_str(&known.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn tiers() -> Tiers {
        Tiers(vec!["leaf".to_owned(), "spine".to_owned()])
    }

    #[test]
    fn equal_values_under_different_parents_are_different_domains() {
        let one = tiers()
            .domain(0, &labels(&[("leaf", "1"), ("spine", "a")]))
            .unwrap();
        let other = tiers()
            .domain(0, &labels(&[("leaf", "1"), ("spine", "b")]))
            .unwrap();
        assert_ne!(one, other);
        assert_eq!(
            (one.to_string(), other.to_string()),
            ("a/1".to_owned(), "b/1".to_owned())
        );
    }

    #[test]
    fn a_node_without_the_tiers_label_is_in_no_domain_of_it() {
        assert_eq!(tiers().domain(0, &labels(&[("spine", "a")])), None);
        assert!(tiers().domain(1, &labels(&[("spine", "a")])).is_some());
        assert_eq!(tiers().domain(2, &labels(&[("spine", "a")])), None);
    }

    #[test]
    fn a_tier_is_named_by_its_place_or_its_label() {
        assert_eq!(tiers().level(&Tier::LeafGroup), Some(0));
        assert_eq!(tiers().level(&Tier::Label("spine".to_owned())), Some(1));
        assert_eq!(tiers().level(&Tier::Core), None);
    }
}
