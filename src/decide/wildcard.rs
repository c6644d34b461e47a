//! Wildcards in pool names, with the meaning of Go's `filepath.Match`, by which Spiderpool resolves them.

/// Whether `pattern` is more than a literal name.
#[must_use]
pub fn is_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// A pattern that is not well-formed: an open bracket, an empty class, or a trailing backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A pattern, read once: a cluster has hundreds of pools, and every pod asks about each of them for every rail.
#[derive(Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
    prefix: String,
}

impl Pattern {
    /// Reads a pattern: `*` any run, `?` any one character, `[a-z]` and `[^a-z]` classes, `\` escapes. (A pool's name
    /// has no slash, so the rule about path separators never matters.)
    ///
    /// # Errors
    /// [`Malformed`] where Go would answer `ErrBadPattern`.
    pub fn parse(pattern: &str) -> Result<Self, Malformed> {
        let tokens = tokens(pattern)?;
        let literal = |token: &Token| match token {
            Token::One(Class::Exactly(c)) => Some(*c),
            Token::One(Class::Any | Class::Ranges { .. }) | Token::Run => None,
        };
        let prefix = tokens.iter().map_while(literal).collect();
        Ok(Self { tokens, prefix })
    }

    /// What everything that matches begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether `text` as a whole matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (mut tokens, mut rest) = (self.tokens.as_slice(), text.chars());
        // Where to go on when what follows the last run does not match: only the last run need ever take more.
        let mut retry = None;
        loop {
            match tokens.split_first() {
                Some((Token::Run, after)) => {
                    retry = Some((after, rest.clone()));
                    tokens = after;
                    continue;
                }
                Some((Token::One(class), after)) => {
                    let mut next = rest.clone();
                    if next.next().is_some_and(|c| class.contains(c)) {
                        (tokens, rest) = (after, next);
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((after, from)) = &mut retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (tokens, rest) = (*after, from.clone());
        }
    }
}

#[derive(Debug)]
enum Token {
    Run,
    One(Class),
}

#[derive(Debug)]
enum Class {
    Any,
    Exactly(char),
    Ranges {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Class {
    fn contains(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => c == *expected,
            Self::Ranges { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *negated
            }
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, Malformed> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Run,
            '?' => Token::One(Class::Any),
            '\\' => Token::One(Class::Exactly(chars.next().ok_or(Malformed)?)),
            '[' => Token::One(class(&mut chars)?),
            literal => Token::One(Class::Exactly(literal)),
        });
    }
    Ok(tokens)
}

fn class(chars: &mut core::iter::Peekable<core::str::Chars<'_>>) -> Result<Class, Malformed> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if chars.next_if_eq(&']').is_some() {
            return if ranges.is_empty() {
                Err(Malformed)
            } else {
                Ok(Class::Ranges { negated, ranges })
            };
        }
        let first = class_char(chars)?;
        let last = if chars.next_if_eq(&'-').is_some() {
            class_char(chars)?
        } else {
            first
        };
        ranges.push((first, last));
    }
}

/// One end of a range; Go refuses an unescaped `-` or `]` here.
fn class_char(chars: &mut core::iter::Peekable<core::str::Chars<'_>>) -> Result<char, Malformed> {
    match chars.next().ok_or(Malformed)? {
        '-' | ']' => Err(Malformed),
        '\\' => chars.next().ok_or(Malformed),
        c => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("rail*", "rail12", true)]
    #[case("rail?", "rail12", false)]
    #[case("*-pool", "rail1-pool", true)]
    #[case("rail[0-3]-*", "rail2-pool", true)]
    #[case("rail[^0-3]", "rail2", false)]
    #[case("a*b*c", "aXbYc", true)]
    #[case("a*b*c", "aXbYcZ", false)]
    #[case("a\\*", "a*", true)]
    #[case("a\\*", "ab", false)]
    #[case("", "", true)]
    #[case("*", "", true)]
    fn matches_as_go_does(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(text), expected);
    }

    #[rstest]
    #[case("[")]
    #[case("[]a]")]
    #[case("a\\")]
    #[case("[a-]")]
    fn refuses_what_go_refuses(#[case] pattern: &str) {
        assert_eq!(Pattern::parse(pattern).err(), Some(Malformed));
    }

    #[rstest]
    #[case("rail0-*", "rail0-")]
    #[case("rail?", "rail")]
    #[case("a\\*b[c]", "a*b")]
    #[case("*", "")]
    fn knows_what_matches_begin_with(#[case] pattern: &str, #[case] prefix: &str) {
        assert_eq!(Pattern::parse(pattern).unwrap().prefix(), prefix);
    }

    /// All ways in which runs can be as long as they like, tried one after the other.
    fn by_brute_force(tokens: &[Token], text: &[char]) -> bool {
        match tokens.split_first() {
            None => text.is_empty(),
            Some((Token::Run, after)) => (0..=text.len()).any(|taken| by_brute_force(after, &text[taken..])),
            Some((Token::One(class), after)) => text
                .split_first()
                .is_some_and(|(c, rest)| class.contains(*c) && by_brute_force(after, rest)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(pattern in "[ab*?]{0,7}", text in "[ab]{0,8}") {
            let pattern = Pattern::parse(&pattern).unwrap();
            let chars: Vec<char> = text.chars().collect();
            let expected = by_brute_force(&pattern.tokens, &chars);
            prop_assert_eq!(pattern.matches(&text), expected);
            prop_assert!(!expected || text.starts_with(pattern.prefix()));
        }
    }
}
