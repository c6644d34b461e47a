//! The flags of `pointsman scheduler-config`.

use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  # For the dedicated scheduler, from the cluster of the current kubeconfig
  pointsman scheduler-config

  # Add the extender to the cluster's own kube-scheduler
  pointsman scheduler-config --mode existing --merge /etc/kubernetes/scheduler-config.yaml

  # Without a cluster
  kubectl get -A -o yaml network-attachment-definitions,spidermultusconfigs > networks.yaml
  pointsman scheduler-config --from networks.yaml

Exit code 0: printed. 1: no configuration can be made, as when a resource would be named twice. 2: wrong usage or input.";

/// `pointsman scheduler-config`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct SchedulerConfig {
    /// For a scheduler of our own, or for the cluster's; as the configuration says when not given.
    #[arg(long, value_enum, value_name = "MODE")]
    pub mode: Option<Mode>,

    /// YAML as `kubectl get -o yaml` prints it, in place of a live cluster.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pub from: Vec<PathBuf>,

    /// Add the extender to this KubeSchedulerConfiguration, in place of making a new one.
    #[arg(long, value_name = "FILE")]
    pub merge: Option<PathBuf>,

    /// Where the scheduler finds the extender.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8888")]
    pub extender_url: String,

    /// Leave binding to the scheduler or another extender; set scheduler.bind: false in the configuration, too.
    #[arg(long)]
    pub no_bind: bool,

    /// How it is printed; a scheduler reads both.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "yaml")]
    pub output: Notation,

    /// Configuration file, as `serve` takes it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Whose scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Our own, beside the cluster's.
    Dedicated,
    /// The cluster's.
    Existing,
}

/// How a configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Notation {
    /// For people.
    Yaml,
    /// For programs.
    Json,
}
