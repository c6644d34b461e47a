//! What machines read about a running program: log lines and metrics.
//!
//! Both are views of values that other modules have already decided; nothing in here decides, and no label or
//! key is made from what a user wrote (the sets are closed, so neither cardinality nor vocabulary can grow). Resources
//! and pools, which the cluster's operators name, have series of their own up to a bound.

pub mod label;
pub mod logging;
pub mod metrics;
pub mod stock;
