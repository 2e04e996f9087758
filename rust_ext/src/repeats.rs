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
    /// Number of `pieces` of `text` that equal an earlier one, and their characters together.
    pub fn count(&mut self, text: &str, pieces: &[Span]) -> (usize, usize) {
        if pieces.len() < 2 {
            return (0, 0);
        }
        let mask = clear(&mut self.slots, 2 * pieces.len());
        let mut found = (0, 0);
        for (piece, number) in pieces.iter().zip(1u64..) {
            let bytes = piece.of(text).as_bytes();
            let hash = hash(self.seed, bytes);
            let same = |number: u64| {
                pieces.get(number as usize - 1).is_some_and(|other| other.of(text).as_bytes() == bytes)
            };
            if seen_before(&mut self.slots, mask, hash, number, same) {
                found.0 += 1;
                found.1 += count_chars(piece.of(text));
            }
        }
        found
    }
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
