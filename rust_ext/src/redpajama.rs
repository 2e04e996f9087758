//! The `rps_doc_*` signals of RedPajama-V2 that need no model and no word list.
//!
//! Raw words are the matches of `\w+|[^\w\s]+`; normalised words come from `normalize.rs`. Values are rounded
//! to 8 decimals as published. Null: no words to divide by, or n-grams of a document above 2^20 words.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::Float64Builder;
use memchr::{memchr_iter, memmem};

use crate::measure::Signals;
use crate::ngram::{MAX_WORDS, NGrams, NUMBERED};
use crate::normalize::Normalized;
use crate::pystr;
use crate::text::Views;
use crate::vocabulary::Vocabulary;

const NAMES: [&str; 20] = [
    "word_count",
    "mean_word_length",
    "symbol_to_word_ratio",
    "frac_lines_end_with_ellipsis",
    "frac_no_alph_words",
    "frac_unique_words",
    "unigram_entropy",
    "frac_all_caps_words",
    "num_sentences",
    "curly_bracket",
    "lorem_ipsum",
    "frac_chars_top_2gram",
    "frac_chars_top_3gram",
    "frac_chars_top_4gram",
    "frac_chars_dupe_5grams",
    "frac_chars_dupe_6grams",
    "frac_chars_dupe_7grams",
    "frac_chars_dupe_8grams",
    "frac_chars_dupe_9grams",
    "frac_chars_dupe_10grams",
];
/// Position in `NAMES` of the first n-gram signal, which is of pairs.
const NGRAMS: usize = 11;

const ELLIPSIS: &str = "\u{2026}";

/// The `redpajama.*` columns.
#[derive(Default)]
pub struct RedPajama {
    normalized: Normalized,
    vocabulary: Vocabulary,
    ngrams: NGrams,
    columns: [Float64Builder; NAMES.len()],
}

impl Signals for RedPajama {
    fn push(&mut self, doc: &Views<'_>) {
        self.normalized.fill(doc.text);
        self.vocabulary.load(self.normalized.bytes(), self.normalized.words());
        let raw = Raw::scan(doc.text);
        let num_words = self.normalized.words().len();
        let num_chars = self.normalized.num_word_chars();
        let symbols = count(doc.text, "#") + count(doc.text, "...") + count(doc.text, ELLIPSIS);
        let braces = count(doc.text, "{") + count(doc.text, "}");
        let unsigned = [
            Some(num_words as f64),
            ratio(num_chars, num_words),
            ratio(symbols, raw.words),
            ellipsis_frac(doc),
            ratio(raw.alphabetic, raw.words).map(|frac| 1.0 - frac),
            ratio(self.vocabulary.counts().len(), num_words),
            (num_words > 0).then(|| entropy(self.vocabulary.counts(), num_words)),
            ratio(raw.upper, raw.words),
            Some(raw.sentences as f64),
            ratio(braces, doc.num_chars).or(Some(0.0)),
            ratio(self.normalized.count(b"lorem ipsum"), self.normalized.num_chars()).or(Some(0.0)),
        ];
        for (column, value) in self.columns.iter_mut().zip(unsigned) {
            column.append_option(value.map(round));
        }
        let grams = (num_words <= MAX_WORDS).then(|| self.gram_fracs());
        for (at, column) in self.columns[NGRAMS..].iter_mut().enumerate() {
            column.append_option(grams.map(|fracs| round(fracs[at])));
        }
    }

    fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Float64Builder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(NAMES.len());
        for (name, column) in NAMES.iter().zip(&mut self.columns) {
            columns.push((format!("redpajama.rps_doc_{name}"), Arc::new(column.finish())));
        }
        columns
    }
}

