//! From dumps of an InfiniBand fabric to labels and annotations of nodes.
//!
//! Everything in here is a function of values: texts become [`dump::Dump`]s, those together a [`model::Fabric`], whose
//! ports are matched to nodes ([`matching`]) and whose leaves are grouped ([`layout`]); a [`survey::Survey`] is all of
//! that seen from the hosts, and a [`plan::Plan`] what should be written. Only [`input`] reads files and
//! only [`live`] talks to the cluster.

pub mod check;
pub mod distance;
pub mod dump;
pub mod following;
pub mod format;
pub mod host;
pub mod input;
pub mod layout;
pub mod live;
pub mod matching;
pub mod model;
pub mod node;
pub mod objects;
pub mod picture;
pub mod plan;
pub mod report;
pub mod survey;
pub mod svg;
pub mod views;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
