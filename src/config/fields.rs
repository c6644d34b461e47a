//! Reads the fields of a decoded file one by one and collects everything that is wrong with them.
//!
//! serde stops at the first error; a file should be mended once. A field that is absent or null keeps its
//! default, a field nobody asked for is a problem that lists the known ones.

use core::fmt::Display;
use core::time::Duration;

use serde_json::{Map, Value};

use super::duration;
use crate::decide::problem::{Problem, Problems};

/// One mapping of the file.
pub(super) struct Fields<'a> {
    path: String,
    unread: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// Reads the whole file with `read`; what is not a mapping is one problem.
    pub(super) fn of_file<T>(
        file: Value,
        problems: &'a mut Problems,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        Self::read(String::new(), file, problems, read)
    }

    /// Reads the mapping under `key` with `read`; an absent one is read as empty, so that defaults apply.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Fields<'_>) -> T) -> T {
        let value = self.take(key).unwrap_or_else(|| Value::Object(Map::new()));
        Fields::read(self.at(key), value, self.problems, read)
    }

    /// A field that must be there and be `only`.
    pub(super) fn fixed(&mut self, key: &'static str, only: &str) {
        match self.take(key) {
            Some(Value::String(text)) if text == only => {}
            Some(other) => self.wrong(key, shown(&other), only, format!("write {key}: {only}")),
            None => self.wrong(key, "nothing", only, format!("add {key}: {only}")),
        }
    }

    /// A text for which `good` holds.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        default: &str,
        expected: &str,
        good: impl FnOnce(&str) -> bool,
    ) -> String {
        match self.take(key) {
            None => default.to_owned(),
            Some(Value::String(text)) if good(&text) => text,
            Some(other) => {
                let remedy = if default.is_empty() {
                    "correct it or leave the field out".to_owned()
                } else {
                    format!("correct it or leave the field out for {default}")
                };
                self.wrong(key, shown(&other), expected, remedy);
                default.to_owned()
            }
        }
    }

    /// One of a few words; the first is the default.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        let Some(value) = self.take(key) else {
            return default;
        };
        let chosen = value
            .as_str()
            .and_then(|text| words.iter().find(|(word, _)| *word == text));
        if let Some(&(_, choice)) = chosen {
            return choice;
        }
        let names: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
        let first = names.first().copied().unwrap_or_default();
        self.wrong(
            key,
            shown(&value),
            listed(&names, "or"),
            format!("write one of them, or leave the field out for {first}"),
        );
        default
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Bool(flag)) => flag,
            Some(other) => {
                self.wrong(
                    key,
                    shown(&other),
                    "true or false, without quotes",
                    format!("write one of them, or leave the field out for {default}"),
                );
                default
            }
        }
    }

    /// A duration between `least` and `most`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        let Some(value) = self.take(key) else {
            return default;
        };
        let read = value.as_str().and_then(duration::parse);
        if let Some(read) = read
            && (least..=most).contains(&read)
        {
            return read;
        }
        self.wrong(
            key,
            shown(&value),
            format!(
                "a duration from {} to {}, such as {}",
                duration::print(least),
                duration::print(most),
                duration::print(default)
            ),
            "write whole numbers with the units d, h, m, s or ms",
        );
        default
    }

    /// A whole number between `least` and `most`.
    pub(super) fn number(&mut self, key: &'static str, default: u32, least: u32, most: u32) -> u32 {
        let Some(value) = self.take(key) else {
            return default;
        };
        let read = value.as_u64().and_then(|number| u32::try_from(number).ok());
        if let Some(read) = read
            && (least..=most).contains(&read)
        {
            return read;
        }
        self.wrong(
            key,
            shown(&value),
            format!("a whole number from {least} to {most}"),
            format!("correct it or leave the field out for {default}"),
        );
        default
    }

    /// A list of texts for each of which `good` holds; none when the field is absent.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        expected: &str,
        good: impl Fn(&str) -> bool,
    ) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let Value::Array(items) = value else {
            self.wrong(
                key,
                shown(&value),
                format!("a list, each {expected}"),
                "write each on a line of its own after a dash",
            );
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) if good(text) => texts.push(text.to_owned()),
                _ => self.wrong(
                    &format!("{key}[{index}]"),
                    shown(item),
                    expected,
                    "correct it or take it out of the list",
                ),
            }
        }
        Some(texts)
    }

    /// Reports something wrong with `key` that only its neighbors show.
    pub(super) fn wrong(
        &mut self,
        key: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let at = self.at(key);
        self.problems.push(Problem::new(at, found, expected, remedy));
    }

    fn read<T>(
        path: String,
        value: Value,
        problems: &mut Problems,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        let unread = match value {
            Value::Object(fields) => fields,
            other => {
                let at = if path.is_empty() { "the file" } else { &path };
                problems.push(Problem::new(
                    at,
                    shown(&other),
                    "a mapping of fields to values",
                    "write key: value lines",
                ));
                Map::new()
            }
        };
        let mut fields = Fields {
            path,
            unread,
            known: Vec::new(),
            problems,
        };
        let result = read(&mut fields);
        fields.report_unread();
        result
    }

    /// A field nobody took is one we do not know: said, never skipped, because it was meant to do something.
    fn report_unread(self) {
        let expected = format!("one of {}", self.known.join(", "));
        for key in self.unread.keys() {
            let at = join(&self.path, key);
            self.problems.push(Problem::new(
                at,
                "an unknown field",
                expected.as_str(),
                "correct its name or take it out",
            ));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.unread.remove(key).filter(|value| !value.is_null())
    }

    fn at(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A value as the user wrote it, or what kind of value it is where that would be long.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Null => "nothing".to_owned(),
        scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar.to_string(),
    }
}

/// `a, b or c`.
fn listed<T: Display>(items: &[T], last_word: &str) -> String {
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.to_string(),
        Some((last, others)) => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            format!("{} {last_word} {last}", others.join(", "))
        }
    }
}
