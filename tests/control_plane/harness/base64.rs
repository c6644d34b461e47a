//! Standard base64: the form of bytes in Kubernetes' JSON.

use k8s_openapi::ByteString;
use serde_json::Value;

pub(crate) fn encode(bytes: &[u8]) -> String {
    let encoded = serde_json::to_value(ByteString(bytes.to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    serde_json::from_value::<ByteString>(Value::from(text)).unwrap().0
}
