//! Log lines: one JSON object (or one text line) per event on standard error, one vocabulary of keys.
//!
//! Nothing here may log a private key, a Secret's contents or a pod's environment; callers log names, verdicts
//! and durations. Standard output stays free for what a subcommand prints.

use core::fmt;
use std::io::{self, IsTerminal as _};
use std::panic;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, registry, reload};

/// The keys of log lines. A thing has the same name here as in metrics and in the documentation; use them as
/// `info!({ key::POD } = %pod, "…")`.
pub mod key {
    /// UID of the admission review or of the pod.
    pub const UID: &str = "uid";
    /// Namespace of the pod.
    pub const NAMESPACE: &str = "namespace";
    /// Name of the pod (its `generateName` before it has one).
    pub const POD: &str = "pod";
    /// Node.
    pub const NODE: &str = "node";
    /// What happens to the object of an admission review (`CREATE`).
    pub const OPERATION: &str = "operation";
    /// Whether the API server will store nothing.
    pub const DRY_RUN: &str = "dry_run";
    /// The profile a pod asked for.
    pub const PROFILE: &str = "profile";
    /// What kube-scheduler asked.
    pub const VERB: &str = "verb";
    /// How it was answered.
    pub const VERDICT: &str = "verdict";
    /// Why.
    pub const REASON: &str = "reason";
    /// Number of patch operations.
    pub const PATCHED: &str = "patched";
    /// Milliseconds from complete request to answer.
    pub const DURATION_MS: &str = "duration_ms";
    /// Number of nodes asked about.
    pub const NODES: &str = "nodes";
    /// Number of nodes that fit.
    pub const FITTING: &str = "fitting";
    /// Kind of object, as in YAML.
    pub const KIND: &str = "kind";
    /// Object, as `namespace/name` or `name`.
    pub const OBJECT: &str = "object";
    /// What went wrong, with its causes.
    pub const ERROR: &str = "error";
    /// Which of our listeners.
    pub const LISTENER: &str = "listener";
    /// Socket address.
    pub const ADDRESS: &str = "address";
    /// End of a certificate's validity.
    pub const NOT_AFTER: &str = "not_after";
    /// Where in the source.
    pub const LOCATION: &str = "location";
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people at a terminal.
    Text,
}

/// Which events are logged: a level (`debug`), or a level per module (`info,pointsman::extender=debug`).
#[derive(Clone, Debug, PartialEq)]
pub struct LogLevel {
    targets: Targets,
    /// As it was given.
    text: String,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The level in force, to be changed while the program runs.
#[derive(Clone)]
pub struct LevelInForce(Arc<InForce>);

struct InForce {
    level: Mutex<LogLevel>,
    /// None where something else takes our events, as in a test.
    filter: Option<reload::Handle<Targets, Registry>>,
}

impl LevelInForce {
    /// What is logged.
    #[must_use]
    pub fn get(&self) -> LogLevel {
        self.0
            .level
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Logs this from now on.
    ///
    /// # Errors
    /// When logging has ended, a sentence that says so.
    pub fn set(&self, level: LogLevel) -> Result<(), String> {
        if let Some(filter) = &self.0.filter {
            filter
                .reload(level.targets.clone())
                .map_err(|error| format!("the level cannot be changed: {error}"))?;
        }
        *self.0.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        Ok(())
    }
}

impl FromStr for LogLevel {
    type Err = String;

    /// Stricter than tracing's own reading, which takes `infoo` for a module that may say anything.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut targets = Targets::new();
        for part in text.split(',') {
            targets = match part.split_once('=') {
                None => targets.with_default(level(part)?),
                Some((module, word)) => targets.with_target(module, level(word)?),
            };
        }
        Ok(Self {
            targets,
            text: text.to_owned(),
        })
    }
}

fn level(word: &str) -> Result<LevelFilter, String> {
    match word {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        other => Err(format!(
            "found {other:?}, expected error, warn, info, debug, trace, off or a list such as \
             info,pointsman::extender=debug"
        )),
    }
}

/// Sends events to standard error from here on, panics included. A second call changes nothing.
pub fn start(format: LogFormat, level: LogLevel) -> LevelInForce {
    let (filter, handle) = reload::Layer::new(level.targets.clone());
    let lines = layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    let started = registry().with(lines.with_filter(filter)).try_init();
    if started.is_ok() {
        log_panics();
    }
    LevelInForce(Arc::new(InForce {
        level: Mutex::new(level),
        filter: started.is_ok().then_some(handle),
    }))
}

/// A panic becomes a log line like any other instead of free text between JSON lines.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a panic without a text");
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!({ key::ERROR } = message, { key::LOCATION } = location, "panic");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_lists_of_levels_are_taken() {
        for good in ["info", "off", "info,pointsman::extender=debug,kube=warn"] {
            assert!(good.parse::<LogLevel>().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_wrong_level_is_told_what_is_expected() {
        for bad in ["infoo", "", "info,", "kube=loud", "INFO"] {
            let error = bad.parse::<LogLevel>().unwrap_err();
            assert!(error.contains("expected error, warn, info, debug"), "{error}");
        }
    }
}
