//! Each file below a folder of `tests/scenarios/check/` changes something in the sound cluster of
//! `tests/scenarios/check/cluster.yaml`, and the rows that are not yes must be those beside it. A new case is a new file:
//! `make bless` makes its snapshot. What its first comments can say: `scenario.rs`.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

mod scenario;

use std::path::Path;

use pointsman::check::Answer;

fn check(file: &Path) -> datatest_stable::Result<()> {
    let report = scenario::report(file);
    // Files have no API server to ask, whatever is in them.
    let others = report
        .rows
        .iter()
        .filter(|row| row.answer != Answer::Yes && !["rbac.caller", "webhook.answers"].contains(&row.id));
    let seen: String = others.map(scenario::told).collect();
    let seen = if seen.is_empty() {
        "all yes".to_owned()
    } else {
        seen
    };
    let folder = file.parent().ok_or("a scenario is in a folder")?;
    let mut settings = insta::Settings::new();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(file);
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
    settings.bind(|| insta::assert_snapshot!(name, seen));
    Ok(())
}

datatest_stable::harness! {
    { test = check, root = "tests/scenarios/check", pattern = r"^[a-z]+/[a-z-]+\.yaml$" },
}
