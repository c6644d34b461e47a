//! Certificates over real sockets: rotation as the kubelet does it, half a rotation, and junk.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use pointsman::serve::limits::{CONNECTIONS, ConnectionLimits, WEBHOOK};
use pointsman::serve::readiness::Readiness;
use pointsman::serve::tls::{self, ShownCertificate};
use pointsman::serve::tls_directory;
use pointsman::telemetry::metrics::Metrics;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::common::{Connection, PATIENCE, Server, eventually, tls, tls_with, value};

/// A certificate that is its own CA.
struct Pair {
    root: CertificateDer<'static>,
    chain: String,
    key: String,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair {
        root: made.cert.der().clone(),
        chain: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

/// A volume as the kubelet keeps it: `tls.crt -> ..data/tls.crt`, `..data -> ..N`, swapped by one rename.
struct Volume {
    root: tempfile::TempDir,
    generation: usize,
}

impl Volume {
    fn with(pair: &Pair) -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), root.path().join(name)).unwrap();
        }
        let mut volume = Self { root, generation: 0 };
        volume.swap(&pair.chain, &pair.key);
        volume
    }

    fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    fn swap(&mut self, chain: &str, key: &str) {
        self.generation += 1;
        let name = format!("..{}", self.generation);
        let directory = self.root.path().join(&name);
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("tls.crt"), chain).unwrap();
        std::fs::write(directory.join("tls.key"), key).unwrap();
        let fresh = self.root.path().join("..data_tmp");
        symlink(&name, &fresh).unwrap();
        std::fs::rename(fresh, self.root.path().join("..data")).unwrap();
        if self.generation > 1 {
            let old = self.root.path().join(format!("..{}", self.generation - 1));
            std::fs::remove_dir_all(old).unwrap();
        }
    }
}

/// A TLS server whose certificate follows a directory.
struct Followed {
    server: Server,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    end: CancellationToken,
}

impl Followed {
    async fn start(directory: PathBuf) -> Self {
        Self::with(directory, CONNECTIONS).await
    }

    async fn with(directory: PathBuf, limits: ConnectionLimits) -> Self {
        let readiness = Readiness::new();
        let metrics = Arc::new(Metrics::new());
        let loaded = readiness.condition("a certificate is loaded");
        let shown = ShownCertificate::new(loaded, Arc::clone(&metrics));
        let end = CancellationToken::new();
        tokio::spawn(tls_directory::follow(directory, Arc::clone(&shown), end.clone()));
        let config = tls::server_config(shown).unwrap();
        let routes = Router::new().route("/", get(|| async { "here" }));
        Self {
            server: Server::with(routes, WEBHOOK, limits, Some(config)).await,
            readiness,
            metrics,
            end,
        }
    }

    async fn shows(&self, pair: &Pair) -> bool {
        tls(self.server.address, &pair.root, &[]).await.is_ok()
    }

    async fn ask(&self, pair: &Pair) -> std::io::Result<u16> {
        let stream = tls(self.server.address, &pair.root, &["http/1.1"]).await?;
        Ok(Connection::new(stream).get("/").await.status)
    }

    fn failures(&self) -> String {
        self.metric("pointsman_certificate_reload_failures_total")
    }

