//! Word boundaries of Unicode UAX #29, white space dropped, punctuation kept.
//!
//! A small state machine runs rules WB3 to WB13 over the plain part of the Basic Multilingual Plane. What
//! it does not know (joiners, flags, Hebrew, scripts that need a dictionary, other planes) goes to
//! `icu_segmenter`: from the start of the segment at hand to the next line or the next space after
//! a character that is no space, where every rule starts afresh. So the result equals that of `icu_segmenter` over the whole text,
//! at several times its speed.

use std::sync::OnceLock;

use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup, LineBreak, WordBreak};
use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use memchr::memchr2_iter;

use crate::simd::{BLOCK, Block, block_at, low_bits};
use crate::text::Span;

/// Any character that joins nothing but what extends it.
const OTHER: u8 = 0;
/// As `OTHER`, and white space.
const BLANK: u8 = 1;
/// Joins its like (WB3d); white space.
const SPACE: u8 = 2;
/// Joins nothing (WB3a, WB3b); white space.
const NEWLINE: u8 = 3;
/// Format and Extend: never apart from what precedes (WB4).
const EXTEND: u8 = 4;
/// Between letters (WB6, WB7).
const MID_LETTER: u8 = 5;
/// Between numbers (WB11, WB12).
const MID_NUMBER: u8 = 6;
/// Between letters or numbers.
const MID_BOTH: u8 = 7;
/// Left to `icu_segmenter`.
const COMPLEX: u8 = 8;
/// The end of the text.
const END: u8 = 9;
/// This class and those after it join each other (WB5, WB8 to WB10, WB13).
const LETTER: u8 = 10;
const NUMBER: u8 = 11;
const CONNECTOR: u8 = 12;

const PLANE: usize = 1 << 16;

/// Where `icu_segmenter` knows better than the properties: parts of ideographs, and newer characters.
#[rustfmt::skip]
static ELSEWHERE: [(char, char); 19] = [
    ('\u{558}', '\u{558}'), ('\u{58b}', '\u{58c}'), ('\u{5c8}', '\u{5c9}'), ('\u{b53}', '\u{b54}'),
    ('\u{1ade}', '\u{1adf}'), ('\u{1aec}', '\u{1af0}'), ('\u{202f}', '\u{202f}'), ('\u{208f}', '\u{208f}'),
    ('\u{209d}', '\u{209f}'), ('\u{2e80}', '\u{2e99}'), ('\u{2e9b}', '\u{2ef3}'), ('\u{2f00}', '\u{2fd5}'),
    ('\u{3005}', '\u{3005}'), ('\u{3007}', '\u{3007}'), ('\u{3021}', '\u{3029}'), ('\u{3038}', '\u{303b}'),
    ('\u{a7dd}', '\u{a7dd}'), ('\u{a7e2}', '\u{a7e2}'), ('\u{ab6c}', '\u{ab6d}'),
];

/// Classes of the Basic Multilingual Plane.
static CLASSES: OnceLock<Box<[u8]>> = OnceLock::new();

/// Append the words of `text`: the UAX #29 segments that are not all white space.
///
/// Chinese, Japanese, Thai, Khmer, Lao and Burmese are split by dictionary.
pub fn split(text: &str, words: &mut Vec<Span>) {
    let classes = CLASSES.get_or_init(classes);
    if let Some(ascii) = classes.first_chunk::<128>() {
        Splitter { text, bytes: text.as_bytes(), ascii, classes }.split(words);
    }
}

struct Splitter<'a> {
    text: &'a str,
    bytes: &'a [u8],
    ascii: &'a [u8; 128],
    classes: &'a [u8],
}

