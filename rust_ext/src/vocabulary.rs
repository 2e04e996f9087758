//! The words of one document: numbered, counted, and run together without what lies between them.
//!
//! A word of up to 16 bytes is compared as two integers, so numbering does not go back to the text.

use std::hash::{BuildHasher as _, RandomState};

use crate::ngram::{fold, hash};
use crate::text::Span;

/// Bytes that can be read from any place in [`Vocabulary::joined`] where a word starts.
pub const PADDING: usize = 16;

/// Buffers above this many bytes are given back after the document that needed them.
const KEEP_BYTES: usize = 32 << 20;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const MASKS: [u128; PADDING + 1] = masks();

/// A different word of the document.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The first 8 bytes and the next 8, zeros after the end.
    pub head: [u64; 2],
    /// Its first occurrence.
    pub span: Span,
    /// Its occurrences.
    pub count: u32,
    /// Low half of its hash.
    hash: u32,
}

/// The words of one document after another; buffers are used again.
#[derive(Debug)]
pub struct Vocabulary {
    seed: u64,
    /// High half of the hash, number plus one; 0 is empty.
    slots: Vec<u64>,
    entries: Vec<Entry>,
    ids: Vec<u32>,
    /// Numbers of the different words of 8 bytes or more.
    long: Vec<u32>,
    joined: Vec<u8>,
    starts: Vec<u32>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        let (slots, entries, ids, long, joined, starts) = Default::default();
        Self { seed: seed(), slots, entries, ids, long, joined, starts }
    }
}

impl Vocabulary {
    /// Take up the words of a document; numbers follow the first occurrence.
    pub fn load(&mut self, text: &[u8], words: &[Span]) {
        let total: usize = words.iter().map(Span::num_bytes).sum();
        self.entries.clear();
        self.ids.clear();
        self.long.clear();
        self.starts.clear();
        if self.joined.len() < total + PADDING || self.joined.len() > KEEP_BYTES.max(2 * total) {
            self.joined = vec![0; total + PADDING];
        }
        clear(&mut self.slots, words.len().clamp(64, 1 << 14));
        let mut end = 0;
        for &word in words {
            if 4 * self.entries.len() >= 3 * self.slots.len() {
                self.grow();
            }
            self.starts.push(end as u32);
            let head = head(text, word);
            if let Some(target) = self.joined.get_mut(end..).and_then(|rest| rest.first_chunk_mut()) {
                *target = head.to_le_bytes();
            }
            if word.num_bytes() > PADDING
                && let Some(from) = slice(text, word)
                && let Some(target) = self.joined.get_mut(end..end + from.len())
            {
                target.copy_from_slice(from);
            }
            end += word.num_bytes();
            let id = self.id_of(text, word, head);
            self.ids.push(id);
        }
        self.starts.push(end as u32);
    }

    /// The number of each word.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The different words by their number.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The words run together; longer than they are by at least `PADDING` bytes of any value.
    #[must_use]
    pub fn joined(&self) -> &[u8] {
        &self.joined
    }

    /// Where each word starts in `joined`, and the end of the last.
    #[must_use]
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Numbers of the different words of 8 bytes or more.
    #[must_use]
    pub fn long(&self) -> &[u32] {
        &self.long
    }

    /// The number of the word at a span of the text, where it is one of the document's.
    #[must_use]
    pub fn find(&self, text: &[u8], word: Span) -> Option<u32> {
        let head = head(text, word);
        self.slot_of(text, word, head, self.hash_of(text, word, head)).1
    }

    #[inline]
    fn id_of(&mut self, text: &[u8], word: Span, head: u128) -> u32 {
        let hash = self.hash_of(text, word, head);
        let (slot, found) = self.slot_of(text, word, head, hash);
        if let Some(id) = found {
            self.entries[id as usize].count += 1;
            return id;
        }
        let id = self.entries.len() as u32;
        self.slots[slot] = hash >> 32 << 32 | u64::from(id + 1);
        let halves = [head as u64, (head >> 64) as u64];
        self.entries.push(Entry { head: halves, span: word, count: 1, hash: hash as u32 });
        if word.num_bytes() >= 8 {
            self.long.push(id);
        }
        id
    }

    #[inline]
    fn hash_of(&self, text: &[u8], word: Span, head: u128) -> u64 {
        let length = word.num_bytes();
        let low = head as u64 ^ self.seed;
        let hash = fold(low, (head >> 64) as u64 ^ (length as u64).wrapping_mul(MULTIPLIER));
        if length <= PADDING { hash } else { fold(hash, hash_long(self.seed, text, word)) }
    }

    /// The slot and number of a word, or the empty slot where it belongs.
    #[inline]
    fn slot_of(&self, text: &[u8], word: Span, head: u128, hash: u64) -> (usize, Option<u32>) {
        let length = word.num_bytes();
        let halves = [head as u64, (head >> 64) as u64];
        let mask = self.slots.len() - 1;
        let mut slot = hash as u32 as usize & mask;
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return (slot, None);
            }
            let id = found as u32 - 1;
            if (found ^ hash) >> 32 == 0 {
                let entry = &self.entries[id as usize];
                let same = entry.head == halves && entry.span.num_bytes() == length;
                if same && (length <= PADDING || slice(text, entry.span) == slice(text, word)) {
                    return (slot, Some(id));
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        let mask = clear(&mut self.slots, 2 * old.len());
        for entry in old.into_iter().filter(|&entry| entry != 0) {
            let low = self.entries.get((entry as u32 - 1) as usize).map_or(0, |entry| entry.hash);
            let mut slot = low as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = entry;
        }
    }
}

#[cold]
fn hash_long(seed: u64, text: &[u8], word: Span) -> u64 {
    hash(seed, slice(text, word).unwrap_or(&[])) | 1
}

/// The first 16 bytes of a word, zeros after its end.
#[inline]
fn head(text: &[u8], word: Span) -> u128 {
    let start = word.start as usize;
    let bytes = match text.get(start..).and_then(|rest| rest.first_chunk::<PADDING>()) {
        Some(bytes) => *bytes,
        None => {
            let mut bytes = [0; PADDING];
            let rest = text.get(start..).unwrap_or(&[]);
            bytes.iter_mut().zip(rest).for_each(|(to, &from)| *to = from);
            bytes
        }
    };
    u128::from_le_bytes(bytes) & MASKS[word.num_bytes().min(PADDING)]
}

const fn masks() -> [u128; PADDING + 1] {
    let mut out = [u128::MAX; PADDING + 1];
    let mut length = 0;
    while length < PADDING {
        out[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    out
}

fn slice(text: &[u8], word: Span) -> Option<&[u8]> {
    text.get(word.start as usize..word.end as usize)
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
