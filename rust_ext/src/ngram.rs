//! Repeated n-grams of one document, level by level.
//!
//! An n-gram can occur twice only if both (n-1)-grams inside it do. So words are numbered, and each
//! level visits only the positions that are still repeated, with the two numbers of the level below as key:
//! ordinary text leaves few positions after the first levels, and no level ever hashes text.

use std::hash::{BuildHasher as _, RandomState};

use crate::text::Span;

/// Documents with more words have no n-gram signals: their tables would not fit a memory budget.
pub const MAX_WORDS: usize = 1 << 20;

/// Tables above this many slots are given back after the document that needed them.
const KEEP_SLOTS: usize = 1 << 18;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// One level: every occurrence of an n-gram that occurs at least twice.
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    /// Words in an n-gram, at least 2.
    pub n: usize,
    /// First word of each repeated occurrence and the number of its n-gram, by position.
    pub repeated: &'a [(u32, u32)],
    /// Occurrences of each n-gram by its number; numbers follow the first occurrence.
    pub counts: &'a [u32],
}

/// Numbers words and finds their repeated n-grams; buffers are used again for the next document.
#[derive(Debug)]
pub struct NGrams {
    seed: u64,
    ids: Vec<u32>,
    counts: Vec<u32>,
    first: Vec<Span>,
    words: Vec<u64>,
    pairs: Vec<u32>,
    keys: Vec<u64>,
    repeated: Vec<(u32, u32)>,
    level_counts: Vec<u32>,
}

impl Default for NGrams {
    fn default() -> Self {
        // Numbers do not depend on the seed; it keeps texts from being made to collide.
        let seed = RandomState::new().hash_one(0u8);
        Self {
            seed,
            ids: Vec::new(),
            counts: Vec::new(),
            first: Vec::new(),
            words: Vec::new(),
            pairs: Vec::new(),
            keys: Vec::new(),
            repeated: Vec::new(),
            level_counts: Vec::new(),
        }
    }
}

impl NGrams {
    /// Number the words of a document: equal words get equal numbers, in the order of first occurrence.
    pub fn number(&mut self, text: &[u8], words: &[Span]) {
        self.ids.clear();
        self.counts.clear();
        self.first.clear();
        let slots = (2 * words.len().min(MAX_WORDS)).next_power_of_two().clamp(64, 1 << 13);
        reset(&mut self.words, slots, 0);
        self.ids.reserve(words.len());
        for &word in words {
            if 2 * self.counts.len() >= self.words.len() {
                self.grow(text);
            }
            let id = self.id_of(text, word);
            self.ids.push(id);
        }
    }

