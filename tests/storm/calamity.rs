//! What befalls the cluster. Each calamity ends what it began, so that everything is sound after the last. There are two
//! series of them, one of the programs and what stands between them, one of what they place pods by: so at almost any
//! time two things are wrong at once.

use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::Request;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::arrivals::persist;
use crate::bereft::{Bereft, EXTRA};
use crate::harness::api::{At, NODE_STATES, NODES, POOLS};
use crate::harness::faults::{Fault, Faults};
use crate::harness::http;
use crate::harness::nodes::OPERATOR_NAMESPACE;
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane::ControlPlane;
use crate::harness::process;
use crate::harness::scene::Scene;
use crate::harness::seeded::Seeded;
use crate::harness::stack::write_certificate;
use crate::harness::wait::{eventually, expect};
use crate::pair::Pair;
use crate::scale::Scale;
use crate::timeline::Timeline;
use crate::{HOLD, RAILS};

pub(crate) struct Calamities<'a> {
    pub(crate) scale: &'static Scale,
    pub(crate) scene: &'a Scene<'a>,
    pub(crate) plane: &'static ControlPlane,
    pub(crate) pairs: &'a [Pair],
    pub(crate) profile: &'a Profile,
    /// Between the program and the API server.
    pub(crate) watches: &'a Faults,
    pub(crate) timeline: &'a Timeline,
    pub(crate) bereft: &'a Mutex<Bereft>,
}

/// Longer than a scheduler's lease lasts, and than the second after which another asks for it.
const TAKEN_OVER: Duration = Duration::from_secs(6);

/// After how long nobody binds a pod any more on account of a pool that was deleted.
const SEEN: Duration = Duration::from_secs(3);

/// After how long a program sees that its clock was set.
const SEEN_BY_PROGRAM: Duration = Duration::from_secs(1);

/// The exit code of a process that SIGTERM has ended.
const BY_SIGTERM: i32 = 143;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Calamity {
    ExtenderKilled,
    /// SIGTERM, and again while it is starting.
    ExtenderEnded,
    /// It is stopped for longer than a hold lasts: when it goes on, its clock has jumped.
    ExtenderStopped,
    /// The wall clocks of both programs are set ahead and back.
    ClockSet,
    /// One after the other ends and is started anew, as in an upgrade, and no pod is refused for it meanwhile.
    Upgrade,
    CertificatesRotated,
    SchedulerKilled,
    /// Each scheduler is away for longer than its lease lasts, so that whichever leads, another takes over.
    FailOver,
    ApiServerKilled,
    /// Old revisions are gone when watches want to go on from them.
    ApiServerKilledAfterCompaction,
    CallsStalled,
    CallsRefused,
    CallsLate,
    WatchesCut,
    WatchesLate,
    PoolDisabled,
    PoolNarrowed,
    /// Another pool comes, and is deleted while pods have addresses of it.
    PoolDeleted,
    NodeCordoned,
    NodeDrained,
    /// Nodes are deleted with pods on them, and come again.
    NodesGone,
    /// The operator says in turn that it configures a node and that it is done.
    NodeStatesFlap,
    IpamPaused,
}

const OF_PROGRAMS: [Calamity; 15] = [
    Calamity::ExtenderKilled,
    Calamity::ExtenderEnded,
    Calamity::ExtenderStopped,
    Calamity::ClockSet,
    Calamity::Upgrade,
    Calamity::CertificatesRotated,
    Calamity::SchedulerKilled,
    Calamity::FailOver,
    Calamity::ApiServerKilled,
    Calamity::ApiServerKilledAfterCompaction,
    Calamity::CallsStalled,
    Calamity::CallsRefused,
    Calamity::CallsLate,
    Calamity::WatchesCut,
    Calamity::WatchesLate,
];

const OF_SUPPLY: [Calamity; 8] = [
    Calamity::PoolDisabled,
    Calamity::PoolNarrowed,
    Calamity::PoolDeleted,
    Calamity::NodeCordoned,
    Calamity::NodeDrained,
    Calamity::NodesGone,
    Calamity::NodeStatesFlap,
    Calamity::IpamPaused,
];

/// How many kinds there are.
pub(crate) const KINDS: usize = OF_PROGRAMS.len() + OF_SUPPLY.len();

