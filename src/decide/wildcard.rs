//! Wildcards in pool names, with the meaning of Go's `filepath.Match`, by which Spiderpool resolves them.

/// Whether `pattern` is more than a literal name.
#[must_use]
pub fn is_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// A pattern that is not well-formed: an open bracket, an empty class, or a trailing backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Whether `text` as a whole matches `pattern`: `*` any run, `?` any one character, `[a-z]` and `[^a-z]` classes,
/// `\` escapes. (A pool's name has no slash, so the rule about path separators never matters.)
///
/// # Errors
/// [`Malformed`] where Go would answer `ErrBadPattern`.
pub fn matches(pattern: &str, text: &str) -> Result<bool, Malformed> {
    let tokens = tokens(pattern)?;
    let text: Vec<char> = text.chars().collect();
    // reachable[i]: the tokens so far can have consumed the first i characters.
    let mut reachable = vec![false; text.len() + 1];
    if let Some(start) = reachable.first_mut() {
        *start = true;
    }
    for token in &tokens {
        let mut next = vec![false; text.len() + 1];
        match token {
            Token::Run => {
                let mut seen = false;
                for (to, from) in next.iter_mut().zip(&reachable) {
                    seen |= *from;
                    *to = seen;
                }
            }
            Token::One(class) => {
                for ((to, from), c) in next.iter_mut().skip(1).zip(&reachable).zip(&text) {
                    *to = *from && class.contains(*c);
                }
            }
        }
        reachable = next;
    }
    Ok(reachable.last().copied().unwrap_or(false))
}

enum Token {
    Run,
    One(Class),
}

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
    use rstest::rstest;

    #[rstest]
    #[case("rail*", "rail12", true)]
    #[case("rail?", "rail12", false)]
    #[case("*-pool", "rail1-pool", true)]
    #[case("rail[0-3]-*", "rail2-pool", true)]
    #[case("rail[^0-3]", "rail2", false)]
    #[case("a*b*c", "aXbYc", true)]
    #[case("a\\*", "a*", true)]
    #[case("a\\*", "ab", false)]
    #[case("", "", true)]
    #[case("*", "", true)]
    fn matches_as_go_does(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(matches(pattern, text), Ok(expected));
    }

    #[rstest]
    #[case("[")]
    #[case("[]a]")]
    #[case("a\\")]
    #[case("[a-]")]
    fn refuses_what_go_refuses(#[case] pattern: &str) {
        assert_eq!(matches(pattern, "a"), Err(Malformed));
    }
}
