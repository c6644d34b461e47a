//! What an answer of the extender allocates must not grow with the nodes that are asked about: an allocator is the
//! first thing to slow down in a process that runs for months.
//!
//! The whole way of a request is counted, from its bytes to those of the answer, over the cluster of the benchmarks.
//! The counting is of this thread alone, so that nothing else disturbs it.

use crate::calls::Rig;
use crate::{objects, world};

const CLUSTER: world::Size = world::Size {
    nodes: 4_000,
    pods: 0,
};
const FEW: usize = 1_000;
const MANY: usize = 4_000;

/// A list that grows moves when its room is used up, which is once for each doubling: from a thousand to four thousand
/// names that is twice for each of a handful of lists. One allocation a node would be three thousand, one a leaf group
/// of 32 nodes a hundred.
const GROWTH: u64 = 20;

#[test]
fn an_answer_allocates_nothing_per_node() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let rig = Rig::new(1, 1);
    for object in objects::that_matter(CLUSTER) {
        rig.remember(&object);
    }
    for path in ["/filter", "/prioritize"] {
        let count = |names: usize| {
            let body = String::from_utf8(world::extender_request(0, names)).unwrap();
            let mut counted = 0;
            // The first call surveys the cluster; the shape is known in the second.
            for _ in 0..2 {
                let (body, mut answer) = (body.clone(), Vec::new());
                let info = allocation_counter::measure(|| answer = runtime.block_on(rig.answer(path, body)));
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                let named = answer["NodeNames"]
                    .as_array()
                    .or_else(|| answer.as_array())
                    .unwrap();
                assert!(!named.is_empty(), "{path}: {answer}");
                counted = info.count_total;
            }
            counted
        };
        let (few, many) = (count(FEW), count(MANY));
        println!("{path}: {few} allocations for {FEW} names, {many} for {MANY}");
        assert!(
            many <= few + GROWTH,
            "{path}: {few} allocations for {FEW} names, {many} for {MANY}"
        );
    }
}
