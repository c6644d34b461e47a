//! `pointsman check` against a real cluster, which has a control plane of its own: every row is looked at there, so that
//! nothing another test breaks on purpose may be in it.
//!
//! First everything is as it should be, with a real webhook, extender, scheduler and IPAM. Then one thing at a time is
//! broken, and exactly the rows that are about it say no.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::deployed::{manifest, object};
use crate::harness::api::{
    At, CLUSTER_ROLES, CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, LEASES, MUTATING_WEBHOOKS, NAMESPACES,
    NETWORKS, NODE_STATES, NODES, PODS, POLICIES, POOL_CONFIGS, POOLS, SERVICE_ACCOUNTS, SERVICES,
    VALIDATING_WEBHOOKS,
};
use crate::harness::base64;
use crate::harness::certs::Authority;
use crate::harness::kubelet::{Kubelet, networks_of};
use crate::harness::nodes::{IbNode, OPERATOR_NAMESPACE, PREFIX};
use crate::harness::objects::{Profile, pod_of};
use crate::harness::plane::{ControlPlane, OUR_NAMESPACE, SCHEDULER_USER, WEBHOOK_USER};
use crate::harness::process::{Process, Program};
use crate::harness::run_folder::tail;
use crate::harness::scene::is_bound;
use crate::harness::spiderpool;
use crate::harness::stack::our_binary;
use crate::harness::tools::Tools;
use crate::harness::wait::{eventually, expect};
use crate::harness::{ports, run};

const LIMIT: Duration = Duration::from_mins(1);
const USERS_NAMESPACE: &str = "research";

#[test]
fn every_row_says_yes_of_a_sound_cluster_and_no_of_exactly_what_is_broken() {
    run(async {
        let plane = ControlPlane::start_another("checklist").await;
        // Kubelet and processes live as long as the test's process anyway.
        let plane: &'static ControlPlane = Box::leak(Box::new(plane));
        let cluster = Cluster::sound(plane).await;

        // While what was just installed comes up, a row may say no.
        eventually("every row says yes", LIMIT, async || {
            let (code, rows) = cluster.check(&[]);
            let others = not_yes(&rows);
            expect(code == 0 && others.is_empty(), || told(&rows, &others))
        })
        .await;

        for broken in breakages(&cluster).await {
            cluster.shows(broken).await;
        }
        cluster.shows_a_webhook_with_a_wrong_certificate().await;
        cluster.shows_a_sampling_scheduler().await;
        cluster.answers_about_one_node().await;
        cluster.answers_about_a_pod().await;
        cluster.answers_who_may_not_look();
        // Whatever was broken is mended again.
        eventually("every row says yes again", LIMIT, async || {
            let (_, rows) = cluster.check(&[]);
            let others = not_yes(&rows);
            expect(others.is_empty(), || told(&rows, &others))
        })
        .await;
    });
}

