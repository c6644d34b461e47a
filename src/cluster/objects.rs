//! Objects as the API server sends them, with only the fields we need.
//!
//! Pods, nodes and namespaces are typed: the API server has validated them. Custom resources arrive as JSON and
//! are read field by field in [`super::convert`], so that a broken one gets an error that names the field and
//! never stops a watch. Nothing of an object is ever written back from these types.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, ClusterResourceScope, DynamicObject, NamespaceResourceScope};
use serde::Deserialize;

/// Text values by name; JSON `null` counts as empty.
pub type Texts = BTreeMap<String, String>;

/// A Pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it asks for.
    pub spec: PodSpec,
    /// What became of it.
    pub status: PodStatus,
}

/// See [`PodObject`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// Where it is bound.
    pub node_name: Option<String>,
    /// Who schedules it.
    pub scheduler_name: Option<String>,
    /// It shares its node's network.
    pub host_network: Option<bool>,
    /// Its containers.
    pub containers: Option<Vec<Container>>,
    /// Labels its node must have.
    pub node_selector: Option<Texts>,
    /// Of which the required node affinity matters.
    pub affinity: Option<Affinity>,
    /// Taints it can bear.
    pub tolerations: Option<Vec<TolerationObject>>,
    /// What the runtime class adds to its requests.
    pub overhead: Option<BTreeMap<String, serde_json::Value>>,
    /// Requests of the pod as a whole.
    pub resources: Option<Resources>,
    /// Its init containers, sidecars among them.
    pub init_containers: Option<Vec<Container>>,
    /// The PodGroup of Kubernetes' own that it joins.
    pub scheduling_group: Option<SchedulingGroup>,
}

/// See [`PodSpec`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SchedulingGroup {
    /// The PodGroup's name.
    pub pod_group_name: Option<String>,
}

/// Affinity of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Affinity {
    /// To nodes.
    pub node_affinity: Option<NodeAffinity>,
}

/// Affinity to nodes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeAffinity {
    /// The part that must hold.
    pub required_during_scheduling_ignored_during_execution: Option<NodeSelectorObject>,
}

/// Terms of which one must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSelectorObject {
    /// The terms.
    pub node_selector_terms: Option<Vec<NodeTermObject>>,
}

/// One term.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeTermObject {
    /// Over labels.
    pub match_expressions: Option<Vec<RequirementObject>>,
    /// Over `metadata.name`.
    pub match_fields: Option<Vec<RequirementObject>>,
}

/// An expression of a term.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RequirementObject {
    /// The label or field.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`, `Gt`, `Lt`.
    pub operator: String,
    /// The values.
    pub values: Option<Vec<String>>,
}

/// A toleration of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TolerationObject {
    /// The taint's key; none with `Exists` for all.
    pub key: Option<String>,
    /// `Exists` or `Equal`.
    pub operator: Option<String>,
    /// The taint's value.
    pub value: Option<String>,
    /// The taint's effect; none for all.
    pub effect: Option<String>,
}

/// A container or init container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// `Always` on an init container makes it a sidecar.
    pub restart_policy: Option<String>,
    /// Its requests and limits.
    pub resources: Option<Resources>,
}

/// Requests and limits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What it is given at least; where absent, the limits.
    pub requests: Option<BTreeMap<String, serde_json::Value>>,
    /// What it is given at most.
    pub limits: Option<BTreeMap<String, serde_json::Value>>,
}

/// See [`PodObject`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: Option<String>,
    /// Of which `PodScheduled` matters.
    pub conditions: Option<Vec<Condition>>,
}

/// One condition of a pod or a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Which.
    pub r#type: Option<String>,
    /// `True`, `False`, `Unknown`.
    pub status: Option<String>,
    /// A word of why.
    pub reason: Option<String>,
}

/// A Node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Who may use it.
    pub spec: NodeSpec,
    /// What it offers.
    pub status: NodeStatus,
}

/// See [`NodeObject`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// Its taints.
    pub taints: Option<Vec<TaintObject>>,
    /// It is cordoned.
    pub unschedulable: Option<bool>,
}

/// A taint of a node.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaintObject {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Option<String>,
    /// What it does to those who do not tolerate it.
    pub effect: Option<String>,
}

/// See [`NodeObject`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// What pods can have of it.
    pub allocatable: Option<BTreeMap<String, serde_json::Value>>,
    /// Of which `Ready` matters.
    pub conditions: Option<Vec<Condition>>,
}

/// A Job, of whose pods as many run at once as make a gang.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it runs.
    pub spec: JobSpec,
}

/// See [`JobObject`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobSpec {
    /// How many pods may run at once; 1 where it does not say.
    pub parallelism: Option<u32>,
    /// How many are to succeed in all.
    pub completions: Option<u32>,
}

/// A Namespace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct NamespaceObject {
    /// Its metadata, which is all that matters.
    pub metadata: ObjectMeta,
}

