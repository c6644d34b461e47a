//! What the program under test says of itself on its admin endpoint.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One self-check.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) is_sound: bool,
    pub(crate) compared: u64,
    pub(crate) held_ms: f64,
    pub(crate) took_ms: f64,
}

/// Has it check itself.
pub(crate) async fn check(admin: SocketAddr) -> Check {
    let text = get(admin, "/debug/verify").await;
    let report: Value = serde_json::from_str(&text).expect("JSON");
    let parts = report["parts"].as_array().expect("a list");
    let sum = |key: &str| parts.iter().filter_map(|part| part[key].as_u64()).sum();
    let differences = sum("differences");
    if report["sound"] != true {
        println!("the self-check found: {}", report["differences"]);
    }
    Check {
        is_sound: report["sound"] == true && differences == 0,
        compared: sum("compared"),
        held_ms: report["heldMs"].as_f64().expect("a number"),
        took_ms: report["tookMs"].as_f64().expect("a number"),
    }
}

/// The body of what the admin endpoint answers.
pub(crate) async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    body.to_owned()
}
