//! `pointsman check`: a cluster or files in, a checklist out.

use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Failure, printing};
use crate::args::Checklist;
use crate::check::gather::{self, Question};
use crate::check::{Facts, check, live, write_table};
use crate::config::Configuration;
use crate::simulate::load;

/// Checks and prints.
pub(super) fn run(flags: Checklist) -> Result<ExitCode, Failure> {
    let Checklist {
        from,
        node,
        pod,
        scheduler_config,
        namespace,
        output,
        config,
    } = flags;
    let configuration =
        Configuration::load(config.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    let mut scheduler_files = Vec::new();
    for path in scheduler_config {
        let file = gather::scheduler_file(&path)
            .with_context(|| format!("{} cannot be read", path.display()))
            .map_err(Failure::Input)?;
        scheduler_files.push(file);
    }
    let question = Question {
        configuration,
        namespace,
        node,
        pod,
        scheduler_files,
        now: Timestamp::now(),
    };
    let facts = if from.is_empty() {
        ask(question).map_err(Failure::Input)?
    } else {
        let objects = load::load(&from).map_err(|error| Failure::Input(error.into()))?;
        gather::from_files(objects, question).map_err(|error| Failure::Input(error.into()))?
    };
    let report = check(&facts);
    printing::report(&report, output, |out| {
        write_table(&report, printing::style(), out)
    })?;
    Ok(if report.is_fine() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The facts of the live cluster. Exit code 1 is for an answer, so that no answer has the other one.
fn ask(question: Question) -> anyhow::Result<Facts> {
    super::runtime()?.block_on(async {
        let client = super::cluster().await?;
        Ok(live::from_cluster(&client, question).await?)
    })
}
