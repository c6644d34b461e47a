//! Names in a pod that are read only to see whether they are ours.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

use super::facts::{NAME_VARIABLE, PODNETINFO, PODNETINFO_PATH, POSITION_VARIABLE};

/// A name of which all that matters is whether it is one that we give: a pod has hundreds of others, and none of them
/// is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known(Option<&'static str>);

impl Known {
    const OURS: [&str; 4] = [POSITION_VARIABLE, NAME_VARIABLE, PODNETINFO, PODNETINFO_PATH];
}

impl PartialEq<&'static str> for Known {
    fn eq(&self, other: &&'static str) -> bool {
        self.0 == Some(*other)
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Known;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, name: &str) -> Result<Known, E> {
                Ok(Known(Known::OURS.into_iter().find(|ours| *ours == name)))
            }
        }

        deserializer.deserialize_str(Name)
    }
}
