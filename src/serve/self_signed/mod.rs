//! `--self-signed-secret`: a CA of our own, for users without cert-manager.
//!
//! One CA lives in a Secret that all replicas share; each process signs a certificate for itself, in memory,
//! and writes the CA into the webhook configuration as caBundle. The Secret and the configuration are written
//! only in the state they were read in (resourceVersion), and the bundle is a function of the Secret alone, so
//! replicas never fight over it. A key never leaves the Secret but into memory.
//!
//! Why no replica can undo what another wrote: a round reads the configuration first and the Secret after it.
//! If another replica changed the configuration since, our patch is refused; if it did so before, it had
//! written the Secret even earlier, and we read that.
//!
//! A certificate that comes to its end is renewed by the CA that signed it, and that takes no answer of the API
//! server: it must not expire because that one is slow.

pub mod authority;
pub mod bundle;
mod objects;
pub mod trust;

use core::fmt;
use core::pin::pin;
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::runtime::watcher::Event;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::readiness::Condition;
use super::tls::ShownCertificate;
use crate::config::{CertificateLifetimes, WebhookObjects};
use crate::decide::names::NamespaceName;
use crate::telemetry::logging::key;
use crate::telemetry::metrics::Metrics;
use authority::{Authority, AuthorityError, Leaf};
use objects::{ApiError, Objects, Written};
use trust::{Step, Trust, Why};

/// At most this long between two looks: a few reads, and how soon a Secret written by another replica is known.
const PERIOD: Duration = Duration::from_secs(5);

/// At least this long between two looks, whatever is due.
const LEAST_PERIOD: Duration = Duration::from_millis(500);

/// How long the API server has had a bundle before we rely on it. It follows configurations by a watch of its
/// own, which takes milliseconds; this is for an API server that is busy.
const SETTLING: Duration = Duration::from_secs(5);

/// For one look; the API server answers in milliseconds or not at all.
const ROUND: Duration = Duration::from_secs(30);

/// Most writes of the Secret in one look: each conflict means that another replica was faster, and theirs is
/// used then.
const WRITES: u32 = 5;

/// A Secret, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Its namespace, which is also the webhook Service's.
    pub namespace: NamespaceName,
    /// Its name.
    pub name: String,
}

impl FromStr for SecretRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self {
                    namespace: namespace.into(),
                    name: name.to_owned(),
                })
            }
            _ => Err("expected NAMESPACE/NAME of a Secret, such as pointsman/pointsman-ca"),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Keeps a certificate shown and trusted.
pub struct SelfSigned {
    /// To the API server.
    pub client: Client,
    /// The Secret with the CA; its namespace is that of the Service.
    pub secret: SecretRef,
    /// The webhook configuration to write the bundle into, and the Service the certificate is made out for.
    pub objects: WebhookObjects,
    /// How long certificates live.
    pub lifetimes: CertificateLifetimes,
    /// Where the certificate is shown.
    pub shown: Arc<ShownCertificate>,
    /// Holds once the webhook configuration carries our bundle, or there is none.
    pub trusted: Condition,
    /// For watch errors.
    pub metrics: Arc<Metrics>,
}

