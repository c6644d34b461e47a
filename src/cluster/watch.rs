//! Watches: streams of events into the index. A watch that breaks is started again with growing pauses; an object
//! that cannot be read is said and kept as broken, and never stops the stream.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{TryStreamExt as _, pin_mut};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::fabric;
use super::index::{Index, Key, Pods};
use super::list;
use super::objects::{JobObject, Kind, NamespaceObject, NodeObject, Object, PodObject};
use crate::decide::annotation;
use crate::decide::names::NamespaceName;
use crate::decide::problem::chain;

/// How long to wait before asking again for a kind the cluster does not have. Somebody may install it at any
/// time, and then pods must not wait long; asking costs one small request.
const ABSENT_KIND_RETRY: Duration = Duration::from_secs(5);

/// How long to wait before a broken watch is started again, at first and at most. kube's own pauses grow to 30 s, and as
/// long as pods are not watched nothing is decided: a cluster whose API server is back must not wait for that.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The pauses between tries to start a broken watch again.
struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What a watch reports of itself.
pub trait Progress: Send + Sync + 'static {
    /// The list is complete: from now on the index knows all objects of the kind.
    fn listed(&self, kind: Kind);
    /// The watch broke, and is started again.
    fn broke(&self, kind: Kind);
    /// How many objects of the kind cannot be read.
    fn unreadable(&self, kind: Kind, objects: usize);
}

/// The kinds that decide where a pod can go.
pub const FOR_PLACEMENT: &[Kind] = &[
    Kind::Endpoint,
    Kind::Subnet,
    Kind::DeviceClass,
    Kind::PodGroup,
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::Job,
    Kind::Attachment,
    Kind::MultusConfig,
    Kind::Pool,
    Kind::ReservedIp,
    Kind::NodeState,
    Kind::Lease,
];

/// The kinds admission goes by: of pods those of gangs alone (see [`Pods`]), of claims for devices those that stand for
/// themselves, and nothing else that there is one of for each pod. What nodes offer, pools have left, and how old the fabric data is, is for warnings only.
pub const FOR_ADMISSION: &[Kind] = &[
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::Job,
    Kind::Attachment,
    Kind::MultusConfig,
    Kind::Pool,
    Kind::ReservedIp,
    Kind::NodeState,
    Kind::Lease,
    Kind::DeviceClass,
    Kind::DeviceClaim,
    Kind::DeviceClaimTemplate,
];

/// Watches one kind into the index until `stop`; of Leases, the fabric import's in our `own` namespace.
pub async fn watch(
    client: Client,
    kind: Kind,
    index: Arc<Index>,
    own: NamespaceName,
    progress: Arc<dyn Progress>,
    stop: CancellationToken,
) {
    let watching = async {
        match kind {
            Kind::Pod => {
                let wrap = |pod: PodObject| Object::Pod(Box::new(pod));
                let which = match index.pods() {
                    Pods::All => watcher::Config::default(),
                    Pods::OfGangs => watcher::Config::default().labels(annotation::GANG),
                };
                follow_some(Api::all(client), which, kind, &index, &*progress, wrap).await;
            }
            Kind::Node => {
                let wrap = |node: NodeObject| Object::Node(Box::new(node));
                follow(Api::all(client), kind, &index, &*progress, wrap).await;
            }
            Kind::Namespace => {
                let wrap = |namespace: NamespaceObject| Object::Namespace(Box::new(namespace));
                follow(Api::all(client), kind, &index, &*progress, wrap).await;
            }
            Kind::Job => {
                let wrap = |job: JobObject| Object::Job(Box::new(job));
                follow(Api::all(client), kind, &index, &*progress, wrap).await;
            }
            Kind::Lease => {
                let api = Api::<DynamicObject>::namespaced_with(client, own.as_str(), &kind.api_resource());
                let only = watcher::Config::default().fields(&format!("metadata.name={}", fabric::LEASE));
                let wrap = |lease| Object::Custom(kind, Box::new(lease));
                follow_some(api, only, kind, &index, &*progress, wrap).await;
            }
            custom => {
                let api = Api::<DynamicObject>::all_with(client, &custom.api_resource());
                follow(api, kind, &index, &*progress, |o| {
                    Object::Custom(custom, Box::new(o))
                })
                .await;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

async fn follow<K>(
    api: Api<K>,
    kind: Kind,
    index: &Index,
    progress: &dyn Progress,
    wrap: impl Fn(K) -> Object,
) where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    follow_some(api, watcher::Config::default(), kind, index, progress, wrap).await;
}

async fn follow_some<K>(
    api: Api<K>,
    which: watcher::Config,
    kind: Kind,
    index: &Index,
    progress: &dyn Progress,
    wrap: impl Fn(K) -> Object,
) where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let stream = watcher(api, which.page_size(list::PAGE)).backoff(Pauses::default());
    pin_mut!(stream);
    let mut listed: BTreeSet<Key> = BTreeSet::new();
    let mut absent_said = false;
    loop {
        match stream.try_next().await {
            Ok(Some(Event::Init)) => listed.clear(),
            Ok(Some(Event::InitApply(object))) => {
                let object = wrap(object);
                listed.insert(super::index::key(&object));
                take(index, object, progress);
            }
            Ok(Some(Event::InitDone)) => {
                index.retain(kind, &std::mem::take(&mut listed));
                info!(kind = kind.name(), "watch has listed");
                absent_said = false;
                progress.listed(kind);
            }
            Ok(Some(Event::Apply(object))) => take(index, wrap(object), progress),
            Ok(Some(Event::Delete(object))) => {
                index.remove(kind, &super::index::key(&wrap(object)));
                progress.unreadable(kind, index.unreadable_of(kind));
            }
            Ok(None) => return,
            Err(error) if is_absent(&error) => {
                index.retain(kind, &BTreeSet::new());
                if !absent_said {
                    warn!(
                        kind = kind.name(),
                        "the cluster does not have this kind; going on as if there were no such objects, and asking again"
                    );
                    absent_said = true;
                }
                progress.listed(kind);
                tokio::time::sleep(ABSENT_KIND_RETRY).await;
            }
            Err(error) => {
                warn!(kind = kind.name(), error = %chain(&error), "watch broke; starting it again");
                progress.broke(kind);
            }
        }
    }
}

fn take(index: &Index, object: Object, progress: &dyn Progress) {
    let kind = object.kind();
    let metadata = object.metadata();
    let (namespace, name) = (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    );
    if let Err(problems) = index.put(object) {
        for problem in &problems {
            warn!(kind = kind.name(), namespace, name, %problem, "object cannot be read");
        }
    }
    progress.unreadable(kind, index.unreadable_of(kind));
}

/// The kind is not installed: the list is answered with 404, which says nothing else about a collection.
fn is_absent(error: &watcher::Error) -> bool {
    let source = match error {
        watcher::Error::InitialListFailed(source)
        | watcher::Error::WatchStartFailed(source)
        | watcher::Error::WatchFailed(source) => source,
        watcher::Error::WatchError(_) | watcher::Error::NoResourceVersion => return false,
    };
    list::is_absent(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_begin_anew_once_something_came() {
        let mut pauses = Pauses::default();
        let millis: Vec<u128> = pauses.by_ref().take(6).map(|pause| pause.as_millis()).collect();
        assert_eq!(millis, [500, 1000, 2000, 4000, 4000, 4000]);
        pauses.reset();
        assert_eq!(pauses.next(), Some(FIRST_PAUSE));
    }
}
