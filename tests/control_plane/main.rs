//! Contract tests: the program on a real control plane, with the real Spiderpool behind it.
//!
//! What only the real parts can tell is tested here (bytes on the wire, order, timing, races); everything else has a
//! cheaper test. Each test has its own nodes, resource names, networks and pools, so all of them run side by side on one
//! control plane. Contents:
//!
//! - [`processes`]: the harness itself leaves nothing behind.
//! - [`smoke`]: the real parts work together without us.
//!
//! `make control-plane` runs them; `harness/` says how.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops with the reason; JSON is indexed all over"
)]

#[allow(dead_code, reason = "the contract tests come next")]
mod harness;
mod processes;
mod smoke;
