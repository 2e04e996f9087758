//! The sums of the rows of words that were met before: words repeat, and each has dozens of parts.
//!
//! A word's sum is made the same way whether it is found here or not, so what is kept shows in no result.

/// Words that are kept; with more of them all are forgotten.
const MAX_WORDS: usize = 1 << 17;
/// Bytes of words that are kept.
const MAX_BYTES: usize = 4 << 20;
/// Floats of their sums.
const MAX_FLOATS: usize = 1 << 21;

#[derive(Debug, Clone, Copy)]
struct Word {
    hash: u32,
    start: u32,
    end: u32,
    /// Rows in the sum, as `make` counted them.
    num_rows: u32,
}

/// Sums by word.
#[derive(Debug, Default)]
pub struct Words {
    /// Numbers of words plus one, by hash.
    slots: Vec<u32>,
    words: Vec<Word>,
    names: Vec<u8>,
    sums: Vec<f32>,
}

impl Words {
    /// Number of rows and sum of a word; where it is not known `make` adds the sum to `sums` and counts the rows.
    pub fn get(
        &mut self,
        word: &[u8],
        hash: u32,
        width: usize,
        make: impl FnOnce(&mut [f32]) -> usize,
    ) -> (usize, &[f32]) {
        let is_full = self.words.len() >= MAX_WORDS
            || self.names.len() >= MAX_BYTES
            || self.sums.len() + width > MAX_FLOATS.max(width);
        if is_full || self.slots.is_empty() {
            self.slots.clear();
            self.slots.resize(2 * MAX_WORDS, 0);
            self.words.clear();
            self.names.clear();
            self.sums.clear();
        }
        let mut slot = hash as usize % (2 * MAX_WORDS);
        let index = loop {
            let Some(index) = self.slots[slot].checked_sub(1) else { break None };
            let found = &self.words[index as usize];
            if found.hash == hash && self.names.get(found.start as usize..found.end as usize) == Some(word) {
                break Some(index as usize);
            }
            slot = (slot + 1) % (2 * MAX_WORDS);
        };
        let index = index.unwrap_or_else(|| {
            let start = self.names.len() as u32;
            self.names.extend_from_slice(word);
            let first = self.sums.len();
            self.sums.resize(first + width, 0.0);
            let num_rows = make(&mut self.sums[first..]) as u32;
            self.words.push(Word { hash, start, end: self.names.len() as u32, num_rows });
            self.slots[slot] = self.words.len() as u32;
            self.words.len() - 1
        });
        let sum = self.sums.get(index * width..(index + 1) * width).unwrap_or(&[]);
        (self.words[index].num_rows as usize, sum)
    }
}
