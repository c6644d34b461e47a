//! The cluster as one pod finds it when its turn comes: what `explain` goes by where no extender can be asked.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize as _;
use serde_json::Value;

use super::expand::{Cluster, Finding, text};
use super::load::Object;
use super::play::{Stage, is_pending};
use super::{Input, SimulateError};
use crate::cluster::convert;
use crate::cluster::objects::PodObject;
use crate::decide::annotation;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::names::PodUid;
use crate::decide::pod::Pod;

/// Which pod is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its namespace; any where it is not given.
    pub namespace: Option<String>,
    /// Its name; any where it is not given.
    pub name: Option<String>,
    /// It does not exist yet: it is to be admitted first.
    pub new: bool,
}

/// What becomes of the pods that wait beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Files: those that were made before it are admitted and take their places first, as `simulate` has it.
    Play,
    /// A cluster that somebody else schedules: they wait on.
    Stand,
}

/// A pod, and the cluster as it finds it.
#[derive(Clone, Debug)]
pub struct Met {
    /// The pod, as it was admitted.
    pub pod: Pod,
    /// Why it was not admitted.
    pub denied: Option<String>,
    /// What is known.
    pub snapshot: ClusterSnapshot,
    /// What is promised.
    pub commitments: Commitments,
    /// Objects that are not what they should be.
    pub findings: Vec<Finding>,
}

impl core::fmt::Display for Wanted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let name = self.name.as_deref().unwrap_or("of any name");
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{name}"),
            None => f.write_str(name),
        }
    }
}

impl Wanted {
    /// This pod, which does not exist yet.
    #[must_use]
    pub fn new_one(pod: &Value) -> Self {
        Self {
            namespace: Some(text(pod, "/metadata/namespace").to_owned()),
            name: Some(text(pod, "/metadata/name").to_owned()),
            new: true,
        }
    }

    /// Whether this is the pod.
    #[must_use]
    pub fn is(&self, pod: &Value) -> bool {
        let is = |wanted: &Option<String>, pointer| {
            wanted
                .as_ref()
                .is_none_or(|wanted| text(pod, pointer) == wanted.as_str())
        };
        is(&self.name, "/metadata/name") && is(&self.namespace, "/metadata/namespace")
    }
}

/// The pod that is meant, and the cluster as it finds it; none where there is no such pod.
///
/// # Errors
/// When the listeners on loopback do not work.
pub async fn meet(
    cluster: Cluster,
    input: &Input,
    wanted: &Wanted,
    others: Others,
) -> Result<Option<Met>, SimulateError> {
    let bound = cluster
        .pods
        .iter()
        .find(|pod| !is_pending(&pod.json) && wanted.is(&pod.json))
        .cloned();
    let (mut stage, pending, report) = Stage::set(cluster, input).await?;
    let found = match bound {
        Some(pod) if !wanted.new => Some(pod),
        _ => waiting(&mut stage, pending, wanted, others).await?,
    };
    let Some(Object { json: mut pod, .. }) = found else {
        return Ok(None);
    };
    let mut denied = None;
    if is_pending(&pod) {
        let admitted = pod
            .pointer("/metadata/annotations")
            .is_some_and(|annotations| annotations.get(annotation::INJECTED).is_some());
        if wanted.new || (others == Others::Play && !admitted) {
            let admission = stage.admit(&mut pod).await?;
            denied = (!admission.allowed).then_some(admission.message);
        }
        if denied.is_none()
            && let Err(problems) = stage.world.add_pod(&pod)
        {
            denied = Some(format!("the API server would not take the pod: {problems}"));
        }
    }
    let uid = PodUid::from(text(&pod, "/metadata/uid"));
    let settings = &input.configuration.decisions;
    let (snapshot, commitments) = stage.servers.ledger.decide(Instant::now(), |snapshot, book| {
        (snapshot.clone(), book.commitments().clone())
    });
    let known = snapshot.pending.get(&uid).or_else(|| snapshot.bound.get(&uid));
    let converted = || convert::pod::pod(&PodObject::deserialize(&pod).unwrap_or_default(), settings);
    Ok(Some(Met {
        pod: known.map_or_else(converted, |pod| Pod::clone(Arc::as_ref(pod))),
        denied,
        snapshot,
        commitments,
        findings: report.findings,
    }))
}

/// The waiting pod that is meant, once those before it have had their turn.
async fn waiting(
    stage: &mut Stage,
    pending: Vec<Object>,
    wanted: &Wanted,
    others: Others,
) -> Result<Option<Object>, SimulateError> {
    let mut found = None;
    for pod in pending {
        if found.is_none() && wanted.is(&pod.json) {
            if others == Others::Play {
                return Ok(Some(pod));
            }
            found = Some(pod);
        } else if others == Others::Play {
            stage.pod(&pod).await?;
        } else if let Err(problems) = stage.world.add_pod(&pod.json) {
            tracing::debug!(error = %problems, "a waiting pod cannot be read");
        }
    }
    Ok(found)
}
