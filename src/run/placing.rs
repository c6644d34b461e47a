//! The wiring of what follows the cluster: watches into the index, and the extender on top of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::cluster::index::{Index, Pods};
use crate::cluster::objects::Kind;
use crate::cluster::sight::Sight;
use crate::cluster::watch::{self, Progress};
use crate::config::Configuration;
use crate::extender;
use crate::extender::bind::ClusterBinder;
use crate::extender::events::{Announcer, ClusterEvents, Notices};
use crate::extender::expected;
use crate::extender::insight::{Insight, LateInsight};
use crate::extender::ledger::{Ledger, Lifetimes};
use crate::extender::nudge::{ClusterWaker, Nudger, Pace, Waiting};
use crate::extender::sampling::Sampling;
use crate::extender::stocktaking::{Stocktaker, unix_now};
use crate::extender::verify::{LateVerifier, Verifier};
use crate::serve::readiness::{Condition, Readiness};
use crate::serve::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;
use crate::webhook;

/// The cluster as it is followed: the index, and whether it is complete.
#[derive(Clone)]
pub(super) struct Following {
    /// What is known.
    index: Arc<Index>,
    progress: Arc<ListProgress>,
    client: Client,
}

/// Which parts of the program this process serves.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    /// The webhook.
    pub(super) webhook: bool,
    /// The extender.
    pub(super) extender: bool,
}

impl Parts {
    /// The kinds that they go by.
    fn kinds(self) -> BTreeSet<Kind> {
        let admission = self.webhook.then_some(watch::FOR_ADMISSION);
        let placement = self.extender.then_some(watch::FOR_PLACEMENT);
        admission
            .into_iter()
            .chain(placement)
            .flatten()
            .copied()
            .collect()
    }
}

/// Starts the watches; readiness waits until each has listed.
pub(super) fn follow(
    client: &Client,
    parts: Parts,
    configuration: &Configuration,
    readiness: &Readiness,
    metrics: &Arc<Metrics>,
    shutdown: &Shutdown,
) -> Following {
    let pods = if parts.extender { Pods::All } else { Pods::OfGangs };
    let index = Arc::new(Index::of(pods, Arc::new(configuration.decisions.clone())));
    let kinds = parts.kinds();
    let listed = kinds.iter().map(|kind| {
        (
            *kind,
            readiness.condition(format!("every {} is listed", kind.name())),
        )
    });
    let progress = Arc::new(ListProgress {
        listed: listed.collect(),
        metrics: Arc::clone(metrics),
        sight: Arc::default(),
    });
    for kind in &kinds {
        let reporting: Arc<dyn Progress> = progress.clone();
        let watching = watch::watch(
            client.clone(),
            *kind,
            Arc::clone(&index),
            configuration.namespace.clone(),
            reporting,
            shutdown.end(),
        );
        shutdown.background(kind.name(), watching);
    }
    Following {
        index,
        progress,
        client: client.clone(),
    }
}

/// Lets what is known grow older; a second that was missed is made up for.
pub(super) async fn age(following: Following, stop: CancellationToken) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = seconds.tick() => following.index.age(),
        }
    }
}

/// The webhook over the followed cluster.
pub(super) fn webhook(
    following: &Following,
    configuration: &Configuration,
    metrics: &Arc<Metrics>,
) -> webhook::State {
    webhook::State {
        snapshot: following.index.published(),
        generations: following.index.generations(),
        settings: Arc::new(configuration.decisions.clone()),
        metrics: Arc::clone(metrics),
        patience: webhook::PATIENCE,
    }
}

/// The extender over the followed cluster, and the nudger beside it; `binds` sends each Binding once.
pub(super) fn extender(
    following: &Following,
    binds: Client,
    configuration: &Configuration,
    metrics: &Arc<Metrics>,
) -> (extender::State, Nudger, Notices) {
    let settings = Arc::new(configuration.decisions.clone());
    let lifetimes = Lifetimes {
        hold: configuration.reservation.hold,
        gang: configuration.reservation.gang,
        reservation: configuration.reservation.lifetime,
    };
    let ledger = Arc::new(
        Ledger::new(following.index.published(), lifetimes).with_sight(Arc::clone(&following.progress.sight)),
    );
    let waiting = Arc::new(Waiting::default());
    let progress = Arc::clone(&following.progress);
    let (announcer, notices) = Announcer::new(Arc::clone(metrics));
    let state = extender::State {
        ledger: Arc::clone(&ledger),
        waiting: Arc::clone(&waiting),
        sampling: Arc::new(Sampling::default()),
        announcer: Arc::new(announcer),
        settings: Arc::clone(&settings),
        binder: Arc::new(ClusterBinder::new(binds)),
        is_ready: Arc::new(move || progress.all_listed() && !progress.sight.is_lost(Instant::now())),
        metrics: Arc::clone(metrics),
    };
    let nudger = Nudger {
        waiting,
        ledger,
        index: Arc::clone(&following.index),
        settings,
        waker: Arc::new(ClusterWaker(following.client.clone())),
        metrics: Arc::clone(metrics),
        pace: Pace {
            interval: configuration.nudge.interval,
            per_second: configuration.nudge.per_second,
        },
    };
    (state, nudger, notices)
}

