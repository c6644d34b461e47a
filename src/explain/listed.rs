//! A cluster as it is now: every kind that decides where pods go, listed once.

use kube::Client;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::ExplainError;
use crate::cluster::list;
use crate::cluster::objects::Kind;
use crate::cluster::watch;
use crate::simulate::expand::Cluster;
use crate::simulate::load::{Object, Place};

/// Lists the cluster. A kind that it does not have is empty.
pub(super) async fn cluster(client: &Client) -> Result<Cluster, ExplainError> {
    let mut cluster = Cluster::default();
    // A pod that does not exist yet is admitted, too.
    let kinds: BTreeSet<Kind> = [watch::FOR_PLACEMENT, watch::FOR_ADMISSION]
        .concat()
        .into_iter()
        .collect();
    for kind in kinds {
        for json in list(client, kind).await? {
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
    let failed = |source| ExplainError::Listing {
        kind: kind.name(),
        source,
    };
    let mut objects = Vec::new();
    list::of_kind(client, kind, |_, json| objects.push(json))
        .await
        .map_err(failed)?;
    let objects: serde_json::Result<Vec<Value>> = objects.into_iter().collect();
    objects.map_err(|error| failed(kube::Error::SerdeError(error)))
}
