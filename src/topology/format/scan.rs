//! What the parsers of line formats share: a cursor over one line, and the account of lines that are not understood.

use crate::decide::fabric::{Guid, Speed, Width};
use crate::decide::problem::{Problem, Problems, quoted};
use crate::topology::dump::Link;

/// A cursor over a line; each step takes what it asks for, or gives none and the line is not of the expected form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    pub(super) fn new(line: &'a str) -> Self {
        Self(line)
    }

    /// What has not been taken yet.
    pub(super) fn rest(self) -> &'a str {
        self.0
    }

    /// Exactly this text.
    pub(super) fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Any number of blanks and tabs, none among them.
    pub(super) fn blanks(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    pub(super) fn char(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let first = chars.next()?;
        self.0 = chars.as_str();
        Some(first)
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }

    /// The next word, after blanks.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        self.blanks();
        Some(self.take_while(|c| c != ' ' && c != '\t')).filter(|word| !word.is_empty())
    }

    /// A decimal number, after blanks.
    pub(super) fn number(&mut self) -> Option<u16> {
        self.blanks();
        self.take_while(|c| c.is_ascii_digit()).parse().ok()
    }

    /// A text that begins with a quote here and ends with the last quote of the line, and what follows it. Tools do
    /// not escape quotes in descriptions.
    pub(super) fn quoted_to_last(self) -> Option<(&'a str, &'a str)> {
        self.0.strip_prefix('"')?.rsplit_once('"')
    }

    /// Nothing is left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// `4xHDR`, `4x???`, `??HDR`: lanes and speed; none where a part is neither known nor said to be unknown.
pub(super) fn width_and_speed(text: &str) -> Option<Link> {
    let (width, speed) = if let Some(speed) = text.strip_prefix("??") {
        (None, speed)
    } else {
        let lanes = text.find('x')?;
        let (width, speed) = text.split_at_checked(lanes.saturating_add(1))?;
        (Some(width.parse::<Width>().ok()?), speed)
    };
    Some(Link {
        width,
        speed: known_speed(speed)?.0,
        state: None,
    })
}

/// `4x HDR`, as two words.
pub(super) fn width_and_speed_words(width: &str, speed: &str) -> Option<Link> {
    let width = if unknown(width) {
        None
    } else {
        Some(width.parse::<Width>().ok()?)
    };
    Some(Link {
        width,
        speed: known_speed(speed)?.0,
        state: None,
    })
}

/// `0x` and a GUID, after blanks.
pub(super) fn guid(scan: &mut Scan<'_>) -> Option<Guid> {
    scan.blanks();
    scan.literal("0x")?;
    scan.take_while(|c| c.is_ascii_hexdigit()).parse().ok()
}

/// A speed that may be said to be unknown.
struct Known(Option<Speed>);

fn known_speed(text: &str) -> Option<Known> {
    if unknown(text) {
        return Some(Known(None));
    }
    text.parse().ok().map(|speed| Known(Some(speed)))
}

/// Whether the tools write this where they cannot tell.
pub(super) fn unknown(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'?')
}

/// Lines of which nothing could be made.
#[derive(Debug, Default)]
pub(super) struct Stray {
    lines: usize,
    unknown: usize,
    examples: Vec<(usize, String)>,
    problems: Problems,
    broken: usize,
}

/// Examples that are told; the rest is counted.
const EXAMPLES: usize = 5;

impl Stray {
    /// Counts a line.
    pub(super) fn line(&mut self) {
        self.lines = self.lines.saturating_add(1);
    }

    /// A line of no known kind: a few of them are another tool's chatter.
    pub(super) fn unknown(&mut self, number: usize, line: &str) {
        self.unknown = self.unknown.saturating_add(1);
        if self.examples.len() < EXAMPLES {
            self.examples.push((number, quoted(line)));
        }
    }

    /// A line of a known kind that does not follow its grammar: the file is damaged.
    pub(super) fn broken(&mut self, number: usize, line: &str, expected: &str) {
        self.broken = self.broken.saturating_add(1);
        if self.broken <= EXAMPLES {
            self.problems.push(Problem::new(
                format!("line {number}"),
                quoted(line),
                expected,
                "make the dump again",
            ));
        }
    }

    /// Tells of the unknown lines.
    ///
    /// # Errors
    /// The broken lines; and the unknown ones where they are more than one in a hundred.
    pub(super) fn finish(mut self, notes: &mut Vec<String>) -> Result<(), Problems> {
        if self.broken > EXAMPLES {
            self.problems.push(Problem::new(
                "the file",
                format!("{} broken lines in all", self.broken),
                "none",
                "make the dump again",
            ));
        }
        let places: Vec<String> = self
            .examples
            .iter()
            .map(|(number, text)| format!("line {number}: {text}"))
            .collect();
        let places = places.join(", ");
        if self.unknown.saturating_mul(100) > self.lines {
            self.problems.push(Problem::new(
                "the file",
                format!(
                    "{} of {} lines that are not understood ({places})",
                    self.unknown, self.lines
                ),
                "at most one in a hundred",
                "give a dump of one of the known formats",
            ));
        } else if self.unknown > 0 {
            notes.push(format!("{} lines are not understood ({places})", self.unknown));
        }
        self.problems.or(())
    }
}
