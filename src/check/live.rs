//! Facts from a live cluster: each kind is listed once, page by page, and what cannot be read is kept as unknown.

use std::collections::BTreeSet;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use strum::IntoEnumIterator as _;

use super::facts::{Facts, Listing, Review};
use super::gather::{Gathering, Missing, Question, is_wanted};
use super::rbac::Permission;
use super::source::{Reach, Source};
use super::trial;
use crate::cluster::list;
use crate::decide::problem::chain;

/// Why nothing can be said of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The API server does not answer.
    #[error("the API server does not answer: {}", chain(.0))]
    Unreachable(#[source] Box<kube::Error>),
    /// What is asked about is not there.
    #[error(transparent)]
    Missing(#[from] Missing),
}

/// Reads the cluster.
///
/// # Errors
/// When the API server does not answer at all, or what is asked about is not there. A kind that cannot be read is no
/// error, but unknown.
pub async fn from_cluster(client: &Client, question: Question) -> Result<Facts, LiveError> {
    // Else every row would be unknown, for one reason.
    client
        .apiserver_version()
        .await
        .map_err(|error| LiveError::Unreachable(Box::new(error)))?;
    let spiderpool = question
        .configuration
        .decisions
        .spiderpool_namespace
        .as_str()
        .to_owned();
    let ours = question.namespace.clone();
    let mut gathering = Gathering::new(question);
    for source in Source::iter() {
        if !is_wanted(source, gathering.pod().is_some()) {
            // The kind itself is a prerequisite, whether or not its objects are looked at.
            let listing = exists(client, source).await;
            gathering.listed(source, listing);
            continue;
        }
        let listing = match source.reach() {
            Reach::Cluster => list(&api(client, source, None), source, &mut gathering).await,
            Reach::Ours => list(&api(client, source, Some(&ours)), source, &mut gathering).await,
            Reach::OursAndSystem => {
                let namespaces = BTreeSet::from([ours.as_str(), "kube-system", spiderpool.as_str()]);
                let mut worst = Listing::Complete;
                for namespace in namespaces {
                    let listing = list(&api(client, source, Some(namespace)), source, &mut gathering).await;
                    if listing != Listing::Complete {
                        worst = listing;
                    }
                }
                worst
            }
            Reach::Names(names) => get(&api(client, source, None), names, source, &mut gathering).await,
            Reach::OfPod => match gathering.pod().cloned() {
                Some(pod) => {
                    let api = api(client, source, Some(pod.namespace.as_str()));
                    get(&api, &[pod.name.as_str()], source, &mut gathering).await
                }
                None => Listing::Absent,
            },
        };
        gathering.listed(source, listing);
    }
    let reviews = review(client, &ours).await;
    gathering.facts().reviews = Some(reviews);
    let mut facts = gathering.finish()?;
    if facts.pod.is_none() {
        facts.trial = Some(trial::send(client, &facts).await);
    }
    Ok(facts)
}

fn api(client: &Client, source: Source, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version, plural) = source.api();
    let resource = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        kind: source.kind().to_owned(),
        plural: plural.to_owned(),
    };
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

async fn list(api: &Api<DynamicObject>, source: Source, gathering: &mut Gathering) -> Listing {
    match list::each(api, |object| take(source, object, gathering)).await {
        Ok(()) => Listing::Complete,
        Err(error) => failed(&error),
    }
}

async fn get(api: &Api<DynamicObject>, names: &[&str], source: Source, gathering: &mut Gathering) -> Listing {
    for name in names {
        match api.get_opt(name).await {
            Ok(Some(object)) => take(source, object, gathering),
            Ok(None) => {}
            Err(error) => return failed(&error),
        }
    }
    Listing::Complete
}

/// Whether the cluster has the kind; asks for one object.
async fn exists(client: &Client, source: Source) -> Listing {
    let params = ListParams::default().limit(1);
    match api(client, source, None).list(&params).await {
        Ok(_) => Listing::Complete,
        Err(error) => failed(&error),
    }
}

fn take(source: Source, object: DynamicObject, gathering: &mut Gathering) {
    // What has just been decoded from JSON encodes to it again.
    if let Ok(json) = serde_json::to_value(object) {
        gathering.take(source, json);
    }
}

fn failed(error: &kube::Error) -> Listing {
    match error {
        absent if list::is_absent(absent) => Listing::Absent,
        kube::Error::Api(status) if status.code == 403 => Listing::Unknown("you may not list it".to_owned()),
        other => Listing::Unknown(chain(other)),
    }
}

/// What the API server says of the caller's rights to list what is read.
async fn review(client: &Client, ours: &str) -> Vec<(Permission, Review)> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut reviews = Vec::new();
    for source in Source::iter() {
        let (group, _, plural) = source.api();
        let (verb, namespace) = match source.reach() {
            Reach::Names(_) | Reach::OfPod => ("get", None),
            Reach::Cluster => ("list", None),
            Reach::Ours | Reach::OursAndSystem => ("list", Some(ours.to_owned())),
        };
        let permission = Permission {
            namespace,
            ..Permission::everywhere(verb, group, plural)
        };
        let review = SelfSubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(permission.group.to_owned()),
                    resource: Some(permission.resource.to_owned()),
                    verb: Some(permission.verb.to_owned()),
                    namespace: permission.namespace.clone(),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            status: None,
        };
        let answer = match api.create(&PostParams::default(), &review).await {
            Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Review::Allowed,
            Ok(_) => Review::Denied,
            Err(error) => Review::Failed(chain(&error)),
        };
        reviews.push((permission, answer));
    }
    reviews
}
