//! Each file below a folder of `tests/scenarios/` (but `check/`, which `tests/check/` reads) is added to the cluster in
//! `tests/scenarios/cluster.yaml`, goes through `simulate`, and must give what stands beside it as a snapshot. A new case
//! is a new file: `make bless` makes its snapshot. In the file, an object of the cluster's that is given again takes its place, and a document of kind
//! `Configuration` is the program's configuration. Files in `injector/` are what users of network-resources-injector
//! rely on; there the patches are part of what is seen.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, but not in what they call"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pointsman::config::Configuration;
use pointsman::simulate::{Input, Report, Style, simulate, write_table};

fn scenario(file: &Path) -> datatest_stable::Result<()> {
    let folder = tempfile::tempdir()?;
    let (configuration, objects) = taken_apart(file, folder.path());
    let paths = vec![PathBuf::from("tests/scenarios/cluster.yaml"), objects];
    let run = |seed| run(&paths, &configuration, seed);
    let report = run(None);
    let mut table = Vec::new();
    write_table(&report, Style::Plain, &mut table)?;
    let mut seen = String::from_utf8(table)?;
    if file.parent().is_some_and(|folder| folder.ends_with("injector")) {
        seen += &patches(&report);
    }

    let json = serde_json::to_value(&report)?;
    for seed in 0..3 {
        let shuffled = serde_json::to_value(run(Some(seed)))?;
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

/// What is changed in each pod, but for the record of it.
fn patches(report: &Report) -> String {
    let mut text = String::new();
    for pod in report.pods.iter().filter(|pod| pod.admission.allowed) {
        writeln!(text, "\n{}", pod.name).unwrap();
        let operations = pod.admission.patch.iter();
        for operation in operations.filter(|operation| operation["path"] != RECORD) {
            let (path, value) = (operation["path"].as_str().unwrap(), &operation["value"]);
            writeln!(text, "  {path}: {value}").unwrap();
        }
    }
    text
}

const RECORD: &str = "/metadata/annotations/pointsman.io~1injected";

/// The document of the file that configures the program, and where the others are.
fn taken_apart(file: &Path, folder: &Path) -> (Configuration, PathBuf) {
    let text = std::fs::read_to_string(file).unwrap();
    let (of_program, others): (Vec<&str>, Vec<&str>) = text
        .split("\n---\n")
        .partition(|document| document.contains("kind: Configuration"));
    let Some(document) = of_program.first() else {
        return (Configuration::default(), file.to_owned());
    };
    let configuration = Configuration::from_yaml(document)
        .unwrap_or_else(|problems| panic!("{}: {problems}", file.display()));
    let rest = folder.join(file.file_name().unwrap());
    std::fs::write(&rest, others.join("\n---\n")).unwrap();
    (configuration, rest)
}

fn run(paths: &[PathBuf], configuration: &Configuration, seed: Option<u64>) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let input = Input {
        paths: paths.to_vec(),
        configuration: configuration.clone(),
        seed,
    };
    runtime.block_on(simulate(&input)).unwrap()
}

datatest_stable::harness! {
    { test = scenario, root = "tests/scenarios", pattern = r"^(?!check/)[a-z]+/[a-z-]+\.yaml$" },
}
