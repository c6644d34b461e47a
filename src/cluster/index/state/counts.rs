//! What is counted over several objects: device plugins that wait on a node, DeviceClasses that map a resource.

use super::State;
use crate::cluster::index::Key;
use crate::decide::cluster::Map;
use crate::decide::names::{NodeName, ResourceName};

impl State {
    /// A DeviceClass maps a resource, another one, or none any more.
    pub(super) fn count_device_class(&mut self, key: &Key, resource: Option<ResourceName>) {
        let before = match resource.clone() {
            Some(resource) => self.device_classes.insert(key.clone(), resource),
            None => self.device_classes.remove(key),
        };
        if before != resource {
            self.snapshot.changes.of_all();
        }
        recount(&mut self.snapshot.by_claims, before, resource);
    }

    /// A pod of the device plugin begins to wait on a node, or ends to.
    pub(super) fn put_plugin(&mut self, key: &Key, node: Option<NodeName>) {
        let before = match node.clone() {
            Some(node) => self.waiting_plugins.insert(key.clone(), node),
            None => self.waiting_plugins.remove(key),
        };
        if before != node {
            for node in [&before, &node].into_iter().flatten() {
                self.snapshot.changes.of(node);
            }
        }
        recount(&mut self.snapshot.waiting_plugins, before, node);
    }
}

/// One less of `before`, one more of `after`.
fn recount<K: Ord + Clone>(counts: &mut Map<K, u32>, before: Option<K>, after: Option<K>) {
    if before == after {
        return;
    }
    if let Some(before) = before {
        match counts.get(&before).copied().unwrap_or(0).saturating_sub(1) {
            0 => drop(counts.remove_mut(&before)),
            left => counts.insert_mut(before, left),
        }
    }
    if let Some(after) = after {
        let count = counts.get(&after).copied().unwrap_or(0).saturating_add(1);
        counts.insert_mut(after, count);
    }
}
