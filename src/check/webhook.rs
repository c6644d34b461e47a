//! Rows about admission: whether the API server asks our webhook, trusts it, reaches it, and asks only about what
//! concerns it; and who else injects networks.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use super::facts::Facts;
use super::finding::Finding;
use super::objects::{Object, ServiceReference, Webhook, Webhooks};
use super::source::Source;
use super::tally::{Tally, Words, count, few};
use crate::cluster::convert;
use crate::serve::tls::Validity;

/// A certificate that ends sooner is as good as expired: somebody should look now. Ours are renewed with a third of
/// their life left, which is months.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The label with a namespace's name, which the API server sets.
pub(super) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The API server asks us about pods that are created.
pub(super) fn registered(facts: &Facts) -> Finding {
    const SUBJECT: &str = "registration of the webhook";
    if let Some(unknown) = facts.unless_known(&[Source::Webhook], SUBJECT) {
        return unknown;
    }
    let Some(configuration) = ours(facts) else {
        let names: Vec<String> = facts
            .webhooks
            .iter()
            .map(|other| other.name().to_owned())
            .collect();
        return Finding::no(
            SUBJECT,
            format!(
                "there is no MutatingWebhookConfiguration {} (there are: {})",
                facts.configuration.webhook.configuration_name,
                few(&names)
            ),
            "kubectl apply -f manifests/webhook.yaml",
        );
    };
    let mut problems = Vec::new();
    for webhook in &configuration.body.webhooks {
        let asks = webhook.rules.iter().any(|rule| {
            let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
            has(&rule.operations, "CREATE") && has(&rule.resources, "pods")
        });
        if !asks {
            problems.push(format!(
                "{} is not asked about pods that are created",
                webhook.name
            ));
        }
        if let Some(service) = &webhook.client_config.service
            && service.path.as_deref() != Some("/mutate")
        {
            problems.push(format!(
                "{} is asked at {:?}, not at /mutate",
                webhook.name,
                service.path.as_deref().unwrap_or("/")
            ));
        }
    }
    if configuration.body.webhooks.is_empty() {
        problems.push("it holds no webhook".to_owned());
    }
    if problems.is_empty() {
        let names: Vec<String> = configuration
            .body
            .webhooks
            .iter()
            .map(|webhook| webhook.name.clone())
            .collect();
        Finding::yes(SUBJECT, format!("{}: {}", configuration.name(), names.join(", ")))
    } else {
        Finding::no(SUBJECT, few(&problems), "kubectl apply -f manifests/webhook.yaml")
    }
}

/// The API server can trust the webhook's certificate.
pub(super) fn certificate(facts: &Facts) -> Finding {
    const SUBJECT: &str = "caBundle of the webhook";
    let configuration = match registration(facts, SUBJECT) {
        Ok(configuration) => configuration,
        Err(unknown) => return *unknown,
    };
    let mut problems = Vec::new();
    let mut ends: Option<Timestamp> = None;
    let validation = facts
        .validations
        .iter()
        .find(|validation| validation.name() == configuration.name());
    let validating = validation.map_or(&[][..], |validation| &validation.body.webhooks);
    for webhook in configuration.body.webhooks.iter().chain(validating) {
        match bundle(webhook, facts.now) {
            Ok(until) => ends = Some(ends.map_or(until, |sooner| sooner.min(until))),
            Err(problem) => problems.push(format!("{}: {problem}", webhook.name)),
        }
    }
    let name = configuration.name();
    let remedy = || {
        format!(
            "# --self-signed-secret writes it again within a minute: do the replicas run, and may they patch it?\n\
             kubectl -n {0} get pods\n\
             kubectl -n {0} logs -l app.kubernetes.io/component=webhook --tail=50 | grep -i -e bundle -e certificate\n\
             # with a certificate of your own (base64 of the CA in PEM)\n\
             kubectl patch mutatingwebhookconfiguration {name} --type json -p \
             '[{{\"op\":\"add\",\"path\":\"/webhooks/0/clientConfig/caBundle\",\"value\":\"BASE64\"}}]'",
            facts.namespace
        )
    };
    if !problems.is_empty() {
        return Finding::no(SUBJECT, few(&problems), remedy());
    }
    match ends {
        Some(until) => Finding::yes(SUBJECT, format!("valid until {}", until.strftime("%Y-%m-%d"))),
        None => Finding::unknown(SUBJECT, "the configuration holds no webhook", remedy()),
    }
}

