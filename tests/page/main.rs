//! The page in a real browser: what it draws, how it is used by keyboard, that it asks nobody but its own endpoint.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "functions that tests call say what they expect in the shortest way, as tests do"
)]

mod browser;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use axum::Router;
use browser::{ARROW_RIGHT, Browser, ENTER, TAB};
use pointsman::cluster::index::Index;
use pointsman::config::Configuration;
use pointsman::explain::http;
use pointsman::extender::insight::{Insight, LateInsight};
use pointsman::extender::ledger::{Ledger, Lifetimes};
use pointsman::serve::limits::{self, guarded};
use pointsman::serve::listen::Listener;
use pointsman::serve::page;
use pointsman::telemetry::label::ListenerName;
use pointsman::telemetry::metrics::Metrics;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// `pointsman simulate --serve` over the example cluster.
struct Demo {
    process: Child,
    address: String,
}

impl Demo {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["simulate", "--serve", "127.0.0.1:0", "manifests/examples/demo"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                let line = line.unwrap();
                let (_, rest) = line.split_once("http://")?;
                Some(rest.split('/').next().unwrap().to_owned())
            })
            .expect("it ended without saying where the page is");
        Self { process, address }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _killed = self.process.kill();
        let _status = self.process.wait();
    }
}

#[test]
fn the_example_cluster_is_drawn_and_can_be_used_by_keyboard_alone() {
    let demo = Demo::start();
    let browser = Browser::start();
    browser.open(&format!("http://{}/", demo.address));
    browser.until("document.body.dataset.drawn === 'yes'");

    assert_eq!(browser.count(".group"), 2);
    assert_eq!(browser.count(".node"), 24);
    assert!(
        browser
            .text("#summary")
            .contains("24 nodes in 2 leaf groups, 8 rails, 1,536 VFs, 3 waiting pods")
    );
    // Not by color alone: unfit VFs are crosses of their own class, and the node says so in words.
    assert_eq!(browser.count(".node:has(.x)"), 3);
    let unfit = browser.value("document.querySelector('[data-node=\"su1-node12\"]').ariaLabel");
    assert_eq!(
        unfit,
        "su1-node12: VFs 56 free, 8 unfit; RDMA: a VF of the node has no GUID"
    );
    let used = browser.value("document.querySelector('[data-node=\"su2-node01\"]').ariaLabel");
    assert_eq!(used, "su2-node01: VFs 56 free, 8 used; gang train");
    assert!(browser.text("#pools").contains("0 of 4 free, 4 promised"));
    let waiting = browser.text("#waiting");
    for text in [
        "demo/probe",
        "and 1 other",
        "RDMA: no free address in an IP pool of a rail (21 nodes)",
    ] {
        assert!(waiting.contains(text), "{text} is not in\n{waiting}");
    }

    // Arrow keys move between nodes, Enter shows one.
    browser.value("document.querySelector('.node[tabindex=\"0\"]').focus()");
    browser.press(ARROW_RIGHT);
    assert_eq!(browser.value("document.activeElement.dataset.node"), "su1-node02");
    assert_eq!(
        browser.count(".nodes [tabindex=\"0\"]"),
        2,
        "one of each group is in the order of tabs"
    );
    browser.press(ENTER);
    browser.until("!document.getElementById('node').hidden");
    assert_eq!(browser.value("document.activeElement.id"), "node-title");
    assert!(browser.text("#node").contains("spidernet.io/ib_rail7"));

    // A gang is lit when it has the focus, and stays so when it is chosen.
    assert_eq!(browser.count(".node.hit"), 0);
    browser.value("document.querySelector('[data-gang]').focus()");
    assert_eq!(browser.count(".node.hit"), 8);
    browser.press(ENTER);
    browser.press(TAB);
    assert_eq!(browser.count(".lit .node.hit"), 8);
    assert_eq!(
        browser.value("location.hash"),
        "#gang=demo%2Ftrain&node=su1-node02"
    );

    // What would help is asked for, and tried, on demand.
    browser.value("[...document.querySelectorAll('#waiting button')].at(-1).focus()");
    browser.press(ENTER);
    browser.until("document.querySelector('.answer')");
    assert_eq!(
        browser.text(".answer"),
        "It would run with:\n1 more address in storage"
    );

    // Every control has a name, every section a heading, and nothing else was asked for.
    let unnamed = browser.value(
        "[...document.querySelectorAll('button,input')].filter((e) => !(e.innerText.trim() || e.ariaLabel || e.labels?.length)).length",
    );
    assert_eq!(unnamed, 0);
    let elsewhere = browser.value(
        "performance.getEntriesByType('resource').map((e) => e.name).filter((name) => !name.startsWith(location.origin) && !name.startsWith('data:'))",
    );
    assert_eq!(elsewhere, json!([]));
    assert_eq!(browser.complaints(), Vec::<String>::new());

    if let Some(path) = std::env::var_os("POINTSMAN_SCREENSHOT") {
        browser.open("about:blank");
        browser.open(&format!("http://{}/#gang=demo/train", demo.address));
        browser.until("document.querySelectorAll('.lit .node.hit').length === 8");
        std::fs::write(path, browser.screenshot()).unwrap();
    }
}

