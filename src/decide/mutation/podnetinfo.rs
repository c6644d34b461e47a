//! The volume `podnetinfo`, by which network-resources-injector shows a pod its own labels, annotations and huge pages:
//! programs that were written for it read those files.

use super::{Place, PodFacts, Settings};
use crate::decide::names::ContainerName;
use crate::decide::settings::Podnetinfo;

/// What is missing of the volume and its mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodnetinfoChange {
    /// The files of the volume, where there is none.
    pub files: Vec<MetadataFile>,
    /// Containers that are to mount it.
    pub mounts: Vec<Place>,
    /// Containers that are to be told their own name, by which they find their files of huge pages.
    pub named: Vec<Place>,
}

/// A file of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataFile {
    /// The pod's labels.
    Labels,
    /// Its annotations.
    Annotations,
    /// Huge pages of one size that a container requests or is limited to.
    Hugepages {
        /// The container.
        container: ContainerName,
        /// Requested, not limited to.
        requested: bool,
        /// The size of a page, such as `2Mi`.
        size: String,
    },
}

/// What is missing of it for a pod that takes a VF. A volume of that name that the pod brings stays what it is.
pub(super) fn change(pod: &PodFacts, will_have_gang: bool, settings: &Settings) -> PodnetinfoChange {
    if settings.podnetinfo == Podnetinfo::Off {
        return PodnetinfoChange::default();
    }
    let with_hugepages = settings.podnetinfo == Podnetinfo::WithHugepages;
    let containers = || pod.all_containers();
    let hugepages = containers()
        .filter(|_| with_hugepages)
        .flat_map(|(_, container)| {
            container.hugepages.iter().map(|pages| MetadataFile::Hugepages {
                container: container.name.clone(),
                requested: pages.requested,
                size: pages.size.clone(),
            })
        });
    let labels = (will_have_gang || !pod.labels.is_empty()).then_some(MetadataFile::Labels);
    let files = labels
        .into_iter()
        .chain([MetadataFile::Annotations])
        .chain(hugepages);
    PodnetinfoChange {
        files: if pod.has_podnetinfo {
            Vec::new()
        } else {
            files.collect()
        },
        mounts: containers()
            .filter(|(_, container)| !container.mounts_podnetinfo)
            .map(|(place, _)| place)
            .collect(),
        named: containers()
            .filter(|(_, container)| {
                with_hugepages && !container.hugepages.is_empty() && !container.told.own_name
            })
            .map(|(place, _)| place)
            .collect(),
    }
}
