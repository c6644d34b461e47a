//! Pools by what names them: literally, by a wildcard, or as the cluster's default.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ChoiceFault, ClusterSnapshot, Family, InterfaceName, Pool, PoolChoice, PoolName, Refusal};
use crate::decide::wildcard::{self, Malformed};

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
            let matching = snapshot
                .pools_matching(name, family)
                .map_err(|Malformed| fault(ChoiceFault::BadWildcard(name.clone())))?;
            for pool in matching {
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
    Ok(found.into_values().collect())
}
