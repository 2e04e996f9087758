//! The words and labels of a model, and the rows of the input matrix that a text stands for.
//!
//! Features are those of the reference implementation, bit for bit: subwords on UTF-8 boundaries of the word
//! between `<` and `>`, n-grams of words as 64-bit sums of signed 32-bit hashes.

use std::io::{BufRead, Seek};

use super::buckets::Buckets;
use super::reader::Reader;
use super::tokens::{FNV_START, Token, bytes_of, fnv, fnv_step};
use crate::error::{Error, Result};
use crate::text::Span;

/// The token that ends every line.
pub const END: &[u8] = b"</s>";
/// What labels begin with.
pub const LABEL_PREFIX: &[u8] = b"__label__";
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
    /// By hash.
    slots: Vec<Slot>,
    labels: Vec<String>,
    counts: Vec<i64>,
    buckets: Buckets,
    /// Rows of `</s>`, without n-grams.
    end_row: Option<u32>,
}

/// A word in the table of words: up to 16 bytes it is told from others without a look at its name. All zero where the
/// slot is free.
#[derive(Debug, Clone, Copy, Default)]
pub struct Slot {
    /// The first 8 bytes of the word, and zero bytes after a shorter one.
    head: u64,
    /// The last 8 bytes of a word that has as many.
    tail: u64,
    /// The length of the word up to 255 and the high bits of its hash.
    tag: u32,
    /// Number of the word plus one.
    number: u32,
}

impl Slot {
    /// What the slot of a word has; its number is missing.
    #[inline]
    fn of(text: &[u8], word: Span, hash: u32) -> Self {
        let (start, end) = (word.start as usize, word.end as usize);
        let size = end - start;
        let tag = hash & !0xff | size.min(0xff) as u32;
        let is_long = size >= 8;
        let head = text.get(start..).and_then(<[u8]>::first_chunk::<8>);
        let tail = text.get(..end).and_then(<[u8]>::last_chunk::<8>);
        if let (Some(head), Some(tail)) = (head, tail) {
            let inside = if is_long { u64::MAX } else { (1 << (8 * size)) - 1 };
            let head = u64::from_le_bytes(*head) & inside;
            let tail = if is_long { u64::from_le_bytes(*tail) } else { 0 };
            return Self { head, tail, tag, number: 0 };
        }
        // At the ends of a text.
        let word = text.get(start..end).unwrap_or(&[]);
        let head = word.iter().take(8).rev().fold(0, |head, &byte| head << 8 | u64::from(byte));
        let tail = word.last_chunk::<8>().map_or(0, |tail| u64::from_le_bytes(*tail));
        Self { head, tail, tag, number: 0 }
    }

    #[inline]
    fn is_like(&self, other: &Self) -> bool {
        (self.head == other.head) & (self.tail == other.tail) & (self.tag == other.tag)
    }
}

/// A word between brackets, and where its characters begin.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    buckets: Vec<u32>,
}

impl Parts {
    fn set(&mut self, word: &[u8]) {
        self.bytes.clear();
        self.bytes.push(b'<');
        self.bytes.extend_from_slice(word);
        self.bytes.push(b'>');
        self.buckets.clear();
        self.starts.clear();
        let begins = self.bytes.iter().enumerate().filter(|(_, byte)| *byte & 0xc0 != 0x80);
        self.starts.extend(begins.map(|(place, _)| place as u32));
        self.starts.push(self.bytes.len() as u32);
    }
}

impl Dictionary {
    /// Read the dictionary.
    ///
    /// # Errors
    /// `Error::Data` for anything that a dictionary cannot have.
    pub fn read<S: BufRead + Seek>(reader: &mut Reader<S>, features: Features) -> Result<Self> {
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
        let mut out = Self::empty(features, num_words, num_labels);
        for index in 0..size {
            let name = reader.string("the dictionary")?;
            let count = reader.i64("the dictionary")?;
            match (reader.byte("the dictionary")?, index < num_words) {
                (0, true) => out.add_word(&name)?,
                (1, false) => out.add_label(&name, count)?,
                (kind, _) => {
                    return Err(Error::Data(format!("entry {index} of the dictionary has the kind {kind}")));
                }
            }
        }
        if let Ok(num_kept) = usize::try_from(num_kept) {
            out.buckets.read_kept(reader, num_kept)?;
        }
        out.find_end();
        Ok(out)
    }

