//! What came of gangs as a whole: how many domains of the closest tier their pods are in, against how few would do.

use std::collections::{BTreeMap, BTreeSet};

use super::report::GangReport;
use crate::decide::cluster::ClusterSnapshot;
use crate::decide::commitment::Commitments;
use crate::decide::gang::fewest_domains;
use crate::decide::names::{GangRef, NodeName};
use crate::decide::pod::Pod;
use crate::decide::settings::Settings;
use crate::decide::tier::{Domain, Tiers};

/// The gangs of a simulation, as their pods come by.
#[derive(Debug, Default)]
pub(super) struct Gangs(BTreeMap<GangRef, Seen>);

#[derive(Debug, Default)]
struct Seen {
    size: Option<u32>,
    pods: usize,
    placed: usize,
    domains: BTreeSet<Domain>,
    fewest: usize,
}

impl Gangs {
    /// A pod of a gang, perhaps, asks for a node; the first of a gang finds the cluster as it was for the gang.
    pub(super) fn arrives(
        &mut self,
        pod: &Pod,
        snapshot: &ClusterSnapshot,
        commitments: &Commitments,
        settings: &Settings,
    ) {
        let (Ok(Some(gang)), Some(at)) = (&pod.gang, pod.gang_ref()) else {
            return;
        };
        let seen = self.0.entry(at).or_insert_with(|| Seen {
            size: gang.size,
            fewest: fewest_domains(pod, snapshot, commitments, settings),
            ..Seen::default()
        });
        seen.pods += 1;
    }

    /// It was placed there.
    pub(super) fn placed(
        &mut self,
        pod: &Pod,
        node: &NodeName,
        snapshot: &ClusterSnapshot,
        settings: &Settings,
    ) {
        let Some(seen) = pod.gang_ref().and_then(|at| self.0.get_mut(&at)) else {
            return;
        };
        seen.placed += 1;
        let tiers = Tiers::of(&settings.tiers, snapshot);
        let domain = snapshot
            .nodes
            .get(node)
            .and_then(|node| tiers.domain(0, &node.labels));
        seen.domains.extend(domain);
    }

    /// What came of them, in order of name.
    pub(super) fn into_reports(self) -> Vec<GangReport> {
        self.0
            .into_iter()
            .map(|(at, seen)| GangReport {
                namespace: at.namespace.to_string(),
                name: at.name.to_string(),
                size: seen
                    .size
                    .and_then(|size| usize::try_from(size).ok())
                    .unwrap_or(seen.pods),
                placed: seen.placed,
                domains: seen.domains.iter().map(ToString::to_string).collect(),
                domains_min: seen.fewest,
            })
            .collect()
    }
}
