//! Events on pods: what `kubectl describe pod` shows beside the scheduler's own.
//!
//! The scheduler's event has our constant texts only; this one adds what helps and where to read more. An Event does
//! not touch its pod, so it wakes nobody. It is written when the reasons of a pod change, never for each attempt; the
//! queue is bounded, writes have a pace and a deadline, and what cannot be written is counted and forgotten: a pod is
//! placed the same with or without them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Request, header};
use futures::future::BoxFuture;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::expected::Expected;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::{NodeName, PodRef, PodUid};
use crate::decide::problem::chain;
use crate::decide::reason::Reason;
use crate::decide::tier::Domain;
use crate::telemetry::label::EventResult;
use crate::telemetry::logging::key;
use crate::telemetry::metrics::Metrics;

/// Notices that wait to be written; a burst of a large gang fits, more is dropped rather than kept.
const QUEUE: usize = 1024;

/// Pause after each write: 20 a second at the most, so that events are never what an API server is busy with.
const PAUSE: Duration = Duration::from_millis(50);

/// Most time for one write.
const DEADLINE: Duration = Duration::from_secs(5);

/// Least time between two refusals of one pod: reasons that come and go are told once in a while, not each time.
const BETWEEN: Duration = Duration::from_secs(30);

/// Pods whose last notice is kept in mind; beyond that the oldest are forgotten, and perhaps told again.
const REMEMBERED: usize = 20_000;

/// Most bytes of a note: the API server takes 1,024.
const NOTE: usize = 1_000;

/// The controller that events are reported by.
const CONTROLLER: &str = "pointsman.io/extender";

/// What a pod's user is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// No node fits; the reasons, the one against most nodes first.
    Refused(Vec<Reason>),
    /// It was bound.
    Placed(NodeName, Option<Domain>),
}

impl Notice {
    /// A word for programs, in the form Kubernetes' own have.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Refused(reasons) => reasons
                .first()
                .map_or_else(|| "Refused".to_owned(), |reason| camel(reason.slug())),
            Self::Placed(..) => "Placed".to_owned(),
        }
    }

    /// The text for people.
    #[must_use]
    pub fn note(&self, pod: &PodRef) -> String {
        match self {
            Self::Placed(node, domain) => {
                let domain = domain
                    .as_ref()
                    .map_or_else(String::new, |domain| format!(" in fabric domain {domain}"));
                format!("Pointsman reserved VFs and addresses on {node}{domain}")
            }
            Self::Refused(reasons) => {
                let hint = format!("In full: pointsman explain {} -n {}", pod.name, pod.namespace);
                let mut note = String::new();
                for reason in reasons {
                    let part = format!("{}: {}. ", reason.text(), reason.remedy());
                    if note.len() + part.len() + hint.len() > NOTE {
                        break;
                    }
                    note.push_str(&part);
                }
                note + &hint
            }
        }
    }

    fn severity(&self) -> &'static str {
        match self {
            Self::Refused(_) => "Warning",
            Self::Placed(..) => "Normal",
        }
    }

    fn action(&self) -> &'static str {
        match self {
            Self::Refused(_) => "Filter",
            Self::Placed(..) => "Bind",
        }
    }
}

/// Takes notices from handlers, without ever making them wait.
#[derive(Debug)]
pub struct Announcer {
    told: Mutex<BTreeMap<PodUid, Told>>,
    expected: Expected,
    queue: mpsc::Sender<(PodRef, Notice)>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Told {
    reasons: BTreeSet<Reason>,
    at: Instant,
}

/// The other end of the queue.
#[derive(Debug)]
pub struct Notices(mpsc::Receiver<(PodRef, Notice)>);

impl Announcer {
    /// An announcer, and the queue it fills.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> (Self, Notices) {
        let (queue, notices) = mpsc::channel(QUEUE);
        let announcer = Self {
            told: Mutex::default(),
            expected: Expected::default(),
            queue,
            metrics,
        };
        (announcer, Notices(notices))
    }

