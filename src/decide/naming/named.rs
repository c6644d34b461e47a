//! Pools by what names them: literally, by a wildcard, or as the cluster's default.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ChoiceFault, ClusterSnapshot, Family, InterfaceName, Pool, PoolChoice, PoolName, Refusal};
use crate::decide::wildcard;

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

/// The pools behind names and wildcards. A wildcard may match nothing; a name must exist; none may come twice.
pub(super) fn resolve(
    names: &[String],
    family: Family,
    interface: &InterfaceName,
    snapshot: &ClusterSnapshot,
) -> Result<Vec<Arc<Pool>>, Refusal> {
    let fault = |fault| Refusal::PoolChoice(interface.clone(), fault);
    let mut found: BTreeMap<PoolName, Arc<Pool>> = BTreeMap::new();
    let mut add = |pool: &Arc<Pool>| match found.insert(pool.name.clone(), Arc::clone(pool)) {
        Some(twice) => Err(fault(ChoiceFault::Twice(twice.name.clone()))),
        None => Ok(()),
    };
    for name in names {
        if wildcard::is_wildcard(name) {
            for pool in snapshot.pools.values() {
                // A wildcard is for SpiderIPPools; one that stands for a subnet is named by us alone.
                if pool.name.is_of_subnet() {
                    continue;
                }
                let same_family = pool.reading.as_ref().is_ok_and(|facts| facts.family == family);
                let matches = wildcard::matches(name, pool.name.as_str())
                    .map_err(|_| fault(ChoiceFault::BadWildcard(name.clone())))?;
                if same_family && matches {
                    add(pool)?;
                }
            }
        } else {
            let pool = snapshot
                .pools
                .get(name.as_str())
                .ok_or_else(|| fault(ChoiceFault::Missing(name.as_str().into())))?;
            add(pool)?;
        }
    }
    Ok(found.into_values().collect())
}