impl Splitter<'_> {
    fn split(&self, words: &mut Vec<Span>) {
        let mut at = 0;
        while at < self.bytes.len() {
            let end = if self.looks_plain(at) { self.plain(at, words) } else { at };
            at = if end > at { end } else { self.careful(at, words) };
        }
    }

    /// Whether the next bytes are ASCII, so that it is worth to look at a block.
    #[inline]
    fn looks_plain(&self, at: usize) -> bool {
        let next = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        next.is_none_or(|bytes: &[u8; 16]| bytes.is_ascii())
    }

    /// Split what is ASCII from `at` on, a block at a time and without branches; returns how far that is sure.
    ///
    /// Words and what may join them, and spaces, are cut off where they reach the end of a block: they are
    /// looked at again in the next one.
    fn plain(&self, mut at: usize, words: &mut Vec<Span>) -> usize {
        loop {
            let (block, num_bytes) = block_at(self.bytes, at);
            let num_plain = num_bytes.min(block.high().trailing_zeros() as usize);
            let letters = block.letters();
            let digits = block.within(b'0', b'9');
            let joining = letters | digits | block.any_of([b'_']);
            let middle = Middle::of(&block);
            let spaces = block.any_of([b' ']);
            let between = |class: u64| class << 1 & class >> 1;
            let joined = joining
                | middle.letters & between(letters)
                | middle.numbers & between(digits)
                | middle.both & (between(letters) | between(digits));
            let alone = !joined & !spaces & !block.within(b'\t', b'\r');
            let end = if at + num_plain == self.bytes.len() {
                num_plain
            } else {
                sure_end(joining | middle.letters | middle.numbers | middle.both, spaces, num_plain)
            };
            let is_sure = low_bits(end);
            let first = (alone | joined & !(joined << 1)) & is_sure;
            let last = (alone | joined & !(joined >> 1 & is_sure >> 1)) & is_sure;
            push_spans(at, first, last, words);
            at += end;
            if num_plain < BLOCK || end == 0 {
                return at;
            }
        }
    }

    /// Split one segment and what goes with it, whatever it is; returns where it ends.
    fn careful(&self, at: usize, words: &mut Vec<Span>) -> usize {
        let (class, size) = self.class(at);
        let next = at + size;
        let end = match class {
            NEWLINE => return next,
            LETTER.. => self.word_end(next, class),
            SPACE => self.space_end(next),
            COMPLEX => None,
            _ => self.other_end(next),
        };
        let Some(end) = end else { return self.leave(at, next, words) };
        // White space that nothing extends is no word.
        if !matches!(class, BLANK | SPACE) || self.is_extended(at, end) {
            words.push(Span::new(at, end));
        }
        end
    }

    /// Class and length of the character at `at`.
    #[inline]
    fn class(&self, at: usize) -> (u8, usize) {
        match self.bytes.get(at) {
            None => (END, 0),
            Some(&byte) if byte < 128 => (self.ascii[usize::from(byte & 127)], 1),
            Some(&byte) => self.wide_class(at, byte),
        }
    }

    fn wide_class(&self, at: usize, lead: u8) -> (u8, usize) {
        let tail = |offset: usize| usize::from(self.bytes.get(at + offset).map_or(0, |byte| byte & 0x3f));
        let lead_bits = usize::from(lead);
        let (point, size) = match lead {
            0xf0.. => return (COMPLEX, 4),
            0xe0.. => ((lead_bits & 0xf) << 12 | tail(1) << 6 | tail(2), 3),
            _ => ((lead_bits & 0x1f) << 6 | tail(1), 2),
        };
        (self.classes.get(point).copied().unwrap_or(COMPLEX), size)
    }

    /// End of the word whose characters up to `at` end with class `last`; None where it gets complex.
    #[inline]
    fn word_end(&self, mut at: usize, mut last: u8) -> Option<usize> {
        loop {
            let (class, size) = self.class(at);
            match class {
                LETTER.. => last = class,
                EXTEND => (),
                COMPLEX => return None,
                MID_LETTER | MID_NUMBER | MID_BOTH => {
                    let joins = match (last, class) {
                        (LETTER, MID_LETTER | MID_BOTH) => LETTER,
                        (NUMBER, MID_NUMBER | MID_BOTH) => NUMBER,
                        _ => return Some(at),
                    };
                    let after = self.skip_extend(at + size);
                    match self.class(after) {
                        (COMPLEX, _) => return None,
                        (class, size) if class == joins => at = after + size,
                        _ => return Some(at),
                    }
                    continue;
                }
                _ => return Some(at),
            }
            at += size;
        }
    }

    fn space_end(&self, mut at: usize) -> Option<usize> {
        while let (SPACE, size) = self.class(at) {
            at += size;
        }
        self.other_end(at)
    }

    fn other_end(&self, at: usize) -> Option<usize> {
        let end = self.skip_extend(at);
        (self.class(end).0 != COMPLEX).then_some(end)
    }

    fn skip_extend(&self, mut at: usize) -> usize {
        while let (EXTEND, size) = self.class(at) {
            at += size;
        }
        at
    }

    /// Whether the white space from `start` to `end` has an extending character at its end.
    fn is_extended(&self, start: usize, end: usize) -> bool {
        let last = self.bytes.get(end - 1);
        last.is_some_and(|byte| !byte.is_ascii())
            && self.text.get(start..end).is_some_and(|text| !text.ends_with(char::is_whitespace))
    }

    /// Split by `icu_segmenter` from `start` to the next safe place at or after `at`, and return that place.
    fn leave(&self, start: usize, at: usize, words: &mut Vec<Span>) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        let safe = memchr2_iter(b' ', b'\n', rest).map(|space| at + space).find(|&space| self.is_safe(space));
        let end = safe.unwrap_or(self.bytes.len());
        split_complex(self.text.get(start..end).unwrap_or(""), start, words);
        end
    }

    /// Whether the rules start afresh at the space or line feed at `at`: it joins nothing before it.
    fn is_safe(&self, at: usize) -> bool {
        let before = self.text.get(..at).and_then(|text| text.chars().next_back());
        self.bytes.get(at) == Some(&b'\n') || !before.is_some_and(char::is_whitespace)
    }
}

