//! Our prediction against the real IPAM: for made-up pools, networks, nodes and pods, what `filter` says of the pod on
//! its node, and what spiderpool-agent then does when a node asks for the pod's addresses.
//!
//! Each world is tried in two ways. Its first pods ask one after the other, so that the records are always complete
//! and the two must agree on every pod. The others are all asked about before any of them fetches an address, as in a
//! burst; what was promised must then be kept to all of them, in whatever order they come, and those that were refused
//! are asked about once more. Between the two, pods of StatefulSets go and come back, and keep what Spiderpool lets them
//! keep (`returning`).
//!
//! A yes must never be wrong. A no may be wrong only where Spiderpool itself settles it by chance: between pools that
//! several addresses can come from, it has no order that can be relied on, and what it allocated for a pod that it then
//! failed it takes back at some later time. And two noes are ours on purpose: an address that is kept is of no use on a
//! node that its pool is not for, although Spiderpool gives it there; and where `eth0` is listed, it may be Spiderpool's,
//! and must not get the address of another interface.

mod outcome;
mod returning;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use pointsman::cluster::convert;
use pointsman::cluster::index::Index;
use pointsman::decide::claim::claim;
use pointsman::decide::names::{InterfaceName, NodeName, PodRef, PoolName};
use pointsman::decide::reason::Reason;
use pointsman::decide::settings::Settings;
use pointsman::extender::bind::{BindError, Binder, Binding};
use pointsman::extender::events::Announcer;
use pointsman::extender::ledger::{Ledger, Lifetimes};
use pointsman::extender::nudge::Waiting;
use pointsman::extender::sampling::Sampling;
use pointsman::extender::{State, router};
use pointsman::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use self::outcome::{Addresses, Outcome, report, told};
use self::returning::{Again, Stayed};
use self::world::{Interface, MadePod, NODES as MADE_NODES, World};
use crate::harness::api::{At, NAMESPACES, NETWORKS, NODES, PODS, POOLS, RESERVED_IPS, SERVICE_ACCOUNTS};
use crate::harness::ipam::Attachment;
use crate::harness::plane::{self, ControlPlane};
use crate::harness::run;
use crate::harness::seeded::Seeded;
use crate::harness::wait::eventually;

/// Worlds of three to six pools and eight pods each; `WORLDS` in the environment asks for more.
const WORLDS: usize = 54;

/// How many worlds are tried side by side.
const AT_ONCE: usize = 16;

/// How many of a world's pods ask one after the other.
const ONE_BY_ONE: usize = 4;

#[test]
fn what_we_say_of_a_pods_addresses_is_what_the_real_agent_does() {
    run(async {
        let plane = plane::shared().await;
        let seed = Seeded::seed(5);
        let worlds = std::env::var("WORLDS").map_or(WORLDS, |worlds| worlds.parse().unwrap());
        let trial = Trial::new(plane).await;
        let numbers = futures::stream::iter(0..worlds);
        let outcomes: Vec<Vec<Outcome>> = numbers
            .map(|number| trial.play(World::make(number, seed, ONE_BY_ONE)))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
        report(&outcomes);

        let wrong_yes: Vec<_> = outcomes.iter().filter(|outcome| outcome.wrong_yes()).collect();
        assert!(
            wrong_yes.is_empty(),
            "promised and not kept: {}",
            told(&wrong_yes, &outcomes)
        );
        let wrong_no: Vec<_> = outcomes.iter().filter(|outcome| outcome.wrong_no()).collect();
        let unexplained: Vec<_> = wrong_no
            .iter()
            .copied()
            .filter(|outcome| !outcome.by_chance)
            .collect();

        assert!(
            unexplained.is_empty(),
            "refused without need: {}",
            told(&unexplained, &outcomes)
        );
        let refused = outcomes
            .iter()
            .filter(|outcome| outcome.refused.is_some())
            .count();
        assert!(
            refused * 4 > outcomes.len() && (outcomes.len() - refused) * 4 > outcomes.len(),
            "too one-sided to tell anything: {refused} refused of {}",
            outcomes.len()
        );
        returning::judge(&outcomes);
        assert!(
            wrong_no.len() * 20 <= outcomes.len(),
            "more than one in twenty: {}",
            told(&wrong_no, &outcomes)
        );
    });
}

/// The program's own index, ledger and filter, filled from the API server, and the real agent.
struct Trial {
    plane: &'static ControlPlane,
    index: Index,
    settings: Arc<Settings>,
    state: State,
}

