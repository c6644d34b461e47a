//! The cluster that every server is asked about: made from counters, the same in every run, and as bulky as objects
//! of a real cluster are, because reading them is part of the cost.

use pointsman::decide::annotation;

/// Rails of each node; one VF of every rail, as a node has for one pod that takes them all.
pub(crate) const RAILS: usize = 8;
/// Nodes of one leaf group.
const LEAF_GROUP: usize = 32;
/// Nodes that share the pools of a rail.
const POOL_UNIT: usize = 240;
/// Every so many-th node has no VF left.
pub(crate) const FULL: usize = 10;

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) pods: usize,
}

/// The cluster of the targets: 120,000 VFs, about 500 pools, 1,000 gangs.
pub(crate) const LARGE: Size = Size {
    nodes: 15_000,
    pods: 150_000,
};
/// The middle size of the memory target.
pub(crate) const MIDDLE: Size = Size {
    nodes: 5_000,
    pods: 50_000,
};

/// A name as long as those of the measurements that set the targets: 40 bytes.
pub(crate) fn node_name(node: usize) -> String {
    format!("gpu-node-{node:05}.rack.cluster.example.internal")[..40].to_owned()
}

impl Size {
    /// Pods that hold VFs: one on every full node, in gangs of one or two.
    pub(crate) fn gang_pods(self) -> usize {
        self.nodes / FULL
    }

    fn pools(self) -> usize {
        self.nodes.div_ceil(POOL_UNIT) * RAILS
    }

    /// How many objects the collection at `path` has; none when the cluster does not know the path.
    pub(crate) fn count(self, path: &str) -> Option<usize> {
        Some(match path {
            "/api/v1/nodes" | "/apis/sriovnetwork.openshift.io/v1/sriovnetworknodestates" => self.nodes,
            "/api/v1/pods" => self.pods,
            "/api/v1/namespaces" => 20,
            "/apis/batch/v1/jobs" | "/apis/spiderpool.spidernet.io/v2beta1/spidermultusconfigs" => 0,
            "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions" => RAILS,
            "/apis/spiderpool.spidernet.io/v2beta1/spiderippools" => self.pools(),
            "/apis/spiderpool.spidernet.io/v2beta1/spiderreservedips" => 1,
            _ => return None,
        })
    }

    /// Object number `index` of the collection at `path`.
    pub(crate) fn object(self, path: &str, index: usize) -> String {
        match path.rsplit('/').next().unwrap_or_default() {
            "nodes" => node(index),
            "pods" => self.pod(index),
            "namespaces" => format!(
                r#"{{"metadata":{{"name":"team-{index}","uid":"ns-{index}","resourceVersion":"1","labels":{{"kubernetes.io/metadata.name":"team-{index}"}}}},"spec":{{"finalizers":["kubernetes"]}},"status":{{"phase":"Active"}}}}"#
            ),
            "network-attachment-definitions" => network(index),
            "spiderippools" => self.pool(index),
            "spiderreservedips" => {
                r#"{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderReservedIP","metadata":{"name":"routers","resourceVersion":"1"},"spec":{"ipVersion":4,"ips":["10.0.0.1-10.0.0.9"]}}"#.to_owned()
            }
            "sriovnetworknodestates" => node_state(index),
            other => unreachable!("no objects of {other}"),
        }
    }

    /// The first pods take the VFs of the full nodes; the others are ordinary.
    fn pod(self, index: usize) -> String {
        if index < self.gang_pods() {
            return rdma_pod(index, index * FULL, "team-1", "1");
        }
        let node = node_name(index % self.nodes);
        format!(
            r#"{{"metadata":{{"name":"web-{index}","namespace":"team-{team}","uid":"pod-{index:08}","resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app":"web","pod-template-hash":"5d4f8c7b9"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","uid":"rs-1","controller":true}}],"managedFields":{managed}}},"spec":{{"nodeName":"{node}","containers":[{{"name":"web","image":"registry.example/web:1.2.3","resources":{{"requests":{{"cpu":"500m","memory":"1Gi"}},"limits":{{"memory":"1Gi"}}}},"env":{env},"volumeMounts":[{{"name":"token","mountPath":"/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}}]}}],"volumes":[{{"name":"token","projected":{{"sources":[{{"serviceAccountToken":{{"path":"token"}}}}]}}}}],"tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}]}},"status":{{"phase":"Running","podIP":"10.244.0.1","conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#,
            team = index % 20,
            managed = managed_fields(),
            env = environment(6),
        )
    }

