//! Words and labels of a training file with their numbers of occurrences.
//!
//! Memory: about 40 bytes a word and its letters, of at most 22,500,000 words: beyond that the rarest are forgotten,
//! those seen once first, as the reference implementation does.

use crate::fasttext::dictionary::LABEL_PREFIX;

/// Words after which the rarest are forgotten.
const MAX_WORDS: usize = 22_500_000;

/// Names with their numbers of occurrences.
pub type Counted<'a> = Vec<(&'a [u8], i64)>;

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    end: usize,
    hash: u32,
    is_label: bool,
    count: i64,
}

/// Counts of words and labels.
#[derive(Debug)]
pub struct Counts {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Numbers of entries plus one, by hash.
    slots: Vec<u32>,
    /// All tokens, labels and ends of lines included.
    pub num_tokens: i64,
    max_words: usize,
    /// Occurrences below which words were forgotten.
    min_count: i64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            entries: Vec::new(),
            slots: vec![0; 1 << 12],
            num_tokens: 0,
            max_words: MAX_WORDS,
            min_count: 1,
        }
    }
}

impl Counts {
    /// Count one token, given its hash.
    pub fn add(&mut self, token: &[u8], hash: u32) {
        self.num_tokens += 1;
        let slot = self.slot_of(token, hash);
        if let Some(found) = self.slots[slot].checked_sub(1) {
            self.entries[found as usize].count += 1;
            return;
        }
        let start = self.names.len();
        self.names.extend_from_slice(token);
        let is_label = token.starts_with(LABEL_PREFIX);
        self.entries.push(Entry { start, end: self.names.len(), hash, is_label, count: 1 });
        self.slots[slot] = self.entries.len() as u32;
        if self.entries.len() > self.max_words {
            self.min_count += 1;
            self.forget(self.min_count);
        }
        if 2 * self.entries.len() > self.slots.len() {
            self.fill_slots(2 * self.slots.len());
        }
    }

    /// Words with at least `min_count` occurrences, then all labels, each the most frequent first; ties are in the
    /// order of first occurrence.
    #[must_use]
    pub fn sorted(&self, min_count: i64) -> (Counted<'_>, Counted<'_>) {
        let pick = |is_label: bool| {
            let mut found: Vec<_> = self
                .entries
                .iter()
                .filter(|entry| entry.is_label == is_label && (is_label || entry.count >= min_count))
                .map(|entry| (self.name(entry), entry.count))
                .collect();
            found.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
            found
        };
        (pick(false), pick(true))
    }

    fn name(&self, entry: &Entry) -> &[u8] {
        self.names.get(entry.start..entry.end).unwrap_or(&[])
    }

    fn slot_of(&self, token: &[u8], hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(found) = self.slots[slot].checked_sub(1) {
            let entry = &self.entries[found as usize];
            if entry.hash == hash && self.name(entry) == token {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn forget(&mut self, min_count: i64) {
        let mut names = Vec::with_capacity(self.names.len());
        let old = std::mem::take(&mut self.entries);
        for mut entry in old {
            if entry.is_label || entry.count >= min_count {
                let start = names.len();
                names.extend_from_slice(self.name(&entry));
                (entry.start, entry.end) = (start, names.len());
                self.entries.push(entry);
            }
        }
        self.names = names;
        self.fill_slots(self.slots.len());
    }

    fn fill_slots(&mut self, size: usize) {
        self.slots.clear();
        self.slots.resize(size, 0);
        let mask = size - 1;
        for (index, entry) in self.entries.iter().enumerate() {
            let mut slot = entry.hash as usize & mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            self.slots[slot] = index as u32 + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fasttext::tokens::fnv;

    #[test]
    fn the_rarest_words_are_forgotten_where_there_are_too_many() {
        let mut counts = Counts { max_words: 3, ..Counts::default() };
        for token in ["a", "b", "b", "__label__x", "c", "c", "b", "a", "a"] {
            counts.add(token.as_bytes(), fnv(token.as_bytes()));
        }
        // The first `c` is one name too many, and what was seen once goes; the second `a`, what was seen twice.
        let (words, labels) = counts.sorted(1);
        assert_eq!(words, [(&b"b"[..], 3), (b"a", 1)]);
        assert_eq!(labels, [(&b"__label__x"[..], 1)]);
        assert_eq!(counts.num_tokens, 9);
    }

    #[test]
    fn ties_are_in_the_order_of_first_occurrence() {
        let mut counts = Counts::default();
        for token in "z y x y z w w w".split(' ') {
            counts.add(token.as_bytes(), fnv(token.as_bytes()));
        }
        let (words, _) = counts.sorted(2);
        assert_eq!(words, [(&b"w"[..], 3), (b"z", 2), (b"y", 2)]);
    }
}
