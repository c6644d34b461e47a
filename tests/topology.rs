//! `pointsman topology` as people and programs call it, on recorded dumps.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions, but not in what they call"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn fixture(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/fabrics")
        .join(path)
        .display()
        .to_string()
}

fn topology(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("topology")
        .args(args)
        // No cluster: whatever asks for one fails.
        .env("KUBECONFIG", "/nonexistent")
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", err(output)))
}

fn scratch(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// Leaf and port of each rail of each host, as the generator cabled them.
fn truth(path: &str) -> BTreeMap<String, Vec<(String, String, u64)>> {
    let mut hosts: BTreeMap<String, Vec<(String, String, u64)>> = BTreeMap::new();
    for line in fs::read_to_string(fixture(path)).unwrap().lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        if !cells[0].starts_with("sm") {
            let rail = (
                format!("0x{}", cells[2]),
                format!("0x{}", cells[3]),
                cells[4].parse().unwrap(),
            );
            hosts.entry(cells[0].to_owned()).or_default().push(rail);
        }
    }
    hosts
}

#[test]
fn a_dry_run_says_where_every_rail_of_every_node_is() {
    for folder in ["fat8", "rail64"] {
        let truth = truth(&format!("{folder}/expected.tsv"));
        let names: Vec<&str> = truth.keys().map(String::as_str).collect();
        let (_folder, nodes) = scratch("nodes.txt", &names.join("\n"));
        let dump = fixture(&format!("{folder}/ibnetdiscover.txt"));
        let nodes = nodes.to_str().unwrap();
        let output = topology(&["import", &dump, "--nodes", nodes, "--dry-run", "-o", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let found = json(&output);
        assert_eq!(found["unmatched"], serde_json::json!(["sm01", "sm02"]));
        assert_eq!(found["ambiguous"], serde_json::json!([]));
        assert_eq!(found["nodes"].as_object().unwrap().len(), truth.len());
        let mut leaves: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (host, rails) in &truth {
            let node = &found["nodes"][host];
            let read: Vec<(String, String, u64)> = node["fabric"]["rails"]
                .as_array()
                .unwrap()
                .iter()
                .map(|rail| {
                    let text = |key: &str| rail[key].as_str().unwrap().to_owned();
                    (text("guid"), text("leaf"), rail["port"].as_u64().unwrap())
                })
                .collect();
            assert_eq!(&read, rails, "{host}");
            let group = node["labels"]["pointsman.io/leaf-group"]
                .as_str()
                .unwrap()
                .to_owned();
            leaves
                .entry(group)
                .or_default()
                .extend(rails.iter().map(|rail| rail.1.clone()));
        }
        // No leaf is in two groups, and all units are whole.
        let all: usize = leaves.values().map(BTreeSet::len).sum();
        let different: BTreeSet<&String> = leaves.values().flatten().collect();
        assert_eq!(all, different.len());
        assert_eq!(leaves.len(), if folder == "fat8" { 4 } else { 2 });
    }
}

#[test]
fn a_dump_can_be_piped_in_and_nobody_need_say_which_nodes_there_are() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["topology", "import", "-", "-o", "json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = fs::read(fixture("fat8/iblinkinfo-l.txt")).unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let found = json(&output);
    assert_eq!(found["nodes"]["node01"]["fabric"]["rails"][1]["state"], "Active");
    assert_eq!(
        found["nodes"]["sm01"]["labels"]["pointsman.io/leaf-group"],
        "lg-fc6a1c0300000100"
    );
}

#[test]
fn states_come_from_the_dump_that_knows_them() {
    let (dump, state) = (
        fixture("fat8/sm-dead/ibnetdiscover.txt"),
        fixture("fat8/sm-dead/iblinkinfo-l.txt"),
    );
    let found = json(&topology(&["import", &dump, "--state", &state, "-o", "json"]));
    let rails = &found["nodes"]["node08"]["fabric"]["rails"];
    assert_eq!(rails[0]["state"], "Active");
    assert_eq!(rails[1]["state"], "Initialize");
}

#[test]
fn a_slurm_file_labels_and_knows_no_rails() {
    let (_folder, file) = scratch(
        "topology.conf",
        "SwitchName=s0 Nodes=n[1-2]\nSwitchName=s1 Nodes=n3\nSwitchName=top Switches=s[0-1]\n",
    );
    let output = topology(&["import", file.to_str().unwrap(), "-o", "json"]);
    assert!(output.status.success(), "{}", err(&output));
    let found = json(&output);
    assert_eq!(
        found["nodes"]["n2"],
        serde_json::json!({"labels": {"pointsman.io/leaf-group": "s0", "pointsman.io/spine": "top"}})
    );
    assert_eq!(found["nodes"]["n3"]["labels"]["pointsman.io/spine"], "top");
}

#[test]
fn what_cannot_be_imported_says_why_and_which_code_it_ends_with() {
    let whole = fs::read_to_string(fixture("fat8/ibnetdiscover.txt")).unwrap();
    // At the end of a line, where nothing but the missing halves of links tells it.
    let end = whole[..whole.len() / 3].rfind('\n').unwrap();
    let (_one, cut) = scratch("cut.txt", &whole[..end]);
    let output = topology(&["import", cut.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("links that do not meet"),
        "{}",
        err(&output)
    );
    // One host without a single link, as a dump looks that was taken from a host whose port is down.
    let lone = "# Topology file: generated on Mon Nov 23 01:38:14 2026\n\ncaguid=0xa088c20300001000\nCa\t1 \"H-a088c20300001000\"\t\t# \"node01 mlx5_0\"\n";
    let (_lone, isolated) = scratch("isolated.txt", lone);
    let output = topology(&["import", isolated.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("an isolated host sees only itself"),
        "{}",
        err(&output)
    );
    let (_two, other) = scratch("nodes.txt", "stranger\n");
    let dump = fixture("fat8/ibnetdiscover.txt");
    let output = topology(&["import", &dump, "--nodes", other.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("is one of the 1 nodes"), "{}", out(&output));
    for wrong in [
        &["import", "/nonexistent"][..],
        &["import", &dump, "--apply", "--dry-run"],
        &["import"],
    ] {
        assert_eq!(topology(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn check_ends_with_one_where_something_is_wrong() {
    let answers = |args: &[&str]| {
        let output = topology(args);
        let rows: BTreeMap<String, String> = json(&output)["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| {
                let text = |key: &str| row[key].as_str().unwrap().to_owned();
                (text("id"), text("answer"))
            })
            .collect();
        (output.status.code(), rows)
    };
    let (dump, state) = (
        fixture("fat8/ibnetdiscover.txt"),
        fixture("fat8/iblinkinfo-l.txt"),
    );
    let (code, rows) = answers(&[
        "check",
        &dump,
        "--state",
        &state,
        "--max-age",
        "36500d",
        "-o",
        "json",
    ]);
    assert_eq!(code, Some(0), "{rows:?}");
    assert!(rows.values().all(|answer| answer != "no"));
    let (code, rows) = answers(&["check", &dump, "--state", &state, "--max-age", "1s", "-o", "json"]);
    assert_eq!((code, rows["age"].as_str()), (Some(1), "no"));

    let (edge, plane) = (
        fixture("edge/ibnetdiscover.txt"),
        fixture("edge/ibnetdiscover-plane2.txt"),
    );
    let (code, rows) = answers(&["check", &edge, &plane, "--max-age", "36500d", "-o", "json"]);
    assert_eq!(code, Some(1));
    for (id, answer) in [
        ("one-sided-links", "yes"),
        ("lid-0", "no"),
        ("active", "no"),
        ("degraded", "no"),
        ("ambiguous", "no"),
        ("dark", "yes"),
        ("lid-budget", "yes"),
        ("virtualization", "unknown"),
    ] {
        assert_eq!(rows[id], answer, "{id}: {rows:?}");
    }
    // A link that one end does not list is told, and the rest is looked at.
    let text = fs::read_to_string(&dump).unwrap();
    let line = text.lines().find(|line| line.starts_with("[13]")).unwrap();
    let (_folder, torn) = scratch("torn.txt", &text.replacen(&format!("{line}\n"), "", 1));
    let (code, rows) = answers(&[
        "check",
        torn.to_str().unwrap(),
        "--max-age",
        "36500d",
        "-o",
        "json",
    ]);
    assert_eq!((code, rows["one-sided-links"].as_str()), (Some(1), "no"));
    assert_eq!(rows["dark"], "yes");
}

#[test]
fn distances_are_counted_in_switches() {
    let dump = fixture("rail64/ibnetdiscover.txt");
    let switches = |args: &[&str]| {
        let output = topology(args);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let rails = json(&output)["rails"].clone();
        let rails: Vec<(u64, u64)> = rails
            .as_array()
            .unwrap()
            .iter()
            .map(|rail| (rail["rail"].as_u64().unwrap(), rail["switches"].as_u64().unwrap()))
            .collect();
        rails
    };
    assert_eq!(
        switches(&["distance", "gpu0001", "gpu0002", &dump, "-o", "json"]),
        [(0, 1), (1, 1), (2, 1), (3, 1)]
    );
    assert_eq!(
        switches(&[
            "distance", "gpu0001", "gpu0040", &dump, "--rails", "1-2", "-o", "json"
        ]),
        [(1, 3), (2, 3)]
    );
    assert_eq!(
        switches(&["distance", "gpu0001", "gpu0040", &dump, "-o", "json", "--rails"]).len(),
        4
    );
    let unknown = topology(&["distance", "gpu0001", "nobody", &dump]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("nobody is not known"), "{}", err(&unknown));
    let planes = [
        fixture("edge/ibnetdiscover.txt"),
        fixture("edge/ibnetdiscover-plane2.txt"),
    ];
    let apart = topology(&["distance", "edge02", "edge04", &planes[0], &planes[1]]);
    assert_eq!(apart.status.code(), Some(1), "{}", out(&apart));
}

#[test]
fn the_fabric_is_shown_as_a_tree() {
    let (edge, plane) = (
        fixture("edge/ibnetdiscover.txt"),
        fixture("edge/ibnetdiscover-plane2.txt"),
    );
    insta::assert_snapshot!("tree-edge", out(&topology(&["show", &edge, &plane])));
    let (dump, state) = (
        fixture("fat8/ibnetdiscover.txt"),
        fixture("fat8/faults/iblinkinfo-l.txt"),
    );
    insta::assert_snapshot!("tree-faults", out(&topology(&["show", &dump, "--state", &state])));
}

#[test]
fn the_fabric_is_shown_to_programs_and_as_a_picture() {
    let dump = fixture("rail64/ibnetdiscover.txt");
    let shown = json(&topology(&["show", &dump, "-o", "json"]));
    let groups: Vec<usize> = shown["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| group["hosts"].as_array().unwrap().len())
        .filter(|hosts| *hosts > 1)
        .collect();
    assert_eq!(groups, [32, 32]);
    let svg = out(&topology(&["show", &dump, "-o", "svg"]));
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    // A square for each rail, and one for each of the four meanings.
    let rails = 64 * 4 + 2;
    assert_eq!(svg.matches("<g><title>").count(), rails + 4);
    assert_eq!(squares(&svg), [rails, 0, 0, 0]);
    let dot = out(&topology(&["show", &dump, "-o", "dot"]));
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    assert_eq!(dot.matches("color=\"#2e7d32\"").count(), rails);
}

/// How many rails a picture shows as up, slow, not active and dark, the four of its legend left out.
fn squares(svg: &str) -> [usize; 4] {
    // Told apart by form as well as by color: a bar, a cross, a dashed frame.
    let squares = || svg.lines().filter(|line| line.starts_with("<g><title>"));
    let having = |mark: &str| squares().filter(|line| line.contains(mark)).count();
    let [bars, crosses, dashes] = [having("stroke-width"), having("L"), having("stroke-dasharray")];
    [
        squares().count() - bars - crosses - dashes - 1,
        bars - 1,
        crosses - 1,
        dashes - 1,
    ]
}

/// Nodes as the import of a healthy dump leaves them: only that tells which rails should be there.
fn imported_nodes() -> (tempfile::TempDir, PathBuf) {
    let dump = fixture("fat8/ibnetdiscover.txt");
    let state = fixture("fat8/iblinkinfo-l.txt");
    let imported = json(&topology(&[
        "import",
        &dump,
        "--state",
        &state,
        "--dry-run",
        "-o",
        "json",
    ]));
    let nodes: Vec<Value> = imported["nodes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, found)| {
            serde_json::json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": found["labels"],
                "annotations": {"pointsman.io/fabric": found["fabric"].to_string()}}})
        })
        .collect();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": nodes});
    scratch("nodes.json", &list.to_string())
}

#[test]
fn a_dry_run_shows_what_would_change_as_a_table() {
    let (_folder, nodes) = imported_nodes();
    let (dump, state) = (
        fixture("fat8/faults/ibnetdiscover.txt"),
        fixture("fat8/faults/iblinkinfo-l.txt"),
    );
    let looked = topology(&[
        "import",
        &dump,
        "--state",
        &state,
        "--nodes",
        nodes.to_str().unwrap(),
        "--dry-run",
    ]);
    assert!(looked.status.success(), "{}", err(&looked));
    insta::assert_snapshot!("dry-run-table", out(&looked));
}

#[test]
fn dark_and_slow_rails_stand_out_in_the_picture() {
    let (_folder, nodes) = imported_nodes();
    // Two cables are cut; one more runs at half its width, one has not been configured.
    let faults = fs::read_to_string(fixture("fat8/faults/iblinkinfo-l.txt")).unwrap();
    let state: String = faults
        .lines()
        .map(|line| {
            let slow = line.replace("( 4X  ", "( 2X  ");
            let idle = line.replace("Active/  LinkUp", "Initialize/  LinkUp");
            let is = |guid: &str| line.contains(guid);
            match (is("0xa088c20300006001"), is("0xa088c20300003001")) {
                (true, _) => slow,
                (_, true) => idle,
                _ => line.to_owned(),
            }
        })
        .map(|line| line + "\n")
        .collect();
    let (_folder, state) = scratch("state.txt", &state);
    let shown = topology(&[
        "show",
        state.to_str().unwrap(),
        "--nodes",
        nodes.to_str().unwrap(),
        "-o",
        "svg",
    ]);
    assert!(shown.status.success(), "{}", err(&shown));
    let svg = out(&shown);
    assert_eq!(squares(&svg), [18 - 4, 1, 1, 2]);
    assert!(
        svg.contains("<title>node06 rail 0 mlx5_0: Active at leaf03/3 2xHDR</title>"),
        "{svg}"
    );
}
