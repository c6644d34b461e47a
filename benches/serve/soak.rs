//! The soak: the real `serve` for a long time under pods that come and go, against a simulated API server. Its memory,
//! descriptors and threads must stay as they are, its self-check must find nothing, and at the end nothing may be left.

mod api;
mod churn;
mod cluster;
mod random;
mod sample;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::api::Api;
use self::churn::{Churn, Targets};
use self::sample::{Leftover, Sample, Samples};
use crate::admin::{check, get};
use crate::load::{self, Target};
use crate::server::Server;

/// How long until nothing may be left once no more pods come: they live for 9 s, a hold lasts 30, stock is taken
/// every 5 to 30.
const DRAINING: Duration = Duration::from_mins(3);

/// The churn is the same in every run, what the processes make of it is not.
const SEED: u64 = 8;

/// Something in here went wrong: a task that panics ends alone, and the soak would go on without it.
static BROKEN: AtomicBool = AtomicBool::new(false);

fn tell_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        BROKEN.store(true, Ordering::Relaxed);
        usual(panic);
    }));
}

/// Soaks for so long, with so many new pods a second.
pub(crate) async fn run(length: Duration, rate: usize) -> ExitCode {
    tell_panics();
    let folder = tempfile::tempdir().expect("a folder");
    let tls = load::certificate(folder.path());
    let api = Api::start(SEED).await;
    fill(&api);
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).expect("a file");
    let certificate = folder.path().to_owned();
    let server = tokio::task::spawn_blocking(move || Server::pointsman(&kubeconfig, &certificate))
        .await
        .expect("it starts");
    let target = |address, path| Target {
        address,
        tls: None,
        path,
    };
    let targets = Targets {
        mutate: Target {
            address: server.webhook,
            tls: Some(tls),
            path: "/mutate",
        },
        filter: target(server.extender, "/filter"),
        prioritize: target(server.extender, "/prioritize"),
        bind: target(server.extender, "/bind"),
    };
    println!(
        "{} min, {rate} pods a second, {} nodes; process {}",
        length.as_secs_f64() / 60.0,
        cluster::NODES,
        server.pid()
    );
    let churn = Churn::start(api.clone(), &targets, rate, SEED);
    let began = Instant::now();
    let mut samples = Samples::new(length);
    let mut tick = tokio::time::interval(samples.interval);
    tick.tick().await;
    let mut until_check = samples.between_checks;
    while began.elapsed() < length && !BROKEN.load(Ordering::Relaxed) {
        tick.tick().await;
        let pods = api.count(api::PODS);
        samples.take(Sample::of(server.pid(), began.elapsed(), pods));
        if began.elapsed() >= until_check {
            until_check += samples.between_checks;
            samples.check(check(server.admin).await);
            samples.tell_last(&churn.counts, api.tally());
        }
    }
    let created = churn.counts.created.load(Ordering::Relaxed);
    let per_second = created as f64 / began.elapsed().as_secs_f64();
    churn.stop();
    let (left, drained) = drain(&api, server.admin).await;
    samples.check(check(server.admin).await);
    let mut problems = samples.problems(&churn.counts, api.tally(), per_second, rate, &left);
    println!(
        "\n{}",
        samples.table(&churn.counts, api.tally(), per_second, drained)
    );
    if BROKEN.load(Ordering::Relaxed) {
        problems.push("the soak itself is broken".to_owned());
    }
    for problem in &problems {
        println!("problem: {problem}");
    }
    ExitCode::from(u8::from(!problems.is_empty()))
}

fn fill(api: &Api) {
    for rail in 0..cluster::RAILS {
        api.put(api::NETWORKS, cluster::network(rail));
        for unit in 0..cluster::NODES / cluster::UNIT {
            api.put(api::POOLS, cluster::pool(rail, unit));
        }
    }
    for node in 0..cluster::NODES {
        api.put(api::NODES, cluster::node(node));
        api.put(api::STATES, cluster::node_state(node));
    }
    api.put(api::NAMESPACES, cluster::namespace("rdma"));
    for team in 0..cluster::TEAMS {
        api.put(api::NAMESPACES, cluster::namespace(&format!("team-{team}")));
    }
}

/// Waits until every pod has gone and nothing is left of them, at most for so long; what is left, and after how long.
async fn drain(api: &Api, admin: SocketAddr) -> (Leftover, Duration) {
    let began = Instant::now();
    let mut gone = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if api.count(api::PODS) > 0 {
            assert!(began.elapsed() < DRAINING, "pods of the soak itself do not go");
            continue;
        }
        let gone = *gone.get_or_insert_with(|| jiff::Timestamp::now().as_second());
        let left = Leftover::in_metrics(&get(admin, "/metrics").await);
        // Stock that was taken before says nothing.
        let is_news = left.taken > gone + 5;
        if (is_news && left.is_nothing()) || began.elapsed() > DRAINING {
            return (left, began.elapsed());
        }
    }
}
