//! Pods come, are admitted, placed, run and go; nodes, pools and watches misbehave meanwhile. What the program says is
//! done by a scheduler of a few lines, which offers every node for every pod and counts nothing itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::api::{
    Api, COLLECTIONS, ENDPOINTS, Key, NAMESPACES, NODES, PODS, POOLS, RESERVED, STATES, key_of,
};
use super::cluster::{self, ADDRESSES, NODES as NODE_COUNT, RAILS, Shape, TEAMS, UNIT};
use super::random::Random;
use crate::load::{self, Target};

/// How often a pod that fits nowhere is tried before its owner gives it up.
const TRIES: usize = 5;

/// Bindings under way at once.
const BINDERS: usize = 8;

/// What came of the pods.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) created: AtomicU64,
    pub(super) plain: AtomicU64,
    pub(super) in_gangs: AtomicU64,
    pub(super) ran: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) given_up: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) not_ready: AtomicU64,
    /// Bound pods that found no address in their pool: there must be none.
    pub(super) starved: AtomicU64,
    pub(super) faults: AtomicU64,
    pub(super) cuts: AtomicU64,
}

fn one(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// Who has which address of a pool, by name and UID.
type Held = BTreeMap<usize, (String, String)>;

/// Everything that churns.
pub(super) struct Churn {
    api: Api,
    random: Mutex<Random>,
    pub(super) counts: Counts,
    /// Who has which address of each rail's and unit's pool.
    held: Mutex<BTreeMap<(usize, usize), Held>>,
    queue: UnboundedSender<(Key, usize)>,
    queued: AtomicUsize,
    stopped: AtomicBool,
}

/// Where the program listens.
pub(super) struct Targets {
    pub(super) mutate: Target,
    pub(super) filter: Target,
    pub(super) prioritize: Target,
    pub(super) bind: Target,
}

type Shared = Arc<Churn>;

impl Churn {
    /// Lets everything begin.
    pub(super) fn start(api: Api, targets: &Targets, rate: usize, seed: u64) -> Shared {
        let (queue, waiting) = unbounded_channel();
        let churn = Arc::new(Self {
            api,
            random: Mutex::new(Random::new(seed)),
            counts: Counts::default(),
            held: Mutex::default(),
            queue,
            queued: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let binders = (0..BINDERS).map(|_| {
            let (sender, receiver) = unbounded_channel();
            tokio::spawn(bind_all(Arc::clone(&churn), targets.bind.clone(), receiver));
            sender
        });
        let binders: Vec<_> = binders.collect();
        let (filter, prioritize) = (targets.filter.clone(), targets.prioritize.clone());
        tokio::spawn(schedule(Arc::clone(&churn), filter, prioritize, waiting, binders));
        tokio::spawn(create(Arc::clone(&churn), targets.mutate.clone(), rate));
        tokio::spawn(heartbeats(Arc::clone(&churn)));
        tokio::spawn(node_faults(Arc::clone(&churn)));
        tokio::spawn(pool_faults(Arc::clone(&churn)));
        tokio::spawn(cuts(Arc::clone(&churn)));
        churn
    }

    /// No new pods and no new faults; those that are there run to their ends.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().expect("nobody panics with it")
    }

    fn between(&self, from: usize, to: usize) -> Duration {
        let millis = from + self.random().below(to - from);
        Duration::from_millis(u64::try_from(millis).expect("small"))
    }

    fn enqueue(&self, key: Key, tries: usize) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.send((key, tries)).expect("the scheduler takes it");
    }
}

/// Some pods every 20 ms; gangs come whole.
async fn create(churn: Shared, mutate: Target, rate: usize) {
    let mut stream = load::connect(&mutate).await;
    let mut answer = Vec::new();
    let (began, mut number, mut gang) = (Instant::now(), 0_usize, 0_usize);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while churn.goes_on() {
        tick.tick().await;
        let due = usize::try_from(began.elapsed().as_millis()).expect("not that long") * rate / 1000;
        // A scheduler that cannot keep up would be asked about ever older pods; the rate that was had is told.
        while number < due && churn.goes_on() && churn.queued.load(Ordering::Relaxed) < 4 * rate {
            let (shape, count) = match churn.random().below(20) {
                0 | 1 => (Shape::Plain, 1),
                2 => (Shape::Gang(8, true), 8),
                3 | 4 => (Shape::Gang(4, true), 4),
                5 => (Shape::Gang(4, false), 4),
                6 => (Shape::TooLarge, 1),
                _ => (Shape::Alone, 1),
            };
            gang += 1;
            let team = gang % TEAMS;
            for _ in 0..count {
                let mut pod = cluster::pod(&format!("pod-{number}"), team, shape, gang);
                number += 1;
                one(&churn.counts.created);
                if shape == Shape::Plain {
                    one(&churn.counts.plain);
                } else {
                    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
                        "uid": format!("review-{number}"), "operation": "CREATE",
                        "kind": {"group": "", "version": "v1", "kind": "Pod"},
                        "resource": {"group": "", "version": "v1", "resource": "pods"},
                        "name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"],
                        "userInfo": {"username": "soak"}, "object": pod, "oldObject": null, "dryRun": false}});
                    load::exchange(
                        &mut stream,
                        &load::request(&mutate, review.to_string().as_bytes()),
                        &mut answer,
                    )
                    .await;
                    admit(&mut pod, &answer);
                    if matches!(shape, Shape::Gang(..)) {
                        one(&churn.counts.in_gangs);
                    }
                }
                pod["metadata"]["uid"] = format!("uid-{number}").into();
                if shape == Shape::Plain {
                    let node = churn.random().below(NODE_COUNT);
                    pod["spec"]["nodeName"] = cluster::node_name(node).into();
                }
                let key = key_of(&pod);
                churn.api.put(PODS, pod);
                match shape {
                    Shape::Plain => drop(tokio::spawn(end(Arc::clone(&churn), key))),
                    _ => churn.enqueue(key, 0),
                }
            }
        }
    }
}

