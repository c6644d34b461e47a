//! What is seen of the process over time, and what of it is a problem.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::api::Tally;
use super::churn::Counts;
use crate::admin::Check;

/// How much the median of the last third may exceed that of the second: what the heap of a process in steady state
/// varies by. Held memory that is never given back would add up to more in ten minutes.
const GROWTH: f64 = 1.08;

/// The share of the rate that must have been had.
const LEAST_RATE: f64 = 0.9;

/// The process at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    at: Duration,
    memory: u64,
    descriptors: u64,
    threads: u64,
    pods: usize,
}

impl Sample {
    /// Of the process with this number.
    pub(super) fn of(pid: u32, at: Duration, pods: usize) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let number = line.expect("the kernel tells").trim().trim_end_matches(" kB");
            number.parse().expect("a number")
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .count();
        Self {
            at,
            memory: field("VmRSS:"),
            descriptors: u64::try_from(descriptors).expect("few"),
            threads: field("Threads:"),
            pods,
        }
    }
}

/// What the program still counts as taken, held or waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Leftover {
    pub(super) taken: i64,
    series: Vec<String>,
}

impl Leftover {
    pub(super) fn in_metrics(text: &str) -> Self {
        let mut left = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            if name == "pointsman_stock_taken_seconds" {
                left.taken = value.parse().expect("a number");
            }
            let is_stock = name.starts_with("pointsman_vfs{") || name.starts_with("pointsman_addresses{");
            let is_taken = ["used", "held", "reserved"]
                .iter()
                .any(|state| name.contains(&format!("state=\"{state}\"")));
            let counts = (is_stock && is_taken)
                || name.starts_with("pointsman_waiting_pods{")
                || name == "pointsman_index_objects{kind=\"Pod\"}";
            if counts && value != "0" {
                left.series.push(line.to_owned());
            }
        }
        left
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.series.is_empty()
    }
}

/// What is read off a sample.
type Figure = fn(&Sample) -> u64;

/// All that was seen.
pub(super) struct Samples {
    pub(super) interval: Duration,
    pub(super) between_checks: Duration,
    taken: Vec<Sample>,
    checks: Vec<Check>,
}