/// The kinds as Spiderpool and the SR-IOV operator really ship them, whole, without one, and changed.
#[test]
fn the_rows_about_kinds_read_the_real_definitions() {
    let files = Tools::find().crds();
    let definitions: Vec<Value> = files
        .iter()
        .map(|file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
        .collect();
    let answers = |definitions: &[Value]| {
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("crds.json");
        std::fs::write(&saved, json!({"kind": "List", "items": definitions}).to_string()).unwrap();
        let output = Command::new(our_binary())
            .args(["check", "-o", "json", "--from"])
            .arg(&saved)
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let rows = report["rows"].as_array().unwrap().iter();
        rows.filter(|row| row["id"].as_str().unwrap().starts_with("crds."))
            .map(|row| ["id", "answer", "evidence"].map(|key| row[key].as_str().unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let others = |definitions: &[Value]| {
        let rows = answers(definitions).into_iter();
        rows.filter(|[_, answer, _]| answer != "yes").collect::<Vec<_>>()
    };
    assert_eq!(answers(&definitions).len(), 4);
    assert_eq!(others(&definitions), Vec::<[String; 3]>::new());

    for (name, row) in [
        ("spiderippools.spiderpool.spidernet.io", "crds.spiderpool"),
        ("spidermultusconfigs.spiderpool.spidernet.io", "crds.spiderpool"),
        ("network-attachment-definitions.k8s.cni.cncf.io", "crds.multus"),
        ("sriovnetworknodepolicies.sriovnetwork.openshift.io", "crds.sriov"),
    ] {
        let there = definitions
            .iter()
            .filter(|object| object["metadata"]["name"] != name);
        let without: Vec<Value> = there.cloned().collect();
        assert_eq!(without.len() + 1, definitions.len(), "{name}");
        let missing = [row.to_owned(), "no".to_owned(), format!("there is no {name}")];
        assert_eq!(others(&without), [missing]);

        let mut other_version = definitions.clone();
        for object in &mut other_version {
            if object["metadata"]["name"] == name {
                object["spec"]["versions"][0]["name"] = json!("v9");
            }
        }
        let [[id, answer, evidence]] = others(&other_version).try_into().unwrap();
        assert_eq!((id.as_str(), answer.as_str()), (row, "no"));
        assert!(evidence.starts_with(&format!("{name} serves v9")), "{evidence}");
    }

    // What Spiderpool's chart has of the operator differs in just this.
    let mut without_modes = definitions;
    for object in &mut without_modes {
        drop_key(object, "rdmaMode");
    }
    let [[id, answer, _]] = others(&without_modes).try_into().unwrap();
    assert_eq!((id.as_str(), answer.as_str()), ("crds.sriov-modes", "unknown"));
}

/// Removes a key wherever it is.
fn drop_key(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(key);
            for value in fields.values_mut() {
                drop_key(value, key);
            }
        }
        Value::Array(items) => {
            for value in items {
                drop_key(value, key);
            }
        }
        _ => {}
    }
}

/// One thing that is changed for the worse, and back.
struct Breakage {
    what: &'static str,
    at: At,
    /// The status is what changes.
    status: bool,
    worse: Value,
    back: Value,
    /// The rows that say no then; the first one's evidence has the words.
    rows: &'static [&'static str],
    words: &'static str,
}

impl Breakage {
    fn of(what: &'static str, at: At, worse: Value, back: Value) -> Self {
        Self {
            what,
            at,
            status: false,
            worse,
            back,
            rows: &[],
            words: "",
        }
    }

    fn in_status(self) -> Self {
        Self { status: true, ..self }
    }

    fn shows(self, rows: &'static [&'static str], words: &'static str) -> Self {
        Self { rows, words, ..self }
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn breakages(cluster: &Cluster) -> Vec<Breakage> {
    let api = &cluster.plane.api;
    let network = NETWORKS.within("rdma").named("rails-rail0");
    let pool = POOLS.all().named("rails-rail0-pool");
    let node = NODES.all().named("n2");
    let state = NODE_STATES.within(OPERATOR_NAMESPACE).named("n2");
    let policy = POLICIES.within(OPERATOR_NAMESPACE).named("rail0");
    let webhooks = MUTATING_WEBHOOKS.all().named("pointsman");
    let extender = CLUSTER_ROLES.all().named("pointsman-extender");
    let scheduler = CONFIG_MAPS.within(OUR_NAMESPACE).named("pointsman-scheduler");
    let agent = DAEMON_SETS
        .within(spiderpool::NAMESPACE)
        .named("spiderpool-agent");
    let lease = LEASES.within(OUR_NAMESPACE).named("pointsman-fabric");

    let seen = api.get(&state).await.unwrap()["status"]["interfaces"].clone();
    let with = |change: fn(&mut Value)| {
        let mut interfaces = seen.clone();
        change(&mut interfaces[0]);
        json!({"status": {"interfaces": interfaces}})
    };
    let interfaces = || json!({"status": {"interfaces": seen}});
    let in_state = |what, worse| Breakage::of(what, state.clone(), worse, interfaces()).in_status();

    let registered = api.get(&webhooks).await.unwrap()["webhooks"].clone();
    let lenient: Vec<Value> = registered
        .as_array()
        .unwrap()
        .iter()
        .map(|webhook| {
            let mut webhook = webhook.clone();
            webhook["failurePolicy"] = json!("Ignore");
            webhook
        })
        .collect();
    let text = api.get(&scheduler).await.unwrap()["data"]["scheduler.yaml"]
        .as_str()
        .unwrap()
        .to_owned();
    let whole_nodes = text.replace("nodeCacheCapable: true", "nodeCacheCapable: false");
    assert_ne!(whole_nodes, text);
    let rules = api.get(&extender).await.unwrap()["rules"].clone();
    let cannot_nudge: Vec<&Value> = rules
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["verbs"] != json!(["patch"]))
        .collect();
    let fabric =
        |state: &str| json!({"metadata": {"annotations": {"pointsman.io/fabric": fabric("n2", state)}}});
    let rail0 = format!("{PREFIX}/checklist_rail0");

    vec![
        Breakage::of(
            "a network without a resource",
            network,
            json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/resourceName": null}}}),
            json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/resourceName": rail0}}}),
        )
        .shows(
            &["networks.resources", "networks.made", "networks.profiles"],
            "names none",
        ),
        Breakage::of(
            "a pool that gives nothing",
            pool.clone(),
            json!({"spec": {"disable": true}}),
            json!({"spec": {"disable": false}}),
        )
        .shows(&["pools.free"], "disabled"),
        Breakage::of(
            "a pool whose books are wrong",
            pool,
            json!({"status": {"allocatedIPCount": 7}}),
            json!({"status": {"allocatedIPCount": 0}}),
        )
        .in_status()
        .shows(
            &["pools.counters"],
            "allocatedIPCount 7, 0 records in allocatedIPs",
        ),
        in_state(
            "a PF that is down",
            with(|pf| pf["linkAdminState"] = json!("down")),
        )
        .shows(&["sriov.link-up"], "ibs0"),
        in_state(
            "a PF that speaks Ethernet",
            with(|pf| pf["linkType"] = json!("ETH")),
        )
        .shows(&["sriov.link-type"], "ibs0"),
        in_state(
            "a VF without a GUID",
            with(|pf| pf["Vfs"][1]["guid"] = json!("0000:0000:0000:0000")),
        )
        .shows(&["sriov.guids"], "ibs0"),
        Breakage::of(
            "an SR-IOV configuration that is not in force",
            state.clone(),
            json!({"status": {"syncStatus": "Failed", "lastSyncError": "no firmware"}}),
            json!({"status": {"syncStatus": "Succeeded", "lastSyncError": ""}}),
        )
        .in_status()
        .shows(&["sriov.in-sync"], "n2"),
        Breakage::of(
            "a node in shared RDMA mode",
            state.clone(),
            json!({"status": {"system": {"rdmaMode": "shared"}}}),
            json!({"status": {"system": {"rdmaMode": "exclusive"}}}),
        )
        .in_status()
        .shows(&["sriov.exclusive"], "n2"),
        Breakage::of(
            "a node that is being drained",
            state,
            json!({"metadata": {"annotations": {"sriovnetwork.openshift.io/current-state": "Draining"}}}),
            json!({"metadata": {"annotations": {"sriovnetwork.openshift.io/current-state": "Idle"}}}),
        )
        .shows(&["sriov.drain"], "n2"),
        Breakage::of(
            "a device plugin that counts more VFs than there are",
            node.clone(),
            json!({"status": {"allocatable": {&rail0: "9"}, "capacity": {&rail0: "9"}}}),
            json!({"status": {"allocatable": {&rail0: "8"}, "capacity": {&rail0: "8"}}}),
        )
        .in_status()
        .shows(&["sriov.allocatable"], "n2"),
        Breakage::of(
            "the shared device plugin on a node with VFs",
            node.clone(),
            json!({"status": {"allocatable": {"rdma/shared": "64"}, "capacity": {"rdma/shared": "64"}}}),
            json!({"status": {"allocatable": {"rdma/shared": null}, "capacity": {"rdma/shared": null}}}),
        )
        .in_status()
        .shows(&["sriov.shared-plugin"], "rdma/shared"),
        Breakage::of(
            "a policy that selects no node",
            policy,
            json!({"spec": {"nodeSelector": {"rdma": "no"}}}),
            json!({"spec": {"nodeSelector": {"rdma": "yes"}}}),
        )
        .shows(&["sriov.policies"], "selects no node"),
        Breakage::of(
            "an agent that passes over a node",
            agent,
            json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}}}}),
            json!({"spec": {"template": {"spec": {"nodeSelector": null}}}}),
        )
        .shows(&["operators.nodes"], "n2 (no ready spiderpool-agent)"),
        Breakage::of("a rail gone dark", node.clone(), fabric("Down"), fabric("Active"))
            .shows(&["fabric.rails"], "n2"),
        Breakage::of(
            "a node without a place on the fabric",
            node,
            json!({"metadata": {"labels": {"pointsman.io/leaf-group": null}}}),
            json!({"metadata": {"labels": {"pointsman.io/leaf-group": "su-1"}}}),
        )
        .shows(&["fabric.tiers"], "n2"),
        Breakage::of(
            "an import of long ago",
            lease,
            json!({"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}}),
            json!({"spec": {"renewTime": "2099-01-01T00:00:00.000000Z"}}),
        )
        .shows(&["fabric.import"], "2020-01-01"),
        Breakage::of(
            "a namespace whose pools outrank those of the networks",
            NAMESPACES.all().named(USERS_NAMESPACE),
            json!({"metadata": {"annotations": {"ipam.spidernet.io/default-ipv4-ippool": "[\"mine\"]"}}}),
            json!({"metadata": {"annotations": {"ipam.spidernet.io/default-ipv4-ippool": null}}}),
        )
        .shows(&["pools.namespaces"], "mine"),
        Breakage::of(
            "a webhook that may be passed over",
            webhooks,
            json!({"webhooks": lenient}),
            json!({"webhooks": registered}),
        )
        .shows(&["webhook.policy"], "failurePolicy Ignore"),
        Breakage::of(
            "an extender that may not wake pods",
            extender,
            json!({"rules": cannot_nudge}),
            json!({"rules": rules}),
        )
        .shows(&["rbac.extender"], "patch pods"),
        Breakage::of(
            "a scheduler that sends whole nodes",
            scheduler,
            json!({"data": {"scheduler.yaml": whole_nodes}}),
            json!({"data": {"scheduler.yaml": text}}),
        )
        .shows(&["scheduler.cache-capable"], "false"),
    ]
}

