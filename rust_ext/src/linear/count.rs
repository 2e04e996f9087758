//! How often the n-grams of texts fall into each bucket: a histogram that grows with every batch.
//!
//! Threads count into tables of their own, which are added up at the end; sums of whole numbers do not depend on who
//! counted what, so neither threads nor batches show. Memory: 8 bytes a bucket for each thread that ever counted.

use std::sync::{Mutex, OnceLock, PoisonError};

use arrow_array::builder::UInt64Builder;
use arrow_array::{Array as _, LargeBinaryArray, UInt64Array};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::features::Features;
use super::file::{Hash, MAX_BUCKETS, MAX_NGRAMS, Tokens};
use crate::error::{Error, Result};
use crate::fasttext::tokens::{self, Token};
use crate::measure::chunks;
use crate::pool;
use crate::text::{MAX_TEXT_BYTES, Reads, Segments, Views};

/// Which n-grams are counted, and where.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How a text is cut.
    pub tokens: Tokens,
    /// Tokens in the longest n-gram.
    pub ngrams: usize,
    /// How n-grams get their buckets.
    pub hash: Hash,
    /// Buckets.
    pub num_buckets: usize,
}

impl Settings {
    /// Read settings from JSON.
    ///
    /// # Errors
    /// `Error::Config` for anything else than the fields above, or numbers out of bounds.
    pub fn parse(json: &str) -> Result<Self> {
        let found: Self =
            serde_json::from_str(json).map_err(|error| Error::Config(format!("n-gram counts: {error}")))?;
        for (key, value, max) in
            [("ngrams", found.ngrams, MAX_NGRAMS), ("num_buckets", found.num_buckets, MAX_BUCKETS)]
        {
            if !(1..=max).contains(&value) {
                return Err(Error::Config(format!("{key} is not a number from 1 to {max}: {value}")));
            }
        }
        Ok(found)
    }
}

/// Counts of buckets, over all texts that were added.
#[derive(Debug)]
pub struct Counter {
    settings: Settings,
    /// Those that wait for a thread.
    workers: Mutex<Vec<Worker>>,
}

impl Counter {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, workers: Mutex::default() }
    }

    /// Count the n-grams of texts; returns how many each has, null for a text that is null or not UTF-8.
    ///
    /// # Errors
    /// `Error::Config` when the threads cannot be started.
    pub fn add(&self, texts: &LargeBinaryArray, num_threads: usize) -> Result<UInt64Array> {
        self.run(texts, num_threads, Worker::count)
    }

    /// How many n-grams each text has, as [`Counter::add`] returns it, without counting them.
    ///
    /// # Errors
    /// As [`Counter::add`].
    pub fn lengths(&self, texts: &LargeBinaryArray, num_threads: usize) -> Result<UInt64Array> {
        self.run(texts, num_threads, Worker::length)
    }

    /// How often each bucket was met.
    #[must_use]
    pub fn counts(&self) -> UInt64Array {
        let mut total = vec![0; self.settings.num_buckets];
        for worker in self.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A worker that counted nothing has no table.
            total.iter_mut().zip(&worker.table).for_each(|(total, count)| *total += count);
        }
        UInt64Array::from(total)
    }

    fn run(
        &self,
        texts: &LargeBinaryArray,
        num_threads: usize,
        of: impl Fn(&mut Worker, &str) -> u64 + Sync,
    ) -> Result<UInt64Array> {
        let chunks = chunks(texts, num_threads);
        let measure = |worker: &mut Worker, rows: std::ops::Range<usize>| {
            rows.map(|row| read(texts, row).map(|text| of(worker, text))).collect::<Vec<_>>()
        };
        let parts: Vec<OnceLock<Vec<Option<u64>>>> = chunks.iter().map(|_| OnceLock::new()).collect();
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = |_: usize| {
            let mut worker = self.take();
            while let Some(rows) = chunks.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                // Ranges are taken in order, once each: the place is that of a range nobody else has.
                let index = chunks.partition_point(|other| other.start < rows.start);
                let _ = parts[index].set(measure(&mut worker, rows.clone()));
            }
            self.put_back(worker);
        };
        if chunks.len() == 1 {
            work(0);
        } else {
            pool::run(num_threads, || (0..num_threads).into_par_iter().with_max_len(1).for_each(work))?;
        }
        let mut out = UInt64Builder::with_capacity(texts.len());
        parts.into_iter().flat_map(OnceLock::into_inner).for_each(|part| {
            part.into_iter().for_each(|length| out.append_option(length));
        });
        Ok(out.finish())
    }

    fn take(&self) -> Worker {
        let idle = self.workers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Worker::new(&self.settings))
    }

    fn put_back(&self, worker: Worker) {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}

