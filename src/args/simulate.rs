//! The flags of `pointsman simulate`.

use core::net::SocketAddr;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Examples:
  # The example cluster of this repository
  pointsman simulate manifests/examples/demo

  # Would this Job fit on the cluster as it is now?
  kubectl get -A -o yaml nodes,pods,namespaces,network-attachment-definitions,spidermultusconfigs,spiderippools,\\
spiderreservedips,sriovnetworknodestates > cluster.yaml
  pointsman simulate cluster.yaml job.yaml


  # Look at the result in a browser
  pointsman simulate --serve 127.0.0.1:8080 manifests/examples/demo

Exit code 0: every pending pod found a node. 1: one was denied, or found none. 2: wrong usage or input.";

/// `pointsman simulate`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Simulate {
    /// YAML or JSON files as `kubectl get -o yaml` prints them, or folders of such files. Jobs, JobSets, Deployments
    /// and StatefulSets are expanded into their pods; pods with a node are taken as they are. An object that is given
    /// twice counts as given last.
    #[arg(value_name = "FILE|DIR", required = true)]
    pub paths: Vec<PathBuf>,

    /// How the result is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,

    /// Shuffle the order in which nodes are tried, to see that the result does not depend on it.
    #[arg(long, value_name = "SEED")]
    pub repeat: Option<u64>,

    /// Then serve the page, `/state` and `/explain` of `serve`'s admin endpoint here over what came of it, until
    /// interrupted.
    #[arg(long, value_name = "ADDR")]
    pub serve: Option<SocketAddr>,

    /// Configuration file, as `serve` takes it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs that prefer it.
    Yaml,
}