/// The API server reaches the webhook.
pub(super) fn service(facts: &Facts) -> Finding {
    const SUBJECT: &str = "Service of the webhook";
    let configuration = match registration(facts, SUBJECT) {
        Ok(configuration) => configuration,
        Err(unknown) => return *unknown,
    };
    let clients = || {
        configuration
            .body
            .webhooks
            .iter()
            .map(|webhook| &webhook.client_config)
    };
    if let Some(reference) = clients().find_map(|client| client.service.as_ref()) {
        return reached(facts, SUBJECT, reference);
    }
    match clients().find_map(|client| client.url.as_deref()) {
        Some(url) => Finding::unknown(
            SUBJECT,
            format!("it is reached at {url}, which only the API server can try"),
            format!("curl -k {url}"),
        ),
        None => Finding::unknown(
            SUBJECT,
            "the configuration holds no webhook",
            "kubectl apply -f manifests/webhook.yaml",
        ),
    }
}

/// Whether a Service leads to somebody who answers.
fn reached(facts: &Facts, subject: &str, reference: &ServiceReference) -> Finding {
    if let Some(unknown) = facts.unless_known(&[Source::Service], subject) {
        return unknown;
    }
    let ServiceReference { namespace, name, .. } = reference;
    let install = "kubectl apply -f manifests/service.yaml";
    let found = facts
        .services
        .iter()
        .find(|service| service.namespace() == namespace && service.name() == name);
    let Some(service) = found else {
        if *namespace != facts.namespace {
            return Finding::unknown(
                subject,
                format!("it is in {namespace}, and only {} was read", facts.namespace),
                format!("pointsman check --namespace {namespace}"),
            );
        }
        return Finding::no(
            subject,
            format!("there is no Service {namespace}/{name}"),
            install,
        );
    };
    if service.body.spec.r#type.as_deref() == Some("ExternalName") {
        return Finding::yes(subject, format!("{} leads outside (ExternalName)", service.at()));
    }
    let port = reference.port.unwrap_or(443);
    let known = &service.body.spec.ports;
    if !known.iter().any(|known| known.port == port) {
        let known: Vec<String> = known.iter().map(|known| known.port.to_string()).collect();
        return Finding::no(
            subject,
            format!(
                "{} has no port {port} (it has: {})",
                service.at(),
                known.join(", ")
            ),
            install,
        );
    }
    if let Some(unknown) = facts.unless_known(&[Source::Endpoints], subject) {
        return unknown;
    }
    let ready = facts
        .endpoints
        .iter()
        .filter(|slice| slice.label("kubernetes.io/service-name") == Some(name.as_str()))
        .filter(|slice| slice.namespace() == namespace)
        .flat_map(|slice| &slice.body.endpoints)
        .filter(|endpoint| endpoint.conditions.ready != Some(false))
        .count();
    match ready {
        0 => Finding::no(
            subject,
            format!(
                "{} has no ready endpoint: pods that opted in cannot be created",
                service.at()
            ),
            format!("kubectl -n {namespace} get service,endpointslices,pods -o wide"),
        ),
        1 => Finding::yes(
            subject,
            format!(
                "{}, 1 ready endpoint (a second would outlive a node)",
                service.at()
            ),
        ),
        _ => Finding::yes(subject, format!("{}, {ready} ready endpoints", service.at())),
    }
}

