//! The admin endpoint: `/livez`, `/readyz`, `/metrics`. Plain HTTP, for the kubelet and for Prometheus.
//!
//! It tells, it never changes anything; and it must answer while everything else is busy, so nothing in here
//! waits for the cluster or for a lock that a handler holds.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::answer;
use super::readiness::Readiness;
use crate::telemetry::metrics::{self, Metrics};

/// The routes of the admin endpoint.
pub fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(exposition).with_state(metrics))
}

/// That this is answered at all is the whole answer: the process runs and its event loop turns.
async fn livez() -> Response {
    answer::json(StatusCode::OK, &json!({ "live": true }))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let unmet = readiness.unmet();
    let status = if unmet.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    answer::json(
        status,
        &json!({ "ready": unmet.is_empty(), "waitingUntil": unmet }),
    )
}

async fn exposition(State(metrics): State<Arc<Metrics>>) -> Response {
    match metrics.exposition() {
        Ok(text) => answer::with_type(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Err(error) => answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the metrics cannot be written: {error}"),
        ),
    }
}