/// Nobody is bound here: the pods name their nodes themselves.
struct Nobody;

impl Binder for Nobody {
    fn bind(&self, _: Binding) -> BoxFuture<'_, Result<(), BindError>> {
        Box::pin(async { Err(BindError::Refused("nothing is bound here".to_owned())) })
    }

    fn is_bound<'a>(&'a self, _: &'a PodRef) -> BoxFuture<'a, Result<bool, BindError>> {
        Box::pin(async { Ok(false) })
    }
}

impl Trial {
    async fn new(plane: &'static ControlPlane) -> Self {
        let settings = Arc::new(Settings::default());
        let index = Index::new(Arc::clone(&settings));
        let lifetimes = Lifetimes {
            hold: Duration::from_secs(30),
            gang: Duration::from_mins(1),
            reservation: Duration::from_mins(2),
        };
        let metrics = Arc::new(Metrics::new());
        let state = State {
            ledger: Arc::new(Ledger::new(index.published(), lifetimes)),
            waiting: Arc::new(Waiting::default()),
            sampling: Arc::new(Sampling::default()),
            settings: Arc::clone(&settings),
            binder: Arc::new(Nobody),
            is_ready: Arc::new(|| true),
            announcer: Arc::new(Announcer::new(Arc::clone(&metrics)).0),
            metrics,
        };
        let trial = Self {
            plane,
            index,
            settings,
            state,
        };
        for (name, rack, row) in MADE_NODES {
            let mut labels = json!({"kubernetes.io/hostname": name});
            for (key, value) in [("rack", rack), ("row", row)] {
                if !value.is_empty() {
                    labels[key] = json!(value);
                }
            }
            let offered = json!({"cpu": "192", "memory": "2Ti", "pods": "1000"});
            let node = json!({
                "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
                "status": {"capacity": offered, "allocatable": offered},
            });
            trial.create(&NODES.all(), node).await;
        }
        trial
    }

    /// Creates the object, and shows the program what the API server made of it.
    async fn create(&self, at: &At, object: Value) -> Value {
        let created = self.plane.api.create(at, object).await.unwrap();
        self.index.apply(created.clone()).unwrap();
        created
    }

    async fn play(&self, world: World) -> Vec<Outcome> {
        let name = world.namespace["metadata"]["name"].as_str().unwrap().to_owned();
        self.create(&NAMESPACES.all(), world.namespace).await;
        // The controller makes the same; whoever is second finds it there.
        let account = json!({"metadata": {"name": "default"}});
        let _ = self
            .plane
            .api
            .create(&SERVICE_ACCOUNTS.within(&name), account)
            .await;
        for network in world.networks {
            self.create(&NETWORKS.within(&name), network).await;
        }
        for reserved in world.reserved {
            self.create(&RESERVED_IPS.all(), reserved).await;
        }
        let mut pools = Vec::new();
        for pool in world.pools {
            let created = self.create(&POOLS.all(), pool.object).await;
            let at = POOLS.all().named(created["metadata"]["name"].as_str().unwrap());
            if pool.terminating {
                self.plane.api.delete(&at).await.unwrap();
            }
            pools.push(at);
        }
        let mut records = self.refresh(&pools).await;

        let mut outcomes = Vec::new();
        let mut stayed = Vec::new();
        let mut pods = world.pods.into_iter();
        let first = pods.by_ref().take(ONE_BY_ONE);
        for (pod, made) in futures::future::join_all(first.map(|made| self.raise(&name, made))).await {
            let said = self.ask(pod, made.interfaces).await;
            let outcome = self.try_out(&said, &records, false).await;
            if let (Some(again), None, Ok(had)) = (made.again, &outcome.refused, &outcome.agent) {
                stayed.push(Stayed::new(said, *again, had.clone()));
            }
            outcomes.push(outcome);
            records = self.refresh(&pools).await;
        }
        if !stayed.is_empty() || !world.meanwhile.is_nothing() {
            let returned = self.return_all(&name, stayed, &pools, world.meanwhile).await;
            outcomes.extend(returned);
        }
        let mut burst = Vec::new();
        for made in pods {
            burst.push(self.say(&name, made).await);
        }
        let (refused, fits): (Vec<_>, Vec<_>) = burst.into_iter().partition(|said| said.refused.is_some());
        let kept = fits.iter().map(|said| self.try_out(said, &records, true));
        outcomes.extend(futures::future::join_all(kept).await);
        // Who was refused is asked about again when the promises to the others have become records.
        for said in refused {
            let records = self.refresh(&pools).await;
            let said = self.ask(said.pod, said.interfaces).await;
            outcomes.push(self.try_out(&said, &records, true).await);
        }
        outcomes
    }

