//! The KubeSchedulerConfiguration that makes a kube-scheduler ask our extender, from what is known of the cluster.
//!
//! A scheduler reads it once, at its start, and an extender belongs to all of its profiles. It may be made for a
//! scheduler of our own or added to one that is there; what cannot go together with what is there is refused.

mod merge;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::decide::cluster::ClusterSnapshot;
use crate::decide::names::ResourceName;
use crate::decide::settings::{SchedulerMode, Settings};

pub use merge::{MergeError, Merged, merge};

/// `apiVersion` of the configurations we print and take.
pub const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
/// Their `kind`.
pub const KIND: &str = "KubeSchedulerConfiguration";

/// What our 0 to 10 are worth: the scheduler adds score × weight × 10. In-tree plugins add up to 1,400 with their default
/// weights; the closeness of a gang alone spans 600, more than any one of them (300, of taint toleration).
pub const WEIGHT: u32 = 10;

/// How long the scheduler waits for an answer. Everything it schedules waits meanwhile, so not longer than its default.
const TIMEOUT: &str = "5s";

/// Where kubeadm and most others keep the scheduler's kubeconfig on control-plane nodes.
const KUBECONFIG: &str = "/etc/kubernetes/scheduler.conf";

/// Where the dedicated scheduler keeps its lease, as in `manifests/`.
const NAMESPACE: &str = "pointsman-system";

/// What the configuration is made for.
#[derive(Clone, Debug)]
pub struct Input {
    /// A scheduler of our own, by name, or the cluster's.
    pub mode: SchedulerMode,
    /// Where the scheduler finds the extender.
    pub extender_url: String,
    /// Whether the extender is to write Bindings.
    pub binds: bool,
    /// The resources whose pods the extender is asked about.
    pub managed: BTreeSet<ResourceName>,
}

/// The cluster's networks name no resource that a scheduler could be told of. Without any, it would send us all pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no network names a device-plugin resource: create the SpiderMultusConfigs or NetworkAttachmentDefinitions of the \
     rails first (annotation k8s.v1.cni.cncf.io/resourceName, or resourceName of their cniType)"
)]
pub struct NothingManaged;

impl Input {
    /// What fits this cluster and these settings, and the names that no scheduler would take.
    ///
    /// # Errors
    /// When no resource is found.
    pub fn of(
        settings: &Settings,
        snapshot: &ClusterSnapshot,
        extender_url: &str,
    ) -> Result<(Self, Vec<ResourceName>), NothingManaged> {
        let (managed, others): (BTreeSet<_>, BTreeSet<_>) = snapshot
            .network_resources()
            .into_iter()
            .partition(ResourceName::is_extended);
        if managed.is_empty() {
            return Err(NothingManaged);
        }
        let input = Self {
            mode: settings.scheduler.clone(),
            extender_url: extender_url.to_owned(),
            binds: settings.binds,
            managed,
        };
        Ok((input, others.into_iter().collect()))
    }

    /// The whole configuration.
    #[must_use]
    pub fn configuration(&self) -> Value {
        let mut configuration = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "extenders": [self.extender()],
        });
        let own = match &self.mode {
            SchedulerMode::Dedicated(name) => json!({
                "leaderElection": {
                    "leaderElect": true,
                    "resourceNamespace": NAMESPACE,
                    "resourceName": name.as_str(),
                },
                // Without 100 the extender is shown a sample of the nodes, and can miss the only one that fits.
                "profiles": [{"schedulerName": name.as_str(), "percentageOfNodesToScore": 100}],
            }),
            SchedulerMode::Existing => json!({
                "clientConnection": {"kubeconfig": KUBECONFIG},
                "leaderElection": {"leaderElect": true},
                "profiles": [{"schedulerName": "default-scheduler", "percentageOfNodesToScore": 100}],
            }),
        };
        if let (Some(all), Value::Object(own)) = (configuration.as_object_mut(), own) {
            all.extend(own);
        }
        configuration
    }

    /// The stanza of our extender.
    #[must_use]
    pub fn extender(&self) -> Value {
        let managed: Vec<Value> = self
            .managed
            .iter()
            // The scheduler's own count stays in force; we only take away.
            .map(|name| json!({"name": name.as_str(), "ignoredByScheduler": false}))
            .collect();
        let mut extender = json!({
            "urlPrefix": self.extender_url,
            "filterVerb": "filter",
            "prioritizeVerb": "prioritize",
            "preemptVerb": "preempt",
            "weight": WEIGHT,
            // Names in place of whole Node objects, which break the scheduler's own scoring.
            "nodeCacheCapable": true,
            "enableHTTPS": self.extender_url.starts_with("https://"),
            "httpTimeout": TIMEOUT,
            "managedResources": managed,
            // A pod that cannot be checked waits; pods that ask for none of these resources never depend on us.
            "ignorable": false,
        });
        if let (true, Some(fields)) = (self.binds, extender.as_object_mut()) {
            fields.insert("bindVerb".to_owned(), "bind".into());
        }
        extender
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::index::Index;
    use std::sync::Arc;

    fn snapshot(resources: &[&str]) -> Arc<ClusterSnapshot> {
        let index = Index::new(Arc::default());
        for (number, resource) in resources.iter().enumerate() {
            let network = json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": {"name": format!("rail{number}"), "namespace": "rdma",
                    "annotations": {"k8s.v1.cni.cncf.io/resourceName": resource}},
                "spec": {"config": r#"{"type":"ib-sriov"}"#}});
            index.apply(network).unwrap();
        }
        index.published().load_full()
    }

    #[test]
    fn each_resource_of_the_networks_is_named_once() {
        let resources = ["x.io/rail1", "x.io/rail0", "x.io/rail1", "cpu"];
        let (input, others) = Input::of(
            &Settings::default(),
            &snapshot(&resources),
            "http://127.0.0.1:8888",
        )
        .unwrap();
        assert_eq!(others, ["cpu".into()]);
        let configuration = input.configuration();
        assert_eq!(
            configuration["extenders"][0]["managedResources"],
            json!([
                {"name": "x.io/rail0", "ignoredByScheduler": false},
                {"name": "x.io/rail1", "ignoredByScheduler": false},
            ])
        );
        assert_eq!(
            configuration["profiles"][0]["schedulerName"],
            "pointsman-scheduler"
        );
        assert_eq!(configuration["profiles"][0]["percentageOfNodesToScore"], 100);
        assert_eq!(configuration["extenders"][0]["bindVerb"], "bind");
    }

    #[test]
    fn where_another_extender_binds_ours_does_not() {
        let settings = Settings {
            scheduler: SchedulerMode::Existing,
            binds: false,
            ..Settings::default()
        };
        let (input, _) = Input::of(&settings, &snapshot(&["x.io/vf"]), "http://127.0.0.1:8888").unwrap();
        let configuration = input.configuration();
        assert!(configuration["extenders"][0]["bindVerb"].is_null());
        assert_eq!(configuration["profiles"][0]["schedulerName"], "default-scheduler");
    }

    #[test]
    fn a_cluster_without_resources_gets_none_that_would_send_us_all_pods() {
        let found = Input::of(&Settings::default(), &snapshot(&[]), "http://127.0.0.1:8888");
        assert_eq!(found.err(), Some(NothingManaged));
    }
}
