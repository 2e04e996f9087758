//! Gopher's repetition signals with datatrove's semantics: repeated lines, paragraphs and n-grams.
//!
//! The most frequent n-grams are found level by level over numbered words (`ngram.rs`), since they compare
//! word by word. The repeated 5- to 10-grams compare the words run together, where ("1", "23") equals
//! ("12", "3"), so levels would miss some. Instead a first pass counts the 16 bytes from each word on: only
//! places whose 16 bytes occur again, or whose 5-gram is shorter, are visited for each n.
//!
//! Cost: linear in the text on ordinary text; buffers are used again for the next document.

use std::hash::{BuildHasher as _, RandomState};

use crate::ngram::{NGrams, fold, hash};
use crate::text::{Span, Views, count_chars};

/// Lengths of the n-grams whose most frequent one is measured.
pub const TOP: [usize; 3] = [2, 3, 4];
/// Lengths of the n-grams whose repeats are measured.
pub const DUP: [usize; 6] = [5, 6, 7, 8, 9, 10];

/// Bytes compared by the first pass over repeated n-grams.
const WINDOW: usize = 16;
/// Buffers above this many bytes are given back after the document that needed them.
const KEEP_BYTES: usize = 4 << 20;

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

/// The n-gram signals of one document after another.
#[derive(Debug)]
pub struct Grams {
    seed: u64,
    ngrams: NGrams,
    /// The words run together, and `WINDOW` bytes more.
    joined: Vec<u8>,
    /// Where each word starts in `joined`, and the end of the last.
    starts: Vec<u32>,
    /// As `starts` in characters; empty where all characters are single bytes.
    chars: Vec<u32>,
    hashes: Vec<u32>,
    counts: Vec<u8>,
    live: Vec<u32>,
    slots: Vec<u64>,
}

impl Default for Grams {
    fn default() -> Self {
        Self {
            seed: seed(),
            ngrams: NGrams::default(),
            joined: Vec::new(),
            starts: Vec::new(),
            chars: Vec::new(),
            hashes: Vec::new(),
            counts: Vec::new(),
            live: Vec::new(),
            slots: Vec::new(),
        }
    }
}

impl Grams {
    /// Take up the words of a document; both measures below are of this document.
    pub fn load(&mut self, doc: &Views<'_>) {
        let source = doc.words_text.as_bytes();
        self.starts.clear();
        self.chars.clear();
        let total: usize = doc.words.iter().map(Span::num_bytes).sum();
        if self.joined.len() < total + WINDOW || self.joined.len() > KEEP_BYTES.max(2 * total) {
            self.joined = vec![0; total + WINDOW];
        }
        let mut end = 0;
        for word in doc.words {
            self.starts.push(end as u32);
            let start = word.start as usize;
            let length = word.num_bytes();
            let target = self.joined.get_mut(end..).unwrap_or_default();
            // A copy of fixed size is a single instruction; what it writes too much is overwritten.
            if length <= WINDOW
                && let (Some(from), Some(to)) =
                    (source.get(start..start + WINDOW), target.first_chunk_mut::<WINDOW>())
            {
                to.copy_from_slice(from);
            } else if let (Some(from), Some(to)) =
                (source.get(start..start + length), target.get_mut(..length))
            {
                to.copy_from_slice(from);
            }
            end += length;
        }
        self.starts.push(end as u32);
        if !doc.is_ascii || !doc.words_text.is_ascii() {
            let mut sum = 0;
            self.chars.push(0);
            for word in doc.iter_words() {
                sum += count_chars(word);
                self.chars.push(sum as u32);
            }
        }
        self.ngrams.number(source, doc.words);
    }