/// Those of a short storm: no time that a slow machine takes makes them worse.
pub(crate) const MILD: [Calamity; 6] = [
    Calamity::ExtenderKilled,
    Calamity::SchedulerKilled,
    Calamity::CallsRefused,
    Calamity::WatchesCut,
    Calamity::PoolNarrowed,
    Calamity::NodesGone,
];

impl Calamities<'_> {
    /// So many calamities; each kind comes once before any comes again.
    pub(crate) async fn befall(&self, count: usize, seed: u64) {
        let mut random = Seeded::new(seed ^ 0xfa);
        if !self.scale.is_whole() {
            return self.one_by_one(&MILD, count, &mut random).await;
        }
        let of_supply = count * OF_SUPPLY.len() / KINDS;
        let mut other = Seeded::new(seed ^ 0xfb);
        tokio::join!(
            self.one_by_one(&OF_PROGRAMS, count - of_supply, &mut random),
            self.one_by_one(&OF_SUPPLY, of_supply, &mut other),
        );
    }

    async fn one_by_one(&self, kinds: &[Calamity], count: usize, random: &mut Seeded) {
        let mut left: Vec<Calamity> = Vec::new();
        for _ in 0..count {
            if left.is_empty() {
                left = kinds.to_vec();
            }
            let calamity = left.swap_remove(random.below(left.len()));
            tokio::time::sleep(millis(random, 200, 1200)).await;
            let lasts = millis(random, 300, 2500);
            self.timeline.says(format!("{calamity:?} for {lasts:?}"));
            self.strike(calamity, lasts, random).await;
            self.timeline.says(format!("{calamity:?} is over"));
        }
    }

    async fn strike(&self, calamity: Calamity, lasts: Duration, random: &mut Seeded) {
        let wait = || tokio::time::sleep(lasts);
        match calamity {
            Calamity::ExtenderKilled => {
                let stack = &random.one(self.pairs).stack;
                stack.kill().await;
                wait().await;
                stack.serve().await;
            }
            Calamity::ExtenderEnded => self.extender_ended(lasts, random).await,
            Calamity::ExtenderStopped => self.extender_stopped(lasts, random).await,
            Calamity::ClockSet => self.clock_set(lasts).await,
            Calamity::Upgrade => self.upgrade().await,
            Calamity::CertificatesRotated => {
                for pair in self.pairs {
                    write_certificate(self.plane, pair.stack.name(), &self.plane.authority);
                    wait().await;
                }
            }
            Calamity::SchedulerKilled => {
                let pair = random.one(self.pairs);
                pair.kill_scheduler();
                wait().await;
                pair.start_scheduler();
            }
            Calamity::FailOver => self.fail_over().await,
            Calamity::ApiServerKilled => self.without_api_server(lasts).await,
            Calamity::ApiServerKilledAfterCompaction => {
                self.compact().await;
                self.without_api_server(lasts).await;
            }
            Calamity::CallsStalled => self.calls(Fault::Stall, lasts).await,
            Calamity::CallsRefused => self.calls(Fault::Refuse, lasts).await,
            Calamity::CallsLate => self.calls(Fault::Late(lasts / 4), lasts).await,
            Calamity::WatchesCut => {
                self.watches.set(Fault::Refuse);
                wait().await;
                self.watches.set(Fault::None);
            }
            Calamity::WatchesLate => {
                // What is open is cut, so that it has to come again and be late.
                self.watches.set(Fault::Refuse);
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.watches.set(Fault::Late(Duration::from_millis(700)));
                wait().await;
                self.watches.set(Fault::None);
            }
            Calamity::PoolDisabled => {
                let pool = POOLS.all().named(&self.profile.pool(0));
                self.while_changed(
                    &pool,
                    &json!({"spec": {"disable": true}}),
                    &json!({"spec": {"disable": false}}),
                    lasts,
                )
                .await;
            }
            Calamity::PoolNarrowed => {
                let pool = POOLS.all().named(&self.profile.pool(1));
                let addresses = self.scale.addresses;
                let range = |addresses| json!({"spec": {"ips": [self.profile.range(1, addresses)]}});
                self.while_changed(&pool, &range(addresses / 2), &range(addresses), lasts)
                    .await;
            }
            Calamity::PoolDeleted => self.pool_deleted(lasts).await,
            Calamity::NodeCordoned => {
                let node = NODES.all().named(&self.any_node(random));
                let unschedulable = |yes: bool| json!({"spec": {"unschedulable": yes}});
                self.while_changed(&node, &unschedulable(true), &unschedulable(false), lasts)
                    .await;
            }
            Calamity::NodeDrained => {
                let state = NODE_STATES
                    .within(OPERATOR_NAMESPACE)
                    .named(&self.any_node(random));
                let phase = |desired: &str, current: &str| {
                    json!({"metadata": {"annotations": {
                        "sriovnetwork.openshift.io/desired-state": desired,
                        "sriovnetwork.openshift.io/current-state": current,
                    }}})
                };
                self.while_changed(
                    &state,
                    &phase("Drain_Required", "Draining"),
                    &phase("Idle", "Idle"),
                    lasts,
                )
                .await;
            }
            Calamity::NodesGone => self.nodes_gone(lasts / 4, random).await,
            Calamity::NodeStatesFlap => self.node_states_flap(lasts / 12, random).await,
            Calamity::IpamPaused => self.ipam_paused().await,
        }
    }

    fn any_node(&self, random: &mut Seeded) -> String {
        name_of(random.below(self.scale.nodes))
    }

    /// A program ends in its own good time wherever it is told to, also before it serves anything.
    async fn extender_ended(&self, lasts: Duration, random: &mut Seeded) {
        let stack = &random.one(self.pairs).stack;
        let code = stack.terminate().await;
        assert_eq!(code, Some(0), "it was asked to end");
        for _ in 0..2 {
            stack.launch();
            tokio::time::sleep(millis(random, 0, 1500)).await;
            let code = stack.terminate().await;
            // Before it listens for signals the kernel ends it.
            assert!(
                matches!(code, Some(0 | BY_SIGTERM)),
                "{code:?} while it was starting"
            );
        }
        tokio::time::sleep(lasts).await;
        stack.serve().await;
    }

    async fn extender_stopped(&self, lasts: Duration, random: &mut Seeded) {
        let stack = &random.one(self.pairs).stack;
        stack.signal("STOP");
        tokio::time::sleep(HOLD + lasts).await;
        stack.signal("CONT");
    }

    async fn clock_set(&self, lasts: Duration) {
        for offset in ["+600", "-600", "+0"] {
            for pair in self.pairs {
                let clock = pair.stack.clock.as_ref().expect("a whole storm has clocks");
                clock.set(offset);
            }
            if offset == "+600" {
                for pair in self.pairs {
                    eventually(
                        "the program's clock is ahead",
                        Duration::from_secs(30),
                        async || {
                            let ahead = pair.stack.time().await? - Timestamp::now();
                            expect(ahead.get_seconds() > 300, || format!("{ahead:#}"))
                        },
                    )
                    .await;
                }
            }
            tokio::time::sleep(SEEN_BY_PROGRAM + lasts).await;
        }
    }

    async fn ipam_paused(&self) {
        let agent = self.plane.spiderpool().agent().id().to_string();
        process::send("STOP", &agent);
        tokio::time::sleep(self.scale.ipam_pauses).await;
        process::send("CONT", &agent);
    }

    /// One replica after the other, and pods are admitted all the time.
    async fn upgrade(&self) {
        let replaced = async {
            for pair in self.pairs {
                let code = pair.stack.terminate().await;
                assert_eq!(code, Some(0), "it was asked to end");
                pair.stack.serve().await;
            }
        };
        let admits = async {
            let at = self.scene.pods_at().dry_run();
            let mut pod = pod_of("admitted-meanwhile", self.profile.name());
            for number in 0.. {
                pod["metadata"]["name"] = json!(format!("admitted-meanwhile-{number}"));
                if let Err(refused) = self.plane.api.create(&at, pod.clone()).await {
                    let unanswered = refused.message.contains("failed calling webhook");
                    assert!(!unanswered, "pod {number} of an upgrade: {}", refused.message);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = replaced => {}
            () = admits => {}
        }
    }

    async fn pool_deleted(&self, lasts: Duration) {
        for rail in 0..RAILS {
            let pool = self.profile.extra_pool_object(rail, EXTRA);
            persist(
                async || match self.plane.api.create(&POOLS.all(), pool.clone()).await {
                    Err(refused) if refused.message.contains("already exists") => Ok(()),
                    answer => answer.map(|_| ()),
                },
            )
            .await;
        }
        tokio::time::sleep(lasts).await;
        for rail in 0..RAILS {
            let pool = POOLS.all().named(&self.profile.extra_pool(rail));
            persist(async || match self.plane.api.delete(&pool).await {
                Err(refused) if refused.message.contains("not found") => Ok(()),
                answer => answer.map(|_| ()),
            })
            .await;
        }
        tokio::time::sleep(SEEN).await;
        persist(async || {
            let pods = self.plane.api.try_list(&self.scene.pods_at()).await?;
            let sandboxes = self.scene.kubelet.sandboxes();
            self.bereft
                .lock()
                .unwrap()
                .note(&pods, &sandboxes, self.scale.addresses);
            Ok(())
        })
        .await;
    }

    async fn fail_over(&self) {
        for pair in self.pairs {
            pair.kill_scheduler();
            tokio::time::sleep(TAKEN_OVER).await;
            pair.start_scheduler();
        }
    }

    async fn nodes_gone(&self, lasts: Duration, random: &mut Seeded) {
        for _ in 0..4 {
            let number = random.below(self.scale.nodes);
            let node = NODES.all().named(&name_of(number));
            persist(async || match self.plane.api.delete(&node).await {
                Err(refused) if refused.message.contains("not found") => Ok(()),
                answer => answer.map(|_| ()),
            })
            .await;
            tokio::time::sleep(lasts).await;
            let object = crate::node(number).node();
            persist(
                async || match self.plane.api.create(&NODES.all(), object.clone()).await {
                    Err(refused) if refused.message.contains("already exists") => Ok(()),
                    answer => answer.map(|_| ()),
                },
            )
            .await;
        }
    }

    async fn node_states_flap(&self, lasts: Duration, random: &mut Seeded) {
        let states = NODE_STATES.within(OPERATOR_NAMESPACE);
        for _ in 0..6 {
            let state = states.named(&self.any_node(random));
            for says in ["InProgress", "Succeeded"] {
                let patch = json!({"status": {"syncStatus": says}});
                persist(async || {
                    let answer = self.plane.api.merge_status(&state, patch.clone()).await;
                    answer.map(|_| ())
                })
                .await;
                tokio::time::sleep(lasts).await;
            }
        }
    }

    async fn without_api_server(&self, lasts: Duration) {
        self.plane.apiserver.kill();
        tokio::time::sleep(lasts).await;
        self.plane.apiserver.start_again();
        self.plane.answers().await;
    }

    async fn calls(&self, fault: Fault, lasts: Duration) {
        for pair in self.pairs {
            pair.calls.set(fault);
        }
        tokio::time::sleep(lasts).await;
        for pair in self.pairs {
            pair.calls.set(Fault::None);
        }
    }

    async fn while_changed(&self, at: &At, to: &Value, back: &Value, lasts: Duration) {
        for (patch, then) in [(to, lasts), (back, Duration::ZERO)] {
            persist(async || self.plane.api.merge(at, patch.clone()).await.map(|_| ())).await;
            tokio::time::sleep(then).await;
        }
    }

    /// Compacts etcd up to its newest revision.
    async fn compact(&self) {
        let ask = async |path: &str, body: Value| {
            let port = crate::port_of(&self.plane.etcd);
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            let request = Request::post(path)
                .header("Host", "etcd")
                .body(Bytes::from(body.to_string()))
                .unwrap();
            let answer = http::send(stream, request).await.unwrap();
            serde_json::from_slice::<Value>(answer.body()).unwrap()
        };
        let status = ask("/v3/maintenance/status", json!({})).await;
        let revision = status["header"]["revision"].clone();
        let answer = ask("/v3/kv/compaction", json!({"revision": revision})).await;
        assert!(answer["header"].is_object(), "etcd does not compact: {answer}");
    }
}

fn name_of(number: usize) -> String {
    format!("storm-{number:02}")
}

fn millis(random: &mut Seeded, least: usize, most: usize) -> Duration {
    Duration::from_millis(u64::try_from(least + random.below(most - least)).unwrap())
}
