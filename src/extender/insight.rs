//! What a running extender knows and has promised, for those who only look: `/explain` and the page.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::ledger::Ledger;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::settings::Settings;

/// A look at the extender.
#[derive(Clone)]
pub struct Insight {
    /// Every promise, and the newest snapshot.
    pub ledger: Arc<Ledger>,
    /// What decisions depend on.
    pub settings: Arc<Settings>,
    /// Whether every watch has listed.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Set once the extender has started: the admin endpoint answers before that. It stays unset in a process that runs no
/// extender.
pub type LateInsight = Arc<OnceLock<Insight>>;

/// Why there is nothing to see.
pub const UNSET: &str = "the extender has not started, or is switched off in this process: ask one that runs beside a kube-scheduler";

/// Why nothing is to be seen yet.
pub const NOT_READY: &str =
    "pointsman does not see the whole cluster yet, or does not just now; see /readyz and its log";

impl Insight {
    /// What is known and promised at this moment; or why that cannot be said. The copies cost nothing (persistent
    /// maps), and the scheduler is not kept waiting for the ledger's lock.
    ///
    /// # Errors
    /// A sentence for whoever asked.
    pub fn look(late: &LateInsight) -> Result<(ClusterSnapshot, Commitments, Arc<Settings>), &'static str> {
        let insight = late.get().ok_or(UNSET)?;
        if !(insight.is_ready)() {
            return Err(NOT_READY);
        }
        let (snapshot, commitments) = insight.ledger.decide(Instant::now(), |snapshot, book| {
            (snapshot.clone(), book.commitments().clone())
        });
        Ok((snapshot, commitments, Arc::clone(&insight.settings)))
    }
}
