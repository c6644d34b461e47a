//! `POST /mutate` and `POST /validate` in four steps: decode, convert, decide, encode and record. Here is what both
//! share, and `/mutate`.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State as FromState};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout_at};

use super::facts::{self, Arrived, RawMetadata};
use super::patch;
use super::review::{self, Answer, Request};
use super::validate;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::mutation::{Admission, PodFacts, admit};
use crate::decide::names::ProfileName;
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::Settings;
use crate::telemetry::label::WebhookVerdict;
use crate::telemetry::logging::key;
use crate::telemetry::metrics::Metrics;

/// Where kube-apiserver posts pods.
pub const MUTATE_PATH: &str = "/mutate";
/// Where kube-apiserver posts objects that carry policy for pods.
pub const VALIDATE_PATH: &str = "/validate";

/// How long a pod waits for objects that were applied together with it. Watches lag by milliseconds; a second is
/// plenty and leaves most of the API server's timeout.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two looks: what is applied together arrives in a burst.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What the handler works with.
#[derive(Clone, Debug)]
pub struct State {
    /// The newest snapshot.
    pub snapshot: Arc<ArcSwap<ClusterSnapshot>>,
    /// Changes after each new snapshot.
    pub generations: watch::Receiver<u64>,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Where decisions are counted.
    pub metrics: Arc<Metrics>,
    /// How long to wait for what is not known yet; [`PATIENCE`] beside a cluster, nothing where all is known.
    pub patience: Duration,
}

/// The webhook. Limits of body and time, and what becomes of a panic, are up to whoever serves it.
pub fn router(state: State) -> Router {
    Router::new()
        .route(MUTATE_PATH, post(mutate))
        .route(VALIDATE_PATH, post(validate))
        // axum's own limit of 2 MB is below what an API server may send.
        .layer(DefaultBodyLimit::disable())
        .with_state(state)
}

/// Which of the two paths was asked.
#[derive(Clone, Copy)]
enum Question {
    Mutate,
    Validate,
}

async fn mutate(FromState(state): FromState<State>, headers: HeaderMap, body: Bytes) -> Response {
    reviewed(&state, Question::Mutate, &headers, &body).await
}

async fn validate(FromState(state): FromState<State>, headers: HeaderMap, body: Bytes) -> Response {
    reviewed(&state, Question::Validate, &headers, &body).await
}

