//! A cluster as it is now: every kind that decides where pods go, listed once.

use kube::Client;
use kube::api::{Api, ListParams};
use kube::core::{DynamicObject, TypeMeta};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

use super::ExplainError;
use crate::cluster::objects::Kind;
use crate::cluster::watch;
use crate::simulate::expand::Cluster;
use crate::simulate::load::{Object, Place};

/// Objects in one answer: an API server under load prefers several smaller ones.
const PAGE: u32 = 500;

/// Lists the cluster. A kind that it does not have is empty.
pub(super) async fn cluster(client: &Client) -> Result<Cluster, ExplainError> {
    let mut cluster = Cluster::default();
    for kind in watch::FOR_PLACEMENT {
        for json in list(client, *kind).await? {
            let object = Object {
                json,
                place: Place {
                    file: Arc::from(Path::new("the cluster")),
                    document: 1,
                    line: 1,
                },
            };
            match kind {
                Kind::Pod => cluster.pods.push(object),
                _ => cluster.objects.push(object),
            }
        }
    }
    Ok(cluster)
}

async fn list(client: &Client, kind: Kind) -> Result<Vec<Value>, ExplainError> {
    let resource = kind.api_resource();
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let failed = |source| ExplainError::Listing {
        kind: kind.name(),
        source,
    };
    let mut objects = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(objects),
            Err(error) => return Err(failed(error)),
        };
        for mut object in page.items {
            // In a list only the list itself says what it holds.
            object.types = Some(TypeMeta {
                api_version: resource.api_version.clone(),
                kind: resource.kind.clone(),
            });
            objects
                .push(serde_json::to_value(object).map_err(|error| failed(kube::Error::SerdeError(error)))?);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}
