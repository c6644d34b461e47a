//! Placement and rank order on the forwarding tables of a real OpenSM; `make routing` prints the whole table.

use super::lab::Lab;
use super::plan::Plan;
use super::replay::{Tables, by_the_scheduler, by_us, groups, shuffled, sorted};

#[test]
fn gangs_that_fit_a_leaf_group_leave_the_spines_alone_and_sorted_ranks_share_no_link() {
    let plan = Plan::rails(32, 4);
    let (_lab, manager) = Lab::up(&plan);
    let dump = manager.forwarding_tables(&plan);
    let tables = Tables::read(&plan, &dump);

    let queue = [16, 16, 16, 16];
    let ours = by_us(&plan, &queue);
    assert_eq!(groups(&plan, &ours), [1, 1, 1, 1]);
    let load = tables.load(&shuffled(&ours, 1));
    assert_eq!((load.flows, load.local, load.uses), (256, 256, 0));
    for seed in [1, 2, 3] {
        let scattered = by_the_scheduler(&plan, &queue, seed);
        let load = tables.load(&scattered);
        assert!(load.uses >= 200 && load.most >= 3, "seed {seed}: {load:?}");
        // Several jobs that are all cut in two may still meet on a link.
        let in_order = tables.load(&sorted(&plan, &scattered));
        assert!(
            in_order.uses <= 64 && in_order.most < load.most,
            "seed {seed}: {in_order:?}"
        );
    }

    // A job that fits no group: the ring crosses the spines there and back, once on each rail.
    let ours = by_us(&plan, &[40, 24]);
    assert_eq!(groups(&plan, &ours), [2, 1]);
    let unsorted = tables.load(&shuffled(&ours, 1));
    let in_order = tables.load(&sorted(&plan, &ours));
    assert!(unsorted.most > 1, "{unsorted:?}");
    assert_eq!((in_order.uses, in_order.most), (16, 1));
}
