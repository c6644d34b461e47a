//! What the pools can still promise, when every pod that has been promised an address may fetch it from
//! whichever of its pools Spiderpool happens to try first.

use std::collections::BTreeMap;

use super::cluster::ClusterSnapshot;
use super::names::PoolName;

/// The pools one promised address can come from, in order of name.
pub type PoolSet = Vec<PoolName>;

/// Addresses promised and not yet fetched: for each distinct set of pools, how many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    sets: BTreeMap<PoolSet, u64>,
    touching: BTreeMap<PoolName, Vec<PoolSet>>,
}

/// A set of pools that cannot keep one more promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Which of the wanted sets.
    pub wanted: usize,
    /// Addresses free in it by the IPAM's records.
    pub free: u64,
    /// How many of those others may take.
    pub promised: u64,
}

impl Promised {
    /// Adds so many addresses out of `set`.
    pub fn add_times(&mut self, set: &PoolSet, times: u64) {
        if times == 0 {
            return;
        }
        if let Some(count) = self.sets.get_mut(set) {
            *count = count.saturating_add(times);
            return;
        }
        self.sets.insert(set.clone(), times);
        for pool in set {
            self.touching.entry(pool.clone()).or_default().push(set.clone());
        }
    }

    /// Adds so many addresses out of each of `sets`.
    pub fn add_all<'p>(&mut self, sets: impl IntoIterator<Item = &'p PoolSet>, times: u32) {
        for set in sets {
            self.add_times(set, u64::from(times));
        }
    }

    /// How many of the promised addresses may come from `pool`.
    #[must_use]
    pub fn on(&self, pool: &PoolName) -> u64 {
        let sets = self.touching.get(pool).into_iter().flatten();
        sets.filter_map(|set| self.sets.get(set))
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How often one address out of each of `wanted` can be promised, too; `most` at the most.
    #[must_use]
    pub fn times(&self, wanted: &[PoolSet], most: u32, snapshot: &ClusterSnapshot) -> u32 {
        if self.are_apart(wanted) {
            let times = |set: &PoolSet| {
                let (free, promised, own) = self.of_one(set, wanted, snapshot);
                u32::try_from(free.saturating_sub(promised) / own).unwrap_or(u32::MAX)
            };
            let sets = wanted.iter().filter(|set| !set.is_empty());
            return sets.map(times).fold(most, u32::min);
        }
        // What can be promised twice can be promised once: the answer lies where the yes ends.
        let (mut yes, mut no) = (0, most.saturating_add(1));
        while no - yes > 1 {
            let middle = yes + (no - yes) / 2;
            if self.with_times(wanted, middle, snapshot).is_ok() {
                yes = middle;
            } else {
                no = middle;
            }
        }
        yes
    }

    /// Whether one address out of each of `wanted` can be promised, too, whatever order Spiderpool tries pools in:
    /// every promise, old or new, that shares a pool with the wanted ones must still be kept when all others take
    /// as much of its pools as they can.
    ///
    /// This never says yes wrongly. It says no wrongly only where sets overlap in part and the worst order is not
    /// the one that happens.
    ///
    /// # Errors
    /// The first of the wanted sets that cannot be promised.
    pub fn with(&self, wanted: &[PoolSet], snapshot: &ClusterSnapshot) -> Result<(), Exhausted> {
        self.with_times(wanted, 1, snapshot)
    }

    fn with_times(
        &self,
        wanted: &[PoolSet],
        times: u32,
        snapshot: &ClusterSnapshot,
    ) -> Result<(), Exhausted> {
        if self.are_apart(wanted) {
            for (wanted, set, (free, promised, own)) in wanted
                .iter()
                .enumerate()
                .map(|(index, set)| (index, set, self.of_one(set, wanted, snapshot)))
            {
                if promised.saturating_add(own.saturating_mul(u64::from(times))) > free && !set.is_empty() {
                    return Err(Exhausted {
                        wanted,
                        free,
                        promised,
                    });
                }
            }
            return Ok(());
        }
        let mut all = self.clone();
        all.add_all(wanted, times);
        for (index, set) in wanted.iter().enumerate() {
            for affected in all.overlapping(set) {
                let free = free_in(affected.iter(), snapshot);
                let promised = all.worst_case(affected, snapshot);
                if promised > free {
                    let own = wanted.iter().filter(|wanted| *wanted == affected).count().max(1);
                    let own = u64::try_from(own)
                        .unwrap_or(u64::MAX)
                        .saturating_mul(u64::from(times));
                    return Err(Exhausted {
                        wanted: index,
                        free,
                        promised: promised.saturating_sub(own),
                    });
                }
            }
        }
        Ok(())
    }

    /// Whether none of `wanted` shares a pool with another set: then each is a matter of its own.
    fn are_apart(&self, wanted: &[PoolSet]) -> bool {
        let shares = |a: &PoolSet, b: &PoolSet| a != b && a.iter().any(|pool| b.contains(pool));
        wanted.iter().enumerate().all(|(index, set)| {
            let earlier = wanted.iter().take(index);
            let promised = set.iter().filter_map(|pool| self.touching.get(pool)).flatten();
            !earlier.into_iter().any(|other| shares(set, other))
                && !promised.into_iter().any(|other| other != set)
        })
    }

    /// Of a set that is apart: addresses free, promised to others, and how many of `wanted` it is.
    fn of_one(&self, set: &PoolSet, wanted: &[PoolSet], snapshot: &ClusterSnapshot) -> (u64, u64, u64) {
        let own = wanted.iter().filter(|other| *other == set).count().max(1);
        (
            free_in(set.iter(), snapshot),
            self.sets.get(set).copied().unwrap_or(0),
            u64::try_from(own).unwrap_or(u64::MAX),
        )
    }

    /// The distinct sets that share a pool with `set`, itself included.
    fn overlapping<'a>(&'a self, set: &PoolSet) -> std::collections::BTreeSet<&'a PoolSet> {
        set.iter()
            .filter_map(|pool| self.touching.get(pool))
            .flatten()
            .collect()
    }

    /// How many addresses of `set` are taken when all promises on it are kept and the others take as many of its
    /// pools as they can.
    fn worst_case(&self, set: &PoolSet, snapshot: &ClusterSnapshot) -> u64 {
        self.overlapping(set)
            .into_iter()
            .map(|other| {
                let count = self.sets.get(other).copied().unwrap_or(0);
                if other == set {
                    count
                } else {
                    count.min(free_in(other.iter().filter(|pool| set.contains(pool)), snapshot))
                }
            })
            .sum()
    }
}

