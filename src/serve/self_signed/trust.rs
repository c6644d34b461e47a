//! What the Secret holds and what to do about it; when a leaf is due; what the bundle is. Pure.
//!
//! All replicas come to the same bundle from the same Secret, so none undoes what another wrote. A Secret that
//! is not ours is used if it holds a CA, and never written.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::authority::{Authority, AuthorityError, Leaf, Root};

/// Entries of the Secret: the CA's certificate, its key, and the certificate of the CA before it.
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const PREVIOUS: &str = "previous.crt";

/// All of them; entries of other names are not ours.
pub(super) const OUR_ENTRIES: [&str; 3] = [CERTIFICATE, KEY, PREVIOUS];

/// What leaves are signed with and what clients must trust.
#[derive(Debug)]
pub struct Trust {
    /// Signs new leaves.
    pub authority: Arc<Authority>,
    /// The CA before it: leaves of replicas that have not changed over yet.
    pub previous: Option<Root>,
}

/// What was found under the Secret's name.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A Secret without entries: made beforehand, for us to fill.
    Empty,
    /// A CA.
    Trust {
        /// What it holds.
        trust: Trust,
        /// Whether it bears our mark.
        ours: bool,
    },
    /// Something that is no CA.
    Damaged {
        /// Why.
        why: String,
        /// Its certificate, where at least that can be read: replicas may still show leaves of it.
        root: Option<Root>,
        /// Whether it bears our mark.
        ours: bool,
    },
}

/// What to do about it.
#[derive(Debug)]
pub enum Step {
    /// Sign with this.
    Use(Trust),
    /// Write a CA, and keep trusting `previous`.
    Write {
        /// What made it necessary.
        why: Why,
        /// The CA to go on trusting.
        previous: Option<Root>,
    },
    /// Leave it alone: it is not ours.
    Refuse {
        /// What is wrong and what to do.
        why: String,
    },
}

/// What made it necessary to write the Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There was no Secret, or nothing in it.
    #[error("there was none")]
    Missing,
    /// It held no CA.
    #[error("the Secret was damaged: {0}")]
    Damaged(String),
    /// Time.
    #[error("the CA is at two thirds of its life")]
    Due,
}

impl Found {
    /// Reads the entries of a Secret that exists; `ours` says whether it bears our mark.
    #[must_use]
    pub fn read(entries: &BTreeMap<String, ByteString>, ours: bool) -> Self {
        if entries.is_empty() {
            return Self::Empty;
        }
        let entry = |name: &str| entries.get(name).map_or(&[][..], |bytes| &bytes.0);
        // A damaged one only shortens the overlap of a renewal; what counts is the CA.
        let previous = Root::from_pem(entry(PREVIOUS)).ok();
        match Authority::from_pem(entry(CERTIFICATE), entry(KEY)) {
            Ok(authority) => Self::Trust {
                trust: Trust {
                    authority: Arc::new(authority),
                    previous,
                },
                ours,
            },
            Err(error) => Self::Damaged {
                why: error.to_string(),
                root: Root::from_pem(entry(CERTIFICATE)).ok(),
                ours,
            },
        }
    }

    /// What to do about it at `now`.
    #[must_use]
    pub fn step(self, now: Timestamp) -> Step {
        match self {
            Self::Absent | Self::Empty => Step::Write {
                why: Why::Missing,
                previous: None,
            },
            Self::Trust { trust, .. } if trust.is_fresh(now) => Step::Use(trust),
            Self::Trust { trust, ours: true } => Step::Write {
                why: Why::Due,
                previous: Some(trust.authority.root().clone()).filter(|root| root.validity().holds(now)),
            },
            // Its owner renews it in time, or is told by the expiry of what it signs.
            Self::Trust { trust, ours: false } if trust.authority.root().validity().holds(now) => {
                Step::Use(trust)
            }
            Self::Trust { ours: false, .. } => Step::Refuse {
                why: "the CA in it has expired, and it does not bear our mark: renew it or delete it"
                    .to_owned(),
            },
            Self::Damaged {
                why,
                root,
                ours: true,
            } => Step::Write {
                why: Why::Damaged(why),
                previous: root.filter(|root| root.validity().holds(now)),
            },
            Self::Damaged { why, ours: false, .. } => Step::Refuse {
                why: format!(
                    "{why}, and it does not bear our mark: put a CA into {CERTIFICATE} and {KEY}, or delete it"
                ),
            },
        }
    }
}

impl Trust {
    /// A new CA beside the one to go on trusting.
    ///
    /// # Errors
    /// When the crypto library refuses.
    pub fn new(previous: Option<Root>, now: Timestamp, lifetime: Duration) -> Result<Self, AuthorityError> {
        Ok(Self {
            authority: Arc::new(Authority::new(now, lifetime)?),
            previous,
        })
    }

