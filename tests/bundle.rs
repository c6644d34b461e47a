//! The bundle as its user finds it: whole, with an image that registries take, and a binary that needs nothing.
//!
//! `make bundle-test` makes it and runs this; `make packaging` does with one that is made quickly.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops with the reason; JSON is indexed all over"
)]

#[path = "packaging/tools.rs"]
mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tools::{root, succeed};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This machine, as images call it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

/// The bundle, unpacked.
fn unpacked() -> (TempDir, PathBuf) {
    let made = std::env::var_os("POINTSMAN_BUNDLE")
        .expect("POINTSMAN_BUNDLE names the folder of the bundle: run `make bundle-test`");
    let file = Path::new(&made).join(format!("pointsman-{VERSION}-bundle.tar"));
    let folder = tempfile::tempdir().unwrap();
    unpack(&file, folder.path());
    let inside = folder.path().join(format!("pointsman-{VERSION}"));
    (folder, inside)
}

fn unpack(archive: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(archive).arg("-C").arg(into);
    assert!(tar.status().unwrap().success(), "{}", archive.display());
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// All files under a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rest.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found
}

#[test]
fn every_file_has_its_checksum() {
    let (_folder, bundle) = unpacked();
    let checked = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&bundle)
        .status()
        .unwrap();
    assert!(checked.success());
    let sums = fs::read_to_string(bundle.join("SHA256SUMS")).unwrap();
    let mut listed: BTreeSet<String> = sums
        .lines()
        .map(|line| line.split_once("  ").unwrap().1.to_owned())
        .collect();
    listed.insert("SHA256SUMS".to_owned());
    assert_eq!(listed, files(&bundle));
}

#[test]
fn what_is_in_it_is_what_is_in_the_repository() {
    let (_folder, bundle) = unpacked();
    for (inside, outside) in [
        ("manifests/webhook.yaml", "manifests/webhook.yaml"),
        ("manifests/examples/job.yaml", "manifests/examples/job.yaml"),
        (
            "monitoring/dashboard.json",
            "manifests/chart/files/dashboard.json",
        ),
        ("monitoring/alerts.yaml", "manifests/chart/files/alerts.yaml"),
        ("README.md", "docs/offline.md"),
        ("LICENSE", "LICENSE"),
    ] {
        assert_eq!(
            fs::read(bundle.join(inside)).unwrap(),
            fs::read(root().join(outside)).unwrap()
        );
    }
    let chart = bundle.join(format!("chart/pointsman-{VERSION}.tgz"));
    let rendered = |chart: &str| succeed("helm", "helm", &["template", "pointsman", chart, "-n", "p"]);
    assert_eq!(rendered(chart.to_str().unwrap()), rendered("manifests/chart"));

    let sbom = json(bundle.join(format!("sbom/pointsman-{VERSION}.cdx.json")));
    assert_eq!(
        (&sbom["bomFormat"], &sbom["metadata"]["component"]["version"]),
        (&Value::from("CycloneDX"), &Value::from(VERSION))
    );
    let names: BTreeSet<&str> = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| {
            assert!(component["hashes"][0]["content"].is_string(), "{component}");
            component["name"].as_str().unwrap()
        })
        .collect();
    assert!(names.contains("rustls") && names.contains("kube"));
    assert!(!names.contains("proptest"), "only tests need it");
}

/// A number in the header of a program for Linux, which is of 64 bits and has the lowest byte first.
fn number(elf: &[u8], at: usize, length: usize) -> usize {
    assert_eq!(elf[..6], *b"\x7fELF\x02\x01");
    let bytes = elf[at..at + length].iter().rev();
    bytes.fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
}

/// The first program header that asks for an interpreter, the dynamic linker.
fn asks_for_a_linker(elf: &[u8]) -> bool {
    const INTERPRETER: usize = 3;
    let (headers, size, count) = (number(elf, 32, 8), number(elf, 54, 2), number(elf, 56, 2));
    (0..count).any(|index| number(elf, headers + index * size, 4) == INTERPRETER)
}

/// A day of this century, as C compilers write the one they are run on.
fn day_of(binary: &[u8]) -> Option<String> {
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let is_day = |text: &[u8]| {
        text[6..9] == *b" 20"
            && text[3] == b' '
            && text[9..].iter().all(u8::is_ascii_digit)
            && months.as_bytes().chunks(3).any(|month| *month == text[..3])
    };
    let day = binary.windows(11).find(|text| is_day(text))?;
    Some(String::from_utf8_lossy(day).into_owned())
}

#[test]
fn a_day_is_found_where_there_is_one() {
    assert_eq!(
        day_of(b"\0built on\0Nov 30 2026\0"),
        Some("Nov 30 2026".to_owned())
    );
    assert_eq!(day_of(b"in Nov 2026, 30 20 Mar  1 1970 and a lot more"), None);
}

