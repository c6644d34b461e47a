//! Dynamic Resource Allocation: which devices the resource claims of a pod bring, as far as the API tells that before
//! any is chosen.

use std::collections::BTreeSet;

use super::cluster::ClusterSnapshot;
use super::names::{DeviceClaimName, DeviceClassName, NamespaceName, ResourceName};

/// What a pod's entry in `spec.resourceClaims` refers to, in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceClaimRef {
    /// A ResourceClaim.
    Claim(NamespaceName, DeviceClaimName),
    /// A ResourceClaimTemplate, of which the pod gets a claim of its own.
    Template(NamespaceName, DeviceClaimName),
}

/// One request of a claim: the devices come from the first of these choices that is available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// The choices; more than one where the request has `firstAvailable`.
    pub choices: Vec<DeviceChoice>,
}

/// Devices of a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The DeviceClass.
    pub class: DeviceClassName,
    /// Resources whose devices alone are selected, by the selectors of the request itself.
    pub selected: BTreeSet<ResourceName>,
}

/// What a request brings, by the resources that its devices stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Devices of these, whatever is chosen.
    pub surely: BTreeSet<ResourceName>,
    /// Devices of these, if the right choice is available.
    pub perhaps: BTreeSet<ResourceName>,
    /// The class of some choice is not there, or says of no resource that its devices stand for it.
    pub unknown: bool,
}

impl DeviceRequest {
    /// What it brings, by what its classes say.
    #[must_use]
    pub fn brings(&self, snapshot: &ClusterSnapshot) -> Brought {
        let mut brought = Brought::default();
        for (index, choice) in self.choices.iter().enumerate() {
            let of_class = snapshot.device_classes.get(&choice.class);
            let resources: BTreeSet<ResourceName> = of_class
                .into_iter()
                .flat_map(|resources| resources.iter())
                .chain(&choice.selected)
                .cloned()
                .collect();
            brought.unknown |= resources.is_empty();
            if index == 0 {
                brought.surely.clone_from(&resources);
            } else {
                brought.surely.retain(|resource| resources.contains(resource));
            }
            brought.perhaps.extend(resources);
        }
        brought
            .perhaps
            .retain(|resource| !brought.surely.contains(resource));
        brought
    }
}
