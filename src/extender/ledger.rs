//! The ledger: every promise that the API does not show yet, in one place under one lock.
//!
//! A *hold* is made when `filter` says yes and replaced by the pod's next filter; a *reservation* is made at bind.
//! Both end when the pod is seen bound (from then on the snapshot counts it), when it is gone, or when their time is
//! up. Whoever decides takes the lock first and the snapshot inside it, so that no promise falls between the two.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::supply::Supply;
use crate::cluster::sight::Sight;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::{Commitment, Commitments, GangHold, Place};
use crate::decide::names::{GangRef, PodUid};
use crate::decide::pod::Pod;
use crate::decide::policy::Locality;
use crate::decide::survey::Surveys;

/// How soon it is tried again to hold the rest of a gang that has begun and found no room.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The same where something that pods had taken is free again, for each gang that is short: the next pod that asks would
/// have it, and the gang stay half placed. So it is not much longer than a try takes, and all tries together take a part
/// of the time, however many gangs are short and however much comes back.
const TRY_AT_ONCE: Duration = Duration::from_millis(1);

/// After how long a pause what is held for gangs is in doubt: a scheduler that leads and has anything to place asks sooner,
/// and none takes over from another, and that one again, in less.
const PAUSE: Duration = Duration::from_millis(500);

/// How long promises last when nothing else ends them.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of a hold: longer than a scheduling cycle takes to come to bind.
    pub hold: Duration,
    /// Of the places held for the rest of a gang, since its last pod was decided about: longer than its pods take to
    /// be created and to come to their turn.
    pub gang: Duration,
    /// Of a reservation whose Binding may or may not have been written: longer than the watch can lag behind.
    pub reservation: Duration,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    lifetimes: Lifetimes,
    published: Arc<ArcSwap<ClusterSnapshot>>,
    sight: Arc<Sight>,
    book: Mutex<Book>,
}

/// What was missed while the watch of pods was broken shows within this long once it is back.
const CATCHING_UP: Duration = Duration::from_secs(5);

/// What is written in the ledger.
#[derive(Debug, Default)]
pub struct Book {
    commitments: Commitments,
    /// The pod that was asked about last.
    latest: Option<Arc<Pod>>,
    /// What is known of the nodes from one decision to the next.
    surveys: Surveys,
    entries: BTreeMap<PodUid, Entry>,
    /// When the holds for gangs end.
    gangs: BTreeMap<GangRef, Instant>,
    /// Of those, the ones that have been in a snapshot.
    seen_gangs: BTreeSet<GangRef>,
    /// Pods without a promise of their own that were told where they fit, and until when that is kept in mind.
    filtered: BTreeMap<PodUid, (Arc<Pod>, Instant)>,
    /// Gangs whose places may have been taken by pods that another extender placed in a pause of ours.
    doubted: BTreeSet<GangRef>,
    /// When the scheduler last asked.
    asked: Option<Instant>,
    /// When it was last tried to hold the rest of a gang that has begun.
    tried: BTreeMap<GangRef, (Instant, Supply)>,
    /// Since when there has been room for a part of such a rest only.
    short: BTreeMap<GangRef, Instant>,
    expired: Expired,
}

/// How many promises came to nothing since the start: their time was up before the pod was bound or gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Holds of single pods.
    pub holds: u64,
    /// Reservations, whose Binding nobody knows the fate of.
    pub reservations: u64,
    /// Places held for the rest of a gang.
    pub gangs: u64,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    made: Instant,
    until: Instant,
    /// The pod has been in a snapshot: when it is in none any more, it is gone.
    seen: bool,
    pod: Arc<Pod>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Hold,
    Reservation,
}

impl Ledger {
    /// An empty ledger over the snapshots published here.
    #[must_use]
    pub fn new(published: Arc<ArcSwap<ClusterSnapshot>>, lifetimes: Lifetimes) -> Self {
        Self {
            lifetimes,
            published,
            sight: Arc::default(),
            book: Mutex::default(),
        }
    }

