//! Parts that were seen before, found in one pass in the order of the corpus.
//!
//! Without n-grams a part is one item, and it is removed where that was seen. With n-grams it is DCLM's
//! old-both (Li et al. 2024, arXiv:2406.11794, `dedup/bff`): a part whose share of seen n-grams reaches the
//! threshold is removed, the n-grams of the others are inserted when all of them were looked up; a document
//! whose share over all its parts reaches the threshold is removed as a whole. Shares are counted before
//! any part of theirs is inserted, but after earlier parts of the same document were.
//!
//! Hashing runs on all threads, a stretch of text ahead of the filter, which sees one document after the
//! other: the answer depends on the order of documents alone.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, ListBuilder, UInt32Builder};
use arrow_array::{Array as _, LargeBinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use super::bloom::{Bloom, Size};
use super::ngrams::Ngrams;
use super::{Part, Scopes, Unit, cut, map_chunks, split, text_at};
use crate::error::{Error, Result};
use crate::text::Span;
use crate::{hash, pool, uax29};

/// Text that is hashed ahead of the filter.
const STRETCH_BYTES: usize = 4 << 20;
/// Words of an n-gram at most.
const MAX_NGRAM: usize = 256;

/// What is compared, and how surely.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterSettings {
    /// Paragraphs or lines.
    pub unit: Unit,
    /// Parts of fewer words are not compared: words as white space separates them, or of UAX #29 with
    /// n-grams.
    pub min_words: usize,
    /// Words of an n-gram; null compares whole parts.
    pub ngram: Option<usize>,
    /// Share of seen n-grams from which on a part or document is removed.
    pub threshold: f64,
    /// Items that the filter is made for.
    pub expected: u64,
    /// Probability that a new item is taken for seen when there are that many.
    pub false_positive_rate: f64,
}

impl FilterSettings {
    /// Read settings from JSON.
    ///
    /// # Errors
    /// `Error::Config` for anything else than the fields, or a number out of its bounds.
    pub fn parse(json: &str) -> Result<Self> {
        let settings: Self =
            serde_json::from_str(json).map_err(|error| Error::Config(format!("part filter: {error}")))?;
        if settings.ngram.is_some_and(|ngram| !(1..=MAX_NGRAM).contains(&ngram)) {
            let ngram = settings.ngram.unwrap_or(0);
            return Err(Error::Config(format!("ngram is from 1 to {MAX_NGRAM}, not: {ngram}")));
        }
        Ok(settings)
    }
}

/// Knows the parts of the texts that it has seen.
#[derive(Debug)]
pub struct PartFilter {
    settings: FilterSettings,
    bloom: Bloom,
}

/// What is compared of some documents, one after another.
#[derive(Default)]
struct Hashed {
    /// Parts of each document.
    num_parts: Vec<usize>,
    /// Hashes of each part; none of those that are not compared.
    num_hashes: Vec<usize>,
    hashes: Vec<u64>,
}

impl PartFilter {
    /// One that has seen nothing.
    ///
    /// # Errors
    /// `Error::Config` where no filter has that error, or there is no memory for it.
    pub fn new(settings: FilterSettings) -> Result<Self> {
        let bloom = Bloom::new(Size::solve(settings.expected, settings.false_positive_rate)?)?;
        Ok(Self { settings, bloom })
    }

    /// Items in the filter, and the probability that a new one is taken for seen now.
    #[must_use]
    pub fn state(&self) -> (u64, f64) {
        (self.bloom.num_items(), self.bloom.size().error(self.bloom.num_items()))
    }

    /// Numbers of the parts of each text that were seen before, and whether the text as a whole was; then
    /// the others have been seen.
    ///
    /// # Errors
    /// `Error::Data` where there are not as many scopes as texts.
    pub fn find(
        &mut self,
        texts: &LargeBinaryArray,
        scopes: Option<&LargeBinaryArray>,
        num_threads: usize,
    ) -> Result<RecordBatch> {
        let scopes = Scopes::new(scopes, texts.len())?;
        let settings = self.settings;
        let hash = |rows: Range<usize>| {
            map_chunks(texts, rows, |rows| Hasher::new(&settings).hash_rows(texts, &scopes, rows))
        };
        let mut found = Found::default();
        pool::run(num_threads, || {
            let mut ahead = Vec::new();
            for stretch in cut(texts, 0..texts.len(), STRETCH_BYTES) {
                let see = || ahead.iter().for_each(|hashed| self.see(hashed, &mut found));
                ((), ahead) = rayon::join(see, || hash(stretch));
            }
            ahead.iter().for_each(|hashed| self.see(hashed, &mut found));
        })?;
        found.finish()
    }

