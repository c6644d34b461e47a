//! What is measured, in which order: all servers of a round one after the other, so that a change of the machine's
//! mood meets them alike.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::admin;
use crate::api::Api;
use crate::load::{self, Target};
use crate::reference::Reference;
use crate::right;
use crate::server::Server;
use crate::world::{self, FULL as EVERY, Size};

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) size: Size,
    /// The second size whose memory is taken.
    pub(crate) second: Option<Size>,
    pub(crate) names: &'static [usize],
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    /// Whether docs/performance.md is written.
    pub(crate) writes: bool,
    /// One workload alone.
    pub(crate) only: Option<&'static str>,
}

impl Plan {
    pub(crate) fn only(&self, workload: &str) -> Self {
        Self {
            size: self.size,
            second: None,
            names: self.names,
            rounds: self.rounds,
            length: self.length,
            writes: false,
            only: ["W1", "W2", "W4", "W5"]
                .into_iter()
                .find(|known| *known == workload),
        }
    }

    fn has(&self, workload: &str) -> bool {
        self.only.is_none_or(|only| only == workload)
    }
}

pub(crate) const FULL: Plan = Plan {
    size: world::LARGE,
    second: Some(world::MIDDLE),
    names: &[1, 500, 1_000, 5_000, 15_000],
    rounds: 5,
    length: Duration::from_millis(1_500),
    writes: true,
    only: None,
};

pub(crate) const SHORT: Plan = Plan {
    size: Size {
        nodes: 2_000,
        pods: 10_000,
    },
    second: None,
    names: &[500, 2_000],
    rounds: 3,
    length: Duration::from_millis(300),
    writes: false,
    only: None,
};

/// One workload on one server, the median of its rounds.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) workload: String,
    pub(crate) server: &'static str,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) cpu: Duration,
    pub(crate) per_second: f64,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) figures: Vec<Figure>,
    /// Single values: what, value, unit.
    pub(crate) values: Vec<(String, f64, &'static str)>,
}

struct Bench<'a> {
    plan: &'a Plan,
    servers: Vec<(&'static str, Server)>,
    tls: Arc<rustls::ClientConfig>,
    figures: Figures,
}

/// Measures everything in the plan.
pub(crate) async fn run(plan: &Plan) -> Figures {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = load::certificate(folder.path());
    let mut figures = Figures::default();
    if let Some(size) = plan.second {
        let api = Api::start(size).await;
        let server = start(&api, folder.path()).await;
        figures.values.push((
            format!("peak memory, {} nodes and {} pods", size.nodes, size.pods),
            server.memory().0 as f64 / 1024.0,
            "MiB",
        ));
    }
    let api = Api::start(plan.size).await;
    let server = start(&api, folder.path()).await;
    let (peak, now) = server.memory();
    let size = plan.size;
    figures.values.push((
        format!("peak memory, {} nodes and {} pods", size.nodes, size.pods),
        peak as f64 / 1024.0,
        "MiB",
    ));
    figures
        .values
        .push(("memory after the lists".to_owned(), now as f64 / 1024.0, "MiB"));
    let (first, last) = api.lists().expect("it was asked for lists");
    for (since, when) in [
        ("start of the process", server.began),
        ("first list answered", first),
        ("last list answered", last),
    ] {
        figures.values.push((
            format!("W6 {since} to ready"),
            server.ready.saturating_duration_since(when).as_secs_f64(),
            "s",
        ));
    }
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_pointsman"))
        .expect("it was built")
        .len();
    figures
        .values
        .push(("binary".to_owned(), binary as f64 / 1024.0 / 1024.0, "MiB"));
    let before = server.cpu();
    let idle = if plan.writes {
        Duration::from_secs(20)
    } else {
        Duration::from_secs(2)
    };
    tokio::time::sleep(idle).await;
    figures.values.push((
        "idle, of one core".to_owned(),
        100.0 * server.cpu_since(before).as_secs_f64() / idle.as_secs_f64(),
        "%",
    ));
    let mut servers = vec![
        ("floor", Server::reference(Reference::Floor, folder.path())),
        ("plain", Server::reference(Reference::Plain, folder.path())),
    ];
    if let Some(binary) = std::env::var_os("POINTSMAN_BENCH_GO").filter(|binary| !binary.is_empty()) {
        servers.push(("go", Server::go(Path::new(&binary), folder.path())));
    }
    servers.push(("pointsman", server));
    let mut bench = Bench {
        plan,
        servers,
        tls,
        figures,
    };
    if plan.has("W1") {
        bench.webhook().await;
    }
    let asked = api.requests();
    if plan.has("W2") {
        bench.extender().await;
    }
    bench.figures.values.push((
        "API requests while 'mutate', 'filter' and 'prioritize' were asked".to_owned(),
        (api.requests() - asked) as f64,
        "",
    ));
    if plan.only.is_none() {
        bench.mixed().await;
    }
    if plan.has("W4") {
        bench.bind(&api).await;
    }
    if plan.has("W5") {
        bench.upkeep(&api).await;
    }
    bench.self_check().await;
    bench.figures
}

