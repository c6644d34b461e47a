//! What is wrong with a fabric, or with what is known of it.

use core::time::Duration;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::decide::fabric::{Rail, RailState};

use super::dump::Dump;
use super::node::Nodes;
use super::picture::{Health, Usual};
use super::plan::{Plan, brief};
use super::survey::Survey;
use crate::simulate::columns::plural;

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What is asked.
    pub id: &'static str,
    /// Of what.
    pub subject: String,
    /// Whether all is well.
    pub answer: Answer,
    /// What says so.
    pub evidence: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// Whether all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Answer {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can tell from here.
    Unknown,
}

/// Examples in an answer; the rest is counted.
const EXAMPLES: usize = 10;
/// Unicast LIDs of a subnet: 1 to 0xBFFF.
const LIDS: usize = 49_151;

/// What is wrong with the files themselves.
#[must_use]
pub fn files(dumps: &[(String, Dump)]) -> Row {
    let torn: Vec<String> = dumps
        .iter()
        .flat_map(|(file, dump)| dump.torn.iter().map(move |text| format!("{file}: {text}")))
        .collect();
    told(
        "one-sided-links",
        "every link is listed from both of its ends, alike",
        &torn,
        "the file is cut off, damaged or was read while it was written: make it again; nothing imports it",
    )
}

/// What is wrong with the fabric they describe. `nodes` where it is known which there are.
#[must_use]
pub fn fabric(survey: &Survey, plan: &Plan, nodes: Option<&Nodes>) -> Vec<Row> {
    let named: Vec<(String, &Rail)> = survey
        .hosts
        .iter()
        .flat_map(|(host, rails)| rails.iter().map(move |rail| (host.name(), rail)))
        .collect();
    let mut rows = rails(&named);
    let lid_0: Vec<String> = survey
        .fabric
        .ports
        .iter()
        .filter(|(_, port)| port.lid == Some(0))
        .map(|(guid, port)| format!("{} ({guid})", port.description.as_deref().unwrap_or("a port")))
        .collect();
    rows.push(told(
        "lid-0",
        "every port has a LID",
        &lid_0,
        "no Subnet Manager has configured them: start one for that subnet",
    ));
    let miscabled: Vec<String> = survey
        .miscabled
        .iter()
        .map(|found| {
            format!(
                "{} rail {} ({}) is at {}, others of its group at {}",
                found.host.name(),
                found.rail,
                found.hca,
                survey.fabric.switch_name(found.leaf),
                survey.fabric.switch_name(found.expected)
            )
        })
        .collect();
    rows.push(told(
        "cabling",
        "a rail is at the same leaf for all hosts of a leaf group",
        &miscabled,
        "look for swapped cables",
    ));
    rows.push(told(
        "ambiguous",
        "every host can be told from every other",
        &plan.ambiguous,
        "correct the node descriptions (rdma-ndd), or say which is which in --map by GUID; they are left alone",
    ));
    rows.push(unmatched(plan, nodes));
    rows.push(budget(survey, nodes));
    rows.push(Row {
        id: "virtualization",
        subject: "the Subnet Manager brings VFs up".to_owned(),
        answer: Answer::Unknown,
        evidence: "no dump lists VFs".to_owned(),
        remedy: "ConnectX-4 and later need a Subnet Manager with virtualization: NVIDIA's OpenSM (virt_enabled 2) or \
                 UFM; the OpenSM of linux-rdma has none"
            .to_owned(),
    });
    rows
}

/// What is wrong with rails, from a dump or from what nodes carry.
#[must_use]
pub fn rails(rails: &[(String, &Rail)]) -> Vec<Row> {
    let usual = Usual::of(rails.iter().map(|(_, rail)| *rail));
    let those = |wanted: Health| -> Vec<String> {
        rails
            .iter()
            .filter(|(_, rail)| usual.health(rail) == wanted)
            .map(|(host, rail)| format!("{host} rail {} ({}) {}", rail.rail, rail.hca, brief(rail)))
            .collect()
    };
    let mut rows = vec![
        told(
            "dark",
            "every rail that is expected is there",
            &those(Health::Dark),
            "look at the cable, the port and the host",
        ),
        told(
            "active",
            "every rail is active",
            &those(Health::Unfit),
            "is a Subnet Manager running? Until it has configured a port, no VF of it comes up",
        ),
        told(
            "degraded",
            "every rail is as wide and fast as most",
            &those(Health::Slow),
            "look at the cable and its seat",
        ),
    ];
    let silent = rails
        .iter()
        .filter(|(_, rail)| rail.state == RailState::Unknown)
        .count();
    if silent > 0 && rows.get(1).is_some_and(|row| row.answer == Answer::Yes) {
        rows.push(Row {
            id: "states",
            subject: "the states of ports are known".to_owned(),
            answer: Answer::Unknown,
            evidence: format!("of {} the dump tells none", plural(silent, "rail")),
            remedy: "add --state with the output of `iblinkinfo -l`, or OpenSM's opensm-subnet.lst: a port that no \
                     Subnet Manager has configured looks well in the text of ibnetdiscover"
                .to_owned(),
        });
    }
    rows
}

