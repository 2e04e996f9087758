//! Gopher's quality and repetition signals (Rae et al. 2021, arXiv:2112.11446), with datatrove's semantics.
//!
//! Given the words, every value is what datatrove's filters compare with their limits: lengths in code points,
//! white space, line ends and letters as Python's `str` has them.

use std::sync::{Arc, LazyLock};

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, UInt32Builder};
use memchr::{memchr_iter, memmem};

use crate::measure::Signals;
use crate::ngram::MAX_WORDS;
use crate::pystr;
use crate::repeats::{self, Repeats};
use crate::repetition::{DUP, Grams, TOP};
use crate::text::{Reads, Span, Views, count_chars};
use crate::vocabulary::Vocabulary;

const ELLIPSIS: char = '\u{2026}';
const BULLETS: [char; 2] = ['\u{2022}', '-'];
/// The stop words, filled up with zeros.
const STOP_WORDS: [&[u8; 4]; 8] =
    [b"the\0", b"be\0\0", b"to\0\0", b"of\0\0", b"and\0", b"that", b"have", b"with"];

const COUNTS: [&str; 2] = ["gopher.num_words", "gopher.num_stop_words"];
const FRACS: [&str; 19] = [
    "gopher.mean_word_length",
    "gopher.hash_frac",
    "gopher.ellipsis_frac",
    "gopher.bullet_line_frac",
    "gopher.ellipsis_line_frac",
    "gopher.alpha_word_frac",
    "gopher.dup_line_frac",
    "gopher.dup_line_char_frac",
    "gopher.dup_para_frac",
    "gopher.dup_para_char_frac",
    "gopher.top_2gram_char_frac",
    "gopher.top_3gram_char_frac",
    "gopher.top_4gram_char_frac",
    "gopher.dup_5gram_char_frac",
    "gopher.dup_6gram_char_frac",
    "gopher.dup_7gram_char_frac",
    "gopher.dup_8gram_char_frac",
    "gopher.dup_9gram_char_frac",
    "gopher.dup_10gram_char_frac",
];
const _: () = assert!(FRACS.len() == 10 + TOP.len() + DUP.len());

static DOTS: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("..."));
static ELLIPSES: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("\u{2026}"));
static BLANK_LINE: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new("\n\n"));

/// The `gopher.*` columns.
pub struct Gopher {
    counts: [UInt32Builder; COUNTS.len()],
    fracs: [Float64Builder; FRACS.len()],
    repeats: Repeats,
    grams: Grams,
    vocabulary: Vocabulary,
    pieces: Vec<Span>,
    repeated: Vec<bool>,
}

impl Gopher {
    /// No rows yet. With `joined` repeated n-grams are compared as their words run together, as datatrove does.
    #[must_use]
    pub fn new(joined: bool) -> Self {
        Self {
            counts: std::array::from_fn(|_| UInt32Builder::new()),
            fracs: std::array::from_fn(|_| Float64Builder::new()),
            repeats: Repeats::default(),
            grams: Grams::new(joined),
            vocabulary: Vocabulary::default(),
            pieces: Vec::new(),
            repeated: Vec::new(),
        }
    }
}

impl Signals for Gopher {
    fn push(&mut self, doc: &Views<'_>) {
        self.vocabulary.load(doc.words_text.as_bytes(), doc.words);
        let words = Words::of(doc, &self.vocabulary);
        let lines = Lines::of(doc);
        let num_words = doc.words.len();
        let (num_lines, dup_lines, dup_line_chars) = count_lines(doc);
        let (num_paras, dup_paras, dup_para_chars) = self.paragraphs(doc);
        let fracs = [
            frac(words.chars, words.wordy),
            frac(memchr_iter(b'#', doc.text.as_bytes()).count(), num_words),
            frac(num_ellipses(doc), num_words),
            frac(lines.bullets, lines.all),
            frac(lines.ellipses, lines.all),
            frac(words.alpha, num_words),
            frac(dup_lines, num_lines),
            frac(dup_line_chars, doc.num_chars),
            frac(dup_paras, num_paras),
            frac(dup_para_chars, doc.num_chars),
        ];
        let counts = [words.wordy, words.stop_words.count_ones() as usize];
        for (column, value) in self.counts.iter_mut().zip(counts) {
            column.append_value(u32::try_from(value).unwrap_or(u32::MAX));
        }
        let grams = self.gram_fracs(doc);
        for (column, value) in self.fracs.iter_mut().zip(fracs.into_iter().chain(grams)) {
            column.append_option(value);
        }
    }