    fn see(&mut self, hashed: &Hashed, found: &mut Found) {
        let mut num_hashes = hashed.num_hashes.iter();
        let mut hashes = hashed.hashes.as_slice();
        for &num_parts in &hashed.num_parts {
            let (mut num_all, mut num_seen) = (0, 0);
            for (part, &count) in num_hashes.by_ref().take(num_parts).enumerate() {
                let Some((these, rest)) = hashes.split_at_checked(count) else { return };
                hashes = rest;
                let seen = these.iter().filter(|&&hash| self.bloom.contains(hash)).count();
                num_all += count;
                num_seen += seen;
                if self.reaches(seen, count) {
                    found.parts.values().append_value(u32::try_from(part).unwrap_or(u32::MAX));
                } else {
                    these.iter().for_each(|&hash| self.bloom.insert(hash));
                }
            }
            found.parts.append(true);
            found.is_whole.append_value(self.settings.ngram.is_some() && self.reaches(num_seen, num_all));
        }
    }

    fn reaches(&self, num_seen: usize, num_all: usize) -> bool {
        let threshold = if self.settings.ngram.is_some() { self.settings.threshold } else { 1.0 };
        num_all > 0 && num_seen as f64 / num_all as f64 >= threshold
    }
}

/// Columns `parts` and `is_whole`, as they are made.
#[derive(Default)]
struct Found {
    parts: ListBuilder<UInt32Builder>,
    is_whole: BooleanBuilder,
}

impl Found {
    fn finish(mut self) -> Result<RecordBatch> {
        let (parts, is_whole) = (self.parts.finish(), self.is_whole.finish());
        let schema = Schema::new(vec![
            Field::new("parts", parts.data_type().clone(), false),
            Field::new("is_whole", DataType::Boolean, false),
        ]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(parts), Arc::new(is_whole)])
            .map_err(|error| Error::Data(format!("parts: {error}")))
    }
}

/// Makes what is compared of one document after another.
struct Hasher {
    settings: FilterSettings,
    ngrams: Option<Ngrams>,
    parts: Vec<Part>,
    words: Vec<Span>,
    buffer: Vec<u8>,
}

impl Hasher {
    fn new(settings: &FilterSettings) -> Self {
        let ngrams = settings.ngram.map(Ngrams::new);
        Self { settings: *settings, ngrams, parts: Vec::new(), words: Vec::new(), buffer: Vec::new() }
    }

    fn hash_rows(&mut self, texts: &LargeBinaryArray, scopes: &Scopes<'_>, rows: Range<usize>) -> Hashed {
        let mut found = Hashed::default();
        for row in rows {
            let text = text_at(texts, row).unwrap_or("");
            split(text, self.settings.unit, &mut self.parts);
            found.num_parts.push(self.parts.len());
            let before = found.hashes.len();
            if self.ngrams.is_some() {
                self.add_ngrams(text, &mut found);
            } else {
                self.add_parts(text, &mut found);
            }
            let scope = scopes.of(row) as u64;
            found.hashes.iter_mut().skip(before).for_each(|hash| *hash ^= scope);
        }
        found
    }

    fn add_parts(&mut self, text: &str, found: &mut Hashed) {
        for part in &self.parts {
            let is_compared = part.num_words >= self.settings.min_words;
            if is_compared {
                let hash = u128::from_le_bytes(hash::id(part.key(text, &mut self.buffer)));
                found.hashes.push(hash as u64);
            }
            found.num_hashes.push(usize::from(is_compared));
        }
    }

    fn add_ngrams(&mut self, text: &str, found: &mut Hashed) {
        let Some(ngrams) = &mut self.ngrams else { return };
        self.words.clear();
        uax29::split(text, &mut self.words);
        let mut words = self.words.iter().peekable();
        for part in &self.parts {
            ngrams.start();
            while let Some(word) = words.next_if(|word| (word.start as usize) < part.end) {
                // What only Python takes for white space may lie between parts.
                if word.start as usize >= part.start {
                    ngrams.word(word.of(text).as_bytes());
                }
            }
            let is_compared = ngrams.num_words() >= self.settings.min_words;
            found.num_hashes.push(if is_compared { ngrams.end(&mut found.hashes) } else { 0 });
        }
    }
}
