//! `pointsman check`: is the cluster such that exclusive RDMA can work in it, step by step, and what to do where it is
//! not.
//!
//! [`gather`] and [`live`] collect [`facts`] from files or from a cluster; every row is a pure function of them, one
//! module for each area. [`catalog`] is the one list of rows. Whatever placement decides by is read by the same
//! conversion as in `serve`, so that a row and a refusal never contradict.

pub mod catalog;
pub mod document;
mod draws;
mod fabric;
pub mod facts;
mod finding;
mod fleet;
pub mod gather;
mod installed;
pub mod live;
mod networks;
pub mod objects;
mod ours;
mod pfs;
mod pod;
pub mod pod_facts;
mod pools;
pub mod rbac;
mod scheduler;
pub mod source;
mod sriov;
mod table;
mod tally;
mod trial;
mod webhook;

use serde::Serialize;

pub use self::facts::Facts;
pub use self::finding::{Answer, Finding};
pub use self::table::write_table;

/// The checklist, as `-o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// One row for each question, in the order of the [`catalog`].
    pub rows: Vec<Row>,
}

/// One answered question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which; never changes.
    pub id: &'static str,
    /// What was looked at.
    pub subject: String,
    /// Whether it is as it should be.
    pub answer: Answer,
    /// Names and numbers the answer rests on.
    pub evidence: String,
    /// Shell lines to paste; empty for a yes.
    pub remedy: String,
}

impl Report {
    /// Whether no row says no.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.rows.iter().all(|row| row.answer != Answer::No)
    }
}

/// Answers every question that applies: those about a pod when one is asked about, else those about the cluster.
#[must_use]
pub fn check(facts: &Facts) -> Report {
    let rows = catalog::CHECKS.iter().filter_map(|check| {
        let Finding {
            subject,
            answer,
            evidence,
            remedy,
        } = check.find(facts)?;
        Some(Row {
            id: check.id,
            subject,
            answer,
            evidence,
            remedy,
        })
    });
    Report { rows: rows.collect() }
}
