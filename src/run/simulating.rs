//! `pointsman simulate`: files in, a report out.

use core::net::SocketAddr;
use core::time::Duration;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{Failure, printing};
use crate::args::{Format, Simulate};
use crate::config::{Configuration, Reservation};
use crate::explain::http;
use crate::extender::insight::LateInsight;
use crate::serve::limits::{self, guarded};
use crate::serve::listen::Listener;
use crate::serve::page;
use crate::simulate::{Input, SimulateError, stand, write_table};
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
    let runtime = super::runtime()?;
    let stood = runtime.block_on(stand(&input)).map_err(|error| match error {
        SimulateError::Input(error) => Failure::Input(error.into()),
        error @ (SimulateError::Servers(_) | SimulateError::Call(_)) => Failure::Work(error.into()),
    })?;
    let report = &stood.report;
    if output != Format::Table {
        // The result's form is fixed there and has no place for these.
        for finding in &report.findings {
            eprintln!("pointsman: {}: {}", finding.object, finding.problems);
        }
    }
    printing::report(report, output, |out| write_table(report, printing::style(), out))?;
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
