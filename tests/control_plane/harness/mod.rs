//! The harness of the control-plane tests: real etcd, kube-apiserver, kube-controller-manager, kube-scheduler and
//! Spiderpool on loopback, nodes played by KWOK, and the program under test beside them.
//!
//! - [`tools`] builds or finds the binaries, [`run_folder`] holds a run's files, [`process`] starts processes that can
//!   never outlive this one, [`ports`] and [`certs`] give them addresses and identities.
//! - [`plane`] is the control plane that all tests share; [`spiderpool`] is the part of it that hands out addresses.
//! - [`stack`] is one `pointsman serve` with the kube-scheduler that asks it ([`scheduler`]); [`faults`] can stand
//!   between any two, and [`another`] is an extender that is not ours.
//! - [`nodes`], [`objects`] make what a cluster's admin would make; [`ipam`] and [`kubelet`] do what a node would do.
//! - [`others`] are webhooks of other people's.
//! - [`scene`] is a test's own corner of the cluster, and tells what happened there when the test fails.

pub(crate) mod another;
pub(crate) mod api;
pub(crate) mod base64;
pub(crate) mod certs;
pub(crate) mod clock;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod ipam;
pub(crate) mod kubelet;
pub(crate) mod nodes;
pub(crate) mod objects;
pub(crate) mod others;
pub(crate) mod plane;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod run_folder;
pub(crate) mod scene;
pub(crate) mod scheduler;
pub(crate) mod seeded;
pub(crate) mod spiderpool;
pub(crate) mod stack;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod wait;

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// One runtime for all tests: what a test leaves to others (the API client's connections, background tasks) must not
/// end with the test that happened to start it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    // ring is the one crypto provider of the program and of its tests.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap()
});

/// Runs one test's future on the shared runtime.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}
