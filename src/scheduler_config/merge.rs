//! Adding our extender to a configuration that is there.

use serde_json::{Value, json};

use super::{API_VERSION, Input, KIND};
use crate::decide::settings::SchedulerMode;

/// A configuration with our extender in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The configuration.
    pub configuration: Value,
    /// What whoever asked for it has to know.
    pub warnings: Vec<String>,
}

/// Why the two cannot be made one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It is something else.
    #[error("found {found}, expected a {KIND} of {API_VERSION}")]
    NotAConfiguration {
        /// What it says it is.
        found: String,
    },
    /// A part of it is of another form.
    #[error("{path}: expected {expected}")]
    Malformed {
        /// Where.
        path: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Another extender manages one of our resources; a scheduler takes each name once.
    #[error(
        "the extender at {url} manages {resource} already, and a scheduler does not start when two extenders name the \
         same resource: take it out there, or let that extender go"
    )]
    NamedTwice {
        /// The other's `urlPrefix`.
        url: String,
        /// The resource.
        resource: String,
    },
    /// It has no profile of the name that pods will ask for.
    #[error("profiles: none is called {name}, the scheduler that Pointsman's webhook names")]
    NoSuchProfile {
        /// The name.
        name: String,
    },
}

/// Puts our extender into `existing`. An extender at the same address is ours from the last time, and replaced. Where
/// another one binds, ours is written without its bind verb: a scheduler takes only one.
///
/// # Errors
/// See [`MergeError`].
pub fn merge(existing: Value, input: &Input) -> Result<Merged, MergeError> {
    let mut configuration = existing;
    let word = |key: &str| {
        configuration
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or("nothing")
    };
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    if (api_version, kind) != (API_VERSION, KIND) {
        return Err(MergeError::NotAConfiguration {
            found: format!("a {kind} of {api_version}"),
        });
    }
    let mut warnings = Vec::new();
    let mut input = input.clone();
    let mut extenders = list(&configuration, "extenders")?;
    extenders.retain(|other| text(other, "urlPrefix") != input.extender_url);
    for other in &extenders {
        let url = text(other, "urlPrefix");
        let managed = list(other, "managedResources")?;
        if let Some(twice) = managed
            .iter()
            .find(|one| input.managed.contains(text(one, "name")))
        {
            return Err(MergeError::NamedTwice {
                url: url.to_owned(),
                resource: text(twice, "name").to_owned(),
            });
        }
        if input.binds && !text(other, "bindVerb").is_empty() {
            input.binds = false;
            warnings.push(format!(
                "the extender at {url} has bindVerb, and a scheduler takes only one: ours is written without. Set \
                 scheduler.bind: false in Pointsman's configuration, so that its holds cover the binding"
            ));
        }
    }
    // Ours first: others (HAMi) leave one node only, and nothing to choose from.
    extenders.insert(0, input.extender());
    let mut profiles = list(&configuration, "profiles")?;
    if profiles.is_empty() {
        profiles.push(json!({"schedulerName": "default-scheduler"}));
    }
    let name = match &input.mode {
        SchedulerMode::Dedicated(name) => name.as_str(),
        SchedulerMode::Existing => "",
    };
    let named = |profile: &Value| match text(profile, "schedulerName") {
        "" => name == "default-scheduler",
        other => other == name,
    };
    if !name.is_empty() && !profiles.iter().any(named) {
        return Err(MergeError::NoSuchProfile {
            name: name.to_owned(),
        });
    }
    for (index, profile) in profiles.iter_mut().enumerate() {
        let Some(fields) = profile.as_object_mut() else {
            return Err(MergeError::Malformed {
                path: format!("profiles[{index}]"),
                expected: "a mapping",
            });
        };
        // An extender is asked by every profile, and needs to see all nodes in each.
        fields.insert("percentageOfNodesToScore".to_owned(), 100.into());
    }
    if let Some(fields) = configuration.as_object_mut() {
        fields.insert("extenders".to_owned(), extenders.into());
        fields.insert("profiles".to_owned(), profiles.into());
    }
    Ok(Merged {
        configuration,
        warnings,
    })
}

/// The list under `key`; empty where there is none.
fn list(object: &Value, key: &str) -> Result<Vec<Value>, MergeError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items.clone()),
        Some(_) => Err(MergeError::Malformed {
            path: key.to_owned(),
            expected: "a list",
        }),
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        Input {
            mode: SchedulerMode::Existing,
            extender_url: "http://127.0.0.1:8888".to_owned(),
            binds: true,
            managed: ["x.io/vf".into()].into(),
        }
    }

    fn with(extenders: &Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": KIND, "extenders": extenders,
            "clientConnection": {"kubeconfig": "/k"}, "profiles": [{"schedulerName": "default-scheduler"}]})
    }

    #[test]
    fn what_is_there_stays_and_ours_comes_first() {
        let other = json!({"urlPrefix": "http://other", "filterVerb": "filter"});
        let merged = merge(with(&json!([other])), &input()).unwrap();
        let configuration = merged.configuration;
        assert_eq!(configuration["clientConnection"]["kubeconfig"], "/k");
        assert_eq!(configuration["extenders"], json!([input().extender(), other]));
        assert_eq!(configuration["profiles"][0]["percentageOfNodesToScore"], 100);
        assert!(merged.warnings.is_empty());
    }

    #[test]
    fn merging_again_changes_nothing() {
        let once = merge(with(&json!([])), &input()).unwrap().configuration;
        assert_eq!(merge(once.clone(), &input()).unwrap().configuration, once);
    }

    #[test]
    fn where_another_extender_binds_ours_is_written_without() {
        let other = json!({"urlPrefix": "http://hami", "bindVerb": "bind"});
        let merged = merge(with(&json!([other])), &input()).unwrap();
        assert!(merged.configuration["extenders"][0]["bindVerb"].is_null());
        let [warning] = merged.warnings.as_slice() else {
            panic!("{:?}", merged.warnings)
        };
        assert!(
            warning.contains("http://hami") && warning.contains("scheduler.bind: false"),
            "{warning}"
        );
    }

    #[test]
    fn a_resource_is_not_named_twice() {
        let other = json!({"urlPrefix": "http://other", "managedResources": [{"name": "x.io/vf"}]});
        let error = merge(with(&json!([other])), &input()).unwrap_err();
        assert_eq!(
            error,
            MergeError::NamedTwice {
                url: "http://other".to_owned(),
                resource: "x.io/vf".to_owned()
            }
        );
    }

    #[test]
    fn what_is_no_configuration_is_refused_with_its_place() {
        let error = merge(json!({"kind": "Pod", "apiVersion": "v1"}), &input()).unwrap_err();
        assert!(error.to_string().starts_with("found a Pod of v1"), "{error}");
        let error = merge(with(&json!("none")), &input()).unwrap_err();
        assert_eq!(error.to_string(), "extenders: expected a list");
        let dedicated = Input {
            mode: SchedulerMode::Dedicated("ours".into()),
            ..input()
        };
        let error = merge(with(&json!([])), &dedicated).unwrap_err();
        assert!(error.to_string().contains("none is called ours"), "{error}");
    }
}
