//! Claims that were worked out already: the pods of a gang ask for the same, and each of them is asked about several times.

use super::{Claim, claim, gang};
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::pod::Pod;
use crate::decide::reason::Refusal;
use crate::decide::settings::Settings;

/// How many different ones are kept in mind.
const KEPT: usize = 32;

/// The claims of the latest pods.
#[derive(Debug, Default)]
pub struct Claims {
    /// Up to which change of what claims are worked out from.
    seen: Option<u64>,
    /// The one used last comes last.
    kept: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    pod: Pod,
    /// Some pool looks at pods' labels.
    by_labels: bool,
    claim: Claim,
}

impl Claims {
    /// What `pod` needs, as [`claim`] says it.
    ///
    /// # Errors
    /// As [`claim`].
    pub fn of(
        &mut self,
        pod: &Pod,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) -> Result<Claim, Refusal> {
        let now = snapshot.changes.of_claims();
        if now.is_none() || now != self.seen {
            self.kept.clear();
            self.seen = now;
        }
        // The addresses that pods of a StatefulSet keep are by the pods' names.
        if now.is_none() || pod.stateful {
            return claim(pod, snapshot, settings);
        }
        if let Some(at) = self.kept.iter().rposition(|known| known.is_of(pod)) {
            let known = self.kept.remove(at);
            let again = Claim {
                pod: pod.at.clone(),
                gang: gang(pod, settings)?,
                ..known.claim.clone()
            };
            self.kept.push(known);
            return Ok(again);
        }
        let claim = claim(pod, snapshot, settings)?;
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        let mut pools = snapshot
            .pools
            .values()
            .filter_map(|pool| pool.reading.as_ref().ok());
        self.kept.push(Known {
            pod: pod.clone(),
            by_labels: pools.any(|facts| facts.pods.is_some()),
            claim: claim.clone(),
        });
        Ok(claim)
    }
}

impl Known {
    /// Whether a pod asks for the same, whatever its name and its gang.
    fn is_of(&self, pod: &Pod) -> bool {
        let own = &self.pod;
        own.takes == pod.takes
            && own.at.namespace == pod.at.namespace
            && own.needs == pod.needs
            && own.host_network == pod.host_network
            && own.default_network == pod.default_network
            && own.networks == pod.networks
            && own.pools == pod.pools
            && (!self.by_labels || own.labels == pod.labels)
    }
}
