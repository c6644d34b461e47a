//! Asking changes nothing: whatever is filtered, scored or asked about evictions, any number of times and in any order,
//! no later answer differs but through what is held for pods that live.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::calls::{Rig, names};

const NODES: [&str; 3] = ["n1", "n2", "n3"];

/// Three nodes of two VFs, a pool of four addresses, and one pod that is bound.
fn rig() -> Rig {
    let rig = Rig::new(2, 4);
    for node in NODES {
        rig.remember(&json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node, "labels": {"pointsman.io/leaf-group": if node == "n3" { "b" } else { "a" }}},
            "status": {"allocatable": {"x.io/vf": "2", "cpu": "64"}}}));
    }
    rig.remember(&Rig::bound_pod("old", "n1"));
    rig
}

/// A pod alone, or one of a gang of two.
fn pod(number: u8) -> Value {
    let mut pod = Rig::pod(&format!("p{number}"));
    if (2..8).contains(&number) {
        pod["metadata"]["labels"] = json!({"pointsman.io/gang": "g"});
        pod["metadata"]["annotations"]["pointsman.io/gang-size"] = json!("2");
        pod["metadata"]["annotations"]["pointsman.io/locality"] = json!("preferred=leaf-group");
    }
    pod
}

/// Nodes in the order of the scheduler's rotation.
fn rotated(turn: usize) -> Vec<&'static str> {
    let mut nodes = NODES.to_vec();
    nodes.rotate_left(turn % NODES.len());
    nodes
}

async fn filter(rig: &Rig, number: u8, turn: usize) -> (Vec<String>, Value) {
    let answer = rig.filter(&pod(number), &rotated(turn)).await;
    let mut fits: Vec<String> = serde_json::from_value(answer["NodeNames"].clone()).unwrap();
    fits.sort();
    (fits, answer["FailedAndUnresolvableNodes"].clone())
}

async fn ask(rig: &Rig, verb: u8, number: u8, turn: usize) {
    let request = if verb == 0 {
        names(&pod(number), &rotated(turn))
    } else {
        json!({"Pod": pod(number), "NodeNameToVictims": null, "NodeNameToMetaVictims": {
            "n1": {"Pods": [{"UID": "uid-old"}], "NumPDBViolations": 0}}})
    };
    let path = if verb == 0 { "/prioritize" } else { "/preempt" };
    rig.call(path, &request).await.ok();
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Scores and evictions are asked about in between: the answers are those of a scheduler that only filters.
    #[test]
    fn scores_and_evictions_change_no_answer(
        pods in prop::collection::vec(0_u8..4, 1..6),
        between in prop::collection::vec((0_u8..2, 0_u8..4, 0_usize..3), 0..12),
        turn in 0_usize..3,
    ) {
        let (plain, busy) = (rig(), rig());
        run(async {
            for (at, number) in pods.iter().enumerate() {
                for (verb, other, turn) in between.iter().skip(at * 2).take(2) {
                    ask(&busy, *verb, *other, *turn).await;
                }
                let expected = filter(&plain, *number, 0).await;
                let found = filter(&busy, *number, turn).await;
                prop_assert_eq!(&found, &expected, "pod {} of {:?}", at, &pods);
                prop_assert_eq!(filter(&busy, *number, turn + 1).await, expected, "asked again");
            }
            Ok(())
        })?;
    }

    /// Once the pods that were asked about are gone, so is everything that was held for them.
    #[test]
    fn pods_that_are_gone_leave_nothing_behind(calls in prop::collection::vec((0_u8..4, 0_usize..3), 1..8)) {
        let rig = rig();
        run(async {
            rig.remember(&pod(9));
            let fresh = filter(&rig, 9, 0).await;
            rig.forget(&pod(9));
            for (number, turn) in &calls {
                rig.remember(&pod(*number));
                filter(&rig, *number, *turn).await;
            }
            for (number, _) in &calls {
                rig.forget(&pod(*number));
            }
            prop_assert_eq!(filter(&rig, 8, 0).await, fresh);
            Ok(())
        })?;
    }
}
