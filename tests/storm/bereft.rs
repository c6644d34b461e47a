//! Who loses something for good when a pool is deleted under load: nobody can give it back, so the sums let it pass, and
//! no more than the pool had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::harness::kubelet::Sandbox;
use crate::harness::scene::is_bound;

/// Addresses of the pool that comes and goes.
pub(crate) const EXTRA: u8 = 20;

/// Who lost something for good with a pool that was deleted.
#[derive(Default)]
pub(crate) struct Bereft {
    /// Pods, by UID, that were bound and had no address yet.
    pub(crate) pods: BTreeSet<String>,
    /// *Required* gangs that had begun and were not whole, where the pool that stays had not enough for the rest of all of
    /// them.
    pub(crate) gangs: BTreeSet<String>,
}

impl Bereft {
    /// Notes who that is, of the pods there are once nobody binds one any more on account of the pool; the one that stays
    /// has so many `addresses` on each rail.
    pub(crate) fn note(&mut self, pods: &[Value], sandboxes: &BTreeMap<String, Sandbox>, addresses: u8) {
        let sandbox = |pod: &Value| sandboxes.get(pod["metadata"]["uid"].as_str().unwrap());
        let is_served = |pod: &Value| sandbox(pod).is_some_and(|sandbox| sandbox.failure.is_none());
        // The addresses of the pool that went come after those of the one that stays.
        let has_of_the_extra_pool = |pod: &Value| {
            let mut given = sandbox(pod).into_iter().flat_map(|made| made.addresses.values());
            given.any(|(_, address)| last_number(address) > addresses)
        };
        let (bound, waiting): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|pod| is_bound(pod));
        let coming = bound.iter().filter(|pod| !is_served(pod));
        self.pods
            .extend(coming.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()));
        let taken = bound.iter().filter(|pod| !has_of_the_extra_pool(pod)).count();
        let begun: BTreeSet<&str> = bound.iter().filter_map(|pod| required_gang(pod)).collect();
        let rest = waiting.iter().filter_map(|pod| required_gang(pod));
        let rest: Vec<&str> = rest.filter(|gang| begun.contains(gang)).collect();
        if taken + rest.len() > usize::from(addresses) {
            self.gangs.extend(rest.into_iter().map(str::to_owned));
        }
    }
}

/// The pod's gang, where that must be in one domain.
fn required_gang(pod: &Value) -> Option<&str> {
    let annotations = &pod["metadata"]["annotations"];
    let locality = annotations["pointsman.io/locality"].as_str()?;
    locality
        .starts_with("required")
        .then(|| annotations["pointsman.io/gang"].as_str())?
}

/// The last number of an address.
fn last_number(address: &str) -> u8 {
    address.rsplit('.').next().unwrap().parse().unwrap()
}