    fn metric(&self, name: &str) -> String {
        value(&self.metrics.exposition().unwrap(), name)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

#[tokio::test]
async fn a_swapped_volume_is_shown_to_new_connections_and_spares_old_ones() {
    let (first, second) = (pair(), pair());
    let mut volume = Volume::with(&first);
    let followed = Followed::start(volume.path()).await;
    eventually("the first certificate", async || followed.shows(&first).await).await;
    assert!(followed.readiness.is_ready());
    assert_ne!(followed.metric("pointsman_certificate_expiry_seconds"), "0");
    let stream = tls(followed.server.address, &first.root, &["http/1.1"])
        .await
        .unwrap();
    let mut kept = Connection::new(stream);
    assert_eq!(kept.get("/").await.status, 200);

    volume.swap(&second.chain, &second.key);
    eventually("the second certificate", async || followed.shows(&second).await).await;
    assert!(!followed.shows(&first).await);
    assert_eq!(kept.get("/").await.status, 200);
    assert_eq!(followed.failures(), "0");
}

#[tokio::test]
async fn half_a_rotation_keeps_the_old_certificate_and_is_said_once() {
    let (first, second) = (pair(), pair());
    let mut volume = Volume::with(&first);
    let followed = Followed::start(volume.path()).await;
    eventually("the first certificate", async || followed.shows(&first).await).await;

    volume.swap(&second.chain, &first.key);
    eventually("the failure", async || followed.failures() == "1").await;
    assert!(followed.shows(&first).await);
    assert!(followed.readiness.is_ready());
    volume.swap("junk", "junk");
    eventually("the other failure", async || followed.failures() == "2").await;
    assert!(followed.shows(&first).await);

    volume.swap(&second.chain, &second.key);
    eventually("the second certificate", async || followed.shows(&second).await).await;
    assert_eq!(followed.failures(), "2");
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail_and_readiness_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let followed = Followed::start(directory.path().to_owned()).await;
    let pair = pair();
    assert!(!followed.shows(&pair).await);
    assert_eq!(followed.readiness.unmet(), ["a certificate is loaded"]);
    eventually("the failure", async || followed.failures() == "1").await;
    // Written by hand, one after the other, as a person does.
    std::fs::write(directory.path().join("tls.crt"), &pair.chain).unwrap();
    std::fs::write(directory.path().join("tls.key"), &pair.key).unwrap();
    eventually("the certificate", async || followed.shows(&pair).await).await;
    assert!(followed.readiness.is_ready());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_fails_nobody() {
    let pairs: Vec<Pair> = (0..4).map(|_| pair()).collect();
    let mut volume = Volume::with(&pairs[0]);
    let followed = Arc::new(Followed::start(volume.path()).await);
    eventually("the first certificate", async || followed.shows(&pairs[0]).await).await;
    let roots: Arc<Vec<CertificateDer<'static>>> =
        Arc::new(pairs.iter().map(|pair| pair.root.clone()).collect());
    let done = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (followed, roots) = (Arc::clone(&followed), Arc::clone(&roots));
            let (done, asked) = (Arc::clone(&done), Arc::clone(&asked));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    // As during an overlap: every root of the rotation is trusted, a new connection each time.
                    let mut trusted = rustls::RootCertStore::empty();
                    trusted.add_parsable_certificates(roots.iter().cloned());
                    let stream = tls_with(followed.server.address, trusted, &["http/1.1"]).await;
                    let mut connection = Connection::new(stream.expect("a handshake failed"));
                    assert_eq!(connection.get("/").await.status, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for pair in &pairs[1..] {
        volume.swap(&pair.chain, &pair.key);
        eventually("the next certificate", async || followed.shows(pair).await).await;
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let asked = asked.load(Ordering::Relaxed);
    println!("{asked} connections across {} rotations", pairs.len() - 1);
    assert!(asked > 100, "only {asked} connections: no load");
    assert_eq!(followed.failures(), "0");
}

#[tokio::test]
async fn both_http_versions_are_offered_and_the_better_one_is_taken() {
    let pair = pair();
    let volume = Volume::with(&pair);
    let followed = Followed::start(volume.path()).await;
    eventually("the certificate", async || followed.shows(&pair).await).await;
    for (offered, taken) in [
        (vec!["h2", "http/1.1"], Some(&b"h2"[..])),
        (vec!["http/1.1"], Some(&b"http/1.1"[..])),
        (vec![], None),
    ] {
        let stream = tls(followed.server.address, &pair.root, &offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), taken, "{offered:?}");
        if taken == Some(b"h2") {
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            let request = axum::http::Request::get("https://localhost/").body(axum::body::Body::empty());
            assert_eq!(sender.send_request(request.unwrap()).await.unwrap().status(), 200);
        } else {
            assert_eq!(Connection::new(stream).get("/").await.status, 200);
        }
    }
}

#[tokio::test]
async fn junk_and_silence_instead_of_a_handshake_harm_nobody() {
    let pair = pair();
    let volume = Volume::with(&pair);
    let limits = ConnectionLimits {
        handshake: Duration::from_millis(300),
        ..CONNECTIONS
    };
    let followed = Followed::with(volume.path(), limits).await;
    eventually("the certificate", async || followed.shows(&pair).await).await;
    for junk in [
        &b""[..],
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 10_000],
    ] {
        let mut stream = TcpStream::connect(followed.server.address).await.unwrap();
        let _written = stream.write_all(junk).await;
        let mut rest = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
        let _alert_or_reset = tokio::time::timeout(PATIENCE, read).await.expect("cut in time");
    }
    assert_eq!(followed.ask(&pair).await.unwrap(), 200);
}

/// A ClientHello whose newest version is `minor` of TLS 1 (2: TLS 1.1, 3: TLS 1.2), as a client of that time sends it.
fn hello(minor: u8) -> Vec<u8> {
    // ECDHE with AES-128-GCM (P-256; rustls has these for TLS 1.2) and, for older versions, with AES-128-CBC.
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x09, 0xc0, 0x13];
    let extensions = [
        &[0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x17][..],
        &[0x00, 0x0b, 0x00, 0x02, 0x01, 0x00],
        &[0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x04, 0x03, 0x04, 0x01],
        // Extended master secret, which every client of the last ten years offers.
        &[0x00, 0x17, 0x00, 0x00],
    ]
    .concat();
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.push(0);
    body.extend(length(&suites));
    body.extend(suites);
    body.extend([1, 0]);
    body.extend(length(&extensions));
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(length(&body));
    handshake.extend(body);
    let mut record = vec![0x16, 3, 1];
    record.extend(length(&handshake));
    record.extend(handshake);
    record
}

#[tokio::test]
async fn nothing_before_tls_1_2_is_spoken() {
    let pair = pair();
    let volume = Volume::with(&pair);
    let followed = Followed::start(volume.path()).await;
    eventually("the certificate", async || followed.shows(&pair).await).await;
    let answered = async |minor: u8| {
        let mut stream = TcpStream::connect(followed.server.address).await.unwrap();
        stream.write_all(&hello(minor)).await.unwrap();
        let mut answer = [0; 7];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer);
        tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        answer
    };
    // A fatal alert: protocol_version.
    for old in [1, 2] {
        assert_eq!(
            answered(old).await[..],
            [0x15, 3, 3, 0, 2, 2, 70],
            "TLS 1.{}",
            old - 1
        );
    }
    // The same of TLS 1.2 is met with a handshake message.
    assert_eq!(answered(3).await[..3], [0x16, 3, 3]);
}
