//! `pointsman topology watch`: imports dumps whenever they have changed.

use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::surveyed;
use crate::args::Watch;
use crate::decide::problem::chain;
use crate::run::{Failure, cluster};
use crate::serve::shutdown;
use crate::telemetry::logging::{self, key};
use crate::topology::following::{Following, Patience, Stamp};
use crate::topology::input;
use crate::topology::live::{self, Imported};
use crate::topology::plan::{Plan, allowed};

/// How often files are looked at; a look costs a `stat` each.
const LOOK: Duration = Duration::from_millis(500);
/// How long to wait after the cluster could not be reached.
const RETRY: Duration = Duration::from_secs(10);

/// Runs until it is told to end.
pub(super) async fn run(flags: Watch) -> Result<ExitCode, Failure> {
    logging::start(flags.log_format, flags.log_level.clone());
    let client = cluster().await?;
    let mut signals = shutdown::signals().context("signals cannot be listened for")?;
    let files: Vec<PathBuf> = flags.files.iter().chain(&flags.state).cloned().collect();
    let patience = Patience {
        settle: flags.settle,
        again: flags.again,
        retry: RETRY,
    };
    let start = Instant::now();
    let mut following = Following::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = signals.recv() => return Ok(ExitCode::SUCCESS),
            _ = ticks.tick() => {}
        }
        let stamps: Vec<Stamp> = files.iter().map(stamp).collect();
        if !following.look(start.elapsed(), &stamps, patience) {
            continue;
        }
        let outcome = tokio::select! {
            _ = signals.recv() => return Ok(ExitCode::SUCCESS),
            outcome = import(&client, &flags, &files) => outcome,
        };
        following.tried(start.elapsed(), &stamps, outcome.is_ok());
    }
}

fn stamp(file: &PathBuf) -> Stamp {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// It is worth another try soon.
struct Retry;

/// One import. What the files themselves are the reason of is told and waits for them to change.
async fn import(client: &Client, flags: &Watch, files: &[PathBuf]) -> Result<(), Retry> {
    let dumps = match input::dumps(files, Timestamp::now()) {
        Ok(dumps) => dumps,
        Err(problems) => {
            warn!({ key::ERROR } = %problems, "the dump is not imported");
            return Ok(());
        }
    };
    let made_at = dumps.made_at;
    let cluster = live::nodes(client, flags.sriov_namespace.as_deref())
        .await
        .map_err(|error| {
            warn!({ key::ERROR } = %chain(&error), "the nodes are not known");
            Retry
        })?;
    let (survey, plan) = match surveyed(dumps, Some(&cluster), flags.map.as_deref()) {
        Ok(found) => found,
        Err(failure) => {
            warn!({ key::ERROR } = %failure, "the dump is not imported");
            return Ok(());
        }
    };
    if let Err(refusal) = allowed(&survey, &cluster.nodes, flags.writing.max_shrink) {
        warn!({ key::ERROR } = %refusal, forced = flags.writing.force, "the dump is doubtful");
        if !flags.writing.force {
            return Ok(());
        }
    }
    written(client, flags, &plan, made_at, files).await
}

async fn written(
    client: &Client,
    flags: &Watch,
    plan: &Plan,
    made_at: Timestamp,
    files: &[PathBuf],
) -> Result<(), Retry> {
    let failures = live::apply(client, plan, |_| {}).await;
    for (node, error) in &failures {
        warn!({ key::NODE } = %node, { key::ERROR } = %chain(error), "the node cannot be written to");
    }
    if !failures.is_empty() {
        return Err(Retry);
    }
    let imported = Imported {
        made_at,
        by: files
            .iter()
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
        nodes: plan.nodes.len(),
        dark: plan.dark(),
    };
    if let Err(error) = live::renew(client, &flags.writing.namespace, &imported).await {
        warn!({ key::ERROR } = %chain(&error), "the import cannot be told");
        return Err(Retry);
    }
    info!(
        { key::NODES } = imported.nodes,
        { key::PATCHED } = plan.changed(),
        dark = imported.dark,
        unmatched = plan.unmatched.len(),
        ambiguous = plan.ambiguous.len(),
        warnings = plan.warnings.len(),
        "imported"
    );
    Ok(())
}