/// What the API server makes of the webhook's answer.
fn admit(pod: &mut Value, answer: &[u8]) {
    let review: Value = serde_json::from_slice(answer).expect("JSON");
    let response = &review["response"];
    assert_eq!(response["allowed"], true, "{response}");
    let ByteString(patch) = serde_json::from_value(response["patch"].clone()).expect("a patch");
    let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON Patch");
    json_patch::patch(pod, &patch).expect("it can be applied");
}

/// One pod after another, as kube-scheduler does it.
async fn schedule(
    churn: Shared,
    filter: Target,
    prioritize: Target,
    mut waiting: UnboundedReceiver<(Key, usize)>,
    binders: Vec<UnboundedSender<(Key, String, usize)>>,
) {
    let names: Vec<String> = (0..NODE_COUNT).map(cluster::node_name).collect();
    let (mut asks, mut ranks) = (load::connect(&filter).await, load::connect(&prioritize).await);
    let (mut answer, mut next) = (Vec::new(), 0);
    let args =
        |pod: &Value, names: &Value| json!({"Pod": pod, "Nodes": null, "NodeNames": names}).to_string();
    let all = json!(names);
    while let Some((key, tries)) = waiting.recv().await {
        churn.queued.fetch_sub(1, Ordering::Relaxed);
        let Some(pod) = churn
            .api
            .get(PODS, &key)
            .filter(|pod| pod["spec"]["nodeName"].is_null())
        else {
            continue;
        };
        load::exchange(
            &mut asks,
            &load::request(&filter, args(&pod, &all).as_bytes()),
            &mut answer,
        )
        .await;
        let filtered: Value = serde_json::from_slice(&answer).expect("JSON");
        if filtered["Error"].as_str().is_some_and(|error| !error.is_empty()) {
            one(&churn.counts.not_ready);
            later(&churn, key, tries, Duration::from_millis(300));
            continue;
        }
        let fit = &filtered["NodeNames"];
        if fit.as_array().is_none_or(Vec::is_empty) {
            one(&churn.counts.refused);
            refuse(&churn, key, tries);
            continue;
        }
        load::exchange(
            &mut ranks,
            &load::request(&prioritize, args(&pod, fit).as_bytes()),
            &mut answer,
        )
        .await;
        let scores: Value = serde_json::from_slice(&answer).expect("JSON");
        let best = scores
            .as_array()
            .into_iter()
            .flatten()
            .max_by_key(|host| host["Score"].as_i64());
        let node = best
            .map_or(&fit[0], |host| &host["Host"])
            .as_str()
            .expect("a name")
            .to_owned();
        if churn.random().one_in(50) {
            // Its owner has changed their mind.
            one(&churn.counts.dropped);
            churn.api.remove(PODS, &key);
            continue;
        }
        next += 1;
        binders[next % BINDERS]
            .send((key, node, tries))
            .expect("a binder");
    }
}

fn later(churn: &Shared, key: Key, tries: usize, pause: Duration) {
    let churn = Arc::clone(churn);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        churn.enqueue(key, tries);
    });
}

