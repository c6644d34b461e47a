//! One look at the cluster, page by page, for subcommands that answer once and end.

use std::sync::Arc;

use kube::api::{Api, ListParams};
use kube::core::{DynamicObject, TypeMeta};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use tracing::warn;

use super::index::Index;
use super::objects::Kind;

/// How many objects one answer of the API server may hold; the rest follows in further ones. A Node with its images is
/// some 20 kB and a pod 14 kB, and while an answer is read it is held as bytes and as objects: with the usual 500 that was
/// what the memory peaked by at the start. A server under load prefers several smaller answers, too.
pub(super) const PAGE: u32 = 200;

/// Hands over every object behind `api`.
///
/// # Errors
/// When the API server cannot be reached, or refuses to list; see [`is_absent`].
pub async fn each(api: &Api<DynamicObject>, mut take: impl FnMut(DynamicObject)) -> Result<(), kube::Error> {
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let answer = api.list(&page).await?;
        answer.items.into_iter().for_each(&mut take);
        match answer.metadata.continue_.filter(|more| !more.is_empty()) {
            Some(more) => page = page.continue_token(&more),
            None => return Ok(()),
        }
    }
}

/// Whether a list failed because the kind is not installed: a 404 says nothing else about a collection.
#[must_use]
pub fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Hands over every object of a kind, with its name, as JSON. A kind the cluster does not have is empty.
///
/// # Errors
/// When the API server cannot be reached, or refuses to list.
pub async fn of_kind(
    client: &Client,
    kind: Kind,
    mut take: impl FnMut(String, serde_json::Result<Value>),
) -> Result<(), kube::Error> {
    let resource = kind.api_resource();
    let api = Api::all_with(client.clone(), &resource);
    let listed = each(&api, |mut object| {
        // In a list only the list itself says what it holds.
        object.types = Some(TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        });
        take(object.name_any(), serde_json::to_value(object));
    });
    match listed.await {
        Err(error) if is_absent(&error) => Ok(()),
        listed => listed,
    }
}

/// Takes all objects of these kinds into the index. An object that cannot be read is kept as broken, and said.
///
/// # Errors
/// As [`of_kind`].
pub async fn list(client: &Client, kinds: &[Kind], index: &Arc<Index>) -> Result<(), kube::Error> {
    for kind in kinds {
        of_kind(client, *kind, |name, json| {
            let problems = match json {
                Ok(json) => index.apply(json).err().map(|problems| problems.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problems) = problems {
                warn!(kind = kind.name(), name, problems, "object cannot be read");
            }
        })
        .await?;
    }
    Ok(())
}
