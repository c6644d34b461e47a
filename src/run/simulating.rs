//! `pointsman simulate`: files in, a report out.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::args::{Format, Simulate};
use crate::config::{Configuration, Reservation};
use crate::explain::http;
use crate::extender::insight::LateInsight;
use crate::serve::limits::{self, guarded};
use crate::serve::listen::Listener;
use crate::serve::page;
use crate::simulate::{Input, Report, SimulateError, Style, stand, write_table};
use crate::telemetry::label::ListenerName;
use crate::telemetry::metrics::Metrics;

/// Longer than anybody looks at a page.
const STILL: Duration = Duration::from_hours(24 * 365);

/// Simulates and prints.
pub(super) fn run(flags: Simulate) -> Result<ExitCode, Failure> {
    let Simulate {
        paths,
        output,
        repeat,
        serve,
        config,
    } = flags;
    let mut configuration =
        Configuration::load(config.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    if serve.is_some() {
        // Nothing goes on in there: what is promised stays so for whoever looks.
        configuration.reservation = Reservation {
            hold: STILL,
            gang: STILL,
            lifetime: STILL,
        };
    }
    let input = Input {
        paths,
        configuration,
        seed: repeat,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    let stood = runtime.block_on(stand(&input)).map_err(|error| match error {
        SimulateError::Input(error) => Failure::Input(error.into()),
        error @ (SimulateError::Servers(_) | SimulateError::Call(_)) => Failure::Work(error.into()),
    })?;
    let report = &stood.report;
    match print(report, output, &mut io::stdout().lock()) {
        // Whoever read enough of it has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("the result cannot be printed")?,
    }
    if let Some(address) = serve {
        runtime.block_on(show(address, &stood.insight))?;
    }
    Ok(if report.all_placed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Serves the page over what came of the simulation, until interrupted.
async fn show(address: SocketAddr, insight: &LateInsight) -> anyhow::Result<()> {
    let listener = Listener::bind(ListenerName::Admin, address).await?;
    let routes = page::document()
        .merge(page::state(Arc::clone(insight)))
        .merge(http::router(Arc::clone(insight)));
    let metrics = Arc::new(Metrics::new());
    let routes = guarded(routes, ListenerName::Admin, limits::ADMIN, metrics);
    eprintln!("\nThe page: http://{}/   (Ctrl-C ends it)", listener.address());
    let stop = CancellationToken::new();
    tokio::select! {
        () = listener.serve(routes, stop.clone()) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("signals cannot be listened for")?,
    }
    Ok(())
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
