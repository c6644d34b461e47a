//! The sums at the end, from what the API server and the IPAM's records say, with arithmetic of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use crate::arrivals::{Arrivals, Gang};
use crate::bereft::EXTRA;
use crate::harness::api::{POOLS, Refused};
use crate::harness::kubelet::Sandbox;
use crate::harness::objects::Profile;
use crate::harness::scene::Scene;
use crate::harness::wait::{eventually, expect};
use crate::scale::Scale;
use crate::timeline::Timeline;
use crate::{GROUP, RAILS, VFS};

/// A pod that is there and does not go.
struct Member {
    uid: String,
    node: Option<String>,
}

pub(crate) struct Sums<'a> {
    arrivals: &'a Arrivals,
    pods: BTreeMap<String, Member>,
    /// Free VFs of each node (both rails are taken alike).
    free: BTreeMap<String, i64>,
    /// Addresses of each rail that nobody has or was promised.
    addresses: [i64; RAILS],
    sandboxes: BTreeMap<String, Sandbox>,
    /// Addresses that belong to no pod that is there.
    leaked: usize,
}

impl<'a> Sums<'a> {
    pub(crate) async fn take(
        scale: &Scale,
        scene: &Scene<'_>,
        arrivals: &'a Arrivals,
        profile: &Profile,
    ) -> Self {
        let mut pods = BTreeMap::new();
        for pod in scene.pods().await {
            if pod["metadata"]["deletionTimestamp"].is_null() {
                let node = pod["spec"]["nodeName"].as_str().map(str::to_owned);
                let text = |key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
                let uid = text("uid");
                pods.insert(text("name"), Member { uid, node });
            }
        }
        let bound: BTreeSet<&str> = pods
            .values()
            .filter(|pod| pod.node.is_some())
            .map(|pod| pod.uid.as_str())
            .collect();
        let mut addresses = [0; RAILS];
        let mut leaked = 0;
        for (rail, left) in addresses.iter_mut().enumerate() {
            let lasting = holders(scene, &profile.pool(rail)).await.unwrap();
            // One that was deleted gives nothing any more, and stays for as long as pods have addresses of it.
            let deleted = holders(scene, &profile.extra_pool(rail))
                .await
                .unwrap_or_default();
            let has = |uid: &str| lasting.iter().chain(&deleted).any(|holder| holder == uid);
            let coming = bound.iter().filter(|uid| !has(uid)).count();
            let holders = lasting.iter().chain(&deleted);
            leaked += holders.filter(|uid| !bound.contains(uid.as_str())).count();
            *left = i64::from(scale.addresses) - count(lasting.len()) - count(coming);
        }
        let mut free: BTreeMap<String, i64> = (0..scale.nodes)
            .map(|number| (format!("storm-{number:02}"), i64::from(VFS)))
            .collect();
        for node in pods.values().filter_map(|pod| pod.node.as_ref()) {
            *free.get_mut(node).unwrap() -= 1;
        }
        Self {
            arrivals,
            pods,
            free,
            addresses,
            sandboxes: scene.kubelet.sandboxes(),
            leaked,
        }
    }

    /// Addresses that Spiderpool has still to collect.
    pub(crate) fn leaked(&self) -> usize {
        self.leaked
    }

    /// Pods that are bound and have not got their addresses yet: a kubelet asks until they do.
    pub(crate) fn unserved(&self) -> usize {
        let bound = self.pods.values().filter(|pod| pod.node.is_some());
        let served = |pod: &&Member| {
            let sandbox = self.sandboxes.get(&pod.uid);
            sandbox.is_some_and(|sandbox| sandbox.failure.is_none() && sandbox.addresses.len() == RAILS)
        };
        bound.filter(|pod| !served(pod)).count()
    }

    /// Of those, pods that can never get any: they were bound on account of a pool that was deleted before they had its
    /// address. Whoever deletes a pool under load has to delete them, too.
    pub(crate) fn stranded(&self, bereft: &BTreeSet<String>) -> Vec<String> {
        let too_many = -self.addresses.iter().copied().min().unwrap().min(0);
        let stranded = self.pods.iter().filter(|(_, pod)| {
            let sandbox = self.sandboxes.get(&pod.uid);
            pod.node.is_some()
                && bereft.contains(&pod.uid)
                && sandbox.is_some_and(|made| made.failure.is_some())
        });
        let most = usize::try_from(too_many).unwrap();
        stranded.map(|(name, _)| name.clone()).take(most).collect()
    }

    /// What a change shows in.
    pub(crate) fn state(&self) -> (Vec<(String, bool)>, [i64; RAILS]) {
        let pods = self
            .pods
            .iter()
            .map(|(name, pod)| (name.clone(), pod.node.is_some()));
        (pods.collect(), self.addresses)
    }

