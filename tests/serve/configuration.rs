//! The configuration file: defaults, a full file, and what is said about a wrong one.

use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use pointsman::config::Configuration;
use pointsman::decide::fabric::Speed;
use pointsman::decide::links::{Least, LinkPolicy};
use pointsman::decide::policy::{Locality, Tier};
use pointsman::decide::settings::{MultusReach, NodeStatePolicy, Podnetinfo, SchedulerMode};
use pointsman::decide::tier::PRESETS;
use rstest::rstest;

const HEAD: &str = "apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\n";

fn problems(body: &str) -> String {
    match Configuration::from_yaml(&format!("{HEAD}{body}")) {
        Ok(configuration) => panic!("taken as {configuration:#?}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn a_file_that_sets_nothing_is_the_same_as_none() {
    assert_eq!(
        Configuration::from_yaml(HEAD).unwrap(),
        Configuration::load(None).unwrap()
    );
    let empty_sections = format!("{HEAD}scheduler:\nwebhook: {{}}\nnudge:\n  interval:\n");
    assert_eq!(
        Configuration::from_yaml(&empty_sections).unwrap(),
        Configuration::default()
    );
}

#[test]
fn every_field_can_be_set() {
    let file = format!(
        "{HEAD}\
scheduler: {{mode: existing, name: other}}
webhook: {{configurationName: pointsman.example, serviceName: hook}}
certificate: {{lifetime: 30d, caLifetime: 365d}}
acceleratorResources: [example.com/npu]
sharedRdmaPrefixes: [rdma/, shared.example.com/]
furtherResourceNameKeys: [example.com/bridge]
podnetinfo: {{enabled: true, hugepages: true}}
multus: {{namespaceIsolation: true, globalNamespaces: [shared]}}
namespaces: {{multus: multus, spiderpool: ipam, sriovOperator: sriov, pointsman: ours, profiles: [ipam]}}
fabric: {{maxAge: 2h, minWidth: 4x, minSpeed: HDR}}
nodeState: require
reservation: {{hold: 10s, lifetime: 1m30s}}
nudge: {{interval: 1s, perSecond: 5}}
ipFamilies: {{ipv4: true, ipv6: false}}
locality: {{tiers: [example.com/leaf, example.com/spine], default: required=leaf-group}}
"
    );
    let read = Configuration::from_yaml(&file).unwrap();
    assert_eq!(read.decisions.scheduler, SchedulerMode::Existing);
    assert_eq!(read.webhook.configuration_name, "pointsman.example");
    assert_eq!(read.webhook.service_name, "hook");
    assert_eq!(read.certificate.leaf, Duration::from_hours(30 * 24));
    assert_eq!(read.certificate.authority, Duration::from_hours(365 * 24));
    assert_eq!(read.decisions.accelerators, ["example.com/npu".into()]);
    assert_eq!(read.decisions.further_resource_keys, ["example.com/bridge"]);
    assert_eq!(read.decisions.podnetinfo, Podnetinfo::WithHugepages);
    assert_eq!(
        read.decisions.shared_rdma_prefixes,
        ["rdma/", "shared.example.com/"]
    );
    assert_eq!(read.decisions.multus_namespace.as_str(), "multus");
    let reach = MultusReach::OwnAnd(vec!["shared".into()]);
    assert_eq!(read.decisions.multus_reach, reach);
    assert_eq!(read.decisions.spiderpool_namespace.as_str(), "ipam");
    assert_eq!(read.decisions.profile_namespaces, ["ipam".into()]);
    assert_eq!(read.sriov_operator_namespace, Some("sriov".into()));
    assert_eq!(read.decisions.node_state, NodeStatePolicy::Require);
    assert_eq!(read.reservation.hold, Duration::from_secs(10));
    assert_eq!(read.reservation.lifetime, Duration::from_secs(90));
    assert_eq!(read.nudge.interval, Duration::from_secs(1));
    assert_eq!(read.nudge.per_second, 5);
    assert_eq!((read.decisions.ipv4, read.decisions.ipv6), (true, false));
    assert_eq!(read.decisions.tiers, ["example.com/leaf", "example.com/spine"]);
    assert_eq!(read.decisions.locality, Locality::Required(Tier::LeafGroup));
    assert_eq!(read.namespace.as_str(), "ours");
    let links = LinkPolicy {
        max_age: Duration::from_hours(2),
        width: Least::Of("4x".parse().unwrap()),
        speed: Least::Of(Speed::Hdr),
    };
    assert_eq!(read.decisions.links, links);
}

#[test]
fn a_preset_stands_for_its_keys() {
    for preset in PRESETS {
        let read = Configuration::from_yaml(&format!("{HEAD}locality: {{preset: {}}}\n", preset.name));
        assert_eq!(read.unwrap().decisions.tiers, preset.keys, "{}", preset.name);
    }
    let auto = Configuration::from_yaml(&format!("{HEAD}locality: {{preset: auto}}\n")).unwrap();
    assert_eq!(auto, Configuration::default());
}

#[rstest]
#[case::misspelled_choice(
    "scheduler: {mode: dedcated}",
    "scheduler.mode: found \"dedcated\", expected dedicated or existing; \
     write one of them, or leave the field out for dedicated"
)]
#[case::unknown_field(
    "nudge: {intervall: 1s}",
    "nudge.intervall: found an unknown field, expected one of interval, perSecond; \
     correct its name or take it out"
)]
#[case::unknown_section(
    "gang: {}",
    "gang: found an unknown field, expected one of apiVersion, kind, scheduler"
)]
#[case::snake_case("node_state: auto", "node_state: found an unknown field")]
#[case::section_is_a_word(
    "webhook: pointsman",
    "webhook: found \"pointsman\", expected a mapping of fields to values"
)]
#[case::bare_number(
    "reservation: {hold: 30}",
    "reservation.hold: found 30, expected a duration from 1s to 10m, such as 30s"
)]
#[case::too_long(
    "reservation: {hold: 2h}",
    "reservation.hold: found \"2h\", expected a duration from 1s to 10m"
)]
#[case::number_as_text(
    "nudge: {perSecond: \"20\"}",
    "nudge.perSecond: found \"20\", expected a whole number from 1 to 1000"
)]
#[case::fraction("nudge: {perSecond: 1.5}", "nudge.perSecond: found 1.5")]
#[case::zero("nudge: {perSecond: 0}", "nudge.perSecond: found 0")]
#[case::flag_as_text(
    "ipFamilies: {ipv4: \"false\"}",
    "ipFamilies.ipv4: found \"false\", expected true or false, without quotes"
)]
#[case::no_family(
    "ipFamilies: {ipv4: false, ipv6: false}",
    "ipFamilies.ipv4: found false, and ipv6 false too, expected at least one true"
)]
#[case::list_is_a_word(
    "acceleratorResources: nvidia.com/gpu",
    "acceleratorResources: found \"nvidia.com/gpu\", expected a list"
)]
#[case::resource_without_prefix(
    "acceleratorResources: [nvidia.com/gpu, gpu]",
    "acceleratorResources[1]: found \"gpu\", expected a resource name with its prefix"
)]
#[case::prefix_without_slash(
    "sharedRdmaPrefixes: [rdma]",
    "sharedRdmaPrefixes[0]: found \"rdma\", expected a prefix with its slash"
)]
#[case::capital_namespace(
    "namespaces: {multus: Multus}",
    "namespaces.multus: found \"Multus\", expected a namespace's name"
)]
#[case::authority_shorter_than_leaf(
    "certificate: {lifetime: 10d, caLifetime: 5d}",
    "certificate.caLifetime: found 5d, expected at least the lifetime of the certificates it signs, 10d"
)]
#[case::locality("locality: {default: must}", "locality.default: found \"must\"")]
#[case::preset_and_tiers(
    "locality: {preset: gke, tiers: [example.com/leaf]}",
    "locality.preset: found gke, expected one of preset and tiers"
)]
#[case::preset(
    "locality: {preset: gce}",
    "locality.preset: found \"gce\", expected auto, pointsman, topograph"
)]
#[case::speed(
    "fabric: {minSpeed: fast}",
    "fabric.minSpeed: found \"fast\", expected peers, any, SDR"
)]
#[case::width(
    "fabric: {minWidth: 3x}",
    "fabric.minWidth: found \"3x\", expected peers, any, 1x"
)]
#[case::duplicate("nodeState: auto\nnodeState: trust", "the file: found text that is not YAML")]
#[case::broken("scheduler: {mode", "the file: found text that is not YAML")]
#[case::two_documents("---\nkind: Configuration", "the file: found text that is not YAML")]
fn a_wrong_field_is_told_with_path_found_expected_and_remedy(#[case] body: &str, #[case] said: &str) {
    let problems = problems(body);
    assert!(problems.contains(said), "{problems}");
}