/// The page over an index that the test changes.
struct Live {
    index: Index,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Live {
    async fn start(objects: &[Value]) -> Self {
        let settings = Arc::new(Configuration::default().decisions);
        let index = Index::new(Arc::clone(&settings));
        for object in objects {
            index.apply(object.clone()).unwrap();
        }
        let reservation = Configuration::default().reservation;
        let lifetimes = Lifetimes {
            hold: reservation.hold,
            gang: reservation.gang,
            reservation: reservation.lifetime,
        };
        let insight = LateInsight::from(std::sync::OnceLock::from(Insight {
            ledger: Arc::new(Ledger::new(index.published(), lifetimes)),
            settings,
            is_ready: Arc::new(|| true),
        }));
        let routes: Router = page::document()
            .merge(page::state(Arc::clone(&insight)))
            .merge(http::router(insight));
        let routes = guarded(
            routes,
            ListenerName::Admin,
            limits::ADMIN,
            Arc::new(Metrics::new()),
        );
        let listener = Listener::bind(ListenerName::Admin, "127.0.0.1:0".parse().unwrap())
            .await
            .unwrap();
        let (address, stop) = (listener.address(), CancellationToken::new());
        tokio::spawn(listener.serve(routes, stop.clone()));
        Self { index, address, stop }
    }
}

fn network() -> Value {
    json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "rail0", "namespace": "rdma",
            "annotations": {"k8s.v1.cni.cncf.io/resourceName": "x.io/rail0"}},
        "spec": {"config": r#"{"type":"ib-sriov"}"#}})
}

fn node(number: u32) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("n{number}"), "labels": {"pointsman.io/leaf-group": format!("g{}", number / 40)}},
        "status": {"allocatable": {"x.io/rail0": "8", "cpu": "64", "pods": "110"}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_nodes_stay_usable() {
    let objects: Vec<Value> = (0..2_000).map(node).chain([network()]).collect();
    let live = Live::start(&objects).await;
    let address = live.address;
    tokio::task::spawn_blocking(move || {
        let browser = Browser::start();
        browser.open(&format!("http://{address}/"));
        browser.until("document.body.dataset.drawn === 'yes'");
        assert_eq!(browser.count(".group"), 50);
        // Closed groups have no nodes in the document.
        let (nodes, all) = (browser.count(".node"), browser.count("*"));
        assert!((40..=200).contains(&nodes), "{nodes} nodes are drawn");
        assert!(all < 3_000, "{all} elements");
        browser.value("document.querySelectorAll('.group')[30].querySelector('summary').click()");
        browser.until("document.querySelectorAll('.group')[30].querySelectorAll('.node').length === 40");
        assert_eq!(browser.complaints(), Vec::<String>::new());
    })
    .await
    .unwrap();
    live.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refreshes_itself_and_says_when_nobody_answers() {
    let live = Live::start(&[network(), node(0)]).await;
    let address = live.address;
    let (changed, seen) = std::sync::mpsc::channel();
    let (look, waits) = tokio::sync::oneshot::channel();
    let looking = tokio::task::spawn_blocking(move || {
        let browser = Browser::start();
        browser.prefer_dark();
        browser.open(&format!("http://{address}/#node=n1"));
        browser.until("document.querySelectorAll('.node').length === 1");
        let dark = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(dark, "rgb(18, 22, 29)");
        assert!(browser.text("#waiting").contains("Nobody waits."));
        look.send(()).unwrap();
        seen.recv().unwrap();
        browser.until("document.querySelectorAll('.node').length === 2");
        browser.until("!document.getElementById('node').hidden");
        browser
    });
    waits.await.unwrap();
    live.index.apply(node(1)).unwrap();
    changed.send(()).unwrap();
    let browser = looking.await.unwrap();
    live.stop.cancel();
    tokio::task::spawn_blocking(move || {
        browser.until("!document.getElementById('trouble').hidden");
        assert!(browser.text("#trouble").contains("does not answer"));
    })
    .await
    .unwrap();
}
