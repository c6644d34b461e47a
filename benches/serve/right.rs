//! Whether an answer was right: a figure counts only if it was.

use crate::load::Run;
use crate::world::FULL as EVERY;

/// Ends the benchmark if the last answer of the run was wrong; *floor* answers nothing that could be.
pub(crate) fn check(server: &str, path: &str, run: &Run) {
    if server == "floor" {
        return;
    }
    let answer: serde_json::Value = serde_json::from_slice(&run.last_answer).expect("JSON");
    let text = || String::from_utf8_lossy(&run.last_answer[..run.last_answer.len().min(2_000)]).into_owned();
    match path {
        "/mutate" => {
            assert_eq!(answer["response"]["allowed"], true, "{server}: {}", text());
            assert!(
                answer["response"]["patch"]
                    .as_str()
                    .is_some_and(|patch| patch.len() > 1_000),
                "{server}: {}",
                text()
            );
        }
        "/filter" => {
            let fit = answer["NodeNames"].as_array().expect("a list").len();
            let failed = answer["FailedAndUnresolvableNodes"]
                .as_object()
                .expect("a map")
                .len();
            assert!(
                failed == (fit + failed).div_ceil(EVERY),
                "{server}: {fit} fit, {failed} do not"
            );
        }
        _ => assert!(answer.as_array().is_some(), "{server}: {}", text()),
    }
}
