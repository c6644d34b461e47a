//! Waking waiting pods. Nothing in a custom resource wakes a pod that an extender refused; only a change of the pod
//! itself, of any node, or five minutes do. So when something changes, the pods that were refused are decided about
//! again, and exactly those that would fit now get one annotation, which makes the scheduler try them once more.
//!
//! Of several extenders only the one whose scheduler leads should. Which that is shows in who is asked: a pod that is
//! nudged and not asked about is another's, and one that is not asked about at all wakes one pod at a time, to find out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::ledger::Ledger;
use super::notices::Notices;
use crate::cluster::index::Index;
use crate::cluster::objects::PodObject;
use crate::decide::amounts::Amounts;
use crate::decide::annotation;
use crate::decide::claim::claim;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::{Commitments, commitment};
use crate::decide::decision::{Decision, decide_by};
use crate::decide::names::{NamespaceName, NodeName, PodRef, PodUid};
use crate::decide::network::Selection;
use crate::decide::placement::Verdict;
use crate::decide::pod::{Gang, Phase, Pod, PoolRequest};
use crate::decide::problem::chain;
use crate::decide::reason::Reason;
use crate::decide::selector::Labels;
use crate::decide::settings::{SchedulerMode, Settings};
use crate::decide::suits::NodeNeeds;
use crate::decide::survey::{Candidates, Surveys};
use crate::telemetry::label::NudgeResult;
use crate::telemetry::metrics::Metrics;

/// How long a nudged pod is taken for coming: its place counts as taken for the others meanwhile. When it is not
/// placed by then, something else keeps it (a taint, the CPU), and the next in line is tried.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// How often to look even when no event came: holds run out silently, and nudged pods may not have made it.
const TICK: Duration = Duration::from_secs(1);

/// A pause is at least so many times as long as the look before it: where very many pods wait, and something changes
/// all the time, looking costs a quarter of a core.
const PAUSES: u32 = 3;

/// And at most this long: half of what a pod that fits may wait.
const LONGEST: Duration = Duration::from_secs(5);

/// How long a nudged pod may go without being asked about: longer than the longest pause the scheduler makes between
/// two tries (`podMaxBackoffSeconds`, 10 s). After that another scheduler serves it, or something else than we keeps it.
const ANSWER: Duration = Duration::from_secs(30);

/// How long it may go without being asked about at all: twice the five minutes after which the scheduler tries every
/// waiting pod again, come what may.
const UNASKED: Duration = Duration::from_mins(10);

/// How fast pods are woken.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The least time between two looks; changes in between are taken together.
    pub interval: Duration,
    /// The most pods woken in one second.
    pub per_second: u32,
}

/// Pods that were refused, and what is known of their chances.
#[derive(Debug, Default)]
pub struct Waiting {
    known: Mutex<Known>,
    /// What is known of the nodes from one look to the next. Apart from the ledger's: a look takes long where many
    /// gangs wait, and the scheduler does not wait for it.
    surveys: Mutex<Surveys>,
}

#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<PodUid, Chance>,
    /// When the scheduler last asked about any pod; none as well once a nudge shows that it does not lead.
    asked: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Chance {
    /// The nodes the scheduler asked about last; none when that was before we were started. Others cannot take the
    /// pod for reasons that are not ours, and whose end the scheduler sees itself.
    candidates: Option<Arc<[NodeName]>>,
    /// What kept it from most of them.
    reason: Option<Reason>,
    /// When it was last asked about, or first seen waiting.
    since: Instant,
    /// When it was woken; it has not been asked about since.
    nudged: Option<Instant>,
    /// It is left alone until it is asked about again.
    given_up: bool,
}

impl Chance {
    fn new(now: Instant) -> Self {
        Self {
            candidates: None,
            reason: None,
            since: now,
            nudged: None,
            given_up: false,
        }
    }
}

impl Known {
    /// Leaves the pods alone that nobody has asked about for too long.
    fn give_up(&mut self, now: Instant) {
        for chance in self.pods.values_mut().filter(|chance| !chance.given_up) {
            let unanswered = chance
                .nudged
                .filter(|then| now.saturating_duration_since(*then) >= ANSWER);
            if unanswered.is_none() && now.saturating_duration_since(chance.since) < UNASKED {
                continue;
            }
            *chance = Chance {
                given_up: true,
                ..Chance::new(chance.since)
            };
            if unanswered.is_some_and(|then| self.asked.is_some_and(|asked| asked < then)) {
                self.asked = None;
            }
        }
    }

