//! Spiderpool's IPAM, asked on the agent's socket as the CNI plugin on a node would ask it.

use std::path::Path;

use axum::http::{Method, Request, StatusCode};
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::net::UnixStream;

use super::http;

/// One interface of one pod, as a container runtime names it to the CNI plugin.
pub(crate) struct Attachment<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) interface: &'a str,
}

impl Attachment<'_> {
    /// CNI ADD: an address from the network's own pools, without the prefix length, or what the agent said.
    pub(crate) async fn add(&self, socket: &Path, pools: &[String]) -> Result<String, String> {
        let mut addresses = self.add_both(socket, pools, &[]).await?;
        Ok(addresses.remove(0))
    }

    /// CNI ADD: the interface's addresses of both families, at least one, without their prefix lengths.
    pub(crate) async fn add_both(
        &self,
        socket: &Path,
        v4: &[String],
        v6: &[String],
    ) -> Result<Vec<String>, String> {
        let mut request = self.request();
        request["defaultIPV4IPPool"] = json!(v4);
        request["defaultIPV6IPPool"] = json!(v6);
        request["cleanGateway"] = json!(true);
        let answer = call(socket, Method::POST, &request).await?;
        // The answer may name other interfaces of the pod, too; without one for its own the plugin fails.
        let ips = answer["ips"].as_array().cloned().unwrap_or_default();
        let own: Vec<String> = ips
            .iter()
            .filter(|ip| ip["nic"] == self.interface)
            .map(|ip| {
                ip["address"]
                    .as_str()
                    .unwrap()
                    .split('/')
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        if own.is_empty() {
            Err(format!("no address in {answer}"))
        } else {
            Ok(own)
        }
    }

    /// CNI DEL; the agent gives back all addresses of the pod.
    pub(crate) async fn delete(&self, socket: &Path) -> Result<(), String> {
        call(socket, Method::DELETE, &self.request()).await.map(|_| ())
    }

    fn request(&self) -> Value {
        json!({
            "containerID": self.uid,
            "ifName": self.interface,
            "netNamespace": format!("/var/run/netns/{}", self.uid),
            "podNamespace": self.namespace,
            "podName": self.pod,
            "podUID": self.uid,
        })
    }
}

async fn call(socket: &Path, method: Method, body: &Value) -> Result<Value, String> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri("/v1/ipam/ip")
        .header("Host", "spiderpool-agent")
        .header("Content-Type", "application/json")
        .body(Bytes::from(body.to_string()))
        .unwrap();
    let answer = http::send(stream, request).await?;
    if answer.status() == StatusCode::OK {
        Ok(serde_json::from_slice(answer.body()).unwrap_or(Value::Null))
    } else {
        Err(String::from_utf8_lossy(answer.body()).into_owned())
    }
}