/// The cluster, and what has to live as long as it.
struct Cluster {
    plane: &'static ControlPlane,
    profile: Profile,
    _processes: Vec<Process>,
}

impl Cluster {
    /// As the documents say that it should be.
    async fn sound(plane: &'static ControlPlane) -> Self {
        let api = &plane.api;
        for (number, name) in ["n1", "n2"].into_iter().enumerate() {
            let guid = |rail: usize| 0xa088_c203_0000_0010 + u64::try_from(0x10 * number + rail).unwrap();
            IbNode::new(name)
                .label("pointsman.io/spine", "pod-1")
                .label("rdma", "yes")
                .rail("checklist_rail0", 8)
                .port_guid(guid(0))
                .rail("checklist_rail1", 8)
                .port_guid(guid(1))
                .create(plane)
                .await;
            let told = json!({"metadata": {"annotations": {"pointsman.io/fabric": fabric(name, "Active")}}});
            api.merge(&NODES.all().named(name), told).await.unwrap();
        }
        for name in ["rdma", USERS_NAMESPACE] {
            api.create(&NAMESPACES.all(), json!({"metadata": {"name": name}}))
                .await
                .unwrap();
        }
        let lease = json!({
            "metadata": {"name": "pointsman-fabric"}, "spec": {"renewTime": "2099-01-01T00:00:00.000000Z"},
        });
        api.create(&LEASES.within(OUR_NAMESPACE), lease).await.unwrap();
        create_operators(plane).await;
        let profile = Profile::new("rails", "checklist", 80).rails(2);
        profile.create(plane, "rdma").await;

        let mut processes = vec![start_default_scheduler(plane)];
        for file in ["config.yaml", "scheduler.yaml", "webhook-deployment.yaml"] {
            for object in manifest(file) {
                let kind = if object["kind"] == "ConfigMap" {
                    CONFIG_MAPS
                } else {
                    DEPLOYMENTS
                };
                api.create(&kind.within(OUR_NAMESPACE), object).await.unwrap();
            }
        }
        let port = ports::free();
        register(plane, port).await;
        processes.push(start_webhook(plane, port, plane.authority.certificate()).await);
        processes.extend(start_extender_and_scheduler(plane).await);
        Self {
            plane,
            profile,
            _processes: processes,
        }
    }

