//! `docs/check.md`, made from the catalog.

use super::catalog::CHECKS;

/// `docs/check.md`: every row with its meaning and what to do.
#[must_use]
pub fn document() -> String {
    let mut parts = vec![PREFACE.to_owned()];
    let mut area = "";
    for check in CHECKS {
        let (of, _) = check.id.split_once('.').unwrap_or((check.id, ""));
        if of != area {
            area = of;
            parts.push(format!("\n## {}\n", title(of)));
        }
        parts.push(format!(
            "\n### `{}`\n\n{}\n\n- **When it is no:** {}\n- **What helps:** {}\n",
            check.id, check.holds, check.otherwise, check.remedy
        ));
    }
    parts.concat()
}

fn title(area: &str) -> &str {
    match area {
        "crds" => "Kinds",
        "operators" => "What runs",
        "sriov" => "VFs, PFs and RDMA mode",
        "networks" => "Networks",
        "pools" => "IP pools",
        "fabric" => "Fabric",
        "webhook" => "Admission",
        "scheduler" => "Scheduler",
        "rbac" => "Rights",
        "pod" => "One pod (`--pod`)",
        other => other,
    }
}

const PREFACE: &str = "\
# What `pointsman check` asks

Written by `make bless` from `src/check/catalog.rs`; a test holds the two equal.

`pointsman check` reads the cluster of your kubeconfig, or saved YAML with `--from`, and answers each row with **yes**,
**no** or **unknown**, the evidence, and a remedy to paste. It changes nothing. Exit code 0: no row says no. 1: one does.
2: wrong usage or input, or no answer from the API server. With `--node NAME` the rows are about that node; with
`--pod NS/NAME` those about a pod take their place. What happens on many nodes is told by number and a few examples.

To look at a cluster you cannot reach, have somebody save it. A kind that is not in the files is unknown, not absent:

```console
kubectl get -A -o yaml nodes,pods,namespaces,configmaps,services,endpointslices,leases,deployments,daemonsets \\
  > cluster.yaml
kubectl get -A -o yaml network-attachment-definitions,spidermultusconfigs,spiderippools,spiderreservedips \\
  > networks.yaml
kubectl get -A -o yaml spiderendpoints,sriovnetworknodestates,sriovnetworknodepolicies,sriovnetworkpoolconfigs \\
  > sriov.yaml
kubectl get -A -o yaml crds,mutatingwebhookconfigurations,clusterroles,clusterrolebindings,roles,rolebindings \\
  > admin.yaml
pointsman check --from cluster.yaml networks.yaml sriov.yaml admin.yaml
```

A `KubeSchedulerConfiguration` that is in no ConfigMap is given with `--scheduler-config`, or among the files.
";
