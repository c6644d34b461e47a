//! TLS: one certificate that handshakes read without waiting, and that its source replaces whole.
//!
//! A certificate is shown only after its chain and key were read and belong together; whatever fails before
//! that leaves the one before in place. Keys are never logged, nor are errors that could quote one.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::{error, info, warn};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::readiness::Condition;
use crate::telemetry::logging::key;
use crate::telemetry::metrics::Metrics;

/// Makes ring the provider of everything in the process that speaks TLS, the Kubernetes client included.
/// Calling it again changes nothing.
pub fn install_provider() {
    // The error says that there is one already, which can only be ring: no other is compiled in.
    let _installed_before = ring::default_provider().install_default();
}

/// The rustls side of a listener: TLS 1.2 and 1.3, HTTP/2 preferred, the certificate of `shown`.
///
/// # Errors
/// When the provider cannot do these versions, which is a bug.
pub fn server_config(shown: Arc<ShownCertificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// As [`server_config`], and clients must show a certificate of one of the authorities in this PEM text.
///
/// # Errors
/// A sentence that says what is wrong with the text.
pub fn server_config_for_clients_of(
    shown: Arc<ShownCertificate>,
    authorities: &[u8],
) -> Result<Arc<ServerConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| match error {
            VerifierBuilderError::NoRootAnchors => "there is no certificate in it".to_owned(),
            error => error.to_string(),
        })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A chain and its key, read and found to belong together.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    validity: Validity,
    names: Vec<String>,
}

/// Why a pair of files (or of Secret entries) is no certificate. The texts never quote what was found in a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The chain's PEM is broken.
    #[error("the certificate is not PEM: {0}")]
    ChainNotPem(String),
    /// The chain has no certificate.
    #[error("there is no certificate in the certificate file")]
    ChainEmpty,
    /// The first certificate is not X.509.
    #[error("the certificate is not X.509: {0}")]
    ChainNotX509(String),
    /// The key's PEM is broken or holds no key.
    #[error("there is no private key in the key file")]
    NoKey,
    /// The key is of a kind that cannot sign handshakes.
    #[error("the private key is damaged or of an unknown kind")]
    UnusableKey,
    /// Half a rotation, or files of two certificates.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

impl Certificate {
    /// Reads a PEM chain, leaf first, and its PEM key.
    ///
    /// # Errors
    /// When either cannot be read or they do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::ChainNotPem(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey)?;
        Self::from_der(chain, key)
    }

    /// As [`Self::from_pem`], already decoded.
    ///
    /// # Errors
    /// As [`Self::from_pem`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::ChainEmpty)?;
        let (validity, names) = described(leaf)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
            _ => CertificateError::UnusableKey,
        })?;
        Ok(Self {
            key: Arc::new(key),
            validity,
            names,
        })
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

/// From when to when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

impl Validity {
    /// The validity a certificate states.
    ///
    /// # Errors
    /// When it is not X.509.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        described(certificate).map(|(validity, _names)| validity)
    }

    /// Whether `now` is inside.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// When to renew: at two thirds, which leaves a third for whatever keeps the renewal from working.
    #[must_use]
    pub fn renewal(&self) -> Timestamp {
        let third = self.until.duration_since(self.from) / 3;
        self.until.checked_sub(third).unwrap_or(self.until)
    }
}

/// The certificate that handshakes are answered with; none at first.
#[derive(Debug)]
pub struct ShownCertificate {
    current: ArcSwapOption<CertifiedKey>,
    loaded: Condition,
    metrics: Arc<Metrics>,
}

impl ShownCertificate {
    /// None yet; `loaded` holds from the first one on.
    #[must_use]
    pub fn new(loaded: Condition, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwapOption::empty(),
            loaded,
            metrics,
        })
    }

    /// Handshakes from now on are answered with `certificate`; connections that exist keep theirs.
    pub fn show(&self, certificate: &Certificate, now: Timestamp) {
        let validity = certificate.validity;
        self.current.store(Some(Arc::clone(&certificate.key)));
        self.metrics.certificate_expiry(validity.until.as_second());
        self.loaded.hold();
        let names = certificate.names.join(", ");
        if validity.holds(now) {
            info!({ key::NOT_AFTER } = %validity.until, names, "certificate loaded");
        } else {
            // It is what we were given, and clocks can be wrong: shown all the same, and said.
            warn!(not_before = %validity.from, { key::NOT_AFTER } = %validity.until, names, "certificate loaded, but it is not valid now");
        }
    }

    /// A new certificate could not be had; the one before serves on.
    pub fn keep(&self, why: &str) {
        self.metrics.certificate_reload_failure();
        if self.current.load().is_some() {
            warn!(
                { key::ERROR } = why,
                "certificate not replaced, the one before serves on"
            );
        } else {
            error!({ key::ERROR } = why, "no certificate, TLS handshakes fail");
        }
    }
}

impl ResolvesServerCert for ShownCertificate {
    /// One certificate whatever name is asked for: a client that wants another one will say so itself.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Validity and DNS or IP names of a certificate.
fn described(certificate: &CertificateDer<'_>) -> Result<(Validity, Vec<String>), CertificateError> {
    let not_x509 = |error: String| CertificateError::ChainNotX509(error);
    let (_rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|error| not_x509(error.to_string()))?;
    let at = |seconds| Timestamp::from_second(seconds).map_err(|error| not_x509(error.to_string()));
    let validity = Validity {
        from: at(parsed.validity().not_before.timestamp())?,
        until: at(parsed.validity().not_after.timestamp())?,
    };
    // A certificate without names is one nobody will verify, but that is the client's to say.
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .map_or_else(Vec::new, |names| {
            names.value.general_names.iter().map(shown_name).collect()
        });
    Ok((validity, names))
}

fn shown_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => core::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
            bytes => <[u8; 16]>::try_from(bytes).map_or_else(
                |_| "?".to_owned(),
                |octets| core::net::Ipv6Addr::from(octets).to_string(),
            ),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made =
            rcgen::generate_simple_self_signed(["a.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_that_belongs_together_is_taken() {
        let (chain, key) = pair();
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(certificate.names, ["a.example", "127.0.0.1"]);
        assert!(certificate.validity().holds(Timestamp::now()));
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_named_without_quoting_the_key() {
        let ((chain, key), (_, other_key)) = (pair(), pair());
        let half = key.split_at(key.len() / 2).0;
        let mangled = key.replacen("PRIVATE KEY-----", "PRIVATE KEY", 1);
        for (chain, key, error) in [
            ("", key.as_str(), CertificateError::ChainEmpty),
            (&chain, "", CertificateError::NoKey),
            (&chain, half, CertificateError::NoKey),
            (&chain, &mangled, CertificateError::NoKey),
            (&chain, &chain, CertificateError::NoKey),
            (&chain, &other_key, CertificateError::Mismatch),
        ] {
            let found = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(found, error);
        }
        let half = chain.split_at(chain.len() / 2).0;
        assert!(matches!(
            Certificate::from_pem(half.as_bytes(), key.as_bytes()),
            Err(CertificateError::ChainNotPem(_))
        ));
    }

    #[test]
    fn renewal_is_due_at_two_thirds_of_the_life() {
        let validity = Validity {
            from: Timestamp::from_second(1_000).unwrap(),
            until: Timestamp::from_second(4_000).unwrap(),
        };
        assert_eq!(validity.renewal(), Timestamp::from_second(3_000).unwrap());
        assert!(validity.holds(validity.from) && validity.holds(validity.until));
        assert!(!validity.holds(Timestamp::from_second(4_001).unwrap()));
    }
}
