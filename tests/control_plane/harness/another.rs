//! An extender that is not ours: it refuses with the texts that a test wants, or takes the bind verb as GPU sharers do.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::api::{Api, PODS};
use super::ports;

/// What it says of a node, given how often it was asked; none lets all nodes pass.
type Says = fn(usize) -> Option<String>;

/// A running one.
#[derive(Clone)]
pub(crate) struct Another {
    says: Says,
    asked: Arc<AtomicUsize>,
    bound: Arc<Mutex<Vec<String>>>,
    api: Api,
    port: u16,
}

impl Another {
    pub(crate) async fn start(api: &Api, says: Says) -> Self {
        let port = ports::free();
        let another = Self {
            says,
            asked: Arc::default(),
            bound: Arc::default(),
            api: api.clone(),
            port,
        };
        let router = Router::new()
            .route("/filter", post(filter))
            .route("/bind", post(bind))
            .with_state(another.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        another
    }

    /// How often it was asked to filter.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The pods that it bound.
    pub(crate) fn bound(&self) -> Vec<String> {
        self.bound.lock().unwrap().clone()
    }

    /// Its place in a scheduler's configuration.
    pub(crate) fn stanza(&self, resource: &str, binds: bool) -> Value {
        let mut stanza = json!({
            "urlPrefix": format!("http://127.0.0.1:{}", self.port),
            "filterVerb": "filter", "nodeCacheCapable": true, "enableHTTPS": false, "httpTimeout": "5s",
            "managedResources": [{"name": resource, "ignoredByScheduler": false}], "ignorable": false,
        });
        if binds {
            stanza["bindVerb"] = json!("bind");
        }
        stanza
    }
}

async fn filter(State(another): State<Another>, Json(args): Json<Value>) -> Json<Value> {
    let asked = another.asked.fetch_add(1, Ordering::SeqCst);
    Json(match (another.says)(asked) {
        None => json!({"NodeNames": args["NodeNames"], "Error": ""}),
        Some(text) => {
            let names = args["NodeNames"].as_array().unwrap().iter();
            let refused: serde_json::Map<String, Value> = names
                .map(|name| (name.as_str().unwrap().to_owned(), json!(text)))
                .collect();
            json!({"NodeNames": [], "FailedAndUnresolvableNodes": refused, "Error": ""})
        }
    })
}

async fn bind(State(another): State<Another>, Json(args): Json<Value>) -> Json<Value> {
    let text = |key: &str| args[key].as_str().unwrap().to_owned();
    let (pod, node) = (text("PodName"), text("Node"));
    let binding = json!({
        "metadata": {"name": pod, "namespace": text("PodNamespace"), "uid": text("PodUID")},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    let at = PODS.within(&text("PodNamespace")).named(&pod);
    let error = match another.api.bind(&at, binding).await {
        Ok(_) => {
            another.bound.lock().unwrap().push(pod);
            String::new()
        }
        Err(refused) => refused.message,
    };
    Json(json!({"Error": error}))
}
