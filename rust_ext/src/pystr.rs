//! Python's `str` semantics, on which the published rule sets are defined.
//!
//! White space and line boundaries are exactly those of Python 3.11. Classes of characters (`is_word`,
//! `is_upper`) use this crate's newer Unicode tables: characters assigned after Unicode 14 count as what
//! they are now; U+0295, a letter without case since Unicode 15, is the only older one that changed.

use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed};
use memchr::memchr;

use crate::simd::{BLOCK, block_at};
use crate::text::Span;

const SPACE: u8 = 1;
const BREAK: u8 = 2;
const PUNCTUATION: u8 = 4;
const TERMINAL: u8 = 8;
const WORD: u8 = 16;

/// Classes of the ASCII characters, one bit each.
static ASCII: [u8; 128] = ascii_classes();

static CATEGORY: CodePointMapDataBorrowed<'static, GeneralCategory> =
    CodePointMapData::<GeneralCategory>::new();

const fn ascii_classes() -> [u8; 128] {
    let mut out = [0; 128];
    let mut byte = 0u8;
    while byte < 128 {
        let mut class = 0;
        if matches!(byte, 0x09..=0x0d | 0x1c..=0x20) {
            class |= SPACE;
        }
        if matches!(byte, 0x0a..=0x0d | 0x1c..=0x1e) {
            class |= BREAK;
        }
        if byte.is_ascii_punctuation() || byte == 0x7f || (byte < 0x20 && !matches!(byte, 0x09 | 0x0a)) {
            class |= PUNCTUATION;
        }
        if matches!(byte, b'!' | b'.' | b'?') {
            class |= TERMINAL;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            class |= WORD;
        }
        out[byte as usize] = class;
        byte += 1;
    }
    out
}

const fn has(byte: u8, class: u8) -> bool {
    byte < 128 && ASCII[byte as usize] & class != 0
}

/// `str.isspace` of one character: what `strip` and `split` remove, and `\s` of `re`.
#[must_use]
pub fn is_space(c: char) -> bool {
    if c.is_ascii() {
        return has(c as u8, SPACE);
    }
    matches!(c, '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Whether `str.splitlines` ends a line at this character.
#[must_use]
pub fn is_line_break(c: char) -> bool {
    if c.is_ascii() { has(c as u8, BREAK) } else { matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}') }
}

/// `\w` of `re`: letters, numbers of any kind and the underscore; no combining marks.
#[must_use]
pub fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return has(c as u8, WORD);
    }
    let category = CATEGORY.get(c);
    GeneralCategoryGroup::Letter.contains(category) || GeneralCategoryGroup::Number.contains(category)
}

/// `\d` of `re`: a decimal digit of any script.
#[must_use]
pub fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || (!c.is_ascii() && CATEGORY.get(c) == GeneralCategory::DecimalNumber)
}

/// `str.isalpha` of one character: letters of any kind.
#[must_use]
pub fn is_alpha(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        GeneralCategoryGroup::Letter.contains(CATEGORY.get(c))
    }
}

/// `str.isupper`: some character has case, and none is lower or title case.
#[must_use]
pub fn is_upper(word: &str) -> bool {
    let mut upper = false;
    for c in word.chars() {
        if is_lower_or_title(c) {
            return false;
        }
        upper |= c.is_uppercase();
    }
    upper
}

/// Whether this character keeps a word from being upper case.
#[must_use]
pub fn is_lower_or_title(c: char) -> bool {
    c.is_lowercase() || (!c.is_ascii() && CATEGORY.get(c) == GeneralCategory::TitlecaseLetter)
}

/// Whether datatrove counts this character as punctuation (its set holds control characters as well).
#[must_use]
pub fn is_punctuation(c: char) -> bool {
    if c.is_ascii() { has(c as u8, PUNCTUATION) } else { within(&TERMINALS, c) || within(&OTHERS, c) }
}

