//! Whether kube-scheduler shows us all nodes that its own filters let pass, or a sample. From 100 nodes on it stops
//! looking once it has enough (`percentageOfNodesToScore`), and a pod that only other nodes could take waits. Its
//! configuration is not ours to read, but a sample shows in the requests.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::decide::amounts::Amounts;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::NodeName;
use crate::decide::pod::Pod;
use crate::decide::suits::suits;
use crate::telemetry::metrics::Metrics;

/// The least time between two counts of the nodes that would pass: each reads the whole cluster.
pub const INTERVAL: Duration = Duration::from_secs(30);

/// How many requests must agree before it is said.
const REQUESTS: u32 = 3;

/// The scheduler looks for no fewer nodes than this.
const FEWEST: usize = 100;

/// A request that showed a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many nodes it named.
    pub candidates: usize,
    /// How many there are.
    pub nodes: usize,
    /// How many would pass the scheduler's own filters, as far as we know them.
    pub passing: usize,
}

/// What a request has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Enough requests have shown a sample; this is the last of them.
    Begun(Sample),
    /// A request showed more nodes than any sample would have.
    Ended,
}

/// What the requests show of sampling.
#[derive(Debug)]
pub struct Evidence {
    /// The least time between two counts.
    interval: Duration,
    /// The settings of `percentageOfNodesToScore` that explain all requests counted; 0 is the scheduler's own choice.
    percentages: Vec<usize>,
    /// How many requests that is.
    requests: u32,
    /// The nodes that the last of them named, in order.
    last: Vec<NodeName>,
    /// When nodes were last counted.
    counted: Option<Instant>,
    said: Option<Sample>,
}

impl Evidence {
    /// None yet; nodes are counted once an `interval` at the most.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            percentages: Vec::new(),
            requests: 0,
            last: Vec::new(),
            counted: None,
            said: None,
        }
    }

    /// The scheduler asked about these of all `nodes`; `passing` counts those that would pass its own filters, and is
    /// called only where the answer matters.
    ///
    /// A number that a setting explains is not enough, for a cluster may have just so many nodes that pass: clearly
    /// more must pass by our own look, and the nodes must be others than the last time. A sample starts where the one
    /// before ended, while what we cannot see (a volume's zone) keeps away the same nodes every time.
    pub fn asked(
        &mut self,
        candidates: &[NodeName],
        nodes: usize,
        now: Instant,
        passing: impl FnOnce() -> usize,
    ) -> Option<Change> {
        let shown = candidates.len();
        let sample = |percentage: &usize| nodes_to_find(nodes, *percentage);
        self.percentages
            .retain(|percentage| shown <= sample(percentage) && sample(percentage) < nodes);
        if self.percentages.is_empty() {
            self.requests = 0;
            if self.said.take().is_some() {
                return Some(Change::Ended);
            }
        }
        let due = self
            .counted
            .is_none_or(|then| now.saturating_duration_since(then) >= self.interval);
        if self.said.is_some() || !due || shown < FEWEST || shown >= nodes {
            return None;
        }
        let explaining: Vec<usize> = (0..100)
            .filter(|percentage| sample(percentage) == shown)
            .collect();
        if explaining.is_empty() {
            return None;
        }
        self.counted = Some(now);
        let passing = passing();
        let mut names = candidates.to_vec();
        names.sort_unstable();
        if passing <= shown + shown / 20 || names == self.last {
            return None;
        }
        self.last = names;
        self.percentages
            .retain(|percentage| explaining.contains(percentage));
        if self.percentages.is_empty() {
            self.percentages = explaining;
            self.requests = 0;
        }
        self.requests += 1;
        if self.requests < REQUESTS {
            return None;
        }
        let sample = Sample {
            candidates: shown,
            nodes,
            passing,
        };
        self.said = Some(sample);
        Some(Change::Begun(sample))
    }
}

/// How many nodes that pass its filters kube-scheduler looks for, of so many (`numFeasibleNodesToFind` in its
/// `schedule_one.go`).
#[must_use]
pub fn nodes_to_find(nodes: usize, percentage: usize) -> usize {
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(nodes / 125).max(5),
        set => set,
    };
    (nodes.saturating_mul(percentage) / 100).max(FEWEST).min(nodes)
}

/// The evidence that all requests share.
#[derive(Debug)]
pub struct Sampling(Mutex<Evidence>);

impl Default for Sampling {
    fn default() -> Self {
        Self::new(INTERVAL)
    }
}