    /// No node fits `pod`, for these reasons; told only where they are others than last time.
    pub fn refused(&self, pod: &PodRef, reasons: &[Reason], now: Instant) {
        let set: BTreeSet<Reason> = reasons.iter().copied().collect();
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let known = told.get(&pod.uid);
            if known.is_some_and(|known| known.reasons == set || now.duration_since(known.at) < BETWEEN) {
                return;
            }
            if told.len() >= REMEMBERED && known.is_none() {
                let oldest = told.iter().min_by_key(|(_, told)| told.at);
                if let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) {
                    told.remove(&oldest);
                }
            }
            told.insert(
                pod.uid.clone(),
                Told {
                    reasons: set,
                    at: now,
                },
            );
        }
        self.tell(pod, Notice::Refused(reasons.to_vec()));
    }

    /// `pod` was bound.
    pub fn placed(&self, pod: &PodRef, node: NodeName, domain: Option<Domain>) {
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&pod.uid);
        self.tell(pod, Notice::Placed(node, domain));
    }

    /// Another extender will bind `pod`, which fits somewhere; it is told when it is seen bound.
    pub fn expect(&self, pod: &PodRef, now: Instant) {
        self.expected.add(&pod.uid, now);
    }

    /// Tells of those that another extender has bound by now.
    pub fn look(&self, snapshot: &ClusterSnapshot, now: Instant) {
        for (pod, node) in self.expected.take_bound(snapshot, now) {
            self.placed(&pod, node, None);
        }
    }

    fn tell(&self, pod: &PodRef, notice: Notice) {
        match self.queue.try_send((pod.clone(), notice)) {
            // Nobody writes where there is no cluster.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.metrics.event(EventResult::Dropped),
        }
    }
}

/// Writes one Event.
pub trait EventWriter: Send + Sync + 'static {
    /// Writes it to the pod's namespace.
    fn write(&self, namespace: String, event: Value) -> BoxFuture<'_, Result<(), kube::Error>>;
}

/// Writes Events to the cluster.
#[derive(Clone)]
pub struct ClusterEvents(pub Client);

impl EventWriter for ClusterEvents {
    fn write(&self, namespace: String, event: Value) -> BoxFuture<'_, Result<(), kube::Error>> {
        Box::pin(async move {
            let request = Request::post(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"))
                .header(header::CONTENT_TYPE, "application/json")
                .body(event.to_string().into_bytes())
                .map_err(kube::Error::HttpError)?;
            self.0.request::<Value>(request).await.map(drop)
        })
    }
}

impl Notices {
    /// Writes what is told until `stop`, one after the other; `instance` says which replica speaks.
    pub async fn write_all(
        mut self,
        writer: Arc<dyn EventWriter>,
        instance: String,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) {
        let mut failing = false;
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => None,
                next = self.0.recv() => next,
            };
            let Some((pod, notice)) = next else { return };
            let written = writer.write(pod.namespace.to_string(), event(&pod, &notice, &instance));
            let error = match tokio::time::timeout(DEADLINE, written).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(chain(&error)),
                Err(_elapsed) => Some("the API server did not answer in time".to_owned()),
            };
            metrics.event(if error.is_none() {
                EventResult::Sent
            } else {
                EventResult::Failed
            });
            match &error {
                // The first of a row is worth a line; the others say the same.
                Some(error) if !failing => {
                    warn!({ key::NAMESPACE } = %pod.namespace, { key::POD } = %pod.name, { key::ERROR } = error, "event not written; pods are placed all the same");
                }
                Some(error) => {
                    debug!({ key::NAMESPACE } = %pod.namespace, { key::POD } = %pod.name, { key::ERROR } = error, "event not written");
                }
                None => {}
            }
            failing = error.is_some();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// The Event object.
fn event(pod: &PodRef, notice: &Notice, instance: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        // Not a dot, as client-go's names have: the API server takes a prefix that ends in one for no name.
        "metadata": { "generateName": format!("{}-", pod.name), "namespace": pod.namespace.as_str() },
        // Microseconds: what the API server's MicroTime takes.
        "eventTime": format!("{:.6}", jiff::Timestamp::now()),
        "type": notice.severity(),
        "reason": notice.reason(),
        "action": notice.action(),
        "note": notice.note(pod),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace.as_str(),
            "name": pod.name.as_str(),
            "uid": pod.uid.as_str(),
        },
    })
}

