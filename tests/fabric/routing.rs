//! `make routing`: what a placement, and the order of ranks in it, do to the links of a fabric. The figures of
//! docs/routing.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it prints a table, and what cannot go on stops with the reason"
)]
#![allow(dead_code, reason = "the lab is shared with the tests, which use more of it")]

mod cluster;
mod lab;
mod plan;
mod replay;

use lab::Lab;
use plan::Plan;
use replay::{Load, Tables, by_the_scheduler, by_us, groups, shuffled, sorted};

const SEEDS: [u64; 3] = [1, 2, 3];

fn main() {
    let plan = Plan::rails(32, 4);
    let (_lab, manager) = Lab::up(&plan);
    let dump = manager.forwarding_tables(&plan);
    let tables = Tables::read(&plan, &dump);
    for queue in [vec![16, 16, 16, 16], vec![24, 24, 16], vec![40, 24]] {
        println!("\n{queue:?} hosts a job, one ring on each of 4 rails:");
        println!(
            "{:<44} {:>9} {:>14} {:>6} {:>13} {:>12}",
            "placement", "groups", "local/crossing", "uses", "most per link", "shared links"
        );
        let row = |name: &str, jobs: &[Vec<String>]| {
            let Load {
                flows,
                local,
                uses,
                most,
                shared,
            } = tables.load(jobs);
            let in_groups: Vec<String> = groups(&plan, jobs).iter().map(ToString::to_string).collect();
            println!(
                "{name:<44} {:>9} {:>14} {uses:>6} {most:>13} {shared:>12}",
                in_groups.join(" "),
                format!("{local}/{}", flows - local)
            );
        };
        let ours = by_us(&plan, &queue);
        for seed in SEEDS {
            let jobs = by_the_scheduler(&plan, &queue, seed);
            row(&format!("kube-scheduler alone (model, seed {seed})"), &jobs);
            row(
                "  the same nodes, ranks by fabric position",
                &sorted(&plan, &jobs),
            );
        }
        for seed in SEEDS {
            row(
                &format!("ours, ranks in random order (seed {seed})"),
                &shuffled(&ours, seed),
            );
        }
        row("ours, ranks in the order of the pods", &ours);
        row("ours, ranks by fabric position", &sorted(&plan, &ours));
    }
}