    /// A dictionary of words alone, in the order of their rows.
    ///
    /// # Errors
    /// `Error::Data` where the words are too long for one.
    pub(super) fn of_words<'a>(
        words: impl ExactSizeIterator<Item = &'a [u8]>,
        features: Features,
    ) -> Result<Self> {
        let mut out = Self::empty(features, words.len(), 0);
        for word in words {
            out.add_word(word)?;
        }
        out.find_end();
        Ok(out)
    }

    fn empty(features: Features, num_words: usize, num_labels: usize) -> Self {
        Self {
            features,
            names: Vec::new(),
            ends: Vec::with_capacity(num_words),
            slots: vec![Slot::default(); (2 * num_words).next_power_of_two().max(16)],
            labels: Vec::with_capacity(num_labels),
            counts: Vec::with_capacity(num_labels),
            buckets: Buckets::new(features.num_buckets),
            end_row: None,
        }
    }

    fn find_end(&mut self) {
        let hash = fnv(END);
        self.end_row = self.id_of(END, Span::new(0, END.len()), hash, self.first_slot(hash));
    }

    fn add_word(&mut self, name: &[u8]) -> Result<()> {
        let number = self.ends.len() as u32 + 1;
        self.names.extend_from_slice(name);
        let end = u32::try_from(self.names.len());
        self.ends.push(end.map_err(|_| Error::Data("the dictionary has 4 GiB of words".into()))?);
        let mask = self.slots.len() - 1;
        let hash = fnv(name);
        let mut slot = hash as usize & mask;
        while self.slots[slot].number != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = Slot { number, ..Slot::of(name, Span::new(0, name.len()), hash) };
        Ok(())
    }

    fn add_label(&mut self, name: &[u8], count: i64) -> Result<()> {
        let name = std::str::from_utf8(name.strip_prefix(LABEL_PREFIX).unwrap_or(name))
            .map_err(|_| Error::Data("a label is not UTF-8".into()))?;
        self.labels.push(name.into());
        self.counts.push(count.max(0));
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

    /// Settings that decide the features of a text.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// Number of words.
    #[must_use]
    pub fn num_words(&self) -> usize {
        self.ends.len()
    }

    /// The rows of the buckets that pruning kept, in their order here; none where nothing was pruned.
    #[must_use]
    pub fn kept_rows(&self) -> Option<&[u32]> {
        self.buckets.kept_rows()
    }

    /// Rows that the input matrix has to have, at least.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        let are_used = self.features.word_ngrams > 1 || self.features.max_chars > 0;
        self.num_words() + if are_used { self.buckets.num_rows() } else { 0 }
    }

    /// The slot where the search for a word begins, by its hash.
    #[inline]
    pub fn first_slot(&self, hash: u32) -> Slot {
        self.slots[hash as usize & (self.slots.len() - 1)]
    }

    /// The number of a word of a text, by its hash and the slot where the search begins.
    #[inline]
    fn id_of(&self, text: &[u8], word: Span, hash: u32, mut slot: Slot) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let wanted = Slot::of(text, word, hash);
        let mut index = hash as usize & mask;
        loop {
            let id = slot.number.checked_sub(1)?;
            if slot.is_like(&wanted) && (word.num_bytes() <= 16 || self.word(id) == bytes_of(text, word)) {
                return Some(id);
            }
            index = (index + 1) & mask;
            slot = self.slots[index];
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

    /// Append the row of the end of the line.
    pub fn end_row(&self, rows: &mut Vec<u32>) {
        rows.extend(self.end_row);
    }

    /// Append the rows of one token of a text, parts included, given its first slot; false for a label, which is no
    /// feature.
    #[inline]
    pub fn word_rows(
        &self,
        text: &[u8],
        token: &Token,
        first: Slot,
        parts: &mut Parts,
        rows: &mut Vec<u32>,
    ) -> bool {
        let id = self.id_of(text, token.span, token.hash, first);
        let word = bytes_of(text, token.span);
        if id.is_none() && word.starts_with(LABEL_PREFIX) {
            return false;
        }
        rows.extend(id);
        if self.has_subwords() && word != END {
            self.subwords(word, parts, rows);
        }
        true
    }

    /// Append the rows of the n-grams of words, given the hashes of all words.
    pub fn ngram_rows(&self, hashes: &[u32], rows: &mut Vec<u32>) {
        let signed = |hash: u32| i64::from(hash.cast_signed()).cast_unsigned();
        if self.features.word_ngrams < 2 {
            return;
        }
        for (start, &first) in hashes.iter().enumerate() {
            let end = (start + self.features.word_ngrams).min(hashes.len());
            let mut hash = signed(first);
            for &next in &hashes[start + 1..end] {
                hash = hash.wrapping_mul(NGRAM).wrapping_add(signed(next));
                self.buckets.append_rows(&[self.buckets.bucket(hash)], self.num_words() as u32, rows);
            }
        }
    }

    /// Append the rows of the parts of a word.
    fn subwords(&self, word: &[u8], parts: &mut Parts, rows: &mut Vec<u32>) {
        let Features { min_chars, max_chars, .. } = self.features;
        parts.set(word);
        let Parts { bytes, starts, buckets } = parts;
        let num_chars = starts.len() - 1;
        for (first, after) in (1..=num_chars).enumerate() {
            let mut hash = FNV_START;
            let mut from = starts[first] as usize;
            for (last, &end) in starts[after..].iter().take(max_chars).enumerate() {
                for &byte in &bytes[from..end as usize] {
                    hash = fnv_step(hash, byte);
                }
                from = end as usize;
                let is_bracket = last == 0 && (first == 0 || after == num_chars);
                if last + 1 >= min_chars && !is_bracket {
                    buckets.push(self.buckets.bucket(u64::from(hash)));
                }
            }
        }
        self.buckets.append_rows(buckets, self.num_words() as u32, rows);
    }
}
