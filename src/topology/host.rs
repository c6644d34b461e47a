//! What a port's description says of the host behind it.
//!
//! The text is written by the host's own `rdma-ndd`: by default the kernel's host name up to its first dot, a blank,
//! the device. It is not the name of the Kubernetes node, it is missing while a host boots, and it is cut at 63 bytes.

/// How long a description can be: `NodeDescription` has 64 bytes, of which the tools print 63.
const LONGEST: usize = 63;

/// A description, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Description<'a> {
    /// A host and its device; the device is empty where the text is of one word.
    Named {
        /// The kernel's name of the host, as written.
        host: &'a str,
        /// What that kernel calls the device; opaque.
        device: &'a str,
    },
    /// The beginning of a name that was too long.
    Cut(&'a str),
    /// The firmware's own text: the host has not written its name yet, or never will.
    Default,
}

impl<'a> Description<'a> {
    /// Reads a description.
    #[must_use]
    pub fn read(text: &'a str) -> Self {
        let text = text.trim();
        if text.is_empty() || text.contains("Mellanox Technologies") {
            return Self::Default;
        }
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next_back()) {
            (None, _) => Self::Default,
            (Some(_), None) if text.len() >= LONGEST => Self::Cut(text),
            (Some(host), device) => Self::Named {
                host,
                device: device.unwrap_or(""),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("node01 mlx5_0", "node01", "mlx5_0")]
    #[case("  node01 mlx5_0", "node01", "mlx5_0")]
    #[case("edge04 HCA-1", "edge04", "HCA-1")]
    #[case("edge13 \"r[3]\" mlx5_0", "edge13", "mlx5_0")]
    #[case("node01", "node01", "")]
    fn host_is_the_first_word_and_device_the_last(
        #[case] text: &str,
        #[case] host: &str,
        #[case] device: &str,
    ) {
        assert_eq!(Description::read(text), Description::Named { host, device });
    }

    #[test]
    fn what_names_no_host_is_not_taken_for_one() {
        assert_eq!(
            Description::read("MT4123 ConnectX6   Mellanox Technologies"),
            Description::Default
        );
        assert_eq!(Description::read("   "), Description::Default);
        let cut = "edge15.very-long-row-and-rack-name.datacenter-7.example.interna";
        assert_eq!(Description::read(cut), Description::Cut(cut));
    }
}
