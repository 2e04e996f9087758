//! Equal pieces of a text: lines, paragraphs. Linear in the text; pieces are compared, never only their hashes.

use crate::ngram::hash;
use crate::text::{Span, count_chars};
use crate::vocabulary::{clear, seed};

/// Equal pieces of a text.
#[derive(Debug)]
pub struct Repeats {
    seed: u64,
    slots: Vec<u64>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { seed: seed(), slots: Vec::new() }
    }
}

impl Repeats {
    /// For each of the `pieces` of `text`, append whether it equals an earlier one.
    pub fn mark(&mut self, text: &str, pieces: &[Span], repeated: &mut Vec<bool>) {
        if pieces.len() < 2 {
            repeated.extend(pieces.iter().map(|_| false));
            return;
        }
        let mask = clear(&mut self.slots, 2 * pieces.len());
        for (piece, number) in pieces.iter().zip(1u64..) {
            let bytes = piece.of(text).as_bytes();
            let hash = hash(self.seed, bytes);
            let same = |number: u64| {
                pieces.get(number as usize - 1).is_some_and(|other| other.of(text).as_bytes() == bytes)
            };
            repeated.push(seen_before(&mut self.slots, mask, hash, number, same));
        }
    }
}

/// Number of the repeated pieces and their characters together.
#[must_use]
pub fn total(text: &str, pieces: &[Span], repeated: &[bool]) -> (usize, usize) {
    let found = pieces.iter().zip(repeated).filter(|(_, repeated)| **repeated);
    found.fold((0, 0), |(count, chars), (piece, _)| (count + 1, chars + count_chars(piece.of(text))))
}

/// Look up `hash` in a table of (high half of the hash, number); put `number` there if nothing is the `same`.
#[inline]
pub fn seen_before(
    slots: &mut [u64],
    mask: usize,
    hash: u64,
    number: u64,
    same: impl Fn(u64) -> bool,
) -> bool {
    let tag = hash >> 32 << 32;
    let mut slot = hash as usize & mask;
    loop {
        let entry = slots[slot];
        if entry == 0 {
            slots[slot] = tag | number;
            return false;
        }
        if (entry ^ tag) >> 32 == 0 && same(entry & 0xffff_ffff) {
            return true;
        }
        slot = (slot + 1) & mask;
    }
}
