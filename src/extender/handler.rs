//! The verbs of the extender. Each decodes, converts, decides under the ledger's lock, and encodes; what came of it
//! is one log line and one count.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};

use super::api::{
    ExtenderArgs, ExtenderBindingArgs, ExtenderBindingResult, ExtenderFilterResult, HostPriority,
};
use super::begun::hold_the_rest;
use super::bind::{BindError, Binder, Binding, placement_record};
use super::events::Announcer;
use super::ledger::Ledger;
use super::nudge::Waiting;
use super::sampling::Sampling;
use crate::cluster::convert;
use crate::decide::commitment::commitment;
use crate::decide::decision::{decide_by, rank_by, rest_of_gang};
use crate::decide::links::{self, BadLink};
use crate::decide::names::{NodeName, PodRef};
use crate::decide::placement::Verdict;
use crate::decide::pod::Pod;
use crate::decide::problem::chain;
use crate::decide::reason::{Reason, Refusal};
use crate::decide::settings::Settings;
use crate::decide::tier::{Domain, Tiers};
use crate::telemetry::label::{ExtenderVerdict, Verb};
use crate::telemetry::metrics::Metrics;

/// What the handlers need.
#[derive(Clone)]
pub struct State {
    /// Every promise, and the snapshots it is checked against.
    pub ledger: Arc<Ledger>,
    /// Pods that were refused, to be woken when something changes for them.
    pub waiting: Arc<Waiting>,
    /// Whether the scheduler shows all nodes.
    pub sampling: Arc<Sampling>,
    /// Who tells pods' users what came of them.
    pub announcer: Arc<Announcer>,
    /// What decisions depend on.
    pub settings: Arc<Settings>,
    /// Who writes Bindings.
    pub binder: Arc<dyn Binder>,
    /// Whether every watch has listed, and pods are watched.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Counts of what was answered.
    pub metrics: Arc<Metrics>,
}

/// Tells the scheduler to come back with growing pauses.
pub(super) const NOT_READY: &str =
    "pointsman does not see the whole cluster yet, or does not just now; see its /readyz and its log";

/// What to configure when the scheduler sends whole Node objects: they break its own scoring
/// (kubernetes/kubernetes#141781), so that form is not served.
const NO_NAMES: &str = "the request names no nodes: set nodeCacheCapable: true for this extender in the KubeSchedulerConfiguration";

/// The extender's routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/filter", post(filter))
        .route("/prioritize", post(prioritize))
        .route("/preempt", post(super::preempt::preempt))
        .route("/bind", post(bind))
        // axum's own limit of 2 MB is below 15,000 node names; whoever serves this sets one.
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

