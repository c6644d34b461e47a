//! Who may look, and who may call: bearer tokens that the API server knows, and client certificates.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use pointsman::serve::limits;
use pointsman::serve::readiness::Readiness;
use pointsman::serve::tls::{self, Certificate, ShownCertificate};
use pointsman::serve::who::{ClusterAuthority, guarded_by};
use pointsman::telemetry::metrics::Metrics;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::{ServiceExt as _, service_fn};

use crate::common::Server;

/// An API server that knows two tokens, and lets one of the two look.
async fn api_server(request: Request<kube::client::Body>) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let status = match path.as_str() {
        "/apis/authentication.k8s.io/v1/tokenreviews" => match asked["spec"]["token"].as_str() {
            Some("ann" | "bob") => {
                json!({"authenticated": true, "user": {"username": asked["spec"]["token"], "groups": ["g"]}})
            }
            Some("broken") => return Ok(Response::builder().status(500).body(Body::empty()).unwrap()),
            _ => json!({"authenticated": false}),
        },
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            assert_eq!(
                asked["spec"]["nonResourceAttributes"],
                json!({"path": "/state", "verb": "get"})
            );
            assert_eq!(asked["spec"]["groups"], json!(["g"]));
            json!({"allowed": asked["spec"]["user"] == "ann"})
        }
        other => panic!("{other}"),
    };
    let mut answer = asked;
    answer["status"] = status;
    Ok(Response::new(Body::from(answer.to_string())))
}

async fn ask(authorization: Option<&str>) -> StatusCode {
    let client = kube::Client::new(service_fn(api_server), "default");
    let routes = Router::new().route("/state", get(async || "seen"));
    let routes = guarded_by(Arc::new(ClusterAuthority(client)), routes);
    let mut request = Request::get("/state");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = routes
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let asks = response.headers().contains_key("www-authenticate");
    assert_eq!(asks, response.status() == StatusCode::UNAUTHORIZED);
    response.status()
}

#[tokio::test]
async fn the_api_server_says_who_may_look() {
    assert_eq!(ask(Some("Bearer ann")).await, StatusCode::OK);
    assert_eq!(ask(Some("Bearer bob")).await, StatusCode::FORBIDDEN);
    for nobody in [
        None,
        Some("Bearer eve"),
        Some("Bearer "),
        Some("Basic YW5u"),
        Some("ann"),
    ] {
        assert_eq!(ask(nobody).await, StatusCode::UNAUTHORIZED, "{nobody:?}");
    }
    let long = format!("Bearer {}", "x".repeat(20_000));
    assert_eq!(ask(Some(&long)).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        ask(Some("Bearer broken")).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "whoever cannot be asked about may not look"
    );
}

/// An authority, and a certificate of it.
fn authority() -> (String, CertificateDer<'static>, PrivateKeyDer<'static>) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let issuer = Issuer::new(parameters, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["kube-apiserver".to_owned()])
        .unwrap()
        .signed_by(&leaf_key, &issuer)
        .unwrap();
    let private = PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap();
    (certificate.pem(), leaf.der().clone(), private)
}

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// The first line of the answer to a request with, or without, a client certificate; none where there is no answer.
async fn call(server: &Server, trusted: &CertificateDer<'static>, shown: Option<Shown>) -> Option<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => config.with_no_client_auth(),
    };
    let socket = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
        .ok()?;
    // With TLS 1.3 a refused certificate shows at the first read.
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await
        .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8(answer).unwrap();
    text.lines().next().map(str::to_owned)
}

#[tokio::test]
async fn the_webhook_answers_only_clients_of_the_authority() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let trusted = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let shown = ShownCertificate::new(
        Readiness::new().condition("certificate"),
        Arc::new(Metrics::new()),
    );
    let certificate = Certificate::from_der(vec![trusted.clone()], key).unwrap();
    shown.show(&certificate, Timestamp::now());
    let (pem, certificate, key) = authority();
    let config = tls::server_config_for_clients_of(Arc::clone(&shown), pem.as_bytes()).unwrap();
    let routes = Router::new().route("/", get(async || "reviewed"));
    let server = Server::with(routes, limits::WEBHOOK, limits::CONNECTIONS, Some(config)).await;

    let answer = call(&server, &trusted, Some((certificate, key))).await;
    assert_eq!(answer.as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(call(&server, &trusted, None).await, None);
    let (_, stranger, key) = authority();
    assert_eq!(call(&server, &trusted, Some((stranger, key))).await, None);

    for (text, why) in [
        ("", "there is no certificate in it"),
        ("-----BEGIN CERTIFICATE-----\n", "not PEM"),
    ] {
        let error = tls::server_config_for_clients_of(Arc::clone(&shown), text.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
