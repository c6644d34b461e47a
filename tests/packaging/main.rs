//! What is installed, judged by the tools that install it: Helm, kubeconform, promtool, crane.
//!
//! - [`chart`]: the chart is sound, and the plain manifests are what it renders to.
//! - [`schemas`]: what three minors of Kubernetes say of their own objects, for kubeconform.
//! - [`monitoring`]: alert rules, runbook and dashboard.
//! - [`tools`] builds or finds the tools.
//!
//! `make packaging` runs them. What an installation does in a cluster is tested in `tests/control_plane/install.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops with the reason; JSON is indexed all over"
)]

mod chart;
mod monitoring;
mod schemas;
mod tools;
