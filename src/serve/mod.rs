//! Everything between a socket and a handler: listeners, TLS, limits, probes, shutdown.
//!
//! Nothing in here knows a pod, a pool or a verdict; handlers come in as axum routers and are the same ones
//! that tests and `simulate` call without a socket.

pub mod admin;
pub mod answer;
pub mod limits;
pub mod listen;
pub mod log_level;
pub mod page;
mod places;
pub mod readiness;
pub mod self_signed;
pub mod shutdown;
pub mod tls;
pub mod tls_directory;
pub mod verify;
pub mod who;
