//! Takes stock now and then, for the metrics. Like the nudger it counts with copies of the snapshot and of the promises,
//! so that the scheduler never waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::ledger::Ledger;
use super::nudge::Waiting;
use crate::cluster::objects::Kind;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::settings::Settings;
use crate::decide::stock;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::stock::Taken;

/// Below the usual scrape interval of 15 to 60 s; counting 5,000 nodes takes milliseconds.
const INTERVAL: Duration = Duration::from_secs(5);

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

impl Stocktaker {
    /// Takes stock until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.metrics.stock(self.take(Instant::now(), unix_now())),
            }
        }
    }

    /// Takes stock now.
    #[must_use]
    pub fn take(&self, now: Instant, at: i64) -> Taken {
        let (snapshot, commitments, reserved, expired) = self.ledger.decide(now, |snapshot, book| {
            (
                snapshot.clone(),
                book.commitments().clone(),
                book.reserved(),
                book.expired(),
            )
        });
        let waiting = self.waiting.by_reason();
        Taken {
            stock: stock::take(&snapshot, &commitments, &reserved, &self.settings),
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
        }
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
