//! The decisions on files instead of a cluster.
//!
//! The pods in the files go through the very code that `serve` runs: the webhook's routes behind the HTTPS listener,
//! and the extender's behind the HTTP one, both on loopback. What stands around them in a cluster (controllers, the
//! API server, kube-scheduler's own filters) is played by small parts of this module.

mod client;
pub mod columns;
pub mod expand;
mod gangs;
pub mod load;
pub mod meet;
mod play;
pub mod report;
pub mod scheduler;
mod servers;
mod table;
mod world;

use std::path::PathBuf;
use std::sync::Arc;

pub use self::client::CallError;
pub use self::columns::Style;
pub use self::load::LoadError;
pub use self::report::Report;
pub use self::table::write_table;

use crate::config::Configuration;
use crate::extender::insight::{Insight, LateInsight};

/// What to simulate.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Files, and folders of files.
    pub paths: Vec<PathBuf>,
    /// The configuration, as `serve` takes it.
    pub configuration: Configuration,
    /// Shuffles the order in which nodes are tried, which must change nothing.
    pub seed: Option<u64>,
}

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The files cannot be used.
    #[error(transparent)]
    Input(#[from] LoadError),
    /// The listeners could not be started.
    #[error("the listeners on loopback do not start: {0}")]
    Servers(String),
    /// A listener did not answer as its contract says.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// Admits and places the pending pods in the files.
///
/// # Errors
/// When a file cannot be read, or when the listeners on loopback do not work. A pod that is denied or finds no node is
/// no error, but a part of the report.
pub async fn simulate(input: &Input) -> Result<Report, SimulateError> {
    Ok(stand(input).await?.report)
}

/// A simulated cluster that goes on, to be looked at.
pub struct Stood {
    /// What came of its pods.
    pub report: Report,
    /// What its extender knows and has promised.
    pub insight: LateInsight,
    /// The listeners, for as long as somebody looks.
    _stage: play::Stage,
}

/// As [`simulate`], with the cluster kept.
///
/// # Errors
/// As [`simulate`].
pub async fn stand(input: &Input) -> Result<Stood, SimulateError> {
    let cluster = cluster_in(&input.paths, "default")?;
    let (report, stage) = play::play(cluster, input).await?;
    let seen = Insight {
        ledger: Arc::clone(&stage.servers.ledger),
        settings: Arc::new(input.configuration.decisions.clone()),
        is_ready: Arc::new(|| true),
    };
    Ok(Stood {
        report,
        insight: LateInsight::from(std::sync::OnceLock::from(seen)),
        _stage: stage,
    })
}

/// The objects in these files, workloads expanded into their pods; those that name no namespace are in `namespace`.
///
/// # Errors
/// When a file cannot be read.
pub fn cluster_in(paths: &[PathBuf], namespace: &str) -> Result<expand::Cluster, LoadError> {
    let mut objects = load::load(paths)?;
    for object in &mut objects {
        expand::put_in(&mut object.json, namespace);
    }
    Ok(expand::expand(objects, NOW))
}

/// When objects are taken to be made that do not say: always the same moment, or no two results would be equal, and
/// late enough to come after everything that says.
const NOW: &str = "2100-01-01T00:00:00Z";
