//! Conventions of this repository that a machine can check; each failure says what to do.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest a source file may be before its tests: what one can hold in mind while reading.
const MAX_LINES: usize = 500;

/// What `use` in `src/decide/` may begin with, besides `crate::decide` and `super`.
const DECIDE_USES: [&str; 5] = ["core", "rpds", "std", "strum", "thiserror"];
/// And in its tests.
const DECIDE_TEST_USES: [&str; 3] = ["insta", "proptest", "rstest"];
/// Of std, what `src/decide/` may not use: whatever reaches outside the arguments of a function.
const STD_OUTSIDE: [&str; 12] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time",
];

/// What people read, and where every path and make target that is named must exist.
const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];

#[test]
fn decide_uses_nothing_from_outside() {
    let mut problems = Vec::new();
    for file in sources().filter(|file| file.path.starts_with("src/decide")) {
        let body = file.body();
        for path in uses(&file.text) {
            let in_tests = !uses(body).contains(&path);
            let first = path.split("::").next().unwrap();
            let allowed = path == "crate::decide"
                || path.starts_with("crate::decide::")
                || first == "super"
                || first == "self"
                || (DECIDE_USES.contains(&first)
                    && !STD_OUTSIDE
                        .iter()
                        .any(|outside| path == *outside || path.starts_with(&format!("{outside}::"))))
                || (in_tests && DECIDE_TEST_USES.contains(&first));
            if !allowed {
                problems.push(format!("{}: use {path}", file.path.display()));
            }
        }
        // Paths written out without a `use`.
        for outside in STD_OUTSIDE {
            if code(body).contains(&format!("{outside}::")) {
                problems.push(format!("{}: {outside}", file.path.display()));
            }
        }
    }
    assert_none(
        &problems,
        "src/decide/ is pure: pass it as an argument, or do it elsewhere",
    );
}

#[test]
fn files_stay_short() {
    let problems: Vec<String> = sources()
        .map(|file| (file.path.display().to_string(), file.body().lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(path, lines)| format!("{path}: {lines} lines before its tests"))
        .collect();
    assert_none(&problems, "split the file by what a reader looks for");
}

#[test]
fn files_open_with_what_they_are() {
    let problems: Vec<String> = sources()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path.display().to_string())
        .collect();
    assert_none(
        &problems,
        "begin the file with a `//!` line that says what it is for",
    );
}

#[test]
fn every_annotation_key_is_spelled_once() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        for literal in literals(file.body()) {
            let is_key = literal.strip_prefix("pointsman.io/").is_some_and(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-')
            });
            if is_key {
                places
                    .entry(literal)
                    .or_default()
                    .push(file.path.display().to_string());
            }
        }
    }
    assert!(
        !places.is_empty(),
        "no annotation key was found: has the domain changed?"
    );
    let problems: Vec<String> = places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(key, places)| format!("{key}: {}", places.join(", ")))
        .collect();
    assert_none(&problems, "use the constant of src/decide/annotation.rs");
}

#[test]
fn no_private_key_is_tracked() {
    let begin = ["-----BEGIN ", "PRIVATE KEY-----"];
    let problems: Vec<String> = tracked()
        .into_iter()
        .filter(|path| {
            let text = fs::read(root().join(path)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let holds_key = text
                .lines()
                .any(|line| line.starts_with(begin[0]) && line.trim_end().ends_with(begin[1]));
            holds_key || path.extension().is_some_and(|extension| extension == "key")
        })
        .map(|path| path.display().to_string())
        .collect();
    assert_none(
        &problems,
        "make keys when they are needed; remove the file and replace the key",
    );
}

#[test]
fn no_test_is_ignored() {
    let attribute = ["#[", "ignore"].concat();
    let problems: Vec<String> = rust_files("src")
        .chain(rust_files("tests"))
        .filter(|file| {
            file.text
                .lines()
                .any(|line| line.trim_start().starts_with(&attribute))
        })
        .map(|file| file.path.display().to_string())
        .collect();
    assert_none(
        &problems,
        "assert what happens today, even where it is wrong, and say so",
    );
}

/// `autotests` is off, because `tests/` also holds folders that are no tests: a file that nobody declares never runs.
#[test]
fn every_test_file_is_declared() {
    let manifest = read("Cargo.toml");
    let problems: Vec<String> = fs::read_dir(root().join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| format!("tests/{}", path.file_name().unwrap().to_str().unwrap()))
        .filter(|path| !manifest.contains(&format!("path = \"{path}\"")))
        .collect();
    assert_none(&problems, "add a [[test]] with this path to Cargo.toml");
}

#[test]
fn the_readme_names_both_commands() {
    let readme = read("README.md");
    for command in ["make demo", "make test"] {
        assert!(readme.contains(command), "README.md does not name `{command}`");
    }
}

#[test]
fn documents_name_only_make_targets_that_exist() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#', '.']))
        .filter_map(|line| line.split_once(':'))
        .map(|(target, _)| target)
        .collect();
    let mut problems = Vec::new();
    for document in documents() {
        for span in code_spans(&document.text) {
            let Some(target) = span.strip_prefix("make ") else {
                continue;
            };
            let target = target.split_whitespace().next().unwrap_or_default();
            if !targets.contains(target) {
                problems.push(format!("{}: make {target}", document.path.display()));
            }
        }
    }
    assert_none(&problems, "name a target of the Makefile");
}