    /// The exit code of `pointsman check`, and its rows.
    fn check(&self, args: &[&str]) -> (i32, BTreeMap<String, Value>) {
        let output = self.run("admin", args);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let rows = report["rows"].as_array().unwrap().iter();
        let rows = rows
            .map(|row| (row["id"].as_str().unwrap().to_owned(), row.clone()))
            .collect();
        (output.status.code().unwrap(), rows)
    }

    fn run(&self, user: &str, args: &[&str]) -> Output {
        Command::new(our_binary())
            .args(["check", "-o", "json"])
            .args(args)
            .env("KUBECONFIG", self.plane.kubeconfig(user))
            .output()
            .unwrap()
    }

    async fn write(&self, broken: &Breakage, patch: &Value) {
        let api = &self.plane.api;
        let written = if broken.status {
            api.merge_status(&broken.at, patch.clone()).await
        } else {
            api.merge(&broken.at, patch.clone()).await
        };
        written.unwrap_or_else(|refused| panic!("{}: {}", broken.what, refused.message));
    }

    async fn shows(&self, broken: Breakage) {
        self.write(&broken, &broken.worse).await;
        self.says_no(broken.what, broken.rows, broken.words).await;
        self.write(&broken, &broken.back).await;
    }

    /// Exactly these rows say no, each with a remedy, and no other says unknown.
    async fn says_no(&self, what: &str, rows: &[&str], words: &str) {
        let wanted: BTreeSet<&str> = rows.iter().copied().collect();
        eventually(what, LIMIT, async || {
            let (code, seen) = self.check(&[]);
            let others = not_yes(&seen);
            let first = &seen[rows[0]];
            let said = first["evidence"].as_str().unwrap().contains(words);
            let all_no = others
                .iter()
                .all(|id| seen[id]["answer"] == "no" && seen[id]["remedy"] != "");
            let exactly = others.iter().map(String::as_str).collect::<BTreeSet<&str>>() == wanted;
            expect(code == 1 && exactly && all_no && said, || told(&seen, &others))
        })
        .await;
    }

