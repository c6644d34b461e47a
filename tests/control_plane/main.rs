//! Contract tests: the program on a real control plane, with the real Spiderpool behind it.
//!
//! What only the real parts can tell is tested here (bytes on the wire, order, timing, races); everything else has a
//! cheaper test. Each test has its own nodes, resource names, networks and pools, so all of them run side by side on one
//! control plane. Contents:
//!
//! - [`processes`]: the harness itself leaves nothing behind.
//! - [`smoke`]: the real parts work together without us.
//! - [`main_job`]: one annotation on a Job, eight pods with eight rails each.
//! - [`untouched`]: and what the webhook leaves as it was.
//! - [`admission`]: every way in which a pod is created, other webhooks and Pod Security beside ours.
//! - [`policy`]: what cannot be read is refused when it is written.
//! - [`pool_of_ten`]: addresses run out, and come back.
//! - [`unfit_nodes`]: nodes that would fail a pod are refused, each by its reason.
//! - [`opted_out`]: pods that did not opt in have nothing to do with us.
//! - [`restart`]: `kill -9` in the middle of a burst.
//! - [`retries`]: what a refusal costs the scheduler.
//! - [`connections`]: and a call: no connection of its own.
//! - [`pod_groups`]: Kubernetes' own PodGroups, with the gates that place them by topology.
//! - [`sampling`]: one good node among 400.
//! - [`preemption`]: nobody is evicted from a node that we would refuse.
//! - [`other_extenders`]: another extender writes the Bindings; a scheduler that sends whole nodes.
//! - [`stalled`]: the program accepts calls and does not answer.
//! - [`rotation`]: certificates change under load.
//! - [`differential`]: what we predict of a pod's addresses is what the real agent does.
//! - [`checklist`]: every prerequisite on a sound cluster, then broken one at a time.
//! - [`deployed`]: the manifests as they are shipped, each process with its own identity.
//! - [`explained`]: why a pod waits, by the live cluster, as people ask for it.
//! - [`fabric`]: pods follow what a real OpenSM's fabric looks like, from a cut cable to its repair.
//! - [`guarded`]: the admin endpoint asks the real API server who may look, with the rights that the chart gives it.
//! - [`install`]: the chart, installed, upgraded and uninstalled by Helm on a control plane of its own.
//! - [`examples`]: the example manifests, as the API server judges them.
//! - [`fabric_import`]: what the fabric import writes, with the rights of its example.
//!
//! Each contract's failure is shown as well: the same workload without the extender, or without what keeps it.
//!
//! `make control-plane` runs them; `harness/` says how.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops with the reason; JSON is indexed all over; the harness is shared with the storm"
)]

mod admission;
mod checklist;
mod connections;
mod deployed;
mod differential;
mod examples;
mod explained;
mod fabric;
mod fabric_import;
mod gangs;
mod guarded;
mod harness;
mod install;
mod main_job;
mod opted_out;
mod other_extenders;
mod pod_groups;
mod policy;
mod pool_of_ten;
mod preemption;
mod processes;
mod restart;
mod retries;
mod rotation;
mod sampling;
mod smoke;
mod stalled;
mod unfit_nodes;
mod untouched;
