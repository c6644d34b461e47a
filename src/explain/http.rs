//! `GET /explain?namespace=NS&pod=NAME` on the admin endpoint: what `pointsman explain` says, by what the running
//! extender knows and has promised.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::report::Report;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::explanation::explain;
use crate::decide::pod::Pod;
use crate::extender::insight::{Insight, LateInsight};
use crate::serve::answer;

/// Where it is served.
pub const EXPLAIN_PATH: &str = "/explain";

/// The route, over what `insight` shows.
pub fn router(insight: LateInsight) -> Router {
    let asked = Asked {
        insight,
        // One at a time: trying changes costs many decisions, and the scheduler's own questions come first.
        turn: Arc::new(Semaphore::new(1)),
    };
    Router::new().route(EXPLAIN_PATH, get(answered)).with_state(asked)
}

#[derive(Clone)]
struct Asked {
    insight: LateInsight,
    turn: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct Question {
    namespace: Option<String>,
    pod: Option<String>,
}

async fn answered(State(asked): State<Asked>, Query(question): Query<Question>) -> Response {
    let Some(name) = question.pod else {
        return answer::error(
            StatusCode::BAD_REQUEST,
            "which pod? expected /explain?namespace=NAMESPACE&pod=NAME",
        );
    };
    let namespace = question.namespace.unwrap_or_else(|| "default".to_owned());
    let Ok(_turn) = asked.turn.acquire().await else {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, "the program ends");
    };
    let (snapshot, commitments, settings) = match Insight::look(&asked.insight) {
        Ok(seen) => seen,
        Err(why) => return answer::error(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let Some(pod) = find(&snapshot, &namespace, &name) else {
        return answer::error(
            StatusCode::NOT_FOUND,
            &format!(
                "no pod {namespace}/{name} is known that waits for VFs or runs with some; one that asks for none, or \
                 has ended, is not kept"
            ),
        );
    };
    let explained =
        tokio::task::spawn_blocking(move || Report::of(&explain(&pod, &snapshot, &commitments, &settings)));
    match explained.await {
        Ok(report) => answer::json(StatusCode::OK, &report),
        Err(_panic) => answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "a bug in Pointsman stopped this explanation; the log has the place",
        ),
    }
}

fn find(snapshot: &ClusterSnapshot, namespace: &str, name: &str) -> Option<Arc<Pod>> {
    let pods = snapshot.pending.values().chain(snapshot.bound.values());
    let mut found = pods.filter(|pod| pod.at.namespace.as_str() == namespace && pod.at.name.as_str() == name);
    found.next().cloned()
}
