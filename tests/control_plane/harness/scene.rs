//! A test's own corner of the cluster: a namespace of one stack, a kubelet for its pods, and a report of what happened
//! there if the test fails.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, At, EVENTS, JOBS, NAMESPACES, PODS, SERVICE_ACCOUNTS};
use super::kubelet::Kubelet;
use super::plane::ControlPlane;
use super::run_folder::{tail, tail_about};
use super::stack::Stack;
use super::wait::{eventually, expect};

pub(crate) struct Scene<'a> {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) stack: &'a Stack,
    pub(crate) namespace: String,
    pub(crate) kubelet: Kubelet,
}

impl<'a> Scene<'a> {
    /// Makes the namespace, and waits until pods can be created in it.
    pub(crate) async fn open(stack: &'a Stack, namespace: &str) -> Self {
        Self::open_slow(stack, namespace, Duration::ZERO).await
    }

    /// The same with nodes that take so long before they ask for a pod's addresses.
    pub(crate) async fn open_slow(stack: &'a Stack, namespace: &str, delay: Duration) -> Self {
        Self::make_namespace(stack, namespace).await;
        Self::with(stack, namespace, Kubelet::start(stack.plane(), namespace, delay))
    }

    /// The same with nodes that ask again whatever the IPAM says.
    pub(crate) async fn open_patient(stack: &'a Stack, namespace: &str, delay: Duration) -> Self {
        Self::make_namespace(stack, namespace).await;
        Self::with(
            stack,
            namespace,
            Kubelet::start_patient(stack.plane(), namespace, delay),
        )
    }

    fn with(stack: &'a Stack, namespace: &str, kubelet: Kubelet) -> Self {
        Self {
            plane: stack.plane(),
            stack,
            namespace: namespace.to_owned(),
            kubelet,
        }
    }

    async fn make_namespace(stack: &Stack, namespace: &str) {
        let plane = stack.plane();
        let labels = json!({"pointsman-test/stack": stack.name()});
        plane
            .api
            .create(
                &NAMESPACES.all(),
                json!({"metadata": {"name": namespace, "labels": labels}}),
            )
            .await
            .unwrap();
        let account = SERVICE_ACCOUNTS.within(namespace).named("default");
        eventually(
            "the namespace has a service account",
            Duration::from_secs(30),
            async || plane.api.get(&account).await.map_err(|refused| refused.message),
        )
        .await;
    }

    pub(crate) fn api(&self) -> &Api {
        &self.plane.api
    }

    pub(crate) fn pods_at(&self) -> At {
        PODS.within(&self.namespace)
    }

    pub(crate) async fn pods(&self) -> Vec<Value> {
        self.api().list(&self.pods_at()).await
    }

    pub(crate) async fn pod(&self, name: &str) -> Value {
        self.api().get(&self.pods_at().named(name)).await.unwrap()
    }

    /// The webhook learns of pools by a watch: to a pod that comes right after them it may say that they do not exist.
    pub(crate) async fn create_pod(&self, pod: Value) -> Value {
        let admitted = async || match self.api().create(&self.pods_at(), pod.clone()).await {
            Err(refused) if refused.message.contains("found no SpiderIPPool") => Err(refused.message),
            answer => Ok(answer.unwrap()),
        };
        eventually("the webhook knows the pools", Duration::from_secs(10), admitted).await
    }

    /// Waits until so many pods are bound.
    pub(crate) async fn bound(&self, pods: usize, limit: Duration) {
        let what = format!("{pods} pods are bound in {}", self.namespace);
        eventually(&what, limit, async || {
            let bound = self.pods().await.iter().filter(|pod| is_bound(pod)).count();
            expect(bound == pods, || format!("{bound} bound"))
        })
        .await;
    }

    /// Waits until this pod is bound, and returns it.
    pub(crate) async fn sees_bound(&self, name: &str, limit: Duration) -> Value {
        eventually(&format!("{name} is bound"), limit, async || {
            let pod = self.pod(name).await;
            if is_bound(&pod) {
                Ok(pod)
            } else {
                Err(pod["status"].to_string())
            }
        })
        .await
    }

    /// Waits until an event about a pod contains this text.
    pub(crate) async fn sees_event(&self, pod: &str, text: &str, limit: Duration) {
        eventually(&format!("an event of {pod} says {text:?}"), limit, async || {
            let events = self.events_of(pod).await;
            expect(events.iter().any(|event| event.contains(text)), || {
                format!("{events:?}")
            })
        })
        .await;
    }

    /// The texts of all events about a pod: what `kubectl describe` shows below it.
    pub(crate) async fn events_of(&self, pod: &str) -> Vec<String> {
        let events = self.api().list(&EVENTS.within(&self.namespace)).await;
        let about = events
            .iter()
            .filter(|event| event["involvedObject"]["name"] == pod);
        about
            .filter_map(|event| event["message"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Deletes all pods, and waits until they and their addresses are gone: the nodes are free for what comes next.
    pub(crate) async fn close(&self) {
        let jobs = JOBS.within(&self.namespace);
        for job in self.api().list(&jobs).await {
            self.api()
                .delete(&jobs.named(job["metadata"]["name"].as_str().unwrap()))
                .await
                .unwrap();
        }
        for pod in self.pods().await {
            // The garbage collector may be faster.
            let _ = self
                .api()
                .delete(&self.pods_at().named(pod["metadata"]["name"].as_str().unwrap()))
                .await;
        }
        eventually("the pods are gone", Duration::from_secs(30), async || {
            let left = self.pods().await.len();
            expect(left == 0, || format!("{left} pods"))
        })
        .await;
    }

    async fn report(&self) -> String {
        let mut report = vec![format!("===== what happened in {} =====", self.namespace)];
        for pod in self.pods().await {
            let name = pod["metadata"]["name"].as_str().unwrap();
            report.push(format!(
                "--- {name}: node {}, {}",
                pod["spec"]["nodeName"], pod["status"]["conditions"]
            ));
            report.extend(self.events_of(name).await);
        }
        report.extend(
            self.kubelet
                .sandboxes()
                .values()
                .map(|sandbox| format!("--- {sandbox:?}")),
        );
        for log in self.stack.logs() {
            let (end, ours) = (tail(&log, 10), tail_about(&log, &self.namespace, 40));
            let log = log.display();
            report.push(format!(
                "===== of {log}, about this namespace =====\n{ours}\n===== and its end =====\n{end}"
            ));
        }
        report.join("\n")
    }
}

/// Whether a pod is bound to a node.
pub(crate) fn is_bound(pod: &Value) -> bool {
    pod["spec"]["nodeName"].is_string()
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        // A runtime cannot block inside of itself; a thread of its own can wait for the report.
        let report = std::thread::scope(|scope| scope.spawn(|| super::run(self.report())).join());
        eprintln!(
            "{}",
            report.unwrap_or_else(|_| "the cluster did not answer".to_owned())
        );
    }
}
