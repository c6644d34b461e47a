//! What one request or connection may cost, and that whatever is refused leaves the server as it was.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use pointsman::serve::limits::{ADMIN, CONNECTIONS, ConnectionLimits, RequestLimits, WEBHOOK};
use pointsman::serve::readiness::Readiness;
use pointsman::serve::{admin, answer};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Server, eventually};

const SMALL: RequestLimits = RequestLimits {
    body: 1000,
    bodies: 10_000,
    deadline: Duration::from_millis(400),
    concurrency: 2,
};

const HASTY: ConnectionLimits = ConnectionLimits {
    connections: 3,
    handshake: Duration::from_millis(300),
    first_request: Duration::from_millis(300),
    idle: Duration::from_millis(1500),
    closing: Duration::from_millis(300),
};

fn routes() -> Router {
    Router::new()
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/json",
            get(|| async { answer::json(axum::http::StatusCode::OK, &json!({ "a": 1 })) }),
        )
        .route("/slow", get(|| tokio::time::sleep(Duration::from_mins(1))))
        .route("/panic", get(on_purpose))
}

async fn on_purpose() -> &'static str {
    panic!("on purpose")
}

async fn small() -> Server {
    Server::with(routes(), SMALL, CONNECTIONS, None).await
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_refused_before_it_is_sent() {
    let server = Server::start(routes()).await;
    let mut connection = server.connect().await;
    let length = WEBHOOK.body + 1;
    connection
        .send(format!(
            "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
        ))
        .await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 413);
    assert_eq!(
        answer.json()["error"],
        format!("the body is larger than {} bytes", WEBHOOK.body)
    );
    let rejections = "pointsman_http_rejections_total{listener=\"webhook\",reason=\"body_too_large\"}";
    assert_eq!(server.metric(rejections), "1");
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken() {
    let server = Server::start(routes()).await;
    let answer = server
        .connect()
        .await
        .post("/length", &vec![b'x'; WEBHOOK.body])
        .await;
    assert_eq!((answer.status, answer.text()), (200, "3145728"));
}

#[tokio::test]
async fn a_chunked_body_is_counted_as_it_comes() {
    let server = small().await;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut connection = server.connect().await;
    connection.send(head).await;
    connection.send("5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n").await;
    assert_eq!(connection.answer().await.text(), "8");

    connection.send(head).await;
    connection
        .send(format!("258\r\n{0}\r\n258\r\n{0}\r\n", "x".repeat(600)))
        .await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn a_body_without_length_is_an_empty_one() {
    let server = small().await;
    let mut connection = server.connect().await;
    connection.send("POST /length HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_eq!(connection.answer().await.text(), "0");
}

#[tokio::test]
async fn a_body_shorter_than_announced_is_not_waited_for_for_ever() {
    let server = small().await;
    let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nhello";
    // The peer waits: the deadline ends it.
    let mut patient = server.connect().await;
    patient.send(head).await;
    let answer = patient.answer().await;
    assert_eq!(answer.status, 408, "{answer:?}");
    // The peer says that nothing more comes.
    let mut done = server.connect().await;
    done.send(head).await;
    done.0.shutdown().await.unwrap();
    let answer = done.try_answer().await;
    assert!(
        answer.as_ref().is_none_or(|answer| answer.status == 400),
        "{answer:?}"
    );
    assert_eq!(server.connect().await.post("/length", b"hello").await.text(), "5");
}

#[tokio::test]
async fn a_late_answer_is_504_and_requests_beyond_the_bound_are_shed() {
    let server = small().await;
    let start = Instant::now();
    let (mut first, mut second, mut third) = (
        server.connect().await,
        server.connect().await,
        server.connect().await,
    );
    let slow = "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";
    first.send(slow).await;
    second.send(slow).await;
    eventually("shedding", async || third.get("/json").await.status == 503).await;
    let answer = first.answer().await;
    assert_eq!(answer.status, 504);
    assert!(start.elapsed() >= SMALL.deadline);
    assert_eq!(second.answer().await.status, 504);
    assert_eq!(third.get("/json").await.status, 200);
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_not_the_connection() {
    let server = small().await;
    let mut connection = server.connect().await;
    let answer = connection.get("/panic").await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.json()["error"]
            .as_str()
            .unwrap()
            .contains("a bug in Pointsman")
    );
    assert!(
        !answer.text().contains("on purpose"),
        "what a panic says is for the log"
    );
    assert_eq!(connection.get("/json").await.status, 200);
    assert_eq!(server.metric("pointsman_panics_total"), "1");
}

#[tokio::test]
async fn answers_have_their_length_no_newline_and_come_in_one_piece() {
    let server = small().await;
    let mut connection = server.connect().await;
    for _ in 0..50 {
        connection.send("GET /json HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut piece = [0; 4096];
        let length = tokio::io::AsyncReadExt::read(&mut connection.0, &mut piece)
            .await
            .unwrap();
        let piece = std::str::from_utf8(&piece[..length]).unwrap();
        assert!(piece.contains("content-length: 7\r\n"), "{piece}");
        assert!(piece.ends_with("\r\n\r\n{\"a\":1}"), "{piece}");
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = small().await;
    let mut connection = server.connect().await;
    for length in 0..500_usize {
        let body = vec![b'x'; length];
        assert_eq!(connection.post("/length", &body).await.text(), length.to_string());
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_get_a_json_answer() {
    let server = small().await;
    let mut connection = server.connect().await;
    let unknown = connection.get("/nowhere").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"], "nothing is served at /nowhere");
    let wrong = connection.get("/length").await;
    assert_eq!(wrong.status, 405);
    assert_eq!(wrong.json()["error"], "/length does not take GET");
}

#[tokio::test]
async fn who_says_nothing_or_speaks_too_slowly_is_cut() {
    let server = Server::with(routes(), SMALL, HASTY, None).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.send("GET /json HTTP/1.1\r\nho").await;
    let start = Instant::now();
    assert!(silent.closes_within(HASTY.first_request * 10).await);
    assert!(slow.closes_within(HASTY.first_request * 10).await);
    assert!(start.elapsed() > HASTY.first_request / 2, "cut too early");
}

#[tokio::test]
async fn a_kept_connection_may_idle_longer_than_a_new_one_but_not_for_ever() {
    let server = Server::with(routes(), SMALL, HASTY, None).await;
    let mut connection = server.connect().await;
    assert_eq!(connection.get("/json").await.status, 200);
    tokio::time::sleep(HASTY.first_request * 2).await;
    assert_eq!(connection.get("/json").await.status, 200);
    assert!(connection.closes_within(HASTY.idle * 4).await);
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place_while_all_are_busy() {
    let patient = RequestLimits {
        deadline: Duration::from_mins(1),
        concurrency: 10,
        ..SMALL
    };
    let server = Server::with(routes(), patient, HASTY, None).await;
    let mut busy = Vec::new();
    for _ in 0..HASTY.connections {
        let mut connection = server.connect().await;
        connection.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        busy.push(connection);
    }
    let mut waiting = server.connect().await;
    waiting.send("GET /json HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!waiting.closes_within(Duration::from_millis(100)).await);
    drop(busy.pop());
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test]
async fn a_connection_beyond_the_bound_takes_the_place_of_the_longest_quiet_one() {
    let server = Server::with(routes(), SMALL, HASTY, None).await;
    let mut kept = Vec::new();
    for _ in 0..HASTY.connections {
        let mut connection = server.connect().await;
        assert_eq!(connection.get("/json").await.status, 200);
        kept.push(connection);
    }
    let mut further = server.connect().await;
    assert_eq!(further.get("/json").await.status, 200);
    assert!(kept[0].closes_within(HASTY.first_request).await);
    assert_eq!(kept[1].get("/json").await.status, 200);
}

#[tokio::test]
async fn all_bodies_together_have_a_bound_and_what_is_still_coming_in_takes_no_turn() {
    let limits = RequestLimits {
        bodies: 2500,
        deadline: Duration::from_mins(1),
        ..SMALL
    };
    let server = Server::with(routes(), limits, CONNECTIONS, None).await;
    // As many as may run at once, and more: none of them is complete.
    let mut slow = Vec::new();
    for _ in 0..2 * limits.concurrency {
        let mut connection = server.connect().await;
        let head = "POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n";
        connection.send([head.as_bytes(), &[b'x'; 500]].concat()).await;
        slow.push(connection);
    }
    let mut other = server.connect().await;
    assert_eq!(other.post("/length", b"hello").await.text(), "5");
    eventually("600 bytes more are too many", async || {
        other.post("/length", &[b'x'; 600]).await.status == 503
    })
    .await;
    // What is given up is free again.
    drop(slow);
    eventually("there is room again", async || {
        other.post("/length", &[b'x'; 600]).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn junk_instead_of_http_is_answered_or_cut_and_harms_nobody() {
    let server = small().await;
    let mut kept = server.connect().await;
    assert_eq!(kept.get("/json").await.status, 200);
    let endless = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1_000_000));
    for junk in ["\0\u{1}\u{2} nonsense\r\n\r\n", "GET\r\n\r\n", endless.as_str()] {
        let mut connection = server.connect().await;
        // The server may close while we still write.
        let _written = connection.0.write_all(junk.as_bytes()).await;
        let mut rest = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut connection.0, &mut rest);
        let _reset_or_end = tokio::time::timeout(Duration::from_secs(5), read).await.unwrap();
        let said = String::from_utf8_lossy(&rest);
        assert!(
            rest.is_empty() || said.starts_with("HTTP/1.1 4"),
            "{} got {said}",
            &junk[..9.min(junk.len())]
        );
    }
    assert_eq!(kept.get("/json").await.status, 200);
}

#[tokio::test]
async fn http2_is_served_on_the_same_address() {
    let server = small().await;
    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    for path in ["/json", "/panic", "/json"] {
        let request = axum::http::Request::get(format!("http://x{path}")).body(axum::body::Body::empty());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let expected = if path == "/panic" { 500 } else { 200 };
        assert_eq!(answer.status(), expected, "{path}");
    }
}

#[tokio::test]
async fn readyz_lists_what_is_missing_until_nothing_is() {
    let readiness = Readiness::new();
    let pods = readiness.condition("every pod is listed");
    let certificate = readiness.condition("a certificate is loaded");
    let metrics = std::sync::Arc::default();
    let server = Server::with(admin::router(metrics, readiness), ADMIN, CONNECTIONS, None).await;
    let mut connection = server.connect().await;
    assert_eq!(connection.get("/livez").await.status, 200);
    let answer = connection.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json()["waitingUntil"],
        json!(["every pod is listed", "a certificate is loaded"])
    );
    pods.hold();
    assert_eq!(
        connection.get("/readyz").await.json()["waitingUntil"],
        json!(["a certificate is loaded"])
    );
    certificate.hold();
    let answer = connection.get("/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json(), json!({"ready": true, "waitingUntil": []}));
    let metrics = connection.get("/metrics").await;
    assert_eq!(
        metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(metrics.text().ends_with("# EOF\n"));
}
