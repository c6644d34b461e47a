//! The kinds the check reads, and where it reads them.

use strum::IntoEnumIterator as _;

use crate::cluster::objects::Kind;

/// A kind of object the check reads. The order is that of reading: pods come last, because what their networks and
/// pools are is looked up when they are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter)]
pub enum Source {
    /// A kind the index is made of, other than pods: nodes.
    Node,
    /// The SR-IOV operator's SriovNetworkNodeState.
    NodeState,
    /// The SR-IOV operator's SriovNetworkNodePolicy.
    Policy,
    /// The SR-IOV operator's SriovNetworkPoolConfig.
    PoolConfig,
    /// Multus' NetworkAttachmentDefinition.
    Attachment,
    /// Spiderpool's SpiderMultusConfig.
    MultusConfig,
    /// Spiderpool's SpiderReservedIP.
    ReservedIp,
    /// Spiderpool's SpiderIPPool.
    Pool,
    /// Spiderpool's SpiderSubnet.
    Subnet,
    /// Namespaces.
    Namespace,
    /// Kubernetes' CustomResourceDefinition.
    Definition,
    /// Deployments.
    Deployment,
    /// DaemonSets.
    DaemonSet,
    /// MutatingWebhookConfigurations.
    Webhook,
    /// ValidatingWebhookConfigurations.
    Validation,
    /// Services, in our namespace.
    Service,
    /// EndpointSlices, in our namespace.
    Endpoints,
    /// ConfigMaps, in our namespace, Multus' and the operator's.
    ConfigMap,
    /// Leases, in our namespace.
    Lease,
    /// ClusterRoles.
    ClusterRole,
    /// ClusterRoleBindings.
    ClusterRoleBinding,
    /// Roles, in our namespace.
    Role,
    /// RoleBindings, in our namespace.
    RoleBinding,
    /// Pods.
    Pod,
    /// Spiderpool's SpiderEndpoint, for the pod that is asked about.
    PodEndpoint,
}

/// Where objects of a kind are read in a live cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the whole cluster.
    Cluster,
    /// In our namespace.
    Ours,
    /// In our namespace, and in those where scheduler configurations are kept.
    OursAndSystem,
    /// One object for each name: the kind's objects are large, and few are of interest.
    Names(&'static [&'static str]),
    /// Only with a pod that is asked about, and then its own.
    OfPod,
}

/// The definitions the check looks at; they carry whole schemas, and a cluster has hundreds.
pub const DEFINITIONS: [&str; 8] = [
    "spiderippools.spiderpool.spidernet.io",
    "spiderreservedips.spiderpool.spidernet.io",
    "spidermultusconfigs.spiderpool.spidernet.io",
    "spiderendpoints.spiderpool.spidernet.io",
    "network-attachment-definitions.k8s.cni.cncf.io",
    "sriovnetworknodestates.sriovnetwork.openshift.io",
    "sriovnetworknodepolicies.sriovnetwork.openshift.io",
    "sriovnetworkpoolconfigs.sriovnetwork.openshift.io",
];

const SPIDERPOOL: &str = "spiderpool.spidernet.io";
const SRIOV: &str = "sriovnetwork.openshift.io";
const RBAC: &str = "rbac.authorization.k8s.io";

