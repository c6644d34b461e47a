//! The annotation `pointsman.io/fabric` of a node: its rails, as `pointsman topology import` found them.
//!
//! Written and read here and nowhere else, so that both sides mean the same. A text is never half read: either all
//! rails are right, or every problem is told.

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use strum::IntoEnumIterator;

use crate::decide::annotation;
use crate::decide::fabric::{MatchedBy, Rail, RailState, Speed};
use crate::decide::problem::{Problem, Problems, quoted};

/// The Lease in our namespace whose `renewTime` is when the fabric was looked at.
pub const LEASE: &str = "pointsman-fabric";

/// The version of the annotation's form.
const VERSION: u64 = 1;
/// Far above any node: the most rails an annotation may list.
const MOST_RAILS: usize = 256;

/// The rails in the annotation's text; `owner` names the object in what is told of problems (`node n1`).
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(owner: &str, text: &str) -> Result<Vec<Rail>, Problems> {
    let place = format!("{owner}, annotation {}", annotation::FABRIC);
    let wire: FabricWire = super::convert::read_text(&place, text)?;
    let mut problems = Problems::none();
    let mut wrong = |at: String, found: String, expected: &str| {
        problems.push(Problem::new(
            format!("{place}, {at}"),
            found,
            expected,
            "let `pointsman topology import` write it again",
        ));
    };
    if wire.version != VERSION {
        wrong("version".to_owned(), wire.version.to_string(), "1");
    }
    if wire.rails.len() > MOST_RAILS {
        wrong(
            "rails".to_owned(),
            format!("{} of them", wire.rails.len()),
            "at most 256",
        );
    }
    let mut rails: Vec<Rail> = Vec::with_capacity(wire.rails.len().min(MOST_RAILS));
    let mut numbers = BTreeSet::new();
    for (index, rail) in wire.rails.into_iter().take(MOST_RAILS).enumerate() {
        let mut wrong = |field: &str, found: String, expected: &str| {
            wrong(format!("rails[{index}].{field}"), found, expected);
        };
        if !numbers.insert(rail.rail) {
            wrong("rail", format!("{} a second time", rail.rail), "each number once");
        }
        let guid = word(rail.guid.as_deref(), GUID).unwrap_or_else(|(found, expected)| {
            wrong("guid", found, &expected);
            None
        });
        if rail.guid.is_none() {
            wrong("guid", "nothing".to_owned(), GUID);
        }
        let leaf = word(rail.leaf.as_deref(), GUID).unwrap_or_else(|(found, expected)| {
            wrong("leaf", found, &expected);
            None
        });
        let width =
            word(rail.width.as_deref(), "1x, 2x, 4x, 8x or 12x").unwrap_or_else(|(found, expected)| {
                wrong("width", found, &expected);
                None
            });
        let speed = word(rail.speed.as_deref(), &words::<Speed>()).unwrap_or_else(|(found, expected)| {
            wrong("speed", found, &expected);
            None
        });
        let state = rail.state.parse();
        if state.is_err() {
            wrong("state", quoted(&rail.state), &words::<RailState>());
        }
        let source = rail.source.parse();
        if source.is_err() {
            wrong("source", quoted(&rail.source), &words::<MatchedBy>());
        }
        if let (Some(guid), Ok(state), Ok(source)) = (guid, state, source) {
            rails.push(Rail {
                rail: rail.rail,
                hca: rail.hca,
                guid,
                leaf,
                leaf_name: rail.leaf_name,
                port: rail.port,
                state,
                width,
                speed,
                source,
            });
        }
    }
    rails.sort_by_key(|rail| rail.rail);
    problems.or(rails)
}

/// When the fabric was looked at, by the Lease of that; none where it does not say.
///
/// # Errors
/// What stands there in place of a time.
pub fn renewed(lease: &DynamicObject) -> Result<Option<Timestamp>, Problems> {
    let Some(time) = lease
        .data
        .pointer("/spec/renewTime")
        .filter(|time| !time.is_null())
    else {
        return Ok(None);
    };
    let read = time.as_str().and_then(|text| text.parse().ok());
    read.map(Some).ok_or_else(|| {
        Problems::from(Problem::new(
            format!("Lease {LEASE}, spec.renewTime"),
            time.to_string(),
            "a time such as 2026-01-31T12:00:00Z",
            "let `pointsman topology import` write it again; until then the fabric data counts as undated",
        ))
    })
}