fn refuse(churn: &Shared, key: Key, tries: usize) {
    if tries + 1 >= TRIES {
        one(&churn.counts.given_up);
        churn.api.remove(PODS, &key);
        return;
    }
    if tries == 0 {
        churn.api.change(PODS, &key, |pod| {
            pod["status"]["conditions"] =
                json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
        });
    }
    later(churn, key, tries + 1, Duration::from_secs(1));
}

async fn bind_all(churn: Shared, bind: Target, mut due: UnboundedReceiver<(Key, String, usize)>) {
    let mut stream = load::connect(&bind).await;
    let mut answer = Vec::new();
    while let Some((key, node, tries)) = due.recv().await {
        let Some(pod) = churn.api.get(PODS, &key) else {
            continue;
        };
        let args =
            json!({"PodName": key.1, "PodNamespace": key.0, "PodUID": pod["metadata"]["uid"], "Node": node});
        load::exchange(
            &mut stream,
            &load::request(&bind, args.to_string().as_bytes()),
            &mut answer,
        )
        .await;
        // Also one whose answer said otherwise may be bound, which the scheduler sees.
        let bound = churn
            .api
            .get(PODS, &key)
            .is_some_and(|pod| !pod["spec"]["nodeName"].is_null());
        if bound {
            tokio::spawn(run(Arc::clone(&churn), key, node));
        } else {
            later(&churn, key, tries, Duration::from_millis(200));
        }
    }
}

/// A bound pod: it fetches its addresses, runs, and goes.
async fn run(churn: Shared, key: Key, node: String) {
    tokio::time::sleep(churn.between(100, 500)).await;
    let Some(pod) = churn.api.get(PODS, &key) else {
        return;
    };
    let uid = pod["metadata"]["uid"].as_str().expect("it has one").to_owned();
    let unit = (0..NODE_COUNT)
        .find(|index| cluster::node_name(*index) == node)
        .expect("known")
        / UNIT;
    let addresses: Vec<usize> = (0..RAILS)
        .map(|rail| fetch(&churn, rail, unit, &key, &uid))
        .collect();
    let ips = (0..RAILS).map(|rail| {
        json!({"interface": format!("net{}", rail + 1), "ipv4Pool": cluster::pool_name(rail, unit),
            "ipv4": format!("{}/24", cluster::address(rail, unit, addresses[rail]))})
    });
    let ips: Vec<Value> = ips.collect();
    churn.api.put(ENDPOINTS, json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderEndpoint",
        "metadata": {"namespace": key.0, "name": key.1},
        "status": {"current": {"uid": uid, "node": node, "ips": ips}, "ownerControllerType": "Pod", "ownerControllerName": key.1}}));
    churn
        .api
        .change(PODS, &key, |pod| pod["status"]["phase"] = "Running".into());
    one(&churn.counts.ran);
    end(Arc::clone(&churn), key.clone()).await;
    for (rail, address) in addresses.into_iter().enumerate() {
        release(&churn, rail, unit, address);
    }
    churn.api.remove(ENDPOINTS, &key);
}