    /// Whether the CA is not due for renewal.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.authority.root().validity().renewal()
    }

    /// The Secret's entries.
    #[must_use]
    pub fn entries(&self) -> BTreeMap<String, ByteString> {
        let mut entries = BTreeMap::from([
            (CERTIFICATE, self.authority.root().pem().to_owned()),
            (KEY, self.authority.key_pem()),
        ]);
        if let Some(previous) = &self.previous {
            entries.insert(PREVIOUS, previous.pem().to_owned());
        }
        entries
            .into_iter()
            .map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())))
            .collect()
    }

    /// The caBundle: the CA, and the one before while it is valid.
    #[must_use]
    pub fn bundle(&self, now: Timestamp) -> Vec<u8> {
        let mut bundle = format!("{}\n", self.authority.root().pem());
        if let Some(previous) = self.still_trusted(now) {
            bundle.push_str(previous.pem());
            bundle.push('\n');
        }
        bundle.into_bytes()
    }

    /// Whether to issue a new leaf. `settled`: the API server has had our bundle long enough to use it, so a
    /// leaf of a new CA is trusted by now.
    #[must_use]
    pub fn leaf_is_due(&self, leaf: Option<&Leaf>, settled: bool, now: Timestamp) -> bool {
        let Some(leaf) = leaf else {
            return true;
        };
        let validity = leaf.certificate.validity();
        if leaf.issuer == *self.authority.root() {
            return validity.renewal() <= now;
        }
        let trusted = self.still_trusted(now) == Some(&leaf.issuer) && validity.holds(now);
        settled || !trusted
    }

    fn still_trusted(&self, now: Timestamp) -> Option<&Root> {
        self.previous.as_ref().filter(|root| root.validity().holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const LIFE: Duration = Duration::from_hours(90 * 24);

    fn day(days: u32) -> Timestamp {
        let start: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        start.checked_add(DAY * days).unwrap()
    }

    fn fresh() -> Trust {
        Trust::new(None, day(0), LIFE).unwrap()
    }

    fn read(trust: &Trust, ours: bool) -> Found {
        Found::read(&trust.entries(), ours)
    }

    fn without(trust: &Trust, entry: &str) -> BTreeMap<String, ByteString> {
        let mut entries = trust.entries();
        entries.remove(entry).unwrap();
        entries
    }

    #[test]
    fn what_is_written_reads_back() {
        let old = fresh();
        let new = Trust::new(Some(old.authority.root().clone()), day(60), LIFE).unwrap();
        let Found::Trust { trust, ours: true } = read(&new, true) else {
            panic!("not read back");
        };
        assert_eq!(trust.authority.root(), new.authority.root());
        assert_eq!(trust.previous, new.previous);
        assert_eq!(trust.bundle(day(60)), new.bundle(day(60)));
    }

    #[test]
    fn nothing_and_an_empty_secret_are_filled() {
        for found in [Found::Absent, Found::read(&BTreeMap::new(), false)] {
            assert!(matches!(
                found.step(day(0)),
                Step::Write {
                    why: Why::Missing,
                    previous: None
                }
            ));
        }
    }

    #[test]
    fn an_authority_is_renewed_at_two_thirds_of_its_life_and_trusted_until_its_end() {
        let trust = fresh();
        assert!(matches!(read(&trust, true).step(day(59)), Step::Use(_)));
        let Step::Write { previous, .. } = read(&trust, true).step(day(61)) else {
            panic!("not renewed");
        };
        assert_eq!(previous.as_ref(), Some(trust.authority.root()));
        let renewed = Trust::new(previous, day(61), LIFE).unwrap();
        let certificates = |now| {
            let bundle = String::from_utf8(renewed.bundle(now)).unwrap();
            bundle.matches("BEGIN CERTIFICATE").count()
        };
        assert_eq!(certificates(day(61)), 2);
        assert_eq!(certificates(day(91)), 1);
    }

    #[test]
    fn an_expired_authority_is_replaced_and_not_trusted_on() {
        assert!(matches!(
            read(&fresh(), true).step(day(91)),
            Step::Write { previous: None, .. }
        ));
    }

    #[test]
    fn an_authority_of_someone_else_is_used_and_never_written() {
        let trust = fresh();
        for days in [0, 61, 89] {
            assert!(matches!(read(&trust, false).step(day(days)), Step::Use(_)));
        }
        assert!(matches!(read(&trust, false).step(day(91)), Step::Refuse { .. }));
        let damaged = Found::read(&without(&trust, KEY), false);
        assert!(matches!(damaged.step(day(0)), Step::Refuse { why } if why.contains("not bear our mark")));
    }

    #[test]
    fn damage_to_ours_is_mended_and_its_leaves_stay_trusted_where_possible() {
        let trust = fresh();
        let step = Found::read(&without(&trust, KEY), true).step(day(1));
        let Step::Write {
            why: Why::Damaged(why),
            previous,
        } = step
        else {
            panic!("not mended");
        };
        assert!(why.contains("the CA key is not a private key"), "{why}");
        assert_eq!(previous.as_ref(), Some(trust.authority.root()));
        assert!(matches!(
            Found::read(&without(&trust, CERTIFICATE), true).step(day(1)),
            Step::Write { previous: None, .. }
        ));
    }

    #[test]
    fn a_leaf_is_due_when_there_is_none_and_at_two_thirds_of_its_life() {
        let trust = fresh();
        assert!(trust.leaf_is_due(None, false, day(0)));
        let leaf = trust
            .authority
            .issue(&["a".to_owned()], day(0), DAY * 30)
            .unwrap();
        assert!(!trust.leaf_is_due(Some(&leaf), true, day(19)));
        assert!(trust.leaf_is_due(Some(&leaf), true, day(21)));
    }

    #[test]
    fn after_a_renewal_the_old_leaf_is_shown_until_the_new_bundle_has_settled() {
        let old = fresh();
        let leaf = old.authority.issue(&["a".to_owned()], day(60), DAY * 20).unwrap();
        let new = Trust::new(Some(old.authority.root().clone()), day(61), LIFE).unwrap();
        assert!(!new.leaf_is_due(Some(&leaf), false, day(61)));
        assert!(new.leaf_is_due(Some(&leaf), true, day(61)));
        // Past its own renewal, but not changed to a CA that nobody trusts yet.
        assert!(!new.leaf_is_due(Some(&leaf), false, day(75)));
        assert!(new.leaf_is_due(Some(&leaf), false, day(81)), "expired");
        let stranger = fresh();
        assert!(
            stranger.leaf_is_due(Some(&leaf), false, day(61)),
            "no longer trusted"
        );
    }
}
