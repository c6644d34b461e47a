//! What is known of a node's place on the InfiniBand fabric: its rails, each with the leaf switch it is cabled to.

use core::fmt;
use core::str::FromStr;

/// A GUID of a node or a port; prints as `0x` and 16 hexadecimal digits. Compared as a number, because tools pad
/// their texts differently.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(pub u64);

impl Guid {
    /// The port GUID at the end of an IPoIB hardware address: 20 bytes of which the first four are a queue pair, the
    /// next eight the subnet's prefix. None for anything else, an Ethernet address among it, and where the GUID is not
    /// set.
    #[must_use]
    pub fn of_hardware_address(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 20];
        let mut parts = text.trim().split(':');
        for byte in &mut bytes {
            let part = parts.next()?;
            // `from_str_radix` would take a sign.
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        if parts.next().is_some() {
            return None;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let (prefix, guid) = (number(bytes.get(4..12)?), number(bytes.get(12..)?));
        (prefix != 0 && guid != 0 && guid != u64::MAX).then_some(Self(guid))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a GUID has 1 to 16 hexadecimal digits, with or without 0x before them")]
pub struct NotAGuid;

impl FromStr for Guid {
    type Err = NotAGuid;

    fn from_str(text: &str) -> Result<Self, NotAGuid> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        // `from_str_radix` would take a sign.
        if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAGuid);
        }
        u64::from_str_radix(digits, 16).map(Self).map_err(|_| NotAGuid)
    }
}

/// The logical state of a rail's port, or what stands in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString, strum::EnumIter)]
pub enum RailState {
    /// The Subnet Manager has brought the port up: traffic flows.
    Active,
    /// Configured, about to be active.
    Armed,
    /// Cabled, but the Subnet Manager has not configured it (or it has no LID).
    Initialize,
    /// No link.
    Down,
    /// Expected, from the last import or because the PF is there, and absent from the fabric now.
    Dark,
    /// The dump lists the port but carries no state (the text of `ibnetdiscover`).
    Unknown,
}

/// How many lanes a link runs on; prints as `4x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Width(u8);

impl Width {
    /// The widths InfiniBand has: 1, 2, 4, 8 or 12 lanes; none for any other number.
    #[must_use]
    pub fn of_lanes(lanes: u8) -> Option<Self> {
        matches!(lanes, 1 | 2 | 4 | 8 | 12).then_some(Self(lanes))
    }

    /// The number of lanes.
    #[must_use]
    pub fn lanes(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
    }
}

/// Why a text is no width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a width is 1x, 2x, 4x, 8x or 12x")]
pub struct NotAWidth;

impl FromStr for Width {
    type Err = NotAWidth;

    fn from_str(text: &str) -> Result<Self, NotAWidth> {
        let lanes = text.strip_suffix(['x', 'X']).ok_or(NotAWidth)?;
        lanes.parse().ok().and_then(Self::of_lanes).ok_or(NotAWidth)
    }
}

/// The speed of one lane by its name, the slowest first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Speed {
    /// 2.5 Gbit/s.
    Sdr,
    /// 5 Gbit/s.
    Ddr,
    /// 10 Gbit/s.
    Qdr,
    /// 10.3 Gbit/s.
    Fdr10,
    /// 14 Gbit/s.
    Fdr,
    /// 25.8 Gbit/s.
    Edr,
    /// 53.1 Gbit/s.
    Hdr,
    /// 106.3 Gbit/s.
    Ndr,
    /// 200 Gbit/s.
    Xdr,
}

/// How a port of the fabric was matched to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::EnumString, strum::EnumIter)]
#[strum(serialize_all = "lowercase")]
pub enum MatchedBy {
    /// By the port GUID of a PF: certain.
    Guid,
    /// By the host's name in the port's description.
    Name,
    /// By the user's map file.
    Map,
}

/// One PF's connection to the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rail {
    /// Its number on the node, from 0.
    pub rail: u16,
    /// What the host calls the device, such as `mlx5_0`; empty where the fabric does not tell.
    pub hca: String,
    /// The port's GUID, by which it is joined to its PF.
    pub guid: Guid,
    /// The switch it is cabled to; for a dark rail the one it was last seen at.
    pub leaf: Option<Guid>,
    /// What that switch calls itself; for people.
    pub leaf_name: String,
    /// The port of that switch.
    pub port: Option<u16>,
    /// Whether it can be used.
    pub state: RailState,
    /// Its lanes, where the dump tells.
    pub width: Option<Width>,
    /// The speed of each, where the dump tells.
    pub speed: Option<Speed>,
    /// How it was matched to the node.
    pub source: MatchedBy,
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator as _;

    use super::*;

    #[test]
    fn guids_are_numbers_however_they_are_written() {
        assert_eq!("0x2c9".parse(), Ok(Guid(0x2c9)));
        assert_eq!("00000000000002C9".parse(), Ok(Guid(0x2c9)));
        assert_eq!(Guid(0x2c9).to_string(), "0x00000000000002c9");
        for wrong in ["", "0x", "+2c9", "g", "00000000000000000", "0x 1"] {
            assert_eq!(wrong.parse::<Guid>(), Err(NotAGuid), "{wrong}");
        }
    }

    #[test]
    fn the_hardware_address_of_an_infiniband_port_ends_with_its_guid() {
        let address = "00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:10";
        assert_eq!(
            Guid::of_hardware_address(address),
            Some(Guid(0xe8eb_d303_0093_ae10))
        );
        for wrong in [
            "",
            "e8:eb:d3:03:00:93",
            "00:00:10:49:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
            "00:00:10:49:00:00:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:10",
            "00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:10:11",
            "00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:03:00:93:ae:+1",
        ] {
            assert_eq!(Guid::of_hardware_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_word_reads_back_as_what_it_was() {
        for state in RailState::iter() {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        for speed in Speed::iter() {
            assert_eq!(speed.to_string().parse(), Ok(speed));
        }
        for source in MatchedBy::iter() {
            assert_eq!(source.to_string().parse(), Ok(source));
        }
        assert_eq!(Speed::Fdr10.to_string(), "FDR10");
        assert!(Speed::Sdr < Speed::Fdr10 && Speed::Fdr10 < Speed::Xdr);
        assert_eq!("12x".parse::<Width>().unwrap().lanes(), 12);
        assert_eq!("3x".parse::<Width>(), Err(NotAWidth));
    }
}
