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
            if let Some((end, is_word)) = self.simple_end(at) {
                if is_word {
                    words.push(Span::new(at, end));
                }
                at = end + usize::from(self.is_single_space(end));
                continue;
            }
            let (class, size) = self.class(at);
            let next = at + size;
            let end = match class {
                NEWLINE => {
                    at = next;
                    continue;
                }
                LETTER.. => self.word_end(next, class),
                SPACE => self.space_end(next),
                COMPLEX => None,
                _ => self.other_end(next),
            };
            match end {
                // White space that nothing extends.
                Some(end) if matches!(class, BLANK | SPACE) && !self.is_extended(at, end) => at = end,
                Some(end) => {
                    words.push(Span::new(at, end));
                    at = end;
                }
                None => at = self.leave(at, next, words),
            }
        }
    }

    /// End of a segment of ASCII characters, and whether it is a word; None where more has to be looked at.
    #[inline]
    fn simple_end(&self, at: usize) -> Option<(usize, bool)> {
        let run = self.run(at);
        let end = at + run.max(1);
        let next = match self.bytes.get(end) {
            None => NEWLINE,
            Some(&byte) if byte < 128 => self.ascii[usize::from(byte & 127)],
            Some(_) => return None,
        };
        if run > 0 {
            return (!matches!(next, MID_LETTER | MID_NUMBER | MID_BOTH)).then_some((end, true));
        }
        let byte = self.bytes.get(at).copied().filter(u8::is_ascii)?;
        match self.ascii[usize::from(byte & 127)] {
            SPACE if next == SPACE => None,
            SPACE | BLANK | NEWLINE => Some((end, false)),
            _ => Some((end, true)),
        }
    }

    /// Whether a space is at `at`, and after it an ASCII character that is none.
    #[inline]
    fn is_single_space(&self, at: usize) -> bool {
        let pair = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        pair.is_some_and(|&[space, next]| (space == b' ') & (next != b' ') & next.is_ascii())
    }

    /// Bytes from `at` on that are ASCII letters, digits or underscores: eight at a time, without branches.
    #[inline]
    fn run(&self, at: usize) -> usize {
        let mut end = at;
        while let Some(bytes) = self.bytes.get(end..).and_then(<[u8]>::first_chunk::<8>) {
            let others = !joining(u64::from_le_bytes(*bytes)) & HIGH;
            end += others.trailing_zeros() as usize / 8;
            if others != 0 {
                return end - at;
            }
        }
        let rest = self.bytes.get(end..).unwrap_or(&[]);
        end - at + rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
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

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// The high bit of each byte that is an ASCII letter, digit or underscore; other bits are of no meaning.
#[inline]
fn joining(bytes: u64) -> u64 {
    let low = bytes & !HIGH;
    // The high bit of each byte that is at least `least`, for bytes below 128.
    let at_least = |bytes: u64, least: u8| bytes + ONES * u64::from(128 - least);
    let lower = low | ONES << 5;
    let letter = at_least(lower, b'a') & !at_least(lower, b'z' + 1);
    let digit = at_least(low, b'0') & !at_least(low, b'9' + 1);
    let underscore = !at_least(low ^ (ONES * u64::from(b'_')), 1);
    (letter | digit | underscore) & !bytes
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
        for _ in 0..100_000 {
            let text = random.text(&alphabet, 16);
            assert_eq!(found(&text), expected(&text), "{text:?}");
        }
    }
}