impl Samples {
    /// Every ten seconds and every minute; a short soak has as many as one of ten minutes.
    pub(super) fn new(length: Duration) -> Self {
        Self {
            interval: (length / 60).min(Duration::from_secs(10)),
            between_checks: (length / 10).min(Duration::from_mins(1)),
            taken: Vec::new(),
            checks: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, sample: Sample) {
        self.taken.push(sample);
    }

    pub(super) fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// A line for whoever waits.
    pub(super) fn tell_last(&self, counts: &Counts, tally: Tally) {
        let (Some(sample), Some(check)) = (self.taken.last(), self.checks.last()) else {
            return;
        };
        println!(
            "{:>5.1} min: {} created, {} ran, {} there; {} MiB, {} descriptors, {} threads; {} events; self-check {} in {:.0} ms",
            sample.at.as_secs_f64() / 60.0,
            count(&counts.created),
            count(&counts.ran),
            sample.pods,
            sample.memory / 1024,
            sample.descriptors,
            sample.threads,
            tally.events,
            if check.is_sound { "sound" } else { "NOT SOUND" },
            check.took_ms,
        );
    }

    /// The medians of a value over the second and the last third.
    fn thirds(&self, value: Figure) -> [u64; 3] {
        let third = self.taken.len() / 3;
        [0, third, 2 * third].map(|from| {
            let mut values: Vec<u64> = self.taken.iter().skip(from).take(third).map(value).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or_default()
        })
    }

    /// What is wrong.
    pub(super) fn problems(
        &self,
        counts: &Counts,
        tally: Tally,
        per_second: f64,
        rate: usize,
        left: &Leftover,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let unsound = self.checks.iter().filter(|check| !check.is_sound).count();
        let [_, before, after] = self.thirds(|sample| sample.memory);
        let grown = after as f64 / before as f64;
        let least = LEAST_RATE * rate as f64;
        let mut problem = |is_one: bool, text: String| {
            if is_one {
                problems.push(text);
            }
        };
        problem(unsound > 0, format!("{unsound} self-checks found differences"));
        problem(
            grown > GROWTH,
            format!("memory grew from {before} to {after} KiB"),
        );
        // The HTTP client keeps or drops a connection now and then.
        for (what, value) in [
            ("descriptors", (|sample| sample.descriptors) as fn(&Sample) -> u64),
            ("threads", |sample| sample.threads),
        ] {
            let [_, before, after] = self.thirds(value);
            problem(
                after > before + 4,
                format!("{what} grew from {before} to {after}"),
            );
        }
        problem(
            per_second < least,
            format!("{per_second:.0} pods a second, not {rate}"),
        );
        problem(!left.is_nothing(), format!("left over: {:?}", left.series));
        problem(
            tally.overcommitted > 0,
            format!("{} pods were bound without a VF", tally.overcommitted),
        );
        problem(
            count(&counts.starved) > 0,
            format!("{} bound pods found no address", count(&counts.starved)),
        );
        for (what, of) in [
            ("ran", &counts.ran),
            ("were refused", &counts.refused),
            ("were of gangs", &counts.in_gangs),
        ] {
            problem(count(of) == 0, format!("no pods {what}: the soak tried nothing"));
        }
        problems
    }

    /// The figures as a table.
    pub(super) fn table(&self, counts: &Counts, tally: Tally, per_second: f64, drained: Duration) -> String {
        let mut text = "| | first third | second | last |\n|---|---|---|---|\n".to_owned();
        let values: [(&str, Figure); 4] = [
            ("memory, median, MiB", |sample| sample.memory / 1024),
            ("descriptors, median", |sample| sample.descriptors),
            ("threads, median", |sample| sample.threads),
            ("pods there, median", |sample| {
                u64::try_from(sample.pods).expect("few")
            }),
        ];
        for (what, value) in values {
            let [first, second, last] = self.thirds(value);
            writeln!(text, "| {what} | {first} | {second} | {last} |").expect("a string grows");
        }
        text.push_str("\n| what | count |\n|---|---|\n");
        let longest = |value: fn(&Check) -> f64| self.checks.iter().map(value).fold(0.0, f64::max);
        let rows: [(&str, String); 14] = [
            (
                "pods created",
                format!("{}, {per_second:.0} a second", count(&counts.created)),
            ),
            (
                "of gangs / that want nothing of ours",
                format!("{} / {}", count(&counts.in_gangs), count(&counts.plain)),
            ),
            ("bound / ran", format!("{} / {}", tally.bound, count(&counts.ran))),
            (
                "answers that refused every node",
                count(&counts.refused).to_string(),
            ),
            (
                "given up waiting / gone before they were bound",
                format!("{} / {}", count(&counts.given_up), count(&counts.dropped)),
            ),
            (
                "Bindings answered with a conflict / written and answered with a time-out",
                format!("{} / {}", tally.refused, tally.unclear),
            ),
            (
                "answers while a watch of pods was broken",
                count(&counts.not_ready).to_string(),
            ),
            ("events told to watches", tally.events.to_string()),
            (
                "watches cut / taken up / taken up too late, so that all was listed again / lists",
                format!(
                    "{} / {} / {} / {}",
                    count(&counts.cuts),
                    tally.watches,
                    tally.expired,
                    tally.lists
                ),
            ),
            ("faults of nodes and pools", count(&counts.faults).to_string()),
            (
                "nudges / events on pods written",
                format!("{} / {}", tally.nudged, tally.told),
            ),
            (
                "pods bound without a VF / without an address",
                format!("{} / {}", tally.overcommitted, count(&counts.starved)),
            ),
            (
                "self-checks / with differences / entries compared in the last",
                format!(
                    "{} / {} / {}",
                    self.checks.len(),
                    self.checks.iter().filter(|check| !check.is_sound).count(),
                    self.checks.iter().rev().nth(1).map_or(0, |check| check.compared)
                ),
            ),
            (
                "longest self-check / longest that others waited for it, ms",
                format!(
                    "{:.0} / {:.1}",
                    longest(|check| check.took_ms),
                    longest(|check| check.held_ms)
                ),
            ),
        ];
        for (what, value) in rows {
            writeln!(text, "| {what} | {value} |").expect("a string grows");
        }
        writeln!(
            text,
            "| nothing left over after the last pod was created, s | {:.0} |",
            drained.as_secs_f64()
        )
        .expect("a string grows");
        text
    }
}

fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}