    /// Trusted by nobody, then for another name, then one that asks for another certificate of the API server than it
    /// has: none of them can be seen in any object, only by asking.
    async fn shows_a_webhook_with_a_wrong_certificate(&self) {
        let stranger = Authority::new("somebody else's");
        let port = ports::free();
        let _demanding = start_webhook(self.plane, port, stranger.certificate()).await;
        let authority = |authority: &str| json!({"caBundle": base64::encode(authority.as_bytes())});
        for (client, words) in [
            (authority(stranger.certificate()), "signed by unknown authority"),
            (
                json!({"service": {"name": "pointsman-other"}}),
                "not pointsman-other",
            ),
            (json!({"service": {"port": port}}), "tls: "),
        ] {
            let api = &self.plane.api;
            let at = MUTATING_WEBHOOKS.all().named("pointsman");
            let was = api.get(&at).await.unwrap()["webhooks"].clone();
            let mut other = was.clone();
            for webhook in other.as_array_mut().unwrap() {
                let known = &mut webhook["clientConfig"];
                for (key, value) in client.as_object().unwrap() {
                    match value.as_object() {
                        Some(fields) => fields
                            .iter()
                            .for_each(|(field, value)| known[key][field] = value.clone()),
                        None => known[key] = value.clone(),
                    }
                }
            }
            api.merge(&at, json!({"webhooks": other})).await.unwrap();
            self.says_no(words, &["webhook.answers"], words).await;
            api.merge(&at, json!({"webhooks": was})).await.unwrap();
        }
    }

    /// Sampling begins at 100 nodes; these take no pod.
    async fn shows_a_sampling_scheduler(&self) {
        let api = &self.plane.api;
        for number in 0..100 {
            let node = json!({
                "metadata": {"name": format!("plain-{number}")},
                "spec": {"taints": [{"key": "pointsman-test/plain", "effect": "NoSchedule"}]},
            });
            api.create(&NODES.all(), node).await.unwrap();
        }
        let at = CONFIG_MAPS.within(OUR_NAMESPACE).named("pointsman-scheduler");
        let text = api.get(&at).await.unwrap()["data"]["scheduler.yaml"]
            .as_str()
            .unwrap()
            .to_owned();
        let sampling = text.replace("percentageOfNodesToScore: 100", "percentageOfNodesToScore: 0");
        assert_ne!(sampling, text);
        let broken = Breakage::of(
            "a scheduler that samples",
            at,
            json!({"data": {"scheduler.yaml": sampling}}),
            json!({"data": {"scheduler.yaml": text}}),
        );
        self.shows(broken.shows(&["scheduler.sampling"], "a sample of the nodes"))
            .await;
        for number in 0..100 {
            api.delete(&NODES.all().named(&format!("plain-{number}")))
                .await
                .unwrap();
        }
    }

    /// A fault of the other node is none of this one's.
    async fn answers_about_one_node(&self) {
        let state = NODE_STATES.within(OPERATOR_NAMESPACE).named("n2");
        let mode = |mode: &str| json!({"status": {"system": {"rdmaMode": mode}}});
        self.plane.api.merge_status(&state, mode("shared")).await.unwrap();
        let (code, rows) = self.check(&["--node", "n2"]);
        assert_eq!((code, &rows["sriov.exclusive"]["answer"]), (1, &json!("no")));
        let (code, rows) = self.check(&["--node", "n1"]);
        assert_eq!(code, 0, "{}", told(&rows, &not_yes(&rows)));
        assert_eq!(self.run("admin", &["--node", "n3"]).status.code(), Some(2));
        self.plane
            .api
            .merge_status(&state, mode("exclusive"))
            .await
            .unwrap();
    }

