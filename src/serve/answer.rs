//! Answers in one form: a JSON body of known length, no trailing newline.
//!
//! kube-scheduler decodes one JSON value and closes: what follows the value, or a chunked body, costs it a new
//! connection for every call. So bodies are complete before the head is sent.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

/// `value` as JSON with `status`.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => with_type(status, "application/json", body),
        // Only a map with keys that are no texts cannot be written; none of our answers has one.
        Err(error) => with_type(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the answer cannot be written as JSON: {error}"),
        ),
    }
}

/// What went wrong, for a caller that is a program: `{"error": text}`.
#[must_use]
pub fn error(status: StatusCode, text: &str) -> Response {
    json(status, &serde_json::json!({ "error": text }))
}

/// A body of another type.
pub fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
