//! Characters as Python 3.11 has them: `\w` and `\s` of `re`, and `str.lower` with the final sigma.
//!
//! Python 3.11 knows Unicode 14. Models are fitted with these tables and must not change their features when
//! a table grows, so what was assigned later is no letter and has no lower case here. One byte a code point,
//! made once: 1.1 MiB, of which a text touches a few pages.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, HirKind};

use crate::pystr;
use crate::simd::{BLOCK, block_at};

/// `\w`.
pub const WORD: u8 = 1;
/// `\s`.
pub const SPACE: u8 = 2;
/// A decimal digit, `\d`.
pub const DIGIT: u8 = 32;
/// A mark that takes up no space, category Mn.
pub const MARK: u8 = 64;
/// Has case, for the final sigma.
const CASED: u8 = 4;
/// Is looked through, for the final sigma.
const IGNORABLE: u8 = 8;
/// Is changed by `str.lower`.
const LOWERS: u8 = 16;

/// The one character of Unicode 14 whose flags have changed since: a mark that now takes up space.
const LATER_SEEN: char = '\u{1171e}';

const NUM_CODES: usize = 0x11_0000;
const SIGMA: char = '\u{3a3}';
const FINAL_SIGMA: char = '\u{3c2}';
const OTHER_SIGMA: char = '\u{3c3}';

/// Flags by code point.
#[derive(Debug)]
pub struct Characters {
    flags: Box<[u8]>,
}

/// The one table.
pub fn characters() -> &'static Characters {
    static TABLE: OnceLock<Characters> = OnceLock::new();
    TABLE.get_or_init(Characters::new)
}

impl Characters {
    fn new() -> Self {
        let mut flags = vec![0; NUM_CODES].into_boxed_slice();
        let known = r"&&\p{Age:14.0}]";
        mark(&mut flags, &format!(r"[[\p{{L}}\p{{N}}_]{known}"), WORD);
        mark(&mut flags, &format!(r"[\p{{Nd}}{known}"), DIGIT);
        mark(&mut flags, &format!(r"[\p{{Mn}}{known}"), MARK);
        mark(&mut flags, &format!(r"[\p{{Cased}}{known}"), CASED);
        mark(&mut flags, &format!(r"[\p{{Case_Ignorable}}{known}"), IGNORABLE);
        mark(&mut flags, &format!(r"[\p{{Any}}{known}"), LOWERS);
        if let Some(flags) = flags.get_mut(LATER_SEEN as usize) {
            *flags |= IGNORABLE | MARK;
        }
        for (code, flags) in (0u32..).zip(&mut flags) {
            let Some(c) = char::from_u32(code) else { continue };
            if *flags & LOWERS != 0 && c.to_lowercase().eq([c]) {
                *flags &= !LOWERS;
            }
            if pystr::is_space(c) {
                *flags |= SPACE;
            }
        }
        Self { flags }
    }

    /// `WORD`, `SPACE`, `DIGIT` and `MARK` of a character, among others.
    #[inline]
    #[must_use]
    pub fn of(&self, c: char) -> u8 {
        self.flags.get(c as usize).copied().unwrap_or(0)
    }

    /// Make `out` what `str.lower` makes of `text`.
    pub fn lower(&self, text: &str, out: &mut String) {
        out.clear();
        out.reserve(text.len());
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let end = ascii_end(bytes, at);
            out.push_str(text.get(at..end).unwrap_or(""));
            at = end;
            while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next())
                && !c.is_ascii()
            {
                match c {
                    SIGMA => out.push(self.sigma(text, at)),
                    _ if self.of(c) & LOWERS != 0 => out.extend(c.to_lowercase()),
                    _ => out.push(c),
                }
                at += c.len_utf8();
            }
        }
        out.make_ascii_lowercase();
    }

    /// The lower case of the capital sigma at `at`: final after something with case and not before it.
    fn sigma(&self, text: &str, at: usize) -> char {
        let first = |found: Option<u8>| found.is_some_and(|flags| flags & CASED != 0);
        let is_seen = |&flags: &u8| flags & IGNORABLE == 0;
        let before = text.get(..at).unwrap_or("").chars().rev().map(|c| self.of(c));
        let after = text.get(at + SIGMA.len_utf8()..).unwrap_or("").chars().map(|c| self.of(c));
        let mut before = before.filter(is_seen);
        let mut after = after.filter(is_seen);
        if first(before.next()) && !first(after.next()) { FINAL_SIGMA } else { OTHER_SIGMA }
    }
}

/// End of the run of ASCII from `at`.
fn ascii_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        let (block, num_bytes) = block_at(bytes, at);
        let high = block.high();
        if high != 0 {
            return at + high.trailing_zeros() as usize;
        }
        at += num_bytes.min(BLOCK);
    }
    bytes.len()
}

/// Set a flag for every code point of a class; one that does not parse is no class, which tests would see.
fn mark(flags: &mut [u8], pattern: &str, flag: u8) {
    let Ok(HirKind::Class(Class::Unicode(set))) =
        regex_syntax::parse(pattern).map(regex_syntax::hir::Hir::into_kind)
    else {
        return;
    };
    for range in set.ranges() {
        let codes = flags.get_mut(range.start() as usize..=range.end() as usize);
        codes.into_iter().flatten().for_each(|flags| *flags |= flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lower(text: &str) -> String {
        let mut out = String::new();
        characters().lower(text, &mut out);
        out
    }

    #[test]
    fn every_flag_has_as_many_characters_as_in_python() {
        let count = |flag: u8| characters().flags.iter().filter(|&&flags| flags & flag != 0).count();
        assert_eq!((count(WORD), count(SPACE), count(LOWERS)), (133_548, 29, 1_433));
        assert_eq!((count(DIGIT), count(MARK)), (660, 1_950));
    }

    #[test]
    fn what_later_unicode_assigned_is_no_letter_and_has_no_lower_case() {
        let table = characters();
        assert_eq!((table.of('\u{1c89}'), lower("\u{1c89}")), (0, "\u{1c89}".into()));
        assert_eq!(table.of('\u{31350}') & WORD, 0);
    }

    #[test]
    fn text_is_lowered_wherever_blocks_end_and_sigma_by_its_neighbours() {
        for before in 0..140 {
            let text = format!("{}A\u{3a3} \u{130}B\u{c9}C", "X".repeat(before));
            assert_eq!(lower(&text), format!("{}a\u{3c2} i\u{307}b\u{e9}c", "x".repeat(before)));
        }
        let cases = [
            ("\u{3a3}", "\u{3c3}"),
            ("A.\u{3a3}.b", "a.\u{3c3}.b"),
            ("A.\u{3a3}. b", "a.\u{3c2}. b"),
            ("1\u{3a3}", "1\u{3c3}"),
            ("A\u{1171e}\u{3a3}\u{3a3}", "a\u{1171e}\u{3c3}\u{3c2}"),
        ];
        for (text, expected) in cases {
            assert_eq!(lower(text), expected, "{text}");
        }
    }
}
