//! The report for people.

use std::io::{self, Write};

use super::report::{GangReport, Reason, Report, Scored};
use crate::simulate::columns::plural;

/// Domains shown of each tier; the others are summed up.
const DOMAINS: usize = 8;

/// Writes the report, the answer first.
///
/// # Errors
/// When `out` cannot be written to.
pub fn write_table(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}/{} {}", report.namespace, report.name, verdict(report))?;
    write_reasons(report, out)?;
    write_change(report, out)?;
    write_claim(report, out)?;
    if let Some(gang) = &report.gang {
        write_gang(gang, out)?;
    }
    if let Some(hours) = report.old_fabric_data_hours {
        writeln!(
            out,
            "\nWhat the Subnet Manager says of the fabric is {hours} h old, more than fabric.maxAge: rails that were dark or \
             slow speak against a node, and refuse none; see that pointsman topology import runs"
        )?;
    }
    Ok(())
}

fn verdict(report: &Report) -> String {
    let best = || {
        let best = report
            .best_nodes
            .iter()
            .map(|best| format!("\n  {}  {}", best.node, score(best)));
        best.collect::<String>()
    };
    match (report.standing, &report.node) {
        ("bound", Some(node)) => {
            let rank = report.best_nodes.iter().find(|best| best.node == *node);
            let score = rank.map_or_else(String::new, |best| {
                format!("; as things stand now {}", score(best))
            });
            format!("is on {node}{score}")
        }
        ("wouldFit", _) => format!("fits on {} now:{}", plural(report.fitting_nodes, "node"), best()),
        ("denied", _) => "would not be admitted".to_owned(),
        ("ended", _) => "has ended".to_owned(),
        _ => "waits: it fits on no node".to_owned(),
    }
}

fn score(best: &Scored) -> String {
    let Scored {
        node: _,
        score,
        closeness,
        packing,
        headroom,
    } = best;
    format!("score {score}: closeness {closeness}, packing {packing}, headroom {headroom}")
}

fn write_reasons(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.reasons.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{}",
        if report.waiting {
            "Why:"
        } else {
            "Not on other nodes because:"
        }
    )?;
    for Reason {
        reason,
        nodes,
        examples,
        detail,
        remedy,
    } in &report.reasons
    {
        match nodes {
            0 => writeln!(out, "  {reason}")?,
            nodes => writeln!(out, "  {reason} ({})", plural(*nodes, "node"))?,
        }
        writeln!(out, "    {detail}")?;
        if examples.len() > 1 {
            let others: Vec<&str> = examples.iter().skip(1).map(String::as_str).collect();
            let more = if *nodes > examples.len() { ", …" } else { "" };
            writeln!(out, "    also {}{more}", others.join(", "))?;
        }
        writeln!(out, "    what helps: {remedy}")?;
    }
    Ok(())
}

fn write_change(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.smallest_change.is_empty() || report.standing == "denied" {
        return Ok(());
    }
    if report.change_tried {
        writeln!(out, "\nIt would run with:")?;
    } else {
        writeln!(out, "\nWhat is known to help:")?;
    }
    for change in &report.smallest_change {
        writeln!(out, "  {change}")?;
    }
    for other in &report.other_changes {
        writeln!(out, "or with:")?;
        for change in other {
            writeln!(out, "  {change}")?;
        }
    }
    Ok(())
}

fn write_claim(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let Some(claim) = &report.claim else {
        return Ok(());
    };
    writeln!(out, "\nIt needs:")?;
    if claim.vfs.is_empty() && report.rails.is_empty() {
        writeln!(
            out,
            "  no VF and no address: Pointsman has no say in where it goes"
        )?;
    }
    for (resource, count) in &claim.vfs {
        writeln!(out, "  {count} of {resource}")?;
    }
    if let Some(network) = &claim.exclusive {
        writeln!(out, "  a node in exclusive RDMA mode ({network})")?;
    }
    for rail in &report.rails {
        let pools: Vec<String> = rail
            .pools
            .iter()
            .map(|pool| {
                let promised = match pool.promised {
                    0 => String::new(),
                    promised => format!(", {promised} promised"),
                };
                format!("{} ({} free of {}{promised})", pool.name, pool.free, pool.size)
            })
            .collect();
        writeln!(
            out,
            "  an {} address on {} from {}",
            rail.family,
            rail.interface,
            pools.join(" or ")
        )?;
    }
    Ok(())
}

fn write_gang(gang: &GangReport, out: &mut impl Write) -> io::Result<()> {
    let size = gang
        .size
        .map_or_else(|| "of unknown size".to_owned(), |size| format!("of {size}"));
    writeln!(
        out,
        "\nGang {} {size}, locality {}: {} placed, {} to come",
        gang.name,
        gang.locality,
        gang.placed.len(),
        gang.to_come
    )?;
    if !gang.held.is_empty() {
        let held: Vec<String> = gang
            .held
            .iter()
            .map(|(node, pods)| format!("{pods} on {node}"))
            .collect();
        writeln!(out, "  held for it: {}", held.join(", "))?;
    }
    let mut tiers: Vec<&str> = gang.domains.iter().map(|domain| domain.tier.as_str()).collect();
    tiers.dedup();
    for tier in tiers {
        let of_tier = || gang.domains.iter().filter(|domain| domain.tier == tier);
        let mut domains: Vec<_> = of_tier().collect();
        domains.sort_by_key(|domain| (!domain.settled, domain.missing));
        writeln!(out, "  {tier}:")?;
        for domain in domains.iter().take(DOMAINS) {
            let against: Vec<String> = domain
                .against
                .iter()
                .map(|(reason, nodes)| format!("{nodes} × {reason}"))
                .collect();
            let settled = if domain.settled { ", the gang is here" } else { "" };
            let why = if against.is_empty() {
                String::new()
            } else {
                format!("; {}", against.join(", "))
            };
            writeln!(
                out,
                "    {}: room for {} of {}{settled}{why}",
                domain.domain, domain.takes, gang.to_come
            )?;
        }
        let rest = of_tier().count().saturating_sub(DOMAINS);
        if rest > 0 {
            writeln!(out, "    and {rest} with no more room")?;
        }
    }
    Ok(())
}
