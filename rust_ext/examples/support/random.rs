//! Numbers and texts that depend on a seed alone.

/// SplitMix64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of one case.
    #[must_use]
    pub fn new(seed: u64, case: u64) -> Self {
        let mut first = Self(seed);
        Self(first.next() ^ case.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }

    /// One of some things, of which there is one at least.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A float between -2 and 2.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 22) as f32 - 2.0
    }
}

/// Words that the models have, marks that mean something to them, and what else texts are made of.
const PIECES: [&str; 20] = [
    "a",
    "ab",
    "w3",
    "w11",
    "b\u{e9}",
    "</s>",
    "<",
    ">",
    "__label__",
    "__label__l1",
    " ",
    " ",
    " ",
    "\n",
    "\t",
    "\0",
    "\u{a0}",
    "\u{4e2d}",
    "\u{300}",
    "\u{1f600}",
];

/// A text of pieces, of characters of all planes, or of one long word.
pub fn text(random: &mut Random) -> String {
    let most = *random.pick(&[1, 4, 40, 400]);
    let size = random.below(most + 1);
    match random.below(4) {
        0 => (0..size).filter_map(|_| char::from_u32(random.next() as u32 % 0x11_0000)).collect(),
        1 => random.pick(&PIECES[..10]).repeat(size),
        _ => (0..size).map(|_| *random.pick(&PIECES)).collect(),
    }
}
