//! The fabric import on a real API server, with exactly the rights that its example manifest grants: what it writes, that
//! it writes nothing twice, and what it never does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::harness::api::{Api, Kind, NAMESPACES, NODES, kind};
use crate::harness::plane::{ControlPlane, TOPOLOGY_USER};
use crate::harness::process::Program;
use crate::harness::run;
use crate::harness::run_folder::RunFolder;
use crate::harness::stack::our_binary;
use crate::harness::tools::Tools;
use crate::harness::wait::{eventually, expect};

const LEASES: Kind = kind("coordination.k8s.io/v1", "Lease", "leases");
const NAMESPACE: &str = "pointsman-system";
const EXAMPLE: &str = "manifests/examples/fabric/import-cronjob.yaml";
const RBAC: &str = "rbac.authorization.k8s.io/v1";
const ROLES: [(&str, Kind); 4] = [
    ("ClusterRole", kind(RBAC, "ClusterRole", "clusterroles")),
    (
        "ClusterRoleBinding",
        kind(RBAC, "ClusterRoleBinding", "clusterrolebindings"),
    ),
    ("Role", kind(RBAC, "Role", "roles")),
    ("RoleBinding", kind(RBAC, "RoleBinding", "rolebindings")),
];

/// Eight hosts, whose names are this test's own.
fn dump(prefix: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/fabrics")
        .join(file);
    fs::read_to_string(path)
        .unwrap()
        .replace("\"node0", &format!("\"{prefix}-node0"))
}

async fn create_nodes(api: &Api, prefix: &str) -> Vec<String> {
    let names: Vec<String> = (1..=8)
        .map(|number| format!("{prefix}-node{number:02}"))
        .collect();
    for name in &names {
        let node = json!({"metadata": {"name": name, "labels": {"kept": "as-it-is"}, "annotations": {"kept": "too"}}});
        api.create(&NODES.all(), node).await.unwrap();
    }
    names
}

/// The rights of the example, in the cluster; what they name belongs to its own namespace.
async fn grant(api: &Api) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
    let mut granted = 0;
    for object in objects {
        let name = object["kind"].as_str().unwrap();
        let Some((_, of_kind)) = ROLES.iter().find(|(role, _)| *role == name) else {
            continue;
        };
        let at = match object["metadata"]["namespace"].as_str() {
            Some(namespace) => of_kind.within(namespace),
            None => of_kind.all(),
        };
        api.create(&at, object).await.unwrap();
        granted += 1;
    }
    assert_eq!(granted, 4);
}