    /// Promises do not lapse while this sight of pods is lost.
    #[must_use]
    pub fn with_sight(mut self, sight: Arc<Sight>) -> Self {
        self.sight = sight;
        self
    }

    /// Decides with the newest snapshot and all promises in force, and may change the book; nobody else decides
    /// meanwhile.
    pub fn decide<T>(&self, now: Instant, decide: impl FnOnce(&ClusterSnapshot, &mut Book) -> T) -> T {
        // A panic inside is answered as such; each change of the book is complete in itself.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.published.load_full();
        if self.sight.is_lost(now) {
            book.outlast(now + CATCHING_UP);
        }
        book.sweep(&snapshot, now);
        decide(&snapshot, &mut book)
    }

    /// Replaces the pod's hold. A reservation stays: it is the stronger promise.
    pub fn hold(&self, book: &mut Book, pod: &Arc<Pod>, commitment: Option<Commitment>, now: Instant) {
        book.latest = Some(Arc::clone(pod));
        if book
            .entries
            .get(&pod.at.uid)
            .is_some_and(|entry| entry.kind == Kind::Reservation)
        {
            return;
        }
        match commitment {
            Some(commitment) => book.write(Kind::Hold, pod, commitment, now, now + self.lifetimes.hold),
            None => book.strike(&pod.at.uid),
        }
    }

    /// Keeps in mind a pod whose place is among those of its gang: the watch may not have shown it by the time it is
    /// to be bound.
    pub fn remember(&self, book: &mut Book, pod: &Arc<Pod>, now: Instant) {
        let until = now + self.lifetimes.hold;
        book.filtered.insert(pod.at.uid.clone(), (Arc::clone(pod), until));
    }

    /// Replaces what is held for a gang by what its pod that asks was just told, unless that is less: what was promised
    /// to a gang is not given up because a pool or a node is away for a moment. It still ends with its time.
    pub fn renew_gang(&self, book: &mut Book, gang: GangRef, hold: GangHold, now: Instant) {
        let before = book.commitments.gangs.get(&gang);
        let before = before.filter(|before| !before.soft && !book.doubted.contains(&gang));
        if before.is_none_or(|before| hold.pods() >= before.pods()) {
            self.hold_gang(book, gang, Some(hold), now);
        }
    }

    /// Replaces what is held for the rest of a gang.
    pub fn hold_gang(&self, book: &mut Book, gang: GangRef, hold: Option<GangHold>, now: Instant) {
        match hold {
            Some(hold) => book.write_gang(gang, hold, now + self.lifetimes.gang),
            None => book.strike_gang(&gang),
        }
    }

    /// Holds all that the rest of a gang needs.
    pub(super) fn hold_whole(&self, book: &mut Book, gang: GangRef, hold: GangHold, now: Instant) {
        book.short.remove(&gang);
        self.hold_gang(book, gang, Some(hold), now);
    }

    /// Holds a part of what the rest of a gang needs, until it has been short for as long as places are held for gangs:
    /// a node or a pool may be away for a moment only.
    pub(super) fn hold_part(&self, book: &mut Book, gang: GangRef, hold: GangHold, now: Instant) {
        let since = *book.short.entry(gang.clone()).or_insert(now);
        let until = since + self.lifetimes.gang;
        if now < until {
            book.write_gang(gang, hold, until);
        }
    }

    /// Makes the reservation that a Binding is written under.
    pub fn reserve(&self, book: &mut Book, pod: &Arc<Pod>, commitment: Commitment, now: Instant) {
        let until = now + self.lifetimes.reservation;
        book.write(Kind::Reservation, pod, commitment, now, until);
    }

    /// Ends a promise: the Binding was refused for certain. A pod of a gang gives its place back to its gang, or others
    /// would have it before the pod is tried again; `locality` is that of gangs which say nothing of it.
    pub fn release(&self, uid: &PodUid, locality: &Locality, now: Instant) {
        self.release_made(uid, None, locality, now);
    }