/// A pod that opted in never starts without admission, and no other pod depends on us.
pub(super) fn policy(facts: &Facts) -> Finding {
    const SUBJECT: &str = "failure policy and scope of the webhook";
    let configuration = match registration(facts, SUBJECT) {
        Ok(configuration) => configuration,
        Err(unknown) => return *unknown,
    };
    let mut tally = Tally::default();
    for webhook in &configuration.body.webhooks {
        let mut problems = Vec::new();
        if webhook.failure_policy.as_deref() == Some("Ignore") {
            problems
                .push("failurePolicy Ignore: pods start without their networks while we are down".to_owned());
        }
        if webhook.match_conditions.is_empty() {
            problems.push("no matchConditions: pods that did not opt in depend on us".to_owned());
        }
        if webhook.reinvocation_policy.as_deref() != Some("IfNeeded") {
            problems.push(
                "reinvocationPolicy is not IfNeeded: what later webhooks change is not completed".to_owned(),
            );
        }
        if webhook.timeout_seconds.unwrap_or(10) > 10 {
            problems.push(format!(
                "timeoutSeconds {}: creation stalls that long while we hang",
                webhook.timeout_seconds.unwrap_or(10)
            ));
        }
        tally.judge(&webhook.name, &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "webhook",
            sound: "failurePolicy Fail, matchConditions, reinvocation if needed",
            nothing: "the configuration holds no webhook",
        },
        |_| "kubectl apply -f manifests/webhook.yaml".to_owned(),
    )
}

/// We are not asked about the namespaces that have to work before we do.
pub(super) fn namespaces(facts: &Facts) -> Finding {
    const SUBJECT: &str = "namespaces the webhook leaves alone";
    let configuration = match registration(facts, SUBJECT) {
        Ok(configuration) => configuration,
        Err(unknown) => return *unknown,
    };
    let mut tally = Tally::default();
    for webhook in &configuration.body.webhooks {
        let everything = Value::Object(serde_json::Map::new());
        let place = format!("{}, {}", configuration.name(), webhook.name);
        let selector = webhook.namespace_selector.as_ref().unwrap_or(&everything);
        let problems = match convert::selector_of(&place, selector) {
            Err(problems) => vec![problems.to_string()],
            Ok(selector) => ["kube-system", facts.namespace.as_str()]
                .into_iter()
                .filter(|namespace| {
                    let known = facts.snapshot.namespaces.get(*namespace);
                    let mut labels = known.map(|known| known.labels.clone()).unwrap_or_default();
                    labels.insert(NAMESPACE_NAME.to_owned(), (*namespace).to_owned());
                    selector.matches(&labels)
                })
                .map(|namespace| format!("asks about {namespace}"))
                .collect(),
        };
        tally.judge(&webhook.name, &problems);
    }
    tally.finding(
        Words {
            subject: SUBJECT,
            thing: "webhook",
            sound: "kube-system and our own namespace are left alone",
            nothing: "the configuration holds no webhook",
        },
        |_| {
            format!(
                "# under each webhook's namespaceSelector.matchExpressions:\n\
                 #   - {{ key: {NAMESPACE_NAME}, operator: NotIn, values: [kube-system, {}] }}\n\
                 kubectl edit mutatingwebhookconfiguration {}",
                facts.namespace,
                configuration.name()
            )
        },
    )
}