#[rstest]
#[case::empty("", "the file: found nothing, expected a mapping")]
#[case::no_head(
    "nodeState: auto",
    "apiVersion: found nothing, expected config.pointsman.io/v1alpha1; add apiVersion"
)]
#[case::other_version(
    "apiVersion: config.pointsman.io/v1\nkind: Configuration",
    "apiVersion: found \"config.pointsman.io/v1\", expected config.pointsman.io/v1alpha1"
)]
#[case::other_kind(
    "apiVersion: config.pointsman.io/v1alpha1\nkind: ConfigMap",
    "kind: found \"ConfigMap\", expected Configuration"
)]
#[case::list("- a\n- b", "the file: found a list of 2, expected a mapping")]
fn a_file_must_say_what_it_is(#[case] file: &str, #[case] said: &str) {
    let problems = Configuration::from_yaml(file).unwrap_err().to_string();
    assert!(problems.contains(said), "{problems}");
}

#[test]
fn all_problems_are_told_at_once() {
    let body = "scheduler: {mode: x, nme: y}\nnudge: {perSecond: -1}\nreservation: {hold: soon}\n";
    let problems = Configuration::from_yaml(&format!("{HEAD}{body}")).unwrap_err();
    let places: Vec<&str> = problems.iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(
        places,
        [
            "scheduler.mode",
            "scheduler.nme",
            "reservation.hold",
            "nudge.perSecond"
        ]
    );
}

#[test]
fn the_binary_refuses_a_wrong_file_with_exit_code_2() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{HEAD}scheduler: {{mode: dedcated}}\nnodeStat: auto\n").unwrap();
    let output = serve_with(file.path().to_str().unwrap());
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("scheduler.mode: found \"dedcated\", expected dedicated or existing"),
        "{said}"
    );
    assert!(said.contains("nodeStat: found an unknown field"), "{said}");
    assert!(said.contains(file.path().to_str().unwrap()), "{said}");
}

#[test]
fn the_binary_refuses_a_missing_file_with_exit_code_2() {
    let output = serve_with("/nowhere/pointsman.yaml");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("/nowhere/pointsman.yaml: cannot be read"), "{said}");
}

fn serve_with(config: &str) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args([
            "serve",
            "--webhook-listen",
            "none",
            "--extender-listen",
            "127.0.0.1:0",
        ])
        .args(["--admin-listen", "none", "--config", config])
        .output()
        .expect("the binary runs")
}
