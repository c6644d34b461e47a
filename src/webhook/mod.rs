//! Admission: what kube-apiserver sends, what it is answered, and the patch in between.
//!
//! The pod is never decoded whole and never encoded again: fields that a newer Kubernetes has and we do not know
//! stay what they were, byte for byte. Nothing in here decides, and nothing asks the API server.

pub mod facts;
pub mod handler;
pub mod known;
pub mod patch;
pub mod review;
mod validate;

pub use handler::{PATIENCE, State, router};