    /// Promise and outcome of a pod that the real scheduler, extender and IPAM have served. Multus' record is the only one
    /// that has to be written for it.
    async fn answers_about_a_pod(&self) {
        let api = &self.plane.api;
        let asked = format!("{USERS_NAMESPACE}/train");
        let args = ["--pod", asked.as_str()];
        assert_eq!(
            self.run("admin", &args).status.code(),
            Some(2),
            "there is no such pod yet"
        );
        let kubelet = Kubelet::start(self.plane, USERS_NAMESPACE, Duration::ZERO);
        let account = SERVICE_ACCOUNTS.within(USERS_NAMESPACE).named("default");
        eventually("the namespace has a service account", LIMIT, async || {
            api.get(&account).await.map_err(|refused| refused.message)
        })
        .await;
        let pods = PODS.within(USERS_NAMESPACE);
        let mut created = pod_of("train", self.profile.name());
        created["metadata"]["labels"] = json!({"pointsman.io/gang": "train"});
        created["metadata"]["annotations"]["pointsman.io/gang"] = json!("train");
        created["metadata"]["annotations"]["pointsman.io/gang-size"] = json!("1");
        api.create(&pods, created).await.unwrap();
        let at = pods.named("train");
        let pod = eventually("the pod is bound and has its addresses", LIMIT, async || {
            let pod = api.get(&at).await.unwrap();
            let has_all = kubelet
                .sandboxes()
                .values()
                .any(|sandbox| sandbox.addresses.len() == 2);
            expect(is_bound(&pod) && has_all, || pod["status"].to_string()).map(|()| pod)
        })
        .await;

        let (_, rows) = self.check(&args);
        assert_eq!(
            not_yes(&rows),
            ["pod.networks", "pod.vfs"],
            "nothing is attached yet"
        );
        let sandbox = kubelet.sandboxes().into_values().next().unwrap();
        let attached = |missing: usize| {
            let networks = networks_of(&pod);
            let records = networks.iter().enumerate().map(|(rail, (namespace, name, _))| {
                let interface = format!("net{}", rail + 1);
                json!({
                    "name": format!("{namespace}/{name}"), "interface": interface, "ips": [sandbox.addresses[&interface].1],
                    "device-info": {"type": "pci", "version": "1.1.0",
                        "pci": {"pci-address": format!("0000:{:02x}:00.1", 0x10 + rail), "rdma-device": format!("mlx5_{rail}")}},
                })
            });
            let records: Vec<Value> = records.take(networks.len() - missing).collect();
            json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": json!(records).to_string()}}})
        };
        api.merge(&at, attached(1)).await.unwrap();
        let (code, rows) = self.check(&args);
        assert_eq!((code, &rows["pod.networks"]["answer"]), (1, &json!("no")));
        assert!(
            rows["pod.networks"]["evidence"]
                .as_str()
                .unwrap()
                .contains("net2"),
            "{rows:?}"
        );
        api.merge(&at, attached(0)).await.unwrap();
        let (code, rows) = self.check(&args);
        assert_eq!(code, 0, "{}", told(&rows, &not_yes(&rows)));
        assert_eq!(
            not_yes(&rows),
            Vec::<String>::new(),
            "{}",
            told(&rows, &not_yes(&rows))
        );

        let elsewhere = json!({"metadata": {"annotations": {"pointsman.io/placement": json!({"node": "n9"}).to_string()}}});
        api.merge(&at, elsewhere).await.unwrap();
        let (code, rows) = self.check(&args);
        assert_eq!((code, &rows["pod.node"]["answer"]), (1, &json!("no")));
        api.delete_now(&at).await.unwrap();
        eventually("the pod and its addresses are gone", LIMIT, async || {
            let pools = api.list(&POOLS.all()).await;
            let taken = pools.iter().filter(|pool| {
                pool["status"]["allocatedIPs"]
                    .as_str()
                    .is_some_and(|ips| ips.len() > 2)
            });
            let taken = taken.count();
            expect(taken == 0, || format!("{taken} pools"))
        })
        .await;
    }

