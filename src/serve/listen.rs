//! Listeners: accept, shake hands, serve HTTP/1.1 or HTTP/2, and let connections finish when told to stop.
//!
//! The loop is our own because what it must keep is not on offer: a bound on connections, time limits for
//! handshake, first request and idleness, and an end that waits for answers under way. It never reads a
//! request itself and never fails: what is wrong with one connection ends that connection.

use core::net::SocketAddr;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use super::limits::{self, ConnectionLimits};
use super::places::{Patience, Place, Places, Traffic};
use crate::telemetry::label::ListenerName;
use crate::telemetry::logging::key;

/// A bound address, ready to serve.
pub struct Listener {
    name: ListenerName,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: ConnectionLimits,
}

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// An address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("the {name} listener cannot use {address}")]
pub struct ListenError {
    name: ListenerName,
    address: SocketAddr,
    source: io::Error,
}

impl Listener {
    /// Binds `address`; connections wait in the kernel's queue until [`Self::serve`].
    ///
    /// # Errors
    /// When the address is taken, not ours, or not allowed.
    pub async fn bind(name: ListenerName, address: SocketAddr) -> Result<Self, ListenError> {
        let bound = async {
            let socket = TcpListener::bind(address).await?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bound.await.map_err(|source| ListenError {
            name,
            address,
            source,
        })?;
        Ok(Self {
            name,
            socket,
            address,
            tls: None,
            limits: limits::CONNECTIONS,
        })
    }

    /// Speaks TLS, with the certificate that `config` resolves at each handshake.
    #[must_use]
    pub fn with_tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(TlsAcceptor::from(config));
        self
    }

    /// Other limits than [`limits::CONNECTIONS`].
    #[must_use]
    pub fn with_limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The address with the port that was really bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop`, then refuses new connections and returns once those it has are done.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        info!(
            { key::LISTENER } = %self.name,
            { key::ADDRESS } = %self.address,
            tls = self.tls.is_some(),
            "listening"
        );
        let places = Arc::new(Places::new(self.limits.connections));
        let connections = TaskTracker::new();
        while let Some(placed) = self.next(&places, &stop).await {
            connections.spawn(attend(
                placed,
                self.tls.clone(),
                router.clone(),
                self.limits,
                stop.clone(),
            ));
        }
        drop(self.socket);
        connections.close();
        connections.wait().await;
    }

    /// The next connection, once there is a place for it; none after `stop`.
    async fn next(&self, places: &Arc<Places>, stop: &CancellationToken) -> Option<Placed> {
        // Waiting out a burst of errors: the usual one is a lack of file descriptors, and accept fails at
        // once as long as it lasts.
        const AFTER_ERROR: Duration = Duration::from_millis(100);

        let accepted = async {
            loop {
                match self.socket.accept().await {
                    Ok((stream, peer)) => {
                        // A head and a body in two segments would wait for the peer's delayed ACK: 40 ms.
                        if let Err(error) = stream.set_nodelay(true) {
                            debug!({ key::LISTENER } = %self.name, { key::ERROR } = %error, "no TCP_NODELAY");
                        }
                        return Placed {
                            stream,
                            peer: Peer(peer),
                            place: Places::take(places).await,
                        };
                    }
                    Err(error) => {
                        warn!({ key::LISTENER } = %self.name, { key::ERROR } = %error, "accept failed");
                        sleep(AFTER_ERROR).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => None,
            next = accepted => Some(next),
        }
    }
}

/// A connection and the place it takes among those allowed at once.
struct Placed {
    stream: TcpStream,
    peer: Peer,
    place: Place,
}

async fn attend(
    placed: Placed,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let Placed { stream, peer, place } = placed;
    let attended = async {
        let Some(acceptor) = tls else {
            return converse(stream, peer, router, limits, place.traffic(), stop).await;
        };
        match timeout(limits.handshake, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, limits, place.traffic(), stop).await,
            Ok(Err(error)) => debug!({ key::ERROR } = %error, "TLS handshake failed"),
            Err(_elapsed) => debug!("TLS handshake timed out"),
        }
    };
    tokio::select! {
        () = attended => {}
        () = place.given_up() => debug!("a quiet connection gave its place to a new one"),
    }
}

/// Serves one connection until the peer closes, `stop` or patience ends.
async fn converse<I>(
    io: I,
    peer: Peer,
    router: Router,
    limits: ConnectionLimits,
    traffic: Arc<Traffic>,
    stop: CancellationToken,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let watched = Arc::clone(&traffic);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let under_way = Traffic::begin(&watched);
        // For handlers that ask who calls.
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request.map(Body::new));
        async move {
            let answer = answer.await;
            drop(under_way);
            answer
        }
    });
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut patience = pin!(sleep(limits.first_request));
    let mut stopping = false;
    let mut closing = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!({ key::ERROR } = %error, "connection ended");
                }
                return;
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = patience.as_mut() => match traffic.patience(&limits) {
                _ if closing => return,
                Patience::Until(then) => patience.as_mut().reset(then),
                Patience::NeverSpoke => return,
                Patience::Idle => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                    patience.as_mut().reset(Instant::now() + limits.closing);
                }
            },
        }
    }
}

/// Both HTTP versions, told apart by the first bytes (and by ALPN before them).
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // hyper counts idle time as time for the next head, which would cut kept-alive connections after 30 s;
        // `Traffic` times both.
        .header_read_timeout(None)
        .max_buf_size(limits::HTTP1_BUFFER);
    let (interval, patience) = limits::PING;
    // Streams at once, pending resets and local resets keep hyper's bounds (200, 20, 1024): they answer rapid
    // reset and its kin.
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(interval)
        .keep_alive_timeout(patience)
        .max_header_list_size(limits::HTTP2_HEAD);
    builder
}