/// Half of the pods complete and are cleared away later, half are deleted as they run.
async fn end(churn: Shared, key: Key) {
    tokio::time::sleep(churn.between(3_000, 8_000)).await;
    let completes = churn.random().one_in(2);
    churn.api.change(PODS, &key, |pod| {
        if completes {
            pod["status"]["phase"] = "Succeeded".into();
        } else {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
    });
    tokio::time::sleep(churn.between(100, 1_000)).await;
    churn.api.remove(PODS, &key);
}

/// The first free address of the pool. None may be missing: the program promised it.
fn fetch(churn: &Churn, rail: usize, unit: usize, key: &Key, uid: &str) -> usize {
    let mut held = churn.held.lock().expect("nobody panics with it");
    let pool = held.entry((rail, unit)).or_default();
    let free = (0..=pool.len())
        .find(|number| !pool.contains_key(number))
        .expect("one more than are taken");
    if free >= ADDRESSES {
        one(&churn.counts.starved);
    }
    pool.insert(free, (format!("{}/{}", key.0, key.1), uid.to_owned()));
    show(churn, rail, unit, pool);
    free
}

fn release(churn: &Churn, rail: usize, unit: usize, address: usize) {
    let mut held = churn.held.lock().expect("nobody panics with it");
    let pool = held.entry((rail, unit)).or_default();
    pool.remove(&address);
    show(churn, rail, unit, pool);
}

fn show(churn: &Churn, rail: usize, unit: usize, pool: &BTreeMap<usize, (String, String)>) {
    let held = pool.iter().map(|(number, (pod, uid))| {
        (
            cluster::address(rail, unit, *number),
            json!({"pod": pod, "podUid": uid}),
        )
    });
    let held: serde_json::Map<String, Value> = held.collect();
    churn.api.change(
        POOLS,
        &(String::new(), cluster::pool_name(rail, unit)),
        |object| {
            object["status"]["allocatedIPCount"] = held.len().into();
            object["status"]["allocatedIPs"] = Value::Object(held).to_string().into();
        },
    );
}

/// Nodes tell that they live, every ten seconds each.
async fn heartbeats(churn: Shared) {
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    let mut node = 0;
    while churn.goes_on() {
        tick.tick().await;
        for _ in 0..NODE_COUNT / 40 {
            node = (node + 1) % NODE_COUNT;
            let now = format!("{:?}", Instant::now());
            churn
                .api
                .change(NODES, &(String::new(), cluster::node_name(node)), |object| {
                    object["status"]["conditions"][0]["lastHeartbeatTime"] = now.into();
                });
        }
    }
}

/// Every two seconds something is wrong with a node, for three.
async fn node_faults(churn: Shared) {
    let mut tick = tokio::time::interval(Duration::from_secs(2));
    while churn.goes_on() {
        tick.tick().await;
        let node = churn.random().below(NODE_COUNT);
        let what = churn.random().below(6);
        let at = (String::new(), cluster::node_name(node));
        let state = ("sriov-network-operator".to_owned(), cluster::node_name(node));
        let fault = |change: fn(&mut Value)| churn.api.change(NODES, &at, change);
        let there = match what {
            0 => fault(|node| node["status"]["conditions"][0]["status"] = "False".into()),
            1 => fault(|node| node["spec"]["unschedulable"] = true.into()),
            2 => fault(|node| node["metadata"]["labels"]["pointsman.io/leaf-group"] = "lg-moved".into()),
            3 => churn.api.remove(NODES, &at).is_some(),
            4 => churn.api.remove(STATES, &state).is_some(),
            _ => churn.api.change(STATES, &state, |state| {
                state["status"]["syncStatus"] = "InProgress".into();
            }),
        };
        one(&churn.counts.faults);
        let churn = Arc::clone(&churn);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            if there {
                churn.api.put(NODES, cluster::node(node));
                churn.api.put(STATES, cluster::node_state(node));
            }
        });
    }
}

/// Every ten seconds a pool gives nothing for three, or addresses are reserved, or a namespace changes.
async fn pool_faults(churn: Shared) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    let mut turn = 0;
    while churn.goes_on() {
        tick.tick().await;
        turn += 1;
        one(&churn.counts.faults);
        let unit = churn.random().below(NODE_COUNT / UNIT);
        let pool = (String::new(), cluster::pool_name(turn % RAILS, unit));
        match turn % 3 {
            0 => {
                churn
                    .api
                    .change(POOLS, &pool, |pool| pool["spec"]["disable"] = true.into());
                tokio::time::sleep(Duration::from_secs(3)).await;
                churn
                    .api
                    .change(POOLS, &pool, |pool| pool["spec"]["disable"] = false.into());
            }
            1 => {
                // Of a range that no pool has: all pools are looked at, and nothing is taken away.
                churn.api.put(RESERVED, json!({"apiVersion": "spiderpool.spidernet.io/v2beta1", "kind": "SpiderReservedIP",
                    "metadata": {"name": "routers"}, "spec": {"ipVersion": 4, "ips": [format!("10.200.0.{}", turn % 200)]}}));
            }
            _ => {
                let team = (String::new(), format!("team-{}", turn % TEAMS));
                churn.api.change(NAMESPACES, &team, |namespace| {
                    namespace["metadata"]["labels"]["turn"] = turn.to_string().into();
                });
            }
        }
    }
}

/// Every ten seconds the watches of one kind are cut, every third time with what they would be taken up from; of all
/// kinds at once every five minutes.
async fn cuts(churn: Shared) {
    let mut tick = tokio::time::interval(Duration::from_secs(10));
    tick.tick().await;
    let mut turn = 0;
    while churn.goes_on() {
        tick.tick().await;
        turn += 1;
        one(&churn.counts.cuts);
        for (at, path) in COLLECTIONS.into_iter().enumerate() {
            if turn % COLLECTIONS.len() == at || turn % 30 == 0 {
                churn.api.cut(path, turn % 3 == 0);
            }
        }
    }
}
