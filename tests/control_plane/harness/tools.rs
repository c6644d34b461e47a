//! The binaries and manifests of the real parts, as `tests/control_plane/tools/build` makes and names them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where each part was built; a part's folder holds `bin/`, `crds/` or `stages/`.
pub(crate) struct Tools {
    kubernetes: PathBuf,
    kwok: PathBuf,
    spiderpool: PathBuf,
    sriov_operator: PathBuf,
}

impl Tools {
    /// Runs the build script, which does nothing where its results exist already.
    pub(crate) fn find() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control_plane/tools/build");
        let output = Command::new(&script).stderr(Stdio::inherit()).output().unwrap();
        assert!(
            output.status.success(),
            "{} failed; what it needs is said above",
            script.display()
        );
        let printed = String::from_utf8(output.stdout).unwrap();
        let place = |part: &str| {
            let line = printed
                .lines()
                .find_map(|line| line.strip_prefix(part)?.strip_prefix(' '));
            PathBuf::from(line.unwrap_or_else(|| panic!("no place of {part} in {printed:?}")))
        };
        Self {
            kubernetes: place("kubernetes"),
            kwok: place("kwok"),
            spiderpool: place("spiderpool"),
            sriov_operator: place("sriov-operator"),
        }
    }

    pub(crate) fn kubernetes(&self, binary: &str) -> PathBuf {
        self.kubernetes.join("bin").join(binary)
    }

    pub(crate) fn kwok(&self) -> PathBuf {
        self.kwok.join("bin/kwok")
    }

    pub(crate) fn spiderpool(&self, binary: &str) -> PathBuf {
        self.spiderpool.join("bin").join(binary)
    }

    /// KWOK's stages: how nodes become Ready, pods Running, and deleted pods vanish.
    pub(crate) fn stages(&self) -> Vec<PathBuf> {
        files_in(&self.kwok.join("stages"))
    }

    /// The CRDs of Spiderpool, of Multus and of the SR-IOV operator.
    pub(crate) fn crds(&self) -> Vec<PathBuf> {
        [&self.spiderpool, &self.sriov_operator]
            .into_iter()
            .flat_map(|part| files_in(&part.join("crds")))
            .collect()
    }
}

/// The cache outside the repository that the build script fills too.
pub(crate) fn cache() -> PathBuf {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("POINTSMAN_CACHE").unwrap_or_else(|| {
        let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
        base.expect("HOME is set").join("pointsman")
    })
}

pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}
