//! `--self-signed-secret` with one and two replicas, on an API server of a few lines that keeps resourceVersions.
//! Time is turned by hand, so minutes pass in milliseconds; what the real API server makes of it is tested on the
//! control plane.

use std::convert::Infallible;
use std::future::pending;
use std::io::BufReader;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use pointsman::config::{CertificateLifetimes, WebhookObjects};
use pointsman::serve::readiness::Readiness;
use pointsman::serve::self_signed::SelfSigned;
use pointsman::serve::self_signed::trust::Trust;
use pointsman::serve::tls::{self, ShownCertificate};
use pointsman::telemetry::metrics::Metrics;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::common::value;

const DAY: Duration = Duration::from_hours(24);
const LIFETIMES: CertificateLifetimes = CertificateLifetimes {
    leaf: Duration::from_hours(24 * 30),
    authority: Duration::from_hours(24 * 300),
};
/// Longer than any wait of the code under test.
const A_WHILE: Duration = Duration::from_secs(30);

/// Of every call, so that what lies between two of them can be seen.
const LATENCY: Duration = Duration::from_millis(200);

/// The two objects, and how often each was written.
#[derive(Clone)]
struct Api {
    objects: Arc<Mutex<Objects>>,
    changes: broadcast::Sender<Value>,
    /// Whether calls are accepted and never answered.
    stalled: Arc<AtomicBool>,
}

#[derive(Default)]
struct Objects {
    version: u64,
    secret: Option<Value>,
    configuration: Option<Value>,
    secret_writes: usize,
    patches: usize,
}

impl Api {
    fn new() -> Self {
        Self {
            objects: Arc::default(),
            changes: broadcast::channel(100).0,
            stalled: Arc::default(),
        }
    }

    fn client(&self) -> kube::Client {
        let stalled = Arc::clone(&self.stalled);
        let configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
        let routes = Router::new()
            .route(
                "/api/v1/namespaces/ns/secrets",
                axum::routing::post(create_secret),
            )
            .route(
                "/api/v1/namespaces/ns/secrets/ca",
                get(read_secret).put(replace_secret),
            )
            .route(configurations, get(list_configurations))
            .route(
                &format!("{configurations}/{{name}}"),
                get(read_configuration).patch(patch_configuration),
            )
            .fallback(async || status(StatusCode::NOT_FOUND))
            .with_state(self.clone())
            .layer(middleware::from_fn(move |request: Request, next: Next| {
                let stalled = stalled.load(Ordering::Relaxed);
                async move {
                    sleep(LATENCY).await;
                    if stalled {
                        pending::<()>().await;
                    }
                    next.run(request).await
                }
            }));
        kube::Client::new(routes, "default")
    }

    fn with<T>(&self, see: impl FnOnce(&mut Objects) -> T) -> T {
        see(&mut self.objects.lock().unwrap())
    }

    /// As `kubectl apply` of a manifest does it: the bundle is gone.
    fn apply_configuration(&self) {
        let applied = self.with(|objects| {
            let name = json!({"name": "pods.pointsman.io", "clientConfig": {"service": {"name": "s", "namespace": "ns"}},
                "admissionReviewVersions": ["v1"], "sideEffects": "None"});
            let configuration = json!({
                "metadata": {"name": "pointsman"}, "webhooks": [name.clone(), name],
            });
            objects.store_configuration(configuration)
        });
        let _nobody_watches = self.changes.send(applied);
    }

    fn store_secret(&self, entries: &Value, labels: &Value) {
        self.with(|objects| {
            objects.version += 1;
            let version = objects.version.to_string();
            objects.secret = Some(json!({
                "metadata": {"name": "ca", "namespace": "ns", "resourceVersion": version, "labels": labels},
                "data": entries,
            }));
        });
    }

    /// The certificate of the CA in the Secret.
    fn authority(&self) -> String {
        self.with(|objects| entry(objects.secret.as_ref().unwrap(), "ca.crt"))
    }

