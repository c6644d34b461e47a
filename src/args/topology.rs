//! The flags of `pointsman topology`.

use std::path::PathBuf;

use super::Format;

const EXAMPLE: &str = "\
Examples:
  # What would change on the nodes of the current cluster?
  ibnetdiscover | pointsman topology import - --nodes-from-cluster --dry-run

  # Write it; ports that are not Active are told by a dump that knows states
  pointsman topology import nd.txt --state iblinkinfo.txt --apply

  # Beside OpenSM: import whenever it has written its dump anew
  pointsman topology watch /var/log/opensm-subnet.lst

  # Look at it
  pointsman topology show nd.txt -o svg > fabric.svg
  pointsman topology check nd.txt
  pointsman topology distance node01 node02 nd.txt --rails";

/// `pointsman topology`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Topology {
    /// What to do.
    #[command(subcommand)]
    pub command: TopologyCommand,
}

/// What `pointsman topology` does.
#[derive(Clone, Debug, PartialEq, clap::Subcommand)]
pub enum TopologyCommand {
    /// Make labels and annotations of nodes from dumps of the fabric.
    Import(Import),
}

const IMPORT_EXAMPLE: &str = "\
Examples:
  ibnetdiscover | pointsman topology import - --nodes-from-cluster --dry-run
  pointsman topology import plane1.txt plane2.txt --state opensm-subnet.lst --apply
  pointsman topology import nd.txt --nodes nodes.yaml --map hosts.map --dry-run -o json

Exit code 0: done. 1: refused, or some node could not be written to. 2: wrong usage, or a dump that is not whole.";

/// `pointsman topology import`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = IMPORT_EXAMPLE)]
pub struct Import {
    /// Where the fabric and the nodes are read from.
    #[command(flatten)]
    pub sources: Sources,

    /// Only show what would change; also what happens without --apply.
    #[arg(long, conflicts_with = "apply")]
    pub dry_run: bool,

    /// Write to the cluster: labels and the annotation of the nodes that change, and the Lease pointsman-fabric.
    #[arg(long, conflicts_with = "nodes")]
    pub apply: bool,

    /// Whether and how it may be written.
    #[command(flatten)]
    pub writing: Writing,

    /// How the result is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Where the fabric and the nodes are read from.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Sources {
    /// Dumps of the fabric, or `-` for standard input: ibnetdiscover (also -p, -g, -f), iblinkinfo -l, OpenSM's
    /// opensm-subnet.lst, SLURM's topology.conf, UFM's /ufmRest/resources/ports; told apart by their content. Several
    /// are several subnets, or lie over each other.
    #[arg(value_name = "FILE|-", required = true)]
    pub files: Vec<PathBuf>,

    /// One more dump, of a format that knows the states of ports (iblinkinfo -l, opensm-subnet.lst, UFM).
    #[arg(long, value_name = "FILE")]
    pub state: Vec<PathBuf>,

    /// Which nodes there are.
    #[command(flatten)]
    pub nodes: NodeSources,
}

/// Which nodes there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct NodeSources {
    /// Nodes and SriovNetworkNodeStates as `kubectl get -o yaml` prints them, or node names, one a line.
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "nodes_from_cluster")]
    pub nodes: Vec<PathBuf>,

    /// Ask the cluster. Without this and without --nodes, every host counts as a node of the name it carries.
    #[arg(long)]
    pub nodes_from_cluster: bool,

    /// Lines `host=node` for hosts whose names do not tell; a host is also a node or port GUID (0x..).
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,

    /// Where the SR-IOV operator keeps its objects; every namespace when not given.
    #[arg(long, value_name = "NS")]
    pub sriov_namespace: Option<String>,
}

/// Whether and how it may be written.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Writing {
    /// Refuse when more than this share of the hosts that the last import knew is gone, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_shrink: u8,

    /// Write even so.
    #[arg(long)]
    pub force: bool,

    /// Namespace of the Lease pointsman-fabric.
    #[arg(long, value_name = "NS", default_value = "pointsman-system")]
    pub namespace: String,
}