impl RedPajama {
    /// Fractions of characters in the top n-gram (2 to 4) and in repeated n-grams (5 to 10).
    fn gram_fracs(&mut self) -> [f64; NAMES.len() - NGRAMS] {
        let ids = self.vocabulary.ids();
        self.ngrams.start(ids, self.vocabulary.counts());
        let top = [
            (self.ngrams.most_frequent::<2>(ids), 2),
            (self.ngrams.most_frequent::<3>(ids), 3),
            (self.ngrams.most_frequent::<4>(ids), 4),
        ];
        let mut chars = [0; NAMES.len() - NGRAMS];
        for (slot, ((at, count), n)) in chars.iter_mut().zip(top) {
            *slot = if count > 1 { count * self.normalized.chars_of(at, at + n) } else { 0 };
        }
        self.ngrams.number_first(ids);
        for (slot, n) in chars[top.len()..].iter_mut().zip(NUMBERED..) {
            if n > NUMBERED {
                self.ngrams.number_next();
            }
            *slot = covered_chars(&self.normalized, self.ngrams.repeated(), n);
        }
        chars.map(|chars| ratio(chars, self.normalized.num_word_chars()).unwrap_or(0.0))
    }
}

/// Characters of the words that lie in any of the repeated n-grams.
fn covered_chars(normalized: &Normalized, repeated: &[(u32, u32)], n: usize) -> usize {
    let mut chars = 0;
    let mut end = 0;
    for &(at, _) in repeated {
        let start = end.max(at as usize);
        end = at as usize + n;
        chars += normalized.chars_of(start, end);
    }
    chars
}

/// What one scan of the raw text counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Raw {
    words: usize,
    /// Words with an ASCII letter.
    alphabetic: usize,
    /// Words of which `str.isupper` is true.
    upper: usize,
    /// Matches of `\b[^.!?]+[.!?]*`: stretches between terminators that hold a word character.
    sentences: usize,
}

const KIND: u8 = 3;
const SPACE: u8 = 0;
const WORD: u8 = 1;
const OTHER: u8 = 2;
const ALPHABETIC: u8 = 4;
const UPPER: u8 = 8;
const LOWER: u8 = 16;
const TERMINAL: u8 = 32;

static CLASSES: [u8; 128] = ascii_classes();

const fn ascii_classes() -> [u8; 128] {
    let mut out = [OTHER; 128];
    let mut byte = 0u8;
    while byte < 128 {
        out[byte as usize] = match byte {
            b'a'..=b'z' => WORD | ALPHABETIC | LOWER,
            b'A'..=b'Z' => WORD | ALPHABETIC | UPPER,
            b'0'..=b'9' | b'_' => WORD,
            b'.' | b'!' | b'?' => OTHER | TERMINAL,
            0x09..=0x0d | 0x1c..=0x20 => SPACE,
            _ => OTHER,
        };
        byte += 1;
    }
    out
}

fn class_of(c: char) -> u8 {
    let kind = if pystr::is_word(c) {
        WORD
    } else if pystr::is_space(c) {
        SPACE
    } else {
        OTHER
    };
    let case = if pystr::is_lower_or_title(c) { LOWER } else { u8::from(c.is_uppercase()) * UPPER };
    kind | case
}

impl Raw {
    fn scan(text: &str) -> Self {
        let mut raw = Self::default();
        let mut scan = Scan::default();
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Some(&class) = CLASSES.get(byte as usize) {
                scan.step(class, &mut raw);
                at += 1;
            } else {
                let Some(c) = text[at..].chars().next() else { break };
                scan.step(class_of(c), &mut raw);
                at += c.len_utf8();
            }
        }
        scan.count_word(1, &mut raw);
        raw.sentences += usize::from(scan.in_sentence);
        raw
    }
}

/// The word and the sentence that the scan is in.
#[derive(Default)]
struct Scan {
    kind: u8,
    seen: u8,
    in_sentence: bool,
}

impl Scan {
    /// Without branches: where words end is as good as random.
    fn step(&mut self, class: u8, raw: &mut Raw) {
        let kind = class & KIND;
        let changes = u8::from(kind != self.kind);
        self.count_word(changes, raw);
        self.seen = (self.seen & changes.wrapping_sub(1)) | class;
        self.kind = kind;
        self.in_sentence |= kind == WORD;
        let ends = class & TERMINAL != 0;
        raw.sentences += usize::from(ends & self.in_sentence);
        self.in_sentence &= !ends;
    }

