//! The closed sets of words that metrics and log lines use alike.
//!
//! A word that depends on input must never become a label: each enum here is the whole set.

use core::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Makes a closed set of words: the enum, its texts, and the list of all (so that counters start at 0).
macro_rules! words {
    ($(#[$doc:meta])+ $name:ident { $($(#[$about:meta])+ $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$about])+ $variant,)+
        }

        impl $name {
            /// Every word of the set.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as it stands in metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                encoder.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How an admission review was answered.
    WebhookVerdict {
        /// Allowed, with a patch.
        Mutated = "mutated",
        /// Allowed, nothing to change.
        Unchanged = "unchanged",
        /// Denied: the object can never run as written.
        Denied = "denied",
        /// Not answered as an admission review: junk came in, or we failed.
        Error = "error",
    }
}

words! {
    /// What the scheduler asks of the extender.
    Verb {
        /// Which of these nodes can take the pod.
        Filter = "filter",
        /// Which of them is best.
        Prioritize = "prioritize",
        /// Put the pod on this node.
        Bind = "bind",
        /// May these pods be evicted for it.
        Preempt = "preempt",
    }
}

words! {
    /// How the extender answered one call.
    ExtenderVerdict {
        /// `filter`: at least one node fits.
        Fits = "fits",
        /// `filter`: no node fits; `bind`: the last check said no.
        Refused = "refused",
        /// `prioritize`: scores were given.
        Scored = "scored",
        /// `bind`: the Binding was accepted.
        Bound = "bound",
        /// `preempt`: at least one node may be emptied.
        Evictable = "evictable",
        /// `preempt`: emptying would not help anywhere.
        Vetoed = "vetoed",
        /// The snapshot is not complete yet; the scheduler is told to come back.
        NotReady = "not_ready",
        /// The request could not be read, or is of a form that is not served.
        Malformed = "malformed",
        /// The API server, or we, failed.
        Error = "error",
    }
}

words! {
    /// What became of an event on a pod.
    EventResult {
        /// It was written.
        Sent = "sent",
        /// The API server refused it, or did not answer.
        Failed = "failed",
        /// The queue was full.
        Dropped = "dropped",
    }
}

words! {
    /// What became of a nudge.
    NudgeResult {
        /// The pod was annotated and will be tried again.
        Sent = "sent",
        /// The pod is gone or bound; nothing to do.
        Obsolete = "obsolete",
        /// The API server refused the patch.
        Failed = "failed",
    }
}

words! {
    /// The three addresses `serve` listens on.
    ListenerName {
        /// Admission reviews over HTTPS.
        Webhook = "webhook",
        /// Calls of kube-scheduler.
        Extender = "extender",
        /// Probes and metrics.
        Admin = "admin",
    }
}

words! {
    /// Why a request was answered before its handler saw it, or in its place.
    Rejection {
        /// As many requests as may run at once are running.
        Shed = "shed",
        /// The body is larger than the listener takes.
        BodyTooLarge = "body_too_large",
        /// The body ended early or broke its framing.
        BodyUnreadable = "body_unreadable",
        /// The body or the answer took longer than the deadline.
        Deadline = "deadline",
        /// The handler panicked.
        Panic = "panic",
    }
}