/// Takes stock of the extender's promises until `end`.
pub(super) fn take_stock(state: &extender::State, shutdown: &Shutdown) {
    let stocktaker = Stocktaker {
        ledger: Arc::clone(&state.ledger),
        waiting: Arc::clone(&state.waiting),
        settings: Arc::clone(&state.settings),
        metrics: Arc::clone(&state.metrics),
    };
    shutdown.background("stocktaking", stocktaker.run(shutdown.end()));
}

/// Checks the extender's memory now and then until `end`, and lets the admin endpoint have it checked from now on.
pub(super) fn verify(
    following: &Following,
    state: &extender::State,
    late: &LateVerifier,
    shutdown: &Shutdown,
) {
    let verifier = Arc::new(Verifier::new(
        Arc::clone(&following.index),
        Arc::clone(&state.ledger),
        Arc::clone(&state.settings),
        Arc::clone(&state.metrics),
    ));
    // Only one extender starts in a process.
    let _set_before = late.set(Arc::clone(&verifier));
    shutdown.background("self-check", verifier.run(shutdown.end()));
}

/// Writes events on pods until `end`.
pub(super) fn announce(following: &Following, notices: Notices, metrics: &Arc<Metrics>, shutdown: &Shutdown) {
    let writer = Arc::new(ClusterEvents(following.client.clone()));
    // In a pod, its name; elsewhere the variable is absent or the machine's.
    let instance = std::env::var("HOSTNAME").unwrap_or_else(|_| "pointsman".to_owned());
    let writing = notices.write_all(writer, instance, Arc::clone(metrics), shutdown.end());
    let end = shutdown.end();
    shutdown.background("events", async move {
        writing.await;
        // Nobody is left who tells of anything: the extender's listener has ended, and the rest is about to.
        end.cancelled().await;
    });
}

/// Tells of pods that another extender binds, until `end`.
pub(super) fn follow_other_binder(following: &Following, state: &extender::State, shutdown: &Shutdown) {
    if !state.settings.binds {
        let (announcer, index) = (Arc::clone(&state.announcer), Arc::clone(&following.index));
        shutdown.background("bound pods", expected::tell(announcer, index, shutdown.end()));
    }
}

/// Lets the admin endpoint look at the extender from now on.
pub(super) fn show(extender: &extender::State, insight: &LateInsight) {
    let seen = Insight {
        ledger: Arc::clone(&extender.ledger),
        settings: Arc::clone(&extender.settings),
        is_ready: Arc::clone(&extender.is_ready),
    };
    // Only one extender starts in a process.
    let _set_before = insight.set(seen);
}

/// One readiness condition for each kind.
struct ListProgress {
    listed: BTreeMap<Kind, Condition>,
    metrics: Arc<Metrics>,
    sight: Arc<Sight>,
}

impl ListProgress {
    fn saw(&self, kind: Kind) {
        if kind == Kind::Pod {
            self.sight.regained();
        }
    }

    fn all_listed(&self) -> bool {
        self.listed.values().all(Condition::holds)
    }
}

impl Progress for ListProgress {
    fn listed(&self, kind: Kind) {
        if let Some(condition) = self.listed.get(&kind) {
            condition.hold();
        }
        self.metrics.index_event(kind.name(), unix_now());
        self.saw(kind);
    }

    fn broke(&self, kind: Kind) {
        self.metrics.watch_error(kind.name());
        if kind == Kind::Pod {
            self.sight.lost(Instant::now());
        }
    }

    fn unreadable(&self, kind: Kind, objects: usize) {
        self.metrics.objects_unreadable(kind.name(), objects);
        self.metrics.index_event(kind.name(), unix_now());
        self.saw(kind);
    }
}
