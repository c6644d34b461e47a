//! The cluster as it arrives: foreign objects with only the fields we need, made into the values that
//! [`crate::decide`] works on. Nothing in here decides.

mod go_json;
pub mod multus;
