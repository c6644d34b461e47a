//! Stands between the real API server and scheduler and our program, and keeps every body that they send.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::certs::Leaf;
use crate::harness::http;
use crate::harness::ports;
use crate::harness::tls;

/// Path and body of each request, in the order they came.
type Requests = Arc<Mutex<Vec<(String, Bytes)>>>;

#[derive(Clone)]
struct Way {
    requests: Requests,
    authority: String,
    /// The program's own port.
    to: u16,
    encrypted: bool,
}

pub(crate) struct Recorder {
    requests: Requests,
    /// The port that the API server is to call.
    pub(crate) webhook: u16,
    /// The port that the scheduler is to call.
    pub(crate) extender: u16,
}

impl Recorder {
    /// Listens for both, and passes everything on to the program's ports.
    pub(crate) async fn start(authority: &str, leaf: &Leaf, to_webhook: u16, to_extender: u16) -> Self {
        let requests = Requests::default();
        let way = |to, encrypted| Way {
            requests: Arc::clone(&requests),
            authority: authority.to_owned(),
            to,
            encrypted,
        };
        let [webhook, extender] = [ports::free(), ports::free()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, webhook)).await.unwrap();
        tokio::spawn(serve_tls(listener, acceptor(leaf), router(way(to_webhook, true))));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, extender)).await.unwrap();
        tokio::spawn(serve_plain(listener, router(way(to_extender, false))));
        Self {
            requests,
            webhook,
            extender,
        }
    }

    /// The bodies that came to one path.
    pub(crate) fn bodies(&self, path: &str) -> Vec<Bytes> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|(to, _)| to == path)
            .map(|(_, body)| body.clone())
            .collect()
    }
}

fn router(way: Way) -> Router {
    Router::new().fallback(pass_on).with_state(way)
}

async fn pass_on(State(way): State<Way>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = head.uri.path().to_owned();
    way.requests.lock().unwrap().push((path, body.clone()));

    let mut onward = Request::post(head.uri.path_and_query().unwrap().as_str());
    onward = onward
        .header("Host", "127.0.0.1")
        .header("Content-Type", "application/json");
    let onward = onward.body(body).unwrap();
    let answer = match TcpStream::connect((Ipv4Addr::LOCALHOST, way.to)).await {
        Err(error) => Err(error.to_string()),
        Ok(stream) if way.encrypted => match tls::connect(&way.authority, stream).await {
            Ok(stream) => http::send(stream, onward).await,
            Err(error) => Err(error),
        },
        Ok(stream) => http::send(stream, onward).await,
    };
    match answer {
        Ok(answer) => answer.map(Body::from),
        Err(error) => Response::builder()
            .status(StatusCode::BAD_GATEWAY)
            .body(Body::from(error))
            .unwrap(),
    }
}

async fn serve_plain(listener: TcpListener, router: Router) {
    axum::serve(listener, router).await.unwrap();
}

async fn serve_tls(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
    }
}

fn acceptor(leaf: &Leaf) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
