//! The words and labels of a model, and the rows of the input matrix that a text stands for.
//!
//! Features are those of the reference implementation, bit for bit: FNV-1a over signed bytes, subwords on
//! UTF-8 boundaries of the word between `<` and `>`, n-grams of words as 64-bit sums of signed 32-bit hashes.

use super::reader::Reader;
use crate::error::{Error, Result};

/// The token that ends every line.
const END: &[u8] = b"</s>";
const LABEL_PREFIX: &[u8] = b"__label__";
/// Multiplier of the hashes of word n-grams.
const NGRAM: u64 = 116_049_371;

/// Settings that decide the features of a text.
#[derive(Debug, Clone, Copy)]
pub struct Features {
    /// Words in the longest n-gram.
    pub word_ngrams: usize,
    /// Rows that hashes are mapped to.
    pub num_buckets: u32,
    /// Characters in the shortest subword.
    pub min_chars: usize,
    /// Characters in the longest subword; 0 where there are none.
    pub max_chars: usize,
}

/// Words and labels.
#[derive(Debug)]
pub struct Dictionary {
    features: Features,
    names: Vec<u8>,
    /// End of each word in `names`.
    ends: Vec<u32>,
    /// Numbers of words plus one, by hash.
    slots: Vec<u32>,
    labels: Vec<String>,
    counts: Vec<i64>,
    /// Rows of the buckets that were not pruned; none where nothing was.
    pruned: Option<Kept>,
}

impl Dictionary {
    /// Read the dictionary.
    ///
    /// # Errors
    /// `Error::Data` for anything that a dictionary cannot have.
    pub fn read(reader: &mut Reader<'_>, features: Features) -> Result<Self> {
        // An entry has at least a zero byte, a count and a type.
        let size = reader.size(4, reader.num_left() / 10, "the number of words and labels")?;
        let num_words = reader.size(4, size, "the number of words")?;
        let num_labels = reader.size(4, size, "the number of labels")?;
        if num_words + num_labels != size {
            return Err(Error::Data(format!(
                "{num_words} words and {num_labels} labels are not {size} entries"
            )));
        }
        reader.i64("the number of tokens")?;
        let num_kept = reader.i64("the size of the pruning index")?;
        let mut out = Self {
            features,
            names: Vec::new(),
            ends: Vec::with_capacity(num_words),
            slots: vec![0; (2 * num_words).next_power_of_two().max(16)],
            labels: Vec::with_capacity(num_labels),
            counts: Vec::with_capacity(num_labels),
            pruned: None,
        };
        for index in 0..size {
            let name = reader.string("the dictionary")?;
            let count = reader.i64("the dictionary")?;
            match (reader.bytes(1, "the dictionary")?, index < num_words) {
                ([0], true) => out.add_word(name)?,
                ([1], false) => out.add_label(name, count)?,
                (kind, _) => {
                    return Err(Error::Data(format!(
                        "entry {index} of the dictionary has the kind {}",
                        kind[0]
                    )));
                }
            }
        }
        out.read_pruned(reader, num_kept)?;
        Ok(out)
    }

    fn add_word(&mut self, name: &[u8]) -> Result<()> {
        let id = self.ends.len() as u32;
        self.names.extend_from_slice(name);
        let end = u32::try_from(self.names.len());
        self.ends.push(end.map_err(|_| Error::Data("the dictionary has 4 GiB of words".into()))?);
        let mask = self.slots.len() - 1;
        let mut slot = fnv(name) as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = id + 1;
        Ok(())
    }

    fn add_label(&mut self, name: &[u8], count: i64) -> Result<()> {
        let name = std::str::from_utf8(name.strip_prefix(LABEL_PREFIX).unwrap_or(name))
            .map_err(|_| Error::Data("a label is not UTF-8".into()))?;
        self.labels.push(name.into());
        self.counts.push(count.max(0));
        Ok(())
    }

    fn read_pruned(&mut self, reader: &mut Reader<'_>, num_kept: i64) -> Result<()> {
        let Ok(num_kept) = usize::try_from(num_kept) else { return Ok(()) };
        if num_kept > reader.num_left() / 8 {
            return Err(Error::Data(format!("the pruning index has {num_kept} entries, more than the file")));
        }
        let mut kept = Kept::new(num_kept);
        for _ in 0..num_kept {
            let bucket = reader.size(4, i32::MAX as usize, "a bucket of the pruning index")?;
            let row = reader.size(4, num_kept - 1, "a row of the pruning index")?;
            kept.insert(bucket as u32, row as u32);
        }
        self.pruned = Some(kept);
        Ok(())
    }

    /// Labels without their prefix, in the order of the output matrix.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Occurrences of the labels in training.
    #[must_use]
    pub fn counts(&self) -> &[i64] {
        &self.counts
    }

    /// Number of words.
    #[must_use]
    pub fn num_words(&self) -> usize {
        self.ends.len()
    }

    /// Whether buckets were pruned.
    #[must_use]
    pub fn is_pruned(&self) -> bool {
        self.pruned.is_some()
    }

