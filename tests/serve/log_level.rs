//! The log level of a running process: seen and changed over loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use pointsman::serve::listen::Peer;
use pointsman::serve::log_level;
use pointsman::telemetry::logging::{self, LogFormat};
use serde_json::json;
use tower::ServiceExt as _;

use crate::common::Server;

fn routes() -> Router {
    log_level::router(logging::start(LogFormat::Json, "warn".parse().unwrap()))
}

#[tokio::test]
async fn it_is_seen_and_changed_over_loopback() {
    let server = Server::start(routes()).await;
    let mut connection = server.connect().await;
    assert_eq!(connection.get("/loglevel").await.json(), json!({"level": "warn"}));
    let level = "info,pointsman::extender=debug";
    let put = format!(
        "PUT /loglevel HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{level}",
        level.len()
    );
    connection.send(put).await;
    assert_eq!(connection.answer().await.json(), json!({"level": level}));
    assert_eq!(connection.get("/loglevel").await.json(), json!({"level": level}));
    connection
        .send("PUT /loglevel HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nloud")
        .await;
    let refused = connection.answer().await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("expected error, warn, info"),
        "{}",
        refused.text()
    );
    assert_eq!(connection.get("/loglevel").await.json(), json!({"level": level}));
}

#[tokio::test]
async fn nobody_else_may_change_it() {
    for peer in [Some("10.0.0.7:41000"), Some("[2001:db8::1]:41000"), None] {
        let mut request = Request::put("/loglevel").body(Body::from("debug")).unwrap();
        if let Some(peer) = peer {
            request
                .extensions_mut()
                .insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        }
        let response = routes().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{peer:?}");
    }
    let mut request = Request::put("/loglevel").body(Body::from("debug")).unwrap();
    let mapped = "[::ffff:127.0.0.1]:41000".parse::<SocketAddr>().unwrap();
    request.extensions_mut().insert(Peer(mapped));
    assert_eq!(routes().oneshot(request).await.unwrap().status(), StatusCode::OK);
}
