//! A TCP proxy that stands between two parts and fails as networks and processes fail.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::ports;

const ERROR: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What happens to connections.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Fault {
    /// Nothing: bytes pass.
    None,
    /// They are accepted, and no byte of theirs is passed on or answered; those that were open are closed.
    Stall,
    /// Each new one waits so long before its first byte is passed on.
    Late(Duration),
    /// They are closed at once, and so are those that were open.
    Refuse,
    /// Whatever comes is answered with an error of HTTP, which under TLS is no answer at all; those that were open are closed.
    Err,
}

pub(crate) struct Faults {
    fault: Arc<watch::Sender<Fault>>,
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Faults {
    /// Listens on a port of its own and passes everything on to `to`.
    pub(crate) async fn before(to: u16) -> Self {
        Self::before_any(vec![to]).await
    }

    /// The same in front of several, of which each connection goes to the next that takes it.
    pub(crate) async fn before_any(to: Vec<u16>) -> Self {
        let port = ports::free();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let (faults, connections) = (Arc::clone(&fault), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut to = to.clone();
                let turn = count.fetch_add(1, Ordering::SeqCst) % to.len();
                to.rotate_left(turn);
                tokio::spawn(pass(stream, to, faults.subscribe()));
            }
        });
        Self {
            fault,
            port,
            connections,
        }
    }

    /// How many connections were made to it so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

async fn pass(mut stream: TcpStream, to: Vec<u16>, mut fault: watch::Receiver<Fault>) {
    let at_first = *fault.borrow_and_update();
    match at_first {
        Fault::Refuse => return,
        Fault::Err => {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(ERROR).await;
            return;
        }
        Fault::Stall => {
            // Until the other side gives up, or the fault changes.
            let _ = fault.changed().await;
            return;
        }
        Fault::Late(time) => tokio::time::sleep(time).await,
        Fault::None => {}
    }
    let mut onward = None;
    for port in to {
        if let Ok(taken) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            onward = Some(taken);
            break;
        }
    }
    let Some(mut onward) = onward else { return };
    let _ = (stream.set_nodelay(true), onward.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut stream, &mut onward) => {}
        () = cut(&mut fault) => {}
    }
}

/// Returns when connections that are open are to be closed.
async fn cut(fault: &mut watch::Receiver<Fault>) {
    loop {
        if fault.changed().await.is_err() {
            return std::future::pending().await;
        }
        if matches!(
            *fault.borrow_and_update(),
            Fault::Refuse | Fault::Stall | Fault::Err
        ) {
            return;
        }
    }
}
