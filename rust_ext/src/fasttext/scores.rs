//! From a text to the hidden vector of a model: the mean of the rows of its features.

use std::sync::Mutex;

use super::Model;
use super::dictionary::{END, Parts, Slot};
use super::head::{Head, Scored};
use super::tokens::{Token, bytes_of, fnv, split};
use super::words::Words;

/// Scores texts with one model; threads share it.
#[derive(Debug)]
pub struct Scorer {
    model: Model,
    head: Head,
    end_hash: u32,
    /// Whether the rows of each word are added up first. That changes the last bits of a sum, which only a quantised
    /// model leaves room for, and which the steps of the logistic function would make large.
    sums_words: bool,
    /// Sums of words that no thread uses at the moment.
    idle: Mutex<Vec<Words>>,
}

/// In place of the rows of a word that is none.
const NO_FEATURE: usize = u32::MAX as usize;
/// Words are looked up in so many at a time, so that the table is read from many places at once.
const LOOKUPS: usize = 32;
/// Sums of words that are kept for threads to come.
const MAX_IDLE: usize = 8;

/// Memory that serves one text after another.
#[derive(Debug, Default)]
pub struct Scratch {
    words: Words,
    tokens: Vec<Token>,
    hashes: Vec<u32>,
    parts: Parts,
    rows: Vec<u32>,
    hidden: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Scorer {
    /// Prepare a model for scoring.
    #[must_use]
    pub fn new(mut model: Model) -> Self {
        let (loss, counts) = (model.loss, model.dictionary.counts());
        let head = Head::new(loss, counts, model.output.take());
        let sums_words = model.dictionary.has_subwords() && model.is_quantised && !loss.is_independent();
        Self { model, head, end_hash: fnv(END), sums_words, idle: Mutex::default() }
    }

    /// Labels without their prefix.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.model.labels()
    }

    /// Memory for one thread, with the sums of words that an earlier one left.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        let words = self.idle.try_lock().ok().and_then(|mut idle| idle.pop());
        Scratch { words: words.unwrap_or_default(), ..Scratch::default() }
    }

    /// Take back what `scratch` gave. Nobody waits for another thread here, which may not exist after a fork.
    pub fn put_back(&self, scratch: &mut Scratch) {
        if let Ok(mut idle) = self.idle.try_lock()
            && idle.len() < MAX_IDLE
        {
            idle.push(std::mem::take(&mut scratch.words));
        }
    }

    /// Read a range of a text as one line; false where it has no features.
    pub fn read(&self, text: &str, range: std::ops::Range<usize>, scratch: &mut Scratch) -> bool {
        let mut tokens = std::mem::take(&mut scratch.tokens);
        tokens.clear();
        split(text.as_bytes(), range, &mut tokens);
        let has_features = self.read_tokens(text, &tokens, scratch);
        scratch.tokens = tokens;
        has_features
    }

    /// The most probable labels of what was read last: at most `num`, the first of equal ones.
    pub fn top(&self, num: usize, scratch: &mut Scratch, found: &mut Vec<Scored>) {
        self.head.top(&scratch.hidden, num, &mut scratch.probabilities, found);
    }

    /// The probability of each label for what was read last, by the label's number.
    pub fn all<'a>(&self, scratch: &'a mut Scratch) -> &'a [f32] {
        self.head.all(&scratch.hidden, &mut scratch.probabilities);
        &scratch.probabilities
    }

    /// Make `hidden` the mean of the rows of a text as one line, given its tokens; false where it has none.
    pub fn read_tokens(&self, text: &str, tokens: &[Token], scratch: &mut Scratch) -> bool {
        let matrix = &self.model.rows;
        // The reference implementation takes it for the end of the line.
        let is_end =
            |token: &Token| token.hash == self.end_hash && bytes_of(text.as_bytes(), token.span) == END;
        let tokens = tokens.iter().position(is_end).map_or(tokens, |end| &tokens[..end]);
        scratch.hidden.clear();
        scratch.hidden.resize(matrix.width, 0.0);
        scratch.hashes.clear();
        scratch.rows.clear();
        let num_summed = if self.sums_words { self.add_words(text, tokens, scratch) } else { 0 };
        let Scratch { hashes, parts, rows, hidden, .. } = scratch;
        let dictionary = &self.model.dictionary;
        if !self.sums_words {
            let mut slots = [Slot::default(); LOOKUPS];
            for tokens in tokens.chunks(LOOKUPS) {
                for (slot, token) in slots.iter_mut().zip(tokens) {
                    *slot = dictionary.first_slot(token.hash);
                }
                for (token, &slot) in tokens.iter().zip(&slots) {
                    if dictionary.word_rows(text.as_bytes(), token, slot, parts, rows) {
                        hashes.push(token.hash);
                    }
                }
            }
        }
        dictionary.end_row(rows);
        hashes.push(self.end_hash);
        dictionary.ngram_rows(hashes, rows);
        matrix.add_rows(rows, hidden);
        let num_rows = num_summed + rows.len();
        let share = 1.0 / num_rows as f32;
        hidden.iter_mut().for_each(|sum| *sum *= share);
        num_rows > 0
    }

    /// Add the sums of words to `hidden` and their hashes to `hashes`; returns the number of rows.
    fn add_words(&self, text: &str, tokens: &[Token], scratch: &mut Scratch) -> usize {
        let Scratch { words, hashes, parts, rows, hidden, .. } = scratch;
        let (dictionary, matrix) = (&self.model.dictionary, &self.model.rows);
        let mut num_rows = 0;
        for token in tokens {
            let word = bytes_of(text.as_bytes(), token.span);
            let (count, sum) = words.get(word, token.hash, matrix.width, |sum| {
                rows.clear();
                let slot = dictionary.first_slot(token.hash);
                // A word without rows is a feature all the same: it is part of n-grams.
                if !dictionary.word_rows(text.as_bytes(), token, slot, parts, rows) {
                    return NO_FEATURE;
                }
                matrix.add_rows(rows, sum);
                rows.len()
            });
            if count != NO_FEATURE {
                hashes.push(token.hash);
                num_rows += count;
                hidden.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
            }
        }
        rows.clear();
        num_rows
    }
}
