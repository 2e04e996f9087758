//! The native path: added tokens, normalizer, split, cache, model.

use super::added::AddedSet;
use super::bpe::{Bpe, Work};
use super::cache::Cache;
use super::classes::{Classes, classes};
use super::normalize::Normalizer;
use super::split::Scanner;

/// One step of splitting, after which the next sees each piece alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put a space before a piece that has none.
    PrefixSpace,
    /// Cut by a scanner.
    Scan(Scanner),
}

/// A tokenizer whose every part is known here.
#[derive(Debug)]
pub struct Native {
    /// Added tokens that are found in the raw text.
    pub added: Option<AddedSet>,
    /// What happens to the stretches between them.
    pub normalizer: Normalizer,
    /// Added tokens that are found after that.
    pub added_normalized: Option<AddedSet>,
    /// How stretches are split.
    pub steps: Vec<Step>,
    /// What counts the tokens of a piece.
    pub model: Bpe,
}

/// The memory of one thread for one tokenizer: its cache and buffers.
#[derive(Debug)]
pub struct Scratch {
    table: &'static Classes,
    cache: Cache,
    work: Work,
    normalized: String,
    prefixed: String,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            table: classes(),
            cache: Cache::default(),
            work: Work::default(),
            normalized: String::new(),
            prefixed: String::new(),
        }
    }
}

impl Native {
    /// Number of tokens of `text`.
    #[must_use]
    pub fn count(&self, text: &str, scratch: &mut Scratch) -> u64 {
        let mut total = 0;
        let found = cut(self.added.as_ref(), text, |stretch| total += self.stretch(stretch, scratch));
        total + u64::from(found)
    }

    fn stretch(&self, text: &str, scratch: &mut Scratch) -> u64 {
        let mut buffer = std::mem::take(&mut scratch.normalized);
        let text = self.normalizer.apply(text, &mut buffer);
        let mut total = 0;
        let found = cut(self.added_normalized.as_ref(), text, |piece| total += self.split(0, piece, scratch));
        scratch.normalized = buffer;
        total + u64::from(found)
    }

    /// Tokens of a piece that the first `depth` steps made.
    fn split(&self, depth: usize, text: &str, scratch: &mut Scratch) -> u64 {
        match self.steps.get(depth) {
            None => self.model.count(text, &mut scratch.work).into(),
            Some(Step::PrefixSpace) if text.starts_with(' ') => self.split(depth + 1, text, scratch),
            Some(Step::PrefixSpace) => {
                let mut prefixed = std::mem::take(&mut scratch.prefixed);
                prefixed.clear();
                prefixed.push(' ');
                prefixed.push_str(text);
                let total = self.split(depth + 1, &prefixed, scratch);
                scratch.prefixed = prefixed;
                total
            }
            Some(Step::Scan(scanner)) if depth + 1 == self.steps.len() => self.scan(*scanner, text, scratch),
            Some(Step::Scan(scanner)) => {
                let (mut start, mut total) = (0, 0);
                while start < text.len() {
                    let end = scanner.next(scratch.table, text.as_bytes(), start);
                    total += self.split(depth + 1, &text[start..end], scratch);
                    start = end;
                }
                total
            }
        }
    }

    /// The last step: every piece is looked up, and merged where it is new.
    fn scan(&self, scanner: Scanner, text: &str, scratch: &mut Scratch) -> u64 {
        let Scratch { table, cache, work, .. } = scratch;
        let bytes = text.as_bytes();
        let (mut start, mut total) = (0, 0);
        while start < bytes.len() {
            let end = scanner.next(table, bytes, start);
            let key = Cache::key(bytes, start, end);
            let piece = &bytes[start..end];
            total += u64::from(cache.get(key, piece).unwrap_or_else(|| {
                let count = self.model.count(&text[start..end], work);
                cache.put(key, piece, count);
                count
            }));
            start = end;
        }
        total
    }
}

/// Cut `text` at added tokens; returns their number.
fn cut(added: Option<&AddedSet>, text: &str, mut between: impl FnMut(&str)) -> u32 {
    match added {
        Some(set) => set.split(text, between),
        None => {
            if !text.is_empty() {
                between(text);
            }
            0
        }
    }
}
