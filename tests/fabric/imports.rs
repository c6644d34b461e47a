//! Live dumps of a real OpenSM's fabric, imported by `pointsman topology import` and acted on by the extender.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use pointsman::decide::annotation::LEAF_GROUP;
use pointsman::decide::reason::Reason;
use serde_json::{Value, json};

use super::cluster::{Imported, by_design, networks, nodes, play, pod, write};
use super::lab::{Lab, eventually};
use super::plan::Plan;

#[test]
fn labels_of_a_fat_tree_equal_its_design_through_cuts_and_a_dead_subnet_manager() {
    let plan = Plan::fat_tree();
    let (mut lab, manager) = Lab::up(&plan);
    let (text, links) = (lab.discover(), lab.links());
    let sound = import(&plan, &Imported::new(), &[&text, &links]);
    assert_is_design(&plan, &sound);
    // The table that OpenSM writes itself says the same.
    let table = manager.subnet_list(&plan);
    assert_is_design(&plan, &import(&plan, &Imported::new(), &[&table]));
    // What the fabric is called in its text alone, without any state.
    let stateless = import(&plan, &Imported::new(), &[&text]);
    assert_eq!(groups(&stateless), plan.groups());
    assert_eq!(states(&stateless, "node03"), ["Unknown", "Unknown"]);
    assert_eq!(placed_on(&plan, &sound, "node03", "all"), Ok(()));

    // Cables are cut: one of two rails of a node, and both of another.
    for adapter in ["node03_mlx5_1", "node05_mlx5_0", "node05_mlx5_1"] {
        lab.unplug(adapter);
    }
    let cut = import(&plan, &sound, &[&lab.discover(), &lab.links()]);
    assert_eq!(groups(&cut), plan.groups(), "a dark host keeps its place");
    assert_eq!(states(&cut, "node03"), ["Active", "Dark"]);
    assert_eq!(states(&cut, "node05"), ["Dark", "Dark"]);
    let dark = |imported: &Imported, node, profile| placed_on(&plan, imported, node, profile);
    assert_eq!(
        dark(&cut, "node03", "all"),
        Err(Reason::RailDark.text().to_owned())
    );
    assert_eq!(
        dark(&cut, "node03", "first"),
        Ok(()),
        "it does not want the dark rail"
    );
    assert_eq!(
        dark(&cut, "node05", "first"),
        Err(Reason::RailDark.text().to_owned())
    );
    assert_eq!(dark(&cut, "node04", "all"), Ok(()));

    // Plugged again while no Subnet Manager is there: the text of ibnetdiscover looks as it did when all was well.
    manager.kill();
    lab.plug("node03_mlx5_1");
    let text = lab.discover();
    assert!(text.contains("\"node03 mlx5_1\"") && !text.contains("Initialize"));
    let by_text = import(&plan, &cut, &[&text]);
    assert_eq!(states(&by_text, "node03"), ["Unknown", "Unknown"]);
    assert_eq!(
        dark(&by_text, "node03", "all"),
        Ok(()),
        "the text alone cannot tell"
    );
    let by_state = import(&plan, &cut, &[&text, &lab.links()]);
    assert_eq!(states(&by_state, "node03"), ["Active", "Initialize"]);
    assert_eq!(
        dark(&by_state, "node03", "all"),
        Err(Reason::RailInactive.text().to_owned())
    );

    // A Subnet Manager again, and all cables: as it was.
    for adapter in ["node05_mlx5_0", "node05_mlx5_1"] {
        lab.plug(adapter);
    }
    let _manager = lab.manager("sm01", 6);
    lab.all_active();
    let mended = import(&plan, &by_state, &[&lab.discover(), &lab.links()]);
    assert_eq!(mended, sound);
}

#[test]
fn groups_of_a_rail_fabric_stay_right_with_a_dead_rail_and_a_swapped_pair() {
    let mut plan = Plan::rails(32, 4);
    let (mut lab, manager) = Lab::up(&plan);
    let sound = import(&plan, &Imported::new(), &[&lab.discover(), &lab.links()]);
    assert_is_design(&plan, &sound);
    lab.unplug("gpu0005_mlx5_2");
    let dead = import(&plan, &sound, &[&lab.discover(), &lab.links()]);
    assert_eq!(groups(&dead), plan.groups());
    assert_eq!(states(&dead, "gpu0005"), ["Active", "Active", "Dark", "Active"]);
    for (host, carried) in &dead {
        if host != "gpu0005" {
            assert_eq!(carried, &sound[host], "nothing else changes");
        }
    }
    assert_eq!(
        placed_on(&plan, &dead, "gpu0005", "all"),
        Err(Reason::RailDark.text().to_owned())
    );
    assert_eq!(placed_on(&plan, &dead, "gpu0005", "first"), Ok(()));
    assert_eq!(placed_on(&plan, &dead, "gpu0006", "all"), Ok(()));
    drop((lab, manager));

    // Somebody has swapped two cables of hosts in different units.
    plan.swap("gpu0003_mlx5_1", "gpu0035_mlx5_1");
    let (lab, _manager) = Lab::up(&plan);
    let swapped = import(&plan, &sound, &[&lab.discover(), &lab.links()]);
    assert_eq!(groups(&swapped), plan.groups());
    assert_eq!(
        labels(&swapped),
        labels(&sound),
        "the labels do not flip because of one pair"
    );
    assert_eq!(plugs(&plan, &swapped), plugs(&plan, &by_design(&plan)));
}

