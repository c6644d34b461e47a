//! Builders for tests: the smallest valid thing, to be changed in the one respect a test is about.

use super::address::Family;
use super::pod::Affinity;
use super::pool::{Pool, PoolFacts};
use std::collections::BTreeMap;

/// An IPv4 pool open to everyone, with `free` addresses left.
pub(crate) fn pool(name: &str, free: u64) -> Pool {
    Pool {
        name: name.into(),
        reading: Ok(PoolFacts {
            family: Family::V4,
            disabled: false,
            terminating: false,
            default: false,
            nodes: Affinity::default(),
            namespaces: Affinity::default(),
            pods: None,
            networks: Vec::new(),
            free,
            size: free,
            holders: BTreeMap::new(),
        }),
    }
}