    /// Pools of a rail in units of nodes, tied to them by a label; every unit has addresses to spare.
    fn pool(self, index: usize) -> String {
        let (unit, rail) = (index / RAILS, index % RAILS);
        let held: Vec<String> = (0..POOL_UNIT)
            .map(|offset| unit * POOL_UNIT + offset)
            .filter(|node| node % FULL == 0 && *node < self.nodes)
            .map(|node| {
                let pod = node / FULL;
                format!(
                    r#"\"10.{rail}.{unit}.{}\":{{\"pod\":\"team-1/train-{pod}\",\"podUid\":\"gang-pod-{pod:06}\"}}"#,
                    10 + (node % POOL_UNIT),
                )
            })
            .collect();
        format!(
            r#"{{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool","metadata":{{"name":"{name}","resourceVersion":"1"}},"spec":{{"ipVersion":4,"subnet":"10.{rail}.{unit}.0/24","ips":["10.{rail}.{unit}.10-10.{rail}.{unit}.250"],"nodeAffinity":{{"matchLabels":{{"example.com/unit":"u{unit}"}}}}}},"status":{{"totalIPCount":241,"allocatedIPCount":{count},"allocatedIPs":"{{{held}}}"}}}}"#,
            name = pool_name(rail, unit),
            count = held.len(),
            held = held.join(","),
        )
    }
}

fn pool_name(rail: usize, unit: usize) -> String {
    format!("rail{rail}-u{unit}")
}

fn resource(rail: usize) -> String {
    format!("spidernet.io/ib_rail{rail}")
}

/// The resources of all rails, with commas between them.
pub(crate) fn resource_names() -> String {
    let names: Vec<String> = (0..RAILS).map(resource).collect();
    names.join(",")
}