    /// The same only for the reservation made at this moment: its Binding was never written, and there may be another
    /// one since.
    pub(super) fn was_not_written(&self, uid: &PodUid, made: Instant, locality: &Locality, now: Instant) {
        self.release_made(uid, Some(made), locality, now);
    }

    fn release_made(&self, uid: &PodUid, made: Option<Instant>, locality: &Locality, now: Instant) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |entry: &Entry| made.is_none_or(|made| entry.made == made);
        if !book.entries.get(uid).is_some_and(is_meant) {
            return;
        }
        let given_back = book.given_back(uid, locality);
        book.strike(uid);
        if let Some((gang, hold)) = given_back {
            let doubted = book.doubted.contains(&gang);
            self.hold_gang(&mut book, gang.clone(), Some(hold), now);
            if doubted {
                book.doubted.insert(gang);
            }
        }
    }
}

impl Book {
    /// The promises, as decisions take them.
    #[must_use]
    pub fn commitments(&self) -> &Commitments {
        &self.commitments
    }

    /// The promises, with what is known of the nodes from earlier decisions.
    pub fn deciding(&mut self) -> (&mut Surveys, &Commitments) {
        (&mut self.surveys, &self.commitments)
    }

    /// The pod as the scheduler last sent it.
    #[must_use]
    pub fn pod(&self, uid: &PodUid) -> Option<Arc<Pod>> {
        let held = self.entries.get(uid).map(|entry| &entry.pod);
        held.or_else(|| self.filtered.get(uid).map(|(pod, _)| pod))
            .cloned()
    }

