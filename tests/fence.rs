//! The fence of `src/decide/` bites: clippy refuses each call and type that `clippy.toml` lists when it stands behind
//! the lints that `src/decide/mod.rs` denies, and allows the same outside.
//!
//! It runs clippy on a scratch crate that takes its lints and lists from this repository. The crates named in the
//! lists are stood in for by stubs of a few lines, since clippy goes by paths; so it needs no network.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// For every entry of `clippy.toml`, an item that uses it.
const PROBES: [(&str, &str); 20] = [
    (
        "std::time::Instant::now",
        "pub fn f() { let _ = std::time::Instant::now(); }",
    ),
    (
        "std::time::SystemTime::now",
        "pub fn f() { let _ = std::time::SystemTime::now(); }",
    ),
    (
        "jiff::Timestamp::now",
        "pub fn f() { let _ = jiff::Timestamp::now(); }",
    ),
    ("std::env::var", "pub fn f() { let _ = std::env::var(\"A\"); }"),
    (
        "std::env::var_os",
        "pub fn f() { let _ = std::env::var_os(\"A\"); }",
    ),
    ("std::fs::read", "pub fn f() { let _ = std::fs::read(\"a\"); }"),
    (
        "std::fs::read_to_string",
        "pub fn f() { let _ = std::fs::read_to_string(\"a\"); }",
    ),
    (
        "std::fs::write",
        "pub fn f() { let _ = std::fs::write(\"a\", \"b\"); }",
    ),
    (
        "std::thread::spawn",
        "pub fn f() { let _ = std::thread::spawn(|| ()); }",
    ),
    (
        "std::thread::sleep",
        "pub fn f() { std::thread::sleep(core::time::Duration::ZERO); }",
    ),
    ("tokio::spawn", "pub fn f() { tokio::spawn(()); }"),
    ("std::fs::File", "pub fn f(_: &std::fs::File) {}"),
    ("std::net::TcpStream", "pub fn f(_: &std::net::TcpStream) {}"),
    ("std::net::TcpListener", "pub fn f(_: &std::net::TcpListener) {}"),
    ("std::net::UdpSocket", "pub fn f(_: &std::net::UdpSocket) {}"),
    ("std::sync::Mutex", "pub fn f(_: &std::sync::Mutex<u8>) {}"),
    ("std::sync::RwLock", "pub fn f(_: &std::sync::RwLock<u8>) {}"),
    ("std::cell::RefCell", "pub fn f(_: &std::cell::RefCell<u8>) {}"),
    ("serde_json::Value", "pub fn f(_: &serde_json::Value) {}"),
    ("kube::Client", "pub fn f(_: &kube::Client) {}"),
];

/// What stands in for the crates that the lists name.
const STUBS: [(&str, &str); 4] = [
    (
        "jiff",
        "pub struct Timestamp; impl Timestamp { pub fn now() -> Self { Self } }",
    ),
    ("tokio", "pub fn spawn<T>(_: T) {}"),
    ("serde_json", "pub enum Value { Null }"),
    ("kube", "pub struct Client;"),
];

#[test]
fn clippy_refuses_every_listed_call_and_type_inside_the_fence() {
    let output = clippy(&format!("pub mod decide {{\n{}\n{}\n}}\n", fence(), modules()));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "clippy let everything pass:\n{text}");
    let refused: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("error: use of a disallowed "))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    for path in listed() {
        assert!(refused.contains(path.as_str()), "{path} was not refused:\n{text}");
    }
}

#[test]
fn clippy_allows_the_same_outside_the_fence() {
    let output = clippy(&format!("pub mod serve {{\n{}\n}}\n", modules()));
    assert!(
        output.status.success(),
        "clippy refused something outside the fence:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_listed_path_has_a_probe() {
    let probes: BTreeSet<String> = PROBES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(
        listed(),
        probes,
        "the lists of clippy.toml, and the probes of tests/fence.rs"
    );
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths that `clippy.toml` lists.
fn listed() -> BTreeSet<String> {
    fs::read_to_string(root().join("clippy.toml"))
        .unwrap()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("{ path = \""))
        .map(|line| line.split('"').next().unwrap().to_owned())
        .collect()
}

/// The line of `src/decide/mod.rs` that makes the fence.
fn fence() -> String {
    fs::read_to_string(root().join("src/decide/mod.rs"))
        .unwrap()
        .lines()
        .find(|line| line.starts_with("#![deny(clippy::disallowed"))
        .expect("src/decide/mod.rs denies the two lints")
        .to_owned()
}

/// All probes, a module each.
fn modules() -> String {
    let mut modules = String::new();
    for (number, (_, item)) in PROBES.iter().enumerate() {
        writeln!(modules, "pub mod probe{number} {{ {item} }}").unwrap();
    }
    modules
}

/// Runs clippy on a crate of this source, with the lints and the lists of this repository.
fn clippy(source: &str) -> Output {
    let scratch = tempfile::tempdir().unwrap();
    let mut manifest =
        "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                        [dependencies]\n"
            .to_owned();
    for (name, stub) in STUBS {
        let folder = scratch.path().join(name);
        fs::create_dir_all(folder.join("src")).unwrap();
        fs::write(folder.join("src/lib.rs"), stub).unwrap();
        fs::write(
            folder.join("Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n"),
        )
        .unwrap();
        writeln!(manifest, "{name} = {{ path = \"{name}\" }}").unwrap();
    }
    manifest.push_str("\n[lints.clippy]\n");
    for (lint, level) in outside() {
        writeln!(manifest, "{lint} = {level}").unwrap();
    }
    fs::write(scratch.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(scratch.path().join("src")).unwrap();
    fs::write(scratch.path().join("src/lib.rs"), source).unwrap();
    fs::copy(root().join("clippy.toml"), scratch.path().join("clippy.toml")).unwrap();
    Command::new(env!("CARGO"))
        .args([
            "clippy",
            "--offline",
            "--quiet",
            "--color",
            "never",
            "--",
            "-D",
            "warnings",
        ])
        .current_dir(scratch.path())
        .env("CARGO_TARGET_DIR", scratch.path().join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap()
}

/// What `Cargo.toml` says of the two lints, for everywhere but `decide/`.
fn outside() -> BTreeMap<String, String> {
    let levels: BTreeMap<String, String> = fs::read_to_string(root().join("Cargo.toml"))
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(lint, _)| lint.starts_with("disallowed_"))
        .map(|(lint, level)| (lint.to_owned(), level.to_owned()))
        .collect();
    assert_eq!(levels.len(), 2, "Cargo.toml sets the level of both lints");
    levels
}
