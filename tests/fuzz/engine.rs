//! A fuzzer of one page: it changes inputs at random, from the same seed always in the same way, and keeps those that
//! brought about something new to change them further.
//!
//! `FUZZ_INPUTS` says how many inputs each target gets and `FUZZ_SEED` where chance begins; `make fuzz` sets both.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Enough to find what is shallow on every run, in a few seconds for all targets together.
const INPUTS: u64 = 2_000;
const SEED: u64 = 1;
/// Longer ones only take longer.
const LONGEST: usize = 4_096;
/// Inputs that are kept besides the seeds.
const KEPT: usize = 2_000;
/// Nothing that reads an input this short takes as long on any machine, however busy.
const SLOW: Duration = Duration::from_secs(10);

/// What is fuzzed.
pub(crate) struct Target<'a> {
    /// Its name, for whoever has to find it again.
    pub(crate) name: &'a str,
    /// Inputs to begin with: some good, some bad.
    pub(crate) seeds: &'a [&'a str],
    /// Words of its language, which chance alone would not find.
    pub(crate) words: &'a [&'a str],
    /// Tries an input, panics where something does not hold, and says what came of it: inputs of equal outcome are alike.
    pub(crate) check: &'a dyn Fn(&[u8]) -> String,
}

/// Tries as many inputs as the environment says.
pub(crate) fn fuzz(target: &Target<'_>) {
    let number = |variable: &str, default| match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}: found {text:?}, expected a number")),
        Err(_) => default,
    };
    let (inputs, seed) = (number("FUZZ_INPUTS", INPUTS), number("FUZZ_SEED", SEED));
    let mut chance = Chance(seed);
    let mut corpus: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    corpus.push(Vec::new());
    let mut outcomes = BTreeSet::new();
    for seed in &corpus {
        outcomes.insert(tried(target, seed));
    }
    for _ in 0..inputs {
        let input = changed(&corpus, target.words, &mut chance);
        let started = Instant::now();
        let outcome = tried(target, &input);
        assert!(
            started.elapsed() < SLOW,
            "{}: {} took {:?}",
            target.name,
            shown(&input),
            started.elapsed()
        );
        if corpus.len() < KEPT && outcomes.insert(outcome) {
            corpus.push(input);
        }
    }
    // A target whose every input ends alike is not read at all.
    assert!(
        outcomes.len() > 2,
        "{}: only the outcomes {outcomes:?}: are its seeds read?",
        target.name
    );
}

/// The outcome; of an input that does not hold, the shortest one that does not either.
fn tried(target: &Target<'_>, input: &[u8]) -> String {
    let attempt = |input: &[u8]| catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let panicked = match attempt(input) {
        Ok(outcome) => return outcome,
        Err(panicked) => panicked,
    };
    let mut shortest = input.to_vec();
    let mut step = shortest.len() / 2;
    while step > 0 {
        let mut at = 0;
        while at + step <= shortest.len() {
            let mut shorter = shortest.clone();
            shorter.drain(at..at + step);
            if attempt(&shorter).is_err() {
                shortest = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    eprintln!("{}: does not hold for {}", target.name, shown(&shortest));
    std::panic::resume_unwind(panicked);
}

/// As it can be written into a test.
fn shown(input: &[u8]) -> String {
    match std::str::from_utf8(input) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("b\"{}\"", input.escape_ascii()),
    }
}

/// One of the corpus, changed in one to four places.
fn changed(corpus: &[Vec<u8>], words: &[&str], chance: &mut Chance) -> Vec<u8> {
    let mut input = chance.one(corpus).clone();
    for _ in 0..=chance.below(4) {
        let from = chance.below(input.len() + 1);
        let to = from + chance.below((input.len() - from).min(32) + 1);
        match chance.below(9) {
            0 => drop(input.drain(from..to)),
            1 => {
                let copy = input[from..to].to_vec();
                let at = chance.below(input.len() + 1);
                input.splice(at..at, copy);
            }
            2 => {
                let other = chance.one(corpus);
                let begin = chance.below(other.len() + 1);
                input.truncate(from);
                input.extend_from_slice(&other[begin..]);
            }
            3 if from < input.len() => input[from] ^= 1 << chance.below(8),
            4 => input.insert(from, u8::try_from(chance.below(256)).unwrap()),
            5 => {
                let odd = [
                    "\u{0}",
                    "\u{feff}",
                    "é",
                    "\u{2028}",
                    "\u{1F4A3}",
                    "-1",
                    "18446744073709551616",
                    "1e309",
                    "\\ud800",
                ];
                input.splice(from..to, chance.one(&odd).bytes());
            }
            6 => {
                let times = chance.below(64);
                let copy = input[from..to].repeat(times);
                input.splice(from..from, copy);
            }
            _ if words.is_empty() => {}
            7 => drop(input.splice(from..from, chance.one(words).bytes())),
            _ => drop(input.splice(from..to, chance.one(words).bytes())),
        }
    }
    input.truncate(LONGEST);
    input
}

/// SplitMix64: small, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