/// Characters of a block that join what is on both sides of them, by what that has to be.
struct Middle {
    letters: u64,
    numbers: u64,
    both: u64,
}

impl Middle {
    #[inline]
    fn of(block: &Block) -> Self {
        Self {
            letters: block.any_of([b':']),
            numbers: block.any_of([b',', b';']),
            both: block.any_of([b'.', b'\'']),
        }
    }
}

/// Where the segments of a block that nothing after its first `num_plain` bytes can change end.
#[inline]
fn sure_end(gluing: u64, spaces: u64, num_plain: usize) -> usize {
    let Some(last) = num_plain.checked_sub(1) else { return 0 };
    let run = |class: u64| (!(class << (BLOCK - num_plain))).leading_zeros() as usize;
    if gluing >> last & 1 != 0 {
        num_plain - run(gluing).min(num_plain)
    } else if spaces >> last & 1 != 0 {
        num_plain - run(spaces).min(num_plain)
    } else {
        last
    }
}

/// Append the spans whose first and last bytes are given by bits.
#[inline]
fn push_spans(base: usize, mut first: u64, mut last: u64, words: &mut Vec<Span>) {
    while first != 0 && last != 0 {
        let (start, end) = (first.trailing_zeros() as usize, last.trailing_zeros() as usize + 1);
        words.push(Span::new(base + start, base + end));
        first &= first - 1;
        last &= last - 1;
    }
}

fn split_complex(text: &str, base: usize, words: &mut Vec<Span>) {
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    let mut start = 0;
    for end in segmenter.segment_str(text) {
        if text.get(start..end).is_some_and(|word| !word.chars().all(char::is_whitespace)) {
            words.push(Span::new(base + start, base + end));
        }
        start = end;
    }
}

fn classes() -> Box<[u8]> {
    (0u32..).take(PLANE).map(|point| char::from_u32(point).map_or(COMPLEX, classify)).collect()
}