    /// The most pods to wake now: as many as the pace allows where our scheduler leads; otherwise one, and no other
    /// until it is known whether that one is asked about.
    fn allowed(&self, now: Instant, most: usize) -> usize {
        let leads = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < UNASKED);
        if leads {
            return most;
        }
        let is_tried = self.pods.values().any(|chance| chance.nudged.is_some());
        most.min(usize::from(!is_tried))
    }
}

impl Waiting {
    /// The scheduler asked about some pod: it leads.
    pub fn asked(&self, now: Instant) {
        self.lock().asked = Some(now);
    }

    /// The scheduler was told that the pod fits on none of these nodes, on most of them for this reason.
    pub fn refused(&self, pod: &Pod, mut candidates: Vec<NodeName>, reason: Option<Reason>, now: Instant) {
        // The order is the scheduler's rotation; sorted lists of the pods of one burst are equal and kept once.
        candidates.sort_unstable();
        let pods = &mut self.lock().pods;
        let same = pods
            .values()
            .filter_map(|chance| chance.candidates.as_ref())
            .find(|known| known.as_ref() == candidates.as_slice())
            .cloned();
        let candidates = Some(same.unwrap_or_else(|| candidates.into()));
        let chance = Chance {
            candidates,
            reason,
            ..Chance::new(now)
        };
        pods.insert(pod.at.uid.clone(), chance);
    }

    /// The pod fits somewhere, or is bound.
    pub fn placed(&self, uid: &PodUid) {
        self.lock().pods.remove(uid);
    }

    /// How many pods wait for us, by what keeps each from most nodes.
    #[must_use]
    pub fn by_reason(&self) -> BTreeMap<Reason, u64> {
        let mut pods = BTreeMap::new();
        for reason in self.lock().pods.values().filter_map(|chance| chance.reason) {
            *pods.entry(reason).or_default() += 1;
        }
        pods
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods to wake now: those that fit and have not been woken since they were last asked about, oldest first, at
    /// most `most`; each takes its place before the next is looked at, so that one free address wakes one pod.
    #[must_use]
    pub fn due(
        &self,
        snapshot: &ClusterSnapshot,
        commitments: &Commitments,
        settings: &Settings,
        now: Instant,
        most: usize,
    ) -> Vec<PodRef> {
        // The scheduler's own questions change what is known meanwhile, and do not wait.
        let (mut waiting, most) = {
            let mut known = self.lock();
            known.pods.retain(|uid, _| snapshot.pending.contains_key(uid));
            known.give_up(now);
            (known.pods.clone(), known.allowed(now, most))
        };
        let mut surveys = self.surveys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked: BTreeMap<usize, Candidates> = BTreeMap::new();
        let mut pods: Vec<&Arc<Pod>> = snapshot
            .pending
            .values()
            .filter(|pod| waiting.contains_key(&pod.at.uid) || may_be_ours(pod, settings))
            .collect();
        pods.sort_by(|a, b| (&a.created, &a.at).cmp(&(&b.created, &b.at)));
        if pods.is_empty() {
            return Vec::new();
        }
        let everywhere: Arc<[NodeName]> = snapshot.nodes.keys().cloned().collect();
        let mut taken = commitments.clone();
        let mut hopeless: BTreeSet<Shape> = BTreeSet::new();
        let mut due = Vec::new();
        for pod in pods {
            let chance = waiting
                .entry(pod.at.uid.clone())
                .or_insert_with(|| Chance::new(now));
            if chance.given_up {
                continue;
            }
            if chance.candidates.is_none()
                && !claim(pod, snapshot, settings).is_ok_and(|claim| claim.attaches_vfs)
            {
                continue;
            }
            let candidates = chance
                .candidates
                .clone()
                .unwrap_or_else(|| Arc::clone(&everywhere));
            let shape = Shape::of(pod, &candidates);
            let decision = if hopeless.contains(&shape) {
                Decision::default()
            } else {
                let asked = asked.entry(shape.candidates).or_insert_with(|| {
                    let names = candidates.iter().map(NodeName::as_str);
                    surveys.candidates(names, snapshot, settings)
                });
                decide_by(&mut surveys, pod, asked, snapshot, &taken, settings)
            };
            let place = decision
                .verdicts
                .iter()
                .find_map(|(node, verdict)| match verdict {
                    Verdict::Fits(fit) => Some(commitment(&pod.takes, node, fit)),
                    Verdict::Refused(_) => None,
                });
            let Some(place) = place else {
                hopeless.insert(shape);
                continue;
            };
            if chance.nudged.is_none() {
                if due.len() >= most {
                    break;
                }
                chance.nudged = Some(now);
                due.push(pod.at.clone());
            }
            if chance
                .nudged
                .is_some_and(|then| now.duration_since(then) < UNDER_WAY)
            {
                taken.pods.insert_mut(pod.at.uid.clone(), Arc::new(place));
                if let Some((gang, hold)) = decision.gang {
                    taken.gangs.insert_mut(gang, Arc::new(hold));
                }
            }
        }
        self.keep(waiting, &mut due);
        due
    }

    /// Keeps what a look has found. What the scheduler has asked about meanwhile, or placed, is not woken: it is known
    /// better than by that look.
    fn keep(&self, found: BTreeMap<PodUid, Chance>, due: &mut Vec<PodRef>) {
        let mut known = self.lock();
        for (uid, chance) in found {
            match known.pods.entry(uid) {
                Entry::Vacant(new) if chance.candidates.is_none() => drop(new.insert(chance)),
                Entry::Occupied(mut known) if known.get().since == chance.since => {
                    known.get_mut().nudged = chance.nudged;
                }
                Entry::Vacant(_) | Entry::Occupied(_) => {}
            }
        }
        due.retain(|pod| {
            known
                .pods
                .get(&pod.uid)
                .is_some_and(|chance| chance.nudged.is_some())
        });
    }
}

/// Whether a pod may have been refused by us before we were started: it waits for a scheduler that asks us. That it
/// attaches VFs, too, shows in its claim; nobody else's pod is ever touched.
fn may_be_ours(pod: &Pod, settings: &Settings) -> bool {
    let asks_us = match &settings.scheduler {
        SchedulerMode::Dedicated(name) => pod.scheduler.as_ref() == Some(name),
        SchedulerMode::Existing => true,
    };
    asks_us && pod.phase == Phase::Pending { refused: true }
}

/// What two pods have in common when one fits exactly where the other does.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    namespace: NamespaceName,
    labels: Labels,
    takes: Amounts,
    needs: NodeNeeds,
    gang: Option<Gang>,
    networks: Vec<Selection>,
    pools: Option<PoolRequest>,
    /// The candidates' address: lists that are equal are kept once, and live as long as this look.
    candidates: usize,
}