    /// The pods whose promise is a reservation.
    #[must_use]
    pub fn reserved(&self) -> BTreeSet<PodUid> {
        let reservations = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.kind == Kind::Reservation);
        reservations.map(|(uid, _)| uid.clone()).collect()
    }

    /// How many promises came to nothing.
    #[must_use]
    pub fn expired(&self) -> Expired {
        self.expired
    }

    /// The scheduler asks. After a pause others may have led, whose extender knew nothing of what is held here: pods that it
    /// placed may be on these very places, and gangs that it began in other domains. That does not show in a hold.
    pub(super) fn asked(&mut self, now: Instant) {
        let then = self.asked.replace(now);
        if then.is_none_or(|then| now.saturating_duration_since(then) >= PAUSE) {
            let firm = self.commitments.gangs.iter().filter(|(_, hold)| !hold.soft);
            self.doubted = firm.map(|(gang, _)| gang.clone()).collect();
            self.tried.clear();
        }
    }

    /// The gangs in doubt.
    pub(super) fn doubted(&self) -> impl Iterator<Item = &GangRef> {
        self.doubted.iter()
    }

    /// What is held for the gang turned out to be right.
    pub(super) fn trust(&mut self, gang: &GangRef) {
        self.doubted.remove(gang);
    }

    /// Whether what is held for the gang has yet to be worked out anew after a pause.
    pub(super) fn is_doubted(&self, gang: &GangRef) -> bool {
        self.doubted.contains(gang)
    }

    /// Whether the rest of a gang that has begun and holds nothing is to be held now: where there was no room for it a
    /// moment ago, and nothing has come back since, looking for some again with every pod that is decided about would
    /// cost them all.
    pub(super) fn is_to_be_held(&mut self, gang: &GangRef, supply: Supply, now: Instant) -> bool {
        let gangs = u32::try_from(self.tried.len()).unwrap_or(u32::MAX);
        let due = self.tried.get_mut(gang).is_none_or(|(tried, then)| {
            let waited = now.duration_since(*tried);
            if waited < TRY_AGAIN && supply.has_only_shrunk(then) {
                // The least there was: what comes back next is told from it.
                *then = supply;
                return false;
            }
            waited >= TRY_AT_ONCE.saturating_mul(gangs) || supply.all != then.all
        });
        if due {
            self.tried.insert(gang.clone(), (now, supply));
        }
        due
    }

    /// What has been held meanwhile was not taken by others: what comes back is told from how it is `now`.
    pub(super) fn has_held(&mut self, then: Supply, now: Supply) {
        let seen = self.tried.values_mut().map(|(_, supply)| supply);
        for supply in seen.filter(|supply| **supply == then) {
            *supply = now;
        }
    }

    /// What is held for the pod's gang with the pod's own place among it.
    fn given_back(&self, uid: &PodUid, locality: &Locality) -> Option<(GangRef, GangHold)> {
        let pod = &self.entries.get(uid)?.pod;
        let promise = self.commitments.pods.get(uid)?;
        let member = pod.gang.as_ref().ok()?.as_ref()?;
        let locality = member.locality.as_ref().unwrap_or(locality);
        if member.by_scheduler || *locality == Locality::None {
            return None;
        }
        let gang = pod.gang_ref()?;
        let before = self.commitments.gangs.get(&gang);
        let mut hold = before.map_or_else(
            || GangHold {
                soft: !matches!(locality, Locality::Required(_)),
                takes: promise.takes.clone(),
                ..GangHold::default()
            },
            |before| GangHold::clone(before),
        );
        hold.placed.remove(uid);
        hold.places.push(Place {
            node: promise.node.clone()?,
            pods: 1,
            pools: promise.pools.clone().into(),
        });
        Some((gang, hold))
    }

    /// How many pods are held for in the gang's name; none for one that others need not keep out of.
    pub(super) fn held_for(&self, gang: &GangRef) -> u32 {
        let hold = self.commitments.gangs.get(gang).filter(|hold| !hold.soft);
        hold.map_or(0, |hold| hold.pods())
    }

    fn write(&mut self, kind: Kind, pod: &Arc<Pod>, commitment: Commitment, made: Instant, until: Instant) {
        let uid = pod.at.uid.clone();
        self.commitments
            .pods
            .insert_mut(uid.clone(), Arc::new(commitment));
        self.entries.insert(
            uid,
            Entry {
                kind,
                made,
                until,
                seen: false,
                pod: Arc::clone(pod),
            },
        );
    }

    fn strike(&mut self, uid: &PodUid) {
        self.commitments.pods.remove_mut(uid);
        self.entries.remove(uid);
    }

    fn write_gang(&mut self, gang: GangRef, hold: GangHold, until: Instant) {
        self.doubted.remove(&gang);
        self.commitments.gangs.insert_mut(gang.clone(), Arc::new(hold));
        self.gangs.insert(gang, until);
    }

    pub(super) fn strike_gang(&mut self, gang: &GangRef) {
        self.doubted.remove(gang);
        self.commitments.gangs.remove_mut(gang);
        self.gangs.remove(gang);
    }

    /// Places that pods of the gang have taken are theirs now, whoever bound them.
    fn settle_gangs(&mut self, snapshot: &ClusterSnapshot) {
        let settled: Vec<(GangRef, GangHold)> = self
            .commitments
            .gangs
            .iter()
            .filter_map(|(gang, hold)| Some((gang.clone(), hold.settled(snapshot.gangs.get(gang)?)?)))
            .collect();
        for (gang, hold) in settled {
            if hold.places.is_empty() {
                self.strike_gang(&gang);
            } else {
                self.commitments.gangs.insert_mut(gang, Arc::new(hold));
            }
        }
    }

    /// No promise ends by its time before `until`.
    fn outlast(&mut self, until: Instant) {
        let entries = self.entries.values_mut().map(|entry| &mut entry.until);
        let filtered = self.filtered.values_mut().map(|(_, until)| until);
        for end in entries.chain(filtered).chain(self.gangs.values_mut()) {
            *end = until.max(*end);
        }
    }

    fn sweep(&mut self, snapshot: &ClusterSnapshot, now: Instant) {
        let mut over = Vec::new();
        for (uid, entry) in &mut self.entries {
            let pending = snapshot.pending.contains_key(uid);
            let gone = (entry.seen && !pending) || snapshot.gone.contains_key(uid);
            entry.seen |= pending;
            if gone || snapshot.bound.contains_key(uid) {
                over.push(uid.clone());
            } else if entry.until <= now {
                *match entry.kind {
                    Kind::Hold => &mut self.expired.holds,
                    Kind::Reservation => &mut self.expired.reservations,
                } += 1;
                over.push(uid.clone());
            }
        }
        for uid in over {
            self.strike(&uid);
        }
        // Pods that went before any snapshot taken here showed them, and with them perhaps their gang.
        let mut left = BTreeSet::new();
        self.filtered.retain(|uid, (pod, until)| {
            let gone = snapshot.gone.contains_key(uid);
            if gone {
                left.extend(pod.gang_ref());
            }
            !gone && *until > now && !snapshot.bound.contains_key(uid)
        });
        self.settle_gangs(snapshot);
        // A gang without pods is gone; one that is only being created has shown at least the pod that was held for.
        let known = |gang: &GangRef| snapshot.gangs.contains_key(gang);
        let mut over: Vec<GangRef> = Vec::new();
        for (gang, until) in &self.gangs {
            if (self.seen_gangs.contains(gang) || left.contains(gang)) && !known(gang) {
                over.push(gang.clone());
            } else if *until <= now {
                self.expired.gangs += 1;
                over.push(gang.clone());
            }
        }
        for gang in over {
            self.strike_gang(&gang);
        }
        self.seen_gangs = self.gangs.keys().filter(|gang| known(gang)).cloned().collect();
        self.tried
            .retain(|gang, (tried, _)| known(gang) && now.duration_since(*tried) < TRY_AGAIN);
        let waits = |gang: &GangRef| {
            let members = snapshot.gangs.get(gang);
            members.is_some_and(|members| !members.pending.is_empty())
        };
        self.short.retain(|gang, _| waits(gang));
    }
}

