//! A storm: 300 pods in gangs want addresses that only 200 can have, and meanwhile everything that can be killed,
//! stopped, delayed or changed is. Afterwards exactly what fits runs.
//!
//! Everything random comes from a seed, which is printed, with a timeline, when something is wrong; `make storm SEED=7`
//! repeats it (as far as real processes on a real machine can be repeated). `FAULTS=40` makes it longer, `STORM=short` is
//! what every test run has time for.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops with the reason; the harness is shared, and this uses a part of it"
)]

mod arrivals;
mod bereft;
mod calamity;
#[path = "../control_plane/harness/mod.rs"]
mod harness;
mod pair;
mod scale;
mod sums;
mod timeline;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::json;

use self::arrivals::Arrivals;
use self::bereft::Bereft;
use self::calamity::Calamities;
use self::harness::clock::Clock;
use self::harness::faults::Faults;
use self::harness::nodes::IbNode;
use self::harness::objects::Profile;
use self::harness::plane::{ControlPlane, TEST_USER};
use self::harness::scene::Scene;
use self::harness::scheduler::Scheduling;
use self::harness::seeded::Seeded;
use self::harness::stack::{Ports, Setup};
use self::pair::Pair;
use self::scale::Scale;
use self::sums::Sums;
use self::timeline::Timeline;

/// Nodes of a leaf group.
const GROUP: usize = 8;

/// VFs of each of a node's two rails: 40 in a leaf group.
const VFS: u32 = 5;
const RAILS: usize = 2;

/// What a hold for a pod lasts in this stack.
const HOLD: Duration = Duration::from_secs(10);

/// What a reservation lasts whose Binding nobody knows the fate of: longer than the watch is blind while the API server
/// is away, or a gang forgets where its first pods went.
const UNCLEAR: Duration = Duration::from_secs(45);

/// How long it must in the end stay so that nothing fits.
const QUIET: Duration = Duration::from_secs(4);

/// How often Spiderpool looks for addresses that leaked: of a pod that is deleted while its sandbox is in the making its
/// agent may forget one (there is no SpiderEndpoint, so CNI DEL gives nothing back), and only this finds it. Its own
/// interval is ten minutes.
const COLLECTS: Duration = Duration::from_secs(15);

/// For how many seconds a scheduler leads without a word: short, so that another soon takes over.
const LEASE: u32 = 4;

#[test]
fn after_a_storm_exactly_what_fits_runs_and_nothing_was_promised_twice() {
    let seed = Seeded::seed(1);
    harness::run(storm(seed, Scale::named()));
}

async fn storm(seed: u64, scale: &'static Scale) {
    let timeline = Timeline::begin(seed);
    let plane = ControlPlane::start_collecting(Some(COLLECTS)).await;
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    let watches = Faults::before(port_of(&plane.server)).await;
    let kubeconfig = plane.kubeconfig_through(watches.port(), TEST_USER);
    let [hold, gang, unclear] =
        [HOLD, scale.gang_hold, UNCLEAR].map(|lifetime| format!("{}s", lifetime.as_secs()));
    let settings = json!({"reservation": {"hold": hold, "gang": gang, "lifetime": unclear}});
    let mut pairs: Vec<Pair> = Vec::new();
    let ports: Vec<Ports> = (0..scale.pairs).map(|_| Ports::free()).collect();
    // What a Service does for the replicas of the webhook.
    let webhooks = Faults::before_any(ports.iter().map(|ports| ports.webhook).collect()).await;
    for (name, ports) in ["storm", "storm-b"].into_iter().zip(ports) {
        let calls = Faults::before(ports.extender).await;
        let called = Ports {
            extender: calls.port(),
            webhook: webhooks.port(),
            ..ports
        };
        let clock = || Clock::new(plane.run.path().join(format!("{name}.clock")));
        let mut setup = Setup::new(name, &["storm"]).clock(scale.is_whole().then(clock));
        if !pairs.is_empty() {
            setup = setup.stands_by("storm");
        }
        let stack = setup
            .behind(ports, called)
            .scheduling(Scheduling {
                lease: Some(LEASE),
                ..Scheduling::default()
            })
            .kubeconfig(kubeconfig.clone())
            .settings(settings.clone())
            .start(plane)
            .await;
        pairs.push(Pair::new(stack, calls));
    }
    let pairs: &'static [Pair] = Box::leak(pairs.into_boxed_slice());
    for pair in pairs {
        tokio::spawn(pair.keep_running());
    }
    let stack = &pairs[0].stack;
    let scene = Scene::open_patient(stack, "storm", Duration::from_millis(200)).await;
    let profile = Profile::new("storm", "storm", 1)
        .rails(RAILS)
        .addresses(scale.addresses)
        .by_wildcard();
    profile.create(plane, &scene.namespace).await;
    futures::stream::iter(0..scale.nodes)
        .for_each_concurrent(16, |number| async move { node(number).create(plane).await })
        .await;
    plane.keep_running();
    timeline.says(format!("{} nodes are there", scale.nodes));

    let arrivals = Arrivals::make(&mut Seeded::new(seed), scale, &profile);
    let count = std::env::var("FAULTS").map_or(scale.faults, |count| count.parse().unwrap());
    let bereft: Mutex<Bereft> = Mutex::default();
    let calamities = Calamities {
        scale,
        scene: &scene,
        plane,
        pairs,
        profile: &profile,
        watches: &watches,
        timeline: &timeline,
        bereft: &bereft,
    };
    let began = Instant::now();
    let mut order = Seeded::new(seed ^ 0xa);
    tokio::join!(
        arrivals.come(&scene, &timeline, &mut order),
        calamities.befall(count, seed),
    );
    timeline.says(format!(
        "everything is sound again, {:?} after the first pod",
        began.elapsed()
    ));
    let bereft = bereft.into_inner().unwrap();
    let sums = settle(scale, &scene, pairs, &arrivals, &profile, &timeline, &bereft.pods).await;
    sums.check(&scene, &timeline, &bereft.gangs);
    eprintln!("after {count} faults: {}", sums.told());
    arrivals.leave_all(&scene).await;
    nothing_is_left(scale, pairs, &scene, &profile).await;
}

