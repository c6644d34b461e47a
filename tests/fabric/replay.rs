//! Placements replayed on the forwarding tables that OpenSM computed: which links the flows of a job take, and how many
//! of them share one.
//!
//! A job is a ring on every rail: each rank sends to the next, as the bandwidth-bound collectives do. Links between
//! switches are counted, once for each flow that crosses them in one direction.

use std::collections::{BTreeMap, BTreeSet};

use pointsman::cluster::index::Index;
use pointsman::decide::links::position;
use pointsman::decide::names::NodeName;
use pointsman::decide::settings::Settings;
use pointsman::decide::tier::Tiers;

use super::cluster;
use super::plan::{End, Plan};

/// What the jobs of a queue do to the fabric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Flows in all.
    pub(crate) flows: usize,
    /// Of those, the ones that cross no link between switches.
    pub(crate) local: usize,
    /// Uses of links between switches, all flows together.
    pub(crate) uses: usize,
    /// The most flows on one such link.
    pub(crate) most: usize,
    /// Links with more than one flow.
    pub(crate) shared: usize,
}

/// The forwarding tables of a fabric.
pub(crate) struct Tables<'a> {
    plan: &'a Plan,
    /// For each switch, the port towards each port GUID of a host.
    out: BTreeMap<String, BTreeMap<u64, u16>>,
    /// The port GUIDs of every host, in the order of its rails.
    ports: BTreeMap<String, Vec<(u64, End)>>,
}

impl<'a> Tables<'a> {
    /// Reads `opensm-lfts.dump`.
    pub(crate) fn read(plan: &'a Plan, dump: &str) -> Self {
        let mut out: BTreeMap<String, BTreeMap<u64, u16>> = BTreeMap::new();
        let mut at = String::new();
        for line in dump.lines() {
            if let Some((_, rest)) = line.split_once(" guid 0x") {
                let guid = u64::from_str_radix(&rest[..16], 16).unwrap();
                plan.switch_of(guid).unwrap().clone_into(&mut at);
            } else if let Some((_, rest)) = line.split_once("Channel Adapter portguid 0x") {
                let guid = u64::from_str_radix(&rest[..16], 16).unwrap();
                let port = line.split_whitespace().nth(1).unwrap().parse().unwrap();
                out.entry(at.clone()).or_default().insert(guid, port);
            }
        }
        let mut ports: BTreeMap<String, Vec<(u64, End)>> = BTreeMap::new();
        for plug in plan.plugs() {
            let at = (plug.leaf, plug.leaf_port);
            ports.entry(plug.host).or_default().push((plug.port_guid, at));
        }
        Self { plan, out, ports }
    }

    /// The links between switches that a flow takes on a rail: each by the end it leaves from.
    fn path(&self, rail: usize, from: &str, to: &str) -> Vec<End> {
        let (_, (mut at, _)) = self.ports[from][rail].clone();
        let (target, _) = self.ports[to][rail];
        let mut links = Vec::new();
        loop {
            let port = self.out[&at][&target];
            let (next, _) = self.plan.across(&(at.clone(), port)).unwrap().clone();
            if !self.plan.is_switch(&next) {
                return links;
            }
            links.push((at, port));
            at = next;
            assert!(links.len() < 10, "a loop from {from} to {to}: {links:?}");
        }
    }

    /// What these jobs do at the same time: each the hosts of its ranks, in their order.
    pub(crate) fn load(&self, jobs: &[Vec<String>]) -> Load {
        let mut load = Load::default();
        let mut links: BTreeMap<End, usize> = BTreeMap::new();
        for ranks in jobs {
            for (from, to) in ranks.iter().zip(ranks.iter().cycle().skip(1)) {
                for rail in 0..self.ports[from].len() {
                    let path = self.path(rail, from, to);
                    load.flows += 1;
                    load.local += usize::from(path.is_empty());
                    load.uses += path.len();
                    for link in path {
                        *links.entry(link).or_default() += 1;
                    }
                }
            }
        }
        load.most = links.values().copied().max().unwrap_or(0);
        load.shared = links.values().filter(|flows| **flows > 1).count();
        load
    }
}

