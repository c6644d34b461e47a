//! Kubernetes' label selector, as a value that can only be a valid one.

use std::collections::BTreeMap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A `metav1.LabelSelector`; every part of it must hold. An empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: Labels,
    /// `matchExpressions`.
    pub expressions: Vec<Expression>,
}

/// One of a selector's `matchExpressions`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// What must hold of it.
    pub operator: Operator,
}

/// The operator of an expression, with its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The label exists and has one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

impl Selector {
    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .expressions
                .iter()
                .all(|expression| expression.matches(labels))
    }
}

impl Selector {
    /// The labels that it looks at.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let of_expressions = self.expressions.iter().map(|expression| expression.key.as_str());
        self.labels.keys().map(String::as_str).chain(of_expressions)
    }
}

impl Expression {
    /// Whether it holds of these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
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

    fn expression(key: &str, operator: Operator) -> Selector {
        Selector {
            labels: Labels::new(),
            expressions: vec![Expression {
                key: key.to_owned(),
                operator,
            }],
        }
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(Selector::default().matches(&labels(&[])));
    }

    #[test]
    fn not_in_selects_objects_without_the_label() {
        let selector = expression("zone", Operator::NotIn(vec!["a".to_owned()]));
        assert!(selector.matches(&labels(&[])));
        assert!(!selector.matches(&labels(&[("zone", "a")])));
    }

    #[test]
    fn every_part_must_hold() {
        let mut selector = expression("zone", Operator::In(vec!["a".to_owned(), "b".to_owned()]));
        selector.labels = labels(&[("ib", "yes")]);
        assert!(selector.matches(&labels(&[("zone", "b"), ("ib", "yes")])));
        assert!(!selector.matches(&labels(&[("zone", "b")])));
        assert!(!selector.matches(&labels(&[("ib", "yes")])));
    }
}
