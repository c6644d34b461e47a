//! Dynamic Resource Allocation: classes of devices, and what claims ask for.

use std::sync::Arc;

use super::State;
use crate::cluster::convert::device::DeviceClass;
use crate::cluster::index::Key;
use crate::cluster::objects::Kind;
use crate::decide::device::{DeviceClaimRef, DeviceRequest};

impl State {
    /// A DeviceClass is new, changed or gone.
    pub(super) fn put_device_class(&mut self, key: &Key, class: Option<DeviceClass>) {
        let name = key.1.as_str().into();
        let maps = if let Some(class) = class {
            let brings = Arc::new(class.brings);
            self.snapshot.device_classes.insert_mut(name, brings);
            class.maps
        } else {
            self.snapshot.device_classes.remove_mut(&name);
            None
        };
        self.count_device_class(key, maps);
    }

    /// A claim or a template asks for this, or does not matter (any more).
    pub(super) fn put_device_claim(&mut self, at: DeviceClaimRef, asked: Option<Vec<DeviceRequest>>) {
        match asked {
            Some(asked) => self.snapshot.device_claims.insert_mut(at, Arc::new(asked)),
            None => drop(self.snapshot.device_claims.remove_mut(&at)),
        }
    }

    /// The keys of all objects of such a kind that are kept.
    pub(super) fn keys_of_devices(&self, kind: Kind) -> Vec<Key> {
        if kind == Kind::DeviceClass {
            let names = self.snapshot.device_classes.keys();
            return names.map(|name| (String::new(), name.to_string())).collect();
        }
        let claims = self.snapshot.device_claims.keys();
        claims
            .filter_map(|at| match (kind, at) {
                (Kind::DeviceClaim, DeviceClaimRef::Claim(namespace, name))
                | (Kind::DeviceClaimTemplate, DeviceClaimRef::Template(namespace, name)) => {
                    Some((namespace.to_string(), name.to_string()))
                }
                _ => None,
            })
            .collect()
    }
}

/// The place of a claim, or of a template, among what pods refer to.
pub(super) fn claim_ref(kind: Kind, key: &Key) -> DeviceClaimRef {
    let (namespace, name) = (key.0.as_str().into(), key.1.as_str().into());
    match kind {
        Kind::DeviceClaimTemplate => DeviceClaimRef::Template(namespace, name),
        _ => DeviceClaimRef::Claim(namespace, name),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::cluster::index::Index;
    use crate::decide::settings::Settings;
    use serde_json::{Value, json};

    fn object(kind: &str, name: &str, spec: &Value) -> Value {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": kind,
            "metadata": {"name": name, "namespace": (kind != "DeviceClass").then_some("t")}, "spec": spec})
    }

    #[test]
    fn classes_and_claims_come_change_and_go() {
        let index = Index::new(Arc::new(Settings::default()));
        let brings = || {
            let snapshot = index.published().load_full();
            let at = DeviceClaimRef::Template("t".into(), "nic".into());
            let asked = snapshot.device_claims.get(&at)?;
            Some(asked[0].brings(&snapshot))
        };
        let devices =
            json!({"devices": {"requests": [{"name": "vf", "exactly": {"deviceClassName": "rail0"}}]}});
        assert_eq!(brings(), None);
        index
            .apply(object("ResourceClaimTemplate", "nic", &json!({"spec": devices})))
            .unwrap();
        assert!(brings().unwrap().unknown, "its class is not there");
        for resource in ["x.io/a", "x.io/b"] {
            let class = object("DeviceClass", "rail0", &json!({"extendedResourceName": resource}));
            index.apply(class).unwrap();
            assert_eq!(brings().unwrap().surely, BTreeSet::from([resource.into()]));
        }
        let broken = object("DeviceClass", "rail0", &json!({"extendedResourceName": 7}));
        let problems = index.apply(broken).unwrap_err().to_string();
        assert!(
            problems.starts_with("DeviceClass rail0, spec.extendedResourceName"),
            "{problems}"
        );
        assert!(brings().unwrap().unknown, "a broken class says nothing");
        assert_eq!(index.unreadable_of(Kind::DeviceClass), 1);

        // Claims and templates of one name are two things, and a fresh list of the one says nothing of the other.
        index.apply(object("ResourceClaim", "nic", &devices)).unwrap();
        let kept = || index.published().load().device_claims.keys().count();
        assert_eq!(kept(), 2);
        index.retain(Kind::DeviceClaim, &BTreeSet::new());
        assert_eq!(kept(), 1);
        index.retain(Kind::DeviceClass, &BTreeSet::new());
        assert!(brings().unwrap().unknown);
        index.remove(Kind::DeviceClaimTemplate, &("t".to_owned(), "nic".to_owned()));
        assert_eq!(brings(), None);
    }
}
