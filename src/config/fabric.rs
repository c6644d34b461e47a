//! The settings of the fabric: which labels name its tiers, and what a link must be.

use core::time::Duration;

use strum::IntoEnumIterator as _;

use super::fields::Fields;
use crate::decide::fabric::{Speed, Width};
use crate::decide::links::{Least, LinkPolicy};
use crate::decide::tier::{PRESETS, Preset};

/// The section `fabric`.
pub(super) fn links(fields: &mut Fields<'_>) -> LinkPolicy {
    let default = LinkPolicy::default();
    let widths: Vec<(String, Least<Width>)> = (1..=12)
        .filter_map(Width::of_lanes)
        .map(|width| (width.to_string(), Least::Of(width)))
        .collect();
    let speeds: Vec<(String, Least<Speed>)> = Speed::iter()
        .map(|speed| (speed.to_string(), Least::Of(speed)))
        .collect();
    LinkPolicy {
        // Below a minute every import would be late; above a year nobody means it.
        max_age: fields.duration(
            "maxAge",
            default.max_age,
            Duration::from_mins(1),
            Duration::from_hours(24 * 365),
        ),
        width: least(fields, "minWidth", &widths, default.width),
        speed: least(fields, "minSpeed", &speeds, default.speed),
    }
}

fn least<T: Copy>(
    fields: &mut Fields<'_>,
    key: &'static str,
    named: &[(String, Least<T>)],
    default: Least<T>,
) -> Least<T> {
    let words: Vec<(&str, Least<T>)> = [("peers", Least::Peers), ("any", Least::Any)]
        .into_iter()
        .chain(named.iter().map(|(word, least)| (word.as_str(), *least)))
        .collect();
    fields.choice(key, &words, default)
}

/// `locality.preset`; none for whichever the nodes carry.
pub(super) fn preset(fields: &mut Fields<'_>) -> Option<&'static Preset> {
    let named = PRESETS.iter().map(|preset| (preset.name, Some(preset)));
    let words: Vec<(&str, Option<&'static Preset>)> = [("auto", None)].into_iter().chain(named).collect();
    fields.choice("preset", &words, None)
}
