//! Foreign objects that only the check reads, with only the fields it needs. Those that decisions are made by come
//! through [`crate::cluster`], like everywhere else.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

/// An object: who it is, and the part that matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Object<T: Default> {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// The rest.
    #[serde(flatten)]
    pub body: T,
}

impl<T: Default> Object<T> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its namespace; empty where it has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// `namespace/name`, or the name alone.
    #[must_use]
    pub fn at(&self) -> String {
        match self.namespace() {
            "" => self.name().to_owned(),
            namespace => format!("{namespace}/{}", self.name()),
        }
    }

    /// The value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// The value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

macro_rules! body {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )+};
}

body! {
    /// A SriovNetworkNodePolicy.
    Policy {
        /// What it asks for.
        spec: PolicySpec,
    }

    /// See [`Policy`].
    PolicySpec {
        /// The resource, without its prefix.
        resource_name: String,
        /// Labels its nodes have.
        node_selector: BTreeMap<String, String>,
        /// VFs for each PF.
        num_vfs: u32,
        /// `ib`, `eth`, in either case; Ethernet where absent.
        link_type: Option<String>,
        /// `netdevice` or `vfio-pci`.
        device_type: Option<String>,
        /// RDMA devices come with the VFs.
        is_rdma: Option<bool>,
    }

    /// A SriovNetworkPoolConfig.
    PoolConfig {
        /// What it asks for.
        spec: PoolConfigSpec,
    }

    /// See [`PoolConfig`].
    PoolConfigSpec {
        /// `shared` or `exclusive`.
        rdma_mode: Option<String>,
    }

    /// A CustomResourceDefinition.
    Definition {
        /// What it defines.
        spec: DefinitionSpec,
    }

    /// See [`Definition`].
    DefinitionSpec {
        /// Its versions.
        versions: Vec<DefinitionVersion>,
    }

    /// See [`Definition`].
    DefinitionVersion {
        /// As in `v2beta1`.
        name: String,
        /// The API server serves it.
        served: bool,
        /// What its objects look like.
        schema: Value,
    }

    /// A Deployment or DaemonSet.
    Workload {
        /// What it asks for.
        spec: WorkloadSpec,
        /// What there is of it.
        status: WorkloadStatus,
    }

    /// See [`Workload`].
    WorkloadSpec {
        /// Pods of a Deployment; 1 where absent.
        replicas: Option<u32>,
        /// Its pods.
        template: PodTemplate,
    }

    /// See [`Workload`].
    PodTemplate {
        /// What they run.
        spec: PodTemplateSpec,
    }

    /// See [`Workload`].
    PodTemplateSpec {
        /// Who they are.
        service_account_name: Option<String>,
        /// What they run.
        containers: Vec<ContainerSpec>,
    }

    /// See [`Workload`].
    ContainerSpec {
        /// Its name.
        name: String,
        /// With its tag or digest.
        image: String,
        /// In place of the image's entry point.
        command: Vec<String>,
        /// Its arguments.
        args: Vec<String>,
    }

    /// See [`Workload`].
    WorkloadStatus {
        /// Pods of a Deployment that are ready.
        ready_replicas: u32,
        /// Nodes a DaemonSet selects.
        desired_number_scheduled: u32,
        /// Of those, where it is ready.
        number_ready: u32,
    }

    /// A MutatingWebhookConfiguration or ValidatingWebhookConfiguration.
    Webhooks {
        /// Its webhooks.
        webhooks: Vec<Webhook>,
    }

    /// One webhook of a configuration.
    Webhook {
        /// Its name.
        name: String,
        /// How it is reached.
        client_config: ClientConfig,
        /// `Fail` or `Ignore`.
        failure_policy: Option<String>,
        /// Which objects it is asked about.
        rules: Vec<WebhookRule>,
        /// Namespaces whose pods it is asked about.
        namespace_selector: Option<Value>,
        /// `Never` or `IfNeeded`.
        reinvocation_policy: Option<String>,
        /// Conditions the API server checks before it asks.
        match_conditions: Vec<Value>,
        /// Seconds the API server waits.
        timeout_seconds: Option<u32>,
    }

    /// See [`Webhook`].
    WebhookRule {
        /// As in `CREATE`.
        operations: Vec<String>,
        /// As in `pods`.
        resources: Vec<String>,
    }

    /// See [`Webhook`].
    ClientConfig {
        /// The Service in front of it.
        service: Option<ServiceReference>,
        /// Its address, where it is no Service.
        url: Option<String>,
        /// Whom the API server trusts, as Base64 of PEM.
        ca_bundle: Option<String>,
    }

    /// See [`Webhook`].
    ServiceReference {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The path asked for.
        path: Option<String>,
        /// The port; 443 where absent.
        port: Option<u16>,
    }

    /// A Service.
    Service {
        /// What it asks for.
        spec: ServiceSpec,
    }

    /// See [`Service`].
    ServiceSpec {
        /// `ExternalName` has no endpoints.
        r#type: Option<String>,
        /// Its ports.
        ports: Vec<ServicePort>,
    }

    /// See [`Service`].
    ServicePort {
        /// The port's number.
        port: u16,
    }

    /// An EndpointSlice.
    Endpoints {
        /// Its endpoints.
        endpoints: Vec<Endpoint>,
    }

    /// See [`Endpoints`].
    Endpoint {
        /// Whether it is ready.
        conditions: EndpointConditions,
    }

    /// See [`Endpoints`].
    EndpointConditions {
        /// Absent means ready.
        ready: Option<bool>,
    }

    /// A ConfigMap.
    ConfigMap {
        /// Its texts.
        data: BTreeMap<String, String>,
    }

    /// A ClusterRole or Role.
    Role {
        /// What it allows.
        rules: Vec<RoleRule>,
    }

    /// See [`Role`].
    RoleRule {
        /// API groups; `*` for all.
        api_groups: Vec<String>,
        /// Resources, with their subresource after a slash; `*` for all.
        resources: Vec<String>,
        /// Only objects of these names, where any is given.
        resource_names: Vec<String>,
        /// Verbs; `*` for all.
        verbs: Vec<String>,
    }

    /// A ClusterRoleBinding or RoleBinding.
    Binding {
        /// The role.
        role_ref: RoleReference,
        /// Who has it.
        subjects: Vec<BindingSubject>,
    }

    /// See [`Binding`].
    RoleReference {
        /// `ClusterRole` or `Role`.
        kind: String,
        /// Its name.
        name: String,
    }

    /// See [`Binding`].
    BindingSubject {
        /// `ServiceAccount`, `Group`, `User`.
        kind: String,
        /// Its name.
        name: String,
        /// The namespace of a service account.
        namespace: Option<String>,
    }

    /// A SpiderEndpoint.
    PodEndpoint {
        /// What was given.
        status: PodEndpointStatus,
    }

    /// See [`PodEndpoint`].
    PodEndpointStatus {
        /// To the pod that is there now.
        current: Option<Allocation>,
    }

    /// See [`PodEndpoint`].
    Allocation {
        /// The pod.
        uid: String,
        /// Its node.
        node: String,
        /// Its addresses.
        ips: Vec<AllocatedAddress>,
    }

    /// See [`PodEndpoint`].
    AllocatedAddress {
        /// The interface inside the pod.
        interface: String,
        /// With its prefix length.
        ipv4: Option<String>,
        /// The pool it is of.
        ipv4_pool: Option<String>,
        /// With its prefix length.
        ipv6: Option<String>,
        /// The pool it is of.
        ipv6_pool: Option<String>,
    }
}