/// The annotation's text for these rails, in rail order; the same rails always give the same text.
#[must_use]
pub fn print(rails: &[Rail]) -> String {
    // Numbers and texts only: there is nothing in it that JSON could not say.
    serde_json::to_string(&wire(rails)).unwrap_or_default()
}

/// The annotation's content, for whoever embeds it in JSON of his own.
#[must_use]
pub fn wire(rails: &[Rail]) -> FabricWire {
    let mut sorted: Vec<&Rail> = rails.iter().collect();
    sorted.sort_by_key(|rail| (rail.rail, rail.guid));
    FabricWire {
        version: VERSION,
        rails: sorted.into_iter().map(RailWire::from).collect(),
    }
}

/// The annotation as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricWire {
    version: u64,
    rails: Vec<RailWire>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RailWire {
    rail: u16,
    #[serde(default)]
    hca: String,
    guid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leaf_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    width: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    speed: Option<String>,
    source: String,
}

impl From<&Rail> for RailWire {
    fn from(rail: &Rail) -> Self {
        Self {
            rail: rail.rail,
            hca: rail.hca.clone(),
            guid: Some(rail.guid.to_string()),
            leaf: rail.leaf.map(|leaf| leaf.to_string()),
            leaf_name: rail.leaf_name.clone(),
            port: rail.port,
            state: rail.state.to_string(),
            width: rail.width.map(|width| width.to_string()),
            speed: rail.speed.map(|speed| speed.to_string()),
            source: rail.source.to_string(),
        }
    }
}

const GUID: &str = "a GUID such as 0xa088c20300001001";

/// What an optional word means, or what was found and what is expected.
fn word<T: FromStr>(text: Option<&str>, expected: &str) -> Result<Option<T>, (String, String)> {
    text.map(|text| text.parse().map_err(|_| (quoted(text), expected.to_owned())))
        .transpose()
}

/// The words of a closed set, for people.
fn words<T: IntoEnumIterator + fmt::Display>() -> String {
    let words: Vec<String> = T::iter().map(|word| word.to_string()).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fabric::Guid;

    const TEXT: &str = r#"{"version":1,"rails":[{"rail":0,"hca":"mlx5_0","guid":"0xa088c20300001001","leaf":"0xfc6a1c0300000100","leafName":"leaf01","port":12,"state":"Active","width":"4x","speed":"HDR","source":"guid"},{"rail":1,"hca":"","guid":"0xa088c20300001011","state":"Dark","source":"name"}]}"#;

    #[test]
    fn what_is_printed_reads_back_and_prints_the_same() {
        let rails = parse("node n1", TEXT).unwrap();
        assert_eq!(rails[0].port, Some(12));
        assert_eq!(rails[0].leaf, Some(Guid(0xfc6a_1c03_0000_0100)));
        assert_eq!(rails[1].state, RailState::Dark);
        assert_eq!(rails[1].leaf, None);
        assert_eq!(print(&rails), TEXT);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let text = TEXT
            .replace("\"version\":1", "\"version\":2")
            .replace("Active", "Up")
            .replace("\"4x\"", "\"5x\"")
            .replace("0xfc6a", "fc:6a")
            .replace("\"rail\":1", "\"rail\":0")
            .replace("\"source\":\"name\"", "\"source\":\"luck\"");
        let told = parse("node n1", &text).unwrap_err().to_string();
        for part in [
            "node n1, annotation pointsman.io/fabric, version: found 2, expected 1",
            "rails[0].state: found \"Up\", expected Active, Armed, Initialize, Down, Dark, Unknown",
            "rails[0].width: found \"5x\"",
            "rails[0].leaf: found \"fc:6a",
            "rails[1].rail: found 0 a second time",
            "rails[1].source: found \"luck\", expected guid, name, map",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }

    #[test]
    fn text_that_is_no_such_json_is_told() {
        for text in [
            "",
            "[]",
            "{\"version\":1}",
            "{\"version\":1,\"rails\":[{\"rail\":-1}]}",
        ] {
            assert!(parse("node n1", text).is_err(), "{text}");
        }
    }
}
