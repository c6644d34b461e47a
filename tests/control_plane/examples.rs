//! The example manifests, as the API server judges them by the real CRDs: every field known, every value allowed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::api::{JOBS, Kind, MULTUS_CONFIGS, NAMESPACES, POOLS, kind};
use crate::harness::tools::files_in;
use crate::harness::{plane, run};

const POLICIES: Kind = kind(
    "sriovnetwork.openshift.io/v1",
    "SriovNetworkNodePolicy",
    "sriovnetworknodepolicies",
);
const POOL_CONFIGS: Kind = kind(
    "sriovnetwork.openshift.io/v1",
    "SriovNetworkPoolConfig",
    "sriovnetworkpoolconfigs",
);

#[test]
fn the_api_server_takes_every_example_as_it_is() {
    run(async {
        let api = &plane::shared().await.api;
        let mut seen = Vec::new();
        for file in files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples")) {
            if file.is_dir() {
                continue;
            }
            let objects: Vec<Value> =
                serde_saphyr::from_multiple(&fs::read_to_string(&file).unwrap()).unwrap();
            for mut object in objects {
                let name = object["kind"].as_str().unwrap().to_owned();
                let of_kind = match name.as_str() {
                    "Job" => JOBS,
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
                object["spec"]["noSuchField"] = json!(1);
                let refused = api.validate(&at, &object).await.unwrap_err().message;
                assert!(refused.contains("noSuchField"), "{refused}");
                seen.push(name);
            }
        }
        for kind in [
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