/// Whether datatrove counts this character as the end of a sentence.
#[must_use]
pub fn is_terminal(c: char) -> bool {
    if c.is_ascii() { has(c as u8, TERMINAL) } else { within(&TERMINALS, c) }
}

fn within(ranges: &[(char, char)], c: char) -> bool {
    let after = ranges.partition_point(|range| range.0 <= c);
    after > 0 && c <= ranges[after - 1].1
}

/// `str.strip`.
#[must_use]
pub fn strip(text: &str) -> &str {
    strip_start(strip_end(text))
}

/// `str.lstrip`.
#[must_use]
pub fn strip_start(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(&byte) if byte < 128 && !has(byte, SPACE) => text,
        _ => text.trim_start_matches(is_space),
    }
}

/// `str.rstrip`.
#[must_use]
pub fn strip_end(text: &str) -> &str {
    match text.as_bytes().last() {
        Some(&byte) if byte < 128 && !has(byte, SPACE) => text,
        _ => text.trim_end_matches(is_space),
    }
}

/// `str.split` without arguments: the runs of characters that are not white space.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Code points in `text`: Python's `len`.
#[must_use]
pub fn len(text: &str) -> usize {
    len_utf8(text.as_bytes())
}

/// Code points in valid UTF-8.
#[must_use]
pub fn len_utf8(bytes: &[u8]) -> usize {
    // Bytes that continue a character are 0x80..=0xbf: as signed numbers, below -64.
    bytes.iter().filter(|&&byte| byte.cast_signed() >= -64).count()
}

/// `str.splitlines`: the lines without their boundaries.
#[must_use]
pub fn split_lines(text: &str) -> Lines<'_> {
    Lines { text, start: 0, only_newlines: !has_other_breaks(text) }
}

/// The iterator of [`split_lines`].
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a str,
    start: usize,
    only_newlines: bool,
}

impl Iterator for Lines<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        let rest = self.text.get(self.start..).filter(|rest| !rest.is_empty())?;
        let (length, boundary) = if self.only_newlines {
            memchr(b'\n', rest.as_bytes()).map_or((rest.len(), 0), |at| (at, 1))
        } else {
            find_break(rest)
        };
        let span = Span { start: self.start as u32, end: (self.start + length) as u32 };
        self.start += length + boundary;
        Some(span)
    }
}

/// Bytes before the first line boundary of `text`, and bytes of that boundary (0 where there is none).
fn find_break(text: &str) -> (usize, usize) {
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        if byte < 128 {
            if ASCII[byte as usize] & BREAK != 0 {
                let crlf = byte == b'\r' && bytes.get(at + 1) == Some(&b'\n');
                return (at, 1 + usize::from(crlf));
            }
        } else if byte == 0xc2 && bytes.get(at + 1) == Some(&0x85) {
            return (at, 2);
        } else if byte == 0xe2 && matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) {
            return (at, 3);
        }
    }
    (bytes.len(), 0)
}

/// Whether lines of `text` end by anything but `\n`, that is whether `splitlines` differs from a split at `\n`.
#[must_use]
pub fn has_other_breaks(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (block, _) = block_at(bytes, at);
        let mut found = block.within(0x0b, 0x0d) | block.within(0x1c, 0x1e);
        if block.high() != 0 {
            found |= block.any_of([0x85]) & block.any_of([0xc2]) << 1;
            found |= block.any_of([0xa8, 0xa9]) & block.any_of([0x80]) << 1 & block.any_of([0xe2]) << 2;
        }
        if found != 0 {
            return true;
        }
        // The last two bytes may start a character of three.
        at += BLOCK - 2;
    }
    false
}