    /// Count the word that ends here, if `ends` is 1.
    fn count_word(&self, ends: u8, raw: &mut Raw) {
        let is = |holds: bool| usize::from(u8::from(holds) & ends);
        raw.words += is(self.kind != SPACE);
        raw.alphabetic += is(self.seen & ALPHABETIC != 0);
        raw.upper += is(self.seen & (UPPER | LOWER) == UPPER);
    }
}

/// Shannon entropy of the words, in nats, summed in the order of first occurrence.
fn entropy(counts: &[u32], num_words: usize) -> f64 {
    let term = |count: u32| {
        let p = f64::from(count) / num_words as f64;
        -p * libm::log(p)
    };
    let mut terms = [f64::NAN; 32];
    let mut sum = 0.0;
    for &count in counts {
        sum += match terms.get_mut(count as usize) {
            Some(known) => {
                if known.is_nan() {
                    *known = term(count);
                }
                *known
            }
            None => term(count),
        };
    }
    sum
}

/// The fraction of lines, those that `\n` ends, with `...` or U+2026 before their last white space.
fn ellipsis_frac(doc: &Views<'_>) -> Option<f64> {
    let ends = |line: &str| {
        let line = pystr::strip_end(line);
        line.ends_with("...") || line.ends_with(ELLIPSIS)
    };
    let num_lines = doc.lines.len() - usize::from(doc.text.is_empty() || doc.text.ends_with('\n'));
    ratio(doc.lines[..num_lines].iter().filter(|line| ends(line.of(doc.text))).count(), num_lines)
}

/// `str.count`: occurrences that do not overlap.
fn count(text: &str, part: &str) -> usize {
    match part.as_bytes() {
        [byte] => memchr_iter(*byte, text.as_bytes()).count(),
        bytes => memmem::find_iter(text.as_bytes(), bytes).count(),
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Python's `round(value, 8)`: the decimal nearest to the exact value, half to even.
fn round(value: f64) -> f64 {
    let scaled = value * 1e8;
    let nearest = scaled.round_ties_even();
    // A quotient of integers below 2^53 is the double nearest to the decimal.
    if scaled.abs() < 1e12 && (scaled - scaled.floor() - 0.5).abs() > 1e-3 {
        return nearest / 1e8;
    }
    format!("{value:.8}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scan_counts_words_and_sentences_as_the_expressions_do() {
        let count = |text| {
            let raw = Raw::scan(text);
            (raw.words, raw.alphabetic, raw.upper, raw.sentences)
        };
        assert_eq!(count(""), (0, 0, 0, 0));
        assert_eq!(count("Hello, NASA! a_b--7"), (7, 3, 1, 2));
        assert_eq!(count("... ?! --"), (3, 0, 0, 0));
        assert_eq!(count("A.B. \u{c9}T\u{c9} \u{1c5} \u{2460}\u{24b6}"), (8, 3, 4, 3));
    }

    #[test]
    fn rounding_is_exact_at_ties() {
        let cases = [(1.0 / 3.0, 0.333_333_33), (2.0 / 3.0, 0.666_666_67), (0.001_953_125, 0.001_953_12)];
        for (value, expected) in cases {
            assert_eq!(round(value).to_bits(), f64::to_bits(expected), "{value}");
        }
        assert_eq!(round(3.0 / 512.0).to_bits(), f64::to_bits(0.005_859_38));
        assert_eq!(round(1e15 + 0.5).to_bits(), f64::to_bits(1e15 + 0.5));
    }

    #[test]
    fn entropy_of_equal_words_is_the_logarithm_of_their_number() {
        assert!((entropy(&[1; 8], 8) - libm::log(8.0)).abs() < 1e-15);
        assert!(entropy(&[40], 40).abs() < 1e-15);
    }
}
