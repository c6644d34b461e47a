//! Levels of locality on the fabric, by node labels, from the closest outward; and domains, the places in them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::annotation;
use super::cluster::ClusterSnapshot;
use super::names::NodeName;
use super::node::Node;
use super::policy::Tier;
use super::selector::Labels;

/// Label keys of the tiers, the closest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers(Vec<String>);

/// A place on the fabric: the values of the tiers from the outermost to the one meant. The whole path tells places
/// apart, because values need not be unique under different parents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<[String]>);

/// A known set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// What it is called in the configuration.
    pub name: &'static str,
    /// Its keys, the closest first.
    pub keys: &'static [&'static str],
    /// Who puts the labels on nodes.
    pub source: Source,
}

/// Who puts a preset's labels on nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A tool that the cluster's admin runs, because he wants its view of the fabric.
    Tool,
    /// The provider of the machines, unasked.
    Provider,
    /// Whoever: the labels are not about the InfiniBand fabric, or are an example, and count only when named.
    ByName,
}

/// The presets in the order in which they are looked for: the first whose closest key some node carries is taken.
pub const PRESETS: [Preset; 13] = [
    Preset {
        name: "pointsman",
        keys: &[annotation::LEAF_GROUP, annotation::SPINE, annotation::CORE],
        source: Source::Tool,
    },
    // Topograph from 1.0 on.
    Preset {
        name: "topograph",
        keys: &[
            "fabric.topograph.run/tier-0",
            "fabric.topograph.run/tier-1",
            "fabric.topograph.run/tier-2",
        ],
        source: Source::Tool,
    },
    // 0.3 to 0.5.
    Preset {
        name: "topograph-0",
        keys: &[
            "network.topology.nvidia.com/leaf",
            "network.topology.nvidia.com/spine",
            "network.topology.nvidia.com/core",
        ],
        source: Source::Tool,
    },
    // 0.1; the key of its middle tier is that of the next generation.
    Preset {
        name: "topograph-0.1",
        keys: &[
            "network.topology.nvidia.com/block",
            "network.topology.nvidia.com/spine",
            "network.topology.nvidia.com/datacenter",
        ],
        source: Source::Tool,
    },
    // Before 0.1.
    Preset {
        name: "topograph-kubernetes",
        keys: &[
            "network.topology.kubernetes.io/block",
            "network.topology.kubernetes.io/spine",
            "network.topology.kubernetes.io/datacenter",
        ],
        source: Source::Tool,
    },
    Preset {
        name: "coreweave",
        keys: &[
            "ib.coreweave.cloud/leafgroup",
            "ib.coreweave.cloud/superpod",
            "ib.coreweave.cloud/fabric",
        ],
        source: Source::Provider,
    },
    Preset {
        name: "gke",
        keys: &[
            "cloud.google.com/gce-topology-subblock",
            "cloud.google.com/gce-topology-block",
        ],
        source: Source::Provider,
    },
    // AWS counts from the outside: layer 3 is the closest.
    Preset {
        name: "aws",
        keys: &[
            "topology.k8s.aws/network-node-layer-3",
            "topology.k8s.aws/network-node-layer-2",
            "topology.k8s.aws/network-node-layer-1",
        ],
        source: Source::Provider,
    },
    Preset {
        name: "oci",
        keys: &[
            "oci.oraclecloud.com/host.rack_id",
            "oci.oraclecloud.com/host.network_block_id",
        ],
        source: Source::Provider,
    },
    // Azure labels no nodes; dranet republishes what the instance knows.
    Preset {
        name: "azure-dranet",
        keys: &[
            "azure.dra.net/interconnectSubgroupId",
            "azure.dra.net/interconnectGroupId",
            "azure.dra.net/placementGroupId",
        ],
        source: Source::Provider,
    },
    // NVLink partitions, beside whatever the InfiniBand fabric is labelled with.
    Preset {
        name: "gpu-clique",
        keys: &["nvidia.com/gpu.clique"],
        source: Source::ByName,
    },
    Preset {
        name: "topograph-accelerator",
        keys: &[
            "accelerator.topograph.run/sub-domain",
            "accelerator.topograph.run/domain",
        ],
        source: Source::ByName,
    },
    // The keys of Volcano's examples.
    Preset {
        name: "volcano",
        keys: &[
            "volcano.sh/tor",
            "volcano.sh/hypernode",
            "volcano.sh/hypercluster",
        ],
        source: Source::ByName,
    },
];

/// Which presets' closest keys a node carries, one bit each in the order of [`PRESETS`]; worked out once, because it is
/// asked of every node at every decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PresetMarks(u16);

impl PresetMarks {
    /// The marks of a node with these labels.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        let carries = |preset: &Preset| preset.keys.first().is_some_and(|key| labels.contains_key(*key));
        Self::those(|preset| preset.source != Source::ByName && carries(preset))
    }

    /// Whether it carries none.
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn those(is_one: impl Fn(&Preset) -> bool) -> Self {
        let bits = PRESETS.iter().enumerate().filter(|(_, preset)| is_one(preset));
        Self(bits.fold(0, |marks, (bit, _)| marks | (1 << bit)))
    }

    fn first(self) -> Option<&'static Preset> {
        PRESETS.get(usize::try_from(self.0.trailing_zeros()).ok()?)
    }
}

/// Nodes that carry the labels of another preset than the one that is used, and not of that one: they are in no domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The preset that is used.
    pub used: &'static str,
    /// For each other preset, the nodes.
    pub others: BTreeMap<&'static str, Vec<NodeName>>,
}

