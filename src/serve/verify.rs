//! `GET /debug/verify` on the admin endpoint: the extender's self-check, now.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::answer;
use crate::extender::insight::UNSET;
use crate::extender::verify::{LateVerifier, Verifier};

/// Where it is served.
pub const VERIFY_PATH: &str = "/debug/verify";

/// The route. Looks come one after the other, whoever asks.
pub fn router(verifier: LateVerifier) -> Router {
    Router::new()
        .route(VERIFY_PATH, get(answered))
        .with_state(verifier)
}

/// The look itself is answered with 200; `sound` says what came of it.
async fn answered(State(late): State<LateVerifier>) -> Response {
    let Some(verifier) = late.get().map(Arc::clone) else {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, UNSET);
    };
    match Verifier::verify(&verifier).await {
        Some(report) => answer::json(StatusCode::OK, &report),
        None => answer::error(StatusCode::SERVICE_UNAVAILABLE, "the program ends"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;
    use crate::cluster::index::Index;
    use crate::decide::settings::Settings;
    use crate::extender::ledger::{Ledger, Lifetimes};
    use crate::telemetry::metrics::Metrics;

    async fn get(verifier: &LateVerifier) -> (StatusCode, Value) {
        let request = Request::get(VERIFY_PATH).body(Body::empty()).unwrap();
        let response = router(Arc::clone(verifier)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn the_self_check_is_asked_for_and_shows_in_the_metrics() {
        let late = LateVerifier::default();
        assert_eq!(get(&late).await.0, StatusCode::SERVICE_UNAVAILABLE);
        let settings = Arc::new(Settings::default());
        let (index, metrics) = (
            Arc::new(Index::new(Arc::clone(&settings))),
            Arc::new(Metrics::new()),
        );
        let time = Duration::from_secs(30);
        let lifetimes = Lifetimes {
            hold: time,
            gang: time,
            reservation: time,
        };
        let ledger = Arc::new(Ledger::new(index.published(), lifetimes));
        let verifier = Verifier::new(Arc::clone(&index), ledger, settings, Arc::clone(&metrics));
        assert!(late.set(Arc::new(verifier)).is_ok());
        index
            .apply(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}))
            .unwrap();
        let (status, body) = get(&late).await;
        assert_eq!((status, &body["sound"]), (StatusCode::OK, &json!(true)));
        let shows = |line: &str| metrics.exposition().unwrap().lines().any(|found| found == line);
        assert!(shows("pointsman_verify_differences 0"));
        assert!(!shows("pointsman_verify_timestamp_seconds 0"));

        index.published().store(Arc::default());
        let (status, body) = get(&late).await;
        assert_eq!((status, &body["sound"]), (StatusCode::OK, &json!(false)));
        assert_eq!(
            body["differences"],
            json!([{"part": "publication", "what": "publication", "kept": "0", "rebuilt": "1"}])
        );
        assert!(shows("pointsman_verify_differences 1"));
    }
}