async fn filter(axum::extract::State(state): axum::extract::State<State>, body: Bytes) -> Response {
    let call = Call::begin(Verb::Filter, &state);
    let args: ExtenderArgs<'_> = match decode(&body) {
        Ok(args) => args,
        Err(problem) => return call.malformed(&problem),
    };
    let pod = Arc::new(convert::pod::pod(&args.pod, &state.settings));
    let failed = |error| ExtenderFilterResult {
        error,
        ..ExtenderFilterResult::default()
    };
    let Some(asked) = args.node_names else {
        return call.end(ExtenderVerdict::Malformed, &pod.at, NO_NAMES, &failed(NO_NAMES));
    };
    if !(state.is_ready)() {
        return call.end(ExtenderVerdict::NotReady, &pod.at, NOT_READY, &failed(NOT_READY));
    }
    state.waiting.asked(call.began);
    let (decision, names, snapshot) = state.ledger.decide(call.began, |snapshot, book| {
        hold_the_rest(&state.ledger, book, snapshot, &state.settings, call.began);
        let (surveys, commitments) = book.deciding();
        let names = asked.iter().map(|name| name.0.as_ref());
        let candidates = surveys.candidates(names, snapshot, &state.settings);
        let mut decision = decide_by(surveys, &pod, &candidates, snapshot, commitments, &state.settings);
        state.ledger.hold(book, &pod, decision.pod.take(), call.began);
        if let Some((gang, hold)) = decision.gang.take() {
            state.ledger.renew_gang(book, gang, hold, call.began);
            state.ledger.remember(book, &pod, call.began);
        }
        (decision, candidates.into_names(), snapshot.clone())
    });
    state
        .sampling
        .asked(&pod, &names, &snapshot, call.began, &state.metrics);
    let mut answer = ExtenderFilterResult::default();
    let mut tally: BTreeMap<Reason, (u64, &NodeName, &Refusal)> = BTreeMap::new();
    let mut doubts: Option<(u64, &NodeName, &BadLink)> = None;
    for (name, verdict) in &decision.verdicts {
        match verdict {
            Verdict::Fits(fit) => {
                answer.node_names.push(name.as_str());
                if let Some(link) = &fit.doubt {
                    doubts.get_or_insert((0, name, link)).0 += 1;
                }
            }
            Verdict::Refused(refusal) => {
                let reason = refusal.reason();
                answer
                    .failed_and_unresolvable_nodes
                    .push((name.as_str(), reason.text()));
                tally.entry(reason).or_insert((0, name, refusal)).0 += 1;
            }
        }
    }
    for (reason, (nodes, ..)) in &tally {
        state.metrics.node_refusals(reason.slug(), *nodes);
    }
    let verdict = if answer.node_names.is_empty() {
        let mut reasons: Vec<Reason> = tally.keys().copied().collect();
        reasons.sort_by_key(|reason| Reverse(tally.get(reason).map(|(nodes, ..)| *nodes)));
        state
            .waiting
            .refused(&pod, names, reasons.first().copied(), call.began);
        state.announcer.refused(&pod.at, &reasons, call.began);
        ExtenderVerdict::Refused
    } else {
        state.waiting.placed(&pod.at.uid);
        if !state.settings.binds {
            state.announcer.expect(&pod.at, call.began);
        }
        ExtenderVerdict::Fits
    };
    let mut why = explain(&tally);
    if let Some((nodes, example, link)) = doubts {
        let doubt = format!("{nodes} x avoided only, because fabric.maxAge is over, as {example}: {link}");
        why = if why.is_empty() {
            doubt
        } else {
            format!("{why} | {doubt}")
        };
    }
    call.end(verdict, &pod.at, &why, &answer)
}

/// Each reason with the number of nodes, one of them as an example, and the remedy.
pub(super) fn explain(tally: &BTreeMap<Reason, (u64, &NodeName, &Refusal)>) -> String {
    let parts = tally.iter().map(|(reason, (nodes, example, refusal))| {
        format!(
            "{nodes} x {}, as {example}: {refusal}; {}",
            reason.slug(),
            reason.remedy()
        )
    });
    parts.collect::<Vec<_>>().join(" | ")
}

async fn prioritize(axum::extract::State(state): axum::extract::State<State>, body: Bytes) -> Response {
    let call = Call::begin(Verb::Prioritize, &state);
    let args: ExtenderArgs<'_> = match decode(&body) {
        Ok(args) => args,
        Err(problem) => return call.malformed(&problem),
    };
    let pod = convert::pod::pod(&args.pod, &state.settings);
    let nothing: [HostPriority<'_>; 0] = [];
    let Some(asked) = args.node_names else {
        return call.end(ExtenderVerdict::Malformed, &pod.at, NO_NAMES, &nothing);
    };
    if !(state.is_ready)() {
        return call.end(ExtenderVerdict::NotReady, &pod.at, NOT_READY, &nothing);
    }
    let decision = state.ledger.decide(call.began, |snapshot, book| {
        let (surveys, commitments) = book.deciding();
        let names = asked.iter().map(|name| name.0.as_ref());
        let candidates = surveys.candidates(names, snapshot, &state.settings);
        rank_by(surveys, &pod, &candidates, snapshot, commitments, &state.settings)
    });
    // The scheduler takes a host that is not named as 0, and saves the cost of reading it.
    let scores: Vec<HostPriority<'_>> = decision
        .verdicts
        .iter()
        .filter_map(|(name, verdict)| match verdict {
            Verdict::Fits(fit) => fit.score.map(|score| HostPriority {
                host: name.as_str(),
                score: score.total(),
            }),
            Verdict::Refused(_) => None,
        })
        .filter(|host| host.score > 0)
        .collect();
    call.end(ExtenderVerdict::Scored, &pod.at, "", &scores)
}