    /// Characters of the most frequent n-gram times its count, for the lengths `TOP`.
    ///
    /// Ties go to the first; words are joined by single spaces; 0 where there are too few words.
    pub fn top(&mut self) -> [usize; TOP.len()] {
        let num_words = self.starts.len() - 1;
        let positions = if self.chars.is_empty() { &self.starts } else { &self.chars };
        let length = |at: usize, n: usize| (positions[at + n] - positions[at]) as usize + n - 1;
        let mut found = TOP.map(|n| if n <= num_words { length(0, n) } else { 0 });
        self.ngrams.levels(TOP[TOP.len() - 1], |level| {
            let most = level.counts.iter().copied().max().unwrap_or(0);
            let gram = level.counts.iter().position(|&count| count == most);
            let first = level.repeated.iter().find(|pair| Some(pair.1 as usize) == gram);
            let index = TOP.iter().position(|&n| n == level.n);
            if let (Some(&(at, _)), Some(index)) = (first, index) {
                found[index] = length(at as usize, level.n) * most as usize;
            }
        });
        found
    }

    /// Characters of the n-grams that occurred before, for the lengths `DUP`.
    ///
    /// Read from the left: after a repeat the next n-gram starts behind it, and only n-grams that are no repeat
    /// count as having occurred.
    pub fn dup(&mut self) -> [usize; DUP.len()] {
        self.find_live();
        DUP.map(|n| if self.live.is_empty() { 0 } else { self.dup_of(n) })
    }

    /// Keep the places where a repeat of `DUP[0]` words or more may start.
    fn find_live(&mut self) {
        self.live.clear();
        self.hashes.clear();
        let slots = (8 * self.starts.len()).next_power_of_two();
        self.counts.clear();
        if self.counts.capacity() > KEEP_BYTES.max(2 * slots) {
            self.counts = Vec::new();
        }
        self.counts.resize(slots, 0);
        let mask = (slots - 1) as u32;
        for grams in self.starts.windows(DUP[0] + 1) {
            let (start, end) = (grams[0] as usize, grams[DUP[0]] as usize);
            let window =
                self.joined.get(start..start + WINDOW).and_then(|bytes| bytes.first_chunk::<WINDOW>());
            let hash = match window {
                Some(window) if end - start >= WINDOW => window_hash(self.seed, window) as u32 & mask,
                _ => u32::MAX,
            };
            if let Some(count) = self.counts.get_mut(hash as usize) {
                *count = count.saturating_add(1);
            }
            self.hashes.push(hash);
        }
        for (at, &hash) in (0u32..).zip(&self.hashes) {
            if self.counts.get(hash as usize).is_none_or(|&count| count > 1) {
                self.live.push(at);
            }
        }
    }

    fn dup_of(&mut self, n: usize) -> usize {
        let mask = clear(&mut self.slots, 2 * self.live.len());
        let positions = if self.chars.is_empty() { &self.starts } else { &self.chars };
        let (starts, joined) = (&self.starts, &self.joined);
        let gram = |at: usize| {
            let end = *starts.get(at + n)?;
            joined.get(starts[at] as usize..end as usize)
        };
        let mut sum = 0;
        let mut next = 0;
        for &at in &self.live {
            let at = at as usize;
            if at < next {
                continue;
            }
            let Some(bytes) = gram(at) else { break };
            let same = |number: u64| gram(number as usize - 1) == Some(bytes);
            if seen_before(&mut self.slots, mask, hash(self.seed, bytes), at as u64 + 1, same) {
                sum += (positions[at + n] - positions[at]) as usize;
                next = at + n;
            }
        }
        sum
    }
}

/// Look up `hash` in a table of (high half of the hash, number); put `number` there if nothing is the `same`.
#[inline]
fn seen_before(slots: &mut [u64], mask: usize, hash: u64, number: u64, same: impl Fn(u64) -> bool) -> bool {
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

/// Empty a table and give it at least `wanted` slots; returns its mask.
fn clear(slots: &mut Vec<u64>, wanted: usize) -> usize {
    let size = wanted.next_power_of_two().max(16);
    slots.clear();
    if slots.capacity() > (KEEP_BYTES / 8).max(2 * size) {
        *slots = Vec::new();
    }
    slots.resize(size, 0);
    size - 1
}

fn window_hash(seed: u64, window: &[u8; WINDOW]) -> u64 {
    let value = u128::from_le_bytes(*window);
    fold(value as u64 ^ seed, (value >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15)
}

/// No result depends on the seed; it keeps texts from being made to collide.
fn seed() -> u64 {
    RandomState::new().hash_one(0u8)
}
