//! `pointsman explain` and `GET /explain`: why a pod waits, or sits where it sits, and what would let it run.
//!
//! What is true is worked out by [`crate::decide::explanation`]; in here it is asked for (files, a listed cluster, a
//! running extender) and shown (JSON, YAML, text).

pub mod http;
mod listed;
mod report;
mod table;

use std::path::PathBuf;

use kube::Client;

pub use self::report::{Reason, Report};
pub use self::table::write_table;

use crate::config::Configuration;
use crate::decide::explanation;
use crate::simulate::expand::{Cluster, Finding};
use crate::simulate::meet::{Met, Others, Wanted, meet};
use crate::simulate::{Input, SimulateError, cluster_in};

/// Where the cluster is that a pod is explained in.
pub enum Source {
    /// Saved in these files and folders.
    Files(Vec<PathBuf>),
    /// Behind this client; each kind is listed once.
    Cluster(Client),
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The files, or what is behind them, cannot be used.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The cluster does not answer as it should.
    #[error("{kind} objects cannot be listed")]
    Listing {
        /// Of this kind.
        kind: &'static str,
        /// Why.
        source: kube::Error,
    },
    /// There is no such pod.
    #[error("there is no pod {0}")]
    NoPod(String),
}

/// An explanation, and what could not be read on the way.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The explanation.
    pub report: Report,
    /// Objects that are not what they should be.
    pub findings: Vec<Finding>,
}

/// Explains one pod; with `new`, one that these files would make, admitted first.
///
/// # Errors
/// When there is no such pod, or no cluster to explain it in.
pub async fn explain(
    source: Source,
    new: &[PathBuf],
    wanted: Wanted,
    configuration: Configuration,
) -> Result<Explained, ExplainError> {
    let (mut cluster, others) = match source {
        Source::Files(paths) => (
            cluster_in(&paths, "default").map_err(SimulateError::Input)?,
            Others::Play,
        ),
        Source::Cluster(client) => (
            listed::cluster(&client, &configuration.namespace).await?,
            Others::Stand,
        ),
    };
    let mut wanted = wanted;
    if !new.is_empty() {
        let Cluster {
            objects,
            pods,
            findings,
        } = cluster_in(new, wanted.namespace.as_deref().unwrap_or("default"))
            .map_err(SimulateError::Input)?;
        // The namespace is for objects that name none; what a file says itself counts.
        wanted.namespace = None;
        let Some(first) = pods.iter().find(|pod| wanted.is(&pod.json)) else {
            return Err(ExplainError::NoPod(format!(
                "{wanted} among those that the files make"
            )));
        };
        wanted = Wanted::new_one(&first.json);
        // One of the same name that exists already is not the one that is asked about.
        cluster.pods.retain(|pod| !wanted.is(&pod.json));
        cluster.pods.extend(pods);
        let known: std::collections::BTreeSet<String> = cluster.objects.iter().map(identity).collect();
        cluster.objects.extend(
            objects
                .into_iter()
                .filter(|object| !known.contains(&identity(object))),
        );
        cluster.findings.extend(findings);
    }
    let input = Input {
        paths: Vec::new(),
        configuration,
        seed: None,
    };
    let met = meet(cluster, &input, &wanted, others).await?;
    let Some(met) = met else {
        return Err(ExplainError::NoPod(wanted.to_string()));
    };
    Ok(Explained {
        report: report(&met, &input.configuration),
        findings: met.findings,
    })
}

fn report(met: &Met, configuration: &Configuration) -> Report {
    if let Some(message) = &met.denied {
        return Report::denied(&met.pod.at, message);
    }
    Report::of(&explanation::explain(
        &met.pod,
        &met.snapshot,
        &met.commitments,
        &configuration.decisions,
    ))
}

fn identity(object: &crate::simulate::load::Object) -> String {
    use crate::simulate::expand::text;
    let of = |pointer| text(&object.json, pointer);
    [of("/kind"), of("/metadata/namespace"), of("/metadata/name")].join("/")
}