async fn bind(axum::extract::State(state): axum::extract::State<State>, body: Bytes) -> Response {
    let call = Call::begin(Verb::Bind, &state);
    let args: ExtenderBindingArgs = match decode(&body) {
        Ok(args) => args,
        Err(problem) => return call.malformed(&problem),
    };
    let at = PodRef {
        namespace: args.pod_namespace.into(),
        name: args.pod_name.into(),
        uid: args.pod_uid.into(),
    };
    let failed = |error: String| ExtenderBindingResult { error };
    if !(state.is_ready)() {
        return call.end(
            ExtenderVerdict::NotReady,
            &at,
            NOT_READY,
            &failed(NOT_READY.to_owned()),
        );
    }
    let node = NodeName::from(args.node);
    let (binding, domain) = match reserve(&state, &at, &node, call.began) {
        Ok(reserved) => reserved,
        Err(NotReserved::Unknown) => {
            let why = "the pod is not known: it was neither filtered here nor seen by the watch";
            return call.end(ExtenderVerdict::Error, &at, why, &failed(why.to_owned()));
        }
        Err(NotReserved::Refused(refusal)) => {
            state.metrics.node_refusals(refusal.reason().slug(), 1);
            let why = format!("as {node}: {refusal}");
            return call.end(
                ExtenderVerdict::Refused,
                &at,
                &why,
                &failed(refusal.reason().text().to_owned()),
            );
        }
    };
    match state.binder.bind(binding).await {
        Ok(()) => {
            state.waiting.placed(&at.uid);
            state.announcer.placed(&at, node.clone(), domain);
            call.end(
                ExtenderVerdict::Bound,
                &at,
                node.as_str(),
                &ExtenderBindingResult::default(),
            )
        }
        Err(error) => {
            // What may have been written stays promised until the watch shows it, or its lifetime ends.
            match error {
                BindError::Refused(_) => {
                    state
                        .ledger
                        .release(&at.uid, &state.settings.locality, Instant::now());
                }
                BindError::Unclear(_) => drop(tokio::spawn(settle(state.clone(), at.clone(), call.began))),
            }
            call.end(
                ExtenderVerdict::Error,
                &at,
                &chain(&error),
                &failed(error.to_string()),
            )
        }
    }
}

/// How long after a Binding whose fate is unclear the API server is asked about the pod. One that is still on its way is
/// written or given up within moments, as the server notices that nobody waits for the answer any more.
const SETTLED: Duration = Duration::from_secs(5);

/// How often it is asked; after that the reservation ends with its lifetime.
const ASKED: u32 = 24;

/// Asks what became of a Binding, and ends the reservation made for it when it was not written. One that was written shows
/// in the watch.
async fn settle(state: State, at: PodRef, made: Instant) {
    for _ in 0..ASKED {
        tokio::time::sleep(SETTLED).await;
        match state.binder.is_bound(&at).await {
            Ok(true) => return,
            Ok(false) => {
                let (locality, now) = (&state.settings.locality, Instant::now());
                return state.ledger.was_not_written(&at.uid, made, locality, now);
            }
            Err(_) => {}
        }
    }
}

/// Why nothing was reserved.
enum NotReserved {
    Unknown,
    Refused(Arc<Refusal>),
}

