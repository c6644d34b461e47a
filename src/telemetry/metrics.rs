//! Every metric of the program, registered once, exposed in the OpenMetrics text format.
//!
//! One value is made at start and shared; there is no global registry. Counters whose labels are known start
//! at 0, so that a rate is right from the first event and "never called" can be read off.

use core::fmt;
use core::sync::atomic::AtomicU64;
use core::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::label::{
    EventResult, ExtenderVerdict, ListenerName, NudgeResult, Rejection, Verb, WebhookVerdict,
};
use super::stock::{LastTaken, Taken};

/// The Content-Type of [`Metrics::exposition`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: from a look-up in memory (100 µs) to the API server's longest webhook timeout (30 s).
const LATENCY_BUCKETS: [f64; 15] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0,
];

fn latency() -> Histogram {
    Histogram::new(LATENCY_BUCKETS)
}

/// All metrics; share it in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    webhook_requests: Family<WebhookLabels, Counter>,
    webhook_seconds: Family<WebhookLabels, Histogram, fn() -> Histogram>,
    extender_requests: Family<ExtenderLabels, Counter>,
    extender_seconds: Family<ExtenderLabels, Histogram, fn() -> Histogram>,
    node_refusals: Family<ReasonLabel, Counter>,
    nudges: Family<NudgeLabel, Counter>,
    events: Family<EventLabel, Counter>,
    watch_errors: Family<KindLabel, Counter>,
    objects_unreadable: Family<KindLabel, Gauge>,
    fabric_timestamp: Gauge,
    fabric_stale: Gauge,
    tier_conflict_nodes: Gauge,
    scheduler_sampling: Gauge,
    http_rejections: Family<RejectionLabels, Counter>,
    certificate_expiry: Gauge,
    certificate_reload_failures: Counter,
    panics: Counter,
    index_events: Family<KindLabel, Gauge>,
    verify_differences: Gauge,
    verify_seconds: Gauge<f64, AtomicU64>,
    verify_timestamp: Gauge,
    stock: LastTaken,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    verdict: WebhookVerdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ExtenderLabels {
    verb: Verb,
    verdict: ExtenderVerdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NudgeLabel {
    result: NudgeResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    result: EventResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    listener: ListenerName,
    reason: Rejection,
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("pointsman"),
            webhook_requests: Family::default(),
            webhook_seconds: Family::new_with_constructor(latency),
            extender_requests: Family::default(),
            extender_seconds: Family::new_with_constructor(latency),
            node_refusals: Family::default(),
            nudges: Family::default(),
            events: Family::default(),
            watch_errors: Family::default(),
            objects_unreadable: Family::default(),
            fabric_timestamp: Gauge::default(),
            fabric_stale: Gauge::default(),
            tier_conflict_nodes: Gauge::default(),
            scheduler_sampling: Gauge::default(),
            http_rejections: Family::default(),
            certificate_expiry: Gauge::default(),
            certificate_reload_failures: Counter::default(),
            panics: Counter::default(),
            index_events: Family::default(),
            verify_differences: Gauge::default(),
            verify_seconds: Gauge::default(),
            verify_timestamp: Gauge::default(),
            stock: LastTaken::default(),
        };
        metrics.start_at_zero();
        metrics.registered()
    }

    /// One admission review answered.
    pub fn webhook_request(&self, verdict: WebhookVerdict, took: Duration) {
        let labels = WebhookLabels { verdict };
        self.webhook_requests.get_or_create(&labels).inc();
        self.webhook_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// One call of kube-scheduler answered.
    pub fn extender_request(&self, verb: Verb, verdict: ExtenderVerdict, took: Duration) {
        let labels = ExtenderLabels { verb, verdict };
        self.extender_requests.get_or_create(&labels).inc();
        self.extender_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// `nodes` nodes refused for `reason`, which comes from the closed set of the decisions' reasons.
    pub fn node_refusals(&self, reason: &'static str, nodes: u64) {
        self.node_refusals
            .get_or_create(&ReasonLabel { reason })
            .inc_by(nodes);
    }

    /// One waiting pod nudged, or not.
    pub fn nudge(&self, result: NudgeResult) {
        self.nudges.get_or_create(&NudgeLabel { result }).inc();
    }

    /// One event on a pod written, or not.
    pub fn event(&self, result: EventResult) {
        self.events.get_or_create(&EventLabel { result }).inc();
    }

    /// The watch of `kind` (as in YAML, from the table of watches) broke and starts again.
    pub fn watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabel { kind }).inc();
    }

    /// How many objects of `kind` cannot be read at present.
    pub fn objects_unreadable(&self, kind: &'static str, objects: usize) {
        self.objects_unreadable
            .get_or_create(&KindLabel { kind })
            .set(i64::try_from(objects).unwrap_or(i64::MAX));
    }

    /// When the fabric import looked, in seconds since 1970 (0 where none has), and whether that is too long ago to
    /// refuse nodes by.
    pub fn fabric_looked_at(&self, unix_seconds: i64, stale: bool) {
        self.fabric_timestamp.set(unix_seconds);
        self.fabric_stale.set(i64::from(stale));
    }

    /// How many nodes carry the labels of another preset of tiers only than the one in use.
    pub fn tier_conflict(&self, nodes: usize) {
        self.tier_conflict_nodes
            .set(i64::try_from(nodes).unwrap_or(i64::MAX));
    }

    /// Whether the scheduler asks about a sample of the nodes.
    pub fn sampling(&self, samples: bool) {
        self.scheduler_sampling.set(i64::from(samples));
    }

    /// A request answered by the limits of `listener` instead of its handler.
    pub fn http_rejection(&self, listener: ListenerName, reason: Rejection) {
        self.http_rejections
            .get_or_create(&RejectionLabels { listener, reason })
            .inc();
    }

    /// The serving certificate is valid until this many seconds after 1970.
    pub fn certificate_expiry(&self, unix_seconds: i64) {
        self.certificate_expiry.set(unix_seconds);
    }

    /// A new certificate could not be loaded or made; the old one serves on.
    pub fn certificate_reload_failure(&self) {
        self.certificate_reload_failures.inc();
    }

    /// A handler panicked; its caller got a 500.
    pub fn panic(&self) {
        self.panics.inc();
    }

    /// The watch of `kind` told something this many seconds after 1970.
    pub fn index_event(&self, kind: &'static str, unix_seconds: i64) {
        self.index_events
            .get_or_create(&KindLabel { kind })
            .set(unix_seconds);
    }

    /// The self-check has looked, this many seconds after 1970, and found so many differences.
    pub fn verified(&self, differences: usize, took: Duration, unix_seconds: i64) {
        self.verify_differences
            .set(i64::try_from(differences).unwrap_or(i64::MAX));
        self.verify_seconds.set(took.as_secs_f64());
        self.verify_timestamp.set(unix_seconds);
    }

    /// Stock was taken; it is exposed until it is taken again.
    pub fn stock(&self, taken: Taken) {
        self.stock.replace(taken);
    }

    /// The whole exposition, to be served with [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a metric cannot be written as text, which is a bug.
    pub fn exposition(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn start_at_zero(&self) {
        for &verdict in WebhookVerdict::ALL {
            let labels = WebhookLabels { verdict };
            let _counter = self.webhook_requests.get_or_create(&labels);
            let _histogram = self.webhook_seconds.get_or_create(&labels);
        }
        for &result in NudgeResult::ALL {
            let _counter = self.nudges.get_or_create(&NudgeLabel { result });
        }
        for &result in EventResult::ALL {
            let _counter = self.events.get_or_create(&EventLabel { result });
        }
        for &listener in ListenerName::ALL {
            for &reason in Rejection::ALL {
                let labels = RejectionLabels { listener, reason };
                let _counter = self.http_rejections.get_or_create(&labels);
            }
        }
    }

    /// Names and help texts; prometheus-client adds `_total` to counters and `_info` to infos itself.
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register(
            "webhook_requests",
            "Admission reviews answered",
            self.webhook_requests.clone(),
        );
        r.register(
            "webhook_request_seconds",
            "Time from a complete admission review to its answer",
            self.webhook_seconds.clone(),
        );
        r.register(
            "extender_requests",
            "Calls of kube-scheduler answered",
            self.extender_requests.clone(),
        );
        r.register(
            "extender_request_seconds",
            "Time from a complete call of kube-scheduler to its answer",
            self.extender_seconds.clone(),
        );
        r.register(
            "extender_node_refusals",
            "Nodes refused in filter calls",
            self.node_refusals.clone(),
        );
        r.register(
            "nudges",
            "Waiting pods annotated so that the scheduler tries them again",
            self.nudges.clone(),
        );
        r.register("events", "Events on pods", self.events.clone());
        r.register(
            "watch_errors",
            "Watches that broke and started again",
            self.watch_errors.clone(),
        );
        r.register(
            "objects_unreadable",
            "Objects that cannot be read as their kind at present",
            self.objects_unreadable.clone(),
        );
        r.register(
            "fabric_data_timestamp_seconds",
            "When the fabric import looked at the fabric, in seconds since 1970; 0 where none has",
            self.fabric_timestamp.clone(),
        );
        r.register(
            "fabric_data_stale",
            "1 while the fabric data is too old to refuse nodes by",
            self.fabric_stale.clone(),
        );
        r.register(
            "tier_conflict_nodes",
            "Nodes that carry only the labels of another preset of tiers than the one in use",
            self.tier_conflict_nodes.clone(),
        );
        r.register(
            "scheduler_sampling",
            "1 while the scheduler asks about a sample of the nodes",
            self.scheduler_sampling.clone(),
        );
        r.register(
            "http_rejections",
            "Requests answered by a limit instead of their handler",
            self.http_rejections.clone(),
        );
        r.register(
            "certificate_expiry_seconds",
            "End of the serving certificate's validity in seconds since 1970; 0 before one is loaded",
            self.certificate_expiry.clone(),
        );
        r.register(
            "certificate_reload_failures",
            "Certificates that could not be loaded or made; the one before serves on",
            self.certificate_reload_failures.clone(),
        );
        r.register(
            "panics",
            "Panics in request handlers, each answered with 500",
            self.panics.clone(),
        );
        r.register(
            "index_event_seconds",
            "When the watch last told something, in seconds since 1970",
            self.index_events.clone(),
        );
        r.register_collector(Box::new(self.stock.clone()));
        r.register(
            "build",
            "The version of the program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_self_check();
        self
    }

    fn register_self_check(&mut self) {
        let r = &mut self.registry;
        r.register(
            "verify_differences",
            "Entries that the last self-check found to differ from what they should be",
            self.verify_differences.clone(),
        );
        r.register(
            "verify_duration_seconds",
            "How long the last self-check took",
            self.verify_seconds.clone(),
        );
        r.register(
            "verify_timestamp_seconds",
            "When the self-check last looked, in seconds since 1970; 0 before the first",
            self.verify_timestamp.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_with_known_labels_start_at_zero() {
        let text = Metrics::new().exposition().unwrap();
        for verdict in WebhookVerdict::ALL {
            let line = format!("pointsman_webhook_requests_total{{verdict=\"{verdict}\"}} 0\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
            let line = format!("pointsman_webhook_request_seconds_count{{verdict=\"{verdict}\"}} 0\n");
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
        assert!(text.contains("pointsman_panics_total 0\n"));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn each_event_lands_in_its_metric() {
        let metrics = Metrics::new();
        metrics.webhook_request(WebhookVerdict::Mutated, Duration::from_millis(3));
        metrics.extender_request(Verb::Filter, ExtenderVerdict::NotReady, Duration::from_micros(70));
        metrics.node_refusals("no_free_vf", 17);
        metrics.nudge(NudgeResult::Sent);
        metrics.event(EventResult::Sent);
        metrics.watch_error("Pod");
        metrics.objects_unreadable("SpiderIPPool", 2);
        metrics.fabric_looked_at(1_700_000_000, true);
        metrics.tier_conflict(3);
        metrics.sampling(true);
        metrics.http_rejection(ListenerName::Webhook, Rejection::BodyTooLarge);
        metrics.certificate_expiry(1_800_000_000);
        metrics.certificate_reload_failure();
        metrics.panic();
        metrics.verified(4, Duration::from_millis(250), 1_900_000_000);
        let text = metrics.exposition().unwrap();
        for line in [
            "pointsman_webhook_requests_total{verdict=\"mutated\"} 1",
            "pointsman_webhook_request_seconds_bucket{le=\"0.0025\",verdict=\"mutated\"} 0",
            "pointsman_webhook_request_seconds_bucket{le=\"0.005\",verdict=\"mutated\"} 1",
            "pointsman_extender_requests_total{verb=\"filter\",verdict=\"not_ready\"} 1",
            "pointsman_extender_request_seconds_count{verb=\"filter\",verdict=\"not_ready\"} 1",
            "pointsman_extender_node_refusals_total{reason=\"no_free_vf\"} 17",
            "pointsman_nudges_total{result=\"sent\"} 1",
            "pointsman_events_total{result=\"sent\"} 1",
            "pointsman_watch_errors_total{kind=\"Pod\"} 1",
            "pointsman_objects_unreadable{kind=\"SpiderIPPool\"} 2",
            "pointsman_fabric_data_timestamp_seconds 1700000000",
            "pointsman_fabric_data_stale 1",
            "pointsman_tier_conflict_nodes 3",
            "pointsman_scheduler_sampling 1",
            "pointsman_http_rejections_total{listener=\"webhook\",reason=\"body_too_large\"} 1",
            "pointsman_certificate_expiry_seconds 1800000000",
            "pointsman_certificate_reload_failures_total 1",
            "pointsman_panics_total 1",
            "pointsman_verify_differences 4",
            "pointsman_verify_duration_seconds 0.25",
            "pointsman_verify_timestamp_seconds 1900000000",
            concat!(
                "pointsman_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