/// A text that can be read.
fn read(texts: &LargeBinaryArray, row: usize) -> Option<&str> {
    let bytes = texts.is_valid(row).then(|| texts.value(row)).filter(|bytes| bytes.len() < MAX_TEXT_BYTES)?;
    simdutf8::basic::from_utf8(bytes).ok()
}

/// What one thread counts with.
#[derive(Debug)]
struct Worker {
    features: Features,
    reads_tokens: bool,
    tokens: Vec<Token>,
    segments: Segments,
    num_buckets: usize,
    /// Empty before the first text.
    table: Vec<u64>,
}

impl Worker {
    fn new(settings: &Settings) -> Self {
        let Settings { tokens, ngrams, hash, num_buckets } = *settings;
        Self {
            features: Features::new(tokens, ngrams, hash, num_buckets),
            reads_tokens: tokens == Tokens::Whitespace,
            tokens: Vec::new(),
            segments: Segments::default(),
            num_buckets,
            table: Vec::new(),
        }
    }

    /// Count the n-grams of a text; returns how many there are.
    fn count(&mut self, text: &str) -> u64 {
        self.table.resize(self.num_buckets, 0);
        let Self { features, table, .. } = self;
        let doc = view(text, self.reads_tokens, &mut self.tokens, &mut self.segments);
        let mut length = 0;
        features.each_bucket(&doc, false, |bucket| {
            if let Some(count) = table.get_mut(bucket as usize) {
                *count += 1;
            }
            length += 1;
        });
        length
    }

    fn length(&mut self, text: &str) -> u64 {
        let doc = view(text, self.reads_tokens, &mut self.tokens, &mut self.segments);
        self.features.count(&doc, false)
    }
}

/// What features are read from.
fn view<'a>(
    text: &'a str,
    reads_tokens: bool,
    tokens: &'a mut Vec<Token>,
    segments: &'a mut Segments,
) -> Views<'a> {
    tokens.clear();
    if reads_tokens {
        tokens::split(text.as_bytes(), 0..text.len(), tokens);
    }
    Views { tokens, ..segments.view(text, |_, _| (), Reads::NOTHING) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(json: &str) -> Result<Counter> {
        Settings::parse(json).map(Counter::new)
    }

    const DSIR: &str =
        r#"{"tokens": "wordpunct_lower", "ngrams": 2, "hash": "sha256", "num_buckets": 10000}"#;

    #[test]
    fn counts_are_those_of_the_published_buckets() -> Result<()> {
        let counter = counter(DSIR)?;
        let texts =
            LargeBinaryArray::from(vec![Some(&b"Alice went"[..]), None, Some(b"\xff"), Some(b"alice")]);
        let lengths = counter.add(&texts, 1)?;
        assert_eq!(lengths.iter().collect::<Vec<_>>(), [Some(3), None, None, Some(1)]);
        let counts = counter.counts();
        assert_eq!((counts.value(6720), counts.value(114)), (2, 1));
        assert_eq!(counts.values().iter().sum::<u64>(), 4);
        Ok(())
    }

    #[test]
    fn threads_and_batches_change_no_count() -> Result<()> {
        let texts: Vec<String> =
            (0..4000).map(|row| format!("the {} row, {row}. ", row % 97).repeat(20)).collect();
        let all = LargeBinaryArray::from_iter_values(&texts);
        for mode in ["wordpunct_lower", "uax29", "whitespace"] {
            let json = DSIR.replace("wordpunct_lower", mode);
            let (one, two, parts) = (counter(&json)?, counter(&json)?, counter(&json)?);
            let lengths = one.add(&all, 1)?;
            assert_eq!(two.add(&all, 3)?, lengths);
            assert_eq!(one.lengths(&all, 2)?, lengths);
            for start in (0..4000).step_by(333) {
                parts.add(&all.slice(start, 333.min(4000 - start)), 2)?;
            }
            assert_eq!(one.counts(), two.counts());
            assert_eq!(one.counts(), parts.counts());
            assert_eq!(one.counts().values().iter().sum::<u64>(), lengths.values().iter().sum::<u64>());
        }
        Ok(())
    }

    #[test]
    fn settings_out_of_bounds_are_refused() {
        for (old, new) in [("10000", "0"), ("10000", "268435457"), (": 2", ": 9"), ("sha256", "md5")] {
            assert!(matches!(counter(&DSIR.replace(old, new)), Err(Error::Config(_))), "{new}");
        }
    }
}
