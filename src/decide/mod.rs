//! The decisions, as pure functions of values.
//!
//! Nothing in here reads a clock, a file, a socket or an environment variable, awaits, logs, or knows JSON or
//! Kubernetes' own types: time, policy and cluster arrive as arguments, verdicts leave as values. The fence is
//! kept by the two lints below (lists in `clippy.toml`) and by a test that reads the imports of this folder.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod address;
pub mod amounts;
pub mod annotation;
pub mod changes;
pub mod claim;
pub mod cluster;
pub mod commitment;
pub mod decision;
pub mod device;
pub mod endpoint;
pub mod explanation;
pub mod fabric;
mod feeds;
mod fitness;
pub mod gang;
pub mod links;
pub mod mutation;
pub mod names;
mod naming;
pub mod network;
pub mod node;
pub mod placement;
pub mod pod;
pub mod policy;
pub mod pool;
pub mod preemption;
pub mod problem;
pub mod reason;
pub mod reference;
pub mod roster;
pub mod score;
pub mod selector;
pub mod settings;
pub mod stock;
pub mod suits;
pub mod supply;
pub mod survey;
#[cfg(test)]
pub(crate) mod testing;
pub mod tier;
pub mod validation;
pub mod wildcard;
