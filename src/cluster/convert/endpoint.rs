//! Spiderpool's SpiderEndpoint: the addresses a pod was given, by the pod's name.

use kube::core::DynamicObject;
use serde::Deserialize;

use crate::decide::address::Family;
use crate::decide::endpoint::{Endpoint, Kept};
use crate::decide::problem::Problem;

/// The addresses that the pod of this name will get again; none where it belongs to no StatefulSet, because those of all
/// others go back to their pools.
///
/// # Errors
/// When its status cannot be read; nothing is known to be kept then.
pub fn endpoint(object: &DynamicObject) -> Result<Option<Endpoint>, Problem> {
    let metadata = &object.metadata;
    let label = format!(
        "SpiderEndpoint {}/{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default()
    );
    let status: StatusObject = super::read(&label, "status", object.data.get("status"))?;
    if status.owner_controller_type.as_deref() != Some("StatefulSet") {
        return Ok(None);
    }
    let given = status.current.unwrap_or_default().ips.unwrap_or_default();
    let addresses = given.into_iter().flat_map(|ip| {
        let interface = ip.interface;
        let pools = [(Family::V4, ip.ipv4_pool), (Family::V6, ip.ipv6_pool)];
        pools.into_iter().filter_map(move |(family, pool)| {
            let pool = pool.filter(|pool| !pool.is_empty())?;
            Some(Kept {
                interface: interface.as_str().into(),
                family,
                pool: pool.into(),
            })
        })
    });
    Ok(Some(Endpoint {
        addresses: addresses.collect(),
    }))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StatusObject {
    current: Option<CurrentObject>,
    owner_controller_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CurrentObject {
    ips: Option<Vec<IpObject>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct IpObject {
    interface: String,
    ipv4_pool: Option<String>,
    ipv6_pool: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(status: &Value) -> Result<Option<Endpoint>, Problem> {
        let object = json!({"metadata": {"name": "web-0", "namespace": "default"}, "status": status});
        endpoint(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_stateful_pods_addresses_are_known_by_interface_and_family() {
        let ips = json!([{"interface": "net1", "ipv4": "10.0.0.1/24", "ipv4Pool": "a", "ipv6Pool": "b"}, {"interface": "net2"}]);
        let found = read(&json!({"ownerControllerType": "StatefulSet", "current": {"uid": "u", "ips": ips}}));
        let addresses = found.unwrap().unwrap().addresses;
        let pairs: Vec<_> = addresses
            .iter()
            .map(|kept| (kept.interface.as_str(), kept.pool.as_str()))
            .collect();
        assert_eq!(pairs, [("net1", "a"), ("net1", "b")]);
    }

    #[test]
    fn nobody_else_keeps_any() {
        let ips = json!([{"interface": "net1", "ipv4Pool": "a"}]);
        assert_eq!(
            read(&json!({"ownerControllerType": "Deployment", "current": {"ips": ips}})),
            Ok(None)
        );
        assert_eq!(read(&Value::Null), Ok(None));
        assert!(read(&json!({"ownerControllerType": "StatefulSet", "current": "none"})).is_err());
    }
}