/// Ends of sentences outside ASCII.
#[rustfmt::skip]
static TERMINALS: [(char, char); 79] = [
    ('\u{589}', '\u{589}'), ('\u{61d}', '\u{61f}'), ('\u{6d4}', '\u{6d4}'), ('\u{700}', '\u{702}'),
    ('\u{7f9}', '\u{7f9}'), ('\u{837}', '\u{837}'), ('\u{839}', '\u{839}'), ('\u{83d}', '\u{83e}'),
    ('\u{964}', '\u{965}'), ('\u{104a}', '\u{104b}'), ('\u{1362}', '\u{1362}'), ('\u{1367}',
    '\u{1368}'), ('\u{166e}', '\u{166e}'), ('\u{1735}', '\u{1736}'), ('\u{17d4}', '\u{17d6}'),
    ('\u{17d9}', '\u{17da}'), ('\u{1803}', '\u{1803}'), ('\u{1809}', '\u{1809}'), ('\u{1944}',
    '\u{1945}'), ('\u{1aa8}', '\u{1aab}'), ('\u{1b5a}', '\u{1b5b}'), ('\u{1b5e}', '\u{1b5f}'),
    ('\u{1b7d}', '\u{1b7e}'), ('\u{1c3b}', '\u{1c3c}'), ('\u{1c7e}', '\u{1c7f}'), ('\u{203c}',
    '\u{203d}'), ('\u{2047}', '\u{2049}'), ('\u{2e2e}', '\u{2e2e}'), ('\u{2e3c}', '\u{2e3c}'),
    ('\u{2e53}', '\u{2e54}'), ('\u{3002}', '\u{3002}'), ('\u{a4ff}', '\u{a4ff}'), ('\u{a60e}',
    '\u{a60f}'), ('\u{a6f3}', '\u{a6f3}'), ('\u{a6f7}', '\u{a6f7}'), ('\u{a876}', '\u{a877}'),
    ('\u{a8ce}', '\u{a8cf}'), ('\u{a92f}', '\u{a92f}'), ('\u{a9c8}', '\u{a9c9}'), ('\u{aa5d}',
    '\u{aa5f}'), ('\u{aaf0}', '\u{aaf1}'), ('\u{abeb}', '\u{abeb}'), ('\u{fe52}', '\u{fe52}'),
    ('\u{fe56}', '\u{fe57}'), ('\u{ff01}', '\u{ff01}'), ('\u{ff0e}', '\u{ff0e}'), ('\u{ff1f}',
    '\u{ff1f}'), ('\u{ff61}', '\u{ff61}'), ('\u{10a56}', '\u{10a57}'), ('\u{10f55}', '\u{10f59}'),
    ('\u{10f86}', '\u{10f89}'), ('\u{11047}', '\u{11048}'), ('\u{110be}', '\u{110c1}'), ('\u{11141}',
    '\u{11143}'), ('\u{111c5}', '\u{111c6}'), ('\u{111cd}', '\u{111cd}'), ('\u{111de}', '\u{111df}'),
    ('\u{11238}', '\u{11239}'), ('\u{1123b}', '\u{1123c}'), ('\u{112a9}', '\u{112a9}'), ('\u{1144b}',
    '\u{1144c}'), ('\u{115c2}', '\u{115c3}'), ('\u{115c9}', '\u{115d7}'), ('\u{11641}', '\u{11642}'),
    ('\u{1173c}', '\u{1173e}'), ('\u{11944}', '\u{11944}'), ('\u{11946}', '\u{11946}'), ('\u{11a42}',
    '\u{11a43}'), ('\u{11a9b}', '\u{11a9c}'), ('\u{11c41}', '\u{11c42}'), ('\u{11ef7}', '\u{11ef8}'),
    ('\u{11f43}', '\u{11f44}'), ('\u{16a6e}', '\u{16a6f}'), ('\u{16af5}', '\u{16af5}'), ('\u{16b37}',
    '\u{16b38}'), ('\u{16b44}', '\u{16b44}'), ('\u{16e98}', '\u{16e98}'), ('\u{1bc9f}', '\u{1bc9f}'),
    ('\u{1da88}', '\u{1da88}'),
];

