//! `make placement`: how well gangs are placed, side by side on the same arrivals: with us beside kube-scheduler, with us
//! and every pod for itself, by kube-scheduler alone, and by kube-scheduler with pod affinity on the leaf group's label.
//!
//! 512 nodes in 16 leaf groups, one pod a node, real scheduler, real IPAM, nodes played by KWOK. Each leaf group's
//! rails have pools of their own, and those of the last two groups are short, as a new group's often are. Gangs from 1
//! to 128 pods come one after the other and go again; what is counted is counted from the API server and from what the
//! IPAM gave. The table is written into `docs/placement.md`. `WAY=ours` (or another) measures that one, tells of every
//! gang, and writes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::harness::api::{MULTUS_CONFIGS, NETWORKS, POOLS};
use crate::harness::nodes::IbNode;
use crate::harness::objects::pod_of;
use crate::harness::plane::{self, ControlPlane};
use crate::harness::scene::{Scene, is_bound};
use crate::harness::seeded::Seeded;
use crate::harness::stack::{Asks, Setup};
use crate::harness::wait::{eventually, expect};

const GROUPS: usize = 16;
/// Nodes of a leaf group: a scalable unit of 32 hosts.
const GROUP: usize = 32;
const RAILS: usize = 2;
/// Addresses of each rail in the last two groups; all others have one for every node.
const SHORT: usize = 24;

/// Gangs that come; from about the fifteenth on the cluster is about as full as it gets.
const ARRIVALS: usize = 36;
const SIZES: [usize; 12] = [1, 2, 4, 8, 8, 16, 16, 24, 32, 32, 64, 128];

/// A gang: how many pods, and after how many arrivals it goes.
struct Gang {
    size: usize,
    stays: usize,
}

/// Who places.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Alone,
    Affinity,
    Ours,
    /// With us, and no locality: each pod goes wherever there is room.
    PodByPod,
}

impl Way {
    const ALL: [Self; 4] = [Self::Ours, Self::PodByPod, Self::Alone, Self::Affinity];

    fn slug(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Affinity => "affinity",
            Self::Ours => "ours",
            Self::PodByPod => "single",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Alone => "kube-scheduler alone",
            Self::Affinity => "kube-scheduler, pod affinity on the leaf group",
            Self::Ours => "Pointsman",
            Self::PodByPod => "Pointsman, pod by pod (locality none)",
        }
    }
}

/// What is counted over one way's run.
#[derive(Default)]
struct Count {
    placed: usize,
    served: usize,
    /// Gangs that one leaf group had room for when they came, and those of them that are in one.
    could: usize,
    are: usize,
    /// Leaf groups of the gangs that were placed whole, and the fewest that had the room when they came.
    spans: usize,
    fewest: usize,
    fragmentation: Vec<f64>,
    /// Pods that have their addresses, and those that would if each went wherever there is room, over all arrivals.
    running: usize,
    possible: usize,
    took: Duration,
}

pub(crate) async fn measure() {
    let seed = Seeded::seed(1);
    let plane = plane::shared().await;
    let nodes = (0..GROUPS * GROUP).map(|number| async move { node(number).create(plane).await });
    futures::stream::iter(nodes)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    let gangs = make(&mut Seeded::new(seed));
    let mut table = String::new();
    let only = std::env::var("WAY").ok();
    let wanted = |way: &Way| only.as_ref().is_none_or(|only| only == way.slug());
    for way in Way::ALL.into_iter().filter(wanted) {
        create_pools(plane).await;
        let count = play(plane, way, &gangs).await;
        let line = count.line(way);
        eprint!("{line}");
        table.push_str(&line);
    }
    if only.is_none() {
        write_down(seed, &gangs, &table);
    }
}

fn node(number: usize) -> IbNode {
    let group = number / GROUP;
    let node = IbNode::new(format!("place-{number:03}"))
        .label("pointsman.io/leaf-group", &format!("su-{group:02}"))
        .label("pointsman.io/spine", &format!("spine-{}", group / 4))
        .offers("nvidia.com/gpu", 8);
    (0..RAILS).fold(node, |node, rail| node.rail(format!("place_rail{rail}"), 1))
}

/// One pool for each rail of each leaf group, and networks that name them all by a wildcard.
async fn create_pools(plane: &ControlPlane) {
    for rail in 0..RAILS {
        for group in 0..GROUPS {
            let prefix = format!("10.{}.{group}.", 100 + rail);
            let addresses = if group + 2 < GROUPS { GROUP } else { SHORT };
            let pool = json!({
                "metadata": {"name": format!("place-rail{rail}-su-{group:02}")},
                "spec": {
                    "ipVersion": 4, "subnet": format!("{prefix}0/24"), "ips": [format!("{prefix}1-{prefix}{addresses}")],
                    "nodeAffinity": {"matchLabels": {"pointsman.io/leaf-group": format!("su-{group:02}")}},
                },
            });
            plane.api.create(&POOLS.all(), pool).await.unwrap();
        }
    }
}

