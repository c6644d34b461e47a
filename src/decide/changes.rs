//! Which nodes' affairs have changed since when: what lets whoever keeps something for each node bring it up to date
//! without looking at all of them.

use super::cluster::Map;
use super::names::NodeName;

/// How many changes are remembered. Whoever was away for longer looks at every node once.
const REMEMBERED: u64 = 8_192;

/// The latest changes, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Somebody writes them down; a snapshot made by hand has changed in every respect.
    kept: bool,
    /// How many there were.
    count: u64,
    /// The last that concerned every node.
    of_all: u64,
    /// How many concerned what pods' claims are worked out from.
    of_claims: u64,
    /// The latest that concerned one.
    latest: Map<u64, NodeName>,
}

impl Changes {
    /// None yet; from now on they are written down.
    #[must_use]
    pub fn kept() -> Self {
        Self {
            kept: true,
            ..Self::default()
        }
    }

    /// Something about this node has changed: the node, its state, what is taken of it.
    pub fn of(&mut self, node: &NodeName) {
        self.count += 1;
        self.latest.insert_mut(self.count, node.clone());
        if let Some(oldest) = self.count.checked_sub(REMEMBERED) {
            self.latest.remove_mut(&oldest);
        }
    }

    /// Something has changed that every node's fitness may depend on.
    pub fn of_all(&mut self) {
        self.count += 1;
        self.of_all = self.count;
    }

    /// A network, a namespace or who a pool is for has changed.
    pub fn of_every_claim(&mut self) {
        self.of_claims += 1;
    }

    /// How often that has happened; none where nobody writes it down.
    #[must_use]
    pub fn of_claims(&self) -> Option<u64> {
        self.kept.then_some(self.of_claims)
    }

    /// Up to where they have come; none where nobody writes them down.
    #[must_use]
    pub fn now(&self) -> Option<u64> {
        self.kept.then_some(self.count)
    }

    /// The nodes that have changed since; a node may come more than once. None where that cannot be told, and every node
    /// may have.
    #[must_use]
    pub fn since(&self, then: u64) -> Option<impl Iterator<Item = &NodeName>> {
        let known = self.kept && then >= self.of_all && then.saturating_add(REMEMBERED) >= self.count;
        known.then(|| self.latest.range(then.saturating_add(1)..).map(|(_, node)| node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(changes: &Changes, then: u64) -> Option<Vec<&str>> {
        Some(changes.since(then)?.map(NodeName::as_str).collect())
    }

    #[test]
    fn tells_the_nodes_that_changed_after_a_point() {
        let mut changes = Changes::kept();
        let start = changes.now().unwrap();
        changes.of(&"a".into());
        let then = changes.now().unwrap();
        changes.of(&"b".into());
        changes.of(&"b".into());
        assert_eq!(since(&changes, start), Some(vec!["a", "b", "b"]));
        assert_eq!(since(&changes, then), Some(vec!["b", "b"]));
        assert_eq!(since(&changes, changes.now().unwrap()), Some(vec![]));
    }

    #[test]
    fn cannot_tell_past_a_change_of_all_nor_what_it_has_forgotten_nor_by_hand() {
        let mut changes = Changes::kept();
        let start = changes.now().unwrap();
        changes.of_all();
        assert_eq!(since(&changes, start), None);
        let then = changes.now().unwrap();
        for _ in 0..REMEMBERED {
            changes.of(&"a".into());
        }
        assert_eq!(since(&changes, then).map(|nodes| nodes.len()), Some(8_192));
        changes.of(&"a".into());
        assert_eq!(since(&changes, then), None);
        assert_eq!(changes.latest.size(), 8_192, "and memory is bounded");
        assert_eq!(Changes::default().now(), None);
        assert!(Changes::default().since(0).is_none());
    }
}
