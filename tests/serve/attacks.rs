//! What somebody would try who can reach a listener and means harm, on the real thing over real sockets: whatever it is,
//! others are served meanwhile, and nothing is left of it afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use pointsman::serve::limits::{CONNECTIONS, ConnectionLimits, RequestLimits, WEBHOOK};
use pointsman::serve::readiness::Readiness;
use pointsman::serve::tls::{self, ShownCertificate};
use pointsman::serve::tls_directory;
use pointsman::telemetry::metrics::Metrics;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::common::{Connection, PATIENCE, Server, eventually, tls};

/// The limits of the webhook, but for times that a test can wait out.
const REQUESTS: RequestLimits = RequestLimits {
    deadline: Duration::from_secs(2),
    ..WEBHOOK
};
const TIMES: ConnectionLimits = ConnectionLimits {
    handshake: Duration::from_secs(2),
    first_request: Duration::from_secs(2),
    ..CONNECTIONS
};

/// Others are served within this, on a machine that is busy with other tests; undisturbed it takes a thousandth.
const SERVED: Duration = Duration::from_secs(3);

fn routes() -> Router {
    let length = |body: Bytes| async move { body.len().to_string() };
    Router::new()
        .route("/fine", get(|| async { "fine" }))
        .route("/length", post(length))
}

async fn server() -> Server {
    Server::with(routes(), REQUESTS, TIMES, None).await
}

/// Somebody new comes, and gets an answer at once.
async fn others_are_served(server: &Server) {
    let began = Instant::now();
    let answer = server.connect().await.get("/fine").await;
    assert_eq!((answer.status, answer.text()), (200, "fine"));
    let took = began.elapsed();
    assert!(took < SERVED, "an answer took {took:?}");
}

/// Everything that is sent back until the connection ends.
async fn rest_of(connection: &mut Connection<TcpStream>) -> String {
    let mut rest = Vec::new();
    let read = connection.0.read_to_end(&mut rest);
    // A reset is an end, too.
    let _end = tokio::time::timeout(PATIENCE, read).await.expect("it is cut");
    String::from_utf8_lossy(&rest).into_owned()
}

/// As many connections as this process may have files for, up to ten thousand: each takes two here.
async fn many_connections() -> usize {
    let limits = tokio::fs::read_to_string("/proc/self/limits").await.unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    let soft = line.split_whitespace().nth(3).unwrap();
    let files = soft.parse().unwrap_or(usize::MAX);
    // A third of them is for the other tests of this process.
    let most = 10_000.min(files / 3);
    assert!(
        most > 2 * CONNECTIONS.connections / 8,
        "only {files} open files are allowed: raise it with 'ulimit -n'"
    );
    most
}

