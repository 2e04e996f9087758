//! The words of one document: numbered, counted, and run together without what lies between them.
//!
//! A word of up to 8 bytes is its own key in the table, so numbering does not go back to the text; a longer one
//! has its hash as key and is compared with its first occurrence.

use std::hash::{BuildHasher as _, RandomState};

use crate::ngram::{fold, hash};
use crate::text::Span;

/// Bytes that can be read from any place in [`Vocabulary::joined`] where a word starts.
pub const PADDING: usize = 16;

/// Buffers above this many bytes are given back after the document that needed them.
const KEEP_BYTES: usize = 32 << 20;
/// Words whose keys are made before they are looked up, so that a wrong guess there does not hold them up.
const CHUNK: usize = 64;
/// Bytes of a word that is its own key.
const KEY_BYTES: usize = 8;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A word in the table; empty where its length is 0.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    key: u64,
    length: u32,
    id: u32,
}

/// The words of one document after another; buffers are used again.
#[derive(Debug)]
pub struct Vocabulary {
    seed: u64,
    slots: Vec<Slot>,
    spans: Vec<Span>,
    counts: Vec<u32>,
    ids: Vec<u32>,
    starts: Vec<u32>,
    joined: Vec<u8>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let (slots, spans, counts, ids, starts, joined) = Default::default();
        Self { seed: seed(), slots, spans, counts, ids, starts, joined }
    }
}

impl Vocabulary {
    /// Take up the words of a document; numbers follow the first occurrence.
    pub fn load(&mut self, text: &[u8], words: &[Span]) {
        self.spans.clear();
        self.counts.clear();
        self.joined.clear();
        clear(&mut self.slots, words.len().clamp(64, 1 << 13));
        let mut ids = std::mem::take(&mut self.ids);
        let mut starts = std::mem::take(&mut self.starts);
        ids.resize(words.len(), 0);
        starts.resize(words.len() + 1, 0);
        let mut end = 0;
        let mut keys = [(0, 0); CHUNK];
        let chunks = words.chunks(CHUNK).zip(ids.chunks_mut(CHUNK)).zip(starts.chunks_mut(CHUNK));
        for ((words, ids), starts) in chunks {
            for ((&word, key), start) in words.iter().zip(&mut keys).zip(starts) {
                *start = end;
                end += word.num_bytes() as u32;
                let bytes = self.key_of(text, word);
                *key = (bytes, fold(bytes ^ self.seed, step(word.num_bytes())));
            }
            for ((&word, id), &(key, hash)) in words.iter().zip(ids).zip(&keys) {
                *id = self.id_of(text, word, key, hash);
            }
        }
        if let Some(last) = starts.last_mut() {
            *last = end;
        }
        self.ids = ids;
        self.starts = starts;
    }

    /// Run the words together, as [`Vocabulary::joined`] has them then.
    pub fn join(&mut self, text: &[u8], words: &[Span]) {
        let total = self.starts.last().map_or(0, |&end| end as usize);
        if self.joined.capacity() > KEEP_BYTES.max(2 * total) {
            self.joined = Vec::new();
        }
        self.joined.resize(total + PADDING, 0);
        for (&word, &start) in words.iter().zip(&self.starts) {
            let (from, to) = (word.start as usize, start as usize);
            let source = text.get(from..).and_then(|rest| rest.first_chunk::<PADDING>());
            let target = self.joined.get_mut(to..).and_then(|rest| rest.first_chunk_mut::<PADDING>());
            match (source, target) {
                // What follows a short word is written over by the next.
                (Some(source), Some(target)) if word.num_bytes() <= PADDING => *target = *source,
                _ => {
                    let target = self.joined.get_mut(to..to + word.num_bytes());
                    target.into_iter().flatten().zip(slice(text, word)).for_each(|(to, &from)| *to = from);
                }
            }
        }
    }

    /// The number of each word.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The first occurrence of each different word, by its number.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The occurrences of each different word, by its number.
    #[must_use]
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// The words run together, since [`Vocabulary::join`]; longer than they are by `PADDING` bytes of any value.
    #[must_use]
    pub fn joined(&self) -> &[u8] {
        &self.joined
    }