impl Source {
    /// The source an object belongs to, by `kind` and the group of `apiVersion`.
    #[must_use]
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        Self::iter().find(|source| source.kind() == kind && source.api().0 == group)
    }

    /// Its `kind`, as in YAML.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Node => "Node",
            Self::NodeState => "SriovNetworkNodeState",
            Self::Policy => "SriovNetworkNodePolicy",
            Self::PoolConfig => "SriovNetworkPoolConfig",
            Self::Attachment => "NetworkAttachmentDefinition",
            Self::MultusConfig => "SpiderMultusConfig",
            Self::ReservedIp => "SpiderReservedIP",
            Self::Pool => "SpiderIPPool",
            Self::Subnet => "SpiderSubnet",
            Self::Namespace => "Namespace",
            Self::Definition => "CustomResourceDefinition",
            Self::Deployment => "Deployment",
            Self::DaemonSet => "DaemonSet",
            Self::Webhook => "MutatingWebhookConfiguration",
            Self::Validation => "ValidatingWebhookConfiguration",
            Self::Service => "Service",
            Self::Endpoints => "EndpointSlice",
            Self::ConfigMap => "ConfigMap",
            Self::Lease => "Lease",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::Pod => "Pod",
            Self::PodEndpoint => "SpiderEndpoint",
        }
    }

    /// Its API group, version and plural.
    #[must_use]
    pub fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Node => ("", "v1", "nodes"),
            Self::NodeState => (SRIOV, "v1", "sriovnetworknodestates"),
            Self::Policy => (SRIOV, "v1", "sriovnetworknodepolicies"),
            Self::PoolConfig => (SRIOV, "v1", "sriovnetworkpoolconfigs"),
            Self::Attachment => ("k8s.cni.cncf.io", "v1", "network-attachment-definitions"),
            Self::MultusConfig => (SPIDERPOOL, "v2beta1", "spidermultusconfigs"),
            Self::ReservedIp => (SPIDERPOOL, "v2beta1", "spiderreservedips"),
            Self::Pool => (SPIDERPOOL, "v2beta1", "spiderippools"),
            Self::Subnet => (SPIDERPOOL, "v2beta1", "spidersubnets"),
            Self::Namespace => ("", "v1", "namespaces"),
            Self::Definition => ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
            Self::Deployment => ("apps", "v1", "deployments"),
            Self::DaemonSet => ("apps", "v1", "daemonsets"),
            Self::Webhook => (
                "admissionregistration.k8s.io",
                "v1",
                "mutatingwebhookconfigurations",
            ),
            Self::Validation => (
                "admissionregistration.k8s.io",
                "v1",
                "validatingwebhookconfigurations",
            ),
            Self::Service => ("", "v1", "services"),
            Self::Endpoints => ("discovery.k8s.io", "v1", "endpointslices"),
            Self::ConfigMap => ("", "v1", "configmaps"),
            Self::Lease => ("coordination.k8s.io", "v1", "leases"),
            Self::ClusterRole => (RBAC, "v1", "clusterroles"),
            Self::ClusterRoleBinding => (RBAC, "v1", "clusterrolebindings"),
            Self::Role => (RBAC, "v1", "roles"),
            Self::RoleBinding => (RBAC, "v1", "rolebindings"),
            Self::Pod => ("", "v1", "pods"),
            Self::PodEndpoint => (SPIDERPOOL, "v2beta1", "spiderendpoints"),
        }
    }

    /// Where it is read in a live cluster.
    #[must_use]
    pub fn reach(self) -> Reach {
        match self {
            Self::Definition => Reach::Names(&DEFINITIONS),
            Self::Service | Self::Endpoints | Self::Lease | Self::Role | Self::RoleBinding => Reach::Ours,
            Self::ConfigMap => Reach::OursAndSystem,
            Self::PodEndpoint => Reach::OfPod,
            _ => Reach::Cluster,
        }
    }

    /// The kind of the index, where it is one.
    #[must_use]
    pub fn indexed(self) -> Option<Kind> {
        match self {
            Self::Node => Some(Kind::Node),
            Self::NodeState => Some(Kind::NodeState),
            Self::Attachment => Some(Kind::Attachment),
            Self::MultusConfig => Some(Kind::MultusConfig),
            Self::ReservedIp => Some(Kind::ReservedIp),
            Self::Pool => Some(Kind::Pool),
            Self::Subnet => Some(Kind::Subnet),
            Self::Namespace => Some(Kind::Namespace),
            Self::Pod => Some(Kind::Pod),
            Self::Lease => Some(Kind::Lease),
            _ => None,
        }
    }

    /// The name by which kubectl finds it, whatever else is installed.
    #[must_use]
    pub fn kubectl(self) -> String {
        match self.api() {
            ("", _, plural) => plural.to_owned(),
            (group, _, plural) => format!("{plural}.{group}"),
        }
    }
}

/// The command that saves every kind the check reads into one file.
#[must_use]
pub fn saving() -> String {
    let kinds: Vec<String> = Source::iter().map(Source::kubectl).collect();
    format!("kubectl get -A -o yaml {} > cluster.yaml", kinds.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_the_index_are_addressed_as_the_index_does() {
        for source in Source::iter() {
            if let Some(kind) = source.indexed() {
                assert_eq!(
                    (source.kind(), source.api()),
                    (kind.name(), kind.api()),
                    "{source:?}"
                );
            }
        }
    }

    #[test]
    fn a_kind_of_another_group_is_not_taken_for_ours() {
        assert_eq!(Source::of("v1", "Service"), Some(Source::Service));
        assert_eq!(Source::of("serving.knative.dev/v1", "Service"), None);
        assert_eq!(
            Source::of("spiderpool.spidernet.io/v2beta1", "SpiderIPPool"),
            Some(Source::Pool)
        );
    }
}