    /// Rows that the input matrix has to have, at least.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        let buckets = self.pruned.as_ref().map_or(self.features.num_buckets as usize, |kept| kept.num_rows);
        let are_used = self.features.word_ngrams > 1 || self.features.max_chars > 0;
        self.num_words() + if are_used { buckets } else { 0 }
    }

    /// The number of a word, by its hash and bytes.
    fn id_of(&self, hash: u32, word: &[u8]) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let id = self.slots[slot].checked_sub(1)?;
            if self.word(id) == word {
                return Some(id);
            }
            slot = (slot + 1) & mask;
        }
    }

    fn word(&self, id: u32) -> &[u8] {
        let end = |id: usize| self.ends.get(id).map_or(0, |&end| end as usize);
        let start = (id as usize).checked_sub(1).map_or(0, end);
        self.names.get(start..end(id as usize)).unwrap_or(&[])
    }

    /// Whether words have parts.
    #[must_use]
    pub fn has_subwords(&self) -> bool {
        self.features.max_chars > 0
    }

    /// Append the rows of one word, parts included, given its hash; false for a label, which is no feature.
    pub fn word_rows(&self, token: &[u8], hash: u32, rows: &mut Vec<u32>) -> bool {
        let id = self.id_of(hash, token);
        if id.is_none() && token.starts_with(LABEL_PREFIX) {
            return false;
        }
        rows.extend(id);
        if self.has_subwords() && token != END {
            self.subwords(token, rows);
        }
        true
    }

    /// Append the rows of the n-grams of words, given the hashes of all words.
    pub fn ngram_rows(&self, hashes: &[u32], rows: &mut Vec<u32>) {
        let signed = |hash: u32| i64::from(hash.cast_signed()).cast_unsigned();
        for (start, &first) in hashes.iter().enumerate() {
            let end = (start + self.features.word_ngrams.max(1)).min(hashes.len());
            let mut hash = signed(first);
            for &next in &hashes[start + 1..end] {
                hash = hash.wrapping_mul(NGRAM).wrapping_add(signed(next));
                self.push(hash, rows);
            }
        }
    }

    fn subwords(&self, token: &[u8], rows: &mut Vec<u32>) {
        let Features { min_chars, max_chars, .. } = self.features;
        let word = [b"<", token, b">"].concat();
        let goes_on = |at: usize| word.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        for start in (0..word.len()).filter(|&start| !goes_on(start)) {
            let mut hash = FNV_START;
            let mut end = start;
            for num_chars in 1..=max_chars {
                if end >= word.len() {
                    break;
                }
                hash = fnv_step(hash, word[end]);
                end += 1;
                while goes_on(end) {
                    hash = fnv_step(hash, word[end]);
                    end += 1;
                }
                let is_bracket = num_chars == 1 && (start == 0 || end == word.len());
                if num_chars >= min_chars && !is_bracket {
                    self.push(u64::from(hash), rows);
                }
            }
        }
    }

    fn push(&self, hash: u64, rows: &mut Vec<u32>) {
        let Some(bucket) = hash.checked_rem(u64::from(self.features.num_buckets)) else { return };
        let bucket = bucket as u32;
        let row = match &self.pruned {
            None => Some(bucket),
            Some(kept) => kept.get(bucket),
        };
        rows.extend(row.map(|row| self.num_words() as u32 + row));
    }
}

/// The rows of the buckets that pruning kept.
#[derive(Debug)]
struct Kept {
    /// Bucket plus one and row, by bucket; a quarter of them at most is in use.
    slots: Vec<(u32, u32)>,
    num_rows: usize,
}

impl Kept {
    fn new(num_rows: usize) -> Self {
        Self { slots: vec![(0, 0); (4 * num_rows).next_power_of_two().max(16)], num_rows }
    }

    fn slot_of(&self, bucket: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (bucket.wrapping_mul(0x9e37_79b1) >> 8) as usize & mask;
        while self.slots[slot].0 != 0 && self.slots[slot].0 != bucket + 1 {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn insert(&mut self, bucket: u32, row: u32) {
        let slot = self.slot_of(bucket);
        self.slots[slot] = (bucket + 1, row);
    }

    fn get(&self, bucket: u32) -> Option<u32> {
        let (found, row) = self.slots[self.slot_of(bucket)];
        (found != 0).then_some(row)
    }
}

/// The words of a text and the end of its line: runs of bytes that are none of the reference implementation's white
/// space, which has the zero byte.
pub fn tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
    text.split(is_space).filter(|token| !token.is_empty()).chain([END])
}

const FNV_START: u32 = 2_166_136_261;

#[inline]
fn fnv_step(hash: u32, byte: u8) -> u32 {
    (hash ^ i32::from(byte.cast_signed()).cast_unsigned()).wrapping_mul(16_777_619)
}

/// The hash of a word.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(FNV_START, |hash, &byte| fnv_step(hash, byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fnv_1a_over_signed_bytes() {
        assert_eq!(fnv(b""), 2_166_136_261);
        assert_eq!(fnv(b"a"), 0xe40c_292c);
        // The published function gives 0x250c8f7f for one byte 0xff; bytes above 0x7f are extended by their sign here.
        assert_eq!(fnv(&[0xff]), (FNV_START ^ 0xffff_ffff).wrapping_mul(16_777_619));
    }

    #[test]
    fn the_zero_byte_is_white_space_and_no_break_spaces_are_not() {
        let found: Vec<_> = tokens("a\0b\u{a0}c \n\td\u{85}".as_bytes()).collect();
        assert_eq!(found, [&b"a"[..], "b\u{a0}c".as_bytes(), "d\u{85}".as_bytes(), b"</s>"]);
    }
}
