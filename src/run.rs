//! The wiring of the subcommands, and nothing else: what is made, what it is given, in which order it starts.

mod checking;
mod explaining;
mod looking;
mod placing;
mod printing;
mod scheduler_config;
mod simulating;
mod topology;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use kube::Client;

use crate::args::{CertificateSource, Command, Serve};
use crate::config::Configuration;
use crate::extender;
use crate::extender::insight::LateInsight;
use crate::extender::verify::LateVerifier;
use crate::serve::admin;
use crate::serve::limits::{self, guarded};
use crate::serve::listen::Listener;
use crate::serve::log_level;
use crate::serve::readiness::Readiness;
use crate::serve::self_signed::SelfSigned;
use crate::serve::shutdown::{self, Ending, Shutdown};
use crate::serve::tls::{self, ShownCertificate};
use crate::serve::tls_directory;
use crate::telemetry::label::ListenerName;
use crate::telemetry::logging::{self, LevelInForce};
use crate::telemetry::metrics::Metrics;
use crate::webhook;

/// Exit code of wrong usage or wrong input; 1 is for an answer that is no, and for failures on the way.
const WRONG_INPUT: u8 = 2;

/// Why there is no client.
const NO_CLUSTER: &str = "there is no cluster to talk to: neither a kubeconfig nor a service account";

/// Threads for the scheduler's calls: one decides, and another can answer a Binding meanwhile.
const CALLS: usize = 2;

/// Does what the command line asked for; the process ends with the code it returns.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let outcome = match command {
        Command::Serve(serve) => run_serve(serve),
        Command::Simulate(flags) => simulating::run(flags),
        Command::Topology(flags) => topology::run(flags),
        Command::SchedulerConfig(flags) => scheduler_config::run(flags),
        Command::Explain(flags) => explaining::run(flags),
        Command::Check(flags) => checking::run(flags),
    };
    outcome.unwrap_or_else(|failure| {
        // Logging may not have started, or go to a file nobody reads: the reason to end goes to the terminal.
        eprintln!("pointsman: {failure}");
        failure.code()
    })
}

