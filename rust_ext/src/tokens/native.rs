//! The native path: added tokens, normalizer, split, cache, model.

use super::added::{AddedSet, Part};
use super::bpe::{Bpe, Work};
use super::cache::{Cache, Key, key};
use super::classes::{Classes, classes};
use super::normalize::{Normalizer, replace};
use super::sink::{Few, Sink};
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

/// What finds the tokens of a piece.
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
    /// What finds the tokens of a piece.
    pub model: Model,
}

/// The memory of one thread for one tokenizer: its cache and buffers.
#[derive(Debug)]
pub struct Scratch<F> {
    table: &'static Classes,
    cache: Cache<F>,
    work: Work,
    lattice: Lattice,
    normalized: [String; 2],
    marked: String,
}

impl<F: Few> Default for Scratch<F> {
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

impl<F> Scratch<F> {
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
    fn ids<'a>(&'a self, piece: &str, work: &'a mut Work, lattice: &'a mut Lattice) -> &'a [u32] {
        match self {
            Self::Bpe(bpe) => bpe.ids(piece, work),
            Self::Unigram(unigram) => unigram.ids(piece, lattice),
        }
    }
}

impl Native {
    /// Give `sink` the tokens of `text`.
    pub fn run<S: Sink>(&self, text: &str, scratch: &mut Scratch<S::Few>, sink: &mut S) {
        cut(self.added.as_ref(), text, |part| match part {
            Part::Text(start, stretch) => self.stretch(stretch, start == 0, scratch, sink),
            Part::Token(id) => sink.push([id].into_iter()),
        });
    }

    fn stretch<S: Sink>(&self, text: &str, is_first: bool, scratch: &mut Scratch<S::Few>, sink: &mut S) {
        let mut buffers = std::mem::take(&mut scratch.normalized);
        let text = self.normalizer.apply(text, &mut buffers);
        cut(self.added_normalized.as_ref(), text, |part| match part {
            Part::Text(start, piece) => {
                self.split(&self.steps, piece, is_first && start == 0, scratch, sink);
            }
            Part::Token(id) => sink.push([id].into_iter()),
        });
        scratch.normalized = buffers;
    }

    /// The tokens of a piece that the steps before `steps` made.
    fn split<S: Sink>(
        &self,
        steps: &[Step],
        text: &str,
        is_first: bool,
        scratch: &mut Scratch<S::Few>,
        sink: &mut S,
    ) {
        let Some((step, rest)) = steps.split_first() else {
            let ids = self.model.ids(text, &mut scratch.work, &mut scratch.lattice);
            return sink.push(ids.iter().copied());
        };
        let mut marked = std::mem::take(&mut scratch.marked);
        match step {
            Step::PrefixSpace if text.starts_with(' ') => self.split(rest, text, is_first, scratch, sink),
            Step::PrefixSpace => {
                marked.clear();
                marked.push(' ');
                marked.push_str(text);
                self.split(rest, &marked, is_first, scratch, sink);
            }
            Step::WordMarks(prefix) => {
                mark(text, *prefix, is_first, &mut marked);
                self.split(rest, &marked, is_first, scratch, sink);
            }
            Step::WhiteSpace => {
                for piece in text.split(char::is_whitespace).filter(|piece| !piece.is_empty()) {
                    let is_first = is_first && std::ptr::eq(piece.as_ptr(), text.as_ptr());
                    self.split(rest, piece, is_first, scratch, sink);
                }
            }
            Step::Scan(scanner) if rest.is_empty() => self.scan(*scanner, text, scratch, sink),
            Step::Scan(scanner) => {
                let mut start = 0;
                while start < text.len() {
                    let end = scanner.next(scratch.table, text.as_bytes(), start);
                    self.split(rest, &text[start..end], is_first && start == 0, scratch, sink);
                    start = end;
                }
            }
        }
        scratch.marked = marked;
    }

    /// The last step: every piece is looked up, and merged where it is new.
    fn scan<S: Sink>(&self, scanner: Scanner, text: &str, scratch: &mut Scratch<S::Few>, sink: &mut S) {
        let Scratch { table, cache, work, lattice, .. } = scratch;
        let bytes = text.as_bytes();
        let mut batch = [(0, 0, Key::None); BATCH];
        let mut start = 0;
        while start < bytes.len() {
            // Cutting ahead of looking up lets the look-ups of a batch wait for memory together.
            let mut len = 0;
            for entry in &mut batch {
                if start >= bytes.len() {
                    break;
                }
                let end = scanner.next(table, bytes, start);
                *entry = (start, end, key(bytes, start, end));
                start = end;
                len += 1;
            }
            for &(start, end, key) in &batch[..len] {
                let piece = &bytes[start..end];
                if !cache.get(key, piece, sink) {
                    let ids = self.model.ids(&text[start..end], work, lattice);
                    cache.put(key, piece, ids);
                    sink.push(ids.iter().copied());
                }
            }
        }
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

/// Cut `text` at added tokens.
fn cut<'a>(added: Option<&AddedSet>, text: &'a str, mut visit: impl FnMut(Part<'a>)) {
    match added {
        Some(set) => set.split(text, visit),
        None if text.is_empty() => {}
        None => visit(Part::Text(0, text)),
    }
}
