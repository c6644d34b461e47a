//! `make cluster`: the control plane of the tests, with four InfiniBand nodes and a profile, for a person to play with.
//!
//! With the argument `record` it records golden requests instead (`make record`), with `placement` it measures how well
//! gangs are placed (`make placement`), with `throughput` how many pods a second a scheduler binds (`make bench-scheduler`).
//!
//! It runs until it is ended; everything it started ends with it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the harness is written for tests, and this uses a part of it"
)]

mod harness;
mod placement;
mod record;
mod recorder;
#[path = "../../benches/serve/reference.rs"]
mod reference;
mod throughput;
#[path = "../../benches/serve/world.rs"]
mod world;

use harness::nodes::IbNode;
use harness::objects::Profile;
use harness::scene::Scene;
use harness::stack::Setup;
use reference::Reference;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("record") => return harness::run(record::record()),
        Some("placement") => return harness::run(placement::measure()),
        Some("throughput") => return harness::run(throughput::measure()),
        // What that starts beside the scheduler.
        Some("plain") => {
            let address = std::env::args().nth(2).unwrap().parse().unwrap();
            return harness::run(reference::serve_extender(Reference::Plain, address));
        }
        _ => {}
    }
    harness::run(async {
        // What ends it looks here; see tools/cluster.
        std::fs::write(
            harness::tools::cache().join("cluster.pid"),
            std::process::id().to_string(),
        )
        .unwrap();
        let plane = harness::plane::shared().await;
        let stack = Setup::new("pointsman", &["ib"]).start(plane).await;
        for number in 0..4 {
            let group = format!("su-{}", number / 2 + 1);
            let node = IbNode::new(format!("node-{number}")).label("pointsman.io/leaf-group", &group);
            node.rails("ib", 8).create(plane).await;
        }
        let scene = Scene::open(&stack, "play").await;
        Profile::new("eight-rails", "ib", 1)
            .rails(8)
            .create(plane, &scene.namespace)
            .await;
        println!(
            "Ready. `make cluster-down` ends it.\n\n  \
             export KUBECONFIG={}\n\n\
             Namespace {}, profile eight-rails: annotate a pod with pointsman.io/profile: eight-rails.",
            plane.kubeconfig("admin").display(),
            scene.namespace,
        );
        std::future::pending::<()>().await;
    });
}
