//! What a request may cost: size, time, how many at once. All limits stand here, each with its reason.
//!
//! [`guarded`] puts them around a router: the handler gets a complete body of bounded size, or is never
//! called. Whatever is refused is answered in JSON, counted, and leaves the server running.

use core::time::Duration;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody as _};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::answer;
use crate::telemetry::label::{ListenerName, Rejection};
use crate::telemetry::logging::key;
use crate::telemetry::metrics::Metrics;

/// What one request on a listener may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most bytes of a body.
    pub body: usize,
    /// Most bytes of all bodies together, those that are still coming in included; what is beyond is shed.
    pub bodies: usize,
    /// Most time from complete head to complete answer.
    pub deadline: Duration,
    /// Most complete requests at once; more are shed, because a caller with a deadline gains nothing from a queue. Who
    /// has not sent all of its body takes no part in this.
    pub concurrency: usize,
}

/// Admission reviews.
pub const WEBHOOK: RequestLimits = RequestLimits {
    // The API server takes objects of at most 3 MiB; a review carries the new object only on CREATE. Objects
    // near that limit do not come with our annotations in practice, so head room would only help an attacker.
    body: 3 * MIB,
    // A quarter of the container's memory: reviews have some 20 kB, so three times what the API server sends at once.
    bodies: 32 * MIB,
    // The API server waits `timeoutSeconds` (default 10): later answers are read by nobody.
    deadline: Duration::from_secs(10),
    // The API server runs at most 200 mutating requests at once; three of them, rounded down, because a
    // review takes microseconds once it is complete.
    concurrency: 512,
};

/// Calls of kube-scheduler.
pub const EXTENDER: RequestLimits = RequestLimits {
    // With names only, 15,000 nodes are 1 MB; but a scheduler that is misconfigured to send Node objects (10
    // kB each) must get the clear answer that says so, not a broken connection.
    body: 128 * MIB,
    // One scheduler asks, about one pod at a time.
    bodies: 256 * MIB,
    // kube-scheduler gives up after `httpTimeout` (default 5 s, ours 30 s).
    deadline: Duration::from_secs(30),
    // Filters come one after the other, binds run beside them, as many as the scheduler's own rate lets through.
    concurrency: 256,
};

/// Probes and metrics.
pub const ADMIN: RequestLimits = RequestLimits {
    // Nobody sends one.
    body: 4096,
    bodies: 64 * 1024,
    deadline: Duration::from_secs(5),
    // Probes, a few scrapers, a person.
    concurrency: 16,
};

/// What one connection may cost, and how many there may be; the same for every listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at once; a further one takes the place of the one that has been quiet the longest.
    pub connections: usize,
    /// Most time for a TLS handshake.
    pub handshake: Duration,
    /// Most time from an open connection to its first complete request head: port scanners and slow writers.
    pub first_request: Duration,
    /// Most time from an answer to the next complete request head.
    pub idle: Duration,
    /// Most time for a connection that was asked to close.
    pub closing: Duration,
}

/// For all listeners.
pub const CONNECTIONS: ConnectionLimits = ConnectionLimits {
    // An API server opens one per review in flight; three of them at 200 each and head room, at about 30 kB.
    connections: 1024,
    // Go's own TLSHandshakeTimeout, on the other side of the same handshake.
    handshake: Duration::from_secs(10),
    first_request: Duration::from_secs(10),
    // Go's clients drop idle connections after 90 s. It must be they who do: a server that closes first loses
    // the request that is just under way.
    idle: Duration::from_secs(150),
    closing: Duration::from_secs(5),
};

/// Most bytes that an HTTP/1.1 connection buffers, and with that of a request head. API server and scheduler
/// send heads below 1 kB; a smaller buffer would cost the megabyte of a large filter call more reads, hyper's own
/// of 400 kB would let a thousand connections hold 400 MB.
pub const HTTP1_BUFFER: usize = 128 * 1024;

/// Most bytes of a request head over HTTP/2: hyper's default, which is enough.
pub const HTTP2_HEAD: u32 = 16 * 1024;

/// How often an HTTP/2 connection is asked whether it lives, and how long it may take to say so: half of Go's
/// idle time, so that dead peers do not hold places until [`ConnectionLimits::idle`].
pub const PING: (Duration, Duration) = (Duration::from_secs(45), Duration::from_secs(15));

const MIB: usize = 1024 * 1024;

