//! What was said of each pod, and what became of it.

use std::collections::BTreeMap;

use super::returning::Again;

/// What was said of a pod, and what became of it.
pub(super) struct Outcome {
    pub(super) pod: String,
    pub(super) burst: bool,
    /// The reason, when it was refused.
    pub(super) refused: Option<String>,
    /// Its addresses by interface, all different; or what the agent said.
    pub(super) agent: Result<Addresses, String>,
    /// Whether the order in which Spiderpool tries pools can matter to it.
    pub(super) by_chance: bool,
    /// Refused although it would be given an address that it keeps: the node is none of its pool's.
    pub(super) on_purpose: bool,
    /// Of a pod that has come back: what it had before and what it was to keep.
    pub(super) again: Option<Again>,
}

pub(super) type Addresses = BTreeMap<String, Vec<String>>;

/// Several outcomes as lines, each with what came before and after it in its world.
pub(super) fn told(outcomes: &[&Outcome], all: &[Outcome]) -> String {
    let with_its_world = |outcome: &&Outcome| {
        let world = outcome.pod.split('/').next().unwrap();
        let there = all
            .iter()
            .filter(|other| other.pod.split('/').next() == Some(world));
        let lines: Vec<String> = there.map(Outcome::line).collect();
        format!(
            "\n- {}\n  in its world:\n    {}",
            outcome.line(),
            lines.join("\n    ")
        )
    };
    outcomes.iter().map(with_its_world).collect()
}

impl Outcome {
    fn line(&self) -> String {
        let Self {
            pod,
            burst,
            refused,
            agent,
            by_chance,
            on_purpose: _,
            again,
        } = self;
        format!(
            "{pod}; said: {refused:?}; the agent: {agent:?}; in a burst: {burst}; by chance: {by_chance}; {again:?}"
        )
    }

    pub(super) fn wrong_yes(&self) -> bool {
        self.refused.is_none() && self.agent.is_err()
    }

    pub(super) fn wrong_no(&self) -> bool {
        self.refused.is_some() && self.agent.is_ok() && !self.on_purpose
    }
}

pub(super) fn report(outcomes: &[Outcome]) {
    let mut tally: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for outcome in outcomes {
        let said = outcome.refused.as_deref().unwrap_or("fits");
        *tally.entry((said, outcome.agent.is_ok())).or_default() += 1;
    }
    eprintln!(
        "{} pods; what was said, and whether the agent gave them their addresses:",
        outcomes.len()
    );
    for ((said, given), pods) in tally {
        eprintln!("{pods:5} {given:5} {said}");
    }
}
