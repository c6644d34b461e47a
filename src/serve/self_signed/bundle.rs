//! What to change in a webhook configuration so that the API server trusts our certificate. Pure.

use json_patch::{AddOperation, Patch, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::ByteString;
use serde_json::Value;

/// The part of a webhook configuration that matters here; the mutating and the validating kind have it alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// `metadata.resourceVersion`: the patch is for this state of the object only.
    pub resource_version: String,
    /// Name and caBundle of each webhook, in order.
    pub webhooks: Vec<(String, Option<Vec<u8>>)>,
}

/// The patch that gives every webhook `bundle`; none when all have it.
#[must_use]
pub fn patch(configuration: &Configuration, bundle: &[u8]) -> Option<Patch> {
    let mut operations = Vec::new();
    for (index, (name, found)) in configuration.webhooks.iter().enumerate() {
        if found.as_deref() == Some(bundle) {
            continue;
        }
        let index = index.to_string();
        // The index is only right as long as nobody edits the list.
        operations.push(test(["webhooks", &index, "name"], Value::from(name.as_str())));
        operations.push(PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["webhooks", &index, "clientConfig", "caBundle"]),
            value: serde_json::to_value(ByteString(bundle.to_vec())).ok()?,
        }));
    }
    if operations.is_empty() {
        return None;
    }
    let version = Value::from(configuration.resource_version.as_str());
    operations.insert(0, test(["metadata", "resourceVersion"], version));
    Some(Patch(operations))
}

fn test<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: PointerBuf::from_tokens(path),
        value,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configuration(bundles: [Option<&[u8]>; 3]) -> Configuration {
        let names = ["a.example", "b.example", "c.example"];
        Configuration {
            resource_version: "17".to_owned(),
            webhooks: names
                .into_iter()
                .zip(bundles)
                .map(|(name, bundle)| (name.to_owned(), bundle.map(<[u8]>::to_vec)))
                .collect(),
        }
    }

    #[test]
    fn nothing_is_written_when_every_webhook_has_the_bundle() {
        assert_eq!(patch(&configuration([Some(b"new"); 3]), b"new"), None);
    }

    #[test]
    fn only_webhooks_that_differ_are_patched_and_only_in_the_state_that_was_read() {
        let patch = patch(&configuration([Some(b"old"), Some(b"new"), None]), b"new").unwrap();
        assert_eq!(
            serde_json::to_value(patch).unwrap(),
            json!([
                {"op": "test", "path": "/metadata/resourceVersion", "value": "17"},
                {"op": "test", "path": "/webhooks/0/name", "value": "a.example"},
                {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "bmV3"},
                {"op": "test", "path": "/webhooks/2/name", "value": "c.example"},
                {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": "bmV3"},
            ])
        );
    }
}
