//! A cluster as it is now: every kind that decides where pods go, listed once.

use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::ExplainError;
use crate::cluster::fabric::LEASE;
use crate::cluster::list;
use crate::cluster::objects::Kind;
use crate::cluster::watch;
use crate::decide::names::NamespaceName;
use crate::decide::problem::Problem;
use crate::simulate::expand::{Cluster, Finding};
use crate::simulate::load::{Object, Place};

/// Lists the cluster. A kind that it does not have is empty.
pub(super) async fn cluster(client: &Client, ours: &NamespaceName) -> Result<Cluster, ExplainError> {
    let mut cluster = Cluster::default();
    // A pod that does not exist yet is admitted, too.
    let kinds: BTreeSet<Kind> = [watch::FOR_PLACEMENT, watch::FOR_ADMISSION]
        .concat()
        .into_iter()
        .collect();
    for kind in kinds {
        let objects = match kind {
            Kind::Lease => import_date(client, ours, &mut cluster.findings).await?,
            _ => list(client, kind).await?,
        };
        for json in objects {
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

/// The date of the fabric import: one Lease of our own namespace, where every node has one of its own somewhere else.
/// Whoever may not see it is told so, and the import counts as new.
async fn import_date(
    client: &Client,
    ours: &NamespaceName,
    findings: &mut Vec<Finding>,
) -> Result<Vec<Value>, ExplainError> {
    let resource = Kind::Lease.api_resource();
    let leases: Api<DynamicObject> = Api::namespaced_with(client.clone(), ours.as_str(), &resource);
    let failed = |source| ExplainError::Listing {
        kind: Kind::Lease.name(),
        source,
    };
    match leases.get_opt(LEASE).await {
        Ok(lease) => {
            let lease = lease.map(serde_json::to_value).transpose();
            Ok(lease
                .map_err(|error| failed(kube::Error::SerdeError(error)))?
                .into_iter()
                .collect())
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            findings.push(Finding {
                object: format!("Lease {ours}/{LEASE}"),
                problems: Problem::new(
                    "its date",
                    status.message.as_str(),
                    "the right to get it",
                    "what the fabric import says counts as new here",
                )
                .into(),
            });
            Ok(Vec::new())
        }
        Err(source) => Err(failed(source)),
    }
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