async fn delete_pools(plane: &ControlPlane) {
    for rail in 0..RAILS {
        for group in 0..GROUPS {
            let pool = POOLS.all().named(&format!("place-rail{rail}-su-{group:02}"));
            plane.api.delete(&pool).await.unwrap();
            eventually("the pool is gone", Duration::from_secs(30), async || {
                let gone = plane.api.get(&pool).await.is_err();
                expect(gone, || "it is still there".to_owned())
            })
            .await;
        }
    }
}

async fn create_networks(scene: &Scene<'_>) {
    for rail in 0..RAILS {
        let name = format!("place-rail{rail}");
        let network = json!({
            "metadata": {"name": name, "annotations": {
                "pointsman.io/profile": scene.namespace, "pointsman.io/rail": rail.to_string()}},
            "spec": {"cniType": "ib-sriov", "enableCoordinator": false, "ibsriov": {
                "resourceName": format!("spidernet.io/place_rail{rail}"), "ippools": {"ipv4": [format!("{name}-*")]}}},
        });
        let configs = MULTUS_CONFIGS.within(&scene.namespace);
        scene.api().create(&configs, network).await.unwrap();
        let made = NETWORKS.within(&scene.namespace).named(&name);
        eventually(
            "Spiderpool makes the network",
            Duration::from_secs(30),
            async || scene.api().get(&made).await.map_err(|refused| refused.message),
        )
        .await;
    }
}

/// The same for all ways: sizes in any order, and stays that keep the cluster about as full as it gets.
fn make(random: &mut Seeded) -> Vec<Gang> {
    (0..ARRIVALS)
        .map(|_| Gang {
            size: *random.one(&SIZES),
            stays: 10 + random.below(16),
        })
        .collect()
}

async fn play(plane: &'static ControlPlane, way: Way, gangs: &[Gang]) -> Count {
    let name = way.slug();
    let asks = match way {
        Way::Ours | Way::PodByPod => Asks::Us,
        Way::Alone | Way::Affinity => Asks::Nobody,
    };
    let stack = Setup::new(name, &["place"]).asks(asks).start(plane).await;
    let scene = Scene::open(&stack, name).await;
    create_networks(&scene).await;
    let began = Instant::now();
    let mut count = Count::default();
    let mut there: VecDeque<(usize, usize)> = VecDeque::new();
    for (number, gang) in gangs.iter().enumerate() {
        let leave: Vec<usize> = there
            .iter()
            .filter(|(_, until)| *until <= number)
            .map(|(gone, _)| *gone)
            .collect();
        there.retain(|(_, until)| *until > number);
        depart(&scene, &leave).await;
        // What went makes room for those that came before and wait: it is not there for the one that comes now.
        let before = calm(&scene).await;
        let free = before.free_by_group();
        let pods = (0..gang.size).map(|pod| scene.create_pod(pod_of_gang(number, pod, gang.size, way, name)));
        futures::stream::iter(pods)
            .buffer_unordered(16)
            .collect::<Vec<_>>()
            .await;
        there.push_back((number, number + gang.stays));
        let after = calm(&scene).await;
        let groups = after.groups_of(number);
        let could = gang.size > 1 && free.values().any(|free| *free >= gang.size);
        let is = groups.len() == 1 && groups.values().sum::<usize>() == gang.size;
        if could && !is {
            eprintln!(
                "{}: gang {number} of {} is in {groups:?}, and free was {free:?}",
                way.name(),
                gang.size
            );
        }
        if groups.values().sum::<usize>() == gang.size {
            count.spans += groups.len();
            count.fewest += fewest(&free, gang.size);
        }
        count.could += usize::from(could);
        count.are += usize::from(could && is);
        let left = after.free_by_group();
        let (most, all) = (
            left.values().max().copied().unwrap_or(0),
            left.values().sum::<usize>(),
        );
        if all > 0 {
            count.fragmentation.push(1.0 - ratio(most, all.min(GROUP)));
        }
        let wanted: usize = there.iter().map(|(gang, _)| gangs[*gang].size).sum();
        count.running += after.served;
        count.possible += wanted.min(addressable());
        eprintln!(
            "{}: {number} of {}: {} wanted, {} bound, {} with addresses",
            way.name(),
            gangs.len(),
            wanted,
            after.bound(),
            after.served
        );
    }
    let sandboxes = scene.kubelet.sandboxes();
    count.placed = sandboxes.len();
    count.served = sandboxes
        .values()
        .filter(|sandbox| sandbox.failure.is_none())
        .count();
    count.took = began.elapsed();
    scene.close().await;
    delete_pools(plane).await;
    count
}

