//! A scenario file of `pointsman check`: what it changes in the sound cluster, and what is asked.

use std::fs;
use std::path::{Path, PathBuf};

use pointsman::check::gather::{PodAt, Question, from_files};
use pointsman::check::{Facts, Report, Row, check};
use pointsman::config::Configuration;
use pointsman::simulate::load::{Object, load};
use serde_json::Value;

/// The sound cluster.
pub(crate) const CLUSTER: &str = "tests/scenarios/check/cluster.yaml";

/// What a scenario's comments say.
///
/// - `# alone`: the sound cluster is left out;
/// - `# without: KIND NAME`: that object of it is (every one of the kind without a name);
/// - `# node: NAME`, `# pod: NS/NAME`: as the flags;
/// - `# config: LINE`: a line of the configuration file.
#[derive(Default)]
struct Directives {
    alone: bool,
    without: Vec<(String, Option<String>)>,
    node: Option<String>,
    pod: Option<String>,
    config: Vec<String>,
}

/// The rows of a scenario.
pub(crate) fn report(file: &Path) -> Report {
    check(&facts(file))
}

fn facts(file: &Path) -> Facts {
    let directives = directives(&fs::read_to_string(file).unwrap());
    let mut objects = Vec::new();
    if !directives.alone {
        objects = load(&[PathBuf::from(CLUSTER)]).unwrap();
        for (kind, name) in &directives.without {
            let before = objects.len();
            objects.retain(|object| !is(object, kind, name.as_deref()));
            assert!(objects.len() < before, "there is no {kind} {name:?} to leave out");
        }
    }
    objects.extend(load(&[file.to_owned()]).unwrap());
    from_files(objects, question(&directives)).unwrap()
}

fn question(directives: &Directives) -> Question {
    let config = directives.config.join("\n");
    let config = format!("apiVersion: config.pointsman.io/v1alpha1\nkind: Configuration\n{config}\n");
    Question {
        configuration: Configuration::from_yaml(&config).unwrap(),
        namespace: "pointsman-system".to_owned(),
        node: directives.node.as_deref().map(Into::into),
        pod: directives.pod.as_deref().map(|pod| {
            let (namespace, name) = pod.split_once('/').unwrap();
            PodAt {
                namespace: namespace.into(),
                name: name.into(),
            }
        }),
        scheduler_files: Vec::new(),
        now: "2027-01-01T00:00:00Z".parse().unwrap(),
    }
}

fn directives(text: &str) -> Directives {
    let mut directives = Directives::default();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        let line = line.trim_start_matches('#').trim();
        let (key, value) = line
            .split_once(':')
            .map_or((line, ""), |(key, value)| (key, value.trim()));
        match key {
            "alone" => directives.alone = true,
            "without" => {
                let (kind, name) = value
                    .split_once(' ')
                    .map_or((value, None), |(kind, name)| (kind, Some(name.to_owned())));
                directives.without.push((kind.to_owned(), name));
            }
            "node" => directives.node = Some(value.to_owned()),
            "pod" => directives.pod = Some(value.to_owned()),
            "config" => directives.config.push(value.to_owned()),
            // What the scenario is about.
            _ => {}
        }
    }
    directives
}

fn is(object: &Object, kind: &str, name: Option<&str>) -> bool {
    let text = |pointer: &str| object.json.pointer(pointer).and_then(Value::as_str);
    text("/kind") == Some(kind) && name.is_none_or(|name| text("/metadata/name") == Some(name))
}

/// A row in full.
pub(crate) fn told(row: &Row) -> String {
    let head = format!(
        "{} {}: {}\n  {}\n",
        row.answer.as_str(),
        row.id,
        row.subject,
        row.evidence
    );
    let remedy: Vec<String> = row.remedy.lines().map(|line| format!("  | {line}\n")).collect();
    head + &remedy.concat()
}
