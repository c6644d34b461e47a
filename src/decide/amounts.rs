//! Amounts of resources, in thousandths, as Kubernetes counts them.

use std::collections::BTreeMap;

use super::names::ResourceName;

/// One of anything, in thousandths.
pub const ONE: u64 = 1000;

/// Resources that every kubelet reports. Where a shortened example leaves one out, it is not limited.
const ALWAYS_REPORTED: [&str; 4] = ["cpu", "ephemeral-storage", "memory", "pods"];

/// How much of each resource; what is not named is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amounts(BTreeMap<ResourceName, u64>);

impl Amounts {
    /// How much of `resource`, in thousandths.
    #[must_use]
    pub fn of(&self, resource: &str) -> u64 {
        self.0.get(resource).copied().unwrap_or(0)
    }

    /// Whether `resource` is named, be it with none.
    #[must_use]
    pub fn names(&self, resource: &str) -> bool {
        self.0.contains_key(resource)
    }

    /// What is left without the resources for which `drop` holds.
    #[must_use]
    pub fn without(&self, drop: impl Fn(&ResourceName) -> bool) -> Self {
        self.iter()
            .filter(|(resource, _)| !drop(resource))
            .map(|(resource, amount)| (resource.clone(), amount))
            .collect()
    }

    /// How many whole ones of `resource`.
    #[must_use]
    pub fn count(&self, resource: &ResourceName) -> u32 {
        u32::try_from(self.of(resource.as_str()) / ONE).unwrap_or(u32::MAX)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every resource with its amount, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, u64)> {
        self.0.iter().map(|(resource, amount)| (resource, *amount))
    }

    /// Adds `more`.
    pub fn add(&mut self, more: &Self) {
        for (resource, amount) in more.iter() {
            let sum = self.0.entry(resource.clone()).or_insert(0);
            *sum = sum.saturating_add(amount);
        }
    }

    /// Adds `more` so many times.
    pub fn add_times(&mut self, more: &Self, times: u32) {
        for (resource, amount) in more.iter() {
            let sum = self.0.entry(resource.clone()).or_insert(0);
            *sum = sum.saturating_add(amount.saturating_mul(u64::from(times)));
        }
    }

    /// Takes `less` away; nothing becomes less than none.
    pub fn take(&mut self, less: &Self) {
        for (resource, amount) in less.iter() {
            if let Some(rest) = self.0.get_mut(resource) {
                *rest = rest.saturating_sub(amount);
            }
        }
        self.0.retain(|_, amount| *amount > 0);
    }

    /// Sets each amount to the one in `other`, where that names one.
    pub fn replace(&mut self, other: &Self) {
        self.0
            .extend(other.iter().map(|(resource, amount)| (resource.clone(), amount)));
    }

    /// Raises each amount to the one in `other`, where that is more.
    pub fn raise(&mut self, other: &Self) {
        for (resource, amount) in other.iter() {
            let peak = self.0.entry(resource.clone()).or_insert(0);
            *peak = (*peak).max(amount);
        }
    }

    /// How often `each` fits into what is offered and not used; `most` at the most.
    #[must_use]
    pub fn times(offered: &Self, used: &[&Self], each: &Self, most: u32) -> u32 {
        each.iter()
            .filter(|(_, amount)| *amount > 0)
            .fold(most, |times, (resource, amount)| {
                let name = resource.as_str();
                let Some(total) = offered.0.get(name) else {
                    return if ALWAYS_REPORTED.contains(&name) { times } else { 0 };
                };
                let taken = used
                    .iter()
                    .fold(0_u64, |sum, used| sum.saturating_add(used.of(name)));
                times.min(u32::try_from(total.saturating_sub(taken) / amount).unwrap_or(u32::MAX))
            })
    }
}

impl FromIterator<(ResourceName, u64)> for Amounts {
    fn from_iter<T: IntoIterator<Item = (ResourceName, u64)>>(amounts: T) -> Self {
        Self(amounts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(pairs: &[(&str, u64)]) -> Amounts {
        pairs
            .iter()
            .map(|(name, amount)| (ResourceName::from(*name), *amount))
            .collect()
    }

    #[test]
    fn fits_as_often_as_the_scarcest_resource_allows() {
        let offered = amounts(&[("cpu", 64_000), ("x.io/vf", 8_000)]);
        let used = amounts(&[("cpu", 4_000), ("x.io/vf", 1_000)]);
        let each = amounts(&[("cpu", 16_000), ("x.io/vf", 1_000), ("memory", 1)]);
        assert_eq!(Amounts::times(&offered, &[&used], &each, 100), 3);
        assert_eq!(Amounts::times(&offered, &[&used, &used], &each, 100), 3);
        assert_eq!(Amounts::times(&offered, &[&used], &each, 2), 2);
        assert_eq!(
            Amounts::times(&offered, &[], &amounts(&[("x.io/other", 1)]), 5),
            0
        );
    }

    #[test]
    fn taking_never_goes_below_none() {
        let mut sum = amounts(&[("cpu", 500)]);
        sum.take(&amounts(&[("cpu", 700), ("memory", 1)]));
        assert!(sum.is_empty());
    }
}
