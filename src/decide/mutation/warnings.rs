//! What a user should know about a pod that is admitted all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pools::Pools;
use super::{
    ClusterSnapshot, DEFAULT_SCHEDULER, Interface, PodFacts, PodPolicy, Rails, ResourceName, SchedulerMode,
    Settings, annotation, devices,
};
use crate::decide::links::is_stale;
use crate::decide::naming::Candidates;
use crate::decide::node::{Node, RdmaMode};

/// More than these nobody reads; the most important come first.
pub(super) const MOST: usize = 5;

/// The pod itself asked to have its own networks completed, and lists none.
pub(super) fn no_networks() -> String {
    format!(
        "{}: \"true\" without {} completes the pod's own networks, but {} lists none: nothing was changed",
        annotation::INJECT,
        annotation::PROFILE,
        annotation::NETWORKS
    )
}

/// Everything worth a warning, most important first.
pub(super) fn all(
    pod: &PodFacts,
    policy: &PodPolicy,
    needs: &BTreeMap<&ResourceName, u32>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
    lock_left_out: bool,
) -> Vec<String> {
    [
        lock_left_out.then(|| lock_memory(pod)),
        nowhere(needs, snapshot),
        uncounted(policy, snapshot),
        other_scheduler(pod, settings),
        more_vfs_than_networks(pod, needs),
        spiderpool(policy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What keeps the pod waiting today, or may: another day it may not.
pub(super) fn of_the_day(
    pod: &PodFacts,
    interfaces: &[Interface<'_>],
    needs: &BTreeMap<&ResourceName, u32>,
    pools: &Pools<'_>,
    snapshot: &ClusterSnapshot,
    settings: &Settings,
) -> Vec<String> {
    [
        full(pools),
        closed(pools),
        idle(pools),
        mode_unknown(interfaces, snapshot),
        devices::warning(pod, needs, snapshot),
        old_fabric_data(snapshot, settings).filter(|_| !needs.is_empty()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Ports are refused by what the Subnet Manager said of them, unless that was long ago.
fn old_fabric_data(snapshot: &ClusterSnapshot, settings: &Settings) -> Option<String> {
    is_stale(snapshot, settings).then(|| {
        format!(
            "what the Subnet Manager says of the fabric was last read more than {} h ago: ports that went down since are \
             not known; see that pointsman topology import runs",
            settings.links.max_age.as_secs() / 3600
        )
    })
}

/// An interface whose pools have no address left. What is promised to pods that are starting is not counted here:
/// the extender does.
fn full(pools: &Pools<'_>) -> Option<String> {
    let is_full = |demand: &&Candidates<'_>| {
        let mut facts = demand.pools().filter_map(|pool| pool.reading.as_ref().ok());
        facts.all(|facts| facts.free == 0)
    };
    let full: Vec<&Candidates<'_>> = pools.demands.iter().filter(is_full).collect();
    let (first, others) = full.split_first()?;
    Some(format!(
        "IP pool {}{} of interface {}{} has no free address now: the pod waits until one is released",
        first.first.name,
        and_more(first.pools().count() - 1),
        first.interface(),
        and_more(others.len()),
    ))
}

/// An interface whose pools are all closed to the pod, by what may change before it runs.
fn closed(pools: &Pools<'_>) -> Option<String> {
    let ((interface, pool), others) = pools.closed.split_first()?;
    Some(format!(
        "IP pool {pool} of interface {interface}{} is disabled, being deleted or for pods with other labels: the pod \
         waits until that changes",
        and_more(others.len())
    ))
}

/// Spiderpool takes an address for every interface that is listed.
fn idle(pools: &Pools<'_>) -> Option<String> {
    let (interface, others) = pools.idle.split_first()?;
    Some(format!(
        "{} lists interface {interface}{}, which takes no address from Spiderpool: an address of the pools listed for it is \
         taken all the same, and nobody uses it; take the element out",
        annotation::IPAM_POOLS,
        and_more(others.len())
    ))
}

/// Networks that need exclusive mode, where no node that offers their VFs is known to be in it. Where no node has
/// a state at all, there is no SR-IOV operator, and saying so with every pod helps nobody.
fn mode_unknown(interfaces: &[Interface<'_>], snapshot: &ClusterSnapshot) -> Option<String> {
    if snapshot.sriov.is_empty() {
        return None;
    }
    let mode = |node| {
        let state = snapshot.sriov.get(node)?;
        Some(state.reading.as_ref().ok()?.rdma)
    };
    interfaces
        .iter()
        .filter(|interface| interface.attachment.plugin.rdma_isolation())
        .find_map(|interface| {
            let resource = interface.attachment.resource.as_ref()?;
            let mut modes = snapshot
                .nodes
                .iter()
                .filter(|(_, node)| node.offers.count(resource) > 0)
                .map(|(name, _)| mode(name).unwrap_or(RdmaMode::Unknown))
                .peekable();
            modes.peek()?;
            modes.all(|mode| mode == RdmaMode::Unknown).then(|| {
                format!(
                    "no node that offers {resource} says in its SriovNetworkNodeState whether it is in exclusive RDMA \
                     mode, which network {} needs",
                    interface.network
                )
            })
        })
}

pub(super) fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

fn lock_memory(pod: &PodFacts) -> String {
    format!(
        "the Pod Security level of namespace {} forbids the capability IPC_LOCK, which was left out: RDMA then \
         depends on the container's limit on locked memory (ulimit -l)",
        pod.namespace
    )
}

/// Where nodes are not watched nothing is known of them. A resource that a DeviceClass maps is no device plugin's to offer:
/// the scheduler allocates it by claims of its own.
fn nowhere(needs: &BTreeMap<&ResourceName, u32>, snapshot: &ClusterSnapshot) -> Option<String> {
    if snapshot.nodes.is_empty() {
        return None;
    }
    let missing: Vec<&str> = needs
        .keys()
        .filter(|resource| {
            let offered = |node: &Arc<Node>| node.offers.count(resource) > 0;
            !snapshot.nodes.values().any(offered) && !snapshot.by_claims.contains_key(**resource)
        })
        .map(|resource| resource.as_str())
        .collect();
    let (first, others) = missing.split_first()?;
    Some(format!(
        "no node offers {first}{} now: the pod waits until the device plugin has registered VFs",
        and_more(others.len())
    ))
}

fn uncounted(policy: &PodPolicy, snapshot: &ClusterSnapshot) -> Option<String> {
    let Rails::Count(count) = policy.rails else {
        return None;
    };
    (snapshot.nodes.is_empty() || !snapshot.knows_pods).then(|| {
        format!(
            "{}: {count} took the first rails of the profile: how many VFs are free on each is not known here",
            annotation::RAILS
        )
    })
}

fn other_scheduler(pod: &PodFacts, settings: &Settings) -> Option<String> {
    let SchedulerMode::Dedicated(ours) = &settings.scheduler else {
        return None;
    };
    let named = pod
        .scheduler
        .as_ref()
        .filter(|named| *named != ours && named.as_str() != DEFAULT_SCHEDULER)?;
    Some(format!(
        "the pod names scheduler {named}, which was left as it is: unless that one calls the extender, VFs, pools \
         and fabric are not checked (leave it out for {ours})"
    ))
}

fn more_vfs_than_networks(pod: &PodFacts, needs: &BTreeMap<&ResourceName, u32>) -> Option<String> {
    needs.iter().find_map(|(&resource, &need)| {
        let taken = pod.takes(resource);
        (taken > need).then(|| {
            format!(
                "the pod takes {taken} of {resource}, but its networks use {need}: the others attach nothing"
            )
        })
    })
}

/// Whether Spiderpool's webhook is on is not looked up: it acts on nothing but its keys, may be registered under any
/// name, and to read the API server's webhook configurations is a right this part does not need otherwise. `pointsman
/// check` reads them, and tells where it is on.
fn spiderpool(policy: &PodPolicy) -> Option<String> {
    policy.spiderpool_key.map(|key| {
        format!(
            "{key} is set, on which Spiderpool's own pod webhook acts, too: where that is on, it replaces the list of \
             the pod's networks; switch it off, or use {} instead",
            annotation::PROFILE
        )
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::decide::links::LookedAt;

    #[test]
    fn old_data_of_the_fabric_is_told_and_fresh_data_is_not() {
        let told = |hours| {
            let snapshot = ClusterSnapshot {
                fabric: Some(LookedAt {
                    unix_seconds: 0,
                    age: Duration::from_hours(hours),
                }),
                ..ClusterSnapshot::default()
            };
            old_fabric_data(&snapshot, &Settings::default())
        };
        assert_eq!(told(1), None);
        let warning = told(30).unwrap();
        assert!(
            warning.contains("more than 24 h ago") && warning.len() < 256,
            "{warning}"
        );
    }
}