impl Conflict {
    /// The conflict there is, unless the configuration names the tiers.
    ///
    /// What the provider labels unasked is no conflict with what a tool of the admin's choice says, so that a cloud's
    /// node that was not imported yet stops nobody. A node that carries both sets is no conflict either.
    #[must_use]
    pub fn of(configured: &[String], snapshot: &ClusterSnapshot) -> Option<Self> {
        if !configured.is_empty() {
            return None;
        }
        let used = preset_of(snapshot)?;
        let own = PresetMarks::those(|preset| preset.name == used.name).0;
        let rivals = PresetMarks::those(|preset| preset.name != used.name && preset.source == used.source).0;
        let mut others: BTreeMap<&'static str, Vec<NodeName>> = BTreeMap::new();
        for node in snapshot.nodes.values() {
            let marks = node.presets.0;
            if let (0, Some(preset)) = (marks & own, PresetMarks(marks & rivals).first()) {
                others.entry(preset.name).or_default().push(node.name.clone());
            }
        }
        (!others.is_empty()).then_some(Self {
            used: used.name,
            others,
        })
    }

    /// How many nodes.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.others.values().map(Vec::len).sum()
    }
}

/// How many nodes of a conflict are named; the others are counted.
const NAMED: usize = 8;

impl core::fmt::Display for Conflict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "tiers are taken from the labels of {}", self.used)?;
        for (preset, nodes) in &self.others {
            let names: Vec<&str> = nodes.iter().take(NAMED).map(NodeName::as_str).collect();
            write!(f, "; only those of {preset} are on {}", names.join(", "))?;
            if nodes.len() > NAMED {
                write!(f, " and {} more", nodes.len() - NAMED)?;
            }
        }
        Ok(())
    }
}

/// The first preset that some node carries.
fn preset_of(snapshot: &ClusterSnapshot) -> Option<&'static Preset> {
    let mut carried = PresetMarks::default();
    for node in snapshot.nodes.values() {
        carried.0 |= node.presets.0;
        if carried.0 & 1 == 1 {
            break;
        }
    }
    carried.first()
}

impl Tiers {
    /// The configured keys, or those of the first preset that some node carries; none where no node has any.
    #[must_use]
    pub fn of(configured: &[String], snapshot: &ClusterSnapshot) -> Self {
        Self::chosen(configured, || preset_of(snapshot))
    }

    /// The same, of nodes with these marks.
    pub(super) fn among(configured: &[String], marks: impl Iterator<Item = PresetMarks>) -> Self {
        let carried = || marks.fold(PresetMarks::default(), |all, marks| PresetMarks(all.0 | marks.0));
        Self::chosen(configured, || carried().first())
    }

    fn chosen(configured: &[String], preset: impl FnOnce() -> Option<&'static Preset>) -> Self {
        if !configured.is_empty() {
            return Self(configured.to_vec());
        }
        let keys = preset().map(|preset| preset.keys).unwrap_or_default();
        Self(keys.iter().map(|key| (*key).to_owned()).collect())
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
    use crate::decide::testing::Cluster;

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

    fn conflict(nodes: &[(&str, &[&str])]) -> Option<String> {
        let mut cluster = Cluster::with_rails(1);
        for (name, keys) in nodes {
            cluster = cluster.node(name, 8);
            for key in *keys {
                cluster = cluster.labelled(name, key, "x");
            }
        }
        Conflict::of(&[], &cluster.snapshot()).map(|conflict| conflict.to_string())
    }

    #[test]
    fn the_first_preset_that_a_node_carries_is_taken() {
        for preset in PRESETS {
            let cluster = Cluster::with_rails(1)
                .node("n1", 8)
                .labelled("n1", preset.keys[0], "x");
            let tiers = Tiers::of(&[], &cluster.snapshot());
            let expected = if preset.source == Source::ByName {
                0
            } else {
                preset.keys.len()
            };
            assert_eq!(tiers.count(), expected, "{}", preset.name);
        }
        let cluster = Cluster::with_rails(1)
            .node("n1", 8)
            .labelled("n1", PRESETS[7].keys[0], "x")
            .labelled("n1", PRESETS[2].keys[0], "x");
        assert_eq!(
            Tiers::of(&[], &cluster.snapshot()).key(0),
            Some(PRESETS[2].keys[0])
        );
    }

    #[test]
    fn nodes_with_only_another_presets_labels_are_named() {
        let [pointsman, topograph, gke, aws] = [0, 1, 6, 7].map(|at: usize| PRESETS[at].keys[0]);
        assert_eq!(
            conflict(&[
                ("a", &[pointsman]),
                ("b", &[topograph]),
                ("c", &[pointsman, topograph])
            ])
            .unwrap(),
            "tiers are taken from the labels of pointsman; only those of topograph are on b"
        );
        assert_eq!(
            conflict(&[("a", &[pointsman, topograph])]),
            None,
            "one covers the other"
        );
        assert_eq!(
            conflict(&[("a", &[pointsman]), ("b", &[gke])]),
            None,
            "the provider's labels are there unasked"
        );
        assert!(conflict(&[("a", &[gke]), ("b", &[aws])]).is_some());
        let many: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
        let (own, other) = ([pointsman], [topograph]);
        let mut nodes: Vec<(&str, &[&str])> = many.iter().map(|name| (name.as_str(), &other[..])).collect();
        nodes.push(("a", &own));
        assert!(conflict(&nodes).unwrap().ends_with("n7 and 2 more"));
    }

    #[test]
    fn a_tier_is_named_by_its_place_or_its_label() {
        assert_eq!(tiers().level(&Tier::LeafGroup), Some(0));
        assert_eq!(tiers().level(&Tier::Label("spine".to_owned())), Some(1));
        assert_eq!(tiers().level(&Tier::Core), None);
    }
}