fn addressable() -> usize {
    (GROUPS - 2) * GROUP + 2 * SHORT
}

/// A pod that takes a whole node; what its way of placing goes by beside it.
fn pod_of_gang(gang: usize, pod: usize, size: usize, way: Way, profile: &str) -> Value {
    let name = format!("g{gang:02}");
    let mut object = pod_of(&format!("{name}-{pod:03}"), profile);
    object["metadata"]["labels"] = json!({"job": name});
    object["spec"]["containers"][0]["resources"] = json!({"limits": {"nvidia.com/gpu": "8"}});
    if way == Way::PodByPod {
        object["metadata"]["annotations"]["pointsman.io/locality"] = json!("none");
    } else if size > 1 {
        object["metadata"]["annotations"]["pointsman.io/gang"] = json!(name);
        object["metadata"]["annotations"]["pointsman.io/gang-size"] = json!(size.to_string());
    }
    if way == Way::Affinity {
        object["spec"]["affinity"] = json!({"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {"topologyKey": "pointsman.io/leaf-group", "labelSelector": {"matchLabels": {"job": name}}},
        }]}});
    }
    object
}

async fn depart(scene: &Scene<'_>, gangs: &[usize]) {
    let names: Vec<String> = scene
        .pods()
        .await
        .iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .filter(|pod| gangs.iter().any(|gang| pod.starts_with(&format!("g{gang:02}-"))))
        .collect();
    if names.is_empty() {
        return;
    }
    let delete = |name: String| async move {
        scene
            .api()
            .delete(&scene.pods_at().named(&name))
            .await
            .map(|_| ())
    };
    futures::stream::iter(names.clone())
        .map(delete)
        .buffer_unordered(16)
        .collect::<Vec<_>>()
        .await;
    eventually("they are gone", Duration::from_mins(2), async || {
        let pods = scene.pods().await;
        let left = pods
            .iter()
            .filter(|pod| names.iter().any(|name| pod["metadata"]["name"] == *name))
            .count();
        expect(left == 0, || format!("{left} pods"))
    })
    .await;
    // Of a pod that got an address on one rail and none on the other, Spiderpool may forget the one it has: that is
    // taken until its garbage collector comes, minutes later.
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) && stale(scene).await > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Addresses of pods that are gone.
async fn stale(scene: &Scene<'_>) -> usize {
    let pods = scene.pods().await;
    let uids: BTreeSet<&str> = pods
        .iter()
        .filter_map(|pod| pod["metadata"]["uid"].as_str())
        .collect();
    let held = holders(scene).await;
    held.iter().filter(|uid| !uids.contains(uid.as_str())).count()
}

