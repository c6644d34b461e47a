//! `POST /preempt`: which of the nodes that kube-scheduler would empty for a pod would then take it. Nobody is evicted
//! on another; the scheduler's choice of victims stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::extract;
use axum::response::Response;

use super::api::{ExtenderPreemptionArgs, ExtenderPreemptionResult, MetaVictims};
use super::handler::{Call, NOT_READY, State, decode, explain};
use crate::cluster::convert;
use crate::decide::names::NodeName;
use crate::decide::placement::Verdict;
use crate::decide::preemption::after_eviction;
use crate::decide::reason::{Reason, Refusal};
use crate::telemetry::label::{ExtenderVerdict, Verb};

/// Answers `preempt`.
///
/// A candidate without victims is left out: kube-scheduler up to 1.37 takes one that is named as an error, and later
/// ones (kubernetes/kubernetes#135486) ask us to choose victims, which we leave to those who know about disruption
/// budgets. Before the cluster is known, and after any doubt, no node is named: nobody is evicted then.
pub(super) async fn preempt(extract::State(state): extract::State<State>, body: Bytes) -> Response {
    let call = Call::begin(Verb::Preempt, &state);
    let args: ExtenderPreemptionArgs = match decode(&body) {
        Ok(args) => args,
        Err(problem) => return call.malformed(&problem),
    };
    let pod = convert::pod::pod(&args.pod, &state.settings);
    let mut answer = ExtenderPreemptionResult::default();
    if !(state.is_ready)() {
        return call.end(ExtenderVerdict::NotReady, &pod.at, NOT_READY, &answer);
    }
    let candidates: BTreeMap<NodeName, MetaVictims> = args
        .candidates()
        .into_iter()
        .map(|(node, victims)| (NodeName::from(node), victims))
        .filter(|(_, victims)| !victims.pods.is_empty())
        .collect();
    let verdicts: Vec<(NodeName, MetaVictims, Verdict)> =
        state.ledger.decide(call.began, |snapshot, book| {
            candidates
                .into_iter()
                .map(|(node, victims)| {
                    let gone: BTreeSet<_> = victims.pods.iter().map(|pod| pod.uid.as_str().into()).collect();
                    let verdict =
                        after_eviction(&pod, &node, &gone, snapshot, book.commitments(), &state.settings);
                    (node, victims, verdict)
                })
                .collect()
        });
    let mut tally: BTreeMap<Reason, (u64, &NodeName, &Refusal)> = BTreeMap::new();
    for (node, _, verdict) in &verdicts {
        if let Verdict::Refused(refusal) = verdict {
            tally.entry(refusal.reason()).or_insert((0, node, refusal)).0 += 1;
        }
    }
    let why = explain(&tally);
    for (node, victims, verdict) in verdicts {
        if let Verdict::Fits(_) = verdict {
            answer
                .node_name_to_meta_victims
                .insert(node.as_str().to_owned(), victims);
        }
    }
    let verdict = if answer.node_name_to_meta_victims.is_empty() {
        ExtenderVerdict::Vetoed
    } else {
        ExtenderVerdict::Evictable
    };
    call.end(verdict, &pod.at, &why, &answer)
}
