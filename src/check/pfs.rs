//! Rows about PFs: link, number of VFs and their GUIDs, wherever a network needs what may be missing.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::finding::Finding;
use super::fleet::Asked;
use super::sriov::{NOTHING, each_state};
use super::tally::Words;
use crate::decide::names::ResourceName;
use crate::decide::node::{Node, PfFault, SriovFacts};

/// PFs of InfiniBand networks are InfiniBand.
pub(super) fn link_type(facts: &Facts) -> Finding {
    let words = Words {
        subject: "link type of PFs",
        thing: "node with VFs",
        sound: "InfiniBand wherever an ib-sriov network needs it",
        nothing: NOTHING,
    };
    pf_faults(
        facts,
        words,
        PfFault::NotInfiniband,
        "is not InfiniBand",
        |namespace, node| {
            format!(
                "# set it in the firmware (then power-cycle the node), and in the policy\n\
             kubectl -n {namespace} get sriovnetworknodestate {node} -o \
             jsonpath='{{range .status.interfaces[*]}}{{.name}} {{.pciAddress}} {{.linkType}}{{\"\\n\"}}{{end}}'\n\
             kubectl debug node/{node} -it --image=busybox -- chroot /host mlxconfig -d PCIADDRESS set LINK_TYPE_P1=1\n\
             kubectl -n {namespace} get sriovnetworknodepolicies -o custom-columns=NAME:.metadata.name,LINK:.spec.linkType"
            )
        },
    )
}

/// PFs are up.
pub(super) fn link_up(facts: &Facts) -> Finding {
    let words = Words {
        subject: "links of PFs",
        thing: "node with VFs",
        sound: "administratively up",
        nothing: NOTHING,
    };
    pf_faults(facts, words, PfFault::Down, "is down", |namespace, node| {
        format!(
            "# which PF, and its port as the node sees it (State: Active is right)\n\
             kubectl -n {namespace} get sriovnetworknodestate {node} -o \
             jsonpath='{{range .status.interfaces[*]}}{{.name}} {{.linkAdminState}}{{\"\\n\"}}{{end}}'\n\
             kubectl debug node/{node} -it --image=busybox -- chroot /host ibstat\n\
             kubectl debug node/{node} -it --image=busybox -- chroot /host ip link set PF up"
        )
    })
}

/// PFs have the VFs that were asked for.
pub(super) fn vf_count(facts: &Facts) -> Finding {
    let words = Words {
        subject: "number of VFs",
        thing: "node with VFs",
        sound: "every PF has the VFs its policy asks for",
        nothing: NOTHING,
    };
    pf_faults(
        facts,
        words,
        PfFault::VfsDiffer,
        "has not the VFs asked for",
        |namespace, node| {
            format!(
                "# asked for, and there; numVfs above totalvfs needs SRIOV_EN and NUM_OF_VFS in the firmware\n\
                 kubectl -n {namespace} get sriovnetworknodestate {node} -o \
                 jsonpath='{{range .spec.interfaces[*]}}{{.name}} wants {{.numVfs}}{{\"\\n\"}}{{end}}{{range .status.interfaces[*]}}{{.name}} has {{.numVfs}} of {{.totalvfs}}{{\"\\n\"}}{{end}}{{.status.lastSyncError}}'"
            )
        },
    )
}

/// VFs have GUIDs where nobody gives them one.
pub(super) fn guids(facts: &Facts) -> Finding {
    let words = Words {
        subject: "GUIDs of VFs",
        thing: "node with VFs",
        sound: "no VF has a GUID of all zeros or all ones",
        nothing: NOTHING,
    };
    pf_faults(
        facts,
        words,
        PfFault::GuidUnset,
        "has a VF without a GUID",
        |namespace, node| {
            format!(
                "# which VFs; ib-sriov-cni refuses 0000:0000:0000:0000 and ffff:ffff:ffff:ffff\n\
                 kubectl -n {namespace} get sriovnetworknodestate {node} -o \
                 jsonpath='{{range .status.interfaces[*]}}{{.name}} {{.Vfs[*].guid}}{{\"\\n\"}}{{end}}'\n\
                 # let the daemon set them again (VF by hand: echo Follow > .../sriov/N/policy, then its node and port)\n\
                 kubectl -n {namespace} delete pod -l app=sriov-network-config-daemon --field-selector spec.nodeName={node}"
            )
        },
    )
}

/// A row about one fault of PFs, wherever a network needs what is missing.
fn pf_faults(
    facts: &Facts,
    words: Words,
    fault: PfFault,
    says: &str,
    remedy: impl Fn(&str, &str) -> String,
) -> Finding {
    let problems = |asked: &BTreeMap<ResourceName, Asked>, _: &Node, state: &SriovFacts| {
        let faulty = state.groups.iter().filter(|group| group.faults.contains(&fault));
        let mattering = faulty.filter(|group| {
            asked
                .iter()
                .any(|(resource, asked)| asked.vf && group.serves(resource) && asked.need.hindered_by(fault))
        });
        Ok(mattering.map(|group| format!("{} {says}", group.pf)).collect())
    };
    each_state(facts, words, problems, remedy)
}
