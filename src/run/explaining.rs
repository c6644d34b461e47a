//! `pointsman explain`: a pod in, the reasons out.

use std::process::ExitCode;

use anyhow::Context as _;
use kube::config::KubeConfigOptions;
use kube::{Client, Config};

use super::{Failure, printing};
use crate::args::Explain;
use crate::config::Configuration;
use crate::explain::{ExplainError, Explained, Source, explain, write_table};
use crate::simulate::SimulateError;
use crate::simulate::meet::Wanted;

/// Explains and prints.
pub(super) fn run(flags: Explain) -> Result<ExitCode, Failure> {
    let Explain {
        pod,
        namespace,
        output,
        from,
        new,
        context,
        config,
    } = flags;
    let configuration =
        Configuration::load(config.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    let runtime = super::runtime()?;
    let Explained { report, findings } = runtime.block_on(async {
        let (source, namespace) = if from.is_empty() {
            let (client, own) = cluster(context).await?;
            (Source::Cluster(client), namespace.or(Some(own)))
        } else {
            (Source::Files(from), namespace)
        };
        let wanted = Wanted {
            namespace,
            name: pod,
            new: !new.is_empty(),
        };
        explain(source, &new, wanted, configuration)
            .await
            .map_err(|error| match error {
                ExplainError::Simulate(SimulateError::Input(_)) | ExplainError::NoPod(_) => {
                    Failure::Input(error.into())
                }
                ExplainError::Simulate(_) | ExplainError::Listing { .. } => Failure::Work(error.into()),
            })
    })?;
    for finding in &findings {
        eprintln!("pointsman: {}: {}", finding.object, finding.problems);
    }
    printing::report(&report, output, |out| write_table(&report, out))?;
    Ok(if report.waiting {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A client by the usual rules, and the namespace it is in.
async fn cluster(context: Option<String>) -> Result<(Client, String), Failure> {
    let config = match context {
        None => Config::infer()
            .await
            .context("there is no cluster to talk to: neither a kubeconfig nor a service account")?,
        context => {
            let options = KubeConfigOptions {
                context,
                ..KubeConfigOptions::default()
            };
            Config::from_kubeconfig(&options)
                .await
                .context("the kubeconfig has no such context")?
        }
    };
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
    Ok((client, namespace))
}