async fn reviewed(state: &State, question: Question, headers: &HeaderMap, body: &[u8]) -> Response {
    let started = Instant::now();
    let junk = |status, text: &str| {
        let text =
            format!("{text}; expected a POST of an AdmissionReview in JSON, as kube-apiserver sends it");
        tracing::warn!({ key::ERROR } = text, "a request that is no admission review");
        state
            .metrics
            .webhook_request(WebhookVerdict::Error, started.elapsed());
        let body = json!({ "error": text }).to_string();
        (status, JSON, body).into_response()
    };
    if !is_json(headers) {
        return junk(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "found another content type than application/json",
        );
    }
    let request = match review::decode(body) {
        Ok(request) => request,
        Err(error) => return junk(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let (answer, outcome) = match question {
        Question::Mutate => decided(state, &request).await,
        Question::Validate => validate::decided(state, &request),
    };
    let encoded = answer.and_then(|answer| answer.encode());
    let verdict = if encoded.is_ok() {
        outcome.verdict
    } else {
        WebhookVerdict::Error
    };
    record(state, &request, &outcome, verdict, started.elapsed());
    match encoded {
        Ok(body) => (JSON, body).into_response(),
        Err(error) => {
            let body = json!({ "error": format!("the answer cannot be encoded: {error}") }).to_string();
            (StatusCode::INTERNAL_SERVER_ERROR, JSON, body).into_response()
        }
    }
}

const JSON: [(header::HeaderName, HeaderValue); 1] =
    [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

/// What is said about a decision besides the answer itself.
pub(super) struct Outcome {
    pub(super) verdict: WebhookVerdict,
    pub(super) pod: Option<String>,
    /// What was written, where it is no pod.
    pub(super) kind: Option<&'static str>,
    pub(super) object: Option<String>,
    pub(super) profile: Option<ProfileName>,
    pub(super) patched: usize,
    pub(super) reason: Option<String>,
}

impl Outcome {
    pub(super) fn of(verdict: WebhookVerdict) -> Self {
        Self {
            verdict,
            pod: None,
            kind: None,
            object: None,
            profile: None,
            patched: 0,
            reason: None,
        }
    }
}

async fn decided(state: &State, request: &Request<'_>) -> (serde_json::Result<Answer>, Outcome) {
    let uid = &request.uid;
    // Only a pod as a whole that is being created can still be changed.
    let created = request.operation.as_deref() == Some("CREATE");
    if !created
        || request
            .sub_resource
            .as_deref()
            .is_some_and(|part| !part.is_empty())
    {
        return (Ok(Answer::allowed(uid)), Outcome::of(WebhookVerdict::Unchanged));
    }
    let arrived = request
        .object
        .ok_or_else(no_object)
        .and_then(|object| facts::read(object, request.namespace.as_deref(), &state.settings));
    let arrived = match arrived {
        Ok(arrived) => arrived,
        Err(problems) => {
            let reason = message(&problems);
            let outcome = Outcome {
                reason: Some(reason.clone()),
                ..Outcome::of(WebhookVerdict::Denied)
            };
            return (Ok(Answer::unreadable(uid, reason)), outcome);
        }
    };
    let admission = patient(state, &arrived.facts).await;
    let (answer, mut outcome) = answered(uid, &arrived, admission);
    outcome.pod = pod_name(&arrived.raw.metadata);
    (answer, outcome)
}

fn answered(uid: &str, arrived: &Arrived, admission: Admission) -> (serde_json::Result<Answer>, Outcome) {
    match admission {
        Admission::NotAsked => (Ok(Answer::allowed(uid)), Outcome::of(WebhookVerdict::Unchanged)),
        Admission::Denied(denial) => {
            let reason = message(&denial.problems);
            let outcome = Outcome {
                profile: denial.profile,
                reason: Some(reason.clone()),
                ..Outcome::of(WebhookVerdict::Denied)
            };
            (Ok(Answer::denied(uid, reason)), outcome)
        }
        Admission::Mutate(mutation) => {
            let patch = patch::patch(arrived, &mutation);
            let verdict = if patch.0.is_empty() {
                WebhookVerdict::Unchanged
            } else {
                WebhookVerdict::Mutated
            };
            let outcome = Outcome {
                profile: mutation.record.and_then(|record| record.profile),
                patched: patch.0.len(),
                ..Outcome::of(verdict)
            };
            let answer = Answer::allowed(uid)
                .with_warnings(mutation.warnings)
                .with_patch(&patch);
            (answer, outcome)
        }
    }
}

/// Decides; as long as all that is wrong is that something is not known, decides again when more is.
async fn patient(state: &State, pod: &PodFacts) -> Admission {
    let mut generations = state.generations.clone();
    let deadline = tokio::time::Instant::now() + state.patience;
    loop {
        // Before the snapshot is read, so that none is missed that comes in between.
        generations.mark_unchanged();
        let snapshot = state.snapshot.load_full();
        let admission = admit(pod, &snapshot, &state.settings);
        // The namespace's annotations and labels have a say in every decision.
        let namespace_known = snapshot.namespaces.contains_key(&pod.namespace);
        let may_pass = match &admission {
            Admission::Denied(denial) => denial.may_pass || !namespace_known,
            Admission::Mutate(mutation) => mutation.may_grow || !namespace_known,
            Admission::NotAsked => !namespace_known,
        };
        if !may_pass || !matches!(timeout_at(deadline, generations.changed()).await, Ok(Ok(()))) {
            return admission;
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

fn no_object() -> Problems {
    Problems::from(Problem::new(
        "request.object",
        "nothing",
        "the pod that is being created",
        "send the pod",
    ))
}

/// All problems as a person reads them below `kubectl`'s own words.
pub(super) fn message(problems: &Problems) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("{} problems:\n- {}", several.len(), several.join("\n- ")),
    }
}

fn pod_name(metadata: &RawMetadata) -> Option<String> {
    let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
    given(&metadata.name).or_else(|| given(&metadata.generate_name))
}

fn record(state: &State, request: &Request<'_>, outcome: &Outcome, verdict: WebhookVerdict, took: Duration) {
    state.metrics.webhook_request(verdict, took);
    tracing::info!(
        { key::UID } = request.uid,
        { key::NAMESPACE } = request.namespace,
        { key::POD } = outcome.pod,
        { key::KIND } = outcome.kind,
        { key::OBJECT } = outcome.object,
        { key::OPERATION } = request.operation,
        { key::DRY_RUN } = request.dry_run.unwrap_or(false),
        { key::VERDICT } = %verdict,
        { key::PROFILE } = outcome.profile.as_ref().map(ProfileName::as_str),
        { key::PATCHED } = outcome.patched,
        { key::REASON } = outcome.reason,
        { key::DURATION_MS } = took.as_secs_f64() * 1000.0,
        "admission"
    );
}