/// The machine that a program is for, as images call it.
fn machine(elf: &[u8]) -> &'static str {
    match number(elf, 18, 2) {
        62 => "amd64",
        183 => "arm64",
        other => panic!("e_machine is {other}"),
    }
}

#[test]
fn a_registry_takes_the_image_and_the_binary_in_it_needs_nothing() {
    let (folder, bundle) = unpacked();
    let layout = folder.path().join("layout");
    unpack(
        &bundle.join(format!("image/pointsman-{VERSION}.oci.tar")),
        &layout,
    );
    let registry = Registry::start();
    let image = format!("{}/pointsman:{VERSION}", registry.address);
    // The layout has one index over the architectures; that is what is pushed.
    let index = json(layout.join("index.json"));
    let name = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
    assert_eq!(name, &format!("docker.io/library/pointsman:{VERSION}"));
    let args = ["push", layout.to_str().unwrap(), &image, "--insecure"];
    succeed("crane", "crane", &args);
    succeed("crane", "crane", &["validate", "--remote", &image, "--insecure"]);

    let config: Value =
        serde_json::from_str(&succeed("crane", "crane", &["config", &image, "--insecure"])).unwrap();
    let settings = &config["config"];
    assert_eq!(settings["User"], "65532:65532");
    assert_eq!(settings["Entrypoint"], serde_json::json!(["/pointsman"]));
    assert_eq!(settings["Labels"]["org.opencontainers.image.version"], VERSION);

    let tar = folder.path().join("root.tar");
    let args = [
        "export",
        &image,
        tar.to_str().unwrap(),
        "--insecure",
        &format!("--platform=linux/{ARCHITECTURE}"),
    ];
    succeed("crane", "crane", &args);
    let image_root = folder.path().join("root");
    unpack(&tar, &image_root);
    assert_eq!(files(&image_root), BTreeSet::from(["pointsman".to_owned()]));
    let binary = fs::read(image_root.join("pointsman")).unwrap();
    assert!(!asks_for_a_linker(&binary), "it is not static");
    assert!(
        asks_for_a_linker(&fs::read("/bin/bash").unwrap()),
        "this test can fail"
    );
    assert_eq!(
        binary,
        fs::read(bundle.join(format!("bin/pointsman-linux-{ARCHITECTURE}"))).unwrap()
    );

    // With nothing but itself around it.
    let said = inside(&image_root, &["/pointsman", "--version"]);
    assert_eq!(said, (Some(0), format!("pointsman {VERSION}\n")));
    let demo = image_root.join("demo");
    fs::create_dir(&demo).unwrap();
    for file in files(&bundle.join("manifests/examples/demo")) {
        fs::copy(
            bundle.join("manifests/examples/demo").join(&file),
            demo.join(&file),
        )
        .unwrap();
    }
    let (code, table) = inside(&image_root, &["/pointsman", "simulate", "-o", "json", "/demo"]);
    let report: Value = serde_json::from_str(&table).unwrap();
    // Some of the demo's pods are meant to be turned down.
    assert_eq!(code, Some(1));
    let placed = report["pods"].as_array().unwrap().iter();
    assert!(placed.filter(|pod| pod["placement"]["node"].is_string()).count() >= 8);
}

