//! What a self-check found: which parts were compared, how much of each, and what differs.

use core::cmp::Ordering;
use core::fmt::{Debug, Display};

use serde::Serialize;

/// How many differences are told one by one; a fault that spoils one entry spoils many.
const MOST: usize = 20;

/// How much is told of each side of a difference, in characters.
const LONGEST: usize = 400;

/// What was compared, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Every part, in the order of comparing.
    pub parts: Vec<Part>,
    /// The first differences.
    pub examples: Vec<Difference>,
}

/// One part of what is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Which.
    pub part: &'static str,
    /// How many entries were compared.
    pub compared: usize,
    /// How many of them differ.
    pub differences: usize,
}

/// One entry that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The part it is in.
    pub part: &'static str,
    /// Its name.
    pub what: String,
    /// As it is kept; none where there is no such entry.
    pub kept: Option<String>,
    /// As it should be; none where there should be no such entry.
    pub rebuilt: Option<String>,
}

impl Findings {
    /// How many entries differ.
    #[must_use]
    pub fn differences(&self) -> usize {
        self.parts.iter().map(|part| part.differences).sum()
    }

    /// Adds what another comparison found.
    pub fn add(&mut self, other: Self) {
        self.parts.extend(other.parts);
        self.examples.extend(other.examples);
        self.examples.truncate(MOST);
    }

    /// Compares two lists of entries, both in order of their names.
    pub fn compare<K: Ord + Display, V: PartialEq + Debug>(
        &mut self,
        part: &'static str,
        kept: impl IntoIterator<Item = (K, V)>,
        rebuilt: impl IntoIterator<Item = (K, V)>,
    ) {
        let (mut compared, mut differences) = (0, 0);
        let (mut kept, mut rebuilt) = (kept.into_iter().peekable(), rebuilt.into_iter().peekable());
        loop {
            let order = match (kept.peek(), rebuilt.peek()) {
                (Some((kept, _)), Some((rebuilt, _))) => kept.cmp(rebuilt),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let here = if order.is_le() { kept.next() } else { None };
            let there = if order.is_ge() { rebuilt.next() } else { None };
            compared += 1;
            let same = matches!((&here, &there), (Some((_, here)), Some((_, there))) if here == there);
            if same {
                continue;
            }
            differences += 1;
            if self.examples.len() < MOST {
                let name = here.as_ref().or(there.as_ref()).map(|(name, _)| name.to_string());
                let told = |side: &Option<(K, V)>| side.as_ref().map(|(_, value)| shortened(value));
                self.examples.push(Difference {
                    part,
                    what: name.unwrap_or_default(),
                    kept: told(&here),
                    rebuilt: told(&there),
                });
            }
        }
        self.parts.push(Part {
            part,
            compared,
            differences,
        });
    }

    /// Compares two sets of names, both in order.
    pub fn compare_names<K: Ord + Display>(
        &mut self,
        part: &'static str,
        kept: impl IntoIterator<Item = K>,
        rebuilt: impl IntoIterator<Item = K>,
    ) {
        let named = |name| (name, ());
        self.compare(part, kept.into_iter().map(named), rebuilt.into_iter().map(named));
    }

    /// Compares one value.
    pub fn compare_value<V: PartialEq + Debug>(&mut self, part: &'static str, kept: V, rebuilt: V) {
        self.compare(part, [(part, kept)], [(part, rebuilt)]);
    }
}

fn shortened(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_too_many_and_other_is_told_by_name() {
        let mut findings = Findings::default();
        findings.compare(
            "used",
            [("a", 1), ("b", 2), ("d", 4)],
            [("b", 2), ("c", 3), ("d", 5)],
        );
        let told: Vec<_> = findings
            .examples
            .iter()
            .map(|found| {
                (
                    found.what.as_str(),
                    found.kept.as_deref(),
                    found.rebuilt.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("a", Some("1"), None),
                ("c", None, Some("3")),
                ("d", Some("4"), Some("5"))
            ]
        );
        assert_eq!((findings.parts[0].compared, findings.differences()), (4, 3));
    }

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut findings = Findings::default();
        findings.compare("used", (0..100).map(|number| (number, "x".repeat(1_000))), []);
        findings.compare_value("modes", 1, 1);
        assert_eq!((findings.examples.len(), findings.differences()), (MOST, 100));
        assert!(findings.examples[0].kept.as_ref().unwrap().len() < 500);
        assert_eq!(findings.parts[1].differences, 0);
    }
}
