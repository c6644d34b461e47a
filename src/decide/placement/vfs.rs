//! What becomes of the VFs of one resource on one node: what the page draws, by the arithmetic that refuses.

use super::Placement;
use crate::decide::feeds::Feeds;
use crate::decide::fitness::fitness;
use crate::decide::links::BadLinks;
use crate::decide::names::ResourceName;
use crate::decide::node::Node;
use crate::decide::reason::Refusal;

/// The VFs of a resource on a node; the four parts add up to what it offers, unless it is promised too much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VfStanding {
    /// Can be had.
    pub free: u32,
    /// Taken by bound pods.
    pub used: u32,
    /// Promised: reserved at bind and not yet seen, or held for a gang.
    pub held: u32,
    /// Neither taken nor to be had: they stand behind something that is not fit for use.
    pub unfit: u32,
    /// What makes them unfit, where it is the node as a whole.
    pub why: Option<Refusal>,
}

impl Placement<'_> {
    /// The VFs of `resource`, which the claim has to ask for, on `node`.
    #[must_use]
    pub fn vfs_on(&self, node: &Node, resource: &ResourceName) -> VfStanding {
        let used = self.snapshot.used.get(&node.name);
        let used = used.map_or(0, |used| used.count(resource));
        let held = self.reserved.on(&node.name);
        let held = held.map_or(0, |held| held.count(resource));
        let left = node
            .offers
            .count(resource)
            .saturating_sub(used.saturating_add(held));
        let (unfit, why) = match fitness(self.claim, node, self.snapshot, self.settings, self.modes_told()) {
            Err(refusal) => (left, Some(refusal)),
            Ok(facts) => {
                let links = BadLinks::of(node, self.snapshot, self.settings);
                let heeded = (!links.only_prefer()).then_some(&links);
                let unfit = self.claim.vfs.get(resource).map_or(0, |need| {
                    let feeds = Feeds {
                        node,
                        facts,
                        resource,
                        need,
                    };
                    feeds.unfit(heeded)
                });
                (unfit.min(left), None)
            }
        };
        VfStanding {
            free: left.saturating_sub(unfit),
            used,
            held,
            unfit,
            why,
        }
    }
}
