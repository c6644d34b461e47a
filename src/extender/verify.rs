//! The self-check: what is kept up change by change is compared with the same worked out from scratch, and the ledger's
//! promises with the pods that are there. A difference is a bug of ours, told before it places a pod wrongly.
//!
//! Nobody waits for it but for copies that cost little, and for one more decision.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::ledger::Ledger;
use super::stocktaking::unix_now;
use crate::cluster::findings::{Difference, Findings, Part};
use crate::cluster::index::Index;
use crate::decide::settings::Settings;
use crate::telemetry::metrics::Metrics;

/// How often it looks by itself: what drifts does so over hours, and the look costs a part of a second at the largest.
const INTERVAL: Duration = Duration::from_mins(10);

/// Checks the extender of this process.
#[derive(Debug)]
pub struct Verifier {
    index: Arc<Index>,
    ledger: Arc<Ledger>,
    settings: Arc<Settings>,
    metrics: Arc<Metrics>,
    /// One look at a time.
    turn: Arc<Semaphore>,
}

/// Set once the extender has started.
pub type LateVerifier = Arc<OnceLock<Arc<Verifier>>>;

/// What one look found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Nothing differs.
    pub sound: bool,
    /// The generation of the snapshot that was compared.
    pub generation: u64,
    /// When, in seconds since 1970.
    pub at: i64,
    /// For how long the index and the ledger were kept from others, one after the other, in milliseconds.
    pub held_ms: f64,
    /// All of it, in milliseconds.
    pub took_ms: f64,
    /// What was compared.
    pub parts: Vec<Part>,
    /// The first differences, one by one.
    pub differences: Vec<Difference>,
}

impl Report {
    /// How many entries differ.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parts.iter().map(|part| part.differences).sum()
    }
}

impl Verifier {
    /// Over the index and the ledger of one extender.
    #[must_use]
    pub fn new(
        index: Arc<Index>,
        ledger: Arc<Ledger>,
        settings: Arc<Settings>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            index,
            ledger,
            settings,
            metrics,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// Looks by itself until `stop`, unless nothing has changed since it last found nothing.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut sound_at = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            if sound_at == Some(*self.index.generations().borrow()) {
                continue;
            }
            let Some(report) = Self::verify(&self).await else {
                return;
            };
            sound_at = report.sound.then_some(report.generation);
        }
    }

    /// Looks once nobody else does; none when the program ends.
    pub async fn verify(verifier: &Arc<Self>) -> Option<Report> {
        let turn = Arc::clone(&verifier.turn).acquire_owned().await.ok()?;
        let looking = Arc::clone(verifier);
        // The turn goes along: who asked may have gone before the look is over.
        let looked = tokio::task::spawn_blocking(move || {
            let report = looking.look();
            drop(turn);
            report
        });
        match looked.await {
            Ok(report) => Some(report),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    /// Looks now, on this thread.
    #[must_use]
    pub fn look(&self) -> Report {
        let (began, at) = (Instant::now(), unix_now());
        let sources = self.index.sources();
        let copied = began.elapsed();
        let mut found = sources.compare(&self.settings);
        let asked = Instant::now();
        let lists = self.ledger.lists(asked);
        let trial = self.ledger.trial(asked, &self.settings);
        let held = copied + asked.elapsed();
        found.add(lists.compare());
        found.add(trial.map_or_else(Findings::default, |trial| trial.compare(&self.settings)));
        let differences = found.differences();
        let took = began.elapsed();
        self.metrics.verified(differences, took, at);
        if differences == 0 {
            debug!(took_ms = millis(took), "the self-check found no difference");
        } else {
            let first = found.examples.first();
            error!(
                differences,
                part = first.map(|found| found.part),
                what = first.map(|found| found.what.as_str()),
                kept = first.and_then(|found| found.kept.as_deref()),
                rebuilt = first.and_then(|found| found.rebuilt.as_deref()),
                "the self-check found that what is kept is not what it should be; /debug/verify tells more, a restart \
                 mends it"
            );
        }
        Report {
            sound: differences == 0,
            generation: sources.generation(),
            at,
            held_ms: millis(held),
            took_ms: millis(took),
            parts: found.parts,
            differences: found.examples,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