macro_rules! resource {
    ($type:ty, $kind:literal, $group:literal, $plural:literal, $scope:ty) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(PodObject, "Pod", "", "pods", NamespaceResourceScope);
resource!(JobObject, "Job", "batch", "jobs", NamespaceResourceScope);
resource!(NodeObject, "Node", "", "nodes", ClusterResourceScope);
resource!(
    NamespaceObject,
    "Namespace",
    "",
    "namespaces",
    ClusterResourceScope
);

/// The kinds the index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter)]
pub enum Kind {
    /// Kubernetes' Pod.
    Pod,
    /// Kubernetes' Node.
    Node,
    /// Kubernetes' Namespace.
    Namespace,
    /// Kubernetes' Job.
    Job,
    /// Multus' NetworkAttachmentDefinition.
    Attachment,
    /// Spiderpool's SpiderMultusConfig.
    MultusConfig,
    /// Spiderpool's SpiderIPPool.
    Pool,
    /// Spiderpool's SpiderReservedIP.
    ReservedIp,
    /// The SR-IOV operator's SriovNetworkNodeState.
    NodeState,
    /// Kubernetes' Lease, of which only the fabric import's matters.
    Lease,
    /// Spiderpool's SpiderEndpoint.
    Endpoint,
    /// Spiderpool's SpiderSubnet.
    Subnet,
    /// Kubernetes' DeviceClass.
    DeviceClass,
    /// Kubernetes' ResourceClaim.
    DeviceClaim,
    /// Kubernetes' ResourceClaimTemplate.
    DeviceClaimTemplate,
    /// Kubernetes' PodGroup.
    PodGroup,
}

impl Kind {
    /// Its `kind`, as in YAML; also the label of its metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Node => "Node",
            Self::Namespace => "Namespace",
            Self::Job => "Job",
            Self::Attachment => "NetworkAttachmentDefinition",
            Self::MultusConfig => "SpiderMultusConfig",
            Self::Pool => "SpiderIPPool",
            Self::ReservedIp => "SpiderReservedIP",
            Self::NodeState => "SriovNetworkNodeState",
            Self::Lease => "Lease",
            Self::Endpoint => "SpiderEndpoint",
            Self::Subnet => "SpiderSubnet",
            Self::DeviceClass => "DeviceClass",
            Self::DeviceClaim => "ResourceClaim",
            Self::DeviceClaimTemplate => "ResourceClaimTemplate",
            Self::PodGroup => "PodGroup",
        }
    }

    /// Its API group, version and plural.
    #[must_use]
    pub fn api(self) -> (&'static str, &'static str, &'static str) {
        const SPIDERPOOL: &str = "spiderpool.spidernet.io";
        const DEVICES: &str = "resource.k8s.io";
        match self {
            Self::Pod => ("", "v1", "pods"),
            Self::Node => ("", "v1", "nodes"),
            Self::Namespace => ("", "v1", "namespaces"),
            Self::Job => ("batch", "v1", "jobs"),
            Self::Attachment => ("k8s.cni.cncf.io", "v1", "network-attachment-definitions"),
            Self::MultusConfig => (SPIDERPOOL, "v2beta1", "spidermultusconfigs"),
            Self::Pool => (SPIDERPOOL, "v2beta1", "spiderippools"),
            Self::ReservedIp => (SPIDERPOOL, "v2beta1", "spiderreservedips"),
            Self::NodeState => ("sriovnetwork.openshift.io", "v1", "sriovnetworknodestates"),
            Self::Lease => ("coordination.k8s.io", "v1", "leases"),
            Self::Endpoint => (SPIDERPOOL, "v2beta1", "spiderendpoints"),
            Self::Subnet => (SPIDERPOOL, "v2beta1", "spidersubnets"),
            Self::DeviceClass => (DEVICES, "v1", "deviceclasses"),
            Self::DeviceClaim => (DEVICES, "v1", "resourceclaims"),
            Self::DeviceClaimTemplate => (DEVICES, "v1", "resourceclaimtemplates"),
            Self::PodGroup => ("scheduling.k8s.io", "v1beta1", "podgroups"),
        }
    }

    /// The kind of an object, where it is one of ours: by `kind` and the group of `apiVersion`, so that another
    /// group's kind of the same name is not taken for it.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        use strum::IntoEnumIterator as _;
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self::iter().find(|known| known.name() == kind && known.api().0 == group)
    }

    /// How kube addresses it.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        let (group, version, plural) = self.api();
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: self.name().to_owned(),
            plural: plural.to_owned(),
        }
    }
}

/// An object of a known kind.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Pod.
    Pod(Box<PodObject>),
    /// A Node.
    Node(Box<NodeObject>),
    /// A Namespace.
    Namespace(Box<NamespaceObject>),
    /// A Job.
    Job(Box<JobObject>),
    /// A custom resource.
    Custom(Kind, Box<DynamicObject>),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::Namespace(_) => Kind::Namespace,
            Self::Job(_) => Kind::Job,
            Self::Custom(kind, _) => *kind,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::Custom(_, object) => &object.metadata,
        }
    }
}