/// Checks once more and reserves, in one step.
fn reserve(
    state: &State,
    at: &PodRef,
    node: &NodeName,
    now: Instant,
) -> Result<(Binding, Option<Domain>), NotReserved> {
    state.ledger.decide(now, |snapshot, book| {
        hold_the_rest(&state.ledger, book, snapshot, &state.settings, now);
        let pod: Arc<Pod> = book
            .pod(&at.uid)
            .or_else(|| snapshot.pending.get(&at.uid).cloned())
            .ok_or(NotReserved::Unknown)?;
        let (surveys, commitments) = book.deciding();
        let only = surveys.candidates([node.as_str()], snapshot, &state.settings);
        let decision = decide_by(surveys, &pod, &only, snapshot, commitments, &state.settings);
        match decision.verdicts.into_iter().next() {
            Some((_, Verdict::Fits(fit))) => {
                let position = snapshot
                    .nodes
                    .get(node)
                    .and_then(|known| links::position(known, &Tiers::of(&state.settings.tiers, snapshot)));
                let rest = {
                    let (surveys, commitments) = book.deciding();
                    rest_of_gang(Some(surveys), &pod, node, snapshot, commitments, &state.settings)
                };
                state
                    .ledger
                    .reserve(book, &pod, commitment(&pod.takes, node, &fit), now);
                if let Some((gang, hold)) = rest {
                    state.ledger.hold_gang(book, gang, hold, now);
                }
                let binding = Binding {
                    pod: at.clone(),
                    node: node.clone(),
                    annotations: placement_record(node, &fit, position.as_deref()),
                };
                Ok((binding, fit.domain))
            }
            Some((_, Verdict::Refused(refusal))) => {
                state.ledger.hold(book, &pod, None, now);
                Err(NotReserved::Refused(refusal))
            }
            None => Err(NotReserved::Refused(Arc::new(Refusal::NodeUnknown(node.clone())))),
        }
    })
}

/// One call of the scheduler, from its arrival to its answer.
pub(super) struct Call<'a> {
    verb: Verb,
    /// When it arrived.
    pub(super) began: Instant,
    metrics: &'a Metrics,
}

impl<'a> Call<'a> {
    pub(super) fn begin(verb: Verb, state: &'a State) -> Self {
        Self {
            verb,
            began: Instant::now(),
            metrics: &state.metrics,
        }
    }

    /// Answers, counts and logs.
    pub(super) fn end(
        &self,
        verdict: ExtenderVerdict,
        pod: &PodRef,
        why: &str,
        answer: &impl Serialize,
    ) -> Response {
        let took = self.began.elapsed();
        self.metrics.extender_request(self.verb, verdict, took);
        info!(
            verb = %self.verb,
            verdict = %verdict,
            namespace = %pod.namespace,
            pod = %pod.name,
            uid = %pod.uid,
            reason = why,
            duration_ms = took.as_secs_f64() * 1000.0,
            "extender"
        );
        encode(StatusCode::OK, answer)
    }

    pub(super) fn malformed(&self, problem: &str) -> Response {
        self.metrics
            .extender_request(self.verb, ExtenderVerdict::Malformed, self.began.elapsed());
        warn!(verb = %self.verb, verdict = %ExtenderVerdict::Malformed, error = problem, "extender");
        encode(StatusCode::BAD_REQUEST, &json!({"error": problem}))
    }
}

pub(super) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // Keeping track of the path costs more than the reading; it is needed for an error only.
    if let Ok(decoded) = serde_json::from_slice(body) {
        return Ok(decoded);
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let decoded = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        format!(
            "the request cannot be read at {}: {}",
            error.path(),
            error.inner()
        )
    })?;
    json.end()
        .map_err(|error| format!("the request does not end where its JSON does: {error}"))?;
    Ok(decoded)
}

/// One buffer, so that the answer has a Content-Length and leaves in one write: kube-scheduler opens a new
/// connection after every chunked answer.
fn encode(status: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