/// The rest of datatrove's punctuation outside ASCII.
#[rustfmt::skip]
static OTHERS: [(char, char); 20] = [
    ('\u{80}', '\u{9f}'), ('\u{ab}', '\u{ab}'), ('\u{b4}', '\u{b4}'), ('\u{bb}', '\u{bb}'), ('\u{2013}',
    '\u{2014}'), ('\u{2019}', '\u{2019}'), ('\u{201c}', '\u{201e}'), ('\u{2026}', '\u{2026}'),
    ('\u{2236}', '\u{2236}'), ('\u{2501}', '\u{2501}'), ('\u{25ba}', '\u{25ba}'), ('\u{3001}',
    '\u{3001}'), ('\u{3008}', '\u{300d}'), ('\u{3010}', '\u{3011}'), ('\u{ff05}', '\u{ff05}'),
    ('\u{ff08}', '\u{ff09}'), ('\u{ff0c}', '\u{ff0c}'), ('\u{ff11}', '\u{ff11}'), ('\u{ff1a}',
    '\u{ff1b}'), ('\u{ff5e}', '\u{ff5e}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_and_split_know_every_space_of_python() {
        let spaces = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\u{2000}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
        assert_eq!(strip(&format!("{spaces}a{spaces}b{spaces}")), format!("a{spaces}b"));
        assert_eq!(split(&format!("{spaces}a{spaces}b")).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(strip("\u{200b}a"), "\u{200b}a");
        assert_eq!((0..=char::MAX as u32).filter_map(char::from_u32).filter(|&c| is_space(c)).count(), 29);
    }

    #[test]
    fn splitlines_ends_lines_as_python_does() {
        let lines = |text: &'static str| split_lines(text).map(|s| s.of(text)).collect::<Vec<_>>();
        assert_eq!(lines(""), Vec::<&str>::new());
        assert_eq!(lines("a\r\nb\n\rc\n"), ["a", "b", "", "c"]);
        assert_eq!(
            lines("\u{85}a\u{2028}b\u{2029}\u{1c}c\u{1f}d\u{b}e"),
            ["", "a", "b", "", "c\u{1f}d", "e"]
        );
        for before in 0..140 {
            for (end, is_other) in
                [("\u{85}", true), ("\u{2029}", true), ("\u{1d}", true), ("\u{2026}\u{5}", false)]
            {
                let text = format!("{}{end}", "-\n".repeat(before / 2) + &"-".repeat(before % 2));
                assert_eq!(has_other_breaks(&text), is_other, "{text:?}");
            }
        }
        assert!(has_other_breaks("a\u{2028}") && has_other_breaks("a\r\n") && !has_other_breaks("a\n\u{e9}"));
    }

    #[test]
    fn the_punctuation_sets_have_their_published_sizes() {
        let count =
            |f: fn(char) -> bool| (0..=char::MAX as u32).filter_map(char::from_u32).filter(|&c| f(c)).count();
        assert_eq!((count(is_punctuation), count(is_terminal)), (281, 159));
        assert!(is_punctuation('\u{2019}') && !is_terminal('\u{2019}') && is_terminal('\u{3002}'));
        assert!(
            !is_punctuation('\t') && !is_punctuation('\n') && is_punctuation('\r') && !is_punctuation(' ')
        );
    }

    #[test]
    fn word_characters_exclude_combining_marks() {
        assert!(
            is_word('_')
                && is_word('\u{e9}')
                && is_word('\u{b2}')
                && is_word('\u{4e2d}')
                && is_word('\u{2160}')
        );
        assert!(!is_word('\u{301}') && !is_word('\u{93e}') && !is_word('-'));
    }

    #[test]
    fn isupper_needs_a_cased_character_and_no_lower_one() {
        assert!(is_upper("A1") && is_upper("\u{2160}") && is_upper("\u{c9}-\u{4e2d}"));
        assert!(!is_upper("1") && !is_upper("Ab") && !is_upper("A\u{1c5}") && !is_upper("A\u{aa}"));
    }

    #[test]
    fn len_counts_code_points() {
        assert_eq!(len("a\u{e9}\u{4e2d}\u{1f600}"), 4);
    }
}
