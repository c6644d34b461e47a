//! What stands between a socket and a handler, tried from outside: over real sockets, and with the real binary
//! where the process itself matters. One target, because each one costs a link.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "functions that tests call say what they expect in the shortest way, as tests do"
)]

mod absent;
mod attacks;
mod common;
mod configuration;
mod http_limits;
mod log_level;
mod metrics;
mod self_signed;
mod shutdown;
mod tls_rotation;
mod who;
