//! The VFs of a resource that a pod cannot use, although the device plugin offers them: those behind PFs with a fault,
//! and behind rails that are not effective.

use super::claim::VfNeed;
use super::links::{BadLink, BadLinks};
use super::names::ResourceName;
use super::node::{Node, PfFault, SriovFacts, VfGroup};

/// What feeds one resource of a node, as far as one need is concerned.
pub(super) struct Feeds<'a> {
    /// The node.
    pub(super) node: &'a Node,
    /// What the SR-IOV operator says of it.
    pub(super) facts: Option<&'a SriovFacts>,
    /// The resource.
    pub(super) resource: &'a ResourceName,
    /// How many VFs of it, and what they must be.
    pub(super) need: &'a VfNeed,
}

impl Feeds<'_> {
    /// VFs behind PFs with a fault that matters, or behind one of these links.
    pub(super) fn unfit(&self, links: Option<&BadLinks<'_>>) -> u32 {
        let Some(facts) = self.facts else {
            // Without a state nothing tells the PFs apart: the resource is taken for one rail's.
            let link = links.and_then(|links| links.of_rail(self.need.rail?));
            return link.map_or(0, |_| self.node.offers.count(self.resource));
        };
        self.groups()
            .filter(|group| {
                group.faults.iter().any(|fault| self.need.hindered_by(*fault))
                    || links.is_some_and(|links| links.behind(group, facts).is_some())
            })
            .fold(0, |sum, group| sum.saturating_add(group.vfs))
    }

    /// The worst of those faults.
    pub(super) fn worst_fault(&self) -> Option<PfFault> {
        self.groups()
            .flat_map(|group| &group.faults)
            .copied()
            .filter(|fault| self.need.hindered_by(*fault))
            .min()
    }

    /// The worst of those links.
    pub(super) fn worst_link(&self, links: &BadLinks<'_>) -> Option<Box<BadLink>> {
        let Some(facts) = self.facts else {
            return links.of_rail(self.need.rail?).map(Box::new);
        };
        self.groups()
            .filter_map(|group| links.behind(group, facts))
            .min_by_key(|link| (link.trouble, link.rail.rail))
            .map(Box::new)
    }

    fn groups(&self) -> impl Iterator<Item = &VfGroup> {
        let groups = self.facts.map(|facts| facts.groups.iter()).into_iter().flatten();
        groups.filter(|group| group.serves(self.resource))
    }
}
