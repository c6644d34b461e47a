//! Pools: what each has left, by its own object, by what is reserved, and by the pools cut from a subnet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{DEPARTED_AGES, GONE_AGES, State};
use crate::cluster::index::Key;
use crate::decide::address::{AddressRange, AddressSet, Family};
use crate::decide::cluster::Map;
use crate::decide::names::{PodUid, PoolName};
use crate::decide::placement;
use crate::decide::pod::Phase;
use crate::decide::pool::{Pool, PoolFacts};
use crate::decide::settings::Settings;

impl State {
    pub(super) fn refresh_pools(&mut self, settings: &Settings) {
        for name in self.pools.keys().cloned().collect::<Vec<_>>() {
            self.refresh_pool(&name, settings);
        }
    }

    pub(super) fn refresh_pool(&mut self, name: &PoolName, settings: &Settings) {
        let pool = self
            .pools
            .get(name)
            .map(|parts| Arc::new(parts.without(&reserved_sets(&self.reserved))));
        let before = self.snapshot.pools.get(name).cloned();
        if before == pool {
            return;
        }
        match &pool {
            Some(pool) => self.snapshot.pools.insert_mut(name.clone(), Arc::clone(pool)),
            None => drop(self.snapshot.pools.remove_mut(name)),
        }
        self.note_nodes(before.as_ref(), pool.as_ref());
        self.note_holders(before.as_ref(), pool.as_ref());
        let facts =
            |pool: &Option<Arc<Pool>>| pool.as_ref().and_then(|pool| pool.reading.as_ref().ok()).cloned();
        match (facts(&before), facts(&pool)) {
            (Some(before), Some(after)) if same_but_for_counts(&before, &after) => {
                // Only addresses came or went: the pods that hold them are the ones it concerns.
                let holds = |uid: &PodUid| (before.holders.get(uid), after.holders.get(uid));
                let concerned: BTreeSet<PodUid> = before
                    .holders
                    .keys()
                    .chain(after.holders.keys())
                    .filter(|uid| {
                        let (before, after) = holds(uid);
                        before != after
                    })
                    .cloned()
                    .collect();
                for uid in concerned {
                    self.recheck(&uid, settings);
                }
            }
            _ => self.recheck_all(settings),
        }
        let subnets: BTreeSet<String> = [&before, &pool]
            .into_iter()
            .filter_map(|pool| facts(pool)?.subnet)
            .collect();
        for subnet in subnets {
            self.refresh_subnet(&subnet, settings);
        }
    }

    /// The pool that stands for a subnet: what it has left, and what the pools cut from it have left.
    pub(super) fn refresh_subnet(&mut self, name: &str, settings: &Settings) {
        let at = PoolName::of_subnet(name);
        let subnet = self.subnets.get(&(String::new(), name.to_owned())).cloned();
        let before = self.snapshot.pools.get(&at).cloned();
        let after = subnet.map(|subnet| Arc::new(with_cut(subnet, name, &self.snapshot.pools)));
        if before == after {
            return;
        }
        self.note_nodes(before.as_ref(), after.as_ref());
        match after {
            Some(pool) => self.snapshot.pools.insert_mut(at, pool),
            None => drop(self.snapshot.pools.remove_mut(&at)),
        }
        self.recheck_all(settings);
    }

    /// Which nodes a pool is for decides where each pod's addresses come from.
    fn note_nodes(&mut self, before: Option<&Arc<Pool>>, after: Option<&Arc<Pool>>) {
        let nodes = |pool: Option<&Arc<Pool>>| Some(pool?.reading.as_ref().ok()?.nodes.clone());
        if nodes(before) != nodes(after) {
            self.snapshot.changes.of_all();
        }
    }