    /// Shows the program the pools as they are now, and returns their records.
    async fn refresh(&self, pools: &[At]) -> Records {
        let mut records = Records::default();
        for at in pools {
            let pool = self.plane.api.get(at).await.unwrap();
            if let Some(text) = pool["status"]["allocatedIPs"].as_str() {
                records.extend(serde_json::from_str::<Records>(text).unwrap());
            }
            // What cannot be read in it is kept, and counts as a pool that gives nothing.
            let _ = self.index.apply(pool);
        }
        records
    }

    /// Creates the pod on its node, and asks the extender about it as if it were not there yet.
    async fn say(&self, namespace: &str, made: MadePod) -> Said {
        let at = PODS.within(namespace);
        let pod = self.plane.api.create(&at, made.object).await.unwrap();
        self.ask(pod, made.interfaces).await
    }

    async fn ask(&self, pod: Value, interfaces: Vec<Interface>) -> Said {
        let node = pod["spec"]["nodeName"].as_str().unwrap().to_owned();
        let mut unbound = pod.clone();
        unbound["spec"].as_object_mut().unwrap().remove("nodeName");
        let request = json!({"Pod": unbound, "Nodes": null, "NodeNames": [node]}).to_string();
        let request = Request::post("/filter").body(Body::from(request)).unwrap();
        let response = router(self.state.clone()).oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["Error"], "", "{answer}");
        let refused = answer["FailedAndUnresolvableNodes"][&node]
            .as_str()
            .map(str::to_owned);
        assert_eq!(
            answer["NodeNames"] == json!([node]),
            refused.is_none(),
            "{answer}"
        );
        let sets = self.sets(&pod, &node);
        if refused.is_none() {
            self.index.apply(pod.clone()).unwrap();
        }
        Said {
            pod,
            interfaces,
            refused,
            sets,
            again: None,
        }
    }

    /// The pools that each of the pod's addresses can come from.
    fn sets(&self, pod: &Value, node: &str) -> Vec<OfInterface> {
        let snapshot = self.index.published().load_full();
        let pod = convert::pod::pod(&serde_json::from_value(pod.clone()).unwrap(), &self.settings);
        let Some(node) = snapshot.nodes.get(&NodeName::from(node)) else {
            return Vec::new();
        };
        claim(&pod, &snapshot, &self.settings).map_or_else(
            |_| Vec::new(),
            |claim| {
                let kept = claim
                    .kept
                    .iter()
                    .map(|(interface, pool)| (interface.clone(), BTreeSet::from([pool.name.clone()])));
                let sets = claim
                    .demands
                    .iter()
                    .map(|demand| (demand.interface.clone(), demand.on(node).into_iter().collect()));
                sets.chain(kept).collect()
            },
        )
    }

    /// Asks the agent as the pod's node would; a pod that should not have been bound goes again. The `records` are those by
    /// which the extender answered.
    async fn try_out(&self, said: &Said, records: &Records, burst: bool) -> Outcome {
        let agent = self.addresses(said).await;
        let for_another_node = said.refused.as_deref() == Some(Reason::PoolNotForNode.text());
        let same_address = said.refused.as_deref() == Some(Reason::SameAddress.text());
        let on_purpose = (for_another_node && said.again.as_ref().is_some_and(|again| again.astray))
            || (same_address && said.shares_with_the_clusters_network());
        if said.refused.is_some() {
            self.remove(said).await;
        }
        Outcome {
            pod: format!(
                "{}/{} on {}: {}",
                said.text("namespace"),
                said.text("name"),
                said.pod["spec"]["nodeName"],
                said.pod["metadata"]["annotations"]
            ),
            burst,
            refused: said.refused.clone(),
            by_chance: said.is_settled_by_chance()
                || agent
                    .as_ref()
                    .is_ok_and(|given| were_of_others(given, said.text("uid"), records)),
            agent,
            on_purpose,
            again: said.again.clone(),
        }
    }

    async fn addresses(&self, said: &Said) -> Result<Addresses, String> {
        let mut addresses = Addresses::new();
        for interface in &said.interfaces {
            let Some([v4, v6]) = &interface.pools else {
                continue;
            };
            let (namespace, pod, uid) = (said.text("namespace"), said.text("name"), said.text("uid"));
            let attachment = Attachment {
                namespace,
                pod,
                uid,
                interface: &interface.name,
            };
            let what = format!("{namespace}/{pod}: the agent's answer");
            let answer = eventually(&what, Duration::from_mins(1), async || {
                match attachment
                    .add_both(self.plane.spiderpool().socket(), v4, v6)
                    .await
                {
                    // To the first interface of a pod that comes back it says so for ever: it knows what is there already.
                    Err(problem)
                        if said.again.is_some()
                            && addresses.is_empty()
                            && problem.contains(EXISTS_ALREADY) =>
                    {
                        Ok(Err(problem))
                    }
                    Err(problem) if is_a_race(&problem) => Err(problem),
                    answer => Ok(answer),
                }
            })
            .await;
            let mut given = answer.map_err(|problem| format!("{}: {problem}", interface.name))?;
            given.sort_unstable();
            addresses.insert(interface.name.clone(), given);
        }
        let all: Vec<&String> = addresses.values().flatten().collect();
        let different: BTreeSet<&String> = all.iter().copied().collect();
        if different.len() == all.len() {
            Ok(addresses)
        } else {
            Err(format!("the same address twice: {addresses:?}"))
        }
    }

    async fn remove(&self, said: &Said) {
        let (namespace, pod, uid) = (said.text("namespace"), said.text("name"), said.text("uid"));
        if said.is_of_a_set() {
            self.scale_down(said).await;
        } else {
            let at = PODS.within(namespace).named(pod);
            self.plane.api.delete_now(&at).await.unwrap();
        }
        let attachment = Attachment {
            namespace,
            pod,
            uid,
            interface: "net1",
        };
        // Spiderpool's own garbage collector may be at the same record.
        eventually(
            &format!("the IPAM takes back the addresses of {namespace}/{pod}"),
            Duration::from_secs(30),
            async || attachment.delete(self.plane.spiderpool().socket()).await,
        )
        .await;
    }
}

