//! `pointsman topology`: dumps of the fabric in, labels and annotations of nodes out.

mod looking;
mod watching;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use jiff::Timestamp;
use kube::Client;

use super::{Failure, cluster, printing, runtime};
use crate::args::{Format, Import, NodeSources, Sources, Topology, TopologyCommand, Writing};
use crate::decide::problem::Problems;
use crate::simulate::columns::plural;
use crate::topology::input::{self, Dumps};
use crate::topology::live::{self, Imported};
use crate::topology::objects::Cluster;
use crate::topology::plan::{Plan, allowed, plan};
use crate::topology::report::{PlanWire, write_plan};
use crate::topology::survey::{Survey, survey};

/// Does what the command asks for.
pub(super) fn run(flags: Topology) -> Result<ExitCode, Failure> {
    let runtime = runtime()?;
    runtime.block_on(async {
        match flags.command {
            TopologyCommand::Import(flags) => import(flags).await,
            TopologyCommand::Show(flags) => looking::show(flags).await,
            TopologyCommand::Check(flags) => looking::check(flags).await,
            TopologyCommand::Distance(flags) => looking::distance(flags).await,
            TopologyCommand::Watch(flags) => watching::run(flags).await,
        }
    })
}

async fn import(flags: Import) -> Result<ExitCode, Failure> {
    let Import {
        sources,
        dry_run: _,
        apply,
        writing,
        output,
    } = flags;
    let by = sources
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect::<Vec<_>>()
        .join(", ");
    let dumps = read(&sources)?;
    let made_at = dumps.made_at;
    // Nothing can be written to nodes that nobody has asked for.
    let client = if apply || sources.nodes.nodes_from_cluster {
        Some(cluster().await?)
    } else {
        None
    };
    let nodes = nodes(&sources.nodes, client.as_ref()).await?;
    let (survey, mut plan) = surveyed(dumps, nodes.as_ref(), sources.nodes.map.as_deref())?;
    let refusal = nodes
        .as_ref()
        .and_then(|cluster| allowed(&survey, &cluster.nodes, writing.max_shrink).err());
    if let Some(refusal) = &refusal {
        if !writing.force && apply {
            return Err(Failure::Work(anyhow!("nothing was written: {refusal}")));
        }
        plan.warnings.push(format!("{refusal}"));
    }
    print_plan(&plan, output)?;
    let Some(client) = client.filter(|_| apply) else {
        return Ok(if refusal.is_some() && !writing.force {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        });
    };
    write(&client, &plan, &writing, made_at, by).await
}

/// Writes a plan to the cluster.
async fn write(
    client: &Client,
    plan: &Plan,
    writing: &Writing,
    made_at: Timestamp,
    by: String,
) -> Result<ExitCode, Failure> {
    let all = plan.changed();
    let shown = io::stderr().is_terminal();
    let failures = live::apply(client, plan, |done| {
        if shown {
            // One line that is written over, and left behind when all is done.
            let end = if done == all { "\n" } else { "" };
            eprint!("\rpointsman: {done} of {} written{end}", plural(all, "node"));
        }
    })
    .await;
    for (node, error) in &failures {
        eprintln!("pointsman: node {node} cannot be written to: {error}");
    }
    if !failures.is_empty() {
        return Err(Failure::Work(anyhow!(
            "{} of {} could not be written to; the next import writes what is missing",
            failures.len(),
            plural(all, "node")
        )));
    }
    let imported = Imported {
        made_at,
        by,
        nodes: plan.nodes.len(),
        dark: plan.dark(),
    };
    live::renew(client, &writing.namespace, &imported).await?;
    Ok(ExitCode::SUCCESS)
}

fn read(sources: &Sources) -> Result<Dumps, Failure> {
    let files: Vec<_> = sources.files.iter().chain(&sources.state).cloned().collect();
    input::dumps(&files, Timestamp::now()).map_err(wrong)
}

/// The nodes, from wherever they are to be taken; none where nobody said.
async fn nodes(sources: &NodeSources, client: Option<&Client>) -> Result<Option<Cluster>, Failure> {
    if !sources.nodes.is_empty() {
        return Ok(Some(input::nodes(&sources.nodes).map_err(wrong)?));
    }
    match client {
        Some(client) => Ok(Some(
            live::nodes(client, sources.sriov_namespace.as_deref()).await?,
        )),
        None => Ok(None),
    }
}

fn surveyed(dumps: Dumps, cluster: Option<&Cluster>, map: Option<&Path>) -> Result<(Survey, Plan), Failure> {
    let map = input::map(map).map_err(wrong)?;
    let nodes = cluster.map(|cluster| &cluster.nodes);
    let survey = survey(dumps.fabric, nodes, &map);
    let mut plan = plan(&survey, nodes);
    match cluster {
        Some(cluster) => plan.warnings.extend(cluster.warnings.iter().cloned()),
        None => plan.warnings.push(
            "nobody said which nodes there are: every host counts as a node of the name it carries \
             (--nodes-from-cluster, --nodes)"
                .to_owned(),
        ),
    }
    Ok((survey, plan))
}

fn print_plan(plan: &Plan, output: Format) -> Result<(), Failure> {
    printing::report(&PlanWire::from(plan), output, |out| {
        write_plan(plan, printing::style(), out)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped with")]
fn wrong(problems: Problems) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Failure::Input(anyhow!("{}", lines.join("\n  ")))
}
