//! InfiniBand networks that can be read, and still never carry a packet.

use super::{Attachment, Findings, Interface, NetworkRef, Plugin, Problem, quoted};
use crate::decide::network::{Infiniband, LinkState};

/// The largest partition key without the bit that tells members from guests; ib-kubernetes takes no larger one.
const LARGEST_PKEY: u32 = 0x7fff;

impl Findings {
    /// What is wrong with the links of the pod's InfiniBand networks, each network once.
    pub(super) fn links(&mut self, interfaces: &[Interface<'_>]) {
        for interface in interfaces {
            for problem in problems(&interface.network, interface.attachment) {
                if !self.knows(&problem) {
                    self.refuse(problem);
                }
            }
        }
    }
}

/// What is wrong with the link of one network.
#[must_use]
pub fn problems(network: &NetworkRef, attachment: &Attachment) -> Vec<Problem> {
    let Plugin::IbSriov { ib_kubernetes, .. } = attachment.plugin else {
        return Vec::new();
    };
    let Infiniband { link, pkey } = &attachment.infiniband;
    let link = match link {
        LinkState::Usable => None,
        LinkState::Disabled => Some((
            "disable",
            "leave it out, or set enable or auto: this one turns the link off",
        )),
        LinkState::Unknown(other) => Some((other.as_str(), "set enable or auto: the plugin knows no other")),
    };
    let link = link.map(|(found, remedy)| {
        let at = format!("network {network}, link_state");
        Problem::new(at, quoted(found), "enable or auto", remedy)
    });
    let pkey = pkey
        .as_deref()
        .filter(|text| ib_kubernetes && !ib_kubernetes_takes(text))
        .map(|text| {
            Problem::new(
                format!("network {network}, pkey"),
                quoted(text),
                format!(
                    "0x and four hexadecimal digits, at most {LARGEST_PKEY:#06x}, as ib-kubernetes reads it"
                ),
                "write it so, as text; ib-kubernetes never configures a pod with another one",
            )
        });
    link.into_iter().chain(pkey).collect()
}

/// ib-kubernetes looks for `0[xX]\d+`, so that a letter cannot come first, and takes what follows the first two
/// characters for hexadecimal (`pkg/utils/utils.go`).
fn ib_kubernetes_takes(text: &str) -> bool {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    digits
        .filter(|digits| digits.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|key| key <= LARGEST_PKEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_ib_kubernetes_takes() {
        for text in ["0x0001", "0x7fff", "0X10", "0x0abc", "0x0"] {
            assert!(ib_kubernetes_takes(text), "{text}");
        }
        for text in [
            "1000",
            "0x",
            "0x8001",
            "0xffff",
            "0xabc",
            "0x1g",
            " 0x1",
            "x1",
            "0x+1",
            "0x100000001",
        ] {
            assert!(!ib_kubernetes_takes(text), "{text}");
        }
    }
}