#[tokio::test]
async fn thousands_of_silent_connections_keep_nobody_out() {
    let limits = ConnectionLimits {
        connections: CONNECTIONS.connections / 4,
        ..CONNECTIONS
    };
    let server = Server::with(routes(), REQUESTS, limits, None).await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/fine").await.status, 200);
    let mut silent = Vec::new();
    for number in 0..many_connections().await {
        silent.push(TcpStream::connect(server.address).await.unwrap());
        if number % 500 == 0 {
            others_are_served(&server).await;
        }
    }
    others_are_served(&server).await;
    // One that has spoken is not sent away for those that never did.
    assert_eq!(kept.get("/fine").await.status, 200);
    drop(silent);
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut_while_others_are_served() {
    let server = server().await;
    let mut slow = Vec::new();
    for number in 0..2 * WEBHOOK.concurrency {
        let mut connection = server.connect().await;
        let begun = if number % 2 == 0 {
            "GET /fine HTTP/1.1\r\nhost: x\r\nx-"
        } else {
            "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nx"
        };
        connection.send(begun).await;
        slow.push(connection);
    }
    // A byte now and then buys no time.
    let began = Instant::now();
    while began.elapsed() < REQUESTS.deadline {
        others_are_served(&server).await;
        for connection in &mut slow {
            let _maybe_cut = connection.0.write_all(b"a").await;
        }
    }
    for (number, connection) in slow.iter_mut().enumerate() {
        let said = rest_of(connection).await;
        let fair = if number % 2 == 0 {
            said.is_empty()
        } else {
            said.is_empty() || said.starts_with("HTTP/1.1 408")
        };
        assert!(fair, "{number}: {said}");
    }
    others_are_served(&server).await;
}

#[tokio::test]
async fn lengths_that_lie_smuggle_nothing_in() {
    let server = server().await;
    let hidden = "GET /fine HTTP/1.1\r\nhost: x\r\n\r\n";
    for (what, head, body) in [
        ("two lengths", "content-length: 5\r\ncontent-length: 6", "hello!"),
        ("a negative one", "content-length: -1", ""),
        (
            "one that is no number",
            "content-length: 0x10",
            "0123456789abcdef",
        ),
        (
            "one beyond all numbers",
            "content-length: 99999999999999999999999999",
            "",
        ),
        ("a list", "content-length: 5, 5, 6", "hello!"),
        (
            "a length and chunks",
            "content-length: 4\r\ntransfer-encoding: chunked",
            "0\r\n\r\n",
        ),
        (
            "chunks that are not the last coding",
            "transfer-encoding: chunked, gzip",
            "0\r\n\r\n",
        ),
        (
            "a chunk of no size",
            "transfer-encoding: chunked",
            "zz\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a chunk beyond all sizes",
            "transfer-encoding: chunked",
            "fffffffffffffffff\r\nhello\r\n",
        ),
        ("a head that is folded", "x: a\r\n b\r\ncontent-length: 0", ""),
    ] {
        let mut connection = server.connect().await;
        let request = format!("POST /length HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n{body}{hidden}");
        let _maybe_cut = connection.0.write_all(request.as_bytes()).await;
        let said = rest_of(&mut connection).await;
        // RFC 9112, 6.3: chunks may be believed rather than a length beside them, when the connection ends with that.
        let by_chunks = what == "a length and chunks" && said.contains("connection: close");
        assert!(
            said.is_empty() || by_chunks || said.starts_with("HTTP/1.1 4"),
            "{what}: {said}"
        );
        assert!(
            !said.contains("fine") && said.matches("HTTP/1.1 ").count() <= 1,
            "{what}: the second request was answered: {said}"
        );
    }
    // A length too short makes the rest of the body a request of its own, which is none.
    let mut connection = server.connect().await;
    connection
        .send("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhello world\r\n\r\n")
        .await;
    let said = rest_of(&mut connection).await;
    let second = said.split_once("\r\n\r\n2").map_or("", |(_, rest)| rest);
    assert!(second.starts_with("HTTP/1.1 400"), "{said}");
    others_are_served(&server).await;
}

#[tokio::test]
async fn bodies_without_end_are_stopped_at_the_bound() {
    let server = server().await;
    let mut connection = server.connect().await;
    connection
        .send("POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut sent = 0_usize;
    while connection.0.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 0x10000;
        // The socket's own buffers take some more than the server reads.
        assert!(sent < 8 * WEBHOOK.body, "{sent} bytes were taken");
    }
    // Chunks of one byte each cost as many steps, and no more memory.
    let mut small = server.connect().await;
    small
        .send("POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    small.send("1\r\nx\r\n".repeat(20_000)).await;
    others_are_served(&server).await;
    small.send("0\r\n\r\n").await;
    assert_eq!(small.answer().await.text(), "20000");
}

#[tokio::test]
async fn heads_without_end_are_stopped_at_the_bound() {
    let server = server().await;
    let many = "x: y\r\n".repeat(200);
    let long = format!("x: {}\r\n", "y".repeat(1_000_000));
    for fields in [many, long] {
        let mut connection = server.connect().await;
        let request = format!("GET /fine HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
        let _maybe_cut = connection.0.write_all(request.as_bytes()).await;
        let said = rest_of(&mut connection).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    }
    others_are_served(&server).await;
}

/// Frames of HTTP/2, written by hand.
struct Http2(TcpStream);

impl Http2 {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const CONTINUATION: u8 = 9;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    /// An error code (RFC 9113, 7).
    const ENHANCE_YOUR_CALM: u32 = 11;

    /// `GET https://x/fine` by the static table (RFC 7541), or `POST` of it.
    const GET_FINE: &[u8] = b"\x82\x87\x04\x05/fine\x01\x01x";
    const POST_LENGTH: &[u8] = b"\x83\x87\x04\x07/length\x01\x01x";

    async fn open(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        let mut opened = Self(stream);
        opened
            .send(&Self::frame(Self::SETTINGS, 0, 0, b""))
            .await
            .unwrap();
        opened
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags];
        [&head, stream.to_be_bytes().as_slice(), payload].concat()
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// Reads frames until the peer ends the connection; the error code of its GOAWAY, if it sent one.
    async fn ended(mut self) -> Option<u32> {
        let mut code = None;
        let mut bytes = Vec::new();
        let read = async {
            while self.0.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                while let Some((kind, payload, length)) = parse(&bytes) {
                    if kind == 7 {
                        code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                    }
                    bytes.drain(..length);
                }
            }
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the connection is ended");
        code
    }
}

/// The first whole frame: its type, its payload, and its length with the head.
fn parse(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let head = bytes.get(..9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = bytes.get(9..9 + length)?;
    Some((head[3], payload.to_vec(), 9 + length))
}

/// CVE-2023-44487: streams that are opened and taken back at once, which bounds on open streams do not see.
#[tokio::test]
async fn rapid_resets_end_the_connection_that_sends_them() {
    let server = server().await;
    let mut attacker = Http2::open(&server).await;
    let headers = Http2::END_STREAM | Http2::END_HEADERS;
    for number in 0..50_000_u32 {
        let stream = 2 * number + 1;
        let open = Http2::frame(Http2::HEADERS, headers, stream, Http2::GET_FINE);
        let reset = Http2::frame(Http2::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
        if attacker.send(&[open, reset].concat()).await.is_err() {
            break;
        }
        if number % 5_000 == 0 {
            others_are_served(&server).await;
        }
    }
    others_are_served(&server).await;
    let code = attacker.ended().await;
    assert!(
        code.is_none_or(|code| code == Http2::ENHANCE_YOUR_CALM),
        "{code:?}"
    );
}

/// CVE-2024-27316 and its kin: a head that goes on in CONTINUATION frames for ever.
#[tokio::test]
async fn heads_that_go_on_for_ever_end_the_connection_that_sends_them() {
    let server = server().await;
    let mut attacker = Http2::open(&server).await;
    attacker
        .send(&Http2::frame(Http2::HEADERS, 0, 1, Http2::GET_FINE))
        .await
        .unwrap();
    // A field of its own each time: literal, never indexed.
    let field = [b"\x10\x01x\x7f\x81\x1e".as_slice(), &[b'y'; 4000]].concat();
    let more = Http2::frame(Http2::CONTINUATION, 0, 1, &field);
    let mut sent = 0_usize;
    while attacker.send(&more).await.is_ok() {
        sent += more.len();
        assert!(sent < 32_000_000, "{sent} bytes of a head were taken");
    }
    attacker.ended().await;
    others_are_served(&server).await;
}

#[tokio::test]
async fn floods_of_small_frames_and_broken_ones_harm_nobody() {
    let server = server().await;
    for flood in [
        Http2::frame(Http2::PING, 0, 0, &[0; 8]),
        Http2::frame(Http2::SETTINGS, 0, 0, b""),
        // Of a stream that was never opened.
        Http2::frame(Http2::DATA, 0, 1, b""),
        Http2::frame(Http2::RST_STREAM, 0, 1, &[0; 4]),
        // Of no known type; of a length that it must not have; beyond the largest frame.
        Http2::frame(0x42, 0xff, 1, b"junk"),
        Http2::frame(Http2::PING, 0, 0, &[0; 3]),
        Http2::frame(Http2::DATA, 0, 1, &vec![0; 100_000]),
    ] {
        let mut attacker = Http2::open(&server).await;
        // What it answers is never read: its answers must not pile up.
        let all = flood.repeat(20_000_usize.min(8_000_000 / flood.len()));
        let _cut_or_stuck = tokio::time::timeout(Duration::from_secs(1), attacker.send(&all)).await;
        others_are_served(&server).await;
    }
}

/// A body on every stream that may be open at once, of which nothing more comes.
#[tokio::test]
async fn streams_that_are_never_finished_are_bounded_and_cut() {
    let server = server().await;
    let mut attacker = Http2::open(&server).await;
    for number in 0..1000_u32 {
        let open = Http2::frame(
            Http2::HEADERS,
            Http2::END_HEADERS,
            2 * number + 1,
            Http2::POST_LENGTH,
        );
        if attacker.send(&open).await.is_err() {
            break;
        }
    }
    others_are_served(&server).await;
    drop(attacker);
    let gone = || async { others_are_served(&server).await };
    gone().await;
}

#[tokio::test]
async fn junk_instead_of_tls_is_cut_while_others_shake_hands() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let root: CertificateDer<'static> = made.cert.der().clone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    let readiness = Readiness::new();
    let shown = ShownCertificate::new(readiness.condition("a certificate"), Arc::new(Metrics::new()));
    let stop = CancellationToken::new();
    let following = tls_directory::follow(folder.path().to_owned(), Arc::clone(&shown), stop.clone());
    let following = tokio::spawn(following);
    let server = Server::with(
        routes(),
        REQUESTS,
        TIMES,
        Some(tls::server_config(shown).unwrap()),
    )
    .await;
    let shakes_hands = async || match tls(server.address, &root, &["http/1.1"]).await {
        Ok(stream) => Connection::new(stream).get("/fine").await.status == 200,
        Err(_) => false,
    };
    eventually("a handshake succeeds", shakes_hands).await;

    // A record of the longest length whose rest never comes, alerts, a hello of an age-old version, HTTP in the clear.
    let hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03";
    let old = b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00";
    let mut attackers = Vec::new();
    for number in 0..600_usize {
        let junk: &[u8] = match number % 5 {
            0 => hello,
            1 => b"\x15\x03\x03\x00\x02\x02\x28",
            2 => old,
            3 => b"GET /fine HTTP/1.1\r\nhost: x\r\n\r\n",
            _ => &[0xff; 5000],
        };
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _maybe_cut = stream.write_all(junk).await;
        attackers.push(stream);
        if number % 100 == 0 {
            let began = Instant::now();
            assert!(shakes_hands().await);
            assert!(began.elapsed() < SERVED, "{:?}", began.elapsed());
        }
    }
    for stream in attackers {
        let said = rest_of(&mut Connection::new(stream)).await;
        assert!(!said.contains("fine"), "{said}");
    }
    assert!(shakes_hands().await);
    stop.cancel();
    following.await.unwrap();
}
