//! Pools by what names them: literally, by a wildcard, or as the cluster's default.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ChoiceFault, ClusterSnapshot, Family, InterfaceName, Pool, PoolChoice, PoolName, Refusal};
use crate::decide::wildcard::{self, Malformed, Pattern};

/// Every pool marked `spec.default`, per family.
pub(super) fn by_default(snapshot: &ClusterSnapshot) -> PoolChoice {
    let of = |family| {
        snapshot
            .pools
            .values()
            .filter(|pool| {
                pool.reading
                    .as_ref()
                    .is_ok_and(|facts| facts.default && facts.family == family)
            })
            .map(|pool| pool.name.as_str().to_owned())
            .collect()
    };
    PoolChoice {
        v4: of(Family::V4),
        v6: of(Family::V6),
    }
}

/// Whether a choice of pools names this one, for whichever family.
///
/// # Errors
/// A wildcard that is malformed.
pub(in crate::decide) fn names(
    choice: &PoolChoice,
    pool: &PoolName,
    interface: &InterfaceName,
    snapshot: &ClusterSnapshot,
) -> Result<bool, Refusal> {
    let reading = snapshot.pools.get(pool).map(|pool| &pool.reading);
    // Wildcards are looked up among the pools of their family.
    let is_of = |family| matches!(reading, Some(Ok(facts)) if facts.family == family);
    let v4 = choice.v4.iter().map(|name| (name, Family::V4));
    let v6 = choice.v6.iter().map(|name| (name, Family::V6));
    for (name, family) in v4.chain(v6) {
        let named = if wildcard::is_wildcard(name) {
            let fault = |Malformed| ChoiceFault::BadWildcard(name.clone());
            let pattern = Pattern::parse(name)
                .map_err(fault)
                .map_err(|fault| Refusal::PoolChoice(interface.clone(), fault))?;
            is_of(family) && pattern.matches(pool.as_str())
        } else {
            name == pool.as_str()
        };
        if named {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The pools behind names and wildcards, in order of name.
pub(super) enum Named<'a> {
    /// Those that one wildcard matches: there may be hundreds, so they are looked up only as far as someone asks.
    Matching(Pattern, Family),
    /// Each of them.
    Listed(Vec<&'a Arc<Pool>>),
}

impl<'a> Named<'a> {
    /// Finds them. A wildcard may match nothing; a name must exist; none may come twice.
    pub(super) fn resolve(
        names: &[String],
        family: Family,
        interface: &InterfaceName,
        snapshot: &'a ClusterSnapshot,
    ) -> Result<Self, Refusal> {
        let fault = |fault| Refusal::PoolChoice(interface.clone(), fault);
        let pattern = |name: &String| {
            Pattern::parse(name).map_err(|Malformed| fault(ChoiceFault::BadWildcard(name.clone())))
        };
        if let [name] = names
            && wildcard::is_wildcard(name)
        {
            return Ok(Self::Matching(pattern(name)?, family));
        }
        let mut found: BTreeMap<&PoolName, &'a Arc<Pool>> = BTreeMap::new();
        let mut add = |pool: &'a Arc<Pool>| match found.insert(&pool.name, pool) {
            Some(twice) => Err(fault(ChoiceFault::Twice(twice.name.clone()))),
            None => Ok(()),
        };
        for name in names {
            if wildcard::is_wildcard(name) {
                let pattern = pattern(name)?;
                for pool in snapshot.pools_matching(&pattern, family) {
                    add(pool)?;
                }
            } else {
                let pool = snapshot
                    .pools
                    .get(name.as_str())
                    .ok_or_else(|| fault(ChoiceFault::Missing(name.as_str().into())))?;
                add(pool)?;
            }
        }
        Ok(Self::Listed(found.into_values().collect()))
    }

    /// Each of them.
    pub(super) fn iter<'b>(
        &'b self,
        snapshot: &'a ClusterSnapshot,
    ) -> impl Iterator<Item = &'a Arc<Pool>> + use<'a, 'b> {
        let (matching, listed) = match self {
            Self::Matching(pattern, family) => (Some(snapshot.pools_matching(pattern, *family)), None),
            Self::Listed(pools) => (None, Some(pools.iter().copied())),
        };
        matching.into_iter().flatten().chain(listed.into_iter().flatten())
    }
}
