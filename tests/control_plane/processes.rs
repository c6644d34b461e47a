//! The harness itself: whatever ends the tests ends every process they started.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::wait::{eventually, expect};
use crate::harness::{plane, process, run};

/// Tells the child what it is.
const CHILD: &str = "POINTSMAN_TEST_RUN_TO_BE_ENDED";

/// What the child prints before the ids of its processes.
const MARK: &str = "processes of this run:";

/// The test that is the child, too, when it runs in a process of its own.
const KILLED: &str = "processes::a_killed_test_run_leaves_no_process_behind";

#[test]
fn a_killed_test_run_leaves_no_process_behind() {
    if std::env::var_os(CHILD).is_some() {
        return be_ended();
    }
    // `kill -9` of the test process alone: nothing in it gets to run.
    check_that_nothing_is_left("KILL", "");
}

#[test]
fn an_interrupted_test_run_leaves_no_process_behind() {
    // Ctrl-C goes to the whole process group: to the supervisors as well.
    check_that_nothing_is_left("INT", "-");
}

/// Starts a test run in a process group of its own, and sends it a signal: to the process, or (`-`) to the group.
fn check_that_nothing_is_left(signal: &str, group: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", KILLED, "--nocapture"])
        .env(CHILD, "yes")
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find(|line| line.contains(MARK))
        .expect("the child names its processes");
    let (_, ids) = line.split_once(MARK).unwrap();
    let ids: Vec<u32> = ids.split_whitespace().map(|id| id.parse().unwrap()).collect();
    let folder = format!("runs/{}/", child.id());
    let left = || {
        let named = ids.iter().copied().filter(|id| process::exists(*id));
        named.chain(process::mentioning(&folder)).collect::<BTreeSet<_>>()
    };
    assert!(
        ids.len() >= 6 && ids.iter().all(|id| left().contains(id)),
        "{ids:?}"
    );
    assert!(left().len() > ids.len(), "each has a supervisor as well");

    process::send(signal, &format!("{group}{}", child.id()));
    child.wait().unwrap();

    run(eventually(
        "all its processes are gone",
        Duration::from_secs(10),
        async || {
            let left = left();
            expect(left.is_empty(), || format!("{left:?}"))
        },
    ));
}

/// What the child does: starts the control plane that the tests share, says what that is, and waits for its end.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn be_ended() {
    run(async {
        let ids = plane::shared().await.process_ids();
        println!(
            "{MARK} {}",
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        );
        std::future::pending::<()>().await;
    });
}