/// Why a subcommand could not do its work.
enum Failure {
    Input(anyhow::Error),
    Work(anyhow::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Input(_) => ExitCode::from(WRONG_INPUT),
            Self::Work(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With all causes, joined by colons.
            Self::Input(error) | Self::Work(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Work(error.into())
    }
}

fn run_serve(serve: Serve) -> Result<ExitCode, Failure> {
    let level = logging::start(serve.log_format, serve.log_level.clone());
    tls::install_provider();
    let configuration =
        Configuration::load(serve.config.as_deref()).map_err(|error| Failure::Input(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")?;
    // A scheduler's pods wait for each call of its own, so that none waits behind admissions or changes of the cluster:
    // those have other threads, and the system shares the cores among them.
    let calls = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CALLS)
        .thread_name("extender")
        .enable_all()
        .build()
        .context("the runtime of the extender does not start")?;
    let ending = runtime.block_on(served(serve, configuration, level, calls.handle()))?;
    // Whatever is still running was given its time; waiting for it would undo the deadline.
    calls.shutdown_background();
    runtime.shutdown_background();
    Ok(match ending {
        Ending::Drained => ExitCode::SUCCESS,
        Ending::Overdue | Ending::Aborted | Ending::Failed => ExitCode::FAILURE,
    })
}

async fn served(
    serve: Serve,
    configuration: Configuration,
    level: LevelInForce,
    calls: &tokio::runtime::Handle,
) -> Result<Ending, Failure> {
    let Serve {
        webhook,
        webhook_client_ca,
        extender,
        admin,
        config: _,
        log_format: _,
        log_level: _,
        shutdown: timing,
    } = serve;
    let signals = shutdown::signals().context("signals cannot be listened for")?;
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::new();
    // Probes are answered before what else must hold is known; without this, the first would hear "ready".
    let started = readiness.condition("every listener is up");
    let shutdown = Shutdown::new(timing, &readiness);

    let (insight, verifier) = (LateInsight::default(), LateVerifier::default());

    // First, so that probes are answered while everything else starts.
    if let Some(admin) = admin {
        let open = admin::router(Arc::clone(&metrics), readiness.clone()).merge(log_level::router(level));
        let seen = looking::seen(&insight, &verifier);
        looking::start(admin, open, seen, &metrics, &readiness, &shutdown).await?;
    }

    let parts = placing::Parts {
        webhook: webhook.is_some(),
        extender: extender.is_some(),
    };
    let following = if parts.webhook || parts.extender {
        let client = cluster().await?;
        Some(placing::follow(
            &client,
            parts,
            &configuration,
            &readiness,
            &metrics,
            &shutdown,
        ))
    } else {
        None
    };

    if let Some(following) = &following {
        shutdown.background("aging", placing::age(following.clone(), shutdown.end()));
    }
    if let (Some((address, source)), Some(following)) = (webhook, &following) {
        let shown = certificate(source, &configuration, &metrics, &readiness, &shutdown).await?;
        let listener = Listener::bind(ListenerName::Webhook, address).await?;
        let listener = listener.with_tls(match webhook_client_ca {
            None => tls::server_config(shown)?,
            Some(file) => looking::for_clients_of(&file, shown)?,
        });
        let routes = webhook::router(placing::webhook(following, &configuration, &metrics));
        let routes = guarded(
            routes,
            ListenerName::Webhook,
            limits::WEBHOOK,
            Arc::clone(&metrics),
        );
        shutdown.listener(listener.serve(routes, shutdown.stop()));
    }

    if let (Some(address), Some(following)) = (extender, &following) {
        // A socket is driven by the runtime in which it was made.
        let bound = calls.spawn(Listener::bind(ListenerName::Extender, address));
        let listener = bound.await.context("the extender's listener")??;
        let (state, nudger, notices) =
            placing::extender(following, cluster_once().await?, &configuration, &metrics);
        placing::show(&state, &insight);
        placing::announce(following, notices, &metrics, &shutdown);
        shutdown.background("nudging", nudger.run(shutdown.end()));
        placing::follow_other_binder(following, &state, &shutdown);
        placing::take_stock(&state, &shutdown);
        placing::verify(following, &state, &verifier, &shutdown);
        let routes = extender::router(state);
        let routes = guarded(
            routes,
            ListenerName::Extender,
            limits::EXTENDER,
            Arc::clone(&metrics),
        );
        shutdown.listener_on(calls, listener.serve(routes, shutdown.stop()));
    }

    started.hold();
    let ending = shutdown.run(signals).await;
    drop(started);
    Ok(ending)
}

/// The runtime of a subcommand that answers once.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tls::install_provider();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime does not start")
}

/// A client of the cluster, by the usual rules: `KUBECONFIG`, then the service account.
async fn cluster() -> anyhow::Result<Client> {
    Client::try_default().await.context(NO_CLUSTER)
}

/// The same, and what it sends is sent once, whatever the answer.
async fn cluster_once() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context(NO_CLUSTER)?;
    config.default_retry = false;
    Client::try_from(config).context(NO_CLUSTER)
}

/// The certificate of the webhook, kept up in the background.
async fn certificate(
    source: CertificateSource,
    configuration: &Configuration,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<Arc<ShownCertificate>, Failure> {
    let loaded = readiness.condition("a certificate is loaded");
    let shown = ShownCertificate::new(loaded, Arc::clone(metrics));
    match source {
        CertificateSource::Directory(directory) => shutdown.background(
            "certificate",
            tls_directory::follow(directory, Arc::clone(&shown), shutdown.end()),
        ),
        CertificateSource::SelfSigned(secret) => {
            let kept = SelfSigned {
                client: cluster().await?,
                secret,
                objects: configuration.webhook.clone(),
                lifetimes: configuration.certificate,
                shown: Arc::clone(&shown),
                trusted: readiness.condition("the webhook configuration trusts the certificate"),
                metrics: Arc::clone(metrics),
            };
            shutdown.background("certificate", kept.keep(shutdown.end()));
        }
    }
    Ok(shown)
}
