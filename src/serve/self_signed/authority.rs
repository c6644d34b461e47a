//! The CA of `--self-signed-secret` and the leaves it signs. Pure but for the random numbers of new keys.

use core::fmt;
use core::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::serve::tls::{Certificate, CertificateError, Validity};

/// Certificates begin a little in the past, because the API server's clock may be behind ours.
const MOST_SKEW: Duration = Duration::from_mins(5);

/// A CA certificate that is trusted, whether or not its key is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    der: CertificateDer<'static>,
    pem: String,
    validity: Validity,
}

/// A CA with its key.
pub struct Authority {
    root: Root,
    // Boxed because it is by far the largest part of whatever holds an authority.
    key: Box<KeyPair>,
}

/// A serving certificate and the CA that signed it.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// What is shown.
    pub certificate: Certificate,
    /// Who signed it.
    pub issuer: Root,
}

/// Why a CA cannot be read, made or used. The texts never quote a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Its certificate cannot be read.
    #[error("the CA certificate cannot be read: {0}")]
    Certificate(#[source] CertificateError),
    /// It is a certificate, but not a CA's.
    #[error("the certificate is not that of a CA")]
    NotAnAuthority,
    /// Its key cannot be read.
    #[error("the CA key is not a private key in PEM")]
    Key,
    /// Key and certificate are of two CAs.
    #[error("the CA key does not belong to the CA certificate")]
    Mismatch,
    /// The crypto library refused.
    #[error("a certificate cannot be made: {0}")]
    Making(String),
}

impl Root {
    /// Reads the first certificate of `pem`, which must be a CA's.
    ///
    /// # Errors
    /// When there is none, or it is no CA's.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AuthorityError> {
        let not_pem = |error: String| AuthorityError::Certificate(CertificateError::ChainNotPem(error));
        let der = CertificateDer::from_pem_slice(pem).map_err(|error| not_pem(error.to_string()))?;
        let pem = str::from_utf8(pem).map_err(|error| not_pem(error.to_string()))?;
        Self::new(der, pem.trim())
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate in PEM, as it was read, so that all replicas put the same bytes into a bundle.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn new(der: CertificateDer<'static>, pem: &str) -> Result<Self, AuthorityError> {
        let validity = Validity::of(&der).map_err(AuthorityError::Certificate)?;
        let (_rest, parsed) = X509Certificate::from_der(&der).map_err(|_| AuthorityError::NotAnAuthority)?;
        if !parsed.is_ca() {
            return Err(AuthorityError::NotAnAuthority);
        }
        Ok(Self {
            der,
            pem: pem.to_owned(),
            validity,
        })
    }

    /// The DER of its public key.
    fn public_key(&self) -> Option<Vec<u8>> {
        let (_rest, parsed) = X509Certificate::from_der(&self.der).ok()?;
        Some(parsed.public_key().raw.to_vec())
    }
}

impl Authority {
    /// A new CA, valid from now on.
    ///
    /// # Errors
    /// When the crypto library refuses.
    pub fn new(now: Timestamp, lifetime: Duration) -> Result<Self, AuthorityError> {
        let key = Box::new(KeyPair::generate().map_err(|error| making(&error))?);
        let mut params = CertificateParams::default();
        set_validity(&mut params, now, after(now, lifetime), lifetime);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // The date tells two of them apart during an overlap; clients tell them apart by their keys.
        params.distinguished_name = named(&format!("Pointsman CA {}", now.strftime("%Y-%m-%dT%H:%M:%SZ")));
        let certificate = params.self_signed(&*key).map_err(|error| making(&error))?;
        Ok(Self {
            root: Root::from_pem(certificate.pem().as_bytes())?,
            key,
        })
    }