/// A queue of Jobs placed by kube-scheduler alone: a model of it. Each pod takes a whole node; free nodes are alike to
/// its default scores (least allocated, balanced), and of equals it takes one at random.
pub(crate) fn by_the_scheduler(plan: &Plan, queue: &[usize], seed: u64) -> Vec<Vec<String>> {
    let mut free: Vec<String> = plan.hosts().into_iter().map(str::to_owned).collect();
    shuffle(&mut free, seed);
    queue
        .iter()
        .map(|pods| free.split_off(free.len() - pods))
        .collect()
}

/// The same queue placed by us, by the very code that `serve` runs; ranks in the order of the pods.
pub(crate) fn by_us(plan: &Plan, queue: &[usize]) -> Vec<Vec<String>> {
    let mut objects = cluster::nodes(plan, &cluster::by_design(plan), 1);
    let rails = plan
        .plugs()
        .iter()
        .filter(|plug| plug.host == plan.hosts()[0])
        .count();
    objects.extend(cluster::networks(rails));
    let names: Vec<String> = (0..queue.len()).map(|number| format!("job-{number}")).collect();
    objects.extend(
        names
            .iter()
            .zip(queue)
            .map(|(name, pods)| cluster::job(name, *pods)),
    );
    let report = cluster::play(&objects);
    let placed = |name: &String| -> Vec<String> {
        let mine = report
            .pods
            .iter()
            .filter(|pod| pod.name.starts_with(&format!("{name}-")));
        mine.map(|pod| {
            pod.placement
                .as_ref()
                .unwrap_or_else(|| panic!("{pod:?}"))
                .node
                .clone()
        })
        .collect()
    };
    let jobs: Vec<Vec<String>> = names.iter().map(placed).collect();
    assert_eq!(jobs.iter().map(Vec::len).collect::<Vec<_>>(), queue);
    jobs
}

/// The same nodes with ranks in the order of `pointsman.io/fabric-position`.
pub(crate) fn sorted(plan: &Plan, jobs: &[Vec<String>]) -> Vec<Vec<String>> {
    let index = Index::new(Settings::default().into());
    for object in cluster::nodes(plan, &cluster::by_design(plan), 1) {
        index.apply(object).unwrap();
    }
    let snapshot = index.published().load_full();
    let tiers = Tiers::of(&[], &snapshot);
    let place = |host: &String| {
        let node = &snapshot.nodes[&NodeName::from(host.as_str())];
        position(node, &tiers).unwrap()
    };
    let mut jobs = jobs.to_vec();
    for ranks in &mut jobs {
        ranks.sort_by_key(&place);
    }
    jobs
}

/// The same nodes with ranks in a random order: what a Job has when nobody sorts them.
pub(crate) fn shuffled(jobs: &[Vec<String>], seed: u64) -> Vec<Vec<String>> {
    let mut jobs = jobs.to_vec();
    for (number, ranks) in (1..).zip(&mut jobs) {
        shuffle(ranks, seed * 100 + number);
    }
    jobs
}

/// In how many groups each job is.
pub(crate) fn groups(plan: &Plan, jobs: &[Vec<String>]) -> Vec<usize> {
    let of = |ranks: &Vec<String>| {
        ranks
            .iter()
            .map(|host| plan.group(host))
            .collect::<BTreeSet<_>>()
            .len()
    };
    jobs.iter().map(of).collect()
}

/// Fisher-Yates by xorshift: the same for a seed on every machine.
fn shuffle(items: &mut [String], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..items.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        items.swap(
            last,
            usize::try_from(state % (u64::try_from(last).unwrap() + 1)).unwrap(),
        );
    }
}
