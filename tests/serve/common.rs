//! A server on loopback, a client that sees every byte, and the real binary as a process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use pointsman::serve::limits::{self, ConnectionLimits, RequestLimits, guarded};
use pointsman::serve::listen::Listener;
use pointsman::telemetry::label::ListenerName;
use pointsman::telemetry::metrics::Metrics;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Nothing on loopback takes this long; a test that waits for it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A listener of ours serving a router in this process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

impl Server {
    /// With the limits of the webhook.
    pub(crate) async fn start(router: Router) -> Self {
        Self::with(router, limits::WEBHOOK, limits::CONNECTIONS, None).await
    }

    pub(crate) async fn with(
        router: Router,
        requests: RequestLimits,
        connections: ConnectionLimits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let listener = Listener::bind(ListenerName::Webhook, "127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let listener = match tls {
            Some(config) => listener.with_tls(config),
            None => listener,
        };
        let listener = listener.with_limits(connections);
        let address = listener.address();
        let stop = CancellationToken::new();
        let router = guarded(router, ListenerName::Webhook, requests, Arc::clone(&metrics));
        let served = tokio::spawn(listener.serve(router, stop.clone()));
        Self {
            address,
            metrics,
            stop,
            served,
        }
    }

    pub(crate) async fn connect(&self) -> Connection<TcpStream> {
        Connection::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// The value of a metric, by its whole line up to the value.
    pub(crate) fn metric(&self, name: &str) -> String {
        value(&self.metrics.exposition().unwrap(), name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// The value of the metric `name`, labels included, in an exposition.
pub(crate) fn value(exposition: &str, name: &str) -> String {
    let line = exposition
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or("absent").to_owned()
}

/// An HTTP/1.1 connection, written and read by hand.
pub(crate) struct Connection<S>(pub(crate) S);

/// An answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(stream)
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body].concat()).await;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.answer().await
    }

    /// Reads one answer, which must say how long it is and be no longer.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer()
            .await
            .expect("the connection ended before an answer")
    }

    /// As [`Self::answer`], or none when the connection ends instead.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end;
            }
            self.more(&mut bytes).await?;
        };
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body };
        let length: usize = answer
            .header("content-length")
            .unwrap_or_else(|| panic!("no content-length: {}", answer.head))
            .parse()
            .unwrap();
        while answer.body.len() < length {
            self.more(&mut answer.body).await?;
        }
        assert_eq!(
            answer.body.len(),
            length,
            "bytes after the answer: {}",
            answer.text()
        );
        Some(answer)
    }

    /// Whether the peer closes within `time`, having sent nothing more.
    pub(crate) async fn closes_within(&mut self, time: Duration) -> bool {
        let mut byte = [0];
        matches!(
            tokio::time::timeout(time, self.0.read(&mut byte)).await,
            Ok(Ok(0) | Err(_))
        )
    }

    async fn more(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let read = tokio::time::timeout(PATIENCE, self.0.read_buf(bytes)).await;
        match read.expect("no answer in time") {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// A TLS connection that trusts `root` and offers `alpn`; fails as the handshake fails.
pub(crate) async fn tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    tls_with(address, roots, alpn).await
}

/// As [`tls`], with more than one root.
pub(crate) async fn tls_with(
    address: SocketAddr,
    roots: rustls::RootCertStore,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Asks again and again until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(
            start.elapsed() < PATIENCE,
            "{what} did not come true in {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The real binary, running `serve`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Process {
    pub(crate) fn serve(arguments: &[&str], kubeconfig: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.arg("serve").args(arguments).stderr(Stdio::piped());
        if let Some(path) = kubeconfig {
            command.env("KUBECONFIG", path);
        }
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&log);
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap_or(0) > 0 {
                written.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Self { child, log }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The address a listener says it listens on.
    pub(crate) async fn address(&self, listener: &str) -> SocketAddr {
        let said = || {
            let log = self.log();
            log.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let here = line["message"] == "listening" && line["listener"] == listener;
                here.then(|| line["address"].as_str().unwrap().parse().unwrap())
            })
        };
        eventually(&format!("listening of {listener}"), async || said().is_some()).await;
        said().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The exit code, once it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "still running:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _status = self.child.wait();
    }
}