    /// Reads a CA from its certificate and key in PEM.
    ///
    /// # Errors
    /// When either cannot be read, it is not a CA's, or they do not belong together.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, AuthorityError> {
        let root = Root::from_pem(certificate)?;
        let key = str::from_utf8(key).map_err(|_| AuthorityError::Key)?;
        let key = Box::new(KeyPair::from_pem(key).map_err(|_| AuthorityError::Key)?);
        if root.public_key() != Some(key.subject_public_key_info()) {
            return Err(AuthorityError::Mismatch);
        }
        Ok(Self { root, key })
    }

    /// Its certificate.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Its key in PEM, for the Secret and nothing else.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A serving certificate for `names`, with a key of its own, valid no longer than the CA.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate, or the crypto library refuses.
    pub fn issue(
        &self,
        names: &[String],
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Leaf, AuthorityError> {
        let key = KeyPair::generate().map_err(|error| making(&error))?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(|error| making(&error))?;
        let until = after(now, lifetime).min(self.root.validity.until);
        set_validity(&mut params, now, until, lifetime);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = named("pointsman");
        let issuer = Issuer::from_ca_cert_der(&self.root.der, &*self.key).map_err(|error| making(&error))?;
        let leaf = params.signed_by(&key, &issuer).map_err(|error| making(&error))?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let certificate =
            Certificate::from_der(vec![leaf.into()], key).map_err(AuthorityError::Certificate)?;
        Ok(Leaf {
            certificate,
            issuer: self.root.clone(),
        })
    }
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// `from` a little before `now`: a tenth of the life at most, so that two thirds of it are still ahead.
fn set_validity(params: &mut CertificateParams, now: Timestamp, until: Timestamp, lifetime: Duration) {
    let from = now.checked_sub(MOST_SKEW.min(lifetime / 10)).unwrap_or(now);
    params.not_before = std::time::SystemTime::from(from).into();
    params.not_after = std::time::SystemTime::from(until).into();
}

fn named(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn after(now: Timestamp, lifetime: Duration) -> Timestamp {
    now.checked_add(lifetime).unwrap_or(Timestamp::MAX)
}

fn making(error: &rcgen::Error) -> AuthorityError {
    AuthorityError::Making(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_new_authority_reads_back_from_its_pem() {
        let made = Authority::new(now(), DAY * 100).unwrap();
        let read = Authority::from_pem(made.root().pem().as_bytes(), made.key_pem().as_bytes()).unwrap();
        assert_eq!(read.root(), made.root());
        assert_eq!(read.root().validity().until, after(now(), DAY * 100));
    }

    #[test]
    fn a_leaf_has_the_names_and_never_outlives_its_authority() {
        let authority = Authority::new(now(), DAY * 10).unwrap();
        let names = ["hook.ns.svc".to_owned(), "::1".to_owned()];
        let leaf = authority.issue(&names, now(), DAY * 90).unwrap();
        assert_eq!(leaf.issuer, *authority.root());
        assert_eq!(
            leaf.certificate.validity().until,
            authority.root().validity().until
        );
        let short = authority.issue(&names, now(), DAY).unwrap();
        assert_eq!(short.certificate.validity().until, after(now(), DAY));
    }

    #[test]
    fn even_the_shortest_life_has_its_renewal_ahead() {
        let lifetime = Duration::from_secs(10);
        let authority = Authority::new(now(), lifetime).unwrap();
        let renewal = authority.root().validity().renewal();
        assert!(renewal > after(now(), lifetime / 2), "{renewal}");
        assert!(authority.root().validity().holds(now()));
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let (one, other) = (
            Authority::new(now(), DAY).unwrap(),
            Authority::new(now(), DAY).unwrap(),
        );
        let certificate = one.root().pem().as_bytes();
        let refused =
            |certificate: &[u8], key: &str| Authority::from_pem(certificate, key.as_bytes()).unwrap_err();
        assert_eq!(refused(certificate, &other.key_pem()), AuthorityError::Mismatch);
        assert_eq!(refused(certificate, "no key"), AuthorityError::Key);
        assert!(matches!(
            refused(b"", &one.key_pem()),
            AuthorityError::Certificate(_)
        ));
        let leaf = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        assert_eq!(
            refused(leaf.cert.pem().as_bytes(), &leaf.signing_key.serialize_pem()),
            AuthorityError::NotAnAuthority
        );
    }
}