    fn members<'s>(&'s self, gang: &Gang) -> (Vec<&'s str>, usize) {
        let there: Vec<&Member> = gang.pods().filter_map(|name| self.pods.get(&name)).collect();
        let placed: Vec<&str> = there.iter().filter_map(|pod| pod.node.as_deref()).collect();
        let waiting = there.len() - placed.len();
        (placed, waiting)
    }

    /// A gang or a pod that waits although there is room for it.
    pub(crate) fn waits_although_it_fits(&self) -> Option<String> {
        let addresses = self.addresses.iter().copied().min().unwrap();
        let mut groups: BTreeMap<usize, i64> = BTreeMap::new();
        for (node, free) in &self.free {
            *groups.entry(group(node)).or_default() += free;
        }
        self.arrivals.gangs.iter().find_map(|gang| {
            let (placed, waiting) = self.members(gang);
            if waiting == 0 {
                return None;
            }
            let need = if gang.required { count(waiting) } else { 1 };
            let fits = if addresses < need {
                false
            } else if !gang.required {
                groups.values().any(|free| *free > 0)
            } else if let Some(node) = placed.first() {
                groups[&group(node)] >= need
            } else {
                groups.values().any(|free| *free >= need)
            };
            fits.then(|| format!("{} ({waiting} of {})", gang.name, gang.size))
        })
    }

    /// `short` are gangs that a pool left short for good when it was deleted: nobody can place the rest of them.
    pub(crate) fn check(&self, scene: &Scene<'_>, timeline: &Timeline, short: &BTreeSet<String>) {
        let mut wrong = String::new();
        let mut say = |what: String| writeln!(wrong, "- {what}").unwrap();
        for (node, free) in &self.free {
            if *free < 0 {
                say(format!("node {node} has more pods than VFs: {free}"));
            }
        }
        for (rail, left) in self.addresses.iter().enumerate() {
            if *left < 0 {
                say(format!(
                    "rail {rail}: more was promised than its pool has: {left}"
                ));
            }
        }
        let mut lost = 0;
        for gang in self.arrivals.gangs.iter().filter(|gang| gang.required) {
            let (placed, waiting) = self.members(gang);
            let groups: BTreeSet<usize> = placed.iter().map(|node| group(node)).collect();
            if groups.len() > 1 {
                say(format!("{} spans the leaf groups {groups:?}", gang.name));
            }
            if !placed.is_empty() && waiting > 0 {
                let told = format!("{} is half placed: {} of {}", gang.name, placed.len(), gang.size);
                // That it waits although it fits would have been seen before.
                if short.contains(&gang.name) && self.addresses.iter().any(|left| *left < count(waiting)) {
                    lost += waiting;
                    eprintln!("{told}, since a pool was deleted on whose account it began");
                } else {
                    say(told);
                }
            }
        }
        if lost > usize::from(EXTRA) {
            say(format!(
                "the pool that was deleted had {EXTRA} addresses, and {lost} are missing"
            ));
        }
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, pod) in self.pods.iter().filter(|(_, pod)| pod.node.is_some()) {
            match self.sandboxes.get(&pod.uid) {
                Some(Sandbox {
                    addresses,
                    failure: None,
                    ..
                }) if addresses.len() == RAILS => {
                    for (_, address) in addresses.values() {
                        if let Some(other) = given.insert(address, name) {
                            say(format!("{name} and {other} both have {address}"));
                        }
                    }
                }
                other => say(format!("{name} is bound and has no addresses: {other:?}")),
            }
        }
        if !wrong.is_empty() {
            timeline.fails(&format!("the sums are wrong:\n{wrong}{}", self.told()), scene);
        }
    }

    pub(crate) fn told(&self) -> String {
        let bound = self.pods.values().filter(|pod| pod.node.is_some()).count();
        let whole = self
            .arrivals
            .gangs
            .iter()
            .filter(|gang| self.members(gang).0.len() == gang.size)
            .count();
        format!(
            "{bound} of {} pods bound, {} of them without addresses, {whole} of {} gangs and single pods whole, \
             addresses left {:?}, {} leaked, VFs left {}",
            self.pods.len(),
            self.unserved(),
            self.arrivals.gangs.len(),
            self.addresses,
            self.leaked,
            self.free.values().sum::<i64>()
        )
    }
}

/// The UIDs that hold an address of a pool, once for each.
async fn holders(scene: &Scene<'_>, pool: &str) -> Result<Vec<String>, Refused> {
    let pool = scene.api().get(&POOLS.all().named(pool)).await?;
    let records = pool["status"]["allocatedIPs"].as_str().unwrap_or("null");
    let records: Option<BTreeMap<String, Value>> = serde_json::from_str(records).unwrap();
    let uid = |record: Value| record["podUid"].as_str().unwrap_or_default().to_owned();
    Ok(records.unwrap_or_default().into_values().map(uid).collect())
}

pub(crate) async fn all_addresses_are_back(scene: &Scene<'_>, profile: &Profile) {
    for rail in 0..RAILS {
        let pool = profile.pool(rail);
        eventually(
            &format!("{pool} has all its addresses back"),
            Duration::from_mins(1),
            async || {
                let holders = holders(scene, &pool).await.map_err(|refused| refused.message)?;
                expect(holders.is_empty(), || format!("{holders:?}"))
            },
        )
        .await;
        let extra = profile.extra_pool(rail);
        eventually(
            &format!("{extra}, which was deleted, goes with the last of its addresses"),
            Duration::from_mins(2),
            async || {
                let left = holders(scene, &extra).await;
                expect(left.is_err(), || format!("{left:?}"))
            },
        )
        .await;
    }
}

fn group(node: &str) -> usize {
    node.rsplit('-').next().unwrap().parse::<usize>().unwrap() / GROUP
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap()
}
