//! `POST /validate`: objects that carry policy for pods to come, looked at when they are written.
//!
//! What was wrong before is no reason to refuse a change of something else: whoever wants to mend an old object, or to
//! take off its finalizers, must be able to.

use kube::core::DynamicObject;
use serde_json::value::RawValue;

use super::handler::{Outcome, State, message};
use super::review::{Answer, Request};
use crate::cluster::convert::network;
use crate::cluster::objects::Kind;
use crate::decide::problem::{Problem, Problems};
use crate::decide::settings::Settings;
use crate::decide::validation::{self, Validation};
use crate::decide::{cluster::ClusterSnapshot, problem::chain};
use crate::telemetry::label::WebhookVerdict;

/// Decides about the object of a request; those of other kinds, and those on their way out, may be as they are.
pub(super) fn decided(state: &State, request: &Request<'_>) -> (serde_json::Result<Answer>, Outcome) {
    let uid = &request.uid;
    let written = matches!(request.operation.as_deref(), Some("CREATE" | "UPDATE"));
    let whole = request.sub_resource.as_deref().is_none_or(str::is_empty);
    if !written || !whole {
        return (Ok(Answer::allowed(uid)), Outcome::of(WebhookVerdict::Unchanged));
    }
    let object = match request.object.map(read) {
        Some(Ok(object)) => object,
        unreadable => {
            let problem = unreadable.and_then(Result::err).unwrap_or_else(no_object);
            let reason = message(&Problems::from(problem));
            let outcome = Outcome {
                reason: Some(reason.clone()),
                ..Outcome::of(WebhookVerdict::Denied)
            };
            return (Ok(Answer::unreadable(uid, reason)), outcome);
        }
    };
    let snapshot = state.snapshot.load_full();
    let kind = kind(request, &object);
    let Some(validation) =
        kind.and_then(|kind| validated(kind, &object, request, &snapshot, &state.settings))
    else {
        return (Ok(Answer::allowed(uid)), Outcome::of(WebhookVerdict::Unchanged));
    };
    let before = request
        .old_object
        .and_then(|old| read(old).ok())
        .and_then(|old| validated(kind?, &old, request, &snapshot, &state.settings))
        .unwrap_or_default();
    let mut outcome = Outcome {
        object: object.metadata.name.clone(),
        kind: kind.map(Kind::name),
        ..Outcome::of(WebhookVerdict::Unchanged)
    };
    let answer = answered(uid, validation, &before, &mut outcome);
    (Ok(answer), outcome)
}

fn answered(uid: &str, validation: Validation, before: &Validation, outcome: &mut Outcome) -> Answer {
    let Validation {
        problems,
        mut warnings,
    } = validation;
    let (old, new): (Vec<&Problem>, Vec<&Problem>) = problems
        .iter()
        .partition(|problem| before.problems.iter().any(|known| known == *problem));
    if !new.is_empty() {
        // Whoever mends one of several problems is told of the others, too.
        let reason = message(&problems);
        outcome.verdict = WebhookVerdict::Denied;
        outcome.reason = Some(reason.clone());
        return Answer::denied(uid, reason);
    }
    warnings.extend(old.into_iter().map(|problem| format!("still wrong: {problem}")));
    Answer::allowed(uid).with_warnings(warnings)
}

/// What is to be said of an object of this kind; nothing of one that is being deleted.
fn validated(
    kind: Kind,
    object: &DynamicObject,
    request: &Request<'_>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Option<Validation> {
    if object.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let annotations = object.metadata.annotations.clone().unwrap_or_default();
    let of_network = |mut object: DynamicObject, read: fn(&DynamicObject, &Settings) -> _| {
        // The request knows it where the object does not say.
        let namespace = object.metadata.namespace.take();
        object.metadata.namespace = namespace.or_else(|| request.namespace.clone());
        validation::network(&read(&object, settings), &annotations, snapshot)
    };
    match kind {
        Kind::Namespace => {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let labels = object.metadata.labels.clone().unwrap_or_default();
            Some(validation::namespace(
                &name.into(),
                &labels,
                &annotations,
                snapshot,
            ))
        }
        Kind::Attachment => Some(of_network(object.clone(), network::attachment)),
        Kind::MultusConfig => Some(of_network(object.clone(), network::multus_config)),
        Kind::Pod
        | Kind::Node
        | Kind::Job
        | Kind::Pool
        | Kind::ReservedIp
        | Kind::NodeState
        | Kind::Lease
        | Kind::Endpoint
        | Kind::Subnet
        | Kind::DeviceClass
        | Kind::DeviceClaim
        | Kind::DeviceClaimTemplate
        | Kind::PodGroup => None,
    }
}

/// The kind, as the request names it or else the object itself.
fn kind(request: &Request<'_>, object: &DynamicObject) -> Option<Kind> {
    if let Some(kind) = &request.kind {
        return Kind::of(&format!("{}/{}", kind.group, kind.version), &kind.kind);
    }
    let types = object.types.as_ref()?;
    Kind::of(&types.api_version, &types.kind)
}

fn read(object: &RawValue) -> Result<DynamicObject, Problem> {
    serde_json::from_str(object.get()).map_err(|error| {
        Problem::new(
            "request.object",
            chain(&error),
            "an object as the Kubernetes API defines it",
            "mend the field",
        )
    })
}

fn no_object() -> Problem {
    Problem::new(
        "request.object",
        "nothing",
        "the object that is being written",
        "send the object",
    )
}
