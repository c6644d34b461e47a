//! `GET` and `PUT /loglevel`: what is logged, and how to change it while the program runs.
//!
//! It may be changed from the process's own machine only: over the loopback of its pod, which `kubectl port-forward`
//! reaches for whoever the API server lets (`pods/portforward`), and nobody else.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::json;
use tracing::info;

use super::answer;
use super::listen::Peer;
use crate::telemetry::logging::{LevelInForce, LogLevel};

/// Where it is served.
pub const LOG_LEVEL_PATH: &str = "/loglevel";

/// The route.
pub fn router(level: LevelInForce) -> Router {
    Router::new()
        .route(LOG_LEVEL_PATH, get(told).put(changed))
        .with_state(level)
}

async fn told(State(level): State<LevelInForce>) -> Response {
    answer::json(StatusCode::OK, &json!({ "level": level.get().to_string() }))
}

async fn changed(State(level): State<LevelInForce>, peer: Option<Extension<Peer>>, body: Bytes) -> Response {
    let near = peer.is_some_and(|Extension(Peer(address))| address.ip().to_canonical().is_loopback());
    if !near {
        return answer::error(
            StatusCode::FORBIDDEN,
            "the level is changed over loopback only: kubectl port-forward POD 8080, then PUT to localhost",
        );
    }
    let wanted = String::from_utf8_lossy(&body);
    let wanted: LogLevel = match wanted.trim().parse() {
        Ok(wanted) => wanted,
        Err(error) => return answer::error(StatusCode::BAD_REQUEST, &error),
    };
    let before = level.get();
    match level.set(wanted.clone()) {
        Ok(()) => {
            info!(from = %before, to = %wanted, "log level changed");
            answer::json(StatusCode::OK, &json!({ "level": wanted.to_string() }))
        }
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
    }
}
