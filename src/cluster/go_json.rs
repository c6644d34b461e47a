//! JSON as Go's `encoding/json` decodes it, for texts that a Go program will read after us: keys match without
//! regard to case, pairs apply in order, null changes nothing, unknown keys are passed over.

use core::fmt;
use core::net::IpAddr;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What a value has to look like for Go to decode it; null always passes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// A list of strings.
    Texts,
    /// A whole number.
    Integer,
    /// A list of IP addresses; Go takes an empty string for none.
    Addresses,
    /// An object in which these keys, written in lower case, have these shapes.
    Object(&'static [(&'static str, Self)]),
    /// A list of such objects.
    Objects(&'static [(&'static str, Self)]),
}

impl Shape {
    /// Whether `value` decodes, else what is expected there.
    pub(super) fn check(self, value: &RawValue) -> Result<(), &'static str> {
        if is_null(value) {
            return Ok(());
        }
        let fits = match self {
            Self::Text => decoded::<String>(value).is_some(),
            Self::Texts => decoded::<Vec<Option<String>>>(value).is_some(),
            Self::Integer => decoded::<i64>(value).is_some(),
            Self::Addresses => decoded::<Vec<Option<String>>>(value).is_some_and(|addresses| {
                addresses
                    .iter()
                    .flatten()
                    .all(|address| address.is_empty() || address.parse::<IpAddr>().is_ok())
            }),
            Self::Object(keys) => Self::object_fits(keys, value),
            Self::Objects(keys) => decoded::<Vec<&RawValue>>(value).is_some_and(|objects| {
                objects
                    .into_iter()
                    .all(|object| is_null(object) || Self::object_fits(keys, object))
            }),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn object_fits(keys: &[(&str, Self)], object: &RawValue) -> bool {
        decoded::<Pairs<'_>>(object).is_some_and(|pairs| {
            pairs.0.iter().all(|(key, value)| {
                let key = folded(key);
                keys.iter()
                    .find(|(known, _)| *known == key)
                    .is_none_or(|(_, shape)| shape.check(value).is_ok())
            })
        })
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Texts => "a list of strings",
            Self::Integer => "an integer",
            Self::Addresses => "a list of IP addresses",
            Self::Object(_) => "an object with values of the right types",
            Self::Objects(_) => "a list of objects with values of the right types",
        }
    }
}

/// The pairs of an object in order, those of one key included.
pub(super) struct Pairs<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// The value, unless it is of another type.
pub(super) fn decoded<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Whether it is `null`.
pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// A key as Go compares it: two letters outside ASCII fold to ASCII ones.
pub(super) fn folded(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}