fn node(number: usize) -> IbNode {
    let node = IbNode::new(format!("storm-{number:02}"))
        .label("pointsman.io/leaf-group", &format!("group-{}", number / GROUP))
        .label("pointsman.io/spine", &format!("spine-{}", number / (4 * GROUP)));
    (0..RAILS).fold(node, |node, rail| node.rail(format!("storm_rail{rail}"), VFS))
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// Waits until nothing that waits would fit, and panics when something does for longer than it may. What the programs
/// hold does not fit; the end of a promise is a change.
async fn settle<'a>(
    scale: &Scale,
    scene: &Scene<'_>,
    pairs: &[Pair],
    arrivals: &'a Arrivals,
    profile: &Profile,
    timeline: &Timeline,
    bereft: &BTreeSet<String>,
) -> Sums<'a> {
    let began = Instant::now();
    let mut last = Instant::now();
    let mut before = None;
    let mut longest = Duration::ZERO;
    loop {
        let mut promised = 0.0;
        for pair in pairs {
            promised += pair.promised().await;
        }
        let sums = Sums::take(scale, scene, arrivals, profile).await;
        if before.as_ref() != Some(&(sums.state(), promised.to_string())) {
            last = Instant::now();
            before = Some((sums.state(), promised.to_string()));
        }
        for name in sums.stranded(bereft) {
            eprintln!(
                "{name} was bound on account of a pool that was deleted before it had its address: it is deleted"
            );
            scene.api().delete(&scene.pods_at().named(&name)).await.unwrap();
        }
        let idle = sums.waits_although_it_fits();
        let may_wait = if promised > 0.0 {
            scale.prompt + scale.gang_hold
        } else {
            scale.prompt
        };
        match idle {
            Some(who) if last.elapsed() > may_wait => {
                timeline.fails(
                    &format!(
                        "{who} waits although it fits, {:?} after the last change; {promised} VFs and addresses are promised",
                        last.elapsed()
                    ),
                    scene,
                );
            }
            Some(_) => longest = longest.max(last.elapsed()),
            None if last.elapsed() > QUIET && sums.leaked() == 0 && sums.unserved() == 0 => {
                eprintln!(
                    "settled {:?} after the last fault; nothing that fitted waited for longer than {longest:?} without any change",
                    began.elapsed()
                );
                return sums;
            }
            None => {}
        }
        assert!(
            timeline.elapsed() < scale.longest,
            "the storm does not settle: {}",
            sums.told()
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// When all pods are gone, so is every promise: as many pods as there are addresses are bound at once.
async fn nothing_is_left(scale: &Scale, pairs: &[Pair], scene: &Scene<'_>, profile: &Profile) {
    let began = Instant::now();
    sums::all_addresses_are_back(scene, profile).await;
    let template = harness::objects::pod_of("template", profile.name());
    let addresses = usize::from(scale.addresses);
    let pods = (0..addresses).map(|number| {
        let mut pod = template.clone();
        pod["metadata"]["name"] = json!(format!("after-{number:03}"));
        scene.create_pod(pod)
    });
    futures::stream::iter(pods)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    scene.bound(addresses, scale.fresh).await;
    eprintln!(
        "{addresses} pods more were bound {:?} after the others had gone",
        began.elapsed()
    );
    for pair in pairs {
        let panics = pair.stack.metric("pointsman_panics_total", &[]).await;
        assert!(panics.abs() < 0.5, "{panics} panics");
    }
}