async fn start(api: &Api, folder: &Path) -> Server {
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).expect("a file");
    let tls = folder.to_owned();
    let server = tokio::task::spawn_blocking(move || Server::pointsman(&kubeconfig, &tls))
        .await
        .expect("it starts");
    assert!(api.lists().is_some(), "it is ready without having asked");
    server
}

impl Bench<'_> {
    async fn webhook(&mut self) {
        let bodies: Arc<Vec<Vec<u8>>> = Arc::new((0..64).map(world::admission_review).collect());
        println!("W1: reviews of {} bytes", bodies[0].len());
        for connections in [1, 64] {
            self.measure(
                &format!("W1 mutate, {connections} connections"),
                "/mutate",
                &bodies,
                connections,
                false,
            )
            .await;
        }
        self.measure("W1 mutate, HTTP/2, 64 streams", "/mutate", &bodies, 64, true)
            .await;
    }

    async fn extender(&mut self) {
        for names in self.plan.names {
            let bodies: Arc<Vec<Vec<u8>>> =
                Arc::new((0..32).map(|pod| world::extender_request(pod, *names)).collect());
            for path in ["/filter", "/prioritize"] {
                self.measure(
                    &format!("W2 {}, {names} names", &path[1..]),
                    path,
                    &bodies,
                    1,
                    false,
                )
                .await;
            }
        }
    }

    /// Each round every server in turn; the medians over the rounds are kept.
    async fn measure(
        &mut self,
        workload: &str,
        path: &'static str,
        bodies: &Arc<Vec<Vec<u8>>>,
        connections: usize,
        h2: bool,
    ) {
        let mut rounds: Vec<Vec<Figure>> = vec![Vec::new(); self.servers.len()];
        for _ in 0..self.plan.rounds {
            for (index, (name, server)) in self.servers.iter().enumerate() {
                let target = if path == "/mutate" {
                    Target::new(server.webhook, path, Some(&self.tls))
                } else {
                    Target::new(server.extender, path, None)
                };
                let warm = self.plan.length / 10;
                let before_warm = load::post(&target, bodies, connections, h2, warm).await;
                assert!(!before_warm.times.is_empty());
                let before = server.cpu();
                let run = load::post(&target, bodies, connections, h2, self.plan.length).await;
                let cpu = server.cpu_since(before);
                right::check(name, path, &run);
                let requests = run.times.len();
                rounds[index].push(Figure {
                    workload: workload.to_owned(),
                    server: name,
                    p50: run.percentile(50),
                    p99: run.percentile(99),
                    cpu: cpu / u32::try_from(requests).expect("few"),
                    per_second: requests as f64 / run.took.as_secs_f64(),
                });
            }
        }
        for mut round in rounds {
            let middle = round.len() / 2;
            let mut median = round[0].clone();
            let mut by = |key: fn(&Figure) -> Duration| {
                round.sort_by_key(key);
                key(&round[middle])
            };
            (median.p50, median.p99, median.cpu) = (by(|f| f.p50), by(|f| f.p99), by(|f| f.cpu));
            round.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
            median.per_second = round[middle].per_second;
            println!(
                "{:32} {:10} p50 {:>9.1?} p99 {:>9.1?} cpu {:>9.1?} {:>8.0}/s",
                median.workload, median.server, median.p50, median.p99, median.cpu, median.per_second
            );
            self.figures.figures.push(median);
        }
    }

    /// What the self-check costs, which runs every ten minutes.
    async fn self_check(&mut self) {
        let check = admin::check(self.pointsman().admin).await;
        assert!(check.is_sound, "told above");
        self.value("self-check, in all", check.took_ms, "ms");
        self.value("self-check, while no question is answered", check.held_ms, "ms");
    }

    /// The extender's answers while 64 connections load the webhook of the same process.
    async fn mixed(&mut self) {
        let server = self.pointsman();
        let reviews: Arc<Vec<Vec<u8>>> = Arc::new((0..64).map(world::admission_review).collect());
        let filters: Arc<Vec<Vec<u8>>> =
            Arc::new((0..32).map(|pod| world::extender_request(pod, 500)).collect());
        let filter = Target::new(server.extender, "/filter", None);
        let mutate = Target::new(server.webhook, "/mutate", Some(&self.tls));
        let quiet = load::http1(&filter, &filters, 1, self.plan.length).await;
        let (loaded, _) = tokio::join!(
            load::http1(&filter, &filters, 1, self.plan.length),
            load::http1(&mutate, &reviews, 64, self.plan.length)
        );
        let ratio = loaded.percentile(99).as_secs_f64() / quiet.percentile(99).as_secs_f64();
        self.value(
            "p99 of filter, 500 names, with 64 connections on the webhook, to idle",
            ratio,
            "x",
        );
    }

    async fn bind(&mut self, api: &Api) {
        let free: Vec<usize> = (0..self.plan.size.nodes)
            .filter(|node| node % EVERY != 0)
            .take(200)
            .collect();
        let server = self.pointsman();
        let filter = Target::new(server.extender, "/filter", None);
        let bind = Target::new(server.extender, "/bind", None);
        let (mut asks, mut binds) = (load::connect(&filter).await, load::connect(&bind).await);
        let (mut times, mut answer) = (Vec::new(), Vec::new());
        let before = api.bound();
        for (pod, node) in free.iter().enumerate() {
            // Pods far apart, so that each is of a gang of its own; a pod must have been filtered to be bound.
            let pod = 1_000 + pod * 16;
            load::exchange(
                &mut asks,
                &raw(&filter, &world::extender_request(pod, 500)),
                &mut answer,
            )
            .await;
            let request = raw(&bind, &world::bind_request(pod, *node));
            let sent = Instant::now();
            load::exchange(&mut binds, &request, &mut answer).await;
            times.push(sent.elapsed());
            assert_eq!(answer, br#"{"Error":""}"#, "{}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(api.bound() - before, free.len() as u64);
        times.sort_unstable();
        self.value(
            "W4 bind, p50, the write of the Binding included",
            times[times.len() / 2].as_secs_f64() * 1e6,
            "µs",
        );
    }

    /// Pods and pools change 2,000 times a second while a filter asks about a node that has just been taken: how old
    /// is what it sees?
    async fn upkeep(&mut self, api: &Api) {
        const PER_TICK: usize = 20;
        let server = self.pointsman();
        let size = self.plan.size;
        let seconds = if self.plan.writes { 15 } else { 3 };
        let before = server.cpu();
        let background = {
            let api = api.clone();
            tokio::spawn(async move {
                let mut tick = tokio::time::interval(Duration::from_millis(10));
                let mut told = 0;
                let began = Instant::now();
                while began.elapsed() < Duration::from_secs(seconds) {
                    tick.tick().await;
                    for _ in 0..PER_TICK {
                        told += 1;
                        let version = 100 + told as u64;
                        if told % 4 == 0 {
                            let pools = size
                                .count("/apis/spiderpool.spidernet.io/v2beta1/spiderippools")
                                .expect("known");
                            api.tell(
                                "/apis/spiderpool.spidernet.io/v2beta1/spiderippools",
                                &world::churned_pool(size, told % pools, version),
                            );
                        } else {
                            // On full nodes: nothing that is asked about depends on them.
                            let node = (told * EVERY) % size.nodes;
                            api.tell("/api/v1/pods", &world::churned_pod(told % 500, node, version));
                        }
                    }
                }
                (told, began.elapsed())
            })
        };
        let filter = Target::new(server.extender, "/filter", None);
        let mut stream = load::connect(&filter).await;
        let (mut ages, mut answer) = (Vec::new(), Vec::new());
        let mut sample = 0;
        while !background.is_finished() {
            let node = sample * EVERY + 7;
            if node >= size.nodes {
                break;
            }
            let request = raw(&filter, &one_name(node, sample));
            let told = Instant::now();
            api.tell(
                "/api/v1/pods",
                &world::churned_pod(10_000 + sample, node, 1_000_000 + sample as u64),
            );
            let age = loop {
                let asked = told.elapsed();
                load::exchange(&mut stream, &request, &mut answer).await;
                if !answer.starts_with(br#"{"NodeNames":["#) || answer.starts_with(br#"{"NodeNames":[]"#) {
                    break asked;
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
                assert!(
                    told.elapsed() < Duration::from_secs(30),
                    "the change never shows: {}",
                    String::from_utf8_lossy(&answer)
                );
            };
            ages.push(age);
            sample += 1;
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
        let (told, took) = background.await.expect("it ends");
        let used = server.cpu_since(before);
        ages.sort_unstable();
        // The short form judges no age, and a slow machine comes to few of them in its time.
        let enough = if self.plan.writes { 50 } else { 1 };
        assert!(ages.len() >= enough, "too few samples: {}", ages.len());
        let per_second = told as f64 / took.as_secs_f64();
        self.value("W5 events per second told", per_second, "/s");
        self.value(
            "W5 core used by them and the asking",
            100.0 * used.as_secs_f64() / took.as_secs_f64(),
            "%",
        );
        self.value(
            "W5 age of what a filter sees, p50",
            ages[ages.len() / 2].as_secs_f64() * 1e3,
            "ms",
        );
        self.value(
            "W5 age of what a filter sees, p99",
            ages[ages.len() * 99 / 100].as_secs_f64() * 1e3,
            "ms",
        );
    }

    fn pointsman(&self) -> &Server {
        &self.servers.last().expect("ours is the last").1
    }

    fn value(&mut self, what: &str, value: f64, unit: &'static str) {
        println!("{what}: {value:.2} {unit}");
        self.figures.values.push((what.to_owned(), value, unit));
    }
}

fn one_name(node: usize, pod: usize) -> Vec<u8> {
    let request = String::from_utf8(world::extender_request(100_000 + pod * 16, 1)).expect("text");
    request
        .replacen(&world::node_name(0), &world::node_name(node), 1)
        .into_bytes()
}

fn raw(target: &Target, body: &[u8]) -> Vec<u8> {
    load::request(target, body)
}
