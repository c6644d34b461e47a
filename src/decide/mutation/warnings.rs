//! What a user should know about a pod that is admitted all the same.

use std::collections::BTreeMap;

use super::{
    ClusterSnapshot, DEFAULT_SCHEDULER, PodFacts, PodPolicy, Rails, ResourceName, SchedulerMode, Settings,
    annotation,
};

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

fn lock_memory(pod: &PodFacts) -> String {
    format!(
        "the Pod Security level of namespace {} forbids the capability IPC_LOCK, which was left out: RDMA then \
         depends on the container's limit on locked memory (ulimit -l)",
        pod.namespace
    )
}

/// Where nodes are not watched nothing is known of them.
fn nowhere(needs: &BTreeMap<&ResourceName, u32>, snapshot: &ClusterSnapshot) -> Option<String> {
    if snapshot.nodes.is_empty() {
        return None;
    }
    let missing: Vec<&str> = needs
        .keys()
        .filter(|resource| {
            !snapshot
                .nodes
                .values()
                .any(|node| node.offers.count(resource) > 0)
        })
        .map(|resource| resource.as_str())
        .collect();
    let (first, others) = missing.split_first()?;
    let others = match others.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "no node offers {first}{others} now: the pod waits until the device plugin has registered VFs"
    ))
}

fn uncounted(policy: &PodPolicy, snapshot: &ClusterSnapshot) -> Option<String> {
    let Rails::Count(count) = policy.rails else {
        return None;
    };
    snapshot.nodes.is_empty().then(|| {
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

fn spiderpool(policy: &PodPolicy) -> Option<String> {
    policy.spiderpool_key.map(|key| {
        format!(
            "{key} is set, on which Spiderpool's own pod webhook acts, too: where that is on, it replaces the list of \
             the pod's networks; switch it off, or use {} instead",
            annotation::PROFILE
        )
    })
}
