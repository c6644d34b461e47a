//! The recipes of `docs/rank-order.md`, run as they stand there: what they print is the order of the fabric. In place of
//! torch's store there is one of files, and in place of `kubectl` and `mpirun` two scripts.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Pods by their index: place on the fabric, address. Two share a node, and one is on a node that nothing is known of.
const PODS: [(&str, &str); 6] = [
    ("spine-1/su-02/0001/n5", "10.0.0.10"),
    ("spine-1/su-01/0012/n4", "10.0.0.11"),
    ("", "10.0.0.12"),
    ("spine-1/su-01/0002/n3", "10.0.0.13"),
    ("spine-1/su-01/0012/n4", "10.0.0.14"),
    ("spine-1/SU-03/0001/n6", "10.0.0.15"),
];

/// `torch.distributed.TCPStore` as its documentation has it: `get` and `wait` block until the key is set.
const STORE: &str = r#"
import os, time
class TCPStore:
    def __init__(self, host, port, world_size, is_master, timeout):
        assert host == "train-0.train" and world_size == 6
        self.limit = time.monotonic() + min(60, timeout.total_seconds())
    def path(self, key):
        return os.path.join(os.environ["STORE"], key.replace("/", "-"))
    def set(self, key, value):
        with open(self.path(key) + ".new", "w") as file:
            file.write(value)
        os.rename(self.path(key) + ".new", self.path(key))
    def wait(self, keys):
        while not all(os.path.exists(self.path(key)) for key in keys):
            assert time.monotonic() < self.limit, keys
            time.sleep(0.01)
    def get(self, key):
        self.wait([key])
        with open(self.path(key), "rb") as file:
            return file.read()
"#;

/// The first block of the page in this language that has this in it.
fn block(language: &str, having: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rank-order.md")).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.contains(having)).unwrap().to_owned()
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn torchrun_gets_ranks_in_the_order_of_the_fabric() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("torch")).unwrap();
    fs::create_dir(at("store")).unwrap();
    fs::write(at("torch/__init__.py"), "").unwrap();
    fs::write(at("torch/distributed.py"), STORE).unwrap();
    fs::write(at("rank.py"), block("python", "rank.py")).unwrap();
    let pods: Vec<_> = PODS
        .iter()
        .enumerate()
        .map(|(index, (position, address))| {
            Command::new("python3")
                .arg(at("rank.py"))
                .env("PYTHONPATH", folder.path())
                .env("STORE", at("store"))
                .env("JOB_COMPLETION_INDEX", index.to_string())
                .env("PODS", PODS.len().to_string())
                .env("INDEX_0", "train-0.train")
                .env("POD_IP", address)
                .env("POINTSMAN_FABRIC_POSITION", position)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut pods_by_rank = BTreeMap::new();
    for (index, pod) in pods.into_iter().enumerate() {
        let output = pod.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let (rank, master) = told
            .trim()
            .split_once(' ')
            .unwrap_or_else(|| panic!("{told} {error}"));
        // Rank 0 is the pod of which nothing is known, and everybody finds it there.
        assert_eq!(master, "MASTER=10.0.0.12");
        let rank: usize = rank.strip_prefix("NODE_RANK=").unwrap().parse().unwrap();
        pods_by_rank.insert(rank, index);
    }
    // Upper case before lower case: as bytes.
    assert_eq!(pods_by_rank.into_values().collect::<Vec<_>>(), [2, 5, 3, 1, 4, 0]);
}

#[test]
fn mpirun_gets_its_hosts_in_the_order_of_the_fabric() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("bin")).unwrap();
    // As kubectl prints that template: place and name of each pod.
    let lines: Vec<String> = PODS
        .iter()
        .enumerate()
        .map(|(index, (position, _))| format!("echo '{position} train-worker-{index}'"))
        .collect();
    script(
        &at("bin/kubectl"),
        &format!(
            "#!/bin/sh\ncase \"$*\" in\n*'-o jsonpath={{range .items[*]}}{{.metadata.annotations.pointsman\\.io/fabric-position}}{{\" \"}}{{.metadata.name}}'*)\n{}\n;;\n*) echo \"$*\" >&2; exit 1;;\nesac\n",
            lines.join("\n")
        ),
    );
    script(&at("bin/mpirun"), "#!/bin/sh\ncat \"$2\"\n");
    let recipe = block("sh", "mpirun").replace("/tmp/hostfile", at("hostfile").to_str().unwrap());
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-euc", &recipe])
        .env("PATH", path)
        .env("LANG", "en_US.UTF-8")
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let hosts: Vec<&str> = told.lines().collect();
    let expected = [2, 5, 3, 1, 4, 0].map(|index| format!("train-worker-{index} slots=8"));
    assert_eq!(hosts, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