const EXISTS_ALREADY: &str = "already exists";

/// Where the agent lost a race against itself or its own cache, a kubelet tries again.
fn is_a_race(problem: &str) -> bool {
    [
        "the object has been modified",
        "failed to get Pod",
        "retries exhausted",
        EXISTS_ALREADY,
    ]
    .iter()
    .any(|race| problem.contains(race))
}

/// The pools that an address of an interface can come from.
type OfInterface = (InterfaceName, BTreeSet<PoolName>);

/// Who has which address, as Spiderpool writes it.
type Records = BTreeMap<String, Value>;

/// Whether one of these addresses was another pod's by the records.
fn were_of_others(given: &Addresses, uid: &str, records: &Records) -> bool {
    let mut owners = given
        .values()
        .flatten()
        .filter_map(|address| records.get(address));
    owners.any(|owner| owner["podUid"] != uid)
}

/// A pod, and what the extender said of it.
struct Said {
    pod: Value,
    interfaces: Vec<Interface>,
    refused: Option<String>,
    /// For each address, the pools it can come from; of one that is kept, its own.
    sets: Vec<OfInterface>,
    /// Of a pod that has come back.
    again: Option<Again>,
}

impl Said {
    fn text(&self, key: &str) -> &str {
        self.pod["metadata"][key].as_str().unwrap()
    }

    /// Whether two of the pod's own addresses can come from pools that overlap, and one of them from several: which
    /// they come from is then settled by the order in which Spiderpool tries them.
    fn is_settled_by_chance(&self) -> bool {
        self.overlaps(|one, other| one.1.len() + other.1.len() > 2)
    }

    /// Whether the list of the pod gives `eth0` the pools of another interface; no pod here has a network of its own on
    /// it.
    fn shares_with_the_clusters_network(&self) -> bool {
        self.overlaps(|one, other| {
            [one, other]
                .iter()
                .any(|(interface, _)| interface.as_str() == "eth0")
        })
    }

    fn overlaps(&self, is_meant: impl Fn(&OfInterface, &OfInterface) -> bool) -> bool {
        let mut all = self.sets.iter().enumerate();
        all.any(|(at, one)| {
            let mut rest = self.sets.iter().skip(at + 1);
            rest.any(|other| !one.1.is_disjoint(&other.1) && is_meant(one, other))
        })
    }
}
