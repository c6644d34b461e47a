//! What dependencies may be: their licences, where they come from, and no two versions of one that matters.
//!
//! This reads `cargo metadata` itself, because building cargo-deny takes longer on a small machine (six minutes and
//! more) than all else that a fast test run does. Advisories are not checked: their database is a git repository
//! that cannot be fetched everywhere this runs, and a check that is sometimes skipped would not be one.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use serde::Deserialize;

/// Each may be used and shipped under Apache-2.0 with a notice; none asks for more than that.
const LICENCES: [&str; 9] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    // webpki-roots: a list of certificates, that is, data.
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The only place crates come from: no git, no other registry.
const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Never, in any version.
const BANNED: [(&str, &str); 6] = [
    ("aws-lc-rs", "ring is the one crypto provider"),
    ("aws-lc-sys", "ring is the one crypto provider"),
    ("native-tls", "rustls is the one TLS"),
    (
        "openssl",
        "rustls is the one TLS; a C library would have to be on the machine",
    ),
    (
        "openssl-sys",
        "rustls is the one TLS; a C library would have to be on the machine",
    ),
    ("serde_yaml", "unmaintained; serde-saphyr is what kube uses"),
];

/// Two versions are two sets of types, and twice the building: the older ones that are there all the same, and why.
/// For json-patch, k8s-openapi, kube and rustls there is no excuse: a value of one version is no value of another.
const OLDER: [(&str, &str, &str); 8] = [
    (
        "base64",
        "0.22",
        "tower-http and k8s-openapi have not moved to 0.23 yet; encoding only, no type crosses",
    ),
    ("bit-set", "0.8", "fancy-regex, under datatest-stable; tests only"),
    ("bit-vec", "0.8", "as bit-set"),
    ("bit-vec", "0.9", "proptest names it for a feature that is off"),
    ("getrandom", "0.2", "ring's"),
    ("getrandom", "0.3", "ahash's, under kube-runtime"),
    (
        "hashbrown",
        "0.16",
        "kube-runtime has not moved to 0.17 yet; internal to it",
    ),
    (
        "syn",
        "2",
        "the move of macro crates to syn 3 is under way; at build time only",
    ),
];

#[test]
fn licences_are_on_the_list() {
    let problems: Vec<String> = foreign()
        .filter_map(|package| {
            let licence = package.license.as_deref().unwrap_or("none");
            (!Expression::read(licence).holds()).then(|| format!("{}: {licence}", package.label()))
        })
        .collect();
    assert_none(
        &problems,
        "use another crate, or argue for the licence in LICENCES",
    );
}

#[test]
fn crates_come_from_crates_io() {
    let problems: Vec<String> = foreign()
        .filter(|package| package.source.as_deref() != Some(SOURCE))
        .map(|package| format!("{}: {:?}", package.label(), package.source))
        .collect();
    assert_none(&problems, "depend on a released version from crates.io");
}

#[test]
fn nothing_banned_is_used() {
    let problems: Vec<String> = foreign()
        .filter_map(|package| {
            let (_, reason) = BANNED.iter().find(|(name, _)| *name == package.name)?;
            Some(format!("{}: {reason}", package.label()))
        })
        .collect();
    assert_none(
        &problems,
        "switch off the feature that pulls it in (`cargo tree -i NAME`)",
    );
}

#[test]
fn no_crate_is_there_twice_without_a_reason() {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in foreign() {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    let mut problems = Vec::new();
    for (name, versions) in &versions {
        let unexcused: Vec<&str> = versions
            .iter()
            .copied()
            .filter(|version| {
                !OLDER
                    .iter()
                    .any(|(older, of, _)| older == name && version.starts_with(&format!("{of}.")))
            })
            .collect();
        if unexcused.len() > 1 {
            problems.push(format!("{name}: {}", unexcused.join(", ")));
        }
    }
    assert_none(
        &problems,
        "choose versions that agree (`cargo tree -d`), or give the reason in OLDER",
    );
}

#[test]
fn every_excuse_is_still_needed() {
    let problems: Vec<String> = OLDER
        .iter()
        .filter(|(name, of, _)| {
            let versions: BTreeSet<&str> = METADATA
                .packages
                .iter()
                .filter(|package| package.name == *name)
                .map(|package| package.version.as_str())
                .collect();
            versions.len() < 2
                || !versions
                    .iter()
                    .any(|version| version.starts_with(&format!("{of}.")))
        })
        .map(|(name, of, _)| format!("{name} {of}"))
        .collect();
    assert_none(&problems, "take the entry out of OLDER");
}

#[test]
fn a_licence_expression_is_read_as_spdx_has_it() {
    for allowed in [
        "MIT",
        "MIT/GPL-3.0",
        "(MIT OR GPL-3.0) AND ISC",
        "GPL-3.0 OR Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(Expression::read(allowed).holds(), "{allowed}");
    }
    for refused in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "none",
        "",
        "Apache-2.0 WITH Other-exception",
        "GPL-3.0 OR MIT AND X",
    ] {
        assert!(!Expression::read(refused).holds(), "{refused}");
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

impl Package {
    fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        // What we build and ship for; crates for other systems are not even fetched.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
});

/// All packages but ours.
fn foreign() -> impl Iterator<Item = &'static Package> {
    METADATA
        .packages
        .iter()
        .filter(|package| package.name != env!("CARGO_PKG_NAME"))
}

/// A licence expression, `OR` and the older `/` binding less than `AND`.
struct Expression {
    tokens: Vec<String>,
    next: usize,
}

impl Expression {
    fn read(text: &str) -> Self {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut tokens: Vec<String> = Vec::new();
        let mut words = spaced.split_whitespace();
        while let Some(word) = words.next() {
            match tokens.last_mut() {
                Some(last) if word == "WITH" => {
                    *last = format!("{last} WITH {}", words.next().unwrap_or_default());
                }
                _ => tokens.push(word.to_owned()),
            }
        }
        Self { tokens, next: 0 }
    }

    fn holds(mut self) -> bool {
        self.any() && self.next == self.tokens.len()
    }

    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.take("OR") {
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.take("AND") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let holds = self.any();
            return self.take(")") && holds;
        }
        let licence = self.tokens.get(self.next).cloned().unwrap_or_default();
        self.next += 1;
        LICENCES.contains(&licence.as_str())
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|next| next == token);
        self.next += usize::from(found);
        found
    }
}

fn assert_none(problems: &[String], remedy: &str) {
    assert!(problems.is_empty(), "{remedy}:\n  {}", problems.join("\n  "));
}