fn resources(count: &str) -> String {
    let vfs: Vec<String> = (0..RAILS)
        .map(|rail| format!(r#""{}":"{count}""#, resource(rail)))
        .collect();
    vfs.join(",")
}

fn managed_fields() -> String {
    let fields: Vec<String> = (0..24)
        .map(|field| format!(r#""f:field-{field}":{{"f:inner":{{}}}}"#))
        .collect();
    format!(
        r#"[{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{{{}}}}}]"#,
        fields.join(",")
    )
}

fn environment(count: usize) -> String {
    let variables: Vec<String> = (0..count)
        .map(|index| {
            format!(
                r#"{{"name":"SETTING_{index}","value":"{}"}}"#,
                "v".repeat(20 + index % 30)
            )
        })
        .collect();
    format!("[{}]", variables.join(","))
}

fn node(index: usize) -> String {
    let images: Vec<String> = (0..20)
        .map(|image| {
            format!(
                r#"{{"names":["registry.example/image-{image}@sha256:{}"],"sizeBytes":123456789}}"#,
                "0".repeat(64)
            )
        })
        .collect();
    format!(
        r#"{{"metadata":{{"name":"{name}","uid":"node-{index}","resourceVersion":"1","labels":{{"kubernetes.io/hostname":"{name}","kubernetes.io/arch":"amd64","kubernetes.io/os":"linux","example.com/unit":"u{unit}","{leaf_group}":"lg-{group:04}","{spine}":"sp-{spine_number:02}"}},"annotations":{{"node.alpha.kubernetes.io/ttl":"0"}},"managedFields":{managed}}},"spec":{{"podCIDR":"10.244.0.0/24"}},"status":{{"allocatable":{{"cpu":"128","memory":"2113929216Ki","pods":"250","nvidia.com/gpu":"8",{vfs}}},"capacity":{{"cpu":"128","memory":"2113929216Ki","pods":"250","nvidia.com/gpu":"8",{vfs}}},"conditions":[{{"type":"Ready","status":"True","lastHeartbeatTime":"2026-01-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","reason":"KubeletReady","message":"kubelet is posting ready status"}}],"images":[{images}]}}}}"#,
        name = node_name(index),
        unit = index / POOL_UNIT,
        leaf_group = annotation::LEAF_GROUP,
        spine = annotation::SPINE,
        group = index / LEAF_GROUP,
        spine_number = index / (LEAF_GROUP * 16),
        managed = managed_fields(),
        vfs = resources("1"),
        images = images.join(","),
    )
}

fn node_state(index: usize) -> String {
    let wanted: Vec<String> = (0..RAILS)
        .map(|rail| format!(r#"{{"pciAddress":"0000:{rail}a:00.0","name":"ib{rail}","numVfs":1,"vfGroups":[{{"resourceName":"ib_rail{rail}","vfRange":"0-0"}}]}}"#))
        .collect();
    let found: Vec<String> = (0..RAILS)
        .map(|rail| format!(r#"{{"pciAddress":"0000:{rail}a:00.0","name":"ib{rail}","linkType":"IB","linkAdminState":"up","linkSpeed":"400000 Mb/s","mac":"00:00:10:49:fe:80:00:00:00:00:00:00:e8:eb:d3:{rail:02x}:{high:02x}:{low:02x}:ae:10","mtu":4092,"numVfs":1,"totalvfs":16,"Vfs":[{{"vfID":0,"guid":"e8:eb:d3:03:{rail:02x}:{high:02x}:{low:02x}:01","pciAddress":"0000:{rail}a:00.1","driver":"mlx5_core","name":"ib{rail}v0"}}]}}"#, high = index >> 8, low = index & 255))
        .collect();
    format!(
        r#"{{"apiVersion":"sriovnetwork.openshift.io/v1","kind":"SriovNetworkNodeState","metadata":{{"name":"{name}","namespace":"sriov-network-operator","resourceVersion":"1","annotations":{{"sriovnetwork.openshift.io/current-state":"Idle","sriovnetwork.openshift.io/desired-state":"Idle"}}}},"spec":{{"interfaces":[{wanted}]}},"status":{{"syncStatus":"Succeeded","system":{{"rdmaMode":"exclusive"}},"interfaces":[{found}]}}}}"#,
        name = node_name(index),
        wanted = wanted.join(","),
        found = found.join(","),
    )
}

fn network(rail: usize) -> String {
    format!(
        r#"{{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinition","metadata":{{"name":"rail{rail}","namespace":"rdma","resourceVersion":"1","annotations":{{"{profile}":"eight-rails","{position}":"{rail}","k8s.v1.cni.cncf.io/resourceName":"{resource}"}}}},"spec":{{"config":"{{\"cniVersion\":\"0.3.1\",\"name\":\"rail{rail}\",\"plugins\":[{{\"type\":\"ib-sriov\",\"link_state\":\"enable\",\"rdmaIsolation\":true,\"ipam\":{{\"type\":\"spiderpool\",\"default_ipv4_ippool\":[\"rail{rail}-*\"]}}}}]}}"}}}}"#,
        profile = annotation::PROFILE,
        position = annotation::RAIL,
        resource = resource(rail),
    )
}

/// The networks annotation of a pod with all rails, as text inside JSON.
fn networks() -> String {
    let networks: Vec<String> = (0..RAILS)
        .map(|rail| format!(r#"{{\"name\":\"rail{rail}\",\"namespace\":\"rdma\"}}"#))
        .collect();
    format!("[{}]", networks.join(","))
}

/// A pod that holds all rails of a node; two of them make a gang.
fn rdma_pod(index: usize, node: usize, namespace: &str, version: &str) -> String {
    format!(
        r#"{{"metadata":{{"name":"train-{index}","namespace":"{namespace}","uid":"gang-pod-{index:06}","resourceVersion":"{version}","labels":{{"{gang}":"gang-{number}"}},"annotations":{{"{size}":"2","{locality}":"preferred=leaf-group","k8s.v1.cni.cncf.io/networks":"{networks}"}},"managedFields":{managed}}},"spec":{{"nodeName":"{node}","containers":[{{"name":"trainer","image":"registry.example/trainer:1","resources":{{"requests":{{"cpu":"64","memory":"1Ti","nvidia.com/gpu":"8",{vfs}}},"limits":{{"nvidia.com/gpu":"8",{vfs}}}}}}}]}},"status":{{"phase":"Running"}}}}"#,
        gang = annotation::GANG,
        size = annotation::GANG_SIZE,
        locality = annotation::LOCALITY,
        number = index / 2,
        networks = networks(),
        managed = managed_fields(),
        node = node_name(node),
        vfs = resources("1"),
    )
}

/// A pod of the background that changes: what the API server tells of it when it is bound anew.
pub(crate) fn churned_pod(index: usize, node: usize, version: u64) -> String {
    rdma_pod(900_000 + index, node, "team-2", &version.to_string())
}

/// A pool's status as it changes when an address is taken.
pub(crate) fn churned_pool(size: Size, index: usize, version: u64) -> String {
    let at = format!(r#""resourceVersion":"{version}""#);
    size.pool(index).replacen(r#""resourceVersion":"1""#, &at, 1)
}

/// An 8-rail training pod as the webhook left it and the scheduler sends it, about 7.5 kB.
fn pending_pod(index: usize) -> String {
    format!(
        r#"{{"metadata":{{"name":"llm-{index}","namespace":"team-3","uid":"pending-{index:06}","resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"{gang}":"llm-{number}","app":"llm"}},"annotations":{{"{profile}":"eight-rails","{size}":"16","{locality}":"preferred=leaf-group","k8s.v1.cni.cncf.io/networks":"{networks}"}}}},"spec":{{"schedulerName":"pointsman-scheduler","restartPolicy":"Never","containers":[{{"name":"trainer","image":"registry.example/trainer:1","command":["torchrun"],"env":{env},"resources":{{"requests":{{"cpu":"64","memory":"1Ti","nvidia.com/gpu":"8",{vfs}}},"limits":{{"nvidia.com/gpu":"8",{vfs}}}}},"volumeMounts":[{{"name":"shm","mountPath":"/dev/shm"}}],"securityContext":{{"capabilities":{{"add":["IPC_LOCK"]}}}}}}],"volumes":[{{"name":"shm","emptyDir":{{"medium":"Memory"}}}}],"tolerations":[{{"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"}}]}},"status":{{"phase":"Pending"}}}}"#,
        gang = annotation::GANG,
        profile = annotation::PROFILE,
        size = annotation::GANG_SIZE,
        locality = annotation::LOCALITY,
        number = index / 16,
        networks = networks(),
        env = environment(60),
        vfs = resources("1"),
    )
}

/// What kube-scheduler posts to `filter` and `prioritize` for pod number `pod` with so many candidates.
pub(crate) fn extender_request(pod: usize, names: usize) -> Vec<u8> {
    let names: Vec<String> = (0..names)
        .map(|node| format!("\"{}\"", node_name(node)))
        .collect();
    format!(
        r#"{{"Pod":{},"Nodes":null,"NodeNames":[{}]}}"#,
        pending_pod(pod),
        names.join(",")
    )
    .into_bytes()
}

/// What kube-scheduler posts to `bind`.
pub(crate) fn bind_request(pod: usize, node: usize) -> Vec<u8> {
    format!(
        r#"{{"PodName":"llm-{pod}","PodNamespace":"team-3","PodUID":"pending-{pod:06}","Node":"{}"}}"#,
        node_name(node)
    )
    .into_bytes()
}

/// An AdmissionReview of a training pod with the one annotation, about 14 kB.
pub(crate) fn admission_review(index: usize) -> Vec<u8> {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"review-{index:06}","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"requestKind":{{"group":"","version":"v1","kind":"Pod"}},"requestResource":{{"group":"","version":"v1","resource":"pods"}},"name":"llm-{index}","namespace":"team-3","operation":"CREATE","userInfo":{{"username":"system:serviceaccount:kube-system:job-controller","groups":["system:serviceaccounts"]}},"object":{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"llm-{index}","namespace":"team-3","labels":{{"app":"llm"}},"annotations":{{"{profile}":"eight-rails"}},"managedFields":{managed}}},"spec":{{"schedulerName":"default-scheduler","restartPolicy":"Never","containers":[{{"name":"trainer","image":"registry.example/trainer:1","command":["torchrun"],"env":{env},"resources":{{"requests":{{"cpu":"64","memory":"1Ti","nvidia.com/gpu":"8"}},"limits":{{"nvidia.com/gpu":"8"}}}},"volumeMounts":[{{"name":"shm","mountPath":"/dev/shm"}}]}},{{"name":"metrics","image":"registry.example/metrics:1","resources":{{}},"env":{few}}}],"volumes":[{{"name":"shm","emptyDir":{{"medium":"Memory"}}}}]}},"status":{{}}}},"oldObject":null,"dryRun":false,"options":{{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}}}}"#,
        profile = annotation::PROFILE,
        managed = managed_fields(),
        env = environment(160),
        few = environment(10),
    )
    .into_bytes()
}
