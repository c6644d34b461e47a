//! The benchmark of `serve`: the real program over real sockets, beside reference servers in the same run, the server
//! on one core and the load on the other. What counts are ratios inside one run; bare times of a machine say little.
//!
//! ```text
//! make bench          everything, some minutes; writes the table of docs/performance.md
//! make bench-short    a small cluster and few requests; fails when a ratio is grossly off
//! make soak           pods come and go for half an hour; see soak.rs
//! cargo bench --bench serve -- full W2    one workload, for whoever works on it; writes nothing
//! ```
//!
//! `POINTSMAN_BENCH_GO` is the path of the Go reference server (`go/build` prints it); without it, it is left out.

#![allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a benchmark is a test: it says what it expects in the shortest way"
)]

mod admin;
mod api;
mod load;
mod reference;
mod report;
mod right;
mod server;
mod soak;
mod workloads;
mod world;

use std::process::ExitCode;

use reference::Reference;

/// As the program has it, so that the reference servers differ from it in their work alone.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the first provider");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments.as_slice() {
        ["--reference", which, webhook, extender, tls] => {
            let which = if *which == "floor" {
                Reference::Floor
            } else {
                Reference::Plain
            };
            let address = |text: &str| text.parse().expect("an address");
            runtime.block_on(reference::serve(
                which,
                address(webhook),
                address(extender),
                tls.as_ref(),
            ));
            ExitCode::SUCCESS
        }
        [] | ["full"] => run(&runtime, &workloads::FULL),
        ["soak", minutes, rate] => {
            let minutes: f64 = minutes.parse().expect("minutes");
            let length = std::time::Duration::from_secs_f64(minutes * 60.0);
            runtime.block_on(soak::run(length, rate.parse().expect("pods a second")))
        }
        ["short"] => run(&runtime, &workloads::SHORT),
        ["short", only @ ("W1" | "W2" | "W4" | "W5")] => run(&runtime, &workloads::SHORT.only(only)),
        ["full", only @ ("W1" | "W2" | "W4" | "W5")] => run(&runtime, &workloads::FULL.only(only)),
        other => {
            println!("usage: serve [full|short] [W1|W2|W4|W5], or serve soak MINUTES RATE, not {other:?}");
            ExitCode::from(2)
        }
    }
}

fn run(runtime: &tokio::runtime::Runtime, plan: &workloads::Plan) -> ExitCode {
    let figures = runtime.block_on(workloads::run(plan));
    let table = report::table(&figures, plan);
    println!("{table}");
    if plan.writes {
        report::write(&table);
    }
    let problems = report::gross(&figures);
    for problem in &problems {
        println!("gross regression: {problem}");
    }
    ExitCode::from(u8::from(!problems.is_empty()))
}