    /// The bundle that all webhooks have; empty when they differ or have none.
    fn bundle(&self) -> String {
        self.with(|objects| {
            let webhooks = &objects.configuration.as_ref().unwrap()["webhooks"];
            let of = |index: usize| webhooks[index]["clientConfig"]["caBundle"].clone();
            let bundle = of(0);
            if bundle != of(1) {
                return String::new();
            }
            bundle.as_str().map(decoded).unwrap_or_default()
        })
    }

    fn writes(&self) -> (usize, usize) {
        self.with(|objects| (objects.secret_writes, objects.patches))
    }
}

impl Objects {
    fn store_configuration(&mut self, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.configuration = Some(object.clone());
        object
    }
}

fn decoded(base64: &str) -> String {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(json!(base64)).unwrap();
    String::from_utf8(bytes.0).unwrap()
}

fn entry(secret: &Value, name: &str) -> String {
    decoded(secret["data"][name].as_str().unwrap())
}

fn status(code: StatusCode) -> Response {
    let reason = match code {
        StatusCode::NOT_FOUND => "NotFound",
        StatusCode::CONFLICT => "Conflict",
        _ => "Invalid",
    };
    let body = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "message": reason, "reason": reason});
    (code, Json(body)).into_response()
}

async fn read_secret(State(api): State<Api>) -> Response {
    let secret = api.with(|objects| objects.secret.clone());
    secret.map_or_else(
        || status(StatusCode::NOT_FOUND),
        |secret| Json(secret).into_response(),
    )
}

async fn create_secret(State(api): State<Api>, Json(mut secret): Json<Value>) -> Response {
    api.with(|objects| {
        if objects.secret.is_some() {
            return status(StatusCode::CONFLICT);
        }
        objects.version += 1;
        objects.secret_writes += 1;
        secret["metadata"]["resourceVersion"] = json!(objects.version.to_string());
        objects.secret = Some(secret.clone());
        Json(secret).into_response()
    })
}

async fn replace_secret(State(api): State<Api>, Json(mut secret): Json<Value>) -> Response {
    api.with(|objects| {
        let stored = objects
            .secret
            .as_ref()
            .map(|stored| &stored["metadata"]["resourceVersion"]);
        if stored != Some(&secret["metadata"]["resourceVersion"]) {
            return status(StatusCode::CONFLICT);
        }
        objects.version += 1;
        objects.secret_writes += 1;
        secret["metadata"]["resourceVersion"] = json!(objects.version.to_string());
        objects.secret = Some(secret.clone());
        Json(secret).into_response()
    })
}

async fn read_configuration(State(api): State<Api>, Path(name): Path<String>) -> Response {
    assert_eq!(name, "pointsman");
    let found = api.with(|objects| objects.configuration.clone());
    found.map_or_else(
        || status(StatusCode::NOT_FOUND),
        |found| Json(found).into_response(),
    )
}

async fn patch_configuration(State(api): State<Api>, Json(patch): Json<json_patch::Patch>) -> Response {
    let patched = api.with(|objects| {
        let mut object = objects.configuration.clone()?;
        json_patch::patch(&mut object, &patch).ok()?;
        objects.patches += 1;
        Some(objects.store_configuration(object))
    });
    let Some(patched) = patched else {
        return status(StatusCode::UNPROCESSABLE_ENTITY);
    };
    let _nobody_watches = api.changes.send(patched.clone());
    Json(patched).into_response()
}

#[derive(serde::Deserialize)]
struct ListQuery {
    watch: Option<String>,
    #[serde(rename = "fieldSelector")]
    field_selector: Option<String>,
}

async fn list_configurations(State(api): State<Api>, Query(query): Query<ListQuery>) -> Response {
    assert_eq!(query.field_selector.as_deref(), Some("metadata.name=pointsman"));
    if query.watch.is_none() {
        let items: Vec<Value> = api.with(|objects| objects.configuration.clone().into_iter().collect());
        return Json(json!({"metadata": {"resourceVersion": "1"}, "items": items})).into_response();
    }
    let changes = futures::stream::unfold(api.changes.subscribe(), |mut changes| async {
        let object = changes.recv().await.ok()?;
        let event = format!("{}\n", json!({"type": "MODIFIED", "object": object}));
        Some((Ok::<_, Infallible>(Bytes::from(event)), changes))
    });
    Body::from_stream(changes).into_response()
}

