//! Pods that another extender of the scheduler binds: that they are placed shows in the watch only.
//!
//! The extender that said where a pod may go waits for it to be seen bound, so that one replica tells of it, and once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::events::Announcer;
use crate::cluster::index::Index;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::{NodeName, PodRef, PodUid};
use crate::decide::pod::{Phase, Pod};

/// How long a pod is waited for that does not wait itself: one that is gone, or was made up for a simulation.
const PATIENCE: Duration = Duration::from_mins(1);

/// Most pods that are waited for; of more, those asked about first are told nothing.
const MOST: usize = 20_000;

/// The least time between two looks: an event is for people.
const INTERVAL: Duration = Duration::from_secs(1);

/// The pods, and when each was last asked about.
#[derive(Debug, Default)]
pub(super) struct Expected(Mutex<BTreeMap<PodUid, Instant>>);

impl Expected {
    /// The scheduler was told where `uid` may go, and somebody else will bind it.
    pub(super) fn add(&self, uid: &PodUid, now: Instant) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pods.len() >= MOST && !pods.contains_key(uid) {
            let oldest = pods.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) {
                pods.remove(&oldest);
            }
        }
        pods.insert(uid.clone(), now);
    }

    /// Those that are bound now, with their nodes; they are waited for no longer.
    pub(super) fn take_bound(&self, snapshot: &ClusterSnapshot, now: Instant) -> Vec<(PodRef, NodeName)> {
        let mut bound = Vec::new();
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pods.retain(|uid, at| {
            if let Some((pod, node)) = snapshot.bound.get(uid).and_then(|pod| placed(pod)) {
                bound.push((pod, node));
                return false;
            }
            snapshot.pending.contains_key(uid) || now.saturating_duration_since(*at) < PATIENCE
        });
        bound
    }
}

fn placed(pod: &Pod) -> Option<(PodRef, NodeName)> {
    match &pod.phase {
        Phase::Bound(node) => Some((pod.at.clone(), node.clone())),
        Phase::Pending { .. } | Phase::Ended => None,
    }
}

/// Tells of pods that another extender has bound, until `stop`.
pub async fn tell(announcer: Arc<Announcer>, index: Arc<Index>, stop: CancellationToken) {
    let published = index.published();
    let mut looks = tokio::time::interval(INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => announcer.look(&published.load(), Instant::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{Cluster, pod};

    #[test]
    fn a_pod_is_told_once_when_it_is_seen_bound() {
        let expected = Expected::default();
        let now = Instant::now();
        let cluster = Cluster::with_rails(1).node("n1", 8);
        for name in ["a", "b"] {
            expected.add(&pod(name).at.uid, now);
        }
        let waiting = cluster.clone().pending(cluster.pod("a")).snapshot();
        assert_eq!(expected.take_bound(&waiting, now + PATIENCE), []);
        let bound = cluster.bound("a", "n1").bound("b", "n1").snapshot();
        let told = expected.take_bound(&bound, now + PATIENCE);
        assert_eq!(told, [(pod("a").at, "n1".into())], "b did not come in time");
        assert_eq!(expected.take_bound(&bound, now + PATIENCE), []);
    }

    #[test]
    fn the_oldest_makes_room() {
        let expected = Expected::default();
        let now = Instant::now();
        for number in 0..=MOST {
            let at = now + Duration::from_micros(u64::try_from(number).unwrap());
            expected.add(&number.to_string().as_str().into(), at);
        }
        let pods = expected.0.lock().unwrap();
        assert_eq!(pods.len(), MOST);
        assert!(!pods.contains_key(&PodUid::from("0")));
    }
}
