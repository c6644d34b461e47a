//! Rows about rights: what our service accounts have against what the program does, and what the caller may read.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Review};
use super::finding::{Finding, apply};
use super::objects::{Binding, BindingSubject, Object, RoleRule};
use super::ours::{Ours, Part, ours};
use super::source::Source;
use super::tally::{count, few};
use crate::cluster::fabric::LEASE;
use crate::cluster::objects::Kind;
use crate::cluster::watch;

/// One thing somebody may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// As in `patch`.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The plural, with its subresource after a slash.
    pub resource: &'static str,
    /// In this namespace; in all without.
    pub namespace: Option<String>,
    /// The object; any without.
    pub name: Option<String>,
}

impl Permission {
    /// The right to a verb on all objects of a kind.
    #[must_use]
    pub fn everywhere(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self {
            verb,
            group,
            resource,
            namespace: None,
            name: None,
        }
    }
}

impl core::fmt::Display for Permission {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        Ok(())
    }
}

/// The webhook's service account may do what the webhook does.
pub(super) fn webhook(facts: &Facts) -> Finding {
    part(facts, Part::Webhook, "rights of the webhook")
}

/// The extender's service account may do what the extender does.
pub(super) fn extender(facts: &Facts) -> Finding {
    part(facts, Part::Extender, "rights of the extender")
}

/// The caller may read what the check looks at.
pub(super) fn caller(facts: &Facts) -> Finding {
    const SUBJECT: &str = "your own rights to look";
    let Some(reviews) = &facts.reviews else {
        return Finding::unknown(
            SUBJECT,
            "there is no API server to ask: the facts are from files",
            "pointsman check   # with a kubeconfig, and without --from",
        );
    };
    let told = |wanted: fn(&Review) -> Option<String>| -> Vec<String> {
        reviews
            .iter()
            .filter_map(|(permission, review)| Some(format!("{permission}{}", wanted(review)?)))
            .collect()
    };
    let denied = told(|review| (*review == Review::Denied).then(String::new));
    let failed = told(|review| match review {
        Review::Failed(why) => Some(format!(" ({why})")),
        Review::Allowed | Review::Denied => None,
    });
    if !denied.is_empty() {
        let rules: Vec<String> = reviews
            .iter()
            .filter(|(_, review)| *review == Review::Denied)
            .map(|(permission, _)| rule(permission))
            .collect();
        return Finding::no(
            SUBJECT,
            format!(
                "{} of {} missing: {}",
                denied.len(),
                count(reviews.len(), "right"),
                few(&denied)
            ),
            format!(
                "{}\nkubectl create clusterrolebinding pointsman-check --clusterrole=pointsman-check --user=YOU",
                role("pointsman-check", &rules)
            ),
        );
    }
    if !failed.is_empty() {
        return Finding::unknown(SUBJECT, few(&failed), "kubectl auth can-i --list");
    }
    Finding::yes(SUBJECT, format!("{}: all given", count(reviews.len(), "right")))
}

/// What a part of the program does, by what it watches and writes.
fn needed(ours: &Ours) -> BTreeSet<Permission> {
    let watched: &[Kind] = match ours.part {
        Part::Webhook => watch::FOR_ADMISSION,
        Part::Extender => watch::FOR_PLACEMENT,
    };
    let mut needed: BTreeSet<Permission> = watched
        .iter()
        .flat_map(|kind| {
            let (group, _, plural) = kind.api();
            // Only one of them, in our own namespace.
            let lease = *kind == Kind::Lease;
            ["list", "watch"].map(|verb| Permission {
                namespace: lease.then(|| ours.namespace.clone()),
                name: lease.then(|| LEASE.to_owned()),
                ..Permission::everywhere(verb, group, plural)
            })
        })
        .collect();
    match ours.part {
        Part::Webhook => {
            if let Some((namespace, secret)) = &ours.secret {
                for verb in ["get", "list", "watch", "patch"] {
                    needed.insert(Permission {
                        name: Some(ours.configuration.clone()),
                        ..Permission::everywhere(
                            verb,
                            "admissionregistration.k8s.io",
                            "mutatingwebhookconfigurations",
                        )
                    });
                }
                for (verb, name) in [("create", None), ("get", Some(secret)), ("update", Some(secret))] {
                    needed.insert(Permission {
                        namespace: Some(namespace.clone()),
                        name: name.cloned(),
                        ..Permission::everywhere(verb, "", "secrets")
                    });
                }
            }
        }
        Part::Extender => {
            needed.insert(Permission::everywhere("patch", "", "pods"));
            needed.insert(Permission::everywhere("create", "", "pods/binding"));
            needed.insert(Permission::everywhere("create", "events.k8s.io", "events"));
        }
    }
    if ours.delegates {
        for (group, reviews) in [
            ("authentication.k8s.io", "tokenreviews"),
            ("authorization.k8s.io", "subjectaccessreviews"),
        ] {
            needed.insert(Permission::everywhere("create", group, reviews));
        }
    }
    needed
}

