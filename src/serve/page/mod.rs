//! The page at `/` of the admin endpoint: the fabric, what is free of it, and who waits for what.
//!
//! One self-contained document: no other origin, no file beside it, nothing kept in the browser. It only looks, by
//! `GET state` and `GET explain` relative to itself, so that it works through `kubectl port-forward` and behind the
//! API server's proxy alike. The document itself tells nothing about the cluster.

mod chart;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rustls::crypto::ring;
use tokio::sync::Mutex;

use super::answer;
use crate::extender::insight::{Insight, LateInsight};

/// Where the page's numbers are served.
pub const STATE_PATH: &str = "/state";

/// The least time between two pictures, however many people look.
const FRESH: Duration = Duration::from_secs(1);

/// The document without its nonce.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    include_str!("index.html")
        .replace("{{style}}", include_str!("page.css"))
        .replace("{{script}}", include_str!("page.js"))
});

/// The document, open to all: it holds nothing of the cluster.
pub fn document() -> Router {
    Router::new().route("/", get(page))
}

/// What it shows.
pub fn state(insight: LateInsight) -> Router {
    let gallery = Arc::new(Gallery {
        insight,
        last: Mutex::new(None),
    });
    Router::new().route(STATE_PATH, get(drawn)).with_state(gallery)
}

/// The last picture, for everybody who looks at about the same time.
struct Gallery {
    insight: LateInsight,
    last: Mutex<Option<Picture>>,
}

#[derive(Clone)]
struct Picture {
    at: Instant,
    body: Bytes,
    tag: HeaderValue,
}

async fn page() -> Response {
    let Some(nonce) = nonce() else {
        return answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the system has no randomness to give",
        );
    };
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let body = DOCUMENT.replace("{{nonce}}", &nonce);
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, body).into_response()
}

/// A word that nobody can guess, so that only what we wrote runs.
fn nonce() -> Option<String> {
    let mut bytes = [0_u8; 16];
    ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

async fn drawn(State(gallery): State<Arc<Gallery>>, headers: HeaderMap) -> Response {
    // Whoever comes while a picture is drawn waits for it and takes it.
    let mut last = gallery.last.lock().await;
    if last.as_ref().is_none_or(|picture| picture.at.elapsed() >= FRESH) {
        match draw(&gallery.insight, last.as_ref()).await {
            Ok(picture) => *last = Some(picture),
            Err((status, why)) => return answer::error(status, &why),
        }
    }
    let Some(picture) = last.clone() else {
        return answer::error(StatusCode::INTERNAL_SERVER_ERROR, "nothing was drawn");
    };
    drop(last);
    let tag = [(header::ETAG, picture.tag.clone())];
    if headers.get(header::IF_NONE_MATCH) == Some(&picture.tag) {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    let mut response = answer::with_type(StatusCode::OK, "application/json", picture.body);
    response.headers_mut().insert(header::ETAG, picture.tag);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn draw(insight: &LateInsight, last: Option<&Picture>) -> Result<Picture, (StatusCode, String)> {
    let (snapshot, commitments, settings) =
        Insight::look(insight).map_err(|why| (StatusCode::SERVICE_UNAVAILABLE, why.to_owned()))?;
    let failed = |what: String| (StatusCode::INTERNAL_SERVER_ERROR, what);
    let drawn = tokio::task::spawn_blocking(move || {
        serde_json::to_vec(&chart::chart(&snapshot, &commitments, &settings))
    });
    let body = drawn
        .await
        .map_err(|_panic| failed("a bug in Pointsman stopped this; the log has the place".to_owned()))?
        .map_err(|error| failed(format!("the state cannot be written: {error}")))?;
    let at = Instant::now();
    match last.filter(|last| last.body == body) {
        Some(same) => Ok(Picture { at, ..same.clone() }),
        None => Ok(Picture {
            at,
            body: body.into(),
            tag: nonce()
                .and_then(|tag| HeaderValue::from_str(&format!("\"{tag}\"")).ok())
                .ok_or_else(|| failed("the system has no randomness to give".to_owned()))?,
        }),
    }
}
