//! Files to objects: multi-document YAML and JSON, and the `kind: List` that `kubectl get` prints.
//!
//! A file that cannot be read or is no YAML is an error, with its place. What an object means is not judged here.

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub struct Object {
    /// The object as it is written.
    pub json: Value,
    /// Where.
    pub place: Place,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Which of the file's documents, from 1.
    pub document: usize,
    /// The line its document begins at, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, document {}, line {}",
            self.file.display(),
            self.document,
            self.line
        )
    }
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A path cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder holds nothing to read.
    #[error("{} holds no .yaml, .yml or .json file", .0.display())]
    Empty(PathBuf),
    /// A document is not what its format asks for.
    #[error("{place}: {fault}")]
    Malformed {
        /// Where it is wrong: the line is that of the mistake.
        place: Place,
        /// What is wrong.
        fault: String,
    },
}

/// The objects of these files, and of all files below these folders in the order of their paths.
///
/// # Errors
/// The first path that cannot be read, or the first document that is no YAML or JSON.
pub fn load(paths: &[PathBuf]) -> Result<Vec<Object>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                return Err(LoadError::Empty(path.clone()));
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut objects = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|source| LoadError::Unreadable {
            path: file.clone(),
            source,
        })?;
        read(&file.into(), &text, &mut objects)?;
    }
    Ok(objects)
}

/// Adds the objects of one file.
///
/// # Errors
/// The first document that is no YAML or JSON.
pub fn read(file: &Arc<Path>, text: &str, objects: &mut Vec<Object>) -> Result<(), LoadError> {
    for (number, (line, text)) in documents(text).into_iter().enumerate() {
        let place = Place {
            file: Arc::clone(file),
            document: number + 1,
            line,
        };
        let json = parse(text).map_err(|(offset, fault)| LoadError::Malformed {
            place: Place {
                line: line + offset,
                ..place.clone()
            },
            fault,
        })?;
        unpack(json, &place, objects);
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(unreadable)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// The documents of a file, each with the line it begins at. A line that starts with `---` always separates two:
/// YAML allows it nowhere else. Documents of nothing but comments are left out.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    let mut close = |from: usize, to: usize, line: usize| {
        let document = text.get(from..to).unwrap_or_default();
        // A `%YAML` directive stands before its document's separator, and says nothing we need.
        let is_content = |line: &str| {
            !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%')
        };
        if document.lines().any(is_content) {
            documents.push((line, document));
        }
    };
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let after = line.strip_prefix("---");
        if after.is_some_and(|after| after.is_empty() || after.starts_with(char::is_whitespace)) {
            close(start, offset, first_line);
            // What follows on the same line (`--- # comment`, `--- {}`) belongs to the new document.
            start = offset + 3;
            first_line = number + 1;
        }
        offset += line.len();
    }
    close(start, text.len(), first_line);
    documents
}

/// The value of one document; else on which of its lines, from 0, it is wrong, and why.
fn parse(text: &str) -> Result<Value, (usize, String)> {
    // JSON is YAML, but its own parser is many times faster and the dumps of large clusters are JSON.
    if text.trim_start().starts_with('{')
        && let Ok(json) = serde_json::from_str(text)
    {
        return Ok(json);
    }
    // The files are the user's own: what protects a server from its clients would refuse the dump of a large cluster.
    // The depth stays limited, because the stack is.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: usize::MAX,
            max_aliases: usize::MAX,
            max_recorded_anchor_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_merge_keys: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error
            .location()
            .and_then(|location| usize::try_from(location.line()).ok())
            .unwrap_or(1);
        // The place is told with the file's own lines.
        let text = error.to_string();
        let fault = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(fault, _)| fault);
        (line.saturating_sub(1), fault.to_owned())
    })
}

/// A list is its items, wherever it stands; an empty document is nothing.
fn unpack(json: Value, place: &Place, objects: &mut Vec<Object>) {
    match json {
        Value::Null => {}
        Value::Object(mut fields) if is_list(&fields) => {
            if let Some(Value::Array(items)) = fields.remove("items") {
                for item in items {
                    unpack(item, place, objects);
                }
            }
        }
        json => objects.push(Object {
            json,
            place: place.clone(),
        }),
    }
}

/// `List`, or a typed one as in `PodList`: what has items where an object would have its own fields.
fn is_list(fields: &serde_json::Map<String, Value>) -> bool {
    fields
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"))
        && fields.get("items").is_some_and(Value::is_array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str) -> Result<Vec<Object>, String> {
        let mut objects = Vec::new();
        read(&Arc::from(Path::new("f.yaml")), text, &mut objects).map_err(|error| error.to_string())?;
        Ok(objects)
    }

    #[test]
    fn reads_documents_and_lists_and_says_where_they_stand() {
        let found = objects(
            "# a comment\n---\nkind: A\n--- # the next\nkind: List\nitems:\n- kind: B\n- kind: PodList\n  items: [{ kind: C }]\n---\n---\n# nothing\n",
        )
        .unwrap();
        let places: Vec<String> = found
            .iter()
            .map(|object| format!("{} {}", object.json["kind"], object.place))
            .collect();
        assert_eq!(
            places,
            [
                "\"A\" f.yaml, document 1, line 2",
                "\"B\" f.yaml, document 2, line 4",
                "\"C\" f.yaml, document 2, line 4",
            ]
        );
    }

    #[test]
    fn reads_json_anchors_and_merge_keys() {
        assert_eq!(objects(" {\"kind\": \"A\"}\n").unwrap()[0].json["kind"], "A");
        let merged = objects("base: &base { a: 1 }\nmore: { <<: *base, b: 2 }\n").unwrap();
        assert_eq!(merged[0].json["more"], serde_json::json!({ "a": 1, "b": 2 }));
    }

    #[test]
    fn a_mistake_is_named_with_file_document_and_line() {
        let error = objects("kind: A\n---\nkind: B\nspec:\n  a: b: c\n").unwrap_err();
        insta::assert_snapshot!(error, @"f.yaml, document 2, line 5: mapping values are not allowed in this context");
        let error = objects("{ \"kind\": \"A\",\n  \"a\": [1\n").unwrap_err();
        insta::assert_snapshot!(error, @"f.yaml, document 1, line 2: unclosed bracket '['");
    }

    #[test]
    fn a_large_list_with_many_aliases_is_no_attack() {
        let mut text = "kind: List\nbase: &base { a: [1, 2, 3] }\nitems:\n".to_owned();
        for _ in 0..2_000 {
            text.push_str("- { kind: A, x: *base }\n");
        }
        assert_eq!(objects(&text).unwrap().len(), 2_000);
    }

    #[test]
    fn folders_are_read_in_order_and_must_hold_something() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(&[folder.path().to_owned()]).unwrap_err();
        assert!(
            error.to_string().ends_with("holds no .yaml, .yml or .json file"),
            "{error}"
        );
        fs::create_dir(folder.path().join("b")).unwrap();
        for (name, kind) in [("b/c.yml", "C"), ("a.json", "A"), ("a.txt", "T")] {
            fs::write(folder.path().join(name), format!("{{ \"kind\": \"{kind}\" }}")).unwrap();
        }
        let kinds: Vec<Value> = load(&[folder.path().to_owned()])
            .unwrap()
            .into_iter()
            .map(|object| object.json["kind"].clone())
            .collect();
        assert_eq!(kinds, ["A", "C"]);
        let error = load(&[folder.path().join("none.yaml")]).unwrap_err();
        assert!(error.to_string().ends_with("none.yaml cannot be read"), "{error}");
    }
}