/// `router` behind `limits`: complete bodies only, a deadline, at most so many at once, and a panic that costs
/// one answer instead of the connection. Unknown paths and methods get a JSON answer.
pub fn guarded(
    router: Router,
    listener: ListenerName,
    limits: RequestLimits,
    metrics: Arc<Metrics>,
) -> Router {
    let guard = Guard {
        listener,
        limits,
        running: Arc::new(Semaphore::new(limits.concurrency)),
        bytes: Arc::new(Semaphore::new(limits.bodies)),
        metrics,
    };
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        // axum's own limit of 2 MB would refuse what ours let through.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(guard, pass))
}

#[derive(Clone)]
struct Guard {
    listener: ListenerName,
    limits: RequestLimits,
    running: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + guard.limits.deadline;
    let (head, body) = request.into_parts();
    let (body, _bytes) = match timeout_at(deadline, guard.complete(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return guard.reject(&refusal),
        Err(_elapsed) => return guard.reject(&Refusal::late_body(guard.limits.deadline)),
    };
    // Only now: who sends slowly keeps nobody else from being answered.
    let Ok(_place) = guard.running.try_acquire() else {
        return guard.reject(&Refusal::shed());
    };
    let answer = next.run(Request::from_parts(head, Body::from(body)));
    // Handlers take what they share by snapshot or behind locks that a panic poisons; nothing of a broken
    // request is seen by the next one.
    let answer = AssertUnwindSafe(answer).catch_unwind();
    match timeout_at(deadline, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_panic)) => {
            guard.metrics.panic();
            guard.reject(&Refusal::panic())
        }
        Err(_elapsed) => guard.reject(&Refusal::late_answer(guard.limits.deadline)),
    }
}

impl Guard {
    /// The whole body, and its share of all bodies' bytes; one that announces too much is refused before it is read.
    async fn complete(&self, mut body: Body) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Refusal> {
        let limit = self.limits.body;
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(Refusal::too_large(limit));
        }
        let (mut pieces, mut length) = (Vec::new(), 0_usize);
        let mut share: Option<SemaphorePermit<'_>> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::unreadable(&error.to_string()))?;
            // Trailers say nothing that anybody here asks for.
            let Ok(piece) = frame.into_data() else { continue };
            length = length.saturating_add(piece.len());
            if length > limit {
                return Err(Refusal::too_large(limit));
            }
            let more = u32::try_from(piece.len()).map_err(|_| Refusal::too_large(limit))?;
            let more = self.bytes.try_acquire_many(more).map_err(|_| Refusal::shed())?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            pieces.push(piece);
        }
        // Most bodies come in one piece.
        let whole = match pieces.len() {
            1 => pieces.pop().unwrap_or_default(),
            _ => pieces.concat().into(),
        };
        Ok((whole, share))
    }

    fn reject(&self, refusal: &Refusal) -> Response {
        self.metrics.http_rejection(self.listener, refusal.reason);
        warn!(
            { key::LISTENER } = %self.listener,
            { key::REASON } = %refusal.reason,
            { key::ERROR } = refusal.text,
            "request rejected"
        );
        answer::error(refusal.status, &refusal.text)
    }
}

/// A request that a limit stopped.
struct Refusal {
    status: StatusCode,
    reason: Rejection,
    text: String,
}

impl Refusal {
    fn shed() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            reason: Rejection::Shed,
            text: "too many requests at once; try again".to_owned(),
        }
    }

    fn too_large(limit: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            reason: Rejection::BodyTooLarge,
            text: format!("the body is larger than {limit} bytes"),
        }
    }

    fn unreadable(error: &str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            reason: Rejection::BodyUnreadable,
            text: format!("the body cannot be read: {error}"),
        }
    }

    fn late_body(deadline: Duration) -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            reason: Rejection::Deadline,
            text: format!("the body did not arrive within {deadline:?}"),
        }
    }

    fn late_answer(deadline: Duration) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            reason: Rejection::Deadline,
            text: format!("no answer was ready within {deadline:?}"),
        }
    }

    fn panic() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: Rejection::Panic,
            text: "a bug in Pointsman stopped this request; the log has the place".to_owned(),
        }
    }
}

async fn unknown_path(uri: Uri) -> Response {
    answer::error(
        StatusCode::NOT_FOUND,
        &format!("nothing is served at {}", uri.path()),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    answer::error(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!("{} does not take {method}", uri.path()),
    )
}
