//! Gangs that have begun: some of their pods are bound, and others wait. One that must run in one domain and never gets
//! whole is worth nothing and keeps others out. So where all that it still needs has room there, the room is held for as
//! long as its pods wait, also after a restart, and after places were given up because its pods came late. What is
//! held for gangs that have not begun gives way: another extender may have led in between, which did not know of it. So after
//! a pause even what is held for gangs that have begun is worked out anew, unless their places are as they were left.
//! Where only a part has room it is held for as long as gangs' places are, because a node or a pool may be away for a
//! moment only, and then no longer: another gang may be whole with it.

use std::collections::BTreeSet;
use std::time::Instant;

use super::ledger::{Book, Ledger};
use super::supply::Supply;
use crate::decide::amounts::Amounts;
use crate::decide::cluster::{ClusterSnapshot, Members};
use crate::decide::commitment::{Commitments, Place, Reserved};
use crate::decide::decision::decide_by;
use crate::decide::names::{GangRef, NodeName, PodUid};
use crate::decide::pod::Pod;
use crate::decide::policy::{Locality, Tier};
use crate::decide::settings::Settings;
use crate::decide::survey::{Candidates, Surveys};
use crate::decide::tier::{Domain, Tiers};

/// Holds the rest of every gang that has begun, needs to be in one domain, and holds less than its waiting pods need.
pub(super) fn hold_the_rest(
    ledger: &Ledger,
    book: &mut Book,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
    now: Instant,
) {
    book.asked(now);
    trust_what_is_as_it_was(book, snapshot, settings);
    // A pass over all nodes and pools, and only where a gang that needs to be in one domain is short.
    let mut supply = None;
    for at in &snapshot.begun {
        let Some(members) = snapshot.gangs.get(at) else {
            continue;
        };
        let waiting = waiting(members, book);
        if book.held_for(at) >= waiting && (waiting == 0 || !book.is_doubted(at)) {
            continue;
        }
        let Some((pod, tier)) = first_that_waits(members, book, snapshot, settings) else {
            continue;
        };
        let supply = *supply.get_or_insert_with(|| Supply::of(snapshot, book.commitments()));
        if book.is_to_be_held(at, supply, now) {
            let rest = Rest {
                pod,
                waiting,
                there: there(members, book, tier, snapshot, settings),
            };
            hold_one(ledger, book, &rest, snapshot, settings, now);
        }
    }
    if let Some(supply) = supply {
        book.has_held(supply, supply.beside(snapshot, book.commitments()));
    }
}

/// What a gang that has begun still needs.
struct Rest<'a> {
    /// One of the pods that wait.
    pod: &'a Pod,
    /// How many do.
    waiting: u32,
    /// The nodes they can go to.
    there: Candidates,
}

/// All nodes close enough to where pods of the gang are, or are to be.
fn there(
    members: &Members,
    book: &mut Book,
    tier: &Tier,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Candidates {
    let (surveys, commitments) = book.deciding();
    let pending = members.pending.iter();
    let promised = pending.filter_map(|uid| commitments.node_of(uid));
    let nodes: Vec<NodeName> = members.bound.values().chain(promised).cloned().collect();
    surveys.around(&nodes, tier, snapshot, settings)
}

/// A gang whose places nobody has taken, in the domain that its pods are in, goes on holding them: worked out anew while a
/// pool is short for a moment, they would be fewer, and the others lost.
fn trust_what_is_as_it_was(book: &mut Book, snapshot: &ClusterSnapshot, settings: &Settings) {
    if book.doubted().next().is_none() {
        return;
    }
    let tiers = Tiers::of(&settings.tiers, snapshot);
    let commitments = book.commitments();
    let firm = firm(commitments, snapshot);
    let is_as_it_was = |gang: &&GangRef| is_as_it_was(gang, commitments, &firm, &tiers, snapshot, settings);
    let trusted: Vec<GangRef> = book
        .doubted()
        .filter(|gang| is_as_it_was(gang) == Some(true))
        .cloned()
        .collect();
    for gang in &trusted {
        book.trust(gang);
    }
}

/// What pods that are not seen bound and gangs that can run nowhere else are promised.
fn firm<'a>(commitments: &'a Commitments, snapshot: &ClusterSnapshot) -> Reserved<'a> {
    let mut firm = Reserved::default();
    let pods = commitments.pods.iter();
    for (_, unseen) in pods.filter(|(uid, _)| snapshot.bound.get(*uid).is_none()) {
        firm.promise(unseen);
    }
    for hold in commitments.gangs.values().filter(|hold| !hold.soft) {
        firm.hold(hold);
    }
    firm
}

