//! The row about the webhook's answer: a pod that only it denies is sent to the API server as a dry run, which shows the way
//! there and the certificate that it really serves, and stores nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use super::facts::{Facts, Trial};
use super::finding::Finding;
use super::webhook::{NAMESPACE_NAME, ours, registration};
use crate::cluster::convert;
use crate::decide::annotation;
use crate::decide::problem::chain;

/// The name of a profile that no profile can have.
const NO_PROFILE: &str = "pointsman check";

/// The API server has asked the webhook, and got its answer.
pub(super) fn answers(facts: &Facts) -> Finding {
    const SUBJECT: &str = "answer of the webhook";
    let configuration = match registration(facts, SUBJECT) {
        Ok(configuration) => configuration,
        Err(unknown) => return *unknown,
    };
    let again = format!(
        "kubectl run pointsman-check --image=none --dry-run=server --annotations=pointsman.io/profile='{NO_PROFILE}'"
    );
    match &facts.trial {
        None => Finding::unknown(
            SUBJECT,
            "only an API server can ask it: the facts are from files",
            "pointsman check   # with a kubeconfig, and without --from",
        ),
        Some(Trial::Answered) => Finding::yes(SUBJECT, "it denied what it should, in a dry run"),
        Some(Trial::Failed(words)) => Finding::no(
            SUBJECT,
            words,
            format!(
                "# the certificate that is served, and what the webhook says of it\n\
                 kubectl -n {0} logs -l app.kubernetes.io/component=webhook --tail=50 | grep -i certificate\n\
                 kubectl -n {0} get service,endpointslices,networkpolicies,pods -o wide\n\
                 # once more\n{again}",
                facts.namespace
            ),
        ),
        Some(Trial::NotAsked(namespace)) => Finding::no(
            SUBJECT,
            format!("a pod that opted in was accepted in namespace {namespace} without asking it"),
            format!(
                "# selectors, conditions and failurePolicy must be as shipped\n\
                 kubectl get mutatingwebhookconfiguration {} -o yaml\n{again}",
                configuration.name()
            ),
        ),
        Some(Trial::Untried(why)) => Finding::unknown(SUBJECT, why, again),
    }
}

/// Sends a pod that only our webhook denies, as a dry run.
pub(super) async fn send(client: &Client, facts: &Facts) -> Trial {
    let Some((namespace, webhooks)) = to_try(facts) else {
        return Trial::Untried("no namespace is known whose pods it is asked about".to_owned());
    };
    let pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some("pointsman-check-".to_owned()),
            annotations: Some([(annotation::PROFILE.to_owned(), NO_PROFILE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            containers: vec![Container {
                name: "none".to_owned(),
                image: Some("none".to_owned()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        status: None,
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match pods.create(&dry_run, &pod).await {
        Ok(_) => Trial::NotAsked(namespace),
        Err(kube::Error::Api(status)) => {
            let says = |what: &str| {
                webhooks
                    .iter()
                    .any(|name| status.message.contains(&what.replace("NAME", name)))
            };
            if says("webhook \"NAME\" denied the request") {
                Trial::Answered
            } else if says("failed calling webhook \"NAME\"") {
                Trial::Failed(status.message.clone())
            } else {
                Trial::Untried(status.message.clone())
            }
        }
        Err(other) => Trial::Untried(chain(&other)),
    }
}

/// The namespace in which a pod that opts in comes to our webhook, and the names of its webhooks.
fn to_try(facts: &Facts) -> Option<(String, Vec<String>)> {
    let configuration = ours(facts)?;
    let webhooks = &configuration.body.webhooks;
    let names = webhooks.iter().map(|webhook| webhook.name.clone()).collect();
    let asks_about = |labels: &BTreeMap<String, String>| {
        webhooks.iter().any(|webhook| {
            let everything = Value::Object(serde_json::Map::new());
            let selector = webhook.namespace_selector.as_ref().unwrap_or(&everything);
            convert::selector_of(configuration.name(), selector)
                .is_ok_and(|selector| selector.matches(labels))
        })
    };
    let asked = facts.snapshot.namespaces.iter().filter(|(name, namespace)| {
        let mut labels = namespace.labels.clone();
        labels.insert(NAMESPACE_NAME.to_owned(), name.to_string());
        asks_about(&labels)
    });
    let mut asked: Vec<String> = asked.map(|(name, _)| name.to_string()).collect();
    // Most clusters let it be seen and used.
    asked.sort_by_key(|name| name != "default");
    Some((asked.into_iter().next()?, names))
}
