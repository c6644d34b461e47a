//! The end of the process: who is told first, what is waited for, what cuts it short. With the real binary.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use pointsman::serve::limits::{CONNECTIONS, WEBHOOK};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;

use crate::common::{Connection, Process, Server, eventually, tls};

/// A kubeconfig of a cluster that does not answer: what is tested here needs none.
const NO_CLUSTER: &str = "\
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: 'http://127.0.0.1:1'}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
";

/// The binary with a webhook and an admin endpoint, and a client that trusts it.
struct Running {
    process: Process,
    webhook: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    root: CertificateDer<'static>,
    _files: tempfile::TempDir,
}

/// Probes begin the moment the admin endpoint listens, before the process knows what else must hold.
#[tokio::test]
async fn is_at_no_moment_ready_before_the_cluster_is_listed() {
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = files.path().join("kubeconfig");
    std::fs::write(&kubeconfig, NO_CLUSTER).unwrap();
    let asked_until = Duration::from_millis(300);
    for _ in 0..3 {
        // A port of our own, so that the first question can be asked before the log says where it listens.
        let admin = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = admin.local_addr().unwrap();
        drop(admin);
        let admin = address.to_string();
        let arguments = [
            ["--webhook-listen", "none"],
            ["--extender-listen", "127.0.0.1:0"],
            ["--admin-listen", &admin],
        ];
        let _process = Process::serve(arguments.as_flattened(), Some(&kubeconfig));
        eventually("the admin endpoint listens", async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        let (mut asked, since) = (0, Instant::now());
        while since.elapsed() < asked_until {
            let mut connection = Connection::new(TcpStream::connect(address).await.unwrap());
            let answer = connection.get("/readyz").await;
            assert_eq!(
                answer.status,
                503,
                "after {:?}: {}",
                since.elapsed(),
                answer.text()
            );
            asked += 1;
        }
        assert!(asked > 10, "asked only {asked} times");
    }
}

type Tls = Connection<tokio_rustls::client::TlsStream<TcpStream>>;

impl Running {
    async fn start(delay: &str, deadline: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(files.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(files.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        let kubeconfig = files.path().join("kubeconfig");
        std::fs::write(&kubeconfig, NO_CLUSTER).unwrap();
        let directory = files.path().to_str().unwrap();
        let here = "127.0.0.1:0";
        let arguments = [
            ["--webhook-listen", here],
            ["--admin-listen", here],
            ["--extender-listen", "none"],
            ["--tls-dir", directory],
            ["--shutdown-delay", delay],
            ["--shutdown-deadline", deadline],
        ];
        let process = Process::serve(arguments.as_flattened(), Some(&kubeconfig));
        let (webhook, admin) = (process.address("webhook").await, process.address("admin").await);
        let root = made.cert.der().clone();
        eventually("a handshake", async || tls(webhook, &root, &[]).await.is_ok()).await;
        Self {
            process,
            webhook,
            admin,
            root,
            _files: files,
        }
    }

    async fn connect(&self) -> std::io::Result<Tls> {
        Ok(Connection::new(
            tls(self.webhook, &self.root, &["http/1.1"]).await?,
        ))
    }

    /// A request whose body is half sent: under way, and it is for us to end it.
    async fn half_a_request(&self) -> Tls {
        let mut connection = self.connect().await.unwrap();
        connection
            .send("POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{ ")
            .await;
        // Whether the server has it shows nowhere; a request on another connection has at least passed it.
        let _answer = self.connect().await.unwrap().get("/").await;
        connection
    }

    /// What `/readyz` waits for; none when nobody answers.
    async fn unmet(&self) -> Option<String> {
        let stream = TcpStream::connect(self.admin).await.ok()?;
        let answer = Connection::new(stream).get("/readyz").await;
        Some(answer.json()["waitingUntil"].to_string())
    }

    async fn is_draining(&self) -> bool {
        let unmet = self.unmet().await;
        unmet.is_some_and(|unmet| unmet.contains("the process is not shutting down"))
    }
}

#[tokio::test]
async fn readiness_goes_first_and_requests_under_way_are_answered() {
    let mut running = Running::start("700ms", "15s").await;
    assert!(!running.is_draining().await);
    let mut under_way = running.half_a_request().await;
    running.process.signal("TERM");

    eventually("readiness off", async || running.is_draining().await).await;
    // Endpoints have not noticed yet: whoever still comes is served.
    let answer = running.connect().await.expect("still accepting").get("/").await;
    assert_eq!(answer.status, 404);

    eventually("no new connections", async || running.connect().await.is_err()).await;
    assert!(running.process.is_running(), "{}", running.process.log());
    assert!(
        running.is_draining().await,
        "the admin endpoint answers until the end"
    );

    under_way.send("}").await;
    let answer = under_way.answer().await;
    assert!(answer.status < 500 && answer.status != 408, "{answer:?}");
    let status = running.process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", running.process.log());
    assert!(running.process.log().contains("every request was answered"));
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_process() {
    let mut running = Running::start("0s", "15s").await;
    let mut idle = running.connect().await.unwrap();
    assert_eq!(idle.get("/").await.status, 404);
    let _silent = running.connect().await.unwrap();
    let start = Instant::now();
    running.process.signal("INT");
    assert_eq!(running.process.ended().await.code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut running = Running::start("10s", "60s").await;
    let mut under_way = running.half_a_request().await;
    let start = Instant::now();
    running.process.signal("TERM");
    eventually("the first signal", async || {
        running.process.log().contains("shutting down")
    })
    .await;
    running.process.signal("TERM");
    assert_eq!(running.process.ended().await.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(under_way.try_answer().await.is_none());
}

#[tokio::test]
async fn a_request_without_end_is_cut_at_the_deadline() {
    let mut running = Running::start("0s", "500ms").await;
    let _under_way = running.half_a_request().await;
    running.process.signal("TERM");
    assert_eq!(running.process.ended().await.code(), Some(1));
    let log = running.process.log();
    assert!(
        log.contains("requests were still running at the deadline"),
        "{log}"
    );
}

#[tokio::test]
async fn an_address_in_use_is_one_clear_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut process = Process::serve(
        &[
            "--webhook-listen",
            "none",
            "--extender-listen",
            "127.0.0.1:0",
            "--admin-listen",
            &address,
        ],
        None,
    );
    assert_eq!(process.ended().await.code(), Some(1));
    let wanted = format!("pointsman: the admin listener cannot use {address}: Address already in use");
    eventually("the sentence", async || process.log().contains(&wanted)).await;
}

#[tokio::test]
async fn streams_of_one_http2_connection_are_finished_too() {
    let routes = Router::new().route(
        "/",
        get(|| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "here"
        }),
    );
    let mut server = Server::with(routes, WEBHOOK, CONNECTIONS, None).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let ask = || {
        axum::http::Request::get("http://x/")
            .body(axum::body::Body::empty())
            .unwrap()
    };
    sender.ready().await.unwrap();
    let (one, two) = (sender.send_request(ask()), sender.send_request(ask()));
    let answers = tokio::spawn(async move { (one.await, two.await) });
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.cancel();
    let (one, two) = answers.await.unwrap();
    assert_eq!(
        (one.unwrap().status().as_u16(), two.unwrap().status().as_u16()),
        (200, 200)
    );
    (&mut server.served).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