fn part(facts: &Facts, part: Part, subject: &str) -> Finding {
    let sources = [
        Source::ClusterRole,
        Source::ClusterRoleBinding,
        Source::Role,
        Source::RoleBinding,
    ];
    if let Some(unknown) = facts.unless_known(&[sources[0], sources[1]], subject) {
        return unknown;
    }
    let workloads: Vec<Ours> = ours(facts).into_iter().filter(|ours| ours.part == part).collect();
    if workloads.is_empty() {
        return Finding::unknown(
            subject,
            format!("no Deployment or DaemonSet runs {}", part.told()),
            super::ours::INSTALL,
        );
    }
    let mut missing: BTreeMap<String, BTreeSet<Permission>> = BTreeMap::new();
    let (mut accounts, mut rights) = (BTreeSet::new(), 0_usize);
    for ours in &workloads {
        let account = (ours.namespace.as_str(), ours.account.as_str());
        let needed = needed(ours);
        rights = rights.max(needed.len());
        accounts.insert(format!("{}/{}", account.0, account.1));
        let lacking = needed
            .into_iter()
            .filter(|permission| !grants(facts, account, permission));
        let lacking: BTreeSet<Permission> = lacking.collect();
        if !lacking.is_empty() {
            missing
                .entry(format!("{}/{}", account.0, account.1))
                .or_default()
                .extend(lacking);
        }
    }
    let accounts: Vec<String> = accounts.into_iter().collect();
    let Some((account, lacking)) = missing.first_key_value() else {
        return Finding::yes(
            subject,
            format!(
                "{} of service account {}",
                count(rights, "right"),
                accounts.join(", ")
            ),
        );
    };
    let told: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    let rules: Vec<String> = lacking.iter().map(rule).collect();
    let name = match part {
        Part::Webhook => "pointsman-webhook-missing",
        Part::Extender => "pointsman-extender-missing",
    };
    Finding::no(
        subject,
        format!(
            "service account {account} lacks {}: {}",
            count(lacking.len(), "right"),
            few(&told)
        ),
        format!(
            "# what is missing; better: install the chart again, which has all of it\n{}\n\
             kubectl create clusterrolebinding {name} --clusterrole={name} --serviceaccount={}",
            role(name, &rules),
            account.replace('/', ":")
        ),
    )
}

/// Whether some binding gives the service account this right.
fn grants(facts: &Facts, account: (&str, &str), permission: &Permission) -> bool {
    facts.bindings.iter().any(|(source, binding)| {
        let reaches = match source {
            Source::ClusterRoleBinding => true,
            _ => permission.namespace.as_deref() == Some(binding.namespace()),
        };
        reaches
            && binding
                .body
                .subjects
                .iter()
                .any(|subject| is(subject, account, binding))
            && rules(facts, binding).iter().any(|rule| allows(rule, permission))
    })
}

fn is(subject: &BindingSubject, (namespace, name): (&str, &str), binding: &Object<Binding>) -> bool {
    match subject.kind.as_str() {
        "ServiceAccount" => {
            let of = subject
                .namespace
                .as_deref()
                .unwrap_or_else(|| binding.namespace());
            (of, subject.name.as_str()) == (namespace, name)
        }
        "Group" => {
            subject.name == "system:serviceaccounts"
                || subject.name == "system:authenticated"
                || subject.name.strip_prefix("system:serviceaccounts:") == Some(namespace)
        }
        _ => subject.name == format!("system:serviceaccount:{namespace}:{name}"),
    }
}