impl Sampling {
    /// Nothing has been asked yet; nodes are counted once an `interval` at the most.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self(Mutex::new(Evidence::new(interval)))
    }

    /// The scheduler asked about these nodes for this pod. What that changes is logged once and stays in the metric.
    pub fn asked(
        &self,
        pod: &Pod,
        candidates: &[NodeName],
        snapshot: &ClusterSnapshot,
        now: Instant,
        metrics: &Metrics,
    ) {
        let nodes = snapshot.nodes.size();
        let change = self
            .lock()
            .asked(candidates, nodes, now, || passing(pod, snapshot));
        match change {
            None => {}
            Some(Change::Begun(sample)) => {
                metrics.sampling(true);
                warn!(
                    candidates = sample.candidates,
                    nodes = sample.nodes,
                    passing = sample.passing,
                    "the scheduler asks about a sample of the nodes: pods may wait although others fit; set percentageOfNodesToScore: 100 in its profile"
                );
            }
            Some(Change::Ended) => {
                metrics.sampling(false);
                info!("the scheduler asks about more nodes than a sample has");
            }
        }
    }

    /// The sample that was last said; none while all nodes are shown, as far as can be told.
    #[must_use]
    pub fn seen(&self) -> Option<Sample> {
        self.lock().said
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Evidence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many nodes would pass the scheduler's own filters, by what we know of them: taints, selectors, affinity, and
/// what is free of every resource.
fn passing(pod: &Pod, snapshot: &ClusterSnapshot) -> usize {
    let nothing = Amounts::default();
    snapshot
        .nodes
        .values()
        .filter(|node| {
            let used = snapshot.used.get(&node.name).map_or(&nothing, AsRef::as_ref);
            suits(&pod.needs, node) && Amounts::times(&node.offers, &[used], &pod.takes, 1) > 0
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::Cluster;

    /// What a scheduler shows that looks for `shown` of `nodes`, beginning with number `from`.
    fn candidates(nodes: usize, shown: usize, from: usize) -> Vec<NodeName> {
        let names = (from..from + shown).map(|number| format!("n{}", number % nodes));
        names.map(|name| NodeName::from(name.as_str())).collect()
    }

    /// Asks with 400 nodes of which `passing` pass, one interval after the other, from the node where the last ended.
    fn ask(evidence: &mut Evidence, shown: &[usize], passing: usize) -> Vec<Option<Change>> {
        let start = Instant::now();
        let mut from = 0;
        let mut changes = Vec::new();
        for (count, shown) in (0_u32..).zip(shown) {
            let now = start + INTERVAL * count;
            changes.push(evidence.asked(&candidates(400, *shown, from), 400, now, || passing));
            from += shown;
        }
        changes
    }

    #[test]
    fn as_many_nodes_as_the_scheduler_looks_for() {
        for (nodes, percentage, found) in [
            (99, 0, 99),
            (100, 0, 100),
            (400, 0, 188),
            (1000, 0, 420),
            (5000, 0, 500),
            (15_000, 0, 750),
            (400, 10, 100),
            (400, 60, 240),
            (400, 100, 400),
        ] {
            assert_eq!(
                nodes_to_find(nodes, percentage),
                found,
                "{percentage} % of {nodes}"
            );
        }
    }

    #[test]
    fn three_requests_that_agree_are_a_sample_and_one_that_shows_more_ends_it() {
        let mut evidence = Evidence::new(INTERVAL);
        let begun = Change::Begun(Sample {
            candidates: 188,
            nodes: 400,
            passing: 400,
        });
        let changes = ask(&mut evidence, &[188, 188, 188, 188, 40, 400, 400], 400);
        assert_eq!(
            changes,
            [None, None, Some(begun), None, None, Some(Change::Ended), None]
        );
    }

    #[test]
    fn numbers_that_no_one_setting_explains_are_no_sample() {
        let mut evidence = Evidence::new(INTERVAL);
        assert_eq!(
            ask(&mut evidence, &[188, 240, 100, 188, 187, 240, 399], 400),
            [None; 7]
        );
    }

    #[test]
    fn where_no_more_pass_it_is_no_sample() {
        assert_eq!(ask(&mut Evidence::new(INTERVAL), &[188; 4], 190), [None; 4]);
    }

    #[test]
    fn the_same_nodes_every_time_are_kept_by_something_we_cannot_see() {
        let mut evidence = Evidence::new(INTERVAL);
        let start = Instant::now();
        for count in 0..5 {
            let now = start + INTERVAL * count;
            assert_eq!(evidence.asked(&candidates(400, 188, 0), 400, now, || 400), None);
        }
    }

    #[test]
    fn nodes_are_counted_once_an_interval_and_only_on_suspicion() {
        let mut evidence = Evidence::new(INTERVAL);
        let start = Instant::now();
        let mut counts = 0;
        let mut asked = |nodes, shown, from, after| {
            evidence.asked(&candidates(nodes, shown, from), nodes, start + after, || {
                counts += 1;
                nodes
            });
            counts
        };
        assert_eq!(asked(400, 400, 0, Duration::ZERO), 0, "all");
        assert_eq!(asked(400, 187, 0, Duration::ZERO), 0, "no setting gives 187");
        assert_eq!(asked(400, 50, 0, Duration::ZERO), 0, "fewer than it looks for");
        assert_eq!(asked(99, 40, 0, Duration::ZERO), 0, "too small a cluster");
        assert_eq!(asked(400, 188, 0, Duration::ZERO), 1);
        assert_eq!(asked(400, 188, 188, INTERVAL / 2), 1);
        assert_eq!(asked(400, 188, 376, INTERVAL), 2);
    }

    #[test]
    fn nodes_pass_that_suit_and_have_room() {
        let cluster = Cluster::with_rails(1)
            .node("free", 2)
            .node("full", 1)
            .node("none", 0)
            .bound("a", "full")
            .bound("b", "free");
        let pod = cluster.pod("c");
        assert_eq!(passing(&pod, &cluster.snapshot()), 1);
        let mut picky = pod;
        picky.needs.labels.insert("zone".to_owned(), "a".to_owned());
        assert_eq!(passing(&picky, &cluster.snapshot()), 0);
        assert_eq!(
            passing(&picky, &cluster.labelled("free", "zone", "a").snapshot()),
            1
        );
    }
}
