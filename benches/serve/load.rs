//! The load: requests whose bytes are made beforehand, over HTTP/1.1 written by hand or HTTP/2 by hyper, each timed
//! from its first byte out to its last byte in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) path: &'static str,
}

impl Target {
    pub(crate) fn new(
        address: SocketAddr,
        path: &'static str,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Self {
        Self {
            address,
            tls: tls.cloned(),
            path,
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// One per answered request, sorted.
    pub(crate) times: Vec<Duration>,
    pub(crate) took: Duration,
    pub(crate) last_answer: Vec<u8>,
}

impl Run {
    pub(crate) fn percentile(&self, of: usize) -> Duration {
        let at = (self.times.len() * of).div_ceil(100).saturating_sub(1);
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// Posts the bodies by HTTP/2 or by HTTP/1.1.
pub(crate) async fn post(
    target: &Target,
    bodies: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    h2: bool,
    length: Duration,
) -> Run {
    if h2 {
        let mut config = rustls::ClientConfig::clone(target.tls.as_ref().expect("over TLS"));
        config.alpn_protocols = vec![b"h2".to_vec()];
        let target = Target {
            tls: Some(Arc::new(config)),
            ..target.clone()
        };
        http2(&target, bodies, connections, length).await
    } else {
        http1(target, bodies, connections, length).await
    }
}

/// Posts the bodies in turn over so many HTTP/1.1 connections, each one request after another, for so long.
pub(crate) async fn http1(
    target: &Target,
    bodies: &Arc<Vec<Vec<u8>>>,
    connections: usize,
    length: Duration,
) -> Run {
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(bodies.iter().map(|body| request(target, body)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        streams.push(connect(target).await);
    }
    let began = Instant::now();
    let until = began + length;
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
            tokio::spawn(async move {
                let (mut times, mut answer) = (Vec::new(), Vec::new());
                while Instant::now() < until {
                    let request = &requests[next.fetch_add(1, Ordering::Relaxed) % requests.len()];
                    let sent = Instant::now();
                    exchange(&mut stream, request, &mut answer).await;
                    times.push(sent.elapsed());
                }
                (times, answer)
            })
        })
        .collect();
    finish(tasks, began).await
}

/// The same over so many streams of one HTTP/2 connection.
pub(crate) async fn http2(
    target: &Target,
    bodies: &Arc<Vec<Vec<u8>>>,
    streams: usize,
    length: Duration,
) -> Run {
    let stream = connect(target).await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("the server speaks HTTP/2");
    tokio::spawn(connection);
    let bodies: Arc<Vec<Bytes>> = Arc::new(bodies.iter().map(|body| Bytes::from(body.clone())).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let until = began + length;
    let uri = format!("https://localhost{}", target.path);
    let tasks: Vec<_> = (0..streams)
        .map(|_| {
            let (bodies, next, mut sender, uri) = (
                Arc::clone(&bodies),
                Arc::clone(&next),
                sender.clone(),
                uri.clone(),
            );
            tokio::spawn(async move {
                let (mut times, mut answer) = (Vec::new(), Vec::new());
                while Instant::now() < until {
                    let body = bodies[next.fetch_add(1, Ordering::Relaxed) % bodies.len()].clone();
                    let sent = Instant::now();
                    let request = hyper::Request::post(&uri)
                        .header("content-type", "application/json")
                        .body(Full::new(body))
                        .expect("a request");
                    let response = sender.send_request(request).await.expect("an answer");
                    assert_eq!(response.status(), 200, "{uri}");
                    answer = response
                        .into_body()
                        .collect()
                        .await
                        .expect("a body")
                        .to_bytes()
                        .to_vec();
                    times.push(sent.elapsed());
                }
                (times, answer)
            })
        })
        .collect();
    finish(tasks, began).await
}

type Task = tokio::task::JoinHandle<(Vec<Duration>, Vec<u8>)>;

async fn finish(tasks: Vec<Task>, began: Instant) -> Run {
    let mut run = Run::default();
    for task in tasks {
        let (times, answer) = task.await.expect("the load does not panic");
        run.times.extend(times);
        run.last_answer = answer;
    }
    run.took = began.elapsed();
    run.times.sort_unstable();
    run
}

/// A stream with or without TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(crate) async fn connect(target: &Target) -> Box<dyn Stream> {
    let stream = TcpStream::connect(target.address)
        .await
        .expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    match &target.tls {
        None => Box::new(stream),
        Some(config) => {
            let name = ServerName::try_from("localhost").expect("a name");
            Box::new(
                TlsConnector::from(Arc::clone(config))
                    .connect(name, stream)
                    .await
                    .expect("a handshake"),
            )
        }
    }
}

pub(crate) fn request(target: &Target, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        target.path,
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// One request and its answer, whose body is left in `answer`.
pub(crate) async fn exchange(stream: &mut Box<dyn Stream>, request: &[u8], answer: &mut Vec<u8>) {
    stream.write_all(request).await.expect("the connection stays");
    answer.clear();
    let head = loop {
        let read = stream.read_buf(answer).await.expect("the connection stays");
        assert!(read > 0, "the server closed the connection");
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&answer[..head])
        .expect("a head is text")
        .to_ascii_lowercase();
    assert!(
        text.starts_with("http/1.1 200"),
        "{text}{}",
        String::from_utf8_lossy(&answer[head..])
    );
    if text.contains("transfer-encoding: chunked") {
        // What the Go server sends when it does not know the length beforehand.
        while !answer[head..].ends_with(b"0\r\n\r\n") {
            let read = stream.read_buf(answer).await.expect("the connection stays");
            assert!(read > 0, "the server closed the connection");
        }
        let body = whole(&answer[head..]);
        *answer = body;
        return;
    }
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.trim().parse().ok())
        .expect("every answer has a length");
    while answer.len() < head + length {
        let read = stream.read_buf(answer).await.expect("the connection stays");
        assert!(read > 0, "the server closed the connection");
    }
    answer.drain(..head);
}

/// A body out of its chunks.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(chunks.len());
    loop {
        let end = chunks
            .windows(2)
            .position(|bytes| bytes == b"\r\n")
            .expect("a chunk begins with its length");
        let length = std::str::from_utf8(&chunks[..end]).expect("a length is text");
        let length = usize::from_str_radix(length, 16).expect("a length is hexadecimal");
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + length]);
        chunks = &chunks[end + 2 + length + 2..];
    }
}

/// A certificate for `localhost` in files, and a client that trusts it.
pub(crate) fn certificate(folder: &Path) -> Arc<rustls::ClientConfig> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).expect("a file");
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).expect("a file");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