/// Why a look at the objects came to nothing; the next one may come to more.
#[derive(Debug, thiserror::Error)]
enum Setback {
    #[error("Secret {secret}: {why}")]
    Refused { secret: SecretRef, why: String },
    #[error("Secret {0} changes faster than it can be written")]
    Contended(SecretRef),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Making(#[from] AuthorityError),
    #[error("the API server did not answer in time")]
    Silent,
}

impl SelfSigned {
    /// Keeps at it until `end`.
    pub async fn keep(self, end: CancellationToken) {
        let Self {
            client,
            secret,
            objects,
            lifetimes,
            shown,
            trusted,
            metrics,
        } = self;
        let names = names(&objects.service_name, &secret.namespace);
        let objects = Objects::new(&client, secret, objects.configuration_name);
        // One that was applied anew has its bundle back at once, not only at the next look.
        let mut changes = pin!(objects.changes());
        let mut keeper = Keeper {
            objects,
            names,
            lifetimes,
            shown,
            trusted,
            metrics,
            held: None,
            leaf: None,
            signer: None,
            in_place: None,
            complaint: None,
        };
        loop {
            let mut pause = pin!(sleep(keeper.look().await));
            loop {
                tokio::select! {
                    () = end.cancelled() => return,
                    () = &mut pause => break,
                    Some(change) = changes.next() => match change {
                        Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => break,
                        Ok(Event::Init | Event::InitApply(_)) => {}
                        Err(error) => keeper.watch_broke(&error),
                    },
                }
            }
        }
    }
}

/// [`SelfSigned`] at work.
struct Keeper {
    objects: Objects,
    names: Vec<String>,
    lifetimes: CertificateLifetimes,
    shown: Arc<ShownCertificate>,
    trusted: Condition,
    metrics: Arc<Metrics>,
    /// The CA as last read or written; written again if the Secret disappears.
    held: Option<Trust>,
    leaf: Option<Leaf>,
    /// What signed the leaf; not what is held while a new CA settles.
    signer: Option<Arc<Authority>>,
    /// The bundle that all configurations had, and since when.
    in_place: Option<(Vec<u8>, Instant)>,
    /// What went wrong in the looks just before this one, and in how many.
    complaint: Option<(String, u32)>,
}

impl Keeper {
    /// One look at all objects and whatever it makes necessary; the answer is when to look again.
    async fn look(&mut self) -> Duration {
        match self.renew_and_round().await {
            Ok(()) => self.complaint = None,
            Err(setback) => self.complain(setback.to_string()),
        }
        self.pause(Timestamp::now())
    }

    async fn renew_and_round(&mut self) -> Result<(), Setback> {
        let now = Timestamp::now();
        self.renew_leaf(now)?;
        let due = self.leaf.as_ref().and_then(|leaf| {
            let renewal = leaf.certificate.validity().renewal();
            Duration::try_from(renewal.duration_since(now)).ok()
        });
        // A round that waits for an answer when the leaf is due makes way for the renewal.
        let limit = due.map_or(ROUND, |due| due.clamp(LEAST_PERIOD, ROUND));
        timeout(limit, self.round()).await.unwrap_or(Err(Setback::Silent))
    }

    /// Renews a leaf that is due by the CA that signed it, whatever the Secret holds by now: as long as that CA
    /// is valid, it is in the bundle.
    fn renew_leaf(&mut self, now: Timestamp) -> Result<(), AuthorityError> {
        let (Some(leaf), Some(signer)) = (&self.leaf, self.signer.clone()) else {
            return Ok(());
        };
        let (of_leaf, of_signer) = (leaf.certificate.validity(), signer.root().validity());
        // A leaf that lives as long as its CA gains nothing.
        if of_leaf.renewal() > now || !of_signer.holds(now) || of_leaf.until >= of_signer.until {
            return Ok(());
        }
        self.issue(signer, now)
    }

    fn issue(&mut self, signer: Arc<Authority>, now: Timestamp) -> Result<(), AuthorityError> {
        let leaf = signer.issue(&self.names, now, self.lifetimes.leaf)?;
        self.shown.show(&leaf.certificate, now);
        self.leaf = Some(leaf);
        self.signer = Some(signer);
        Ok(())
    }

    /// Once may be a race with another replica, which the next look settles. The second time in a row it is a
    /// failure, said once and counted as long as it lasts.
    fn complain(&mut self, text: String) {
        let times = match self.complaint.take() {
            Some((known, times)) if known == text => times.saturating_add(1),
            _ => 1,
        };
        if times > 1 {
            self.metrics.certificate_reload_failure();
        }
        if times == 2 {
            warn!(
                { key::ERROR } = text,
                "the self-signed certificate or its caBundle cannot be kept up"
            );
        } else {
            debug!({ key::ERROR } = text, times, "setback");
        }
        self.complaint = Some((text, times));
    }