    /// Where each word starts when they are run together, and the end of the last.
    #[must_use]
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// The number of the word at a span of the text, where it is one of the document's.
    #[must_use]
    pub fn find(&self, text: &[u8], word: Span) -> Option<u32> {
        let key = self.key_of(text, word);
        self.slot_of(text, word, key, fold(key ^ self.seed, step(word.num_bytes()))).1
    }

    #[inline(always)]
    fn id_of(&mut self, text: &[u8], word: Span, key: u64, hash: u64) -> u32 {
        match self.slot_of(text, word, key, hash) {
            (_, Some(id)) => {
                if let Some(count) = self.counts.get_mut(id as usize) {
                    *count += 1;
                }
                id
            }
            (at, None) => self.insert(at, word, key),
        }
    }

    fn insert(&mut self, at: usize, word: Span, key: u64) -> u32 {
        let id = self.spans.len() as u32;
        self.slots[at] = Slot { key, length: word.num_bytes() as u32, id };
        self.spans.push(word);
        self.counts.push(1);
        if 4 * self.spans.len() >= 3 * self.slots.len() {
            self.grow();
        }
        id
    }

    #[inline(always)]
    fn key_of(&self, text: &[u8], word: Span) -> u64 {
        if word.num_bytes() <= KEY_BYTES { head(text, word) } else { hash(self.seed, slice(text, word)) }
    }

    /// The slot and number of a word, or the empty slot where it belongs.
    #[inline(always)]
    fn slot_of(&self, text: &[u8], word: Span, key: u64, hash: u64) -> (usize, Option<u32>) {
        let length = word.num_bytes();
        let slots = self.slots.as_slice();
        let mask = slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            let slot = slots[at & mask];
            if slot.length == 0 {
                return (at, None);
            }
            if (slot.key == key) & (slot.length as usize == length) {
                let is_same = || slice(text, self.spans[slot.id as usize]) == slice(text, word);
                if length <= KEY_BYTES || is_same() {
                    return (at, Some(slot.id));
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        let mask = clear(&mut self.slots, 4 * old.len());
        for slot in old.into_iter().filter(|slot| slot.length > 0) {
            let mut at = fold(slot.key ^ self.seed, step(slot.length as usize)) as usize & mask;
            while self.slots[at].length != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }
}

/// What keys of a length are multiplied by.
#[inline]
fn step(length: usize) -> u64 {
    MULTIPLIER.wrapping_add(2 * length as u64)
}

/// The first 8 bytes of a word, zeros after its end.
#[inline]
#[must_use]
pub fn head(text: &[u8], word: Span) -> u64 {
    let rest = text.get(word.start as usize..).unwrap_or(&[]);
    let bytes = rest.first_chunk().map_or_else(|| last_bytes(rest), |bytes| u64::from_le_bytes(*bytes));
    // An empty word would shift by 64 bits; there is none.
    bytes & u64::MAX >> (64 - 8 * word.num_bytes().clamp(1, KEY_BYTES))
}

#[cold]
fn last_bytes(rest: &[u8]) -> u64 {
    rest.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte))
}

fn slice(text: &[u8], word: Span) -> &[u8] {
    text.get(word.start as usize..word.end as usize).unwrap_or(&[])
}

/// Empty a table and give it a power of two of slots, at least `wanted`; returns its mask.
pub fn clear<T: Copy + Default>(slots: &mut Vec<T>, wanted: usize) -> usize {
    let size = wanted.next_power_of_two().max(16);
    slots.clear();
    if slots.capacity() * size_of::<T>() > KEEP_BYTES.max(4 * size * size_of::<T>()) {
        *slots = Vec::new();
    }
    slots.resize(size, T::default());
    size - 1
}

/// No result depends on a seed; it keeps texts from being made to collide.
pub fn seed() -> u64 {
    RandomState::new().hash_one(0u8)
}
