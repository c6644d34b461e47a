//! Pointsman gives Kubernetes pods exclusive RDMA over InfiniBand SR-IOV.
//!
//! The map of the crate, in reading order; each line may use only the lines above it:
//!
//! - [`decide`]: every decision, as pure functions of values (no clock, no socket, no Kubernetes types);
//! - [`cluster`]: foreign objects with only the fields we need, watches, and the index that publishes snapshots;
//! - [`config`]: the configuration file, strict, with a default for everything;
//! - [`telemetry`]: log lines and metrics, the views of a verdict that machines read;
//! - [`webhook`]: admission: wire types, JSON Patch, the `/mutate` handler;
//! - [`extender`]: the kube-scheduler extender: wire types, the ledger of promises, handlers, nudging;
//! - [`serve`]: listeners, TLS, the admin endpoint, shutdown;
//! - [`simulate`]: the same decisions on YAML files, without a cluster;
//! - [`topology`]: dumps of the fabric to labels and annotations of nodes;
//! - [`scheduler_config`]: the KubeSchedulerConfiguration that makes a scheduler ask the extender;
//! - [`explain`]: why a pod waits or sits where it sits, and what would let it run;
//! - [`check`]: is the cluster such that it can work, row by row;
//! - [`args`]: the command line, checked as a whole;
//! - [`run`]: wiring of the subcommands.

pub mod args;
pub mod check;
pub mod cluster;
pub mod config;
pub mod decide;
pub mod explain;
pub mod extender;
pub mod run;
pub mod scheduler_config;
pub mod serve;
pub mod simulate;
pub mod telemetry;
pub mod topology;
pub mod webhook;
