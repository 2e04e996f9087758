//! General categories of characters, as the split patterns of tokenizers need them.
//!
//! A two-level table of one byte per character, built once from the tables of `regex-syntax`; one
//! look-up is two loads. The pages that hold nothing are shared, so it takes about 100 KB.

use std::sync::OnceLock;

use regex_syntax::hir::{Class, HirKind};

/// Upper or title case (`Lu`, `Lt`).
pub const UPPER: u8 = 1;
/// Lower case (`Ll`).
pub const LOWER: u8 = 2;
/// Letters without case (`Lm`, `Lo`).
pub const UNCASED: u8 = 4;
/// Combining marks (`M`).
pub const MARK: u8 = 8;
/// Numbers (`N`).
pub const NUMBER: u8 = 16;
/// White space (`\s`).
pub const SPACE: u8 = 32;
/// Any letter (`L`).
pub const LETTER: u8 = UPPER | LOWER | UNCASED;
/// Not a character: the end of the text.
pub const END: u8 = 128;
/// In the table of bytes: the first byte of a longer character.
const MULTIBYTE: u8 = 64;

const SETS: [(&str, u8); 6] = [
    (r"[\p{Lu}\p{Lt}]", UPPER),
    (r"\p{Ll}", LOWER),
    (r"[\p{Lm}\p{Lo}]", UNCASED),
    (r"\p{M}", MARK),
    (r"\p{N}", NUMBER),
    (r"\s", SPACE),
];

const NUM_PAGES: usize = 0x1100;

/// The table of all characters.
#[derive(Debug)]
pub struct Classes {
    bytes: [u8; 256],
    index: Box<[u16]>,
    pages: Box<[u8]>,
}

/// The one table of this process.
pub fn classes() -> &'static Classes {
    static TABLE: OnceLock<Classes> = OnceLock::new();
    TABLE.get_or_init(Classes::build)
}

impl Classes {
    fn build() -> Self {
        let mut flat = vec![0; NUM_PAGES << 8];
        for (pattern, flag) in SETS {
            for range in ranges(pattern) {
                for class in flat.get_mut(range).unwrap_or_default() {
                    *class |= flag;
                }
            }
        }
        let mut seen = std::collections::HashMap::new();
        let mut index = Vec::with_capacity(NUM_PAGES);
        let mut pages = Vec::new();
        for page in flat.chunks(256) {
            let next = (pages.len() >> 8) as u16;
            let at = *seen.entry(page.to_vec()).or_insert(next);
            if at == next {
                pages.extend_from_slice(page);
            }
            index.push(at);
        }
        let bytes = std::array::from_fn(|byte| if byte < 0x80 { flat[byte] } else { MULTIBYTE });
        Self { bytes, index: index.into(), pages: pages.into() }
    }

    /// Flags of a code point; 0 where it has none of the classes.
    #[inline]
    #[must_use]
    pub fn of(&self, code: u32) -> u8 {
        let page = self.index.get((code >> 8) as usize).copied().unwrap_or(0);
        self.pages.get(usize::from(page) << 8 | (code & 0xff) as usize).copied().unwrap_or(0)
    }

    /// Flags and byte length of the character at `at` of UTF-8 `text`; `(END, 0)` past its end.
    #[inline]
    #[must_use]
    pub fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        let Some(&byte) = text.get(at) else { return (END, 0) };
        match self.bytes[usize::from(byte)] {
            MULTIBYTE => {
                let (code, len) = decode(text, at);
                (self.of(code), len)
            }
            class => (class, 1),
        }
    }

    /// End of the run of ASCII from `at` whose flags, of `flags`, are not none (`wanted`) or are none.
    #[inline]
    #[must_use]
    pub fn ascii_run(&self, text: &[u8], at: usize, flags: u8, wanted: bool) -> usize {
        let rest = text.get(at..).unwrap_or_default();
        let ends = |byte: &u8| {
            let class = self.bytes[usize::from(*byte)];
            class == MULTIBYTE || (class & flags != 0) != wanted
        };
        at + rest.iter().position(ends).unwrap_or(rest.len())
    }
}

/// The code ranges of a character class pattern.
fn ranges(pattern: &str) -> Vec<std::ops::RangeInclusive<usize>> {
    match regex_syntax::parse(pattern).map(regex_syntax::hir::Hir::into_kind) {
        Ok(HirKind::Class(Class::Unicode(set))) => {
            set.ranges().iter().map(|range| range.start() as usize..=range.end() as usize).collect()
        }
        _ => Vec::new(),
    }
}

/// Code point and byte length of the multi-byte character at `at` of valid UTF-8 `text`.
#[inline]
#[must_use]
pub fn decode(text: &[u8], at: usize) -> (u32, usize) {
    let byte = |offset: usize| u32::from(text.get(at + offset).copied().unwrap_or(0));
    let tail = |offset: usize| byte(offset) & 0x3f;
    match byte(0) {
        first @ 0..0x80 => (first, 1),
        first @ 0x80..0xe0 => ((first & 0x1f) << 6 | tail(1), 2),
        first @ 0xe0..0xf0 => ((first & 0x0f) << 12 | tail(1) << 6 | tail(2), 3),
        first => ((first & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_of_the_table_agrees_with_the_standard_library() {
        let table = classes();
        for code in 0..=0x10_ffff {
            let Some(char) = char::from_u32(code) else { continue };
            assert_eq!(table.of(code) & SPACE != 0, char.is_whitespace(), "{code:x}");
            let mut buffer = [0; 4];
            let text = char.encode_utf8(&mut buffer).as_bytes();
            assert_eq!(table.at(text, 0), (table.of(code), text.len()), "{code:x}");
        }
        assert_eq!(table.of(u32::from('a')), LOWER);
        assert_eq!(table.of(u32::from('\u{1c5}')), UPPER);
        assert_eq!(table.of(u32::from('\u{4e00}')), UNCASED);
        assert_eq!(table.of(u32::from('\u{301}')), MARK);
        assert_eq!(table.of(u32::from('\u{bd}')), NUMBER);
    }
}