/// Those of the tests.
#[cfg(test)]
pub(super) const LIFETIMES: Lifetimes = Lifetimes {
    hold: Duration::from_secs(30),
    gang: Duration::from_mins(1),
    reservation: Duration::from_mins(2),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::commitment::Place;
    use crate::decide::names::NodeName;
    use crate::decide::pod::Phase;
    use crate::decide::testing;

    fn ledger() -> (Ledger, Arc<ArcSwap<ClusterSnapshot>>) {
        let published: Arc<ArcSwap<ClusterSnapshot>> = Arc::default();
        (Ledger::new(Arc::clone(&published), LIFETIMES), published)
    }

    fn one_address() -> Commitment {
        Commitment {
            pools: vec![vec!["p".into()]],
            ..Commitment::default()
        }
    }

    fn count(ledger: &Ledger, now: Instant) -> usize {
        ledger.decide(now, |_, book| book.commitments().pods.size())
    }

    #[test]
    fn a_hold_ends_with_its_time_and_is_replaced_by_the_next() {
        let (ledger, _) = ledger();
        let (now, pod) = (Instant::now(), Arc::new(testing::pod("a")));
        ledger.decide(now, |_, book| ledger.hold(book, &pod, Some(one_address()), now));
        ledger.decide(now, |_, book| ledger.hold(book, &pod, Some(one_address()), now));
        assert_eq!(count(&ledger, now), 1);
        assert_eq!(count(&ledger, now + LIFETIMES.hold), 0);
        let expired = ledger.decide(now, |_, book| book.expired());
        assert_eq!((expired.holds, expired.reservations, expired.gangs), (1, 0, 0));
        ledger.decide(now, |_, book| ledger.hold(book, &pod, Some(one_address()), now));
        ledger.decide(now, |_, book| ledger.hold(book, &pod, None, now));
        assert_eq!(count(&ledger, now), 0, "a pod that fits nowhere holds nothing");
    }

    #[test]
    fn a_reservation_ends_when_the_pod_is_seen_bound_and_not_when_it_is_filtered_again() {
        let (ledger, published) = ledger();
        let (now, mut pod) = (Instant::now(), testing::pod("a"));
        let pending = Arc::new(pod.clone());
        ledger.decide(now, |_, book| {
            ledger.reserve(book, &pending, one_address(), now);
        });
        ledger.decide(now, |_, book| ledger.hold(book, &pending, None, now));
        assert_eq!(count(&ledger, now + LIFETIMES.hold), 1);
        pod.phase = Phase::Bound(NodeName::from("n"));
        let mut snapshot = ClusterSnapshot::default();
        snapshot.bound.insert_mut(pod.at.uid.clone(), Arc::new(pod));
        published.store(Arc::new(snapshot));
        assert_eq!(count(&ledger, now), 0);
    }

    #[test]
    fn a_gang_keeps_its_places_when_its_next_pod_is_told_of_fewer_until_their_time_is_up() {
        let (ledger, _) = ledger();
        let now = Instant::now();
        let gang = GangRef {
            namespace: "default".into(),
            name: "g".into(),
        };
        let hold = |pods| GangHold {
            places: vec![Place {
                node: "n".into(),
                pods,
                pools: Arc::from([]),
            }],
            ..GangHold::default()
        };
        let told = |pods, now| {
            ledger.decide(now, |_, book| {
                ledger.renew_gang(book, gang.clone(), hold(pods), now);
                book.commitments().gangs.get(&gang).unwrap().places[0].pods
            })
        };
        assert_eq!(told(4, now), 4);
        assert_eq!(told(2, now), 4, "a pool is away for a moment");
        assert_eq!(told(5, now), 5);
        assert_eq!(told(2, now + LIFETIMES.gang), 2, "and not for ever");
    }

    #[test]
    fn a_pod_of_a_gang_is_known_from_its_filter_until_it_is_bound() {
        let (ledger, _) = ledger();
        let (now, pod) = (Instant::now(), Arc::new(testing::pod("a")));
        ledger.decide(now, |_, book| ledger.remember(book, &pod, now));
        let known = |now| ledger.decide(now, |_, book| book.pod(&pod.at.uid).is_some());
        assert!(known(now));
        assert!(!known(now + LIFETIMES.hold));
    }

    #[test]
    fn an_incomplete_gang_gives_up_its_places_when_their_time_is_over() {
        let (ledger, _) = ledger();
        let now = Instant::now();
        let gang = GangRef {
            namespace: "default".into(),
            name: "g".into(),
        };
        let gangs = |at| ledger.decide(at, |_, book| book.commitments().gangs.size());
        let hold = |at| {
            ledger.decide(at, |_, book| {
                ledger.hold_gang(book, gang.clone(), Some(GangHold::default()), at);
            });
        };
        hold(now);
        let later = now + LIFETIMES.gang / 2;
        assert_eq!(gangs(later), 1);
        hold(later);
        assert_eq!(
            gangs(now + LIFETIMES.gang),
            1,
            "another of its pods has come meanwhile"
        );
        assert_eq!(gangs(later + LIFETIMES.gang), 0);
    }

    #[test]
    fn a_gang_that_came_and_went_between_two_looks_gives_its_places_up() {
        let (ledger, published) = ledger();
        let now = Instant::now();
        let required = Locality::Required(crate::decide::policy::Tier::LeafGroup);
        let pod = Arc::new(testing::Cluster::with_rails(1).gang("g", 4, &required).remove(0));
        let gang = pod.gang_ref().unwrap();
        ledger.decide(now, |_, book| {
            ledger.hold_gang(book, gang.clone(), Some(GangHold::default()), now);
            ledger.remember(book, &pod, now);
        });
        let gangs = || ledger.decide(now, |_, book| book.commitments().gangs.size());
        assert_eq!(gangs(), 1, "not seen yet is not gone");
        let mut snapshot = ClusterSnapshot::default();
        snapshot.gone.insert_mut(pod.at.uid.clone(), ());
        published.store(Arc::new(snapshot));
        assert_eq!(gangs(), 0);
    }

    #[test]
    fn the_place_of_a_pod_whose_binding_was_refused_stays_its_gangs() {
        let (ledger, _) = ledger();
        let now = Instant::now();
        let required = Locality::Required(crate::decide::policy::Tier::LeafGroup);
        let cluster = testing::Cluster::with_rails(1);
        let pod = Arc::new(cluster.gang("g", 1, &required).remove(0));
        let gang = GangRef {
            namespace: "default".into(),
            name: "g".into(),
        };
        let promise = Commitment {
            node: Some("n".into()),
            takes: pod.takes.clone(),
            pools: vec![vec!["p".into()]],
        };
        ledger.decide(now, |_, book| ledger.reserve(book, &pod, promise.clone(), now));
        ledger.release(&pod.at.uid, &Locality::None, now);
        let of_gang = |now| ledger.decide(now, |_, book| book.commitments().gangs.get(&gang).cloned());
        let hold = of_gang(now).expect("its gang holds what it gave back");
        assert_eq!(count(&ledger, now), 0);
        assert_eq!(
            (hold.soft, &hold.takes, hold.places.as_slice()),
            (
                false,
                &pod.takes,
                [Place {
                    node: "n".into(),
                    pods: 1,
                    pools: promise.pools.into()
                }]
                .as_slice()
            )
        );
        assert!(of_gang(now + LIFETIMES.gang).is_none(), "and not for ever");
        let alone = Arc::new(testing::pod("a"));
        ledger.decide(now, |_, book| ledger.reserve(book, &alone, one_address(), now));
        ledger.release(&alone.at.uid, &required, now);
        assert_eq!(ledger.decide(now, |_, book| book.commitments().gangs.size()), 0);
    }

    #[test]
    fn no_promise_lapses_while_nobody_can_see_whether_it_was_kept() {
        let (ledger, _) = ledger();
        let sight = Arc::new(Sight::default());
        let ledger = ledger.with_sight(Arc::clone(&sight));
        let (now, pod) = (Instant::now(), Arc::new(testing::pod("a")));
        ledger.decide(now, |_, book| ledger.reserve(book, &pod, one_address(), now));
        let over = now + LIFETIMES.reservation;
        sight.lost(over);
        assert_eq!(count(&ledger, over), 1);
        sight.regained();
        assert_eq!(count(&ledger, over), 1, "what was missed has not shown yet");
        assert_eq!(count(&ledger, over + CATCHING_UP), 0);
    }

    #[test]
    fn a_promise_to_a_pod_that_is_gone_ends() {
        let (ledger, published) = ledger();
        let (now, pod) = (Instant::now(), Arc::new(testing::pod("a")));
        ledger.decide(now, |_, book| ledger.hold(book, &pod, Some(one_address()), now));
        assert_eq!(
            count(&ledger, now),
            1,
            "the watch may lag behind the scheduler: not seen yet is not gone"
        );
        let mut snapshot = ClusterSnapshot::default();
        snapshot.pending.insert_mut(pod.at.uid.clone(), Arc::clone(&pod));
        published.store(Arc::new(snapshot));
        assert_eq!(count(&ledger, now), 1);
        published.store(Arc::default());
        assert_eq!(count(&ledger, now), 0);
    }

    #[test]
    fn a_pod_that_was_bound_and_gone_between_two_looks_leaves_no_promise() {
        let (ledger, published) = ledger();
        let (now, pod) = (Instant::now(), Arc::new(testing::pod("a")));
        ledger.decide(now, |_, book| ledger.reserve(book, &pod, one_address(), now));
        let mut snapshot = ClusterSnapshot::default();
        snapshot.gone.insert_mut(pod.at.uid.clone(), ());
        published.store(Arc::new(snapshot));
        assert_eq!(count(&ledger, now), 0);
    }
}
