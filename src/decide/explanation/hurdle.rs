//! What stands between a pod and a node: what kube-scheduler's own filters find there, then what ours do.
//!
//! kube-scheduler asks us only about the nodes its own filters leave. Whoever wants to know why a pod waits wants to
//! hear of the others, too, so the same things are looked at here, in the scheduler's order and its words.

use core::fmt;

use crate::decide::amounts::{Amounts, ONE};
use crate::decide::claim::Claim;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::ResourceName;
use crate::decide::node::Node;
use crate::decide::reason::Refusal;
use crate::decide::suits::{NodeNeeds, Taint, suits};

/// What keeps a pod from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hurdle {
    /// What Kubernetes itself knows.
    Kubernetes(InTree),
    /// What we know.
    Ours(Refusal),
}

/// What kube-scheduler's own filters find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InTree {
    /// The node is cordoned.
    Cordoned,
    /// The node has a taint that the pod does not tolerate.
    Tainted(Taint),
    /// The node is not one that the pod's selector or required affinity names.
    NotSelected,
    /// Too little of a resource is left.
    Short(ShortOf),
}

/// How little is left of a resource, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortOf {
    /// The resource.
    pub resource: ResourceName,
    /// What the pod requests.
    pub wanted: u64,
    /// What the node offers.
    pub offered: u64,
    /// What its pods take.
    pub used: u64,
}

impl Hurdle {
    /// What it is, in the words of whoever says so to the scheduler's user: the same for every node it is met on.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Ours(refusal) => refusal.reason().text().to_owned(),
            Self::Kubernetes(InTree::Cordoned) => "node(s) were unschedulable".to_owned(),
            Self::Kubernetes(InTree::Tainted(_)) => "node(s) had untolerated taint(s)".to_owned(),
            Self::Kubernetes(InTree::NotSelected) => {
                "node(s) didn't match Pod's node affinity/selector".to_owned()
            }
            Self::Kubernetes(InTree::Short(short)) if short.resource.as_str() == "pods" => {
                "Too many pods".to_owned()
            }
            Self::Kubernetes(InTree::Short(short)) => format!("Insufficient {}", short.resource),
        }
    }

    /// What helps against it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Ours(refusal) => refusal.reason().remedy(),
            Self::Kubernetes(InTree::Cordoned) => "uncordon the node",
            Self::Kubernetes(InTree::Tainted(_)) => "remove the taint, or tolerate it in the pod's template",
            Self::Kubernetes(InTree::NotSelected) => {
                "correct the pod's nodeSelector or affinity, or label the node"
            }
            Self::Kubernetes(InTree::Short(_)) => "wait for pods to end, or request less",
        }
    }
}

/// What was found, with names and numbers.
impl fmt::Display for Hurdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(refusal) => write!(f, "{refusal}"),
            Self::Kubernetes(InTree::Cordoned) => f.write_str("the node is cordoned"),
            Self::Kubernetes(InTree::Tainted(taint)) => write!(f, "the node has taint {}", Shown(taint)),
            Self::Kubernetes(InTree::NotSelected) => {
                f.write_str("the pod's nodeSelector or required node affinity does not name the node")
            }
            Self::Kubernetes(InTree::Short(short)) => write!(
                f,
                "{} of {} wanted: {} on the node, {} taken",
                thousandths(short.wanted),
                short.resource,
                thousandths(short.offered),
                thousandths(short.used)
            ),
        }
    }
}

/// A taint as `kubectl taint` writes it.
pub(super) struct Shown<'a>(pub(super) &'a Taint);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Taint { key, value, effect } = self.0;
        if value.is_empty() {
            write!(f, "{key}:{effect}")
        } else {
            write!(f, "{key}={value}:{effect}")
        }
    }
}

/// An amount in thousandths as a plain number.
pub(super) fn thousandths(amount: u64) -> String {
    match amount % ONE {
        0 => (amount / ONE).to_string(),
        rest => {
            let digits = format!("{}.{rest:03}", amount / ONE);
            digits.trim_end_matches('0').to_owned()
        }
    }
}

/// What kube-scheduler's own filters have against the node, as far as the snapshot tells; VFs are left to us, who
/// know more about them.
pub(super) fn in_tree(claim: &Claim, node: &Node, snapshot: &ClusterSnapshot) -> Option<InTree> {
    if !suits(&claim.needs, node) {
        return Some(unsuited(claim, node));
    }
    let nothing = Amounts::default();
    let used = snapshot.used.get(&node.name).map_or(&nothing, |used| used);
    claim
        .takes
        .iter()
        .filter(|(resource, _)| !claim.vfs.contains_key(*resource))
        .find(|(resource, amount)| {
            let one = Amounts::from_iter([((*resource).clone(), *amount)]);
            Amounts::times(&node.offers, &[used], &one, 1) == 0
        })
        .map(|(resource, wanted)| {
            InTree::Short(ShortOf {
                resource: resource.clone(),
                wanted,
                offered: node.offers.of(resource.as_str()),
                used: used.of(resource.as_str()),
            })
        })
}

/// In the order in which kube-scheduler looks: cordon, taints, selectors.
fn unsuited(claim: &Claim, node: &Node) -> InTree {
    let bare = Node {
        taints: Vec::new(),
        unschedulable: false,
        ..node.clone()
    };
    let anywhere = NodeNeeds {
        tolerations: claim.needs.tolerations.clone(),
        ..NodeNeeds::default()
    };
    let tolerates = |taints: Vec<Taint>, unschedulable| {
        let with = Node {
            taints,
            unschedulable,
            ..bare.clone()
        };
        suits(&anywhere, &with)
    };
    if node.unschedulable && !tolerates(Vec::new(), true) {
        return InTree::Cordoned;
    }
    node.taints
        .iter()
        .find(|taint| !tolerates(vec![(*taint).clone()], false))
        .map_or(InTree::NotSelected, |taint| InTree::Tainted(taint.clone()))
}
