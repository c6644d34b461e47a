//! The objects of the cluster as values, for whoever works without an API server.

use crate::world::Size;

/// All objects but ordinary pods, of which a decision sees nothing, as they would be in a file.
pub(crate) fn that_matter(size: Size) -> impl Iterator<Item = serde_json::Value> {
    let few = Size {
        pods: size.gang_pods(),
        ..size
    };
    let core = [
        ("/api/v1/nodes", "Node"),
        ("/api/v1/pods", "Pod"),
        ("/api/v1/namespaces", "Namespace"),
    ];
    let custom = [
        "/apis/sriovnetwork.openshift.io/v1/sriovnetworknodestates",
        "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
        "/apis/spiderpool.spidernet.io/v2beta1/spiderippools",
        "/apis/spiderpool.spidernet.io/v2beta1/spiderreservedips",
    ];
    let paths = core.into_iter().chain(custom.into_iter().map(|path| (path, "")));
    paths.flat_map(move |(path, kind)| {
        (0..few.count(path).unwrap_or_default()).map(move |index| {
            let mut object: serde_json::Value = serde_json::from_str(&few.object(path, index)).expect("JSON");
            if !kind.is_empty() {
                object["apiVersion"] = "v1".into();
                object["kind"] = kind.into();
            }
            object
        })
    })
}
