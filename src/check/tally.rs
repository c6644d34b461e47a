//! Counting things that are as they should be and things that are not, for evidence that stays short on a cluster of
//! any size: numbers, and a few examples.

use super::finding::Finding;

/// How many examples stand in the evidence when there are many; with one node in view, all of them do.
const EXAMPLES: usize = 3;

/// So many things were looked at, and this was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    in_full: bool,
    sound: usize,
    wrong: Vec<(String, String)>,
    unsure: Vec<(String, String)>,
}

/// What a tally is about, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    /// The subject of the row.
    pub(super) subject: &'static str,
    /// One of the things counted (`node`), for numbers.
    pub(super) thing: &'static str,
    /// What holds for all of them when the answer is yes (`in exclusive RDMA mode`).
    pub(super) sound: &'static str,
    /// What is said when there is nothing to count.
    pub(super) nothing: &'static str,
}

impl Tally {
    /// A tally whose evidence names all that it counts, as when a single node is in view.
    #[must_use]
    pub(super) fn telling(in_full: bool) -> Self {
        Self {
            in_full,
            ..Self::default()
        }
    }

    /// One that is as it should be.
    pub(super) fn sound(&mut self) {
        self.sound += 1;
    }

    /// One that is not: its name, and how it is wrong.
    pub(super) fn wrong(&mut self, name: impl Into<String>, how: impl Into<String>) {
        self.wrong.push((name.into(), how.into()));
    }

    /// One of which it cannot be told: its name, and why not.
    pub(super) fn unsure(&mut self, name: impl Into<String>, why: impl Into<String>) {
        self.unsure.push((name.into(), why.into()));
    }

    /// Counts one by its problems: sound without any.
    pub(super) fn judge(&mut self, name: &str, problems: &[String]) {
        if problems.is_empty() {
            self.sound();
        } else {
            self.wrong(name, self.few(problems));
        }
    }

    /// Whether nothing was counted.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.sound == 0 && self.wrong.is_empty() && self.unsure.is_empty()
    }

    /// The answer: no as soon as one is wrong, else unknown as soon as one cannot be told. The remedy is made for the
    /// first of them, by its name; none where there is nothing to count.
    #[must_use]
    pub(super) fn finding(&self, words: Words, remedy: impl FnOnce(Option<&str>) -> String) -> Finding {
        let total = self.sound + self.wrong.len() + self.unsure.len();
        let told = |some: &[(String, String)]| {
            let each: Vec<String> = some.iter().map(|(name, how)| format!("{name} ({how})")).collect();
            format!(
                "{} of {}: {}",
                some.len(),
                count(total, words.thing),
                self.few(&each)
            )
        };
        if let Some((first, _)) = self.wrong.first() {
            Finding::no(words.subject, told(&self.wrong), remedy(Some(first)))
        } else if let Some((first, _)) = self.unsure.first() {
            Finding::unknown(words.subject, told(&self.unsure), remedy(Some(first)))
        } else if total == 0 {
            Finding::unknown(words.subject, words.nothing, remedy(None))
        } else {
            Finding::yes(
                words.subject,
                format!("{}: {}", count(total, words.thing), words.sound),
            )
        }
    }

    fn few(&self, all: &[String]) -> String {
        if self.in_full { all.join(", ") } else { few(all) }
    }
}

/// The first few of many, and how many there are besides.
#[must_use]
pub(super) fn few(all: &[String]) -> String {
    // One more is not worth leaving out.
    if all.len() <= EXAMPLES + 1 {
        return all.join(", ");
    }
    let shown: Vec<&str> = all.iter().take(EXAMPLES).map(String::as_str).collect();
    format!("{} and {} more", shown.join(", "), all.len() - shown.len())
}

/// `1 node`, `2 nodes`, `2 policies`, `2 nodes with VFs`.
#[must_use]
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 {
        return format!("1 {thing}");
    }
    let (head, tail) = thing.find(" with ").map_or((thing, ""), |at| thing.split_at(at));
    match head.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{number} {stem}ies{tail}"),
        _ => format!("{number} {head}s{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Answer;
    use super::*;

    const WORDS: Words = Words {
        subject: "nodes",
        thing: "node",
        sound: "fine",
        nothing: "there is no node",
    };

    fn finding(tally: &Tally) -> (Answer, String) {
        let finding = tally.finding(WORDS, |first| first.unwrap_or("none").to_owned());
        (finding.answer, finding.evidence)
    }

    #[test]
    fn wrong_outweighs_unsure_and_unsure_outweighs_sound() {
        let mut tally = Tally::default();
        assert_eq!(finding(&tally), (Answer::Unknown, "there is no node".to_owned()));
        tally.sound();
        assert_eq!(finding(&tally), (Answer::Yes, "1 node: fine".to_owned()));
        tally.unsure("n2", "not told");
        assert_eq!(
            finding(&tally),
            (Answer::Unknown, "1 of 2 nodes: n2 (not told)".to_owned())
        );
        tally.judge("n3", &["down".to_owned()]);
        assert_eq!(
            finding(&tally),
            (Answer::No, "1 of 3 nodes: n3 (down)".to_owned())
        );
    }

    #[test]
    fn fifteen_thousand_are_told_by_number_and_example() {
        let mut tally = Tally::default();
        for number in 0..15_000 {
            tally.wrong(format!("n{number}"), "off");
        }
        assert_eq!(
            finding(&tally).1,
            "15000 of 15000 nodes: n0 (off), n1 (off), n2 (off) and 14997 more"
        );
    }

    #[test]
    fn things_have_their_plural() {
        let plurals = ["policy", "key", "node with VFs"].map(|thing| count(2, thing));
        assert_eq!(plurals, ["2 policies", "2 keys", "2 nodes with VFs"]);
        assert_eq!(count(1, "node with VFs"), "1 node with VFs");
    }
}
