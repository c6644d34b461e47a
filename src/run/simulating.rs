//! `pointsman simulate`: files in, a report out.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use anyhow::Context as _;

use super::Failure;
use crate::args::{Format, Simulate};
use crate::config::Configuration;
use crate::simulate::{Input, Report, SimulateError, Style, simulate, write_table};

/// Simulates and prints.
pub(super) fn run(flags: Simulate) -> Result<ExitCode, Failure> {
    let Simulate {
        paths,
        output,
        repeat,
        config,
    } = flags;
    let input = Input {
        paths,
        configuration: Configuration::load(config.as_deref())
            .map_err(|error| Failure::Input(error.into()))?,
        seed: repeat,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let report = runtime.block_on(simulate(&input)).map_err(|error| match error {
        SimulateError::Input(error) => Failure::Input(error.into()),
        error @ (SimulateError::Servers(_) | SimulateError::Call(_)) => Failure::Work(error.into()),
    })?;
    match print(&report, output, &mut io::stdout().lock()) {
        // Whoever read enough of it has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("the result cannot be printed")?,
    }
    Ok(if report.all_placed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report, format: Format, out: &mut impl Write) -> io::Result<()> {
    let text = match format {
        Format::Table => {
            let in_color =
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            let style = if in_color { Style::Terminal } else { Style::Plain };
            return write_table(report, style, out);
        }
        Format::Json => serde_json::to_string_pretty(report).map_err(io::Error::other)? + "\n",
        Format::Yaml => serde_saphyr::to_string(report).map_err(io::Error::other)?,
    };
    // The result's form is fixed and has no place for these.
    for finding in &report.findings {
        eprintln!("pointsman: {}: {}", finding.object, finding.problems);
    }
    out.write_all(text.as_bytes())
}
