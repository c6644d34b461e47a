//! Free loopback ports.
//!
//! They are chosen outside the range from which the kernel takes the local ports of outgoing connections: between our
//! look and the server's bind, any of the many connections on this machine could otherwise take the port. Another test
//! run still could; whoever starts a server tries again with other ports when it says so.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Linux gives outgoing connections ports from 32768 up.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static HANDED_OUT: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on, and that this process has not handed out before.
pub(crate) fn free() -> u16 {
    let mut handed_out = HANDED_OUT.lock().unwrap();
    loop {
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        let port = FIRST + u16::try_from(random).unwrap();
        if !handed_out.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            handed_out.insert(port);
            return port;
        }
    }
}
