//! From dumps of an InfiniBand fabric to labels and annotations of nodes.
//!
//! Everything in here is a function of values: texts become [`dump::Dump`]s, those together a
//! [`model::Fabric`], whose ports are [`matching`]ed to nodes and whose leaves are grouped by [`layout`].

pub mod dump;
pub mod format;
pub mod host;
pub mod layout;
pub mod matching;
pub mod model;
pub mod node;

#[cfg(test)]
mod tests;