#[test]
fn a_failover_neither_loses_nor_invents_anything() {
    let plan = Plan::fat_tree();
    let lab = Lab::new(&plan);
    let master = lab.manager("sm01", 10);
    lab.all_active();
    eventually("sm01 is master", || master.is_master());
    let standby = lab.manager("sm02", 5);
    eventually("sm02 stands by", || standby.is_standby());
    let before = import(&plan, &Imported::new(), &[&lab.discover(), &lab.links()]);
    assert_is_design(&plan, &before);
    master.kill();
    let in_the_gap = import(&plan, &before, &[&lab.discover(), &lab.links()]);
    assert_eq!(in_the_gap, before, "ports stay Active without a master");
    eventually("sm02 takes over", || standby.is_master());
    lab.all_active();
    let after = import(&plan, &in_the_gap, &[&lab.discover(), &lab.links()]);
    assert_eq!(after, before);
    let table = import(&plan, &after, &[&standby.subnet_list(&plan)]);
    assert_eq!(
        plugs(&plan, &table),
        plugs(&plan, &before),
        "the new master's own list"
    );
}

/// Imports dumps onto nodes that carry what the last import said; takes what they should carry now.
fn import(plan: &Plan, last: &Imported, dumps: &[&str]) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let cluster = folder.path().join("nodes.json");
    write(&nodes(plan, last, 1), &cluster);
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command
        .args(["topology", "import", "-o", "json", "--dry-run", "--nodes"])
        .arg(&cluster);
    let file = |number: usize, text: &str| {
        let path = folder.path().join(format!("dump-{number}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    for (number, text) in dumps.iter().enumerate() {
        let path = file(number, text);
        if number > 0 {
            command.arg("--state");
        }
        command.arg(path);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {told}", output.status);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The hosts of the Subnet Managers are no nodes.
    assert_eq!(answer["ambiguous"], json!([]), "{answer}");
    let read = |(name, node): (&String, &Value)| {
        let labels: BTreeMap<String, String> = serde_json::from_value(node["labels"].clone()).unwrap();
        (name.clone(), (labels, node["fabric"].clone()))
    };
    answer["nodes"].as_object().unwrap().iter().map(read).collect()
}

/// Every rail is where the design has it, Active; the leaf groups are the design's.
fn assert_is_design(plan: &Plan, imported: &Imported) {
    assert_eq!(groups(imported), plan.groups());
    assert_eq!(plugs(plan, imported), plugs(plan, &by_design(plan)));
    for host in plan.hosts() {
        assert!(
            states(imported, host).iter().all(|state| state == "Active"),
            "{host}"
        );
    }
}

/// The hosts by the label of their leaf group.
fn groups(imported: &Imported) -> BTreeSet<BTreeSet<String>> {
    let mut groups: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (host, (labels, _)) in imported {
        groups
            .entry(&labels[LEAF_GROUP])
            .or_default()
            .insert(host.clone());
    }
    groups.into_values().collect()
}

fn labels(imported: &Imported) -> BTreeMap<&str, &BTreeMap<String, String>> {
    imported
        .iter()
        .map(|(host, (labels, _))| (host.as_str(), labels))
        .collect()
}

/// Port GUID, leaf GUID and leaf port of every rail.
fn plugs(plan: &Plan, imported: &Imported) -> BTreeSet<(String, String, String, u64)> {
    let mut plugs = BTreeSet::new();
    for host in plan.hosts() {
        for rail in imported[host].1["rails"].as_array().unwrap() {
            let text = |key: &str| rail[key].as_str().unwrap().to_owned();
            plugs.insert((
                host.to_owned(),
                text("guid"),
                text("leaf"),
                rail["port"].as_u64().unwrap(),
            ));
        }
    }
    plugs
}

/// The states of a host's rails, in order.
fn states(imported: &Imported, host: &str) -> Vec<String> {
    let rails = imported[host].1["rails"].as_array().unwrap();
    let state = |rail: &Value| rail["state"].as_str().unwrap().to_owned();
    rails.iter().map(state).collect()
}

/// Whether a pod of a profile that may go to this node only goes there, or why not.
fn placed_on(plan: &Plan, imported: &Imported, node: &str, profile: &str) -> Result<(), String> {
    let mut objects = nodes(plan, imported, 1);
    objects.extend(networks(
        by_design(plan)[node].1["rails"].as_array().unwrap().len(),
    ));
    let mut wanted = pod("p", profile);
    wanted["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}});
    objects.push(wanted);
    let report = play(&objects);
    let [pod] = report.pods.as_slice() else {
        panic!("{:?}", report.pods)
    };
    if let Some(placement) = &pod.placement {
        assert_eq!(placement.node, node);
        return Ok(());
    }
    let ours = pod.refusals.keys().find(|reason| reason.starts_with("RDMA"));
    Err(ours.cloned().unwrap_or_else(|| format!("{pod:?}")))
}
