//! Addresses that a pod keeps. Spiderpool gives a pod of a StatefulSet the ones it had before, found by its name in the
//! SpiderEndpoint, before it looks at any pool: it needs no free one, and it does not ask whether the node may use the pool.

use super::address::Family;
use super::names::{InterfaceName, PoolName};

/// The addresses of one pod of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// In the order of the object.
    pub addresses: Vec<Kept>,
}

/// One address that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The interface it is for.
    pub interface: InterfaceName,
    /// Its family.
    pub family: Family,
    /// The pool it belongs to.
    pub pool: PoolName,
}
