//! Takes stock now and then, for the metrics. Like the nudger it counts with copies of the snapshot and of the promises,
//! so that the scheduler never waits for it; and not on a thread that answers, because counting reads all nodes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::nudge::Waiting;
use crate::cluster::objects::Kind;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::names::PodUid;
use crate::decide::settings::Settings;
use crate::decide::stock::{self, Stock};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::stock::Taken;

/// Below the usual scrape interval of 15 to 60 s; counting 5,000 nodes takes milliseconds.
const INTERVAL: Duration = Duration::from_secs(5);

/// A pause is at least so many times as long as the counting before it: a cluster that is large and changes all the time
/// costs a hundredth of a core.
const PAUSES: u32 = 100;

/// And at most this long: alerts look at what is counted.
const LONGEST: Duration = Duration::from_secs(30);

/// Takes stock.
#[derive(Debug)]
pub struct Stocktaker {
    /// The promises, and the snapshot that goes with them.
    pub ledger: Arc<Ledger>,
    /// The pods that wait.
    pub waiting: Arc<Waiting>,
    /// What decisions depend on.
    pub settings: Arc<Settings>,
    /// Where it is exposed.
    pub metrics: Arc<Metrics>,
}

/// What was counted, and of what.
struct Counted {
    generation: u64,
    commitments: Commitments,
    reserved: BTreeSet<PodUid>,
    stock: Stock,
}

impl Stocktaker {
    /// Takes stock until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let stocktaker = Arc::new(self);
        let mut last = None;
        loop {
            let started = Instant::now();
            let taking = Arc::clone(&stocktaker);
            let before = last.take();
            let counting = tokio::task::spawn_blocking(move || {
                let (taken, counted) = taking.take_after(before, Instant::now(), unix_now());
                taking.metrics.stock(taken);
                counted
            });
            last = match counting.await {
                Ok(counted) => Some(counted),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is going down.
                Err(_) => return,
            };
            let pause = (started.elapsed() * PAUSES).clamp(INTERVAL, LONGEST);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes stock now.
    #[must_use]
    pub fn take(&self, now: Instant, at: i64) -> Taken {
        self.take_after(None, now, at).0
    }

    /// Takes stock now; what has not changed since `last` is not counted again.
    fn take_after(&self, last: Option<Counted>, now: Instant, at: i64) -> (Taken, Counted) {
        let (snapshot, commitments, reserved, expired) = self.ledger.decide(now, |snapshot, book| {
            (
                snapshot.clone(),
                book.commitments().clone(),
                book.reserved(),
                book.expired(),
            )
        });
        let is_same = |last: &Counted| {
            last.generation == snapshot.generation
                && last.reserved == reserved
                && last.commitments == commitments
        };
        let stock = match last.filter(is_same) {
            Some(last) => last.stock,
            None => stock::take(&snapshot, &commitments, &reserved, &self.settings),
        };
        let waiting = self.waiting.by_reason();
        let taken = Taken {
            stock: stock.clone(),
            waiting: waiting
                .into_iter()
                .map(|(reason, pods)| (reason.slug(), pods))
                .collect(),
            expired: [
                ("hold", expired.holds),
                ("reservation", expired.reservations),
                ("gang", expired.gangs),
            ],
            objects: objects(&snapshot)
                .into_iter()
                .map(|(kind, count)| (kind.name(), u64::try_from(count).unwrap_or(u64::MAX)))
                .collect(),
            at,
        };
        let counted = Counted {
            generation: snapshot.generation,
            commitments,
            reserved,
            stock,
        };
        (taken, counted)
    }
}

/// How many of each kind decisions go by; of pods, those that want something of ours.
fn objects(snapshot: &ClusterSnapshot) -> [(Kind, usize); 7] {
    [
        (Kind::Pod, snapshot.pending.size() + snapshot.bound.size()),
        (Kind::Node, snapshot.nodes.size()),
        (Kind::NodeState, snapshot.sriov.size()),
        (Kind::Namespace, snapshot.namespaces.size()),
        (Kind::Pool, snapshot.pools.size()),
        (Kind::Attachment, snapshot.networks.size()),
        (Kind::Job, snapshot.jobs.size()),
    ]
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> i64 {
    jiff::Timestamp::now().as_second()
}