fn is_as_it_was(
    gang: &GangRef,
    commitments: &Commitments,
    firm: &Reserved<'_>,
    tiers: &Tiers,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Option<bool> {
    let hold = commitments.gangs.get(gang)?;
    let members = snapshot.gangs.get(gang)?;
    let pod = members.pending.iter().find_map(|uid| snapshot.pending.get(uid))?;
    let tier = required(pod, settings)?;
    let level = tiers.level(tier)?;
    let places = hold.places.iter();
    let nodes = places.map(|place| &place.node).chain(members.bound.values());
    let domain = |node| tiers.domain(level, &snapshot.nodes.get(node)?.labels);
    let domains: Option<BTreeSet<Domain>> = nodes.map(domain).collect();
    let mut own = Reserved::default();
    own.hold(hold);
    let is_free = |place: &Place| {
        let Some(node) = snapshot.nodes.get(&place.node) else {
            return false;
        };
        let mut others = firm.on(&place.node).cloned().unwrap_or_default();
        if let (false, Some(own)) = (hold.soft, own.on(&place.node)) {
            others.take(own);
        }
        let nothing = Amounts::default();
        let used = snapshot.used.get(&place.node).map_or(&nothing, AsRef::as_ref);
        Amounts::times(&node.offers, &[used, &others], &hold.takes, place.pods) >= place.pods
    };
    Some(domains?.len() == 1 && hold.places.iter().all(is_free))
}

/// How many pods of the gang wait without a promise of their own.
fn waiting(members: &Members, book: &Book) -> u32 {
    let pending = members.pending.iter();
    let waiting = pending.filter(|uid| book.commitments().node_of(uid).is_none());
    u32::try_from(waiting.count()).unwrap_or(u32::MAX)
}

/// The first of the gang's pods that wait without a promise, where they must be in one domain, and of which tier that is.
fn first_that_waits<'a>(
    members: &Members,
    book: &Book,
    snapshot: &'a ClusterSnapshot,
    settings: &'a Settings,
) -> Option<(&'a Pod, &'a Tier)> {
    let mut pods = members.pending.iter().filter_map(|uid| snapshot.pending.get(uid));
    let pod = pods.find(|pod| book.commitments().node_of(&pod.at.uid).is_none())?;
    Some((pod, required(pod, settings)?))
}

/// The tier in one domain of which the pod's gang must be, where it must.
fn required<'a>(pod: &'a Pod, settings: &'a Settings) -> Option<&'a Tier> {
    let locality = pod.gang.as_ref().ok()?.as_ref()?.locality.as_ref();
    match locality.unwrap_or(&settings.locality) {
        Locality::Required(tier) => Some(tier),
        _ => None,
    }
}

fn hold_one(
    ledger: &Ledger,
    book: &mut Book,
    rest: &Rest<'_>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
    now: Instant,
) {
    let room = |surveys: &mut Surveys, beside: &Commitments| {
        decide_by(surveys, rest.pod, &rest.there, snapshot, beside, settings).gang
    };
    let (surveys, commitments) = book.deciding();
    let all = room(surveys, commitments);
    if let Some((gang, hold)) = &all
        && hold.pods() >= rest.waiting
    {
        return ledger.hold_whole(book, gang.clone(), hold.clone(), now);
    }
    let (yielding, others) = without_right(book, snapshot);
    let (surveys, _) = book.deciding();
    if !yielding.is_empty()
        && let Some((gang, hold)) = room(surveys, &others)
        && hold.pods() >= rest.waiting
    {
        for gang in &yielding {
            book.strike_gang(gang);
        }
        return ledger.hold_whole(book, gang, hold, now);
    }
    if let Some((gang, hold)) = all {
        ledger.hold_part(book, gang, hold, now);
    }
}