struct Import {
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl Import {
    fn new(plane: &ControlPlane) -> Self {
        Self {
            kubeconfig: plane.kubeconfig(TOPOLOGY_USER),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        self.topology(&[&["import"], args].concat())
    }

    /// The same as a person sees it: on a terminal, which `script` (of every Debian) is one of.
    fn on_terminal(&self, args: &[&str]) -> Output {
        let line = format!("{} topology import {}", our_binary().display(), args.join(" "));
        Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .unwrap()
    }

    fn topology(&self, args: &[&str]) -> Output {
        Command::new(our_binary())
            .arg("topology")
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

async fn nodes(api: &Api, names: &[String]) -> Vec<Value> {
    let mut nodes = Vec::new();
    for name in names {
        nodes.push(api.get(&NODES.all().named(name)).await.unwrap());
    }
    nodes
}

/// What the import wrote on a node: its leaf group, and the states of its rails.
fn written(node: &Value) -> (String, Vec<String>) {
    let annotation = node["metadata"]["annotations"]["pointsman.io/fabric"]
        .as_str()
        .unwrap();
    let fabric: Value = serde_json::from_str(annotation).unwrap();
    let states = fabric["rails"].as_array().unwrap().iter();
    (
        node["metadata"]["labels"]["pointsman.io/leaf-group"]
            .as_str()
            .unwrap()
            .to_owned(),
        states
            .map(|rail| rail["state"].as_str().unwrap().to_owned())
            .collect(),
    )
}

#[test]
fn an_import_writes_what_is_new_and_nothing_else_and_a_watch_goes_on_from_there() {
    run(async {
        // A cluster of its own: an import looks at all nodes, and those of other tests would have gone dark for it.
        let plane = &ControlPlane::bare(RunFolder::inner("fabric-import")).await;
        plane.create_crds(Tools::find().crds()).await;
        let api = &plane.api;
        let namespace = json!({"metadata": {"name": NAMESPACE}});
        api.create(&NAMESPACES.all(), namespace).await.unwrap();
        grant(api).await;
        let names = create_nodes(api, "import").await;
        let import = Import::new(plane);
        let healthy = dump("import", "fat8/ibnetdiscover.txt");
        let file = import.file("nd.txt", &healthy);
        let file = file.to_str().unwrap();

        // Only looking writes nothing.
        let looked = import.run(&[file, "--nodes-from-cluster", "--dry-run"]);
        assert!(looked.status.success(), "{}", text(&looked));
        let before = nodes(api, &names).await;
        assert!(
            before
                .iter()
                .all(|node| node["metadata"]["labels"]["pointsman.io/leaf-group"].is_null())
        );

        let first = import.on_terminal(&[file, "--apply"]);
        assert!(first.status.success(), "{}", text(&first));
        for done in ["1 of 8 nodes written", "8 of 8 nodes written"] {
            assert!(text(&first).contains(done), "{}", text(&first));
        }
        let imported = nodes(api, &names).await;
        for (number, node) in imported.iter().enumerate() {
            let (group, states) = written(node);
            assert_eq!(group, format!("lg-fc6a1c0300000{}00", number / 2 + 1));
            assert_eq!(states, ["Unknown", "Unknown"]);
            assert_eq!(node["metadata"]["labels"]["kept"], "as-it-is");
            assert_eq!(node["metadata"]["annotations"]["kept"], "too");
        }
        let lease = api
            .get(&LEASES.within(NAMESPACE).named("pointsman-fabric"))
            .await
            .unwrap();
        assert_eq!(lease["metadata"]["annotations"]["pointsman.io/fabric-nodes"], "8");
        assert_eq!(lease["metadata"]["annotations"]["pointsman.io/fabric-dark"], "0");
        assert_eq!(lease["spec"]["holderIdentity"], file);
        assert!(
            lease["spec"]["renewTime"]
                .as_str()
                .unwrap()
                .starts_with("2026-11-23T"),
            "{lease}"
        );

        // The same again: every node stays at its version, the Lease is renewed.
        let again = import.run(&[file, "--apply"]);
        assert!(again.status.success(), "{}", text(&again));
        assert!(
            !text(&again).contains("written"),
            "no terminal, no progress: {}",
            text(&again)
        );
        for (now, then) in nodes(api, &names).await.iter().zip(&imported) {
            assert_eq!(
                now["metadata"]["resourceVersion"],
                then["metadata"]["resourceVersion"]
            );
        }

        // A file that was cut off, and one that an isolated host made.
        let half = import.file("half.txt", &healthy[..healthy.len() / 2]);
        let cut = import.run(&[half.to_str().unwrap(), "--apply"]);
        assert_eq!(cut.status.code(), Some(2), "{}", text(&cut));
        let shrunken = import.file("shrunken.txt", &dump("other", "fat8/ibnetdiscover.txt"));
        let refused = import.run(&[shrunken.to_str().unwrap(), "--apply"]);
        assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
        assert!(text(&refused).contains("8 of the 8 hosts"), "{}", text(&refused));
        for (now, then) in nodes(api, &names).await.iter().zip(&imported) {
            assert_eq!(
                now["metadata"]["resourceVersion"],
                then["metadata"]["resourceVersion"]
            );
        }

        look(&import);
        follow(plane, &import, &names).await;
    });
}

/// Without a dump, what the nodes carry is shown, checked and measured.
fn look(import: &Import) {
    let shown = import.topology(&["show"]);
    assert!(shown.status.success(), "{}", text(&shown));
    let tree = text(&shown);
    for line in [
        "  leaf group lg-fc6a1c0300000100: 2 hosts, 1 leaf",
        "    import-node07: 2 rails, Unknown 4xHDR",
    ] {
        assert!(tree.lines().any(|shown| shown == line), "{line}: {tree}");
    }
    let picture = import.topology(&["show", "-o", "svg"]);
    assert_eq!(text(&picture).matches("<g><title>import-node").count(), 16);

    let checked = import.topology(&["check", "--max-age", "36500d", "-o", "json"]);
    assert!(checked.status.success(), "{}", text(&checked));
    let rows: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let answer = |rows: &Value, id: &str| {
        let rows = rows["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == id);
        row.unwrap_or_else(|| panic!("{id}: {rows:?}"))["answer"].clone()
    };
    assert_eq!(
        (answer(&rows, "age"), answer(&rows, "dark")),
        (json!("yes"), json!("yes"))
    );
    let old = import.topology(&["check", "--max-age", "1s", "-o", "json"]);
    assert_eq!(old.status.code(), Some(1), "{}", text(&old));
    let rows: Value = serde_json::from_slice(&old.stdout).unwrap();
    assert_eq!(answer(&rows, "age"), "no");

    let distance = |one: &str, other: &str| {
        let measured = import.topology(&["distance", one, other, "-o", "json"]);
        assert!(measured.status.success(), "{}", text(&measured));
        serde_json::from_slice::<Value>(&measured.stdout).unwrap()
    };
    let near = distance("import-node01", "import-node02").to_string();
    let far = distance("import-node01", "import-node03").to_string();
    assert!(near != far, "{near}");
    let nowhere = import.topology(&["distance", "import-node01", "no-such-node"]);
    assert!(!nowhere.status.success(), "{}", text(&nowhere));
}

/// Links go and come back in a file that is written again in place, as OpenSM does it.
async fn follow(plane: &ControlPlane, import: &Import, names: &[String]) {
    let api = &plane.api;
    let healthy = dump("import", "fat8/opensm-subnet.lst").replace("{node0", "{import-node0");
    let faults = dump("import", "fat8/faults/opensm-subnet.lst").replace("{node0", "{import-node0");
    let file = import.file("opensm-subnet.lst", &healthy);
    let watch = Program::new("topology-watch", &our_binary())
        .args(["topology", "watch"])
        .arg(file.display().to_string())
        .args(["--settle", "300ms"])
        .env("KUBECONFIG", import.kubeconfig.display().to_string())
        .start(import.folder.path().join("watch.log"));
    let dark = async || {
        let all: Vec<String> = nodes(api, names)
            .await
            .iter()
            .flat_map(|node| written(node).1)
            .collect();
        let count = |wanted: &str| all.iter().filter(|state| *state == wanted).count();
        (count("Active"), count("Dark"))
    };
    let limit = std::time::Duration::from_secs(30);
    let becomes = async |what: &str, active: usize, gone: usize| {
        eventually(what, limit, async || {
            let found = dark().await;
            expect(found == (active, gone), || {
                format!(
                    "{found:?}; {}",
                    fs::read_to_string(watch.log()).unwrap_or_default()
                )
            })
        })
        .await;
    };
    becomes("the states are known", 16, 0).await;
    let gone = healthy.matches(" } { CA").count() - faults.matches(" } { CA").count();
    assert!(gone > 0);
    // In place and in two steps: the first half alone is no fabric.
    fs::write(&file, &faults[..faults.len() / 2]).unwrap();
    fs::write(&file, &faults).unwrap();
    becomes("cut links are dark", 16 - gone, gone).await;
    fs::write(&file, &healthy).unwrap();
    becomes("repaired links are active", 16, 0).await;
}