#[test]
fn documents_name_only_paths_that_exist() {
    let mut problems = Vec::new();
    for document in documents() {
        for span in code_spans(&document.text)
            .into_iter()
            .chain(links(&document.text))
        {
            if looks_like_a_path(&span) && !root().join(span.trim_end_matches('/')).exists() {
                problems.push(format!("{}: {span}", document.path.display()));
            }
        }
    }
    assert_none(&problems, "name a path that exists");
}

/// A text that starts with something at the top of the repository and a slash, or a document at the top.
fn looks_like_a_path(span: &str) -> bool {
    const TOP: [&str; 10] = [
        "src/",
        "tests/",
        "manifests/",
        "certs/",
        "benches/",
        "docs/",
        ".ci/",
        "./",
        "Cargo.",
        "deny.",
    ];
    !span.contains([' ', '*', '<', '{', '…', '$'])
        && (TOP.iter().any(|top| span.starts_with(top))
            || span
                .split_once('.')
                .is_some_and(|(name, rest)| rest == "md" && name.chars().all(|c| c.is_ascii_uppercase())))
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// What comes before the file's tests; all of it where the file holds nothing but tests.
    fn body(&self) -> &str {
        let of_tests = self
            .path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        match self.text.find("\n#[cfg(test)]\nmod ") {
            _ if of_tests => "",
            Some(end) => &self.text[..end],
            None => &self.text,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sources() -> impl Iterator<Item = Source> {
    rust_files("src")
}

fn rust_files(folder: &str) -> impl Iterator<Item = Source> + use<> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort();
    found.into_iter().map(|path| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_owned(),
    })
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn documents() -> impl Iterator<Item = Source> {
    DOCUMENTS.into_iter().filter_map(|name| {
        fs::read_to_string(root().join(name)).ok().map(|text| Source {
            path: PathBuf::from(name),
            text,
        })
    })
}

/// The files git knows, or would add.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git is needed: install it with 'apt-get install git'");
    assert!(output.status.success(), "git ls-files failed");
    String::from_utf8(output.stdout)
        .unwrap()
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .collect()
}

/// The paths that `use` items import, braces spelled out as far as their first level.
fn uses(text: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let mut rest = text;
    while let Some(start) = rest.find("use ") {
        let starts_a_line = rest[..start]
            .rsplit('\n')
            .next()
            .is_some_and(|before| before.trim().is_empty() || before.trim().starts_with("pub"));
        let item = &rest[start + 4..];
        let end = item.find(';').unwrap_or(item.len());
        if starts_a_line {
            let item: String = item[..end].split_whitespace().collect();
            match item.split_once("::{") {
                Some((prefix, names)) => paths.extend(
                    names
                        .trim_end_matches('}')
                        .split(',')
                        .map(|name| format!("{prefix}::{}", name.split("::{").next().unwrap_or(name))),
                ),
                None => {
                    paths.insert(item);
                }
            }
        }
        rest = &item[end..];
    }
    paths
}

/// The text without its comment lines.
fn code(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// String literals of the code, comments aside.
fn literals(text: &str) -> Vec<String> {
    code(text)
        .lines()
        .flat_map(|line| {
            line.split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// What stands between backticks, and the lines of code blocks.
fn code_spans(text: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            spans.push(line.trim().trim_start_matches("$ ").to_owned());
        } else {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

/// The targets of links that are no addresses.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .map(|target| {
            if target.contains('/') {
                format!("./{target}")
            } else {
                target
            }
        })
        .collect()
}

fn assert_none(problems: &[String], remedy: &str) {
    assert!(problems.is_empty(), "{remedy}:\n  {}", problems.join("\n  "));
}
