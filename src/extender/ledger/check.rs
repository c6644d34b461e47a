//! The self-check of the ledger: are its lists of one mind, and do its promises go with the pods that are there?

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::{Book, Ledger};
use crate::cluster::findings::Findings;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::decision::{Decision, rank, rank_by};
use crate::decide::names::{GangRef, NodeName, PodUid};
use crate::decide::pod::Pod;
use crate::decide::settings::Settings;

/// What the ledger's lists say, and the snapshot that they must go with.
#[derive(Debug)]
pub(in crate::extender) struct Lists {
    snapshot: ClusterSnapshot,
    commitments: Commitments,
    /// The pods with a promise; whether its time is up.
    entries: Vec<(PodUid, bool)>,
    gangs: Vec<(GangRef, bool)>,
    seen_gangs: Vec<GangRef>,
    doubted: Vec<GangRef>,
    filtered: Vec<PodUid>,
}

/// One decision, as it was made by what is kept from one decision to the next.
#[derive(Debug)]
pub(in crate::extender) struct Trial {
    pod: Pod,
    nodes: Vec<NodeName>,
    kept: Decision,
    snapshot: ClusterSnapshot,
    commitments: Commitments,
}

/// The name that a trial is made under: nothing is known of it, as of any pod that comes new.
const NOBODY: &str = "self-check";

impl Ledger {
    /// Copies the ledger's lists; nobody decides meanwhile.
    pub(in crate::extender) fn lists(&self, now: Instant) -> Lists {
        self.decide(now, |snapshot, book| Lists::of(snapshot, book, now))
    }

    /// Decides again about the latest pod that was asked about, on all nodes, and promises nothing. Costs the others
    /// as long as one question about all nodes does.
    pub(in crate::extender) fn trial(&self, now: Instant, settings: &Settings) -> Option<Trial> {
        self.decide(now, |snapshot, book| {
            let mut pod = Pod::clone(book.latest.as_deref()?);
            pod.at.uid = NOBODY.into();
            let (surveys, commitments) = book.deciding();
            let names = snapshot.nodes.keys().map(NodeName::as_str);
            let all = surveys.candidates(names, snapshot, settings);
            let kept = rank_by(surveys, &pod, &all, snapshot, commitments, settings);
            Some(Trial {
                pod,
                nodes: all.into_names(),
                kept,
                snapshot: snapshot.clone(),
                commitments: commitments.clone(),
            })
        })
    }
}

impl Lists {
    fn of(snapshot: &ClusterSnapshot, book: &Book, now: Instant) -> Self {
        let entries = book.entries.iter();
        let gangs = book.gangs.iter();
        Self {
            snapshot: snapshot.clone(),
            commitments: book.commitments.clone(),
            entries: entries
                .map(|(uid, entry)| (uid.clone(), entry.until <= now))
                .collect(),
            gangs: gangs.map(|(gang, until)| (gang.clone(), *until <= now)).collect(),
            seen_gangs: book.seen_gangs.iter().cloned().collect(),
            doubted: book.doubted.iter().cloned().collect(),
            filtered: book.filtered.keys().cloned().collect(),
        }
    }

    /// Compares. The snapshot is the one that the ledger was last swept by, so that nothing in it is news.
    #[must_use]
    pub(in crate::extender) fn compare(&self) -> Findings {
        let mut found = Findings::default();
        let (pods, gangs) = (&self.commitments.pods, &self.commitments.gangs);
        let is_over =
            |uid: &PodUid| self.snapshot.bound.contains_key(uid) || self.snapshot.gone.contains_key(uid);
        let entries = || self.entries.iter();
        found.compare_names("promises", pods.keys(), entries().map(|(uid, _)| uid));
        let live = entries().filter(|(uid, late)| !late && !is_over(uid));
        found.compare_names(
            "promises in force",
            entries().map(|(uid, _)| uid),
            live.map(|(uid, _)| uid),
        );
        let live = self.gangs.iter().filter(|(_, late)| !late);
        found.compare_names("gang holds", gangs.keys(), live.map(|(gang, _)| gang));
        // Places of pods that are seen bound are theirs, and held no longer.
        let settled = gangs.iter().map(|(gang, hold)| {
            let members = self.snapshot.gangs.get(gang);
            let left = members.and_then(|members| hold.settled(members));
            (gang, left.map_or_else(|| Arc::clone(hold), Arc::new))
        });
        found.compare(
            "gang places",
            gangs.iter().map(|(gang, hold)| (gang, Arc::clone(hold))),
            settled,
        );
        let held: BTreeSet<&GangRef> = gangs.keys().collect();
        let known = |gang: &&GangRef| held.contains(*gang) && self.snapshot.gangs.contains_key(*gang);
        found.compare_names(
            "gangs seen",
            &self.seen_gangs,
            self.seen_gangs.iter().filter(known),
        );
        let firm = |gang: &&GangRef| gangs.get(*gang).is_some_and(|hold| !hold.soft);
        found.compare_names("gangs in doubt", &self.doubted, self.doubted.iter().filter(firm));
        let waiting = self.filtered.iter().filter(|uid| !is_over(uid));
        found.compare_names("kept in mind", &self.filtered, waiting);
        found
    }
}