    /// The number of each word.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Occurrences of each word by its number.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Visit levels 2 to `max_n` of the numbered words, until nothing is repeated.
    pub fn levels(&mut self, max_n: usize, mut visit: impl FnMut(Level<'_>)) {
        self.repeated.clear();
        for (at, &id) in (0u32..).zip(&self.ids) {
            if self.counts.get(id as usize).is_some_and(|&count| count > 1) {
                self.repeated.push((at, id));
            }
        }
        for n in 2..=max_n {
            self.next_level();
            if self.repeated.is_empty() {
                return;
            }
            visit(Level { n, repeated: &self.repeated, counts: &self.level_counts });
        }
    }

    fn id_of(&mut self, text: &[u8], word: Span) -> u32 {
        let bytes = slice(text, word);
        let hash = hash(self.seed, bytes);
        let mask = self.words.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.words[slot];
            if entry == 0 {
                let id = self.counts.len() as u32;
                self.words[slot] = (hash & !0xffff_ffff) | u64::from(id + 1);
                self.counts.push(1);
                self.first.push(word);
                return id;
            }
            let id = (entry as u32 - 1) as usize;
            if (entry ^ hash) >> 32 == 0 && slice(text, self.first[id]) == bytes {
                self.counts[id] += 1;
                return id as u32;
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self, text: &[u8]) {
        let slots = 2 * self.words.len();
        reset(&mut self.words, slots, 0);
        for (id, &word) in (1u64..).zip(&self.first) {
            let hash = hash(self.seed, slice(text, word));
            let mut slot = hash as usize & (slots - 1);
            while self.words[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            self.words[slot] = (hash & !0xffff_ffff) | id;
        }
    }

    /// Replace the repeated (n-1)-grams by the repeated n-grams.
    fn next_level(&mut self) {
        self.level_counts.clear();
        let slots = (2 * self.repeated.len()).next_power_of_two().max(64);
        self.keys.clear();
        reset(&mut self.pairs, slots, 0);
        let mut found = 0;
        for i in 1..self.repeated.len() {
            let ((at, left), (after, right)) = (self.repeated[i - 1], self.repeated[i]);
            if after == at + 1 {
                let gram = self.gram_of(u64::from(left) << 32 | u64::from(right));
                self.repeated[found] = (at, gram);
                found += 1;
            }
        }
        self.repeated.truncate(found);
        let counts = &self.level_counts;
        self.repeated.retain(|&(_, gram)| counts[gram as usize] > 1);
    }

    fn gram_of(&mut self, key: u64) -> u32 {
        let mask = self.pairs.len() - 1;
        let mut slot = fold(key ^ self.seed, MULTIPLIER) as usize & mask;
        loop {
            let gram = self.pairs[slot];
            if gram == 0 {
                self.keys.push(key);
                self.level_counts.push(1);
                self.pairs[slot] = self.keys.len() as u32;
                return self.keys.len() as u32 - 1;
            }
            if self.keys[gram as usize - 1] == key {
                self.level_counts[gram as usize - 1] += 1;
                return gram - 1;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Make `table` hold `slots` empty slots.
fn reset<T: Copy>(table: &mut Vec<T>, slots: usize, empty: T) {
    if table.capacity() > KEEP_SLOTS.max(4 * slots) {
        *table = Vec::new();
    }
    table.clear();
    table.resize(slots, empty);
}

fn slice(text: &[u8], word: Span) -> &[u8] {
    text.get(word.start as usize..word.end as usize).unwrap_or(&[])
}

/// Mix two numbers: both halves of their product.
#[must_use]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Hash bytes for a table that compares what it finds.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let (pairs, rest) = bytes.as_chunks::<16>();
    let mut state = seed ^ bytes.len() as u64;
    for pair in pairs {
        let [low, high] = [pair.first_chunk(), pair.last_chunk()].map(|half| half.map_or(0, word));
        state = fold(state ^ low, high ^ MULTIPLIER);
    }
    let (low, high) = if let (Some(head), Some(tail)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        (word(head), word(tail))
    } else if let (Some(head), Some(tail)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
    } else {
        (rest.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)), 0)
    };
    fold(fold(state ^ low, high ^ MULTIPLIER), MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn spans(text: &str) -> Vec<Span> {
        let mut at = 0;
        text.split(' ')
            .map(|word| {
                let span = Span { start: at, end: at + word.len() as u32 };
                at = span.end + 1;
                span
            })
            .collect()
    }

    /// Positions of repeated n-grams with their counts, the slow way.
    fn twin(words: &[&str], n: usize) -> Vec<(u32, u32)> {
        let mut counts = HashMap::new();
        for gram in words.windows(n) {
            *counts.entry(gram).or_insert(0u32) += 1;
        }
        (0u32..)
            .zip(words.windows(n))
            .map(|(at, gram)| (at, counts[gram]))
            .filter(|pair| pair.1 > 1)
            .collect()
    }

    fn check(text: &str) {
        let words: Vec<_> = text.split(' ').collect();
        let mut ngrams = NGrams::default();
        ngrams.number(text.as_bytes(), &spans(text));
        let mut seen = 1;
        ngrams.levels(10, |level| {
            let found: Vec<_> =
                level.repeated.iter().map(|&(at, gram)| (at, level.counts[gram as usize])).collect();
            assert_eq!(found, twin(&words, level.n));
            seen = level.n;
        });
        assert!((seen + 1..=10).all(|n| twin(&words, n).is_empty()));
    }

    #[test]
    fn levels_find_what_counting_each_n_finds() {
        check("a b c a b c a b d a b c a b c");
        check("a a a a a a a a a a a a a");
        check("one two three");
        let text: Vec<_> = (0..5000u64).map(|i| (i * i % 61 % 7).to_string()).collect();
        check(&text.join(" "));
    }

    #[test]
    fn numbers_follow_the_first_occurrence_in_large_vocabularies() {
        let words: Vec<_> = (0..30_000u32).map(|i| format!("{:x}", i % 20_000 * 977)).collect();
        let text = words.join(" ");
        let mut ngrams = NGrams::default();
        ngrams.number(text.as_bytes(), &spans(&text));
        let expected: Vec<u32> = (0..30_000).map(|i| i % 20_000).collect();
        assert_eq!((ngrams.ids(), ngrams.counts().len()), (expected.as_slice(), 20_000));
        assert_eq!(ngrams.counts().iter().sum::<u32>(), 30_000);
    }

    #[test]
    fn words_of_all_lengths_are_told_apart() {
        let text: Vec<_> = (1..40).flat_map(|n| ["a".repeat(n), "a".repeat(n - 1) + "b"]).collect();
        let text = text.join(" ");
        let mut ngrams = NGrams::default();
        ngrams.number(text.as_bytes(), &spans(&text));
        assert_eq!(ngrams.counts().len(), 78);
    }
}
