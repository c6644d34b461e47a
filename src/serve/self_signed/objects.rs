//! The objects of `--self-signed-secret` in the cluster: reading and writing them, and nothing decided.
//!
//! Every write names the state it was read in; what changed meanwhile is left alone and read again.

use std::collections::BTreeMap;

use futures::Stream;
use json_patch::Patch as JsonPatch;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config as WatchConfig, Error as WatchError, Event, watcher};
use kube::{Api, Client};

use super::SecretRef;
use super::bundle::Configuration;
use super::trust::{Found, OUR_ENTRIES, Trust};
use crate::decide::annotation;

/// Who we are in `metadata.managedFields`.
const FIELD_MANAGER: &str = "pointsman";

/// The value of our mark on the Secret.
const MARK: &str = "self-signed";

/// Where the objects are.
pub(super) struct Objects {
    secrets: Api<Secret>,
    mutating: Api<MutatingWebhookConfiguration>,
    validating: Api<ValidatingWebhookConfiguration>,
    changes: Api<PartialObjectMeta<MutatingWebhookConfiguration>>,
    secret: SecretRef,
    configuration: String,
}

/// A configuration of either kind.
pub(super) struct Registered {
    kind: Kind,
    pub(super) state: Configuration,
}

#[derive(Clone, Copy)]
enum Kind {
    Mutating,
    Validating,
}

/// What became of a write.
pub(super) enum Written {
    Done,
    /// Someone else wrote since we read.
    Overtaken,
}

/// What the API server answered, and about what.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", told(.error))]
pub(super) struct ApiError {
    what: String,
    error: kube::Error,
}

impl Objects {
    pub(super) fn new(client: &Client, secret: SecretRef, configuration: String) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), secret.namespace.as_str()),
            mutating: Api::all(client.clone()),
            validating: Api::all(client.clone()),
            changes: Api::all(client.clone()),
            secret,
            configuration,
        }
    }

    /// Changes of the mutating configuration.
    pub(super) fn changes(
        &self,
    ) -> impl Stream<Item = Result<Event<PartialObjectMeta<MutatingWebhookConfiguration>>, WatchError>> + use<>
    {
        let only = format!("metadata.name={}", self.configuration);
        watcher(self.changes.clone(), WatchConfig::default().fields(&only)).default_backoff()
    }

    pub(super) fn secret(&self) -> &SecretRef {
        &self.secret
    }

    pub(super) async fn read_secret(&self) -> Result<Option<Secret>, ApiError> {
        let read = self.secrets.get_opt(&self.secret.name).await;
        read.map_err(|error| self.about_secret(error))
    }

    /// Writes `trust` in the place of `existing`. Entries and labels of others stay.
    pub(super) async fn write_secret(
        &self,
        existing: Option<Secret>,
        trust: &Trust,
    ) -> Result<Written, ApiError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let name = &self.secret.name;
        let written = match existing {
            Some(secret) => self.secrets.replace(name, &params, &filled(secret, trust)).await,
            None => self.secrets.create(&params, &filled(empty(name), trust)).await,
        };
        match written {
            Ok(_secret) => Ok(Written::Done),
            // Changed, or made by another replica, since we read.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Written::Overtaken),
            Err(error) => Err(self.about_secret(error)),
        }
    }

    /// The webhook configurations of our name that exist.
    pub(super) async fn configurations(&self) -> Result<Vec<Registered>, ApiError> {
        let name = &self.configuration;
        let mutating = self.mutating.get_opt(name).await;
        let validating = self.validating.get_opt(name).await;
        let mut registered = Vec::new();
        if let Some(object) = mutating.map_err(|error| self.about_configuration(error))? {
            let webhooks = object.webhooks.into_iter().flatten();
            let webhooks = webhooks.map(|webhook| (webhook.name, webhook.client_config));
            registered.push(Registered {
                kind: Kind::Mutating,
                state: state(object.metadata, webhooks),
            });
        }
        if let Some(object) = validating.map_err(|error| self.about_configuration(error))? {
            let webhooks = object.webhooks.into_iter().flatten();
            let webhooks = webhooks.map(|webhook| (webhook.name, webhook.client_config));
            registered.push(Registered {
                kind: Kind::Validating,
                state: state(object.metadata, webhooks),
            });
        }
        Ok(registered)
    }

    pub(super) async fn patch(&self, registered: &Registered, patch: JsonPatch) -> Result<(), ApiError> {
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Json::<()>(patch);
        let name = &self.configuration;
        let written = match registered.kind {
            Kind::Mutating => self.mutating.patch(name, &params, &patch).await.map(drop),
            Kind::Validating => self.validating.patch(name, &params, &patch).await.map(drop),
        };
        written.map_err(|error| self.about_configuration(error))
    }

    fn about_secret(&self, error: kube::Error) -> ApiError {
        ApiError {
            what: format!("Secret {}", self.secret),
            error,
        }
    }

    fn about_configuration(&self, error: kube::Error) -> ApiError {
        ApiError {
            what: format!("webhook configuration {}", self.configuration),
            error,
        }
    }
}

/// What a Secret holds.
pub(super) fn found(secret: Option<&Secret>) -> Found {
    let Some(secret) = secret else {
        return Found::Absent;
    };
    let labels = secret.metadata.labels.as_ref();
    let ours = labels.is_some_and(|labels| labels.contains_key(annotation::AUTHORITY));
    let nothing = BTreeMap::new();
    Found::read(secret.data.as_ref().unwrap_or(&nothing), ours)
}

fn empty(name: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

fn filled(mut secret: Secret, trust: &Trust) -> Secret {
    let labels = secret.metadata.labels.get_or_insert_with(BTreeMap::new);
    labels.insert(annotation::AUTHORITY.to_owned(), MARK.to_owned());
    let data = secret.data.get_or_insert_with(BTreeMap::new);
    data.retain(|name, _| !OUR_ENTRIES.contains(&name.as_str()));
    data.extend(trust.entries());
    secret
}

fn state(
    metadata: ObjectMeta,
    webhooks: impl Iterator<Item = (String, WebhookClientConfig)>,
) -> Configuration {
    Configuration {
        resource_version: metadata.resource_version.unwrap_or_default(),
        webhooks: webhooks
            .map(|(name, client)| (name, client.ca_bundle.map(|bundle| bundle.0)))
            .collect(),
    }
}

/// What the API server said, without the rest of its answer.
fn told(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