fn free_in<'a>(pools: impl Iterator<Item = &'a PoolName>, snapshot: &ClusterSnapshot) -> u64 {
    pools
        .filter_map(|pool| snapshot.pools.get(pool)?.reading.as_ref().ok())
        .fold(0_u64, |sum, facts| sum.saturating_add(facts.free))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::pool;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn snapshot(frees: &[(&str, u64)]) -> ClusterSnapshot {
        let mut snapshot = ClusterSnapshot::default();
        for (name, free) in frees {
            snapshot
                .pools
                .insert_mut((*name).into(), Arc::new(pool(name, *free)));
        }
        snapshot
    }

    fn set(names: &[&str]) -> PoolSet {
        names.iter().map(|name| PoolName::from(*name)).collect()
    }

    #[test]
    fn one_pool_promises_exactly_its_free_addresses() {
        let snapshot = snapshot(&[("a", 2)]);
        let mut promised = Promised::default();
        assert_eq!(promised.with(&[set(&["a"])], &snapshot), Ok(()));
        promised.add_times(&set(&["a"]), 1);
        assert_eq!(promised.with(&[set(&["a"])], &snapshot), Ok(()));
        promised.add_times(&set(&["a"]), 1);
        let refused = promised.with(&[set(&["a"])], &snapshot).unwrap_err();
        assert_eq!(
            refused,
            Exhausted {
                wanted: 0,
                free: 2,
                promised: 2
            }
        );
    }

    #[test]
    fn a_promise_on_two_pools_may_take_the_last_of_either() {
        let snapshot = snapshot(&[("a", 1), ("b", 5)]);
        let mut promised = Promised::default();
        promised.add_times(&set(&["a", "b"]), 1);
        assert!(
            promised.with(&[set(&["a"])], &snapshot).is_err(),
            "it may take a's only address first"
        );
        assert_eq!(promised.with(&[set(&["b"])], &snapshot), Ok(()));
    }

    #[test]
    fn counts_how_often_a_pod_fits() {
        let snapshot = snapshot(&[("a", 7), ("b", 5)]);
        let mut promised = Promised::default();
        promised.add_times(&set(&["b"]), 1);
        let pod = [set(&["a"]), set(&["b"])];
        assert_eq!(promised.times(&pod, 10, &snapshot), 4);
        assert_eq!(promised.times(&pod, 3, &snapshot), 3);
        assert_eq!(promised.times(&[], 10, &snapshot), 10);
    }

    proptest! {
        /// Brute force: play every order in which the promises can be fetched, each from any pool with a free
        /// address; what was promised must never fail.
        #[test]
        fn whatever_is_promised_is_kept_in_every_order(
            frees in prop::collection::vec(0_u64..3, 3),
            wants in prop::collection::vec(1_u8..8, 1..5),
        ) {
            let names = ["a", "b", "c"];
            let pairs: Vec<_> = names.iter().copied().zip(frees.iter().copied()).collect();
            let snapshot = snapshot(&pairs);
            let mut promised = Promised::default();
            let mut kept: Vec<u8> = Vec::new();
            for want in wants {
                let wanted: PoolSet = names.iter().enumerate()
                    .filter(|(index, _)| want >> index & 1 == 1)
                    .map(|(_, name)| PoolName::from(*name))
                    .collect();
                let yes = promised.with(std::slice::from_ref(&wanted), &snapshot).is_ok();
                let mut all = kept.clone();
                all.push(want);
                if yes {
                    prop_assert!(never_fails(&all, &frees), "{all:?} on {frees:?} was promised and can fail");
                    promised.add_times(&wanted, 1);
                    kept = all;
                } else if all.iter().all(|other| other & want == 0 || *other == want) {
                    // Without partly overlapping sets the rule is exact.
                    prop_assert!(!never_fails(&all, &frees), "{all:?} on {frees:?} was refused and cannot fail");
                }
            }
        }
    }

    fn never_fails(wants: &[u8], frees: &[u64]) -> bool {
        wants.iter().enumerate().all(|(index, want)| {
            let mut rest = wants.to_vec();
            rest.remove(index);
            let choices: Vec<usize> = (0..frees.len())
                .filter(|pool| want >> pool & 1 == 1 && frees[*pool] > 0)
                .collect();
            !choices.is_empty()
                && choices.into_iter().all(|pool| {
                    let mut left = frees.to_vec();
                    left[pool] -= 1;
                    never_fails(&rest, &left)
                })
        })
    }
}
