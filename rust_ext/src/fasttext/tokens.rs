//! fastText's tokens of a text, with their hashes: shared by all models of a pass.
//!
//! A token is a run of bytes that are none of the reference implementation's white space, which has the zero byte
//! and no white space outside ASCII. Hashes are FNV-1a over signed bytes.

use crate::text::Span;

/// A token and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Where it is.
    pub span: Span,
    /// Its hash.
    pub hash: u32,
}

/// The hash of nothing.
pub const FNV_START: u32 = 2_166_136_261;

/// The hash of what was hashed and one byte more.
#[inline]
#[must_use]
pub fn fnv_step(hash: u32, byte: u8) -> u32 {
    (hash ^ i32::from(byte.cast_signed()).cast_unsigned()).wrapping_mul(16_777_619)
}

/// The hash of a word.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(FNV_START, |hash, &byte| fnv_step(hash, byte))
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r' | 0)
}

/// Append the tokens of a range of `text`.
pub fn split(text: &[u8], range: std::ops::Range<usize>, out: &mut Vec<Token>) {
    let end = range.end.min(text.len());
    let mut at = range.start;
    while at < end {
        if is_space(text[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let mut hash = FNV_START;
        while at < end && !is_space(text[at]) {
            hash = fnv_step(hash, text[at]);
            at += 1;
        }
        out.push(Token { span: Span::new(start, at), hash });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_fnv_1a_over_signed_bytes() {
        assert_eq!(fnv(b""), 2_166_136_261);
        assert_eq!(fnv(b"a"), 0xe40c_292c);
        // The published function gives 0x250c8f7f for one byte 0xff; bytes above 0x7f are extended by their sign here.
        assert_eq!(fnv(&[0xff]), (FNV_START ^ 0xffff_ffff).wrapping_mul(16_777_619));
    }

    #[test]
    fn the_zero_byte_is_white_space_and_no_break_spaces_are_not() {
        let text = "a\0b\u{a0}c \n\td\u{85}";
        let mut found = Vec::new();
        split(text.as_bytes(), 0..text.len(), &mut found);
        let words: Vec<_> = found.iter().map(|token| token.span.of(text)).collect();
        assert_eq!(words, ["a", "b\u{a0}c", "d\u{85}"]);
        assert!(found.iter().all(|token| token.hash == fnv(token.span.of(text).as_bytes())));
    }
}
