//! The wiring of those who look from outside: the admin endpoint, and who may call the webhook.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use rustls::ServerConfig;

use super::{Failure, cluster};
use crate::args::{Admin, AdminAuth};
use crate::explain::http;
use crate::extender::insight::LateInsight;
use crate::extender::verify::LateVerifier;
use crate::serve::limits::{self, guarded};
use crate::serve::listen::Listener;
use crate::serve::page;
use crate::serve::readiness::Readiness;
use crate::serve::shutdown::Shutdown;
use crate::serve::tls::{self, ShownCertificate};
use crate::serve::tls_directory;
use crate::serve::verify;
use crate::serve::who::{ClusterAuthority, guarded_by};
use crate::telemetry::label::ListenerName;
use crate::telemetry::metrics::Metrics;

/// What not everybody may see: the page's numbers, explanations, the self-check.
pub(super) fn seen(insight: &LateInsight, verifier: &LateVerifier) -> Router {
    page::state(Arc::clone(insight))
        .merge(http::router(Arc::clone(insight)))
        .merge(verify::router(Arc::clone(verifier)))
}

/// Serves the admin endpoint: `open` to all, what is to be `seen` to those who may see it.
pub(super) async fn start(
    admin: Admin,
    open: Router,
    seen: Router,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let Admin { address, tls, auth } = admin;
    let mut listener = Listener::bind(ListenerName::Admin, address).await?;
    if let Some(directory) = tls {
        let loaded = readiness.condition("the admin endpoint has a certificate");
        // The metrics of certificates are the webhook's; this one's are told in the log.
        let shown = ShownCertificate::new(loaded, Arc::new(Metrics::new()));
        let following = tls_directory::follow(directory, Arc::clone(&shown), shutdown.end());
        shutdown.background("admin certificate", following);
        listener = listener.with_tls(tls::server_config(shown)?);
    }
    let seen = match auth {
        AdminAuth::None => seen,
        AdminAuth::Apiserver => guarded_by(Arc::new(ClusterAuthority(cluster().await?)), seen),
    };
    let routes = open.merge(page::document()).merge(seen);
    let routes = guarded(routes, ListenerName::Admin, limits::ADMIN, Arc::clone(metrics));
    shutdown.background("admin", listener.serve(routes, shutdown.end()));
    Ok(())
}

/// TLS for callers with a certificate of an authority in `file` only.
pub(super) fn for_clients_of(
    file: &Path,
    shown: Arc<ShownCertificate>,
) -> Result<Arc<ServerConfig>, Failure> {
    let place = || format!("--webhook-client-ca {}", file.display());
    let authorities = std::fs::read(file).with_context(place).map_err(Failure::Input)?;
    tls::server_config_for_clients_of(shown, &authorities)
        .map_err(anyhow::Error::msg)
        .with_context(place)
        .map_err(Failure::Input)
}
