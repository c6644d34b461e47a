//! The tools, as `tests/packaging/tools/build` makes and names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

static PARTS: LazyLock<BTreeMap<String, PathBuf>> = LazyLock::new(|| {
    let script = root().join("tests/packaging/tools/build");
    let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
    assert!(
        output.status.success(),
        "{} failed; what it needs is said above",
        script.display()
    );
    let printed = String::from_utf8(output.stdout).unwrap();
    let parts = printed.lines().map(|line| {
        let (part, place) = line.split_once(' ').expect("a part and its place");
        (part.to_owned(), PathBuf::from(place))
    });
    parts.collect()
});

/// What a tool answered.
pub(crate) struct Answer {
    pub(crate) good: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The folder of a part.
pub(crate) fn part(name: &str) -> &'static Path {
    PARTS
        .get(name)
        .unwrap_or_else(|| panic!("tests/packaging/tools/build makes no {name}"))
}

/// Runs a part's program in the repository's root.
pub(crate) fn run(part_name: &str, program: &str, args: &[&str]) -> Answer {
    let output = Command::new(part(part_name).join("bin").join(program))
        .args(args)
        .current_dir(root())
        // What the caller has set up for Helm must not change what is judged.
        .env_remove("KUBECONFIG")
        .env("HELM_NO_PLUGINS", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Answer {
        good: output.status.success(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// As [`run`], for what must succeed: its standard output.
pub(crate) fn succeed(part_name: &str, program: &str, args: &[&str]) -> String {
    let answer = run(part_name, program, args);
    assert!(
        answer.good,
        "{program} {}:\n{}\n{}",
        args.join(" "),
        answer.stdout,
        answer.stderr
    );
    answer.stdout
}

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