    /// Who has an address of some pool.
    fn note_holders<'p>(&mut self, before: Option<&'p Arc<Pool>>, after: Option<&'p Arc<Pool>>) {
        let nobody = BTreeMap::new();
        let facts = |pool: Option<&'p Arc<Pool>>| pool.and_then(|pool| pool.reading.as_ref().ok());
        let before = facts(before).map_or(&nobody, |facts| &facts.holders);
        let after = facts(after).map_or(&nobody, |facts| &facts.holders);
        for uid in before.keys().filter(|uid| !after.contains_key(*uid)) {
            match self.snapshot.holding.get(uid).copied().unwrap_or(0) {
                0 | 1 => drop(self.snapshot.holding.remove_mut(uid)),
                pools => self.snapshot.holding.insert_mut(uid.clone(), pools - 1),
            }
        }
        for uid in after.keys().filter(|uid| !before.contains_key(*uid)) {
            let pools = self.snapshot.holding.get(uid).copied().unwrap_or(0);
            self.snapshot.holding.insert_mut(uid.clone(), pools + 1);
        }
    }

    /// Departed pods are a second older; whether any is forgotten now.
    pub(in crate::cluster::index) fn age(&mut self) -> bool {
        self.ages += 1;
        while let Some((_, uid)) = self.gone.pop_front_if(|(at, _)| *at + GONE_AGES <= self.ages) {
            self.snapshot.gone.remove_mut(&uid);
        }
        let mut forgotten = Vec::new();
        self.departed.retain(|uid, age| {
            *age = age.saturating_add(1);
            let keep = *age < DEPARTED_AGES;
            if !keep {
                forgotten.push(uid.clone());
            }
            keep
        });
        for uid in &forgotten {
            self.snapshot.unallocated.remove_mut(uid);
            self.snapshot.unfetched.remove_mut(uid);
        }
        !forgotten.is_empty()
    }

    pub(super) fn recheck_all(&mut self, settings: &Settings) {
        self.snapshot.changes.of_every_claim();
        for uid in self.snapshot.bound.keys().cloned().collect::<Vec<_>>() {
            self.recheck(&uid, settings);
        }
    }

    /// Whether Spiderpool's records show all addresses of a bound pod.
    pub(super) fn recheck(&mut self, uid: &PodUid, settings: &Settings) {
        let Some(pod) = self.snapshot.bound.get(uid).cloned() else {
            return;
        };
        let Phase::Bound(node) = &pod.phase else { return };
        let claim = self.claims.of(&pod, &self.snapshot, settings);
        let unfetched = placement::unfetched_of(claim, node, &self.snapshot);
        if unfetched.is_empty() {
            self.snapshot.unallocated.remove_mut(uid);
            self.snapshot.unfetched.remove_mut(uid);
        } else {
            self.snapshot.unfetched.insert_mut(uid.clone(), unfetched.into());
            self.snapshot.unallocated.insert_mut(uid.clone(), pod);
        }
    }
}

/// The addresses that are not handed out, of each family.
pub(super) fn reserved_sets(
    reserved: &BTreeMap<Key, BTreeMap<Family, Vec<AddressRange>>>,
) -> BTreeMap<Family, AddressSet> {
    [Family::V4, Family::V6]
        .into_iter()
        .map(|family| {
            let ranges = reserved
                .values()
                .filter_map(|by_family| by_family.get(&family))
                .flatten();
            (family, AddressSet::of(ranges))
        })
        .collect()
}

/// The pool that stands for the subnet of this name, with what the pools cut from it have left and give.
pub(super) fn with_cut(mut subnet: Pool, name: &str, pools: &Map<PoolName, Arc<Pool>>) -> Pool {
    if let Ok(facts) = &mut subnet.reading {
        let cut = pools.values().filter_map(|pool| pool.reading.as_ref().ok());
        for pool in cut.filter(|pool| pool.subnet.as_deref() == Some(name)) {
            facts.free = facts.free.saturating_add(pool.free);
            for (uid, held) in &pool.holders {
                let sum = facts.holders.entry(uid.clone()).or_insert(0);
                *sum = sum.saturating_add(*held);
            }
        }
    }
    subnet
}

/// Whether nothing changed but how many addresses are left, and who holds the others.
fn same_but_for_counts(before: &PoolFacts, after: &PoolFacts) -> bool {
    let PoolFacts {
        family,
        disabled,
        terminating,
        default,
        nodes,
        namespaces,
        pods,
        networks,
        free: _,
        size: _,
        holders: _,
        subnet,
    } = before;
    (*family, *disabled, *terminating, *default)
        == (after.family, after.disabled, after.terminating, after.default)
        && (nodes, namespaces) == (&after.nodes, &after.namespaces)
        && (pods, networks, subnet) == (&after.pods, &after.networks, &after.subnet)
}
