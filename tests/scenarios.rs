//! Each file below a folder of `tests/scenarios/` is added to the cluster in `tests/scenarios/cluster.yaml`, goes
//! through `simulate`, and must give what stands beside it as a snapshot. A new case is a new file: `make bless` makes
//! its snapshot. In the file, an object of the cluster's that is given again takes its place.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

use std::path::{Path, PathBuf};

use pointsman::simulate::{Input, Report, Style, simulate, write_table};

fn scenario(file: &Path) -> datatest_stable::Result<()> {
    let paths = vec![PathBuf::from("tests/scenarios/cluster.yaml"), file.to_owned()];
    let report = run(&paths, None);
    let mut table = Vec::new();
    write_table(&report, Style::Plain, &mut table)?;
    let seen = String::from_utf8(table)?;

    let json = serde_json::to_value(&report)?;
    for seed in 0..3 {
        let shuffled = serde_json::to_value(run(&paths, Some(seed)))?;
        assert_eq!(
            json, shuffled,
            "the order in which nodes are tried changes the result"
        );
    }

    let mut settings = insta::Settings::new();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(file);
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join(file.parent().unwrap()));
    let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
    settings.bind(|| insta::assert_snapshot!(name, seen));
    Ok(())
}

fn run(paths: &[PathBuf], seed: Option<u64>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let input = Input {
        paths: paths.to_vec(),
        seed,
        ..Input::default()
    };
    runtime.block_on(simulate(&input)).unwrap()
}

datatest_stable::harness! {
    { test = scenario, root = "tests/scenarios", pattern = r"^[a-z]+/[a-z-]+\.yaml$" },
}
