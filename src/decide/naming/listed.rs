//! The elements of `ipam.spidernet.io/ippools`. Spiderpool's agent allocates for all of them at once when the first of
//! the pod's interfaces asks, whether or not they are for an interface that asks, and fails for all if one cannot be
//! served (`pkg/ipam/utils.go`, `validateAndMutateMultipleNICAnnotations`; tried against the agent itself).

use std::collections::BTreeSet;

use super::{ChoiceFault, InterfaceName, PoolChoice, Refusal};
use crate::decide::pod::InterfacePools;

/// The interface whose network is the cluster's own: `eth0` may be Spiderpool's although no network of the pod says so.
pub(in crate::decide) const OF_THE_CLUSTER: &str = "eth0";

/// The element for an interface: by its name, or by position where none is named.
pub(super) fn own(list: &[InterfacePools], interface: &InterfaceName) -> Result<PoolChoice, Refusal> {
    named(list)
        .find(|(name, _)| name == interface)
        .map(|(_, item)| item.choice.clone())
        .ok_or_else(|| Refusal::PoolChoice(interface.clone(), ChoiceFault::NotListed))
}

/// The element for the cluster's own network, where there is one and none of the pod's own interfaces is meant by it.
///
/// # Errors
/// Elements that the agent does not take: some with an interface and some without, one interface twice, or one that
/// takes no address from Spiderpool.
pub(super) fn of_the_cluster(
    list: &[InterfacePools],
    own: &BTreeSet<InterfaceName>,
) -> Result<Option<(InterfaceName, PoolChoice)>, Refusal> {
    let fault = |name: &InterfaceName, fault| Err(Refusal::PoolChoice(name.clone(), fault));
    let mut seen = BTreeSet::new();
    let mut found = None;
    // Without names the first element is eth0's, and only its call gets an answer that the others can be told from.
    let by_position = list.iter().position(|item| item.interface.is_none());
    if by_position == Some(0) && !own.iter().any(|name| name.as_str() == OF_THE_CLUSTER) {
        return fault(&OF_THE_CLUSTER.into(), ChoiceFault::ByPosition);
    }
    let all_named = list.iter().all(|item| item.interface.is_some());
    for (name, item) in named(list) {
        if item.interface.is_some() != all_named {
            return fault(&name, ChoiceFault::NamedInPart);
        }
        if !seen.insert(name.clone()) {
            return fault(&name, ChoiceFault::ListedTwice);
        }
        if name.as_str() == OF_THE_CLUSTER && !own.contains(&name) {
            found = Some((name, item.choice.clone()));
        } else if !own.contains(&name) {
            return fault(&name, ChoiceFault::NotAsking);
        }
    }
    Ok(found)
}

fn named(list: &[InterfacePools]) -> impl Iterator<Item = (InterfaceName, &InterfacePools)> {
    list.iter().zip(0_u32..).map(|(item, position)| {
        let by_position = || match position {
            0 => OF_THE_CLUSTER.into(),
            position => format!("net{position}").into(),
        };
        (item.interface.clone().unwrap_or_else(by_position), item)
    })
}