impl Trial {
    /// Decides once more without anything that was kept, and compares.
    #[must_use]
    pub(in crate::extender) fn compare(&self, settings: &Settings) -> Findings {
        let fresh = rank(
            &self.pod,
            &self.nodes,
            &self.snapshot,
            &self.commitments,
            settings,
        );
        let mut found = Findings::default();
        let verdicts = |decision: &'_ Decision| -> Vec<_> { decision.verdicts.clone() };
        found.compare("verdicts", verdicts(&self.kept), verdicts(&fresh));
        found.compare_value("hold for the pod", &self.kept.pod, &fresh.pod);
        found.compare_value("hold for its gang", &self.kept.gang, &fresh.gang);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::index::Index;
    use crate::decide::annotation;
    use crate::decide::cluster::Map;
    use crate::decide::commitment::{Commitment, GangHold, Place};
    use crate::decide::testing;
    use crate::extender::ledger::LIFETIMES;
    use serde_json::json;

    fn gang() -> GangRef {
        GangRef {
            namespace: "default".into(),
            name: "g".into(),
        }
    }

    /// A ledger with a promise to a pod, a hold for a gang and a pod that is kept in mind.
    fn ledger(now: Instant) -> Ledger {
        let ledger = Ledger::new(Arc::default(), LIFETIMES);
        let hold = GangHold {
            places: vec![Place {
                node: "n".into(),
                pods: 2,
                pools: Arc::from([]),
            }],
            ..GangHold::default()
        };
        ledger.decide(now, |_, book| {
            ledger.hold(
                book,
                &Arc::new(testing::pod("a")),
                Some(Commitment::default()),
                now,
            );
            ledger.hold_gang(book, gang(), Some(hold), now);
            ledger.remember(book, &Arc::new(testing::pod("b")), now);
        });
        ledger
    }

    fn differing(found: &Findings) -> Vec<&'static str> {
        let parts = found.parts.iter().filter(|part| part.differences > 0);
        parts.map(|part| part.part).collect()
    }

    /// What is spoiled after the lists were swept, and where it shows.
    type Spoiled = (&'static [&'static str], fn(&mut Lists));
    const SPOILED: [Spoiled; 8] = [
        (&["promises"], |lists| {
            lists.commitments.pods.insert_mut("x".into(), Arc::default());
        }),
        (&["promises"], |lists| lists.commitments.pods = Map::default()),
        (&["promises in force"], |lists| lists.entries[0].1 = true),
        (&["promises in force", "kept in mind"], |lists| {
            for (uid, _) in lists.entries.clone() {
                lists.snapshot.gone.insert_mut(uid, ());
            }
            for uid in lists.filtered.clone() {
                lists.snapshot.bound.insert_mut(uid, Arc::new(testing::pod("b")));
            }
        }),
        (&["gang holds"], |lists| lists.gangs.clear()),
        (&["gang places"], |lists| {
            lists.snapshot.change_members(gang(), |members| {
                members.bound.insert("c".into(), "n".into());
            });
        }),
        (&["gangs seen"], |lists| lists.seen_gangs.push(gang())),
        (&["gangs in doubt"], |lists| {
            lists.doubted.push(GangRef {
                namespace: "default".into(),
                name: "other".into(),
            });
        }),
    ];

    #[test]
    fn what_is_spoiled_in_the_lists_is_found() {
        let now = Instant::now();
        assert_eq!(differing(&ledger(now).lists(now).compare()), Vec::<&str>::new());
        for (at, (parts, spoil)) in SPOILED.into_iter().enumerate() {
            let mut lists = ledger(now).lists(now);
            spoil(&mut lists);
            assert_eq!(differing(&lists.compare()), parts, "number {at}");
        }
        let spoiled: BTreeSet<&str> = SPOILED
            .iter()
            .flat_map(|(parts, _)| parts.iter().copied())
            .collect();
        let parts: BTreeSet<&str> = ledger(now)
            .lists(now)
            .compare()
            .parts
            .iter()
            .map(|part| part.part)
            .collect();
        assert_eq!(parts, spoiled, "every part is spoiled once");
    }

    #[test]
    fn a_change_that_nobody_wrote_down_shows_in_a_decision() {
        let settings = Arc::new(Settings::default());
        let index = Index::new(Arc::clone(&settings));
        let ledger = Ledger::new(index.published(), LIFETIMES);
        let config = json!({"type": "ib-sriov", "ipam": {"type": "host-local"}}).to_string();
        index
            .apply(json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": "rail0", "namespace": "default", "annotations": {annotation::RESOURCE_NAME: "x.io/vf"}},
                "spec": {"config": config}}))
            .unwrap();
        for node in ["n1", "n2"] {
            index
                .apply(
                    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node},
                    "status": {"allocatable": {"x.io/vf": "1"}}}),
                )
                .unwrap();
        }
        index
            .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default", "uid": "p",
                "annotations": {annotation::NETWORKS: "rail0"}},
                "spec": {"containers": [{"resources": {"requests": {"x.io/vf": "1"}}}]}}))
            .unwrap();
        let now = Instant::now();
        assert!(ledger.trial(now, &settings).is_none(), "nobody has asked yet");
        ledger.decide(now, |snapshot, book| {
            let pod = Arc::clone(snapshot.pending.get("p").unwrap());
            ledger.hold(book, &pod, None, now);
        });
        let found = ledger.trial(now, &settings).unwrap().compare(&settings);
        assert_eq!(differing(&found), Vec::<&str>::new());
        assert_eq!(found.parts[0].compared, 2);
        let mut changed = ClusterSnapshot::clone(&index.published().load());
        let taken = [("x.io/vf".into(), 1000)].into_iter().collect();
        changed.change_use(&"n1".into(), |used| used.add(&taken));
        index.published().store(Arc::new(changed));
        let found = ledger.trial(now, &settings).unwrap().compare(&settings);
        assert!(differing(&found).contains(&"verdicts"), "{found:?}");
        assert_eq!(found.examples[0].what, "n1");
    }
}