    fn push_null(&mut self) {
        self.counts.iter_mut().for_each(UInt32Builder::append_null);
        self.fracs.iter_mut().for_each(Float64Builder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let counts = COUNTS.iter().zip(&mut self.counts);
        let mut columns: Vec<(String, ArrayRef)> =
            counts.map(|(name, column)| ((*name).into(), Arc::new(column.finish()) as ArrayRef)).collect();
        let fracs = FRACS.iter().zip(&mut self.fracs);
        columns.extend(fracs.map(|(name, column)| ((*name).into(), Arc::new(column.finish()) as ArrayRef)));
        columns
    }

    fn reads(&self) -> Reads {
        Reads { words: true, repeated_lines: true, ..Reads::default() }
    }
}

impl Gopher {
    /// Pieces between runs of two or more `\n` of the stripped text: how many, repeats, characters of those.
    fn paragraphs(&mut self, doc: &Views<'_>) -> (usize, usize, usize) {
        let text = pystr::strip(doc.text);
        let bytes = text.as_bytes();
        self.pieces.clear();
        let mut start = 0;
        for blank in BLANK_LINE.find_iter(bytes) {
            // A longer run of newlines is found again; what follows its first two is no paragraph.
            if blank > start {
                self.pieces.push(Span::new(start, blank));
            }
            start = blank + 2;
            while bytes.get(start) == Some(&b'\n') {
                start += 1;
            }
        }
        self.pieces.push(Span::new(start, bytes.len()));
        self.repeated.clear();
        self.repeats.mark(text, &self.pieces, &mut self.repeated);
        let (repeats, chars) = repeats::total(text, &self.pieces, &self.repeated);
        (self.pieces.len(), repeats, chars)
    }

    fn gram_fracs(&mut self, doc: &Views<'_>) -> [Option<f64>; TOP.len() + DUP.len()] {
        let mut out = [None; TOP.len() + DUP.len()];
        if doc.words.len() <= MAX_WORDS && doc.num_chars > 0 {
            let values = self.grams.measure(doc, &mut self.vocabulary);
            out.iter_mut().zip(values).for_each(|(slot, value)| *slot = frac(value, doc.num_chars));
        }
        out
    }
}

/// Pieces between runs of `\n`: how many, how many are repeats, characters of those.
fn count_lines(doc: &Views<'_>) -> (usize, usize, usize) {
    let mut found = (0, 0, 0);
    for (line, &is_repeated) in doc.lines.iter().zip(doc.repeated_lines) {
        let is_piece = line.num_bytes() > 0;
        found.0 += usize::from(is_piece);
        if is_piece && is_repeated {
            found.1 += 1;
            found.2 += count_chars(line.of(doc.text));
        }
    }
    let at_start = usize::from(doc.text.starts_with('\n'));
    let at_end = usize::from(doc.text.ends_with('\n') || doc.text.is_empty());
    // The pieces before a first and after a last newline are both empty, so they are equal.
    (found.0 + at_start + at_end, found.1 + at_start * at_end, found.2)
}

/// Null where the denominator is 0.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
fn frac(count: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| count as f64 / of as f64)
}

fn num_ellipses(doc: &Views<'_>) -> usize {
    let bytes = doc.text.as_bytes();
    let dots = DOTS.find_iter(bytes).count();
    if doc.is_ascii { dots } else { dots + ELLIPSES.find_iter(bytes).count() }
}

/// What the quality rules ask of the words.
#[derive(Default)]
struct Words {
    /// Words with a character that is not punctuation.
    wordy: usize,
    /// Characters of those.
    chars: usize,
    /// Words with a letter.
    alpha: usize,
    /// One bit for each stop word that occurs.
    stop_words: u32,
}

impl Words {
    fn of(doc: &Views<'_>, words: &Vocabulary) -> Self {
        let is_ascii = doc.is_ascii && doc.words_text.is_ascii();
        let mut out = Self::default();
        for (span, &count) in words.spans().iter().zip(words.counts()) {
            out.add(span.of(doc.words_text), count as usize, is_ascii);
        }
        out
    }

    fn add(&mut self, word: &str, count: usize, is_ascii: bool) {
        let first = word.as_bytes().first().copied().unwrap_or(0);
        // Nearly all words: a letter first.
        let (wordy, alpha) = if first.is_ascii_alphabetic() {
            (true, true)
        } else {
            (!word.chars().all(pystr::is_punctuation), word.chars().any(pystr::is_alpha))
        };
        self.alpha += if alpha { count } else { 0 };
        if wordy {
            self.wordy += count;
            self.chars += if is_ascii { word.len() } else { pystr::len(word) } * count;
            if (2..=4).contains(&word.len()) {
                self.stop_words |= stop_word(word);
            }
        }
    }
}

/// The bit of a stop word; 0 for other words of 2 to 4 bytes.
fn stop_word(word: &str) -> u32 {
    if word.ends_with('\0') {
        return 0;
    }
    let mut filled = [0; 4];
    filled.iter_mut().zip(word.as_bytes()).for_each(|(to, &from)| *to = from);
    let bits = STOP_WORDS.iter().enumerate();
    bits.fold(0, |found, (bit, &other)| found | u32::from(*other == filled) << bit)
}

/// What the quality rules ask of the lines, as `str.splitlines` has them.
#[derive(Default)]
struct Lines {
    all: usize,
    bullets: usize,
    ellipses: usize,
}

impl Lines {
    fn of(doc: &Views<'_>) -> Self {
        let mut out = Self::default();
        doc.iter_python_lines().for_each(|(_, core)| out.add(core.of(doc.text)));
        out
    }

    /// Add a line, stripped.
    fn add(&mut self, line: &str) {
        self.all += 1;
        self.bullets += usize::from(line.starts_with(BULLETS));
        self.ellipses += usize::from(line.ends_with("...") || line.ends_with(ELLIPSIS));
    }
}