async fn holders(scene: &Scene<'_>) -> Vec<String> {
    let pools = scene.api().list(&POOLS.all()).await;
    let ours = pools
        .iter()
        .filter(|pool| pool["metadata"]["name"].as_str().unwrap().starts_with("place-"));
    ours.filter_map(|pool| pool["status"]["allocatedIPs"].as_str())
        .flat_map(|text| {
            serde_json::from_str::<Option<BTreeMap<String, Value>>>(text)
                .unwrap()
                .unwrap_or_default()
        })
        .map(|(_, record)| record["podUid"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Where pods are.
struct Standing {
    /// Pod and node of those that are bound.
    nodes: BTreeMap<String, usize>,
    /// Of the pods that are bound: those the IPAM has answered for, and those it gave addresses.
    set_up: usize,
    served: usize,
    waiting: usize,
}

impl Standing {
    async fn take(scene: &Scene<'_>) -> Self {
        let sandboxes = scene.kubelet.sandboxes();
        let pods = scene.pods().await;
        let (bound, waiting): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| is_bound(pod));
        let set_up: Vec<_> = bound
            .iter()
            .filter_map(|pod| sandboxes.get(pod["metadata"]["uid"].as_str().unwrap()))
            .collect();
        let served = set_up.iter().filter(|sandbox| sandbox.failure.is_none()).count();
        let place = |pod: &&Value| {
            let node = pod["spec"]["nodeName"].as_str().unwrap();
            let number = node.rsplit('-').next().unwrap().parse().unwrap();
            (pod["metadata"]["name"].as_str().unwrap().to_owned(), number)
        };
        Self {
            nodes: bound.iter().map(place).collect(),
            set_up: set_up.len(),
            served,
            waiting: waiting.len(),
        }
    }

    fn bound(&self) -> usize {
        self.nodes.len()
    }

    /// Nodes of each leaf group that can take one more pod: with a VF and, by its group's pools, an address.
    fn free_by_group(&self) -> BTreeMap<usize, usize> {
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        for node in self.nodes.values() {
            *taken.entry(node / GROUP).or_default() += 1;
        }
        (0..GROUPS)
            .map(|group| {
                let addresses = if group + 2 < GROUPS { GROUP } else { SHORT };
                let taken = taken.get(&group).copied().unwrap_or(0);
                (group, addresses.saturating_sub(taken))
            })
            .collect()
    }

    /// How many pods of a gang are in each leaf group.
    fn groups_of(&self, gang: usize) -> BTreeMap<usize, usize> {
        let mut groups = BTreeMap::new();
        let own = format!("g{gang:02}-");
        for (_, node) in self.nodes.iter().filter(|(pod, _)| pod.starts_with(&own)) {
            *groups.entry(node / GROUP).or_default() += 1;
        }
        groups
    }
}

/// For how long the IPAM may take to set up what is bound.
const SET_UP: Duration = Duration::from_mins(2);

/// Waits until nothing moves any more: what is bound has been set up, or told that it has no address, and what waits has
/// waited for a while.
async fn calm(scene: &Scene<'_>) -> Standing {
    let mut last = (0, 0, 0);
    let began = Instant::now();
    let mut since = began;
    loop {
        let now = Standing::take(scene).await;
        let state = (now.bound(), now.set_up, now.waiting);
        if state != last {
            (last, since) = (state, Instant::now());
        }
        let spell = if now.waiting == 0 {
            Duration::from_millis(600)
        } else {
            Duration::from_millis(1500)
        };
        let all_set_up = now.set_up == now.bound();
        assert!(all_set_up || began.elapsed() < SET_UP, "the IPAM does not answer");
        if since.elapsed() > spell && all_set_up {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The fewest leaf groups with room for so many pods; all of them where there is too little.
fn fewest(free: &BTreeMap<usize, usize>, size: usize) -> usize {
    let mut free: Vec<usize> = free.values().copied().collect();
    free.sort_unstable_by_key(|free| std::cmp::Reverse(*free));
    let mut left = size;
    for (taken, free) in free.iter().enumerate() {
        left = left.saturating_sub(*free);
        if left == 0 {
            return taken + 1;
        }
    }
    GROUPS
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts far below the 52 bits of an f64"
)]
fn ratio(of: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { of as f64 / all as f64 }
}

impl Count {
    fn line(&self, way: Way) -> String {
        let fragmentation = self.fragmentation.iter().sum::<f64>() / ratio(self.fragmentation.len(), 1);
        format!(
            "| {} | {:.1} % ({} of {}) | {:.1} % ({} of {}) | {:.2} | {:.2} | {:.1} % | {:.0} s |\n",
            way.name(),
            100.0 * ratio(self.served, self.placed),
            self.served,
            self.placed,
            100.0 * ratio(self.are, self.could),
            self.are,
            self.could,
            ratio(self.spans, self.fewest),
            fragmentation,
            100.0 * ratio(self.running, self.possible),
            self.took.as_secs_f64(),
        )
    }
}

const BEGIN: &str = "<!-- written by `make placement`: begin -->";
const END: &str = "<!-- written by `make placement`: end -->";

fn write_down(seed: u64, gangs: &[Gang], rows: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/placement.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("docs/placement.md has the mark");
    let (_, tail) = rest.split_once(END).expect("docs/placement.md has the mark");
    let mut table = String::new();
    let pods: usize = gangs.iter().map(|gang| gang.size).sum();
    let wanted = |now: usize| -> usize {
        let until_now = gangs.iter().enumerate().take(now + 1);
        let there = until_now.filter(|(came, gang)| came + gang.stays > now);
        there.map(|(_, gang)| gang.size).sum()
    };
    let most = (0..gangs.len()).map(wanted).max().unwrap_or(0);
    let full = (0..gangs.len())
        .filter(|now| wanted(*now) >= addressable())
        .count();
    write!(
        table,
        "Seed {seed}: {} gangs of 1 to 128 pods, {pods} pods in all. Those that are there at once want up to {most} nodes; \
         at {full} of the arrivals they want as many as have addresses ({}) or more.\n\n\
         | placed by | pods placed that got their addresses | gangs in one leaf group, of those that one had room for | \
         leaf groups spanned / fewest possible | fragmentation | utilisation | took |\n\
         |---|---|---|---|---|---|---|\n{rows}",
        gangs.len(),
        addressable()
    )
    .unwrap();
    fs::write(&path, format!("{head}{BEGIN}\n\n{table}\n{END}{tail}")).unwrap();
}
