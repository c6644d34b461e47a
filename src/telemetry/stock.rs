//! The stock as metrics: how many VFs, addresses, places and waiting pods there were when stock was last taken.
//!
//! Scrapes read the last stock-taking; they wait for no lock that a decision holds. The labels that name resources and
//! pools are bounded: beyond the first in order of name, the rest is added up under `(others)`.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use strum::IntoEnumIterator as _;

use crate::decide::stock::{Count, Fault, Stock};

/// The most resources that have series of their own: far above the rails of a node.
const MOST_RESOURCES: usize = 64;
/// The most pools that have: a pool per rail and rack of a large cluster.
const MOST_POOLS: usize = 512;
/// What the others are added up under; no resource and no pool can be called so.
const OTHERS: &str = "(others)";

/// One stock-taking, with what else was seen at that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The stock.
    pub stock: Stock,
    /// How many pods wait, by the slug of what keeps each from most nodes.
    pub waiting: BTreeMap<&'static str, u64>,
    /// How many promises came to nothing since the start, by what they were: hold, reservation, gang.
    pub expired: [(&'static str, u64); 3],
    /// How many objects the index holds, by their kind.
    pub objects: BTreeMap<&'static str, u64>,
    /// When, in seconds since 1970.
    pub at: i64,
}

/// The last stock-taking; nothing is exposed before the first.
#[derive(Clone, Debug, Default)]
pub(super) struct LastTaken(Arc<ArcSwapOption<Taken>>);

impl LastTaken {
    pub(super) fn replace(&self, taken: Taken) {
        self.0.store(Some(Arc::new(taken)));
    }
}

impl Collector for LastTaken {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(taken) = self.0.load_full() else {
            return Ok(());
        };
        let Taken {
            stock,
            waiting,
            expired,
            objects,
            at,
        } = taken.as_ref();
        let vfs = bounded(&stock.vfs, MOST_RESOURCES, |name| name.as_str());
        counts(
            &mut encoder,
            "vfs",
            "VFs by what became of them",
            "resource",
            &vfs,
        )?;
        let addresses = bounded(&stock.addresses, MOST_POOLS, |name| name.as_str());
        counts(
            &mut encoder,
            "addresses",
            "Addresses of pools by what became of them",
            "pool",
            &addresses,
        )?;
        gauge(
            &mut encoder,
            "scattered_vfs",
            "Free VFs on nodes of which other VFs are taken",
            stock.scattered_vfs,
        )?;
        let groups = [
            ("empty", stock.groups.empty),
            ("partly", stock.groups.partly),
            ("full", stock.groups.full),
        ];
        family(
            &mut encoder,
            "leaf_groups",
            "Domains of the closest tier by how full they are",
            "state",
            groups,
        )?;
        for (name, help, value) in [
            ("gangs", "Gangs with placed pods", stock.gangs.placed),
            (
                "gang_domains",
                "Domains of the closest tier that gangs are in, added up over the gangs",
                stock.gangs.domains,
            ),
            (
                "gang_domains_fewest",
                "The fewest domains that gangs could be in if the cluster were empty, added up over the gangs",
                stock.gangs.fewest,
            ),
        ] {
            gauge(&mut encoder, name, help, value)?;
        }
        unfit(&mut encoder, stock)?;
        family(
            &mut encoder,
            "waiting_pods",
            "Pods that fit nowhere, by what keeps each from most nodes",
            "reason",
            waiting.iter().map(|(reason, pods)| (*reason, *pods)),
        )?;
        let mut counter =
            encoder.encode_descriptor("promises_expired", EXPIRED, None, MetricType::Counter)?;
        for (kind, count) in expired {
            ConstCounter::new(*count).encode(counter.encode_family(&[("kind", *kind)])?)?;
        }
        family(
            &mut encoder,
            "index_objects",
            "Objects that decisions go by",
            "kind",
            objects.iter().map(|(kind, count)| (*kind, *count)),
        )?;
        let seconds = u64::try_from(*at).unwrap_or(0);
        gauge(
            &mut encoder,
            "stock_taken_seconds",
            "When stock was last taken, in seconds since 1970",
            seconds,
        )
    }
}

