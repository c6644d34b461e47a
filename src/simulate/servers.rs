//! The listeners of `serve` on loopback, with a certificate that lives as long as they do.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::SimulateError;
use super::client::Client;
use super::world::World;
use crate::cluster::index::Index;
use crate::config::Reservation;
use crate::decide::settings::Settings;
use crate::extender;
use crate::extender::bind::Binder;
use crate::extender::events::Announcer;
use crate::extender::ledger::{Ledger, Lifetimes};
use crate::extender::nudge::Waiting;
use crate::extender::sampling::Sampling;
use crate::serve::limits::{self, guarded};
use crate::serve::listen::Listener;
use crate::serve::readiness::Readiness;
use crate::serve::tls::{self, Certificate, ShownCertificate};
use crate::telemetry::label::ListenerName;
use crate::telemetry::metrics::Metrics;
use crate::webhook;

/// Connections to both listeners; dropping it stops them.
pub(super) struct Servers {
    /// To the webhook.
    pub(super) webhook: Client,
    /// To the extender.
    pub(super) extender: Client,
    /// The extender's promises.
    pub(super) ledger: Arc<Ledger>,
    stop: CancellationToken,
}

impl Servers {
    /// Starts both over the same index, bindings going to `world`.
    pub(super) async fn start(
        index: &Index,
        world: &Arc<World>,
        settings: &Arc<Settings>,
        reservation: Reservation,
    ) -> Result<Self, SimulateError> {
        let failed = |error: &dyn core::fmt::Display| SimulateError::Servers(error.to_string());
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));

        let (server, client) = tls(&metrics).map_err(|error| failed(&error))?;
        let listener = Listener::bind(ListenerName::Webhook, anywhere)
            .await
            .map_err(|error| failed(&error))?
            .with_tls(server);
        let webhook_address = listener.address();
        let routes = webhook::handler::router(webhook::handler::State {
            snapshot: index.published(),
            generations: index.generations(),
            settings: Arc::clone(settings),
            metrics: Arc::clone(&metrics),
            // All there will ever be is known.
            patience: Duration::ZERO,
        });
        let routes = guarded(
            routes,
            ListenerName::Webhook,
            limits::WEBHOOK,
            Arc::clone(&metrics),
        );
        tokio::spawn(listener.serve(routes, stop.clone()));

        let ledger = Arc::new(Ledger::new(
            index.published(),
            Lifetimes {
                hold: reservation.hold,
                gang: reservation.gang,
                reservation: reservation.lifetime,
            },
        ));
        let listener = Listener::bind(ListenerName::Extender, anywhere)
            .await
            .map_err(|error| failed(&error))?;
        let extender_address = listener.address();
        let binder: Arc<dyn Binder> = Arc::<World>::clone(world);
        let routes = extender::router(extender::State {
            ledger: Arc::clone(&ledger),
            waiting: Arc::new(Waiting::default()),
            sampling: Arc::new(Sampling::default()),
            // There is no cluster that could keep events.
            announcer: Arc::new(Announcer::new(Arc::clone(&metrics)).0),
            settings: Arc::clone(settings),
            binder,
            is_ready: Arc::new(|| true),
            metrics: Arc::clone(&metrics),
        });
        let routes = guarded(routes, ListenerName::Extender, limits::EXTENDER, metrics);
        tokio::spawn(listener.serve(routes, stop.clone()));

        Ok(Self {
            webhook: Client::connect(webhook_address, Some(client)).await?,
            extender: Client::connect(extender_address, None).await?,
            ledger,
            stop,
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The HTTPS side of `serve` with a certificate for `localhost`, and a client that trusts nothing else.
fn tls(
    metrics: &Arc<Metrics>,
) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), Box<dyn core::error::Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let certificate = CertificateDer::from(made.cert);
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let shown = ShownCertificate::new(Readiness::new().condition("certificate"), Arc::clone(metrics));
    shown.show(&Certificate::from_der(vec![certificate], key)?, Timestamp::now());
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((tls::server_config(shown)?, Arc::new(client)))
}