/// `pool_empty` as `PoolEmpty`.
fn camel(slug: &str) -> String {
    slug.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing;
    use strum::IntoEnumIterator as _;

    fn announcer() -> (Announcer, Notices) {
        Announcer::new(Arc::new(Metrics::new()))
    }

    fn queued(notices: &mut Notices) -> usize {
        std::iter::from_fn(|| notices.0.try_recv().ok()).count()
    }

    #[test]
    fn a_refusal_is_told_when_its_reasons_change_and_not_for_each_attempt() {
        let (announcer, mut notices) = announcer();
        let (pod, now) = (testing::pod("a").at, Instant::now());
        announcer.refused(&pod, &[Reason::PoolEmpty], now);
        announcer.refused(&pod, &[Reason::PoolEmpty], now + BETWEEN);
        assert_eq!(queued(&mut notices), 1);
        announcer.refused(&pod, &[Reason::PoolEmpty, Reason::PfDown], now + BETWEEN);
        announcer.refused(&pod, &[Reason::PfDown, Reason::PoolEmpty], now + BETWEEN * 2);
        assert_eq!(queued(&mut notices), 1, "the order is no change");
        announcer.refused(&pod, &[Reason::PfDown], now + BETWEEN + BETWEEN / 2);
        assert_eq!(queued(&mut notices), 0, "not twice within so short a time");
        announcer.placed(&pod, "n1".into(), None);
        announcer.refused(&pod, &[Reason::PoolEmpty], now + BETWEEN * 2);
        assert_eq!(queued(&mut notices), 2, "whoever was placed begins anew");
    }

    #[test]
    fn a_full_queue_drops_and_a_closed_one_hurts_nobody() {
        let (announcer, mut notices) = announcer();
        for number in 0..QUEUE + 5 {
            let pod = testing::pod(&number.to_string()).at;
            announcer.refused(&pod, &[Reason::PoolEmpty], Instant::now());
        }
        let text = announcer.metrics.exposition().unwrap();
        assert!(
            text.contains("pointsman_events_total{result=\"dropped\"} 5\n"),
            "{text}"
        );
        assert_eq!(queued(&mut notices), QUEUE);
        drop(notices);
        announcer.placed(&testing::pod("a").at, "n1".into(), None);
    }

    #[test]
    fn every_note_fits_an_event_and_says_where_to_read_more() {
        let pod = testing::pod("a").at;
        let all: Vec<Reason> = Reason::iter().collect();
        for reasons in all.iter().map(|reason| vec![*reason]).chain([all.clone()]) {
            let note = Notice::Refused(reasons).note(&pod);
            assert!(note.len() <= NOTE, "{} bytes: {note}", note.len());
            assert!(
                note.ends_with("In full: pointsman explain a -n default"),
                "{note}"
            );
            assert!(note.starts_with("RDMA: "), "{note}");
        }
        assert_eq!(Notice::Refused(vec![Reason::PoolEmpty]).reason(), "PoolEmpty");
    }

    struct Broken;

    impl EventWriter for Broken {
        fn write(&self, _: String, _: Value) -> BoxFuture<'_, Result<(), kube::Error>> {
            Box::pin(async { Err(kube::Error::LinesCodecMaxLineLengthExceeded) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_counted_and_the_next_is_tried() {
        let (announcer, notices) = announcer();
        for name in ["a", "b", "c"] {
            announcer.placed(&testing::pod(name).at, "n1".into(), None);
        }
        let metrics = Arc::clone(&announcer.metrics);
        drop(announcer);
        let stop = CancellationToken::new();
        notices
            .write_all(Arc::new(Broken), "test".to_owned(), Arc::clone(&metrics), stop)
            .await;
        let text = metrics.exposition().unwrap();
        assert!(
            text.contains("pointsman_events_total{result=\"failed\"} 3\n"),
            "{text}"
        );
    }
}