fn classify(c: char) -> u8 {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let needs_dictionary = CodePointMapData::<LineBreak>::new().get(c) == LineBreak::ComplexContext;
    if needs_dictionary || ELSEWHERE.iter().any(|&(first, last)| (first..=last).contains(&c)) {
        return COMPLEX;
    }
    match CodePointMapData::<WordBreak>::new().get(c) {
        // Ideographs, Hiragana and other letters that only a dictionary knows how to join.
        WordBreak::Other if GeneralCategoryGroup::Letter.contains(category) => COMPLEX,
        WordBreak::Other | WordBreak::DoubleQuote if c.is_whitespace() => BLANK,
        WordBreak::Other | WordBreak::DoubleQuote => OTHER,
        WordBreak::WSegSpace => SPACE,
        WordBreak::CR | WordBreak::LF | WordBreak::Newline => NEWLINE,
        WordBreak::Extend | WordBreak::Format => EXTEND,
        WordBreak::MidLetter => MID_LETTER,
        WordBreak::MidNum => MID_NUMBER,
        WordBreak::MidNumLet | WordBreak::SingleQuote => MID_BOTH,
        WordBreak::ALetter => LETTER,
        WordBreak::Numeric => NUMBER,
        WordBreak::ExtendNumLet => CONNECTOR,
        _ => COMPLEX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        split(text, &mut words);
        words.iter().map(|span| span.of(text)).collect()
    }

    fn expected(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        split_complex(text, 0, &mut words);
        words.iter().map(|span| span.of(text)).collect()
    }

    /// A generator of numbers that needs no crate (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % bound
        }

        fn text(&mut self, alphabet: &[char], max_chars: usize) -> String {
            (0..self.below(max_chars + 1)).map(|_| alphabet[self.below(alphabet.len())]).collect()
        }
    }

    #[test]
    fn words_keep_apostrophes_and_decimal_points_and_punctuation_stands_alone() {
        assert_eq!(found("It's 3.14, e.g. (a_b)!"), ["It's", "3.14", ",", "e.g", ".", "(", "a_b", ")", "!"]);
        assert_eq!(found(" \t\r\n\u{a0}\u{3000}"), [""; 0]);
        assert_eq!(found("caf\u{e9}\u{2019}s \u{301}"), ["caf\u{e9}\u{2019}s", " \u{301}"]);
    }

    #[test]
    fn every_character_of_every_plane_stands_and_joins_as_in_icu() {
        for c in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
            let text = format!("a{c}b {c}{c} 1{c}2 \u{301}{c}\u{301}\t{c}.{c}'");
            assert_eq!(found(&text), expected(&text), "{c:?}");
        }
    }

    #[test]
    fn random_text_of_one_to_twelve_characters_of_each_class_is_split_as_by_icu() {
        let alphabet: Vec<char> = concat!(
            "aZ09_.,:;'\"- \n\r\t\u{b}\u{1}()",
            "\u{e9}\u{301}\u{ad}\u{a0}\u{85}\u{b7}\u{200d}\u{200b}\u{2019}\u{201c}\u{2028}\u{3000}\u{2003}",
            "\u{5d0}\u{5f4}\u{30ab}\u{3042}\u{6f22}\u{0e01}\u{0e31}\u{ac00}\u{915}\u{94d}\u{661}\u{66b}",
            "\u{1f1e6}\u{1f600}\u{1f3fb}\u{1d400}\u{203f}\u{2764}\u{fe0f}\u{a9}\u{ff0e}\u{1780}\u{1000}"
        )
        .chars()
        .collect();
        let mut random = Random(88_172_645_463_325_252);
        for _ in 0..400_000 {
            let text = random.text(&alphabet, 12);
            assert_eq!(found(&text), expected(&text), "{text:?}");
        }
    }

    #[test]
    fn random_ascii_is_split_as_by_icu() {
        let alphabet: Vec<char> = (0u8..128).chain(*b"aaaa1111....''''____::,,  ").map(char::from).collect();
        let mut random = Random(1);
        for round in 0..100_000 {
            let text = random.text(&alphabet, if round % 4 == 0 { 300 } else { 16 });
            assert_eq!(found(&text), expected(&text), "{text:?}");
        }
    }

    #[test]
    fn runs_that_cross_blocks_and_end_at_other_characters_are_split_as_by_icu() {
        let runs = ["a", " ", ".", "1", "a.", "1,", "a b ", "-", "_", "\n", "word's ", "9,9;", "\t"];
        let others = ["", "\u{301}", "\u{e9}", "\u{ad}", "\u{200d}", "\u{4e2d}", "\u{661}", "\u{1f600}", "a"];
        for (run, other) in runs.iter().flat_map(|run| others.map(|other| (run, other))) {
            for length in 0..140 {
                let text = format!("{}{other}{}", run.repeat(length), run.repeat(70));
                assert_eq!(found(&text), expected(&text), "{text:?}");
                let text = format!("{}x{}{other}", "b ".repeat(length), run.repeat(length));
                assert_eq!(found(&text), expected(&text), "{text:?}");
            }
        }
    }
}