    /// Who may see little is told what is missing, by rows and by name.
    fn answers_who_may_not_look(&self) {
        let output = self.run(WEBHOOK_USER, &[]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let row = |id: &str| {
            report["rows"]
                .as_array()
                .unwrap()
                .iter()
                .find(|row| row["id"] == id)
                .unwrap()
        };
        assert_eq!(row("rbac.caller")["answer"], "no");
        assert!(
            row("rbac.caller")["remedy"]
                .as_str()
                .unwrap()
                .contains("kind: ClusterRole")
        );
        assert_eq!(row("rbac.extender")["answer"], "unknown");
        assert_eq!(
            row("webhook.answers")["answer"],
            "unknown",
            "it may create no pods"
        );
        assert_eq!(row("networks.profiles")["answer"], "yes", "this it may see");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// The ids of the rows that do not say yes, in order of name.
fn not_yes(rows: &BTreeMap<String, Value>) -> Vec<String> {
    let others = rows.iter().filter(|(_, row)| row["answer"] != "yes");
    others.map(|(id, _)| id.clone()).collect()
}

fn told(rows: &BTreeMap<String, Value>, ids: &[String]) -> String {
    let told = ids
        .iter()
        .map(|id| format!("{id} {}: {}", rows[id]["answer"], rows[id]["evidence"]));
    told.collect::<Vec<_>>().join("\n")
}

/// What the fabric import writes on a node: two rails, the second of them in this state.
fn fabric(node: &str, second: &str) -> String {
    let first = if node == "n1" { 0x10 } else { 0x20 };
    let rails: Vec<Value> = ["Active", second]
        .iter()
        .enumerate()
        .map(|(rail, state)| {
            json!({
                "rail": rail, "hca": format!("mlx5_{rail}"), "guid": format!("0xa088c203000000{:02x}", first + rail),
                "leaf": format!("0xfc6a1c03000001{rail:02}"), "leafName": format!("leaf{rail}"), "port": 1,
                "state": state, "width": "4x", "speed": "NDR", "source": "guid",
            })
        })
        .collect();
    json!({"version": 1, "rails": rails}).to_string()
}

/// The workloads of Spiderpool, Multus and the SR-IOV operator, as their charts name them; KWOK lets their pods run.
async fn create_operators(plane: &ControlPlane) {
    let api = &plane.api;
    let labels = |name: &str| json!({"app": name});
    let spec = |name: &str| {
        let containers = json!([{"name": "daemon", "image": format!("example.com/{name}:v1.6.0")}]);
        json!({
            "selector": {"matchLabels": labels(name)},
            "template": {"metadata": {"labels": labels(name)}, "spec": {"containers": containers}},
        })
    };
    for (namespace, name) in [
        (spiderpool::NAMESPACE, "spiderpool-agent"),
        (spiderpool::NAMESPACE, "spiderpool-multus"),
        (OPERATOR_NAMESPACE, "sriov-network-config-daemon"),
        (OPERATOR_NAMESPACE, "sriov-device-plugin"),
    ] {
        let set = json!({"metadata": {"name": name}, "spec": spec(name)});
        api.create(&DAEMON_SETS.within(namespace), set).await.unwrap();
    }
    let operator =
        json!({"metadata": {"name": "sriov-network-operator"}, "spec": spec("sriov-network-operator")});
    api.create(&DEPLOYMENTS.within(OPERATOR_NAMESPACE), operator)
        .await
        .unwrap();
    let controller = DEPLOYMENTS
        .within(spiderpool::NAMESPACE)
        .named("spiderpool-controller");
    api.merge(&controller, json!({"spec": {"replicas": 1}}))
        .await
        .unwrap();
    let conf = "enableIPv4: true\nenableIPv6: true\nenableSpiderSubnet: false\n";
    let conf = json!({"metadata": {"name": "spiderpool-conf"}, "data": {"conf.yml": conf}});
    api.create(&CONFIG_MAPS.within(spiderpool::NAMESPACE), conf)
        .await
        .unwrap();

    for rail in 0..2 {
        let policy = json!({
            "metadata": {"name": format!("rail{rail}")},
            "spec": {
                "resourceName": format!("checklist_rail{rail}"), "nodeSelector": {"rdma": "yes"}, "numVfs": 8,
                "linkType": "ib", "deviceType": "netdevice", "isRdma": true,
                "nicSelector": {"pfNames": [format!("ibs{rail}")]},
            },
        });
        api.create(&POLICIES.within(OPERATOR_NAMESPACE), policy)
            .await
            .unwrap();
    }
    let exclusive = json!({
        "metadata": {"name": "rdma"},
        "spec": {"nodeSelector": {"matchLabels": {"rdma": "yes"}}, "maxUnavailable": 1, "rdmaMode": "exclusive"},
    });
    api.create(&POOL_CONFIGS.within(OPERATOR_NAMESPACE), exclusive)
        .await
        .unwrap();
}

/// The shipped Service and configurations; the Service leads to this machine, and the authority is this run's, so that
/// nobody repairs what the test breaks.
async fn register(plane: &ControlPlane, port: u16) {
    let mut service = object("service.yaml", "Service");
    service["spec"] = json!({"type": "ExternalName", "externalName": "localhost"});
    plane
        .api
        .create(&SERVICES.within(OUR_NAMESPACE), service.clone())
        .await
        .unwrap();
    // A second way to the same place, under a name that the certificate does not have.
    service["metadata"]["name"] = json!("pointsman-other");
    plane
        .api
        .create(&SERVICES.within(OUR_NAMESPACE), service)
        .await
        .unwrap();
    let authority = base64::encode(plane.authority.certificate().as_bytes());
    for (kind, at) in [
        ("MutatingWebhookConfiguration", MUTATING_WEBHOOKS),
        ("ValidatingWebhookConfiguration", VALIDATING_WEBHOOKS),
    ] {
        let mut configuration = object("webhook.yaml", kind);
        for webhook in configuration["webhooks"].as_array_mut().unwrap() {
            webhook["clientConfig"]["service"]["port"] = json!(port);
            webhook["clientConfig"]["caBundle"] = json!(authority);
        }
        plane.api.create(&at.all(), configuration).await.unwrap();
    }
}

/// The webhook, which talks to callers with a certificate of this authority only.
async fn start_webhook(plane: &ControlPlane, port: u16, callers: &str) -> Process {
    let leaf = plane
        .authority
        .leaf_for(&["pointsman-webhook.pointsman-system.svc"]);
    let certificate = plane.run.write("tls/tls.crt", leaf.certificate);
    plane.run.write("tls/tls.key", leaf.key);
    let callers = plane.run.write(&format!("callers-{port}.crt"), callers);
    let args = [
        format!("--webhook-listen=127.0.0.1:{port}"),
        "--extender-listen=none".to_owned(),
        format!("--tls-dir={}", certificate.parent().unwrap().display()),
        format!("--webhook-client-ca={}", callers.display()),
    ];
    serve(plane, "webhook", &args, WEBHOOK_USER).await
}

/// The dedicated scheduler as shipped, but for addresses.
async fn start_extender_and_scheduler(plane: &ControlPlane) -> [Process; 2] {
    let port = ports::free();
    let args = [
        format!("--extender-listen=127.0.0.1:{port}"),
        "--webhook-listen=none".to_owned(),
    ];
    let extender = serve(plane, "extender", &args, SCHEDULER_USER).await;
    let shipped = object("scheduler.yaml", "ConfigMap");
    let shipped = shipped["data"]["scheduler.yaml"].as_str().unwrap();
    let mut configuration: Value = serde_saphyr::from_str(shipped).unwrap();
    configuration["clientConnection"]["kubeconfig"] = json!(plane.kubeconfig(SCHEDULER_USER));
    configuration["extenders"][0]["urlPrefix"] = json!(format!("http://127.0.0.1:{port}"));
    let configuration = plane.run.write("scheduler.yaml", configuration.to_string());
    let scheduler = Program::new("kube-scheduler", &plane.tools.kubernetes("kube-scheduler"))
        .arg(format!("--config={}", configuration.display()))
        .arg("--secure-port=0")
        .start(plane.run.log("dedicated-scheduler"));
    [extender, scheduler]
}

fn start_default_scheduler(plane: &ControlPlane) -> Process {
    let kubeconfig = plane.kubeconfig("system:kube-scheduler");
    Program::new("kube-scheduler", &plane.tools.kubernetes("kube-scheduler"))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .args(["--leader-elect=false", "--secure-port=0"])
        .start(plane.run.log("kube-scheduler"))
}

async fn serve(plane: &ControlPlane, name: &str, args: &[String], user: &str) -> Process {
    let admin = ports::free();
    let log = plane.run.log(name);
    let mut process = Program::new(name, &our_binary())
        .arg("serve")
        .args(args.iter().cloned())
        .arg(format!("--admin-listen=127.0.0.1:{admin}"))
        .env("KUBECONFIG", plane.kubeconfig(user).display().to_string())
        .start(log.clone());
    eventually(&format!("{name} is ready"), LIMIT, async || {
        assert!(process.runs(), "{name} ended:\n{}", tail(&log, 20));
        crate::deployed::ready(admin)
            .await
            .map_err(|problem| format!("{problem}\n{}", tail(Path::new(&log), 20)))
    })
    .await;
    process
}