/// Those that the index offers, each with a static program for it, which runs. A bundle may lack the architecture for which
/// the machine that made it had no compiler; `make bundle` says so.
#[test]
fn each_architecture_in_the_index_has_its_own_program() {
    let (folder, bundle) = unpacked();
    let layout = folder.path().join("layout");
    unpack(
        &bundle.join(format!("image/pointsman-{VERSION}.oci.tar")),
        &layout,
    );
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let index = json(blob(&json(layout.join("index.json"))["manifests"][0]));
    let mut offered = BTreeSet::new();
    for manifest in index["manifests"].as_array().unwrap() {
        let platform = &manifest["platform"];
        assert_eq!(platform["os"], "linux");
        let architecture = platform["architecture"].as_str().unwrap();
        assert!(offered.insert(format!("pointsman-linux-{architecture}")));
        let manifest = json(blob(manifest));
        assert_eq!(json(blob(&manifest["config"]))["architecture"], architecture);
        let [layer] = manifest["layers"].as_array().unwrap().as_slice() else {
            panic!("one layer")
        };
        let image_root = folder.path().join(architecture);
        unpack(&blob(layer), &image_root);
        let program = image_root.join("pointsman");
        let binary = fs::read(&program).unwrap();
        assert_eq!(machine(&binary), architecture);
        assert!(!asks_for_a_linker(&binary), "{architecture} is not static");
        // Another build of the same sources would have other bytes.
        assert_eq!(day_of(&binary), None, "{architecture} tells when it was compiled");
        let alone = bundle.join(format!("bin/pointsman-linux-{architecture}"));
        assert_eq!(binary, fs::read(alone).unwrap());

        let mut command = if architecture == ARCHITECTURE {
            Command::new(&program)
        } else {
            let emulator = match architecture {
                "arm64" => "qemu-aarch64-static",
                _ => "qemu-x86_64-static",
            };
            let mut command = Command::new(emulator);
            command.arg(&program);
            command
        };
        let output = command
            .args(["simulate", "-o", "json"])
            .arg(bundle.join("manifests/examples/demo"))
            .output()
            .unwrap_or_else(|error| {
                panic!("{architecture}: {error}: install it with 'apt-get install qemu-user-static'")
            });
        // As above: some are meant to be turned down.
        assert_eq!(
            output.status.code(),
            Some(1),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(report["pods"].as_array().unwrap().len() >= 8);
    }
    assert_eq!(offered, files(&bundle.join("bin")));
    assert!(offered.contains(&format!("pointsman-linux-{ARCHITECTURE}")));
}

#[test]
fn docker_finds_what_it_looks_for() {
    let (folder, bundle) = unpacked();
    let layout = folder.path().join("layout");
    unpack(
        &bundle.join(format!("image/pointsman-{VERSION}.oci.tar")),
        &layout,
    );
    let [image] =
        <[Value; 1]>::try_from(json(layout.join("manifest.json")).as_array().unwrap().clone()).unwrap();
    assert_eq!(
        image["RepoTags"],
        serde_json::json!([format!("pointsman:{VERSION}")])
    );
    let config = json(layout.join(image["Config"].as_str().unwrap()));
    assert_eq!(config["os"], "linux");
    for layer in image["Layers"].as_array().unwrap() {
        assert!(layout.join(layer.as_str().unwrap()).is_file());
    }
}

/// No engine is here to run it: it is read, and makes the image that the bundle has by the same script.
#[test]
fn the_dockerfile_is_for_the_same_image() {
    let text = fs::read_to_string(root().join("Dockerfile"))
        .unwrap()
        .replace("\\\n", " ");
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .collect();
    let all = |word: &'static str| {
        lines
            .iter()
            .filter(move |(of, _)| *of == word)
            .map(|(_, rest)| rest.trim())
    };
    let one = |word: &'static str| {
        let found: Vec<&str> = all(word).collect();
        assert_eq!(found.len(), 1, "{word}: {found:?}");
        found[0]
    };
    // The compiler is the one that everything is built and tested with.
    let toolchain = fs::read_to_string(root().join("rust-toolchain.toml")).unwrap();
    let channel = toolchain
        .lines()
        .find_map(|line| line.strip_prefix("channel = "))
        .unwrap()
        .trim_matches('"');
    let minor = channel.rsplit_once('.').unwrap().0;
    let bases: Vec<&str> = all("FROM").collect();
    assert_eq!(
        bases,
        [format!("rust:{minor}-bookworm AS build").as_str(), "scratch"]
    );
    let build = one("RUN");
    assert!(
        build.contains("\"$(packaging/build \"$arch\")\" /binary"),
        "{build}"
    );
    assert_eq!(
        all("COPY").collect::<Vec<_>>(),
        [". .", "--from=build /binary /pointsman"]
    );
    for folder in ["packaging", "src", "Cargo.lock", "docs"] {
        let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
        assert!(
            !ignored.lines().any(|line| line == folder),
            "{folder} is needed to build"
        );
    }

    let (folder, bundle) = unpacked();
    let layout = folder.path().join("layout");
    unpack(
        &bundle.join(format!("image/pointsman-{VERSION}.oci.tar")),
        &layout,
    );
    let manifest = json(layout.join("manifest.json"));
    let config = &json(layout.join(manifest[0]["Config"].as_str().unwrap()))["config"];
    assert_eq!(config["User"], one("USER"));
    assert_eq!(config["Env"], serde_json::json!([one("ENV")]));
    assert_eq!(
        config["Entrypoint"],
        serde_json::from_str::<Value>(one("ENTRYPOINT")).unwrap()
    );
    let mut labels = one("LABEL");
    while let Some((name, rest)) = labels.split_once("=\"") {
        let (value, rest) = rest.split_once('"').unwrap();
        assert_eq!(config["Labels"][name], value, "{name}");
        labels = rest.trim_start();
    }
    assert_eq!(labels, "");
}

/// Runs a program of the image with the image's files as the only ones: its exit code and standard output.
fn inside(image_root: &Path, command: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "chroot"])
        .arg(image_root)
        .args(command)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("unshare runs: it is in util-linux");
    assert!(
        !output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

/// A registry in the memory of a process of crane's, which ends with this value.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(tools::part("crane").join("bin/crane"))
            .args(["registry", "serve", "--address", &address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { process, address };
        let began = Instant::now();
        while !tools::run("crane", "crane", &["catalog", &started.address, "--insecure"]).good {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "crane's registry does not answer"
            );
        }
        started
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
