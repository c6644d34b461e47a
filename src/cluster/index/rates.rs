//! How many links of each leaf run at which rate, kept as nodes come, change and go.

use std::sync::Arc;

use crate::decide::cluster::Map;
use crate::decide::fabric::Guid;
use crate::decide::links::{LeafRates, Rate};
use crate::decide::node::Node;

/// A node is new, changed or gone; whether the rates of any leaf are others now.
pub(super) fn change(
    leaves: &mut Map<Guid, Arc<LeafRates>>,
    before: Option<&Node>,
    after: Option<&Node>,
) -> bool {
    // Nodes change every few seconds (their heartbeat), their links hardly ever.
    if before.map(|node| &node.fabric) == after.map(|node| &node.fabric) {
        return false;
    }
    let sorted = |node| {
        let mut links: Vec<(Guid, Rate)> = links(node).collect();
        links.sort_unstable();
        links
    };
    if sorted(before) == sorted(after) {
        return false;
    }
    for (leaf, rate) in links(before) {
        with(leaves, leaf, |rates| {
            if let Some(links) = rates.get_mut(&rate) {
                *links = links.saturating_sub(1);
            }
            rates.retain(|_, links| *links > 0);
        });
    }
    for (leaf, rate) in links(after) {
        with(leaves, leaf, |rates| *rates.entry(rate).or_insert(0) += 1);
    }
    true
}

fn with(leaves: &mut Map<Guid, Arc<LeafRates>>, leaf: Guid, change: impl FnOnce(&mut LeafRates)) {
    let mut rates = leaves
        .get(&leaf)
        .map(|rates| LeafRates::clone(rates))
        .unwrap_or_default();
    change(&mut rates);
    if rates.is_empty() {
        leaves.remove_mut(&leaf);
    } else {
        leaves.insert_mut(leaf, Arc::new(rates));
    }
}

/// The links of a node with known leaf and rate.
fn links(node: Option<&Node>) -> impl Iterator<Item = (Guid, Rate)> {
    let rails = node.and_then(|node| node.fabric.as_ref()?.as_ref().ok());
    rails
        .into_iter()
        .flatten()
        .filter_map(|rail| Some((rail.leaf?, Rate::of(rail)?)))
}
