//! A stand-in for the API server: it lists and watches the generated cluster, takes Bindings, and counts what it was
//! asked. The real one is in the control-plane tests; here it must be cheap, because it shares its core with the load.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::world::Size;

/// The stand-in while it runs.
#[derive(Clone)]
pub(crate) struct Api(Arc<Shared>);

struct Shared {
    size: Size,
    address: SocketAddr,
    watchers: Mutex<HashMap<String, Vec<mpsc::UnboundedSender<Bytes>>>>,
    requests: AtomicU64,
    bound: AtomicU64,
    lists: Mutex<Option<(Instant, Instant)>>,
}

impl Api {
    /// Starts it on a port of its own.
    pub(crate) async fn start(size: Size) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let api = Self(Arc::new(Shared {
            size,
            address: socket.local_addr().expect("bound"),
            watchers: Mutex::default(),
            requests: AtomicU64::new(0),
            bound: AtomicU64::new(0),
            lists: Mutex::new(None),
        }));
        let routes = Router::new().fallback(any).with_state(api.clone());
        tokio::spawn(async move { axum::serve(socket, routes).await.expect("serves until the end") });
        api
    }

    /// A kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: bench\nclusters:\n- name: bench\n  cluster: {{ server: \"http://{}\" }}\ncontexts:\n- name: bench\n  context: {{ cluster: bench, user: bench }}\nusers:\n- name: bench\n  user: {{}}\n",
            self.0.address
        )
    }

    /// Requests so far; watches that are open count once.
    pub(crate) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::Relaxed)
    }

    /// Bindings so far.
    pub(crate) fn bound(&self) -> u64 {
        self.0.bound.load(Ordering::Relaxed)
    }

    /// When the first list was answered whole, and when the last.
    pub(crate) fn lists(&self) -> Option<(Instant, Instant)> {
        *self.0.lists.lock().expect("nobody panics with it")
    }

    /// Tells everyone who watches the collection that an object changed.
    pub(crate) fn tell(&self, path: &str, object: &str) {
        let line = Bytes::from(format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n"));
        let mut watchers = self.0.watchers.lock().expect("nobody panics with it");
        if let Some(watchers) = watchers.get_mut(path) {
            watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
        }
    }
}

async fn any(
    State(api): State<Api>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    api.0.requests.fetch_add(1, Ordering::Relaxed);
    let path = uri.path();
    if method != Method::GET {
        if path.ends_with("/binding") {
            api.0.bound.fetch_add(1, Ordering::Relaxed);
        }
        return json(
            StatusCode::CREATED,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}"#,
        );
    }
    let Some(count) = api.0.size.count(path) else {
        return json(
            StatusCode::NOT_FOUND,
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not found","reason":"NotFound","code":404}"#,
        );
    };
    if query
        .get("watch")
        .is_some_and(|watch| watch == "true" || watch == "1")
    {
        let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
        api.0
            .watchers
            .lock()
            .expect("nobody panics with it")
            .entry(path.to_owned())
            .or_default()
            .push(sender);
        let lines = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver
                .recv()
                .await
                .map(|line| (Ok::<_, Infallible>(line), receiver))
        });
        return (
            [(header::CONTENT_TYPE, "application/json")],
            Body::from_stream(lines.boxed()),
        )
            .into_response();
    }
    let number = |key: &str| query.get(key).and_then(|value| value.parse::<usize>().ok());
    let from = number("continue").unwrap_or(0);
    let to = number("limit").map_or(count, |limit| count.min(from + limit));
    let next = if to < count {
        format!(r#","continue":"{to}","remainingItemCount":{}"#, count - to)
    } else {
        String::new()
    };
    let mut body =
        format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"1"{next}}},"items":["#);
    for index in from..to {
        if index > from {
            body.push(',');
        }
        body.push_str(&api.0.size.object(path, index));
    }
    body.push_str("]}");
    if to == count {
        let now = Instant::now();
        let mut lists = api.0.lists.lock().expect("nobody panics with it");
        let (first, _) = lists.unwrap_or((now, now));
        *lists = Some((first, now));
    }
    json(StatusCode::OK, body)
}

fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}
