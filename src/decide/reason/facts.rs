//! The facts that refusals carry, and how they are told.

use core::fmt;

use crate::decide::names::{InterfaceName, PoolName, ResourceName};
use crate::decide::tier::Domain;

/// What is wrong with the pools named for an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceFault {
    /// A pool that is named does not exist.
    Missing(PoolName),
    /// A pool is named twice.
    Twice(PoolName),
    /// `ippools` lists other interfaces, but not this one.
    NotListed,
    /// `ippools` lists this one, which the pod does not have.
    NoInterface,
    /// `ippools` lists this one twice.
    ListedTwice,
    /// The elements of `ippools` name no interface, so the first is for `eth0`, which is not known to be Spiderpool's.
    ByPosition,
    /// Some elements of `ippools` name their interface, and some do not.
    NamedInPart,
    /// The record of the addresses that the pod's predecessor had is of other interfaces too, and of none that is kept.
    RecordInTheWay,
    /// A wildcard is malformed.
    BadWildcard(String),
    /// Nothing names a pool, or the wildcards that do match none.
    Nothing,
}

/// How many VFs of a resource there are, and are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The resource.
    pub resource: ResourceName,
    /// VFs the pod wants.
    pub wanted: u32,
    /// VFs the node offers.
    pub allocatable: u32,
    /// VFs that pods on the node take or were promised.
    pub taken: u32,
    /// VFs behind PFs that are not fit for use.
    pub unfit: u32,
    /// VFs that the node's SR-IOV state counts, where it has one.
    pub in_place: Option<u32>,
}

/// Pools that can promise no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmptyPools {
    /// The interface that needs an address.
    pub interface: InterfaceName,
    /// The pools it could come from.
    pub pools: Vec<PoolName>,
    /// Addresses free in them by the IPAM's records.
    pub free: u64,
    /// Addresses of them promised to pods that have not fetched them yet.
    pub promised: u64,
    /// How many pods need one at once: more than one for a group that the scheduler places as a whole.
    pub pods: u32,
}

/// How much room a gang needs, and where there is most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Label key of the tier.
    pub tier: String,
    /// How many pods are still to come.
    pub need: u32,
    /// The domain with the most room, and for how many of them.
    pub best: Option<(Domain, u32)>,
}

impl fmt::Display for ChoiceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(pool) => write!(f, "pool {pool} does not exist"),
            Self::Twice(pool) => write!(f, "pool {pool} is named twice"),
            Self::NotListed => {
                f.write_str("annotation ipam.spidernet.io/ippools lists other interfaces, but not this one")
            }
            Self::NoInterface => f.write_str(
                "annotation ipam.spidernet.io/ippools lists it, and the pod has no such interface",
            ),
            Self::ListedTwice => f.write_str("annotation ipam.spidernet.io/ippools lists it twice"),
            Self::ByPosition => f.write_str(
                "the elements of annotation ipam.spidernet.io/ippools name no interface, which works only where \
                 Spiderpool serves eth0, too: name the interface in each",
            ),
            Self::NamedInPart => f.write_str(
                "some elements of annotation ipam.spidernet.io/ippools name their interface, and some do not",
            ),
            Self::RecordInTheWay => f.write_str(
                "the pod's SpiderEndpoint keeps addresses for other interfaces and none out of a pool that is named for \
                 this one, the first; Spiderpool writes no new record beside it: scale the StatefulSet below this pod \
                 until the SpiderEndpoint is gone, and up again",
            ),
            Self::BadWildcard(pattern) => write!(f, "wildcard {pattern:?} is malformed"),
            Self::Nothing => f.write_str("nothing names a pool that exists"),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} wanted: {} on the node, {} taken, {} behind PFs that are not fit for use",
            self.wanted, self.resource, self.allocatable, self.taken, self.unfit
        )?;
        // The count of the device plugin drops for a moment when it starts anew, and that is no loss of VFs.
        match self.in_place {
            Some(there) if there > self.allocatable => write!(
                f,
                "; the SR-IOV operator counts {there}: the device plugin may be starting"
            ),
            _ => Ok(()),
        }
    }
}