/// Nobody else injects networks or resources in a way that undoes ours.
pub(super) fn others(facts: &Facts) -> Finding {
    const SUBJECT: &str = "other injectors of networks and resources";
    if let Some(unknown) = facts.unless_known(&[Source::Webhook], SUBJECT) {
        return unknown;
    }
    let mut harmless = Vec::new();
    let mut problems = Vec::new();
    let mut remedies = Vec::new();
    for configuration in &facts.webhooks {
        for webhook in &configuration.body.webhooks {
            if webhook.name == "pods.spiderpool.spidernet.io" {
                problems.push(format!(
                    "Spiderpool's pod webhook ({}) overwrites the networks of pods with its annotations, and drops \
                     pod fields it does not know",
                    configuration.name()
                ));
                remedies.push(
                    "helm upgrade spiderpool spiderpool/spiderpool --namespace spiderpool --reuse-values \
                     --set spiderpoolController.podResourceInject.enabled=false"
                        .to_owned(),
                );
            }
        }
        if configuration.name().contains("network-resources-injector") {
            if injector_doubles(facts) {
                problems.push(format!(
                    "network-resources-injector ({}) adds to what pods request already",
                    configuration.name()
                ));
                remedies.push(
                    "# let it leave resources that are there alone\n\
                     kubectl get configmaps -A | grep nri-control-switches\n\
                     kubectl -n NAMESPACE patch configmap nri-control-switches --type merge -p \
                     '{\"data\":{\"config.json\":\"{\\\"features\\\":{\\\"enableHonorExistingResources\\\":false}}\"}}'"
                        .to_owned(),
                );
            } else {
                harmless.push(format!(
                    "network-resources-injector ({}) leaves resources alone that are there already",
                    configuration.name()
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Finding::no(SUBJECT, few(&problems), remedies.join("\n"));
    }
    if harmless.is_empty() {
        let known = count(facts.webhooks.len(), "MutatingWebhookConfiguration");
        Finding::yes(SUBJECT, format!("none among {known}"))
    } else {
        Finding::yes(SUBJECT, few(&harmless))
    }
}

/// Whether network-resources-injector adds its counts to those that are there: by its switches, else by its flag.
fn injector_doubles(facts: &Facts) -> bool {
    let switches = facts
        .config_maps
        .iter()
        .filter(|config| config.name() == "nri-control-switches")
        .filter_map(|config| serde_json::from_str::<Value>(config.body.data.get("config.json")?).ok())
        .find_map(|switches| {
            switches
                .pointer("/features/enableHonorExistingResources")?
                .as_bool()
        });
    switches.unwrap_or_else(|| {
        facts
            .workloads
            .iter()
            .filter(|(_, workload)| workload.name().contains("network-resources-injector"))
            .flat_map(|(_, workload)| &workload.body.spec.template.spec.containers)
            .flat_map(|container| container.command.iter().chain(&container.args))
            .any(|word| {
                let flag = word.trim_start_matches('-');
                flag == "honor-resources" || flag == "honor-resources=true"
            })
    })
}

/// Our configuration, or why there is none to look at.
pub(super) fn registration<'a>(
    facts: &'a Facts,
    subject: &str,
) -> Result<&'a Object<Webhooks>, Box<Finding>> {
    if let Some(unknown) = facts.unless_known(&[Source::Webhook], subject) {
        return Err(Box::new(unknown));
    }
    ours(facts).ok_or_else(|| {
        Box::new(Finding::unknown(
            subject,
            "the webhook is not registered",
            "kubectl apply -f manifests/webhook.yaml",
        ))
    })
}

/// The configuration of our name; else one that leads to our Service.
pub(super) fn ours(facts: &Facts) -> Option<&Object<Webhooks>> {
    let names = &facts.configuration.webhook;
    let leads_to_us = |configuration: &&Object<Webhooks>| {
        configuration.body.webhooks.iter().any(|webhook| {
            webhook.client_config.service.as_ref().is_some_and(|service| {
                service.namespace == facts.namespace && service.name == names.service_name
            })
        })
    };
    facts
        .webhooks
        .iter()
        .find(|configuration| configuration.name() == names.configuration_name)
        .or_else(|| facts.webhooks.iter().find(leads_to_us))
}

/// Until when at least one certificate of the bundle is valid.
fn bundle(webhook: &Webhook, now: Timestamp) -> Result<Timestamp, String> {
    let text = webhook
        .client_config
        .ca_bundle
        .as_deref()
        .filter(|text| !text.is_empty())
        .ok_or("it is empty")?;
    let bytes: ByteString = serde_json::from_value(Value::String(text.to_owned()))
        .map_err(|error| format!("no Base64: {error}"))?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes.0)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("no PEM: {error}"))?;
    let mut until: Option<Timestamp> = None;
    for certificate in &certificates {
        let validity = Validity::of(certificate).map_err(|error| error.to_string())?;
        if validity.from <= now {
            until = until.max(Some(validity.until));
        }
    }
    let until = until.ok_or_else(|| {
        if certificates.is_empty() {
            "no certificate in it".to_owned()
        } else {
            "no certificate in it is valid yet".to_owned()
        }
    })?;
    let day = until.strftime("%Y-%m-%d");
    if until < now {
        Err(format!("expired on {day}"))
    } else if until.duration_since(now) < SOON {
        Err(format!("ends on {day}, within a week"))
    } else {
        Ok(until)
    }
}
