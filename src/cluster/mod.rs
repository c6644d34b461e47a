//! The cluster as it arrives: foreign objects with only the fields we need, made into the values that
//! [`crate::decide`] works on, and kept as an index that publishes snapshots. Nothing in here decides.

pub mod convert;
pub mod fabric;
pub mod findings;
mod go_json;
pub mod index;
pub mod list;
pub mod multus;
pub mod objects;
pub mod quantity;
pub mod sight;
pub mod watch;
