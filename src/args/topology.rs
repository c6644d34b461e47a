//! The flags of `pointsman topology`.

use core::ops::RangeInclusive;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use super::Format;
use crate::telemetry::logging::{LogFormat, LogLevel};

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
    /// Draw the fabric: as a tree, for Graphviz, as a picture.
    Show(Show),
    /// What is wrong with the fabric, or with what is known of it.
    Check(Check),
    /// How many switches are between two hosts, rail by rail.
    Distance(Distance),
    /// Import dumps at once, and again whenever they change.
    Watch(Watch),
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

const SHOW_EXAMPLE: &str = "\
Examples:
  pointsman topology show nd.txt
  pointsman topology show nd.txt --state iblinkinfo.txt -o svg > fabric.svg
  pointsman topology show nd.txt -o dot | dot -Tpdf > fabric.pdf
  pointsman topology show                          # what the nodes of the current cluster carry";

/// `pointsman topology show`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = SHOW_EXAMPLE)]
pub struct Show {
    /// Dumps of the fabric, as `import` takes them; without any, what the nodes carry from the last import.
    #[command(flatten)]
    pub dumps: MaybeDumps,

    /// How it is shown.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "tree")]
    pub output: Look,
}

/// How a fabric is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Look {
    /// For people.
    Tree,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

/// Dumps that may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct MaybeDumps {
    /// Dumps of the fabric, or `-` for standard input, as `import` takes them; without any, what the nodes of the
    /// cluster carry from the last import.
    #[arg(value_name = "FILE|-")]
    pub files: Vec<PathBuf>,

    /// One more dump, of a format that knows the states of ports.
    #[arg(long, value_name = "FILE", requires = "files")]
    pub state: Vec<PathBuf>,

    /// Which nodes there are.
    #[command(flatten)]
    pub nodes: NodeSources,
}

const CHECK_EXAMPLE: &str = "\
Examples:
  pointsman topology check nd.txt --state iblinkinfo.txt --nodes-from-cluster
  pointsman topology check                         # what the nodes of the current cluster carry

Exit code 0: nothing is wrong. 1: something is. 2: wrong usage, or a file that is no dump.";

/// `pointsman topology check`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = CHECK_EXAMPLE)]
pub struct Check {
    /// Dumps of the fabric; without any, what the nodes carry from the last import.
    #[command(flatten)]
    pub dumps: MaybeDumps,

    /// How old what is known may be.
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = super::duration_flag)]
    pub max_age: Duration,

    /// Namespace of the Lease pointsman-fabric, which says when the last import was made.
    #[arg(long, value_name = "NS", default_value = "pointsman-system")]
    pub namespace: String,

    /// How the result is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

const DISTANCE_EXAMPLE: &str = "\
Examples:
  pointsman topology distance node01 node02 nd.txt
  pointsman topology distance node01 node02 nd.txt --rails 0-3
  pointsman topology distance node01 node02        # by what the nodes of the current cluster carry

Exit code 0: every rail of both reaches the other's. 1: some does not. 2: wrong usage, or a host that is not known.";

/// `pointsman topology distance`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = DISTANCE_EXAMPLE)]
pub struct Distance {
    /// A node, or a host by its name on the fabric.
    #[arg(value_name = "A")]
    pub one: String,

    /// Another one.
    #[arg(value_name = "B")]
    pub other: String,

    /// Dumps of the fabric; without any, what the nodes carry from the last import.
    #[command(flatten)]
    pub dumps: MaybeDumps,

    /// Only these rails: numbers and ranges, such as 0-3,5; all without a value.
    #[arg(long, value_name = "RAILS", num_args = 0..=1, default_missing_value = "all")]
    pub rails: Option<Rails>,

    /// How the result is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Some rails, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rails {
    /// Every one.
    All,
    /// Those in these ranges.
    Some(Vec<RangeInclusive<u16>>),
}

impl Rails {
    /// Whether a rail is among them.
    #[must_use]
    pub fn holds(&self, rail: u16) -> bool {
        match self {
            Self::All => true,
            Self::Some(ranges) => ranges.iter().any(|range| range.contains(&rail)),
        }
    }
}

impl FromStr for Rails {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        text.split(',')
            .map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
            })
            .collect::<Option<Vec<_>>>()
            .map(Self::Some)
            .ok_or("expected numbers and ranges, such as 0-3,5, or all")
    }
}

const WATCH_EXAMPLE: &str = "\
Examples:
  # In a sidecar beside OpenSM, which writes its dump after every change
  pointsman topology watch /var/log/opensm-subnet.lst

  # The cabling from one file, the states from another
  pointsman topology watch nd.txt --state /var/log/opensm-subnet.lst --map hosts.map";

/// `pointsman topology watch`.
#[derive(Clone, Debug, PartialEq, clap::Args)]
#[command(after_help = WATCH_EXAMPLE)]
pub struct Watch {
    /// Dumps of the fabric, as `import` takes them; imported at once and whenever one of them changes.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,

    /// One more dump, of a format that knows the states of ports.
    #[arg(long, value_name = "FILE")]
    pub state: Vec<PathBuf>,

    /// Lines `host=node` for hosts whose names do not tell; a host is also a node or port GUID (0x..).
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,

    /// Where the SR-IOV operator keeps its objects; every namespace when not given.
    #[arg(long, value_name = "NS")]
    pub sriov_namespace: Option<String>,

    /// Whether and how it may be written.
    #[command(flatten)]
    pub writing: Writing,

    /// How long a file must not have changed before it is read.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = super::duration_flag)]
    pub settle: Duration,

    /// After how long files are imported again though they have not changed, because nodes may have.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = super::duration_flag)]
    pub again: Duration,

    /// How log lines look.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "json",
        env = "POINTSMAN_LOG_FORMAT"
    )]
    pub log_format: LogFormat,

    /// A level (`error`, `warn`, `info`, `debug`, `trace`).
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "POINTSMAN_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
}
