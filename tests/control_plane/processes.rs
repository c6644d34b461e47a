//! The harness itself: whatever ends the tests ends every process they started.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::wait::{eventually, expect};
use crate::harness::{plane, process, run};

/// Tells the child what it is.
const CHILD: &str = "POINTSMAN_TEST_RUN_TO_BE_KILLED";

/// What the child prints before the ids of its processes.
const MARK: &str = "processes of this run:";

#[test]
fn a_killed_test_run_leaves_no_process_behind() {
    // The child is this same test in a process of its own.
    if std::env::var_os(CHILD).is_some() {
        return be_killed();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "processes::a_killed_test_run_leaves_no_process_behind",
            "--nocapture",
        ])
        .env(CHILD, "yes")
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
    assert!(ids.len() >= 6, "{ids:?}");
    assert!(ids.iter().all(|id| process::exists(*id)), "{ids:?}");
    let folder = format!("runs/{}/", child.id());
    assert!(
        process::mentioning(&folder).len() > ids.len(),
        "each has a supervisor as well"
    );

    // On Unix this is `kill -9`: nothing in the child gets to run.
    child.kill().unwrap();
    child.wait().unwrap();

    run(eventually(
        "all its processes are gone",
        Duration::from_secs(10),
        async || {
            let left: Vec<_> = ids.iter().filter(|id| process::exists(**id)).collect();
            expect(left.is_empty(), || format!("{left:?}"))
        },
    ));
}

/// What the child does: starts the control plane that the tests share, says what that is, and waits for its end.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn be_killed() {
    run(async {
        let ids = plane::shared().await.process_ids();
        println!(
            "{MARK} {}",
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
        );
        std::future::pending::<()>().await;
    });
}