    async fn round(&mut self) -> Result<(), Setback> {
        let registered = self.objects.configurations().await?;
        let trust = self.trust().await?;
        let now = Timestamp::now();
        let bundle = trust.bundle(now);
        let patches: Vec<_> = registered
            .iter()
            .filter_map(|one| Some((one, bundle::patch(&one.state, &bundle)?)))
            .collect();
        let settled = self.settled(&bundle, patches.is_empty());
        if trust.leaf_is_due(self.leaf.as_ref(), settled, now) {
            self.issue(Arc::clone(&trust.authority), now)?;
        }
        self.held = Some(trust);
        for (one, patch) in patches {
            self.objects.patch(one, patch).await?;
            info!("caBundle written into the webhook configuration");
        }
        self.trusted.hold();
        Ok(())
    }

    /// Whether `bundle` has been in all configurations for long enough.
    fn settled(&mut self, bundle: &[u8], everywhere: bool) -> bool {
        if !everywhere {
            self.in_place = None;
            return false;
        }
        match &self.in_place {
            Some((known, since)) if known == bundle => since.elapsed() >= self.settling(),
            _ => {
                self.in_place = Some((bundle.to_vec(), Instant::now()));
                false
            }
        }
    }

    /// The CA in the Secret, made, mended or renewed where that is ours to do.
    async fn trust(&mut self) -> Result<Trust, Setback> {
        for _ in 0..WRITES {
            let existing = self.objects.read_secret().await?;
            let now = Timestamp::now();
            let (why, previous) = match objects::found(existing.as_ref()).step(now) {
                Step::Use(trust) => return Ok(trust),
                Step::Write { why, previous } => (why, previous),
                Step::Refuse { why } => {
                    let secret = self.objects.secret().clone();
                    return Err(Setback::Refused { secret, why });
                }
            };
            let made;
            let trust = match (&why, &self.held) {
                // What other replicas show is signed by it: nobody notices that the Secret was gone.
                (Why::Missing | Why::Damaged(_), Some(held)) if held.is_fresh(now) => held,
                _ => {
                    made = Trust::new(previous, now, self.lifetimes.authority)?;
                    &made
                }
            };
            match self.objects.write_secret(existing, trust).await? {
                Written::Overtaken => {
                    debug!({ key::OBJECT } = %self.objects.secret(), "another replica was faster");
                }
                Written::Done => info!(
                    { key::OBJECT } = %self.objects.secret(),
                    { key::REASON } = %why,
                    { key::NOT_AFTER } = %trust.authority.root().validity().until,
                    "CA written"
                ),
            }
        }
        Err(Setback::Contended(self.objects.secret().clone()))
    }

    /// How long a bundle settles: [`SETTLING`], but no longer than half of what a leaf has left when its renewal
    /// is due, so that one whose CA changes just then never expires while it waits.
    fn settling(&self) -> Duration {
        SETTLING.min(self.lifetimes.leaf / 6)
    }

    /// Until something is due, but never longer than [`PERIOD`]. Renewals go by the wall clock: a suspended
    /// machine wakes up with time lost, and the next look is at most a period away.
    fn pause(&self, now: Timestamp) -> Duration {
        let leaf = self.leaf.as_ref().map(|leaf| leaf.certificate.validity());
        let authority = self.held.as_ref().map(|trust| trust.authority.root().validity());
        let renewals = [leaf, authority]
            .into_iter()
            .flatten()
            .map(|validity| validity.renewal());
        // What is overdue waits for something else (a bundle to settle, the owner of a CA that is not ours).
        let ahead = renewals.filter(|renewal| *renewal > now);
        let renewal = ahead
            .min()
            .and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        let settled = self
            .in_place
            .as_ref()
            .and_then(|(_, since)| self.settling().checked_sub(since.elapsed()));
        let wait = [renewal, settled].into_iter().flatten().min();
        wait.unwrap_or(PERIOD).clamp(LEAST_PERIOD, PERIOD)
    }

    fn watch_broke(&self, error: &kube::runtime::watcher::Error) {
        let kind = "mutatingwebhookconfigurations";
        self.metrics.watch_error(kind);
        debug!({ key::KIND } = kind, { key::ERROR } = %error, "watch broke");
    }
}

/// Every name under which the webhook is called: by the API server, by a pod, from this machine.
fn names(service: &str, namespace: &NamespaceName) -> Vec<String> {
    let mut names = vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names
}