/// The gangs that keep others out of places and of whose pods none is bound or about to be, or whose places are in doubt;
/// and the promises without them.
fn without_right(book: &Book, snapshot: &ClusterSnapshot) -> (Vec<GangRef>, Commitments) {
    let commitments = book.commitments();
    let has_begun = |gang: &GangRef| {
        snapshot.gangs.get(gang).is_some_and(|members| {
            let promised = |uid: &PodUid| commitments.node_of(uid).is_some();
            !members.bound.is_empty() || members.pending.iter().any(promised)
        })
    };
    let gangs = commitments.gangs.iter();
    let yielding: Vec<GangRef> = gangs
        .filter(|(gang, hold)| !hold.soft && (book.is_doubted(gang) || !has_begun(gang)))
        .map(|(gang, _)| gang.clone())
        .collect();
    let mut others = commitments.clone();
    for gang in &yielding {
        others.gangs.remove_mut(gang);
    }
    (yielding, others)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::decide::commitment::{Commitment, GangHold};
    use crate::decide::decision::decide;
    use crate::decide::testing::Cluster;
    use crate::extender::ledger::LIFETIMES;

    /// A gang of four, one of them bound, in the only leaf group: with its rest, three of four VFs are taken.
    fn begun(locality: &Locality) -> Cluster {
        let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("a2", 3, "a");
        let gang = cluster.gang("g", 4, locality);
        let cluster = cluster.bound_of_gang("g-0", "a1", "g");
        gang.into_iter().skip(1).fold(cluster, Cluster::pending)
    }

    /// For how many pods of gangs there are places, once the rest of those that have begun is held.
    fn held_at(ledger: &Ledger, now: Instant) -> u32 {
        ledger.decide(now, |snapshot, book| {
            hold_the_rest(ledger, book, snapshot, &Settings::default(), now);
            snapshot.gangs.keys().map(|gang| book.held_for(gang)).sum()
        })
    }

    /// How many pods of another gang of this size fit after a restart, and again so much later.
    fn others_fit(cluster: &Cluster, size: u32, later: Duration) -> [bool; 2] {
        let settings = Settings::default();
        let ledger = Ledger::new(Arc::new(Arc::new(cluster.snapshot()).into()), LIFETIMES);
        let other = cluster
            .gang("other", size, &Locality::Required(Tier::LeafGroup))
            .remove(0);
        let everywhere: Vec<NodeName> = vec!["a1".into(), "a2".into()];
        let began = Instant::now();
        [began, began + later].map(|now| {
            ledger.decide(now, |snapshot, book| {
                hold_the_rest(&ledger, book, snapshot, &settings, now);
                decide(&other, &everywhere, snapshot, book.commitments(), &settings).fits()
            })
        })
    }

    #[test]
    fn the_rest_of_a_gang_that_has_begun_is_held_after_a_restart_and_for_as_long_as_its_pods_wait() {
        let required = Locality::Required(Tier::LeafGroup);
        let late = LIFETIMES.gang + Duration::from_secs(1);
        assert_eq!(
            others_fit(&begun(&required), 1, late),
            [true, true],
            "one VF is left"
        );
        assert_eq!(others_fit(&begun(&required), 2, late), [false, false]);
    }

    #[test]
    fn an_address_that_comes_back_is_for_the_gang_that_has_begun_and_is_short_of_it() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required).pool("rail0", |facts| facts.free = 2);
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(cluster.snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(
            held_at(&ledger, at(0)),
            1,
            "one of three, as the pod that is bound has still to fetch its address"
        );
        let frees = |free| {
            let cluster = cluster.clone().pool("rail0", |facts| facts.free = free);
            published.store(Arc::new(cluster.snapshot()));
        };
        frees(3);
        assert_eq!(held_at(&ledger, at(100)), 2, "before anybody else asks");
        frees(4);
        assert_eq!(
            held_at(&ledger, at(100)),
            2,
            "not for each of many that come back in one moment"
        );
        assert_eq!(held_at(&ledger, at(101)), 3);
    }

    #[test]
    fn an_address_whose_promise_ended_is_for_the_gang_that_has_begun_and_is_short_of_it() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required).pool("rail0", |facts| facts.free = 4);
        let ledger = Ledger::new(Arc::new(Arc::new(cluster.snapshot()).into()), LIFETIMES);
        let (now, single) = (Instant::now(), Arc::new(cluster.pod("single")));
        let promise = Commitment {
            pools: vec![vec!["rail0".into()]],
            ..Commitment::default()
        };
        ledger.decide(now, |_, book| ledger.hold(book, &single, Some(promise), now));
        assert_eq!(held_at(&ledger, now), 2, "one of three is promised to another");
        let later = now + Duration::from_millis(2);
        ledger.decide(later, |_, book| ledger.hold(book, &single, None, later));
        assert_eq!(
            held_at(&ledger, later),
            3,
            "no node or pool has changed meanwhile"
        );
    }

    #[test]
    fn places_that_a_gang_has_lost_are_held_again_and_those_of_pods_with_a_promise_are_not_held_twice() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required);
        let ledger = Ledger::new(Arc::new(Arc::new(cluster.snapshot()).into()), LIFETIMES);
        let (now, settings) = (Instant::now(), Settings::default());
        let promised = Arc::new(cluster.gang("g", 4, &required).remove(1));
        let held = ledger.decide(now, |snapshot, book| {
            hold_the_rest(&ledger, book, snapshot, &settings, now);
            let (at, hold) = book.commitments().gangs.iter().next().unwrap();
            let (at, hold) = (at.clone(), GangHold::clone(hold));
            let all = book.held_for(&at);
            let fewer = GangHold {
                places: Vec::new(),
                ..hold
            };
            ledger.hold_gang(book, at.clone(), Some(fewer), now);
            let promise = Commitment {
                node: Some("a2".into()),
                takes: promised.takes.clone(),
                pools: Vec::new(),
            };
            ledger.reserve(book, &promised, promise, now);
            let lost = book.held_for(&at);
            hold_the_rest(&ledger, book, snapshot, &settings, now + Duration::from_secs(1));
            [all, lost, book.held_for(&at)]
        });
        assert_eq!(held, [3, 0, 2]);
    }

    #[test]
    fn a_gang_that_has_begun_and_cannot_get_whole_keeps_others_out_for_a_while() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required).bound("x", "a2").bound("y", "a2");
        assert_eq!(
            others_fit(&cluster, 2, LIFETIMES.gang),
            [false, true],
            "two VFs for three pods"
        );
    }

    #[test]
    fn the_rest_is_held_at_once_when_a_pool_is_opened_again() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required);
        let closed = cluster.clone().pool("rail0", |pool| pool.disabled = true);
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(closed.snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let now = Instant::now();
        let held = || held_at(&ledger, now);
        assert_eq!(held(), 0);
        published.store(Arc::new(cluster.snapshot()));
        assert_eq!(held(), 3);
    }

    #[test]
    fn places_that_a_gang_would_only_like_do_not_keep_the_rest_of_another_from_its_domain() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required).pool("rail0", |pool| pool.free = 4);
        let ledger = Ledger::new(Arc::new(Arc::new(cluster.snapshot()).into()), LIFETIMES);
        let (now, settings) = (Instant::now(), Settings::default());
        let other = cluster.gang("other", 4, &Locality::Preferred(Tier::LeafGroup));
        let everywhere: Vec<NodeName> = vec!["a1".into(), "a2".into()];
        let held = ledger.decide(now, |snapshot, book| {
            // Three of the four addresses and VFs that are left.
            let liked = decide(&other[0], &everywhere, snapshot, book.commitments(), &settings);
            let (at, hold) = liked.gang.unwrap();
            assert!(hold.soft && hold.pods() >= 3, "{hold:?}");
            ledger.hold_gang(book, at.clone(), Some(hold), now);
            hold_the_rest(&ledger, book, snapshot, &settings, now);
            book.held_for(&GangRef {
                name: "g".into(),
                ..at
            })
        });
        assert_eq!(held, 3);
    }

    #[test]
    fn places_of_a_gang_that_has_not_begun_give_way_to_the_rest_of_one_that_has() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required);
        let other = cluster.gang("other", 3, &required);
        let cluster = other.iter().cloned().fold(cluster, Cluster::pending);
        let ledger = Ledger::new(Arc::new(Arc::new(cluster.snapshot()).into()), LIFETIMES);
        let (now, settings) = (Instant::now(), Settings::default());
        let everywhere: Vec<NodeName> = vec!["a1".into(), "a2".into()];
        let held = ledger.decide(now, |snapshot, book| {
            // As an extender does that does not know yet what another one has bound meanwhile.
            let (at, hold) = decide(&other[0], &everywhere, snapshot, book.commitments(), &settings)
                .gang
                .unwrap();
            ledger.hold_gang(book, at.clone(), Some(hold), now);
            let before = book.held_for(&at);
            hold_the_rest(&ledger, book, snapshot, &settings, now);
            let begun = GangRef {
                name: "g".into(),
                ..at.clone()
            };
            [before, book.held_for(&at), book.held_for(&begun)]
        });
        assert_eq!(held, [3, 0, 3]);
    }

    #[test]
    fn after_a_pause_the_rest_of_a_gang_is_held_where_another_extender_left_room_for_it() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = Cluster::with_rails(1).node_in("a1", 4, "a").node_in("a2", 4, "a");
        let gang = cluster.gang("g", 4, &required);
        let cluster = cluster.bound_of_gang("g-0", "a1", "g");
        let cluster = gang.into_iter().skip(1).fold(cluster, Cluster::pending);
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(cluster.snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let (began, settings) = (Instant::now(), Settings::default());
        let held_on = |now| {
            ledger.decide(now, |snapshot, book| {
                hold_the_rest(&ledger, book, snapshot, &settings, now);
                let hold = book.commitments().gangs.values().next().unwrap();
                let places = hold.places.iter();
                let on: Vec<_> = places.map(|place| (place.node.to_string(), place.pods)).collect();
                on
            })
        };
        assert_eq!(held_on(began), [("a1".to_owned(), 3)]);
        // Its scheduler did not know of these places.
        let cluster = ["x", "y", "z"]
            .iter()
            .fold(cluster, |cluster, pod| cluster.bound(pod, "a1"));
        published.store(Arc::new(cluster.snapshot()));
        let asked_at_once = began + Duration::from_millis(100);
        assert_eq!(
            held_on(asked_at_once),
            [("a1".to_owned(), 3)],
            "nobody led in between"
        );
        assert_eq!(held_on(began + Duration::from_secs(2)), [("a2".to_owned(), 3)]);
    }

    #[test]
    fn after_a_pause_a_place_that_is_as_it_was_stays_with_its_gang() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = Cluster::with_rails(1).node_in("a1", 3, "a");
        let [first, second] = ["f", "e"].map(|gang| cluster.gang(gang, 2, &required).remove(1));
        let cluster = cluster.bound_of_gang("f-0", "a1", "f").pending(first);
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(cluster.snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let (began, settings) = (Instant::now(), Settings::default());
        let held = |now| {
            ledger.decide(now, |snapshot, book| {
                hold_the_rest(&ledger, book, snapshot, &settings, now);
                let holds = book.commitments().gangs.iter();
                let holds = holds.map(|(gang, hold)| (gang.name.to_string(), hold.pods()));
                holds.collect::<Vec<_>>()
            })
        };
        assert_eq!(held(began), [("f".to_owned(), 1)]);
        // There is one VF for two gangs that have begun, and the other comes first by its name.
        let cluster = cluster.bound_of_gang("e-0", "a1", "e").pending(second);
        published.store(Arc::new(cluster.snapshot()));
        assert_eq!(held(began + Duration::from_secs(2)), [("f".to_owned(), 1)]);
    }

    #[test]
    fn after_a_pause_what_another_gang_holds_in_vain_does_not_keep_the_rest_of_one_from_its_domain() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("a2", 4, "a");
        let cluster = cluster.node_in("b1", 4, "b");
        let gangs = ["f", "g"].map(|gang| cluster.gang(gang, 4, &required));
        let everywhere: Vec<NodeName> = vec!["a1".into(), "a2".into(), "b1".into()];
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(cluster.snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let (began, settings) = (Instant::now(), Settings::default());
        ledger.decide(began, |snapshot, book| {
            hold_the_rest(&ledger, book, snapshot, &settings, began);
            for gang in &gangs {
                let decision = decide(&gang[0], &everywhere, snapshot, book.commitments(), &settings);
                let (at, hold) = decision.gang.unwrap();
                ledger.hold_gang(book, at, Some(hold), began);
            }
        });
        // Here f has leaf group b, and g has a; another extender began them the other way round.
        let cluster = cluster
            .bound_of_gang("f-0", "a1", "f")
            .bound_of_gang("g-0", "b1", "g");
        let waiting = gangs.into_iter().flat_map(|gang| gang.into_iter().skip(1));
        published.store(Arc::new(waiting.fold(cluster, Cluster::pending).snapshot()));
        let now = began + Duration::from_secs(2);
        let mut held = ledger.decide(now, |snapshot, book| {
            hold_the_rest(&ledger, book, snapshot, &settings, now);
            let holds = book.commitments().gangs.iter();
            let domain = |node: &NodeName| node.as_str().chars().next().unwrap();
            let held = holds.map(|(gang, hold)| {
                let domains: BTreeSet<char> = hold.places.iter().map(|place| domain(&place.node)).collect();
                (
                    gang.name.to_string(),
                    hold.pods(),
                    domains.into_iter().collect::<String>(),
                )
            });
            held.collect::<Vec<_>>()
        });
        held.sort();
        assert_eq!(held, [("f".into(), 3, "a".into()), ("g".into(), 3, "b".into())]);
    }

    #[test]
    fn the_rest_is_held_at_once_when_a_node_comes_back_while_another_goes() {
        let required = Locality::Required(Tier::LeafGroup);
        let cluster = begun(&required).node_in("b1", 4, "b");
        let away = |node: &str| cluster.clone().with_node(node, |node| node.unschedulable = true);
        let published = Arc::new(arc_swap::ArcSwap::new(Arc::new(away("a2").snapshot())));
        let ledger = Ledger::new(Arc::clone(&published), LIFETIMES);
        let now = Instant::now();
        let held = || held_at(&ledger, now);
        assert_eq!(held(), 1);
        published.store(Arc::new(away("b1").snapshot()));
        assert_eq!(held(), 3);
    }

    #[test]
    fn a_gang_that_may_run_elsewhere_or_whose_pods_are_not_there_keeps_nobody_out() {
        let preferred = Locality::Preferred(Tier::LeafGroup);
        let late = Duration::from_secs(2);
        assert_eq!(others_fit(&begun(&preferred), 4, late), [true, true]);
        let alone = Cluster::with_rails(1).node_in("a1", 2, "a").node_in("a2", 3, "a");
        assert_eq!(
            others_fit(&alone.bound_of_gang("g-0", "a1", "g"), 4, late),
            [true, true]
        );
    }
}
