//! The elements of `ipam.spidernet.io/ippools`. Spiderpool's agent allocates for all of them at once when the first of
//! the pod's interfaces asks, whether or not they are for an interface that asks, and fails for all if one cannot be
//! served (`pkg/ipam/utils.go`, `validateAndMutateMultipleNICAnnotations`; tried against the agent itself).

use std::collections::{BTreeMap, BTreeSet};

use super::{ChoiceFault, InterfaceName, Own, PoolChoice, Refusal};
use crate::decide::pod::InterfacePools;

/// The interface whose network is the cluster's own; what the first element is for where none names its interface.
pub(in crate::decide) const OF_THE_CLUSTER: &str = "eth0";

/// The element for an interface: by its name, or by position where none is named.
pub(super) fn own(list: &[InterfacePools], interface: &InterfaceName) -> Result<PoolChoice, Refusal> {
    listed(list)
        .find(|(name, _)| name == interface)
        .map(|(_, item)| item.choice.clone())
        .ok_or_else(|| Refusal::PoolChoice(interface.clone(), ChoiceFault::NotListed))
}

/// The elements for interfaces that do not ask Spiderpool: the cluster's network on `eth0` may be Spiderpool's although no
/// network of the pod says so, and any other of the pod's takes an address that nobody uses.
///
/// # Errors
/// A list that the agent does not take: some elements with an interface and some without, one interface twice, or one
/// that the pod does not have.
pub(super) fn beside<'a>(
    list: &'a [InterfacePools],
    own: &BTreeMap<InterfaceName, Own<'_>>,
) -> Result<Vec<(InterfaceName, &'a PoolChoice)>, Refusal> {
    let fault = |name: &InterfaceName, fault| Err(Refusal::PoolChoice(name.clone(), fault));
    // Without names the first element is eth0's, and only its call gets an answer that the others can be told from.
    let by_position = list.iter().position(|item| item.interface.is_none());
    if by_position == Some(0)
        && !own
            .iter()
            .any(|(name, own)| own.asks && name.as_str() == OF_THE_CLUSTER)
    {
        return fault(&OF_THE_CLUSTER.into(), ChoiceFault::ByPosition);
    }
    let all_named = list.iter().all(|item| item.interface.is_some());
    let mut seen = BTreeSet::new();
    let mut beside = Vec::new();
    for (name, item) in listed(list) {
        if item.interface.is_some() != all_named {
            return fault(&name, ChoiceFault::NamedInPart);
        }
        if !seen.insert(name.clone()) {
            return fault(&name, ChoiceFault::ListedTwice);
        }
        match own.get(&name) {
            Some(own) if own.asks => {}
            None if name.as_str() != OF_THE_CLUSTER => return fault(&name, ChoiceFault::NoInterface),
            _ => beside.push((name, &item.choice)),
        }
    }
    Ok(beside)
}

/// The elements, each with its interface: the one it names, or by its position.
pub(in crate::decide) fn listed(
    list: &[InterfacePools],
) -> impl Iterator<Item = (InterfaceName, &InterfacePools)> {
    list.iter().zip(0_u32..).map(|(item, position)| {
        let by_position = || match position {
            0 => OF_THE_CLUSTER.into(),
            position => format!("net{position}").into(),
        };
        (item.interface.clone().unwrap_or_else(by_position), item)
    })
}
