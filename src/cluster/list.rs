//! One look at the cluster: lists into the index, for subcommands that answer once and end.

use std::sync::Arc;

use kube::api::{Api, ListParams};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt as _};
use tracing::warn;

use super::index::Index;
use super::objects::Kind;

/// How many objects one answer of the API server may hold; the rest follows in further ones.
const PAGE: u32 = 500;

/// Takes all objects of these kinds into the index. A kind the cluster does not have is empty; an object that cannot be
/// read is kept as broken, and said.
///
/// # Errors
/// When the API server cannot be reached, or refuses to list.
pub async fn list(client: &Client, kinds: &[Kind], index: &Arc<Index>) -> Result<(), kube::Error> {
    for kind in kinds {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.api_resource());
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let answer = match api.list(&page).await {
                Ok(answer) => answer,
                Err(kube::Error::Api(status)) if status.code == 404 => break,
                Err(error) => return Err(error),
            };
            for object in answer.items {
                take(*kind, object, index);
            }
            match answer.metadata.continue_.filter(|more| !more.is_empty()) {
                Some(more) => page = page.continue_token(&more),
                None => break,
            }
        }
    }
    Ok(())
}

/// Items of a list carry neither `apiVersion` nor `kind`.
fn take(kind: Kind, object: DynamicObject, index: &Index) {
    let name = object.name_any();
    let resource = kind.api_resource();
    let json = serde_json::to_value(object).map(|mut json| {
        if let Some(fields) = json.as_object_mut() {
            fields.insert("apiVersion".to_owned(), resource.api_version.into());
            fields.insert("kind".to_owned(), resource.kind.into());
        }
        json
    });
    let problems = match json {
        Ok(json) => index.apply(json).err().map(|problems| problems.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(problems) = problems {
        warn!(kind = kind.name(), name, problems, "object cannot be read");
    }
}
