//! The flags of `pointsman check`.

use std::path::PathBuf;

use super::Format;
use crate::check::gather::PodAt;
use crate::decide::names::NodeName;

const EXAMPLE: &str = "\
Examples:
  # The cluster of the current kubeconfig
  pointsman check

  # Why does this node take no RDMA pod?
  pointsman check --node gpu-17

  # Did this pod get what it was promised?
  pointsman check --pod research/train-0

  # A cluster somebody has saved
  pointsman check --from cluster.yaml -o json

Exit code 0: no row says no (those that cannot be told are listed). 1: a row says no. 2: wrong usage or input, or no \
answer from the API server.";

/// `pointsman check`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Checklist {
    /// YAML or JSON files as `kubectl get -o yaml` prints them, or folders of such files, in place of a live cluster.
    /// A kind of which they hold nothing is unknown. An object that is given twice counts as given last.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pub from: Vec<PathBuf>,

    /// Look at this node only.
    #[arg(long, value_name = "NAME", conflicts_with = "pod", value_parser = node)]
    pub node: Option<NodeName>,

    /// Compare what this pod was promised with what it got.
    #[arg(long, value_name = "NS/NAME", value_parser = pod)]
    pub pod: Option<PodAt>,

    /// A KubeSchedulerConfiguration that is in no ConfigMap, as of a scheduler in the control plane.
    #[arg(long, value_name = "FILE")]
    pub scheduler_config: Vec<PathBuf>,

    /// The namespace that Pointsman runs in.
    #[arg(long, value_name = "NS", default_value = "pointsman-system")]
    pub namespace: String,

    /// How the rows are printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,

    /// Configuration file, as `serve` takes it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

fn node(text: &str) -> Result<NodeName, &'static str> {
    if text.is_empty() {
        Err("expected the name of a node")
    } else {
        Ok(text.into())
    }
}

fn pod(text: &str) -> Result<PodAt, &'static str> {
    let (namespace, name) = text
        .split_once('/')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or("expected NAMESPACE/NAME")?;
    Ok(PodAt {
        namespace: namespace.into(),
        name: name.into(),
    })
}
