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
use crate::simd::{Block, add, block_at, low_bits};
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

fn class_of(c: char) -> u8 {
    let kind = if pystr::is_word(c) {
        WORD
    } else if pystr::is_space(c) {
        SPACE
    } else {
        OTHER
    };
    let case = if pystr::is_lower_or_title(c) { LOWER } else { u8::from(c.is_uppercase()) * UPPER };
    let terminal = u8::from(matches!(c, '.' | '!' | '?')) * TERMINAL;
    kind | case | terminal | (u8::from(c.is_ascii_alphabetic()) * ALPHABETIC)
}

impl Raw {
    fn scan(text: &str) -> Self {
        let mut raw = Self::default();
        let mut scan = Scan::default();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (block, num_bytes) = block_at(bytes, at);
            let num_plain = num_bytes.min(block.high().trailing_zeros() as usize);
            scan.block(&block, num_plain, &mut raw);
            at += num_plain;
            // What is not ASCII, and what is close behind it, one by one.
            while let Some(rest) = text.get(at..)
                && !rest.as_bytes()[..rest.len().min(16)].is_ascii()
                && let Some(c) = rest.chars().next()
            {
                scan.step(class_of(c), &mut raw);
                at += c.len_utf8();
            }
        }
        scan.end_word(&mut raw);
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
    fn step(&mut self, class: u8, raw: &mut Raw) {
        if class & KIND != self.kind {
            self.end_word(raw);
            self.seen = 0;
        }
        self.kind = class & KIND;
        self.seen |= class;
        self.in_sentence |= self.kind == WORD;
        if class & TERMINAL != 0 {
            raw.sentences += usize::from(self.in_sentence);
            self.in_sentence = false;
        }
    }

    fn end_word(&self, raw: &mut Raw) {
        raw.words += usize::from(self.kind != SPACE);
        raw.alphabetic += usize::from(self.seen & ALPHABETIC != 0);
        raw.upper += usize::from(self.seen & (UPPER | LOWER) == UPPER);
    }

    /// Take up the first `num_plain` bytes of a block, which are ASCII: as `step` for each.
    ///
    /// Additions carry what a word holds to the bit behind it, where the word is counted.
    fn block(&mut self, block: &Block, num_plain: usize, raw: &mut Raw) {
        let Some(last) = num_plain.checked_sub(1) else { return };
        let plain = low_bits(num_plain);
        let (upper, lower) = (block.within(b'A', b'Z') & plain, block.within(b'a', b'z') & plain);
        let letters = upper | lower;
        let words = letters | (block.within(b'0', b'9') | block.any_of([b'_'])) & plain;
        let spaces = (block.any_of([b' ']) | block.within(b'\t', b'\r') | block.within(0x1c, 0x1f)) & plain;
        let terminals = block.any_of([b'.', b'!', b'?']) & plain;
        let others = !(words | spaces) & plain;

        let is = |kind: u8| u64::from(self.kind == kind);
        let ends = |class: u64, kind: u8| (class << 1 | is(kind)) & !class & plain;
        raw.words += (ends(words, WORD).count_ones() + ends(others, OTHER).count_ones()) as usize;
        let behind = |part: u64, flag: u8| {
            let (sum, carry) = add(words | !plain, part, self.kind == WORD && self.seen & flag != 0);
            (sum & !words & plain, u8::from(carry) * flag)
        };
        let (with_letter, open_letter) = behind(letters, ALPHABETIC);
        let (with_upper, open_upper) = behind(upper, UPPER);
        let (with_lower, open_lower) = behind(lower, LOWER);
        raw.alphabetic += with_letter.count_ones() as usize;
        raw.upper += (with_upper & !with_lower).count_ones() as usize;
        let (reached, in_sentence) = add(!terminals, words, self.in_sentence);
        raw.sentences += (reached & terminals).count_ones() as usize;

        // Only characters outside ASCII have case and are of no word.
        let goes_on = self.kind == OTHER && others == plain;
        if self.kind == OTHER && !goes_on {
            raw.upper += usize::from(self.seen & (UPPER | LOWER) == UPPER);
        }
        self.seen = if goes_on { self.seen } else { open_letter | open_upper | open_lower };
        self.kind = (words >> last & 1) as u8 * WORD + (others >> last & 1) as u8 * OTHER;
        self.in_sentence = in_sentence;
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
    let ends = |line: &str| line.ends_with("...") || line.ends_with(ELLIPSIS);
    let num_lines = doc.lines.len() - usize::from(doc.text.is_empty() || doc.text.ends_with('\n'));
    ratio(doc.cores[..num_lines].iter().filter(|line| ends(line.of(doc.text))).count(), num_lines)
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
    fn blocks_count_what_characters_one_by_one_do() {
        let alphabet: Vec<char> =
            "abzABZ09__..!?  --\"'\n\t\u{1c}\u{0}\u{e9}\u{c9}\u{1c5}\u{24b6}\u{24d0}\u{a0}\u{3002}"
                .chars()
                .collect();
        let mut state = 1u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for round in 0..60_000 {
            let (from, to) = [(0, 22), (0, alphabet.len()), (0, 4), (3, 8)][round % 4];
            let text: String = (0..below(200)).map(|_| alphabet[from + below(to - from)]).collect();
            // Rare characters outside ASCII among long runs of the same kind.
            let text = if round % 3 == 0 { text.replacen('-', "\u{24b6}", 2) } else { text };
            let (mut expected, mut scan) = (Raw::default(), Scan::default());
            text.chars().for_each(|c| scan.step(class_of(c), &mut expected));
            scan.end_word(&mut expected);
            expected.sentences += usize::from(scan.in_sentence);
            assert_eq!(Raw::scan(&text), expected, "{text:?}");
        }
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