/// One process.
struct Replica {
    shown: Arc<ShownCertificate>,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    end: CancellationToken,
}

impl Replica {
    fn start(api: &Api) -> Self {
        Self::start_with(api, LIFETIMES)
    }

    fn start_with(api: &Api, lifetimes: CertificateLifetimes) -> Self {
        let readiness = Readiness::new();
        let metrics = Arc::new(Metrics::new());
        let shown = ShownCertificate::new(
            readiness.condition("a certificate is loaded"),
            Arc::clone(&metrics),
        );
        let end = CancellationToken::new();
        let kept = SelfSigned {
            client: api.client(),
            secret: "ns/ca".parse().unwrap(),
            objects: WebhookObjects {
                configuration_name: "pointsman".to_owned(),
                service_name: "hook".to_owned(),
            },
            lifetimes,
            shown: Arc::clone(&shown),
            trusted: readiness.condition("the webhook configuration trusts the certificate"),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(kept.keep(end.clone()));
        Self {
            shown,
            readiness,
            metrics,
            end,
        }
    }

    /// Whether a client that trusts `bundle` takes what is shown, under a name the API server uses.
    async fn is_trusted_by(&self, bundle: &str) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        for root in rustls::pki_types::CertificateDer::pem_reader_iter(BufReader::new(bundle.as_bytes())) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let acceptor = tokio_rustls::TlsAcceptor::from(tls::server_config(Arc::clone(&self.shown)).unwrap());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let (near, far) = tokio::io::duplex(100_000);
        let name = ServerName::try_from("hook.ns.svc").unwrap();
        let (client, _server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        client.is_ok()
    }

    fn failures(&self) -> String {
        let name = "pointsman_certificate_reload_failures_total";
        value(&self.metrics.exposition().unwrap(), name)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// A CA that was made `age` ago.
fn authority_of_age(age: Duration) -> Trust {
    let made = Timestamp::now().checked_sub(age).unwrap();
    Trust::new(None, made, LIFETIMES.authority).unwrap()
}

fn entries(trust: &Trust) -> Value {
    serde_json::to_value(trust.entries()).unwrap()
}

fn our_mark() -> Value {
    json!({"pointsman.io/authority": "self-signed"})
}

#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_share_one_authority_and_then_rest() {
    let api = Api::new();
    api.apply_configuration();
    let replicas = [Replica::start(&api), Replica::start(&api), Replica::start(&api)];
    sleep(A_WHILE).await;
    for replica in &replicas {
        assert!(replica.readiness.is_ready(), "{:?}", replica.readiness.unmet());
        assert!(replica.is_trusted_by(&api.bundle()).await);
    }
    assert_eq!(api.bundle(), api.authority() + "\n");
    let (secret_writes, patches) = api.writes();
    assert_eq!(secret_writes, 1);
    assert!((1..=3).contains(&patches), "{patches}");
    sleep(A_WHILE * 20).await;
    assert_eq!(api.writes(), (secret_writes, patches), "they write without need");
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_applied_anew_has_its_bundle_back() {
    let api = Api::new();
    let replica = Replica::start(&api);
    sleep(A_WHILE).await;
    assert!(
        replica.readiness.is_ready(),
        "without a configuration nobody calls"
    );
    for _ in 0..3 {
        api.apply_configuration();
        assert_eq!(api.bundle(), "");
        // Not only at the next look, which may be five seconds away.
        sleep(LATENCY * 8).await;
        assert!(replica.is_trusted_by(&api.bundle()).await, "{}", api.bundle());
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_at_two_thirds_of_its_life_is_renewed_once() {
    let api = Api::new();
    api.apply_configuration();
    api.store_secret(&entries(&authority_of_age(DAY * 201)), &our_mark());
    let old = api.authority();
    let replicas = [Replica::start(&api), Replica::start(&api)];
    sleep(A_WHILE).await;
    let new = api.authority();
    assert_ne!(new, old);
    assert_eq!(api.bundle(), format!("{new}\n{old}\n"));
    assert_eq!(api.writes().0, 1);
    for replica in &replicas {
        assert!(replica.is_trusted_by(&new).await);
        assert_eq!(replica.failures(), "0");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_by_another_replica_passes_without_a_moment_of_distrust() {
    let api = Api::new();
    api.apply_configuration();
    let old = authority_of_age(DAY * 199);
    api.store_secret(&entries(&old), &our_mark());
    let replicas = [Replica::start(&api), Replica::start(&api)];
    sleep(A_WHILE).await;
    let root = old.authority.root().clone();
    let new = Trust::new(Some(root.clone()), Timestamp::now(), LIFETIMES.authority).unwrap();
    api.store_secret(&entries(&new), &our_mark());
    // Within one look of each (5 s), the settling of the bundle (5 s) and a few calls, all leaves are new.
    for _ in 0..260 {
        sleep(LATENCY / 4).await;
        let bundle = api.bundle();
        for replica in &replicas {
            assert!(replica.is_trusted_by(&bundle).await, "distrusted with {bundle}");
        }
    }
    assert_eq!(
        api.bundle(),
        String::from_utf8(new.bundle(Timestamp::now())).unwrap()
    );
    for replica in &replicas {
        assert!(
            replica.is_trusted_by(new.authority.root().pem()).await,
            "still signed by the old one"
        );
        assert!(!replica.is_trusted_by(root.pem()).await);
        assert_eq!(replica.failures(), "0");
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_disappears_is_written_again_as_it_was() {
    let api = Api::new();
    api.apply_configuration();
    let replica = Replica::start(&api);
    sleep(A_WHILE).await;
    let (authority, bundle) = (api.authority(), api.bundle());
    api.with(|objects| objects.secret = None);
    sleep(A_WHILE).await;
    assert_eq!((api.authority(), api.bundle()), (authority, bundle));
    assert_eq!(replica.failures(), "0");
}

#[tokio::test(start_paused = true)]
async fn an_empty_secret_is_filled_and_keeps_what_others_wrote_on_it() {
    let api = Api::new();
    api.apply_configuration();
    api.store_secret(&json!({}), &json!({"app.kubernetes.io/managed-by": "Helm"}));
    let replica = Replica::start(&api);
    sleep(A_WHILE).await;
    assert!(replica.readiness.is_ready());
    let labels = api.with(|objects| objects.secret.clone().unwrap()["metadata"]["labels"].clone());
    assert_eq!(
        labels,
        json!({"app.kubernetes.io/managed-by": "Helm", "pointsman.io/authority": "self-signed"})
    );
}

#[tokio::test(start_paused = true)]
async fn damage_is_mended_only_where_the_secret_is_ours() {
    for (mark, mended) in [(our_mark(), true), (json!({}), false)] {
        let api = Api::new();
        api.apply_configuration();
        api.store_secret(&json!({"ca.crt": "anVuaw==", "ca.key": "anVuaw=="}), &mark);
        let replica = Replica::start(&api);
        sleep(A_WHILE).await;
        assert_eq!(replica.readiness.is_ready(), mended, "{mark}");
        assert_eq!(api.writes().0 > 0, mended, "{mark}");
        assert_eq!(replica.failures() != "0", !mended, "{mark}");
    }
}

/// In real time, because a leaf goes by the wall clock.
#[tokio::test]
async fn a_leaf_is_renewed_in_time_while_the_api_server_does_not_answer() {
    let api = Api::new();
    api.apply_configuration();
    let lifetimes = CertificateLifetimes {
        leaf: Duration::from_secs(3),
        ..LIFETIMES
    };
    let replica = Replica::start_with(&api, lifetimes);
    while !replica.readiness.is_ready() {
        sleep(LATENCY).await;
    }
    let bundle = api.bundle();
    api.stalled.store(true, Ordering::Relaxed);
    // All that was issued before the stall is over then.
    sleep(lifetimes.leaf + LATENCY * 2).await;
    let trusted = async {
        while !replica.is_trusted_by(&bundle).await {
            sleep(LATENCY).await;
        }
    };
    timeout(A_WHILE, trusted).await.expect("the leaf has expired");
}