/// Whether what is known is recent.
#[must_use]
pub fn age(age: Duration, most: Duration) -> Row {
    let minutes = age.as_secs() / 60;
    let evidence = format!("made {} h {} min ago", minutes / 60, minutes % 60);
    Row {
        id: "age",
        subject: "what is known is recent".to_owned(),
        answer: if age > most { Answer::No } else { Answer::Yes },
        evidence,
        remedy: if age > most {
            "make a new dump and import it; a CronJob or `topology watch` does it without being asked"
                .to_owned()
        } else {
            String::new()
        },
    }
}

/// What is said of the age of what was never imported.
#[must_use]
pub fn never() -> Row {
    Row {
        id: "age",
        subject: "what is known is recent".to_owned(),
        answer: Answer::No,
        evidence: "there is no Lease of an import".to_owned(),
        remedy: "import a dump with --apply".to_owned(),
    }
}

fn unmatched(plan: &Plan, nodes: Option<&Nodes>) -> Row {
    let subject = "every host of the fabric is a node".to_owned();
    let Some(nodes) = nodes else {
        return Row {
            id: "unmatched",
            subject,
            answer: Answer::Unknown,
            evidence: "nobody said which nodes there are".to_owned(),
            remedy: "give --nodes-from-cluster or --nodes".to_owned(),
        };
    };
    let missing = nodes
        .keys()
        .filter(|name| !plan.nodes.contains_key(*name))
        .count();
    let (answer, remedy) = if plan.unmatched.is_empty() {
        (Answer::Yes, String::new())
    } else {
        // A host of storage or of the Subnet Manager is no node, and rightly so.
        (
            Answer::Unknown,
            "fine for storage and Subnet Managers; if one of them is a node, name it in --map, or let its PF's port \
             GUID show in its SriovNetworkNodeState"
                .to_owned(),
        )
    };
    Row {
        id: "unmatched",
        subject,
        answer,
        evidence: format!(
            "{} without a node{}; {} without a host",
            plural(plan.unmatched.len(), "host"),
            examples(&plan.unmatched),
            plural(missing, "node"),
        ),
        remedy,
    }
}

/// Each VF of ConnectX-4 and later usually has a LID of its own.
fn budget(survey: &Survey, nodes: Option<&Nodes>) -> Row {
    let lids: BTreeSet<u16> = survey
        .fabric
        .ports
        .values()
        .filter_map(|port| port.lid)
        .chain(survey.fabric.switches.values().filter_map(|switch| switch.lid))
        .filter(|lid| *lid != 0)
        .collect();
    let vfs: usize = nodes
        .into_iter()
        .flat_map(|nodes| nodes.values())
        .flat_map(|facts| facts.pfs.iter().flatten())
        .map(|pf| usize::try_from(pf.vfs).unwrap_or(usize::MAX))
        .fold(0, usize::saturating_add);
    let needed = lids.len().saturating_add(vfs);
    let over = needed > LIDS;
    Row {
        id: "lid-budget",
        subject: format!("the subnet has LIDs enough ({LIDS})"),
        answer: if over { Answer::No } else { Answer::Yes },
        evidence: format!(
            "{} used by ports and switches, {vfs} VFs may want one each",
            lids.len()
        ),
        remedy: if over {
            "have fewer VFs per PF, or split the fabric into subnets".to_owned()
        } else {
            String::new()
        },
    }
}

fn told(id: &'static str, subject: &str, wrong: &[String], remedy: &str) -> Row {
    let fine = wrong.is_empty();
    Row {
        id,
        subject: subject.to_owned(),
        answer: if fine { Answer::Yes } else { Answer::No },
        evidence: if fine {
            "none found that is not".to_owned()
        } else {
            format!("{} not{}", wrong.len(), examples(wrong))
        },
        remedy: if fine { String::new() } else { remedy.to_owned() },
    }
}

fn examples(list: &[String]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let mut text = format!(
        ": {}",
        list.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join("; ")
    );
    if list.len() > EXAMPLES {
        text.push_str("; ...");
    }
    text
}
