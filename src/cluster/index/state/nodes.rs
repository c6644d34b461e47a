//! Nodes and what the SR-IOV operator says of them: what a change of one means for all.

use std::sync::Arc;

use super::State;
use crate::cluster::index::rates;
use crate::decide::amounts::Amounts;
use crate::decide::names::NodeName;
use crate::decide::node::{Node, RdmaMode, SriovState};
use crate::decide::pod::{Phase, Pod};
use crate::decide::settings::Settings;

impl State {
    /// A node is new, changed or gone.
    pub(super) fn change_node(&mut self, name: &NodeName, node: Option<Node>, settings: &Settings) {
        let before = self.snapshot.nodes.get(name).cloned();
        if before.as_deref() == node.as_ref() {
            return;
        }
        if rates::change(&mut self.snapshot.leaf_rates, before.as_deref(), node.as_ref()) {
            // Whether a link is slow for its leaf is asked of all nodes of the leaf.
            self.snapshot.changes.of_all();
        }
        self.snapshot.changes.of(name);
        let same_pools = before.as_ref().map(|node| &node.labels) == node.as_ref().map(|node| &node.labels);
        match node {
            Some(node) => self.snapshot.nodes.insert_mut(name.clone(), Arc::new(node)),
            None => drop(self.snapshot.nodes.remove_mut(name)),
        }
        if !same_pools {
            let there = |pod: &Arc<Pod>| pod.phase == Phase::Bound(name.clone());
            let waiting = self.snapshot.unallocated.iter().filter(|(_, pod)| there(pod));
            for uid in waiting.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
                self.recheck(&uid, settings);
            }
        }
    }

    /// What the SR-IOV operator says of a node is new, changed or gone.
    pub(super) fn change_state(&mut self, node: NodeName, state: Option<Arc<SriovState>>) {
        let tells = |state: &Arc<SriovState>| {
            let facts = state.reading.as_ref();
            usize::from(facts.is_ok_and(|facts| facts.rdma != RdmaMode::Unknown))
        };
        let before = self.snapshot.sriov.get(&node);
        if before == state.as_ref() {
            return;
        }
        let (had, had_any) = (before.map_or(0, tells), !self.snapshot.sriov.is_empty());
        let told = self.modes_told;
        self.modes_told = told + state.as_ref().map_or(0, tells) - had;
        self.snapshot.changes.of(&node);
        match state {
            Some(state) => self.snapshot.sriov.insert_mut(node, state),
            None => drop(self.snapshot.sriov.remove_mut(&node)),
        }
        // What is demanded of the states of all depends on whether there are any, and on what they can tell.
        if (told > 0) != (self.modes_told > 0) || had_any == self.snapshot.sriov.is_empty() {
            self.snapshot.changes.of_all();
        }
    }

    /// Something more or less is taken of a node.
    pub(super) fn change_use(&mut self, node: &NodeName, change: impl FnOnce(&mut Amounts)) {
        self.snapshot.changes.of(node);
        self.snapshot.change_use(node, change);
    }
}
