//! Whether evicting pods from a node would help a pod: it must then fit there by every rule that a filter goes by.
//!
//! kube-scheduler chooses victims by its own filters only, and would evict pods from a node that we refuse all the
//! same: the wrong leaf group, a dead port, an exhausted pool. Its order makes an extender's answer a veto.
//!
//! The victims' VFs and everything else they take of the node count as free, and so do their addresses: the kubelet
//! deletes a pod only after the CNI plugin has given its addresses back, and one that lags behind (Spiderpool's
//! garbage collection) delays the pod, which is nudged then, but does not keep it away. Without that, nobody could
//! preempt where pools are as large as there are VFs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cluster::ClusterSnapshot;
use super::commitment::Commitments;
use super::decision::decide;
use super::names::{NodeName, PodUid};
use super::placement::Verdict;
use super::pod::{Phase, Pod};
use super::reason::Refusal;
use super::settings::Settings;

/// Decides about `pod` on `node` as things will stand once `victims` have gone from it.
#[must_use]
pub fn after_eviction(
    pod: &Pod,
    node: &NodeName,
    victims: &BTreeSet<PodUid>,
    snapshot: &ClusterSnapshot,
    commitments: &Commitments,
    settings: &Settings,
) -> Verdict {
    let emptied = without(victims, node, snapshot);
    let only = std::slice::from_ref(node);
    let verdicts = decide(pod, only, &emptied, commitments, settings).verdicts;
    let verdict = verdicts.into_iter().next().map(|(_, verdict)| verdict);
    verdict.unwrap_or_else(|| Verdict::Refused(Arc::new(Refusal::NodeUnknown(node.clone()))))
}

/// The cluster without those of `victims` that are bound to `node`. One that is not known there changes nothing: it
/// takes nothing that only we look at.
fn without(victims: &BTreeSet<PodUid>, node: &NodeName, snapshot: &ClusterSnapshot) -> ClusterSnapshot {
    let mut emptied = snapshot.clone();
    for uid in victims {
        let Some(victim) = snapshot.bound.get(uid) else {
            continue;
        };
        if victim.phase == Phase::Bound(node.clone()) {
            emptied.evict(victim);
            release(uid, &mut emptied);
        }
    }
    emptied
}

/// Gives back the addresses that the IPAM's records show for a pod.
fn release(uid: &PodUid, snapshot: &mut ClusterSnapshot) {
    let held: Vec<_> = snapshot
        .pools
        .iter()
        .filter_map(|(name, pool)| {
            let held = *pool.reading.as_ref().ok()?.holders.get(uid)?;
            Some((name.clone(), Arc::clone(pool), held))
        })
        .collect();
    for (name, pool, held) in held {
        let mut pool = (*pool).clone();
        if let Ok(facts) = &mut pool.reading {
            facts.holders.remove(uid);
            // An address that has been excluded or reserved since does not come back.
            facts.free = facts.free.saturating_add(u64::from(held)).min(facts.size);
        }
        snapshot.pools.insert_mut(name, Arc::new(pool));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::policy::{Locality, Tier};
    use crate::decide::reason::Reason;
    use crate::decide::testing::Cluster;

    fn after(cluster: &Cluster, pod: &Pod, node: &str, victims: &[&str]) -> Result<(), Reason> {
        let victims = victims.iter().map(|name| format!("uid-{name}").into()).collect();
        let verdict = after_eviction(
            pod,
            &node.into(),
            &victims,
            &cluster.snapshot(),
            &Commitments::default(),
            &Settings::default(),
        );
        match verdict {
            Verdict::Fits(_) => Ok(()),
            Verdict::Refused(refusal) => Err(refusal.reason()),
        }
    }

    #[test]
    fn the_victims_vfs_count_as_free() {
        let cluster = Cluster::with_rails(2)
            .node("n1", 2)
            .bound("a", "n1")
            .bound("b", "n1");
        let pod = cluster.pod("p");
        assert_eq!(after(&cluster, &pod, "n1", &[]), Err(Reason::TooFewVfs));
        assert_eq!(after(&cluster, &pod, "n1", &["a"]), Ok(()));
    }

    #[test]
    fn a_victim_that_is_elsewhere_or_unknown_frees_nothing() {
        let cluster = Cluster::with_rails(1)
            .node("n1", 1)
            .node("n2", 1)
            .bound("a", "n1")
            .bound("b", "n2");
        let pod = cluster.pod("p");
        assert_eq!(
            after(&cluster, &pod, "n1", &["b", "nobody"]),
            Err(Reason::TooFewVfs)
        );
    }

    #[test]
    fn what_eviction_does_not_cure_is_vetoed() {
        let broken = Cluster::with_rails(1)
            .node("n1", 1)
            .bound("a", "n1")
            .state("n1", |facts| facts.drain = Some("Draining".to_owned()));
        assert_eq!(
            after(&broken, &broken.pod("p"), "n1", &["a"]),
            Err(Reason::Draining)
        );
        let no_address = Cluster::with_rails(1)
            .node("n1", 1)
            .bound("a", "n1")
            .pool("rail0", |facts| facts.free = 0);
        assert_eq!(
            after(&no_address, &no_address.pod("p"), "n1", &["a"]),
            Err(Reason::PoolEmpty),
            "the victim has no address to give back"
        );
    }

    #[test]
    fn an_address_that_a_victim_holds_or_was_promised_comes_back() {
        let holding = Cluster::with_rails(1)
            .node("n1", 1)
            .bound("a", "n1")
            .allocated("a")
            .pool("rail0", |facts| {
                (facts.free, facts.size) = (0, 1);
                facts.holders.insert("uid-a".into(), 1);
            });
        assert_eq!(after(&holding, &holding.pod("p"), "n1", &["a"]), Ok(()));
        let promised = Cluster::with_rails(1)
            .node("n1", 1)
            .bound("a", "n1")
            .pool("rail0", |facts| facts.free = 1);
        assert_eq!(after(&promised, &promised.pod("p"), "n1", &["a"]), Ok(()));
    }

    #[test]
    fn nobody_is_evicted_for_a_gang_that_would_still_not_have_room_whole() {
        let cluster = Cluster::with_rails(1)
            .node_in("a1", 1, "a")
            .node_in("a2", 1, "a")
            .bound("x", "a1")
            .bound("y", "a2");
        let required = Locality::Required(Tier::LeafGroup);
        let gang = cluster.gang("g", 2, &required);
        assert_eq!(after(&cluster, &gang[0], "a1", &["x"]), Err(Reason::GangNoRoom));
        let one = cluster.gang("g", 1, &required);
        assert_eq!(after(&cluster, &one[0], "a1", &["x"]), Ok(()));
    }
}
