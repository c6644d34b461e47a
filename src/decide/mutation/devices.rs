//! Resource claims of a pod beside its networks: where both bring the VFs of a resource, the pod takes them twice, and
//! Multus, which looks among the devices of both, hands a network whichever it finds first.

use std::collections::{BTreeMap, BTreeSet};

use super::{ClusterSnapshot, Findings, PodFacts, Problem, ResourceName, annotation};
use crate::decide::device::{DeviceClaimRef, DeviceRequest};

/// An entry of a pod's `spec.resourceClaims`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodClaim {
    /// Its name in the pod.
    pub name: String,
    /// What it refers to.
    pub at: Option<DeviceClaimRef>,
}

impl Findings {
    /// A claim that surely brings devices of a resource that the pod's networks need.
    pub(super) fn devices(
        &mut self,
        pod: &PodFacts,
        needs: &BTreeMap<&ResourceName, u32>,
        snapshot: &ClusterSnapshot,
    ) {
        for claim in &pod.device_claims {
            let brought: BTreeSet<ResourceName> = requests(claim, snapshot)
                .unwrap_or_default()
                .iter()
                .flat_map(|request| request.brings(snapshot).surely)
                .filter(|resource| needs.contains_key(resource))
                .collect();
            if brought.is_empty() {
                continue;
            }
            let brought: Vec<&str> = brought.iter().map(ResourceName::as_str).collect();
            self.refuse(Problem::new(
                format!("spec.resourceClaims, {}", claim.name),
                format!("devices of {}", brought.join(", ")),
                "VFs from a resource claim or, as the pod's networks ask for them, from the device plugin, but not both",
                format!(
                    "remove the claim, or those networks; with {}: \"false\" the pod is left as it is",
                    annotation::INJECT
                ),
            ));
        }
    }
}

/// A claim that may bring such devices: by another choice of its request, or because nothing says what it brings.
pub(super) fn warning(
    pod: &PodFacts,
    needs: &BTreeMap<&ResourceName, u32>,
    snapshot: &ClusterSnapshot,
) -> Option<String> {
    let resource = needs.keys().next()?;
    let may_bring = |request: &DeviceRequest| {
        let brought = request.brings(snapshot);
        brought.unknown
            || brought
                .perhaps
                .iter()
                .any(|resource| needs.contains_key(resource))
    };
    let claim = pod
        .device_claims
        .iter()
        .find(|claim| requests(claim, snapshot).is_none_or(|requests| requests.iter().any(may_bring)))?;
    Some(format!(
        "which devices resource claim {} of the pod brings is not known here: where they are VFs of {resource}{}, the pod \
         gets them twice; keep either the claim or the networks",
        claim.name,
        super::warnings::and_more(needs.len().saturating_sub(1))
    ))
}

/// What a claim asks for; none where it is not there (yet).
fn requests<'a>(claim: &PodClaim, snapshot: &'a ClusterSnapshot) -> Option<&'a [DeviceRequest]> {
    let requests = snapshot.device_claims.get(claim.at.as_ref()?)?;
    Some(requests.as_slice())
}
