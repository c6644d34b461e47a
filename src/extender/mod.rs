//! The kube-scheduler extender: which nodes can take a pod (`/filter`), which is best (`/prioritize`), on which others
//! may be evicted for it (`/preempt`), and the binding itself (`/bind`), with every promise kept in one ledger until
//! the API shows it.
//!
//! All but `bind` write nothing to the API. Handlers decode, convert, decide and encode; the decisions
//! are [`crate::decide`]'s.

pub mod api;
mod begun;
pub mod bind;
pub mod events;
pub mod expected;
mod handler;
pub mod insight;
pub mod ledger;
pub mod notices;
pub mod nudge;
mod preempt;
pub mod sampling;
pub mod stocktaking;
mod supply;
pub mod verify;

pub use handler::{State, router};
