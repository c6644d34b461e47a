//! The flags of `pointsman explain`.

use std::path::PathBuf;

use super::Format;

const EXAMPLE: &str = "\
Examples:
  # Why does it wait? By what the cluster of the current kubeconfig holds now
  pointsman explain train-0 -n research
  kubectl pointsman explain train-0 -n research     # the same, as a kubectl plugin

  # The same from saved YAML
  pointsman explain train-0 --from cluster.yaml

  # Would this Job's first pod fit, if it were created now?
  pointsman explain -f job.yaml -n research

Exit code 0: it runs, or would fit. 1: it waits, or would not be admitted. 2: wrong usage, or no such pod.";

/// `pointsman explain`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct Explain {
    /// The pod: NAME or NAMESPACE/NAME. With -f it may be left out: the first pod that the file makes.
    #[arg(value_name = "POD", required_unless_present_any = ["new", "from"])]
    pub pod: Option<String>,

    /// Its namespace: by default that of the kubeconfig, or with --from any that has such a pod.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// How the answer is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub output: Format,

    /// Saved YAML, as `kubectl get -o yaml` prints it, in place of a cluster. Pods that wait longer take their places
    /// first, as in `simulate`.
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pub from: Vec<PathBuf>,

    /// A pod that does not exist yet, or what would make it (Job, JobSet, Deployment, StatefulSet).
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub new: Vec<PathBuf>,

    /// The context of the kubeconfig to use.
    #[arg(long, value_name = "NAME", conflicts_with = "from")]
    pub context: Option<String>,

    /// Configuration file, as `serve` takes it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Explain {
    /// `--from` takes all that follows it, a pod's name, too: the last one that is no path is the pod.
    pub(super) fn checked(mut self) -> Result<Self, String> {
        if self.pod.is_none()
            && self.new.is_empty()
            && self.from.len() > 1
            && let Some(last) = self.from.pop_if(|last| !last.exists())
        {
            self.pod = Some(last.display().to_string());
        }
        if self.pod.is_none() && self.new.is_empty() {
            return Err("which pod? give its NAME, or with -f a file that makes one".to_owned());
        }
        let split = self.pod.as_deref().and_then(|pod| pod.split_once('/'));
        let split = split.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        match split {
            // As kubectl names objects.
            Some((kind, name)) if matches!(kind.as_str(), "pod" | "pods" | "po") => self.pod = Some(name),
            Some((namespace, name)) => {
                if self.namespace.as_ref().is_some_and(|given| *given != namespace) {
                    return Err(format!(
                        "the pod is said to be in namespace {namespace} and, by --namespace, in another"
                    ));
                }
                self.namespace = Some(namespace);
                self.pod = Some(name);
            }
            None => {}
        }
        Ok(self)
    }
}
