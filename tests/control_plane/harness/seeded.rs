//! Random choices that a seed repeats: what a test made up can be made up again from the number that it printed.

/// A sequence of choices (SplitMix64: one word of state, and every seed is a good one).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in the environment variable `SEED`, else this one; said, so that a failure can be repeated.
    pub(crate) fn seed(otherwise: u64) -> u64 {
        let seed = std::env::var("SEED")
            .ok()
            .map(|seed| seed.parse().expect("SEED is a number"));
        let seed = seed.unwrap_or(otherwise);
        eprintln!("seed {seed}: set SEED={seed} to repeat it");
        seed
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of these.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Some of these in their order, at least one.
    pub(crate) fn some<T: Clone>(&mut self, of: &[T]) -> Vec<T> {
        let mut chosen: Vec<T> = of.iter().filter(|_| self.percent(50)).cloned().collect();
        if chosen.is_empty() {
            chosen.push(self.one(of).clone());
        }
        chosen
    }
}
