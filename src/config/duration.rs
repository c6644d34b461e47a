//! Durations as people write them: `30s`, `200ms`, `2m`, `1h30m`, `90d`.
//!
//! Whole numbers with units only: a bare number would leave the unit to be guessed, and a fraction has a
//! smaller unit that says the same.

use core::time::Duration;

/// Units from the largest to the smallest, in milliseconds. `ms` stands before `m` where texts are matched.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];

/// Reads a duration; none when it is not one, or longer than `u64` milliseconds.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    // Every unit once and in falling order, so that each duration has few spellings and typing errors show.
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, tail) = rest.split_at(end);
        let count: u64 = digits.parse().ok()?;
        let (milliseconds, tail) = UNITS
            .iter()
            .find_map(|&(unit, milliseconds)| Some((milliseconds, tail.strip_prefix(unit)?)))?;
        if milliseconds >= last {
            return None;
        }
        last = milliseconds;
        total = total.checked_add(count.checked_mul(milliseconds)?)?;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// Writes a duration as [`parse`] reads it; what is finer than a millisecond is dropped.
#[must_use]
pub fn print(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    let mut falling = UNITS;
    falling.sort_by_key(|&(_, milliseconds)| core::cmp::Reverse(milliseconds));
    for (unit, milliseconds) in falling {
        let count = left.checked_div(milliseconds).unwrap_or(0);
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
            left = left.saturating_sub(count.saturating_mul(milliseconds));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("90d", 7_776_000_000),
            ("1d1ms", 86_400_001),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_leaves_something_to_guess_is_no_duration() {
        for text in [
            "",
            "30",
            "s",
            "1.5h",
            "-1s",
            "1s2m",
            "1s1s",
            "1 s",
            "1S",
            "99999999999999999999d",
            "300000000000d",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(milliseconds in 0..=u64::MAX) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&print(duration)), Some(duration));
        }
    }
}
