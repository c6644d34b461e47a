//! Whether a node suits a pod by what Kubernetes itself knows: taints, selectors, required node affinity.
//!
//! kube-scheduler has decided this for the nodes it asks about. Looking ahead for a whole gang needs it for all
//! others, too, which it does not ask about until their pods' turn.

use super::node::Node;
use super::selector::{Expression, Labels, Operator};

/// What a pod asks of its node, resources aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeNeeds {
    /// `spec.nodeSelector`.
    pub labels: Labels,
    /// `requiredDuringSchedulingIgnoredDuringExecution`: one of these terms must hold, where there are any.
    pub terms: Vec<Term>,
    /// `spec.tolerations`.
    pub tolerations: Vec<Toleration>,
}

/// One term of a required node affinity: all of its parts must hold; one without parts holds never.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// `matchExpressions`.
    pub expressions: Vec<NodeExpression>,
    /// Names of `matchFields` on `metadata.name`, the only field there is.
    pub names: Vec<NodeExpression>,
}

/// An expression over a node's label (or its name).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeExpression {
    /// As in a label selector.
    Label(Expression),
    /// The label is a number greater than this.
    Greater(String, i64),
    /// The label is a number less than this.
    Less(String, i64),
    /// Nothing matches: the operator is one we do not know, and a guess could be a wrong yes.
    Never,
}

/// A taint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `NoSchedule`, `NoExecute`; `PreferNoSchedule` keeps nobody away.
    pub effect: String,
}

/// A toleration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Toleration {
    /// The key; none with `exists` tolerates every taint.
    pub key: Option<String>,
    /// Any value will do.
    pub exists: bool,
    /// The value.
    pub value: String,
    /// The effect; none tolerates every effect.
    pub effect: Option<String>,
}

/// The taint that stands for `spec.unschedulable`.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Whether `node` suits.
#[must_use]
pub fn suits(needs: &NodeNeeds, node: &Node) -> bool {
    let cordoned = Taint {
        key: UNSCHEDULABLE.to_owned(),
        value: String::new(),
        effect: "NoSchedule".to_owned(),
    };
    let tolerated = |taint: &Taint| {
        !matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            || needs
                .tolerations
                .iter()
                .any(|toleration| toleration.tolerates(taint))
    };
    (!node.unschedulable || tolerated(&cordoned))
        && node.taints.iter().all(tolerated)
        && needs
            .labels
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value))
        && (needs.terms.is_empty() || needs.terms.iter().any(|term| term.holds(node)))
}

impl Term {
    fn holds(&self, node: &Node) -> bool {
        let name: Labels = [(NAME_FIELD.to_owned(), node.name.as_str().to_owned())].into();
        !(self.expressions.is_empty() && self.names.is_empty())
            && self
                .expressions
                .iter()
                .all(|expression| expression.holds(&node.labels))
            && self.names.iter().all(|expression| expression.holds(&name))
    }
}

/// The one field that node affinity can match.
pub const NAME_FIELD: &str = "metadata.name";

impl NodeExpression {
    fn holds(&self, labels: &Labels) -> bool {
        let number = |key: &String| labels.get(key).and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Label(expression) => expression.matches(labels),
            Self::Greater(key, bound) => number(key).is_some_and(|value| value > *bound),
            Self::Less(key, bound) => number(key).is_some_and(|value| value < *bound),
            Self::Never => false,
        }
    }
}

impl Toleration {
    fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.as_ref().is_none_or(|effect| *effect == taint.effect);
        let key = self.key.as_ref().is_none_or(|key| *key == taint.key);
        let value = self.exists || (self.key.is_some() && self.value == taint.value);
        effect && key && value
    }
}

impl NodeExpression {
    /// An expression as it is written; `Gt` and `Lt` take one number.
    #[must_use]
    pub fn of(key: &str, operator: &str, values: Vec<String>) -> Self {
        let number = || values.first().and_then(|value| value.parse().ok());
        let label = |operator| {
            Self::Label(Expression {
                key: key.to_owned(),
                operator,
            })
        };
        match operator {
            "In" => label(Operator::In(values)),
            "NotIn" => label(Operator::NotIn(values)),
            "Exists" => label(Operator::Exists),
            "DoesNotExist" => label(Operator::DoesNotExist),
            "Gt" => number().map_or(Self::Never, |bound| Self::Greater(key.to_owned(), bound)),
            "Lt" => number().map_or(Self::Never, |bound| Self::Less(key.to_owned(), bound)),
            _ => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::Cluster;

    fn node(change: impl FnOnce(&mut Node)) -> Node {
        let mut node = Node::clone(
            Cluster::with_rails(1)
                .node("n1", 1)
                .snapshot()
                .nodes
                .get("n1")
                .unwrap(),
        );
        change(&mut node);
        node
    }

    fn needs(change: impl FnOnce(&mut NodeNeeds)) -> NodeNeeds {
        let mut needs = NodeNeeds::default();
        change(&mut needs);
        needs
    }

    #[test]
    fn a_taint_keeps_away_who_does_not_tolerate_it() {
        let tainted = node(|node| {
            node.taints = vec![Taint {
                key: "gpu".into(),
                value: "yes".into(),
                effect: "NoSchedule".into(),
            }];
        });
        let with =
            |toleration: Toleration| suits(&needs(|needs| needs.tolerations = vec![toleration]), &tainted);
        assert!(!suits(&NodeNeeds::default(), &tainted));
        assert!(with(Toleration {
            exists: true,
            ..Toleration::default()
        }));
        assert!(with(Toleration {
            key: Some("gpu".into()),
            value: "yes".into(),
            ..Toleration::default()
        }));
        assert!(!with(Toleration {
            key: Some("gpu".into()),
            value: "no".into(),
            ..Toleration::default()
        }));
        assert!(!with(Toleration {
            key: Some("gpu".into()),
            exists: true,
            effect: Some("NoExecute".into()),
            ..Toleration::default()
        }));
        let soft = node(|node| {
            node.taints = vec![Taint {
                key: "gpu".into(),
                value: "yes".into(),
                effect: "PreferNoSchedule".into(),
            }];
        });
        assert!(suits(&NodeNeeds::default(), &soft));
    }

    #[test]
    fn a_cordoned_node_suits_nobody() {
        assert!(!suits(
            &NodeNeeds::default(),
            &node(|node| node.unschedulable = true)
        ));
    }

    #[test]
    fn one_of_the_terms_must_hold_and_an_empty_one_never_does() {
        let labelled = node(|node| drop(node.labels.insert("zone".into(), "7".into())));
        let with = |terms: Vec<Term>| suits(&needs(|needs| needs.terms = terms), &labelled);
        let term = |key: &str, operator: &str, value: &str| Term {
            expressions: vec![NodeExpression::of(key, operator, vec![value.into()])],
            names: Vec::new(),
        };
        assert!(with(vec![term("zone", "In", "8"), term("zone", "In", "7")]));
        assert!(!with(vec![term("zone", "In", "8")]));
        assert!(with(vec![term("zone", "Gt", "6")]));
        assert!(!with(vec![term("zone", "Lt", "7")]));
        assert!(!with(vec![term("zone", "Near", "7")]));
        assert!(!with(vec![Term::default()]));
        let by_name = Term {
            names: vec![NodeExpression::of(NAME_FIELD, "In", vec!["n1".into()])],
            expressions: Vec::new(),
        };
        assert!(with(vec![by_name]));
    }
}