fn rules<'a>(facts: &'a Facts, binding: &Object<Binding>) -> &'a [RoleRule] {
    let of = &binding.body.role_ref;
    facts
        .roles
        .iter()
        .find(|(source, role)| {
            role.name() == of.name
                && match source {
                    Source::ClusterRole => of.kind == "ClusterRole",
                    _ => of.kind == "Role" && role.namespace() == binding.namespace(),
                }
        })
        .map_or(&[], |(_, role)| &role.body.rules)
}

fn allows(rule: &RoleRule, permission: &Permission) -> bool {
    let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
    // A rule for some names allows no request that does not name one of them.
    let names = rule.resource_names.is_empty()
        || permission
            .name
            .as_ref()
            .is_some_and(|name| rule.resource_names.contains(name));
    names
        && has(&rule.verbs, permission.verb)
        && has(&rule.api_groups, permission.group)
        && has(&rule.resources, permission.resource)
}

fn rule(permission: &Permission) -> String {
    let names = permission
        .name
        .as_ref()
        .map_or_else(String::new, |name| format!(", resourceNames: [{name}]"));
    format!(
        "  - {{ apiGroups: [\"{}\"], resources: [{}], verbs: [{}]{names} }}",
        permission.group, permission.resource, permission.verb
    )
}

fn role(name: &str, rules: &[String]) -> String {
    let object = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: {name} }}\nrules:\n{}",
        rules.join("\n")
    );
    apply("the rights that are missing", &object)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Answer;
    use super::super::gather::{Gathering, Question};
    use super::*;

    fn told(reviews: Option<Vec<(Permission, Review)>>) -> Finding {
        let mut gathering = Gathering::new(Question {
            configuration: crate::config::Configuration::default(),
            namespace: "pointsman-system".to_owned(),
            node: None,
            pod: None,
            scheduler_files: Vec::new(),
            now: jiff::Timestamp::UNIX_EPOCH,
        });
        gathering.facts().reviews = reviews;
        caller(&gathering.finish().unwrap())
    }

    #[test]
    fn the_caller_is_told_what_the_api_server_said_of_his_rights() {
        let pods = || Permission::everywhere("list", "", "pods");
        let pools = || Permission::everywhere("list", "spiderpool.spidernet.io", "spiderippools");
        assert_eq!(told(None).answer, Answer::Unknown);
        let all = told(Some(vec![(pods(), Review::Allowed), (pools(), Review::Allowed)]));
        assert_eq!(
            (all.answer, all.evidence.as_str()),
            (Answer::Yes, "2 rights: all given")
        );
        let some = told(Some(vec![(pods(), Review::Allowed), (pools(), Review::Denied)]));
        assert_eq!(
            (some.answer, some.evidence.as_str()),
            (
                Answer::No,
                "1 of 2 rights missing: list spiderippools.spiderpool.spidernet.io"
            )
        );
        assert!(
            some.remedy.contains("resources: [spiderippools], verbs: [list]"),
            "{}",
            some.remedy
        );
        let none = told(Some(vec![(pods(), Review::Failed("timeout".to_owned()))]));
        assert_eq!(
            (none.answer, none.evidence.as_str()),
            (Answer::Unknown, "list pods (timeout)")
        );
    }

    #[test]
    fn a_rule_for_one_object_allows_nothing_without_its_name() {
        let rule = RoleRule {
            api_groups: vec![String::new()],
            resources: vec!["secrets".to_owned()],
            resource_names: vec!["ca".to_owned()],
            verbs: vec!["*".to_owned()],
        };
        let named = |name: Option<&str>| Permission {
            name: name.map(str::to_owned),
            ..Permission::everywhere("get", "", "secrets")
        };
        assert!(allows(&rule, &named(Some("ca"))));
        assert!(!allows(&rule, &named(Some("other"))));
        assert!(!allows(&rule, &named(None)));
        // A subresource is another resource.
        assert!(!allows(
            &rule,
            &Permission::everywhere("create", "", "secrets/binding")
        ));
    }
}
