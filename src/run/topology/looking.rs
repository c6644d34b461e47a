//! `pointsman topology show`, `check` and `distance`: what only looks.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::anyhow;
use jiff::Timestamp;

use super::{nodes, surveyed, wrong};
use crate::args::{Check, Distance, Format, Look, MaybeDumps, NodeSources, Rails, Show};
use crate::decide::fabric::Rail;
use crate::run::{Failure, cluster, printing};
use crate::simulate::columns::{table, write_lines};
use crate::topology::check::{self, Answer, Row};
use crate::topology::distance;
use crate::topology::input::{self, Dumps};
use crate::topology::live;
use crate::topology::matching::HostKey;
use crate::topology::model::Fabric;
use crate::topology::objects::Cluster;
use crate::topology::picture::Picture;
use crate::topology::survey::Survey;
use crate::topology::svg::write_svg;
use crate::topology::views::{PictureWire, write_dot, write_tree};

/// Draws the fabric.
pub(super) async fn show(flags: Show) -> Result<ExitCode, Failure> {
    let Show { dumps, output } = flags;
    let picture = if dumps.files.is_empty() {
        Picture::of_nodes(&carried(&dumps.nodes).await?.nodes)
    } else {
        let (survey, plan, _) = seen(&dumps).await?;
        Picture::of_survey(&survey, &plan)
    };
    printing::print(|out| match output {
        Look::Tree => write_tree(&picture, out),
        Look::Dot => write_dot(&picture, out),
        Look::Svg => write_svg(&picture, out),
        Look::Json => printing::json(&PictureWire::from(&picture), out),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Asks what is wrong.
pub(super) async fn check(flags: Check) -> Result<ExitCode, Failure> {
    let Check {
        dumps,
        max_age,
        namespace,
        output,
    } = flags;
    let now = Timestamp::now();
    let since = |made: Timestamp| now.duration_since(made).try_into().unwrap_or_default();
    let mut rows = Vec::new();
    if dumps.files.is_empty() {
        let cluster = carried(&dumps.nodes).await?;
        let rails: Vec<(String, &Rail)> = cluster
            .nodes
            .iter()
            .flat_map(|(name, facts)| facts.rails.iter().map(move |rail| (name.to_string(), rail)))
            .collect();
        rows.extend(check::rails(&rails));
        if dumps.nodes.nodes.is_empty() {
            let imported = live::imported_at(&crate::run::cluster().await?, &namespace).await?;
            rows.push(imported.map_or_else(check::never, |made| check::age(since(made), max_age)));
        }
    } else {
        let files: Vec<_> = dumps.files.iter().chain(&dumps.state).cloned().collect();
        let (mut read, made_at) = input::read(&files, now).map_err(wrong)?;
        rows.push(check::files(&read));
        // What is whole of a torn file is looked at all the same; only an import refuses it.
        for (_, dump) in &mut read {
            dump.torn.clear();
        }
        let fabric = Fabric::of(read).map_err(wrong)?;
        let cluster = asked(&dumps.nodes).await?;
        let (survey, plan) = surveyed(
            Dumps { fabric, made_at },
            cluster.as_ref(),
            dumps.nodes.map.as_deref(),
        )?;
        rows.extend(check::fabric(
            &survey,
            &plan,
            cluster.as_ref().map(|cluster| &cluster.nodes),
        ));
        rows.push(check::age(since(made_at), max_age));
    }
    print_rows(&rows, output)?;
    Ok(if rows.iter().any(|row| row.answer == Answer::No) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Counts the switches between two hosts.
pub(super) async fn distance(flags: Distance) -> Result<ExitCode, Failure> {
    let Distance {
        one,
        other,
        dumps,
        rails,
        output,
    } = flags;
    let unknown = |name: &str| Failure::Input(anyhow!("{name} is not known to the fabric"));
    let mut found = if dumps.files.is_empty() {
        let cluster = carried(&dumps.nodes).await?;
        let facts = |name: &str| cluster.nodes.get(name).ok_or_else(|| unknown(name));
        distance::by_labels(facts(&one)?, facts(&other)?)
    } else {
        let (survey, _, _) = seen(&dumps).await?;
        let rails = |name: &str| rails_of(&survey, name).ok_or_else(|| unknown(name));
        distance::on_fabric(&survey.fabric, rails(&one)?, rails(&other)?)
    };
    let wanted = rails.unwrap_or(Rails::All);
    found.retain(|distance| wanted.holds(distance.rail));
    if found.is_empty() {
        return Err(Failure::Input(anyhow!(
            "{one} and {other} have none of these rails"
        )));
    }
    print_distances(&found, output)?;
    Ok(if found.iter().all(|distance| distance.switches.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The rails of a host, by the name of its node or its own.
fn rails_of<'a>(survey: &'a Survey, name: &str) -> Option<&'a [Rail]> {
    let node = HostKey::Node(name.into());
    let other = HostKey::Other(name.to_lowercase());
    survey
        .hosts
        .get(&node)
        .or_else(|| survey.hosts.get(&other))
        .map(Vec::as_slice)
}

/// What dumps describe.
async fn seen(dumps: &MaybeDumps) -> Result<(Survey, crate::topology::plan::Plan, Option<Cluster>), Failure> {
    let files: Vec<_> = dumps.files.iter().chain(&dumps.state).cloned().collect();
    let read = input::dumps(&files, Timestamp::now()).map_err(wrong)?;
    let cluster = asked(&dumps.nodes).await?;
    let (survey, plan) = surveyed(read, cluster.as_ref(), dumps.nodes.map.as_deref())?;
    Ok((survey, plan, cluster))
}

/// The nodes, where somebody said where they are to be taken from.
async fn asked(sources: &NodeSources) -> Result<Option<Cluster>, Failure> {
    let client = if sources.nodes_from_cluster {
        Some(cluster().await?)
    } else {
        None
    };
    nodes(sources, client.as_ref()).await
}

/// The nodes with what they carry: from files, or else from the cluster.
async fn carried(sources: &NodeSources) -> Result<Cluster, Failure> {
    if !sources.nodes.is_empty() {
        return input::nodes(&sources.nodes).map_err(wrong);
    }
    let client = cluster().await?;
    let read = live::nodes(&client, sources.sriov_namespace.as_deref()).await?;
    for warning in &read.warnings {
        eprintln!("pointsman: {warning}");
    }
    Ok(read)
}

fn print_rows(rows: &[Row], output: Format) -> Result<(), Failure> {
    let wire = BTreeMap::from([("rows", rows)]);
    printing::report(&wire, output, |out| {
        let mut lines = table(printing::style(), &["CHECK", "ANSWER", "EVIDENCE", "REMEDY"]);
        for row in rows {
            lines.add_row([&row.subject, &row.answer.to_string(), &row.evidence, &row.remedy]);
        }
        write_lines(&lines, out)
    })
}

fn print_distances(found: &[distance::Distance], output: Format) -> Result<(), Failure> {
    let at = |rail: &Option<Rail>| {
        rail.as_ref().map_or_else(
            || "no such rail".to_owned(),
            |rail| {
                let port = rail.port.map(|port| format!("/{port}")).unwrap_or_default();
                format!("{}{port} {}", rail.leaf_name, rail.state)
            },
        )
    };
    let wire: Vec<_> = found
        .iter()
        .map(|distance| {
            let leaf = |rail: &Option<Rail>| {
                rail.as_ref()
                    .and_then(|rail| rail.leaf)
                    .map(|leaf| leaf.to_string())
            };
            serde_json::json!({
                "rail": distance.rail,
                "leaves": [leaf(&distance.one), leaf(&distance.other)],
                "switches": distance.switches,
            })
        })
        .collect();
    let wire = BTreeMap::from([("rails", wire)]);
    printing::report(&wire, output, |out| {
        let mut lines = table(printing::style(), &["RAIL", "FROM", "TO", "SWITCHES"]);
        for distance in found {
            let switches = distance
                .switches
                .map_or_else(|| "no way known".to_owned(), |switches| switches.to_string());
            lines.add_row([
                distance.rail.to_string(),
                at(&distance.one),
                at(&distance.other),
                switches,
            ]);
        }
        write_lines(&lines, out)
    })
}
