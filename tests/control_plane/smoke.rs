//! The real parts together, without our program: if these fail, nothing else in this folder means anything.

use std::time::Duration;

use serde_json::json;

use crate::harness::api::{ENDPOINTS, JOBS, NAMESPACES, NETWORKS, NODES, PODS, POOLS, SERVICE_ACCOUNTS};
use crate::harness::kubelet::Kubelet;
use crate::harness::nodes::IbNode;
use crate::harness::objects::{Profile, container, job};
use crate::harness::wait::{eventually, expect};
use crate::harness::{plane, run};

const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn a_job_gets_pods_and_a_bound_pod_gets_an_address_of_the_real_ipam() {
    run(async {
        let plane = plane::shared().await;
        let api = &plane.api;
        let namespace = "smoke";
        api.create(&NAMESPACES.all(), json!({"metadata": {"name": namespace}}))
            .await
            .unwrap();
        IbNode::new("smoke-a").rails("smoke", 1).create(plane).await;
        let node = api.get(&NODES.all().named("smoke-a")).await.unwrap();
        assert_eq!(
            node["status"]["allocatable"]["spidernet.io/smoke_rail0"], "8",
            "KWOK keeps what is allocatable"
        );

        let profile = Profile::new("smoke", "smoke", 200).addresses(4);
        profile.create(plane, namespace).await;
        let network = api
            .get(&NETWORKS.within(namespace).named("smoke-rail0"))
            .await
            .unwrap();
        let annotations = &network["metadata"]["annotations"];
        assert_eq!(
            annotations["k8s.v1.cni.cncf.io/resourceName"],
            "spidernet.io/smoke_rail0"
        );
        assert_eq!(
            annotations["pointsman.io/profile"], "smoke",
            "Spiderpool copies annotations to the network it makes"
        );

        // Bound by hand, as no scheduler runs here; the networks as our webhook would write them.
        let networks =
            json!([{"namespace": namespace, "name": "smoke-rail0", "interface": "net1"}]).to_string();
        let template = json!({
            "metadata": {"annotations": {"k8s.v1.cni.cncf.io/networks": networks}},
            "spec": {"nodeName": "smoke-a", "containers": [container("trainer")]},
        });
        eventually("the namespace has a service account", LIMIT, async || {
            api.get(&SERVICE_ACCOUNTS.within(namespace).named("default"))
                .await
                .map_err(|refused| refused.message)
        })
        .await;
        let kubelet = Kubelet::start(plane, namespace, Duration::ZERO);
        api.create(&JOBS.within(namespace), job("train", 2, template))
            .await
            .unwrap();

        eventually("the Job's two pods run and have addresses", LIMIT, async || {
            let pods = api.list(&PODS.within(namespace)).await;
            let running = pods
                .iter()
                .filter(|pod| pod["status"]["phase"] == "Running")
                .count();
            let sandboxes = kubelet.sandboxes();
            expect(running == 2 && sandboxes.len() == 2, || {
                format!("{running} running, {sandboxes:?}")
            })
        })
        .await;
        assert!(kubelet.failures().is_empty(), "{:?}", kubelet.failures());
        for sandbox in kubelet.sandboxes().values() {
            let (_, address) = &sandbox.addresses["net1"];
            assert!(address.starts_with(&profile.address_prefix(0)), "{address}");
            let endpoint = api
                .get(&ENDPOINTS.within(namespace).named(&sandbox.pod))
                .await
                .unwrap();
            let ip = &endpoint["status"]["current"]["ips"][0];
            assert_eq!(
                (&ip["interface"], &ip["ipv4Pool"]),
                (&json!("net1"), &json!("smoke-rail0-pool"))
            );
            assert_eq!(ip["ipv4"], json!(format!("{address}/24")));
            assert_eq!(endpoint["status"]["current"]["node"], "smoke-a");
        }

        api.delete(&JOBS.within(namespace).named("train")).await.unwrap();
        for pod in api.list(&PODS.within(namespace)).await {
            // The Job is gone, its pods go with it; the garbage collector may have been faster.
            let _ = api
                .delete(
                    &PODS
                        .within(namespace)
                        .named(pod["metadata"]["name"].as_str().unwrap()),
                )
                .await;
        }
        eventually("the pool has all its addresses back", LIMIT, async || {
            let pool = api.get(&POOLS.all().named("smoke-rail0-pool")).await.unwrap();
            let taken = pool["status"]["allocatedIPs"].as_str().unwrap_or("{}");
            expect(["", "{}", "null"].contains(&taken), || taken.to_owned())
        })
        .await;
    });
}