impl Shape {
    fn of(pod: &Pod, candidates: &Arc<[NodeName]>) -> Self {
        Self {
            namespace: pod.at.namespace.clone(),
            labels: pod.labels.clone(),
            takes: pod.takes.clone(),
            needs: pod.needs.clone(),
            gang: pod.gang.clone().unwrap_or_default(),
            networks: pod.networks.clone().unwrap_or_default(),
            pools: pod.pools.clone().ok(),
            candidates: Arc::as_ptr(candidates).addr(),
        }
    }
}

/// Wakes one pod.
pub trait Waker: Send + Sync + 'static {
    /// Changes one annotation of the pod; `Ok(false)` when it is gone.
    fn wake(&self, pod: PodRef) -> BoxFuture<'_, Result<bool, kube::Error>>;
}

/// Wakes pods of the cluster.
#[derive(Clone)]
pub struct ClusterWaker(pub Client);

impl Waker for ClusterWaker {
    fn wake(&self, pod: PodRef) -> BoxFuture<'_, Result<bool, kube::Error>> {
        Box::pin(async move {
            let api: Api<PodObject> = Api::namespaced(self.0.clone(), pod.namespace.as_str());
            // The UID is a precondition: another pod of the same name is not woken.
            let patch = json!({"metadata": {
                "uid": pod.uid.as_str(),
                "annotations": {annotation::NUDGED: jiff::Timestamp::now().to_string()},
            }});
            match api
                .patch_metadata(pod.name.as_str(), &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }
}

/// What the nudger works with.
pub struct Nudger {
    /// Where refused pods are noted.
    pub waiting: Arc<Waiting>,
    /// The promises that count as taken.
    pub ledger: Arc<Ledger>,
    /// The index that changes.
    pub index: Arc<Index>,
    /// What decisions depend on.
    pub settings: Arc<Settings>,
    /// Who writes the annotation.
    pub waker: Arc<dyn Waker>,
    /// Counts of what became of nudges.
    pub metrics: Arc<Metrics>,
    /// How fast.
    pub pace: Pace,
}

impl Nudger {
    /// Wakes pods until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut generations = self.index.generations();
        let mut last = Instant::now();
        let mut notices = Notices::default();
        let mut looked_at = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed(&mut generations) => {}
                () = tokio::time::sleep(TICK) => {}
            }
            if last.elapsed() >= TICK {
                let snapshot = self.index.published().load_full();
                // It passes over all nodes, and the cluster stands still mostly.
                if looked_at.replace(snapshot.generation) != Some(snapshot.generation) {
                    notices.look(&snapshot, &self.settings, &self.metrics);
                }
                last = Instant::now();
            }
            generations.mark_unchanged();
            let began = Instant::now();
            self.look().await;
            let pause = self.pace.interval.max((began.elapsed() * PAUSES).min(LONGEST));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn look(&self) {
        let now = Instant::now();
        let most = self.pace.interval.as_millis() * u128::from(self.pace.per_second) / 1000;
        // At least one a look; a rate below that is not worth a queue.
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        // Copies of the roots: what is looked at here must not keep the scheduler waiting for the lock.
        let (snapshot, commitments) = self.ledger.decide(now, |snapshot, book| {
            (snapshot.clone(), book.commitments().clone())
        });
        // Not on a thread that answers: where many gangs wait it takes long.
        let (waiting, settings) = (Arc::clone(&self.waiting), Arc::clone(&self.settings));
        let looking =
            tokio::task::spawn_blocking(move || waiting.due(&snapshot, &commitments, &settings, now, most));
        let due = match looking.await {
            Ok(due) => due,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going down.
            Err(_) => return,
        };
        for pod in due {
            let result = match self.waker.wake(pod.clone()).await {
                Ok(true) => {
                    info!(namespace = %pod.namespace, pod = %pod.name, uid = %pod.uid, "nudged: what it waited for is there");
                    NudgeResult::Sent
                }
                Ok(false) => NudgeResult::Obsolete,
                Err(error) => {
                    warn!(namespace = %pod.namespace, pod = %pod.name, uid = %pod.uid, error = chain(&error), "pod could not be nudged; it is tried again");
                    self.waiting.missed(&pod.uid);
                    NudgeResult::Failed
                }
            };
            self.metrics.nudge(result);
        }
    }
}

impl Waiting {
    /// The nudge did not arrive: it is due again.
    fn missed(&self, uid: &PodUid) {
        if let Some(chance) = self.lock().pods.get_mut(uid) {
            chance.nudged = None;
        }
    }
}

/// Resolves at the next generation; never, when the index is gone.
async fn changed(generations: &mut watch::Receiver<u64>) {
    if generations.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fabric::RailState;
    use crate::decide::testing::{Cluster, rail};

    /// Asks for pods to wake, and takes the names.
    fn due(waiting: &Waiting, cluster: &Cluster, now: Instant) -> Vec<String> {
        let pods = waiting.due(&cluster.snapshot(), &Commitments::default(), &settings(), now, 10);
        pods.into_iter().map(|pod| pod.name.to_string()).collect()
    }

    fn settings() -> Settings {
        Settings {
            scheduler: SchedulerMode::Existing,
            ..Settings::default()
        }
    }

    fn full() -> Cluster {
        Cluster::with_rails(1)
            .node("n1", 8)
            .pool("rail0", |facts| facts.free = 0)
    }

    fn refused(waiting: &Waiting, cluster: &Cluster, names: &[&str]) -> Cluster {
        let mut with = cluster.clone();
        waiting.asked(Instant::now());
        for name in names {
            let pod = cluster.pod(name);
            waiting.refused(&pod, vec!["n1".into()], Some(Reason::PoolEmpty), Instant::now());
            with = with.pending(pod);
        }
        with
    }

    #[test]
    fn one_freed_address_wakes_one_pod_once() {
        let waiting = Waiting::default();
        let now = Instant::now();
        let cluster = refused(&waiting, &full(), &["a", "b"]);
        assert!(due(&waiting, &cluster, now).is_empty());
        let cluster = cluster.pool("rail0", |facts| facts.free = 1);
        assert_eq!(due(&waiting, &cluster, now), ["a"]);
        assert!(
            due(&waiting, &cluster, now).is_empty(),
            "a is on its way, and the address with it"
        );
        assert_eq!(
            due(&waiting, &cluster, now + UNDER_WAY),
            ["b"],
            "a did not make it: the next in line is tried"
        );
    }

    #[test]
    fn a_pod_that_waits_for_a_link_is_woken_when_the_import_shows_it() {
        let waiting = Waiting::default();
        let now = Instant::now();
        let sound = Cluster::with_rails(2).node("n1", 8);
        let link = |state| vec![rail(0, RailState::Active), rail(1, state)];
        let dark = refused(&waiting, &sound.fabric("n1", link(RailState::Dark)), &["a"]);
        assert!(due(&waiting, &dark, now).is_empty());
        let plugged = dark.clone().fabric("n1", link(RailState::Initialize));
        assert!(due(&waiting, &plugged, now).is_empty());
        assert_eq!(
            due(&waiting, &dark.fabric("n1", link(RailState::Active)), now),
            ["a"]
        );
    }

    #[test]
    fn a_change_that_does_not_help_wakes_nobody() {
        let waiting = Waiting::default();
        let cluster = refused(&waiting, &full(), &["a"])
            .node("n2", 8)
            .pool_named("other", |facts| facts.free = 5);
        assert!(due(&waiting, &cluster, Instant::now()).is_empty());
    }

    #[test]
    fn a_pod_that_waits_for_its_pool_is_not_woken_by_changes_of_its_node() {
        let waiting = Waiting::default();
        let now = Instant::now();
        let cluster = refused(&waiting, &full(), &["a"]);
        assert!(due(&waiting, &cluster.clone().labelled("n1", "x", "y"), now).is_empty());
        let cluster = cluster.node("n1", 16);
        assert!(
            due(&waiting, &cluster, now).is_empty(),
            "more VFs, and no address"
        );
        assert_eq!(
            due(&waiting, &cluster.pool("rail0", |facts| facts.free = 1), now),
            ["a"]
        );
    }

    #[test]
    fn a_pod_that_is_nudged_and_not_asked_about_is_left_alone_until_it_is() {
        let waiting = Waiting::default();
        let waits = refused(&waiting, &full(), &["a"]);
        let now = Instant::now();
        let fits = waits.clone().pool("rail0", |facts| facts.free = 1);
        assert_eq!(due(&waiting, &fits, now), ["a"]);
        assert!(due(&waiting, &waits, now + UNDER_WAY).is_empty());
        assert!(
            due(&waiting, &fits, now + UNDER_WAY).is_empty(),
            "it is not nudged again before it was asked about"
        );
        assert_eq!(waiting.by_reason(), [(Reason::PoolEmpty, 1)].into());
        for later in [ANSWER, ANSWER * 2, UNASKED * 2] {
            assert!(due(&waiting, &waits, now + later).is_empty());
            assert!(due(&waiting, &fits, now + later).is_empty());
            assert!(waiting.by_reason().is_empty(), "it waits for another");
        }
        refused(&waiting, &full(), &["a"]);
        assert_eq!(due(&waiting, &fits, now), ["a"]);
    }

    #[test]
    fn a_pod_given_up_is_not_taken_for_one_from_before_a_restart() {
        let waiting = Waiting::default();
        let now = Instant::now();
        let cluster = Cluster::with_rails(1).node("n1", 8);
        let mut pod = cluster.pod("a");
        pod.phase = Phase::Pending { refused: true };
        let cluster = cluster.pending(pod);
        assert_eq!(due(&waiting, &cluster, now), ["a"]);
        assert!(due(&waiting, &cluster, now + ANSWER).is_empty());
        assert!(due(&waiting, &cluster, now + ANSWER * 2).is_empty());
    }

    #[test]
    fn whoever_is_not_asked_wakes_one_pod_at_a_time() {
        let waiting = Waiting::default();
        let now = Instant::now();
        let cluster = Cluster::with_rails(1).node("n1", 8);
        let cluster = ["a", "b", "c", "d"].iter().fold(cluster, |cluster, name| {
            let mut pod = cluster.pod(name);
            pod.phase = Phase::Pending { refused: true };
            cluster.pending(pod)
        });
        assert_eq!(due(&waiting, &cluster, now), ["a"]);
        assert!(due(&waiting, &cluster, now + UNDER_WAY).is_empty());
        assert_eq!(due(&waiting, &cluster, now + ANSWER), ["b"]);
        waiting.asked(now + ANSWER);
        assert_eq!(
            due(&waiting, &cluster, now + ANSWER),
            ["c", "d"],
            "it leads after all"
        );
    }

    #[test]
    fn whoever_has_lost_the_lead_wakes_no_more_than_one_at_a_time() {
        let waiting = Waiting::default();
        let waits = refused(&waiting, &full(), &["a", "b", "c", "d"]);
        let now = Instant::now();
        let fits = |free| waits.clone().pool("rail0", |facts| facts.free = free);
        assert_eq!(due(&waiting, &fits(2), now), ["a", "b"]);
        assert_eq!(due(&waiting, &fits(8), now + ANSWER), ["c"]);
        assert!(due(&waiting, &fits(8), now + ANSWER + UNDER_WAY).is_empty());
    }

    #[test]
    fn a_pod_not_asked_about_for_very_long_is_left_alone() {
        let waiting = Waiting::default();
        let waits = refused(&waiting, &full(), &["a"]);
        let later = Instant::now() + UNASKED;
        waiting.asked(later);
        let fits = waits.pool("rail0", |facts| facts.free = 1);
        assert!(due(&waiting, &fits, later).is_empty());
    }

    #[test]
    fn a_nudge_that_did_not_arrive_is_sent_again() {
        let waiting = Waiting::default();
        let cluster = refused(&waiting, &full(), &["a"]).pool("rail0", |facts| facts.free = 1);
        let now = Instant::now();
        assert_eq!(due(&waiting, &cluster, now), ["a"]);
        waiting.missed(&cluster.pod("a").at.uid);
        assert_eq!(due(&waiting, &cluster, now), ["a"]);
    }

    #[test]
    fn a_node_the_scheduler_did_not_ask_about_wakes_nobody() {
        let waiting = Waiting::default();
        let cluster = Cluster::with_rails(1).node("n1", 0).node("n2", 0);
        let cluster = refused(&waiting, &cluster, &["a"]).node("n2", 8);
        assert!(due(&waiting, &cluster, Instant::now()).is_empty());
    }

    #[test]
    fn after_a_restart_only_refused_pods_that_attach_vfs_are_looked_at() {
        let waiting = Waiting::default();
        let cluster = Cluster::with_rails(1).node("n1", 8);
        let mut ours = cluster.pod("ours");
        ours.phase = Phase::Pending { refused: true };
        let mut new = cluster.pod("new");
        new.phase = Phase::Pending { refused: false };
        let mut gpus_only = cluster.pod("gpus-only");
        gpus_only.phase = Phase::Pending { refused: true };
        gpus_only.networks = Ok(Vec::new());
        let cluster = cluster.pending(ours).pending(new).pending(gpus_only);
        assert_eq!(due(&waiting, &cluster, Instant::now()), ["ours"]);
        assert!(
            due(&waiting, &cluster, Instant::now()).is_empty(),
            "one retry each"
        );
    }

    #[test]
    fn a_pod_of_another_scheduler_is_left_alone() {
        let waiting = Waiting::default();
        let cluster = Cluster::with_rails(1).node("n1", 8);
        let mut other = cluster.pod("other");
        other.phase = Phase::Pending { refused: true };
        other.scheduler = Some("default-scheduler".into());
        let cluster = cluster.pending(other);
        let dedicated = Settings::default();
        let pods = waiting.due(
            &cluster.snapshot(),
            &Commitments::default(),
            &dedicated,
            Instant::now(),
            10,
        );
        assert!(pods.is_empty());
    }

    #[test]
    fn at_most_as_many_as_the_pace_allows_and_the_rest_next_time() {
        let waiting = Waiting::default();
        let cluster = refused(&waiting, &full(), &["a", "b", "c"]).pool("rail0", |facts| facts.free = 3);
        let now = Instant::now();
        let some = waiting.due(&cluster.snapshot(), &Commitments::default(), &settings(), now, 2);
        assert_eq!(some.len(), 2);
        assert_eq!(due(&waiting, &cluster, now), ["c"]);
    }
}
