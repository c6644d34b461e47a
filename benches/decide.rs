//! The decisions alone, without HTTP and JSON, and what they allocate: `make bench-decide`.
//!
//! The cluster is that of the benchmark of `serve`, with all its nodes, networks and pools and the pods that hold VFs.
//! The counts are the same on every machine; the times are this one's. That an answer allocates nothing per node is a
//! test, `tests/extender/allocations.rs`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_docs_in_private_items,
    reason = "a benchmark ends when something is not as it expects"
)]

#[path = "serve/objects.rs"]
mod objects;
#[allow(
    dead_code,
    reason = "it is made for the benchmark of serve, and this uses a part of it"
)]
#[path = "serve/world.rs"]
mod world;

use std::sync::{Arc, LazyLock};

use divan::{AllocProfiler, Bencher, black_box};
use pointsman::cluster::convert;
use pointsman::cluster::index::Index;
use pointsman::decide::claim::claim;
use pointsman::decide::cluster::ClusterSnapshot;
use pointsman::decide::commitment::Commitments;
use pointsman::decide::decision::{decide_by, rank_by};
use pointsman::decide::mutation::{Admission, PodFacts, admit};
use pointsman::decide::pod::Pod;
use pointsman::decide::settings::Settings;
use pointsman::decide::survey::Surveys;
use pointsman::webhook::facts;

/// As the program has it, counted.
#[global_allocator]
static ALLOCATOR: AllocProfiler<mimalloc::MiMalloc> = AllocProfiler::new(mimalloc::MiMalloc);

const NAMES: [usize; 2] = [500, 15_000];

struct Cluster {
    settings: Arc<Settings>,
    snapshot: ClusterSnapshot,
    names: Vec<String>,
    /// The first pod of a gang of sixteen, as the scheduler sends it.
    pod: Pod,
    /// A training pod, as kube-apiserver sends it.
    arriving: PodFacts,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let settings = Arc::new(Settings::default());
    let index = Index::new(Arc::clone(&settings));
    for object in objects::that_matter(world::LARGE) {
        index.apply(object).expect("it is sound");
    }
    let request = world::extender_request(0, 0);
    let request: serde_json::Value = serde_json::from_slice(&request).expect("JSON");
    let pod = serde_json::from_value(request["Pod"].clone()).expect("a pod");
    let review = world::admission_review(0);
    let review: serde_json::Value = serde_json::from_slice(&review).expect("JSON");
    let arriving = serde_json::value::to_raw_value(&review["request"]["object"]).expect("JSON");
    Cluster {
        snapshot: index.published().load().as_ref().clone(),
        names: (0..world::LARGE.nodes).map(world::node_name).collect(),
        pod: convert::pod::pod(&pod, &settings),
        arriving: facts::read(&arriving, Some("team-3"), &settings)
            .expect("it can be read")
            .facts,
        settings,
    }
});

fn main() {
    LazyLock::force(&CLUSTER);
    divan::main();
}

/// What the pod needs.
#[divan::bench]
fn claim_of_a_pod(bencher: Bencher<'_, '_>) {
    let Cluster {
        settings,
        snapshot,
        pod,
        ..
    } = &*CLUSTER;
    bencher.bench(|| claim(black_box(pod), snapshot, settings).expect("it can run"));
}

/// The first pod of a shape that was never asked about: one pass over all nodes.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn survey_from_scratch(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(Surveys::default)
        .bench_local_refs(|surveys| decision(surveys, 1, false));
}

/// `filter`, by a survey that is kept.
#[divan::bench(args = NAMES)]
fn decide_by_a_kept_survey(bencher: Bencher<'_, '_>, names: usize) {
    let mut surveys = Surveys::default();
    decision(&mut surveys, names, false);
    bencher.bench_local(|| decision(&mut surveys, black_box(names), false));
}

/// `prioritize`, by a survey that is kept.
#[divan::bench(args = NAMES)]
fn rank_by_a_kept_survey(bencher: Bencher<'_, '_>, names: usize) {
    let mut surveys = Surveys::default();
    decision(&mut surveys, names, true);
    bencher.bench_local(|| decision(&mut surveys, black_box(names), true));
}

/// The training pod at admission.
#[divan::bench]
fn mutation_of_a_training_pod(bencher: Bencher<'_, '_>) {
    let Cluster {
        settings,
        snapshot,
        arriving,
        ..
    } = &*CLUSTER;
    assert!(matches!(
        admit(arriving, snapshot, settings),
        Admission::Mutate(_)
    ));
    bencher.bench(|| admit(black_box(arriving), snapshot, settings));
}

/// Decides about the first so many nodes, every tenth of which is full.
fn decision(surveys: &mut Surveys, names: usize, ranked: bool) -> usize {
    let Cluster {
        settings,
        snapshot,
        names: all,
        pod,
        ..
    } = &*CLUSTER;
    let names = all.iter().take(names).map(String::as_str);
    let candidates = surveys.candidates(names, snapshot, settings);
    let answer = if ranked { rank_by } else { decide_by };
    let decision = answer(
        surveys,
        pod,
        &candidates,
        snapshot,
        &Commitments::default(),
        settings,
    );
    decision.verdicts.len()
}
