//! Admission from the outside: reviews posted to the router, and what a pod becomes.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tables of cases are long, and what tests call says what it expects in the shortest way"
)]

mod addresses;
mod bytes;
mod cluster;
mod http;
mod properties;
mod reference;
mod validate;
mod verdicts;