/// What cannot be used, and why.
fn unfit(encoder: &mut DescriptorEncoder<'_>, stock: &Stock) -> fmt::Result {
    let faults = Fault::iter().map(|fault| {
        let nodes = stock.faults.get(&fault).copied().unwrap_or(0);
        (fault.slug(), nodes)
    });
    family(
        encoder,
        "node_faults",
        "Nodes with VFs of which some cannot be used, by why",
        "fault",
        faults,
    )?;
    let rails = [
        ("sound", stock.rails.sound),
        ("dark", stock.rails.dark),
        ("inactive", stock.rails.inactive),
        ("degraded", stock.rails.degraded),
    ];
    family(
        encoder,
        "rails",
        "Links of nodes with VFs by what the fabric import says of them",
        "state",
        rails,
    )
}

const EXPIRED: &str = "Promises whose time was up before the pod was bound or gone";

/// The counts under their names, as many as may have one of their own; the rest is added up.
fn bounded<N>(counts: &BTreeMap<N, Count>, most: usize, name: impl Fn(&N) -> &str) -> Vec<(&str, Count)> {
    let mut named: Vec<(&str, Count)> = counts
        .iter()
        .take(most)
        .map(|(key, count)| (name(key), *count))
        .collect();
    if counts.len() > most {
        let mut others = Count::default();
        counts.values().skip(most).for_each(|count| others.add(*count));
        named.push((OTHERS, others));
    }
    named
}

fn counts(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    counts: &[(&str, Count)],
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (owner, count) in counts {
        for (state, value) in [
            ("free", count.free),
            ("held", count.held),
            ("reserved", count.reserved),
            ("unfit", count.unfit),
            ("used", count.used),
        ] {
            // An address is fit or none.
            if state == "unfit" && label == "pool" {
                continue;
            }
            let labels = [(label, *owner), ("state", state)];
            ConstGauge::new(shown(value)).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (word, value) in values {
        ConstGauge::new(shown(value)).encode(metric.encode_family(&[(label, word)])?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(shown(value)).encode(metric)
}

fn shown(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_series_of_its_own_is_added_up() {
        let count = Count {
            free: 2,
            ..Count::default()
        };
        let many: BTreeMap<String, Count> = (0..5).map(|number| (format!("p{number}"), count)).collect();
        let shown = bounded(&many, 3, String::as_str);
        let free: Vec<(&str, u64)> = shown.iter().map(|(name, count)| (*name, count.free)).collect();
        assert_eq!(free, [("p0", 2), ("p1", 2), ("p2", 2), (OTHERS, 4)]);
        assert_eq!(bounded(&many, 5, String::as_str).len(), 5);
    }

    #[test]
    fn a_stock_taking_is_exposed_as_it_was() {
        let metrics = crate::telemetry::metrics::Metrics::new();
        assert!(!metrics.exposition().unwrap().contains("pointsman_vfs"));
        let mut taken = Taken {
            waiting: BTreeMap::from([("pool_empty", 3)]),
            expired: [("hold", 1), ("reservation", 0), ("gang", 2)],
            at: 1_800_000_000,
            ..Taken::default()
        };
        taken.stock.rails.dark = 2;
        taken.stock.addresses.insert(
            "rail0".into(),
            Count {
                used: 7,
                held: 1,
                ..Count::default()
            },
        );
        metrics.stock(taken);
        let text = metrics.exposition().unwrap();
        for line in [
            "pointsman_addresses{pool=\"rail0\",state=\"used\"} 7",
            "pointsman_addresses{pool=\"rail0\",state=\"held\"} 1",
            "pointsman_waiting_pods{reason=\"pool_empty\"} 3",
            "pointsman_promises_expired_total{kind=\"gang\"} 2",
            "pointsman_node_faults{fault=\"pf_down\"} 0",
            "pointsman_rails{state=\"dark\"} 2",
            "pointsman_stock_taken_seconds 1800000000",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("pool=\"rail0\",state=\"unfit\""));
    }
}
