//! The native path: added tokens, normalizer, split, cache, model.

use super::added::AddedSet;
use super::bpe::{Bpe, Work};
use super::cache::{Cache, Key};
use super::classes::{Classes, classes};
use super::normalize::{Normalizer, replace};
use super::split::{Scanner, WORD_MARK};
use super::unigram::{Lattice, Unigram};

/// Buffers larger than this are given back.
const KEPT_BYTES: usize = 1 << 20;

/// Pieces that are looked up together.
const BATCH: usize = 16;

/// One step of splitting, after which the next sees each piece alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put a space before a piece that has none.
    PrefixSpace,
    /// Spaces become word marks, and a piece that does not start with one gets one.
    WordMarks(Prefix),
    /// Cut at white space, which is left out.
    WhiteSpace,
    /// Cut by a scanner.
    Scan(Scanner),
}

/// Which pieces get a word mark at their start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// All of them.
    Always,
    /// The one at the start of the text.
    First,
    /// None.
    Never,
}

/// What counts the tokens of a piece.
#[derive(Debug)]
pub enum Model {
    /// Byte-pair encoding.
    Bpe(Bpe),
    /// The most probable split.
    Unigram(Unigram),
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
    pub model: Model,
}

/// The memory of one thread for one tokenizer: its cache and buffers.
#[derive(Debug)]
pub struct Scratch {
    table: &'static Classes,
    cache: Cache,
    work: Work,
    lattice: Lattice,
    normalized: [String; 2],
    marked: String,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            table: classes(),
            cache: Cache::default(),
            work: Work::default(),
            lattice: Lattice::default(),
            normalized: Default::default(),
            marked: String::new(),
        }
    }
}

impl Scratch {
    /// Give back the memory that one very long piece took, before this is kept for later.
    pub fn trim(&mut self) {
        self.work.trim(KEPT_BYTES);
        self.lattice.trim(KEPT_BYTES);
        for buffer in self.normalized.iter_mut().chain([&mut self.marked]) {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES);
        }
    }
}

impl Model {
    fn count(&self, piece: &str, work: &mut Work, lattice: &mut Lattice) -> u32 {
        match self {
            Self::Bpe(bpe) => bpe.count(piece, work),
            Self::Unigram(unigram) => unigram.count(piece, lattice),
        }
    }
}

impl Native {
    /// Number of tokens of `text`.
    #[must_use]
    pub fn count(&self, text: &str, scratch: &mut Scratch) -> u64 {
        let mut total = 0;
        let found = cut(self.added.as_ref(), text, |start, stretch| {
            total += self.stretch(stretch, start == 0, scratch);
        });
        total + u64::from(found)
    }

    fn stretch(&self, text: &str, is_first: bool, scratch: &mut Scratch) -> u64 {
        let mut buffers = std::mem::take(&mut scratch.normalized);
        let text = self.normalizer.apply(text, &mut buffers);
        let mut total = 0;
        let found = cut(self.added_normalized.as_ref(), text, |start, piece| {
            total += self.split(&self.steps, piece, is_first && start == 0, scratch);
        });
        scratch.normalized = buffers;
        total + u64::from(found)
    }

    /// Tokens of a piece that the steps before `steps` made.
    fn split(&self, steps: &[Step], text: &str, is_first: bool, scratch: &mut Scratch) -> u64 {
        let Some((step, rest)) = steps.split_first() else {
            return self.model.count(text, &mut scratch.work, &mut scratch.lattice).into();
        };
        let mut marked = std::mem::take(&mut scratch.marked);
        let mut total = 0;
        match step {
            Step::PrefixSpace if text.starts_with(' ') => total = self.split(rest, text, is_first, scratch),
            Step::PrefixSpace => {
                marked.clear();
                marked.push(' ');
                marked.push_str(text);
                total = self.split(rest, &marked, is_first, scratch);
            }
            Step::WordMarks(prefix) => {
                mark(text, *prefix, is_first, &mut marked);
                total = self.split(rest, &marked, is_first, scratch);
            }
            Step::WhiteSpace => {
                for piece in text.split(char::is_whitespace).filter(|piece| !piece.is_empty()) {
                    let is_first = is_first && std::ptr::eq(piece.as_ptr(), text.as_ptr());
                    total += self.split(rest, piece, is_first, scratch);
                }
            }
            Step::Scan(scanner) if rest.is_empty() => total = self.scan(*scanner, text, scratch),
            Step::Scan(scanner) => {
                let mut start = 0;
                while start < text.len() {
                    let end = scanner.next(scratch.table, text.as_bytes(), start);
                    total += self.split(rest, &text[start..end], is_first && start == 0, scratch);
                    start = end;
                }
            }
        }
        scratch.marked = marked;
        total
    }

    /// The last step: every piece is looked up, and counted where it is new.
    fn scan(&self, scanner: Scanner, text: &str, scratch: &mut Scratch) -> u64 {
        let Scratch { table, cache, work, lattice, .. } = scratch;
        let bytes = text.as_bytes();
        let mut batch = [(0, 0, Key::None); BATCH];
        let (mut start, mut total) = (0, 0);
        while start < bytes.len() {
            // Cutting ahead of looking up lets the look-ups of a batch wait for memory together.
            let mut len = 0;
            for entry in &mut batch {
                if start >= bytes.len() {
                    break;
                }
                let end = scanner.next(table, bytes, start);
                *entry = (start, end, Cache::key(bytes, start, end));
                start = end;
                len += 1;
            }
            for &(start, end, key) in &batch[..len] {
                let piece = &bytes[start..end];
                total += u64::from(cache.get(key, piece).unwrap_or_else(|| {
                    let count = self.model.count(&text[start..end], work, lattice);
                    cache.put(key, piece, count);
                    count
                }));
            }
        }
        total
    }
}

/// Write `text` with word marks for spaces to `out`, and one at its start where `prefix` wants it.
fn mark(text: &str, prefix: Prefix, is_first: bool, out: &mut String) {
    let mut buffer = [0; 4];
    let word_mark: &str = WORD_MARK.encode_utf8(&mut buffer);
    replace(text, " ", word_mark, out);
    let wanted = prefix == Prefix::Always || (prefix == Prefix::First && is_first);
    if wanted && !out.starts_with(WORD_MARK) {
        out.insert(0, WORD_MARK);
    }
}

/// Cut `text` at added tokens, telling where each stretch starts; returns the number of added tokens.
fn cut(added: Option<&AddedSet>, text: &str, mut between: impl FnMut(usize, &str)) -> u32 {
    match added {
        Some(set) => set.split(text, between),
        None => {
            if !text.is_empty() {
                between(0, text);
            }
            0
        }
    }
}
