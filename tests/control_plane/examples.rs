//! The example manifests, as the API server judges them by the real CRDs: every field known, every value allowed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::api::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, DEPLOYMENTS, JOBS, Kind, MULTUS_CONFIGS, NAMESPACES, POLICIES,
    POOL_CONFIGS, POOLS, ROLE_BINDINGS, ROLES, SERVICE_ACCOUNTS, SERVICES, kind,
};
use crate::harness::tools::files_in;
use crate::harness::{plane, run};

const CRON_JOBS: Kind = kind("batch/v1", "CronJob", "cronjobs");

#[test]
fn the_api_server_takes_every_example_as_it_is() {
    run(async {
        let api = &plane::shared().await.api;
        let mut seen = Vec::new();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples");
        let files = files_in(&examples)
            .into_iter()
            .chain(files_in(&examples.join("fabric")));
        // What is in demo/ is what a cluster would show, and for `simulate`.
        for file in files.filter(|file| file.is_file()) {
            let objects: Vec<Value> =
                serde_saphyr::from_multiple(&fs::read_to_string(&file).unwrap()).unwrap();
            for mut object in objects {
                let name = object["kind"].as_str().unwrap().to_owned();
                let of_kind = match name.as_str() {
                    "ClusterRole" => CLUSTER_ROLES,
                    "ClusterRoleBinding" => CLUSTER_ROLE_BINDINGS,
                    "CronJob" => CRON_JOBS,
                    "Deployment" => DEPLOYMENTS,
                    "Job" => JOBS,
                    "Role" => ROLES,
                    "RoleBinding" => ROLE_BINDINGS,
                    "ServiceAccount" => SERVICE_ACCOUNTS,
                    "Service" => SERVICES,
                    "Namespace" => NAMESPACES,
                    "SpiderIPPool" => POOLS,
                    "SpiderMultusConfig" => MULTUS_CONFIGS,
                    "SriovNetworkNodePolicy" => POLICIES,
                    "SriovNetworkPoolConfig" => POOL_CONFIGS,
                    other => panic!("{}: a {other}, which this test does not know", file.display()),
                };
                let at = match object["metadata"]["namespace"].as_str() {
                    // A dry run stores no namespace either.
                    Some(_) => of_kind.within("default"),
                    None => of_kind.all(),
                };
                if object["metadata"]["namespace"].is_string() {
                    object["metadata"]["namespace"] = json!("default");
                }
                if let Err(refused) = api.validate(&at, &object).await {
                    panic!("{}, {name}: {}", file.display(), refused.message);
                }
                match object.get_mut("spec") {
                    Some(spec) => spec["noSuchField"] = json!(1),
                    None => object["noSuchField"] = json!(1),
                }
                let refused = api.validate(&at, &object).await.unwrap_err().message;
                assert!(refused.contains("noSuchField"), "{refused}");
                seen.push(name);
            }
        }
        for kind in [
            "CronJob",
            "Deployment",
            "Job",
            "SpiderIPPool",
            "SpiderMultusConfig",
            "SriovNetworkNodePolicy",
            "SriovNetworkPoolConfig",
        ] {
            assert!(seen.iter().any(|seen| seen == kind), "no example of a {kind}");
        }
    });
}
