//! One connection to one of our own listeners, over which JSON goes out and comes back.

use core::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection.
pub(super) struct Client {
    requests: SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

/// Why a listener of our own did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection could not be made, or broke.
    #[error("the connection to {address} failed: {why}")]
    Connection {
        /// Of the listener.
        address: SocketAddr,
        /// What happened.
        why: String,
    },
    /// It answered, but not with what the contract says.
    #[error("{path} answered {status}: {body}")]
    Answer {
        /// The path that was asked.
        path: &'static str,
        /// The status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

impl Client {
    /// Connects, with TLS where `tls` is given; the name in the certificate is `localhost`.
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, CallError> {
        let failed = |why: String| CallError::Connection { address, why };
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| failed(error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| failed(error.to_string()))?;
        let requests = match tls {
            None => requests(stream).await,
            Some(config) => {
                let name = ServerName::try_from("localhost").map_err(|error| failed(error.to_string()))?;
                let stream = TlsConnector::from(config)
                    .connect(name, stream)
                    .await
                    .map_err(|error| failed(error.to_string()))?;
                requests(stream).await
            }
        };
        Ok(Self {
            requests: requests.map_err(|error| failed(error.to_string()))?,
            address,
        })
    }

    /// Posts a question and reads the answer.
    pub(super) async fn post<A: DeserializeOwned>(
        &mut self,
        path: &'static str,
        question: &impl Serialize,
    ) -> Result<A, CallError> {
        let address = self.address;
        let failed = |why: String| CallError::Connection { address, why };
        let body = serde_json::to_vec(question).map_err(|error| failed(error.to_string()))?;
        let request = Request::post(path)
            .header(header::HOST, self.address.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| failed(error.to_string()))?;
        self.requests
            .ready()
            .await
            .map_err(|error| failed(error.to_string()))?;
        let response = self
            .requests
            .send_request(request)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| failed(error.to_string()))?
            .to_bytes();
        let answer = |why: &str| CallError::Answer {
            path,
            status,
            body: format!("{}{why}", String::from_utf8_lossy(&body)),
        };
        if status != StatusCode::OK {
            return Err(answer(""));
        }
        serde_json::from_slice(&body).map_err(|error| answer(&format!(" ({error})")))
    }
}

/// Speaks HTTP over a stream; the connection lives as long as what is returned.
async fn requests<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(requests)
}
