//! Builders for tests: the smallest valid thing, to be changed in the one respect a test is about.

use super::address::Family;
use super::names::PodRef;
use super::pod::{Affinity, Phase, Pod, PoolRequest};
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

/// A pending pod in namespace `default`, its UID `uid-<name>`, that asks for nothing.
pub(crate) fn pod(name: &str) -> Pod {
    Pod {
        at: PodRef {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-{name}").into(),
        },
        labels: BTreeMap::new(),
        created: String::new(),
        requests: BTreeMap::new(),
        scheduler: None,
        phase: Phase::Pending { refused: false },
        host_network: false,
        default_network: None,
        networks: Ok(Vec::new()),
        pools: Ok(PoolRequest::None),
    }
}
