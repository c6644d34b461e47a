//! Sets of IP addresses of one family, as Spiderpool writes them: single addresses and inclusive ranges.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// The family of an address, a pool or an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// One address, or all from the first to the last, both included; the form of `spec.ips` of a SpiderIPPool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The family of both ends.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// One of the ends is no address.
    #[error("{0:?} is not an IP address")]
    NotAnAddress(String),
    /// The ends are of different families.
    #[error("the two ends are of different IP families")]
    MixedFamilies,
    /// The last precedes the first.
    #[error("the range ends before it begins")]
    Reversed,
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let address = |text: &str| {
            text.trim()
                .parse::<IpAddr>()
                .map_err(|_| RangeError::NotAnAddress(text.trim().to_owned()))
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (address(first)?, address(last)?),
            None => (address(text)?, address(text)?),
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(RangeError::MixedFamilies);
        }
        if last < first {
            return Err(RangeError::Reversed);
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A set of addresses of one family, kept as ordered ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    ranges: Vec<(u128, u128)>,
}

impl AddressSet {
    /// The set of all addresses in these ranges; the caller gives ranges of one family.
    pub fn of<'a>(ranges: impl IntoIterator<Item = &'a AddressRange>) -> Self {
        let mut bounds: Vec<(u128, u128)> = ranges
            .into_iter()
            .map(|range| (number(range.first), number(range.last)))
            .collect();
        bounds.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(bounds.len());
        for (first, last) in bounds {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }

    /// The addresses of this set that are not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            let mut next = Some(first);
            for &(cut_first, cut_last) in &other.ranges {
                let Some(from) = next else { break };
                if cut_last < from {
                    continue;
                }
                if cut_first > last {
                    break;
                }
                if cut_first > from {
                    ranges.push((from, cut_first - 1));
                }
                next = cut_last.checked_add(1).filter(|after| *after <= last);
            }
            if let Some(from) = next {
                ranges.push((from, last));
            }
        }
        Self { ranges }
    }

    /// Whether `address` is in the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after
            .checked_sub(1)
            .and_then(|index| self.ranges.get(index))
            .is_some_and(|(_, last)| address <= *last)
    }

    /// How many addresses; saturates (a /64 has more than any pool can hand out).
    #[must_use]
    pub fn len(&self) -> u64 {
        let total = self.ranges.iter().fold(0_u128, |sum, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        });
        u64::try_from(total).unwrap_or(u64::MAX)
    }

    /// Whether there is no address in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(texts: &[&str]) -> AddressSet {
        let ranges: Vec<AddressRange> = texts.iter().map(|text| text.parse().unwrap()).collect();
        AddressSet::of(&ranges)
    }

    #[test]
    fn spiderpools_example_leaves_seven_before_allocation() {
        let free = set(&["10.0.0.1-10.0.0.10"])
            .minus(&set(&["10.0.0.10"]))
            .minus(&set(&["10.0.0.1-10.0.0.2"]));
        assert_eq!(free.len(), 7);
        assert!(free.contains("10.0.0.3".parse().unwrap()));
        assert!(!free.contains("10.0.0.10".parse().unwrap()));
    }

    #[test]
    fn a_bad_range_says_what_is_wrong() {
        assert_eq!(
            "10.0.0.x".parse::<AddressRange>(),
            Err(RangeError::NotAnAddress("10.0.0.x".to_owned()))
        );
        assert_eq!(
            "10.0.0.9-10.0.0.1".parse::<AddressRange>(),
            Err(RangeError::Reversed)
        );
        assert_eq!(
            "10.0.0.9-fd00::1".parse::<AddressRange>(),
            Err(RangeError::MixedFamilies)
        );
        assert!("10.0.0.0/24".parse::<AddressRange>().is_err());
    }

    #[test]
    fn the_whole_of_ipv6_does_not_overflow() {
        let all = set(&["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
        assert_eq!(all.len(), u64::MAX);
        assert!(all.minus(&all).is_empty());
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_that_lists_every_address(
            plus in prop::collection::vec((0_u8..60, 0_u8..20), 0..8),
            minus in prop::collection::vec((0_u8..60, 0_u8..20), 0..8),
        ) {
            let ranges = |pairs: &[(u8, u8)]| -> Vec<AddressRange> {
                pairs.iter()
                    .map(|(from, more)| format!("10.0.0.{from}-10.0.0.{}", from + more).parse().unwrap())
                    .collect()
            };
            let list = |pairs: &[(u8, u8)]| -> BTreeSet<u8> {
                pairs.iter().flat_map(|(from, more)| *from..=*from + *more).collect()
            };
            let ours = AddressSet::of(&ranges(&plus)).minus(&AddressSet::of(&ranges(&minus)));
            let listed: BTreeSet<u8> = list(&plus).difference(&list(&minus)).copied().collect();
            prop_assert_eq!(ours.len(), u64::try_from(listed.len()).unwrap());
            for last in 0..=u8::MAX {
                prop_assert_eq!(ours.contains(IpAddr::from([10, 0, 0, last])), listed.contains(&last));
            }
        }

        #[test]
        fn prints_what_it_parses(from in 0_u32.., more in 0_u32..1000) {
            let first = core::net::Ipv4Addr::from_bits(from);
            let last = core::net::Ipv4Addr::from_bits(from.saturating_add(more));
            let range: AddressRange = format!("{first}-{last}").parse().unwrap();
            prop_assert_eq!(range.to_string().parse::<AddressRange>().unwrap(), range);
        }
    }
}
