//! fastText's tokens of a text, with their hashes: shared by all models of a pass.
//!
//! A token is a run of bytes that are none of the reference implementation's white space, which has the zero byte
//! and no white space outside ASCII. Hashes are FNV-1a over signed bytes.

use crate::simd::{BLOCK, block_at, low_bits};
use crate::text::Span;

/// A token and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Where it is.
    pub span: Span,
    /// Its hash.
    pub hash: u32,
}

/// Words up to so many bytes are hashed in the same number of steps.
const SHORT: usize = 8;

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

/// The hash of a range of `text`. Short words take the same steps, so that nothing has to be guessed about lengths.
#[inline]
fn hash_range(text: &[u8], start: usize, end: usize) -> u32 {
    let Some(first) = text.get(start..).and_then(<[u8]>::first_chunk::<SHORT>) else {
        return fnv(text.get(start..end).unwrap_or(&[]));
    };
    let size = end - start;
    let mut hash = FNV_START;
    for (place, &byte) in first.iter().enumerate() {
        let next = fnv_step(hash, byte);
        hash = if place < size { next } else { hash };
    }
    let rest = text.get(start + SHORT..end).unwrap_or(&[]);
    rest.iter().fold(hash, |hash, &byte| fnv_step(hash, byte))
}

/// Append the tokens of a range of `text`.
pub fn split(text: &[u8], range: std::ops::Range<usize>, out: &mut Vec<Token>) {
    let end = range.end.min(text.len());
    let mut push = |start: usize, end: usize| {
        out.push(Token { span: Span::new(start, end), hash: hash_range(text, start, end) });
    };
    // The token that has begun in an earlier block.
    let mut open = None;
    for at in (range.start..end).step_by(BLOCK) {
        let (block, num_bytes) = block_at(text, at);
        let inside = low_bits(num_bytes.min(end - at));
        let words = !(block.any_of([b' ', 0]) | block.within(b'\t', b'\r')) & inside;
        // The first of every word and the first after it, in turns.
        let mut edges = words ^ (words << 1 | u64::from(open.is_some()));
        while edges != 0 {
            let place = at + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            open = match open {
                Some(start) => {
                    push(start, place);
                    None
                }
                None => Some(place),
            };
        }
    }
    if let Some(start) = open {
        push(start, end);
    }
}

/// The bytes of a word of `text`.
#[inline]
#[must_use]
pub fn bytes_of(text: &[u8], word: Span) -> &[u8] {
    text.get(word.start as usize..word.end as usize).unwrap_or(&[])
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

    #[test]
    fn tokens_are_found_across_blocks_and_in_any_range() {
        let text: String = (0..400usize).map(|at| if at * at % 7 == 3 { ' ' } else { 'x' }).collect();
        for range in [0..400, 1..399, 60..70, 64..128, 63..129, 100..100, 5..300] {
            let mut found = Vec::new();
            split(text.as_bytes(), range.clone(), &mut found);
            let mut at = range.start;
            let mut expected = Vec::new();
            for word in text[range].split(' ') {
                if !word.is_empty() {
                    expected.push((Span::new(at, at + word.len()), fnv(word.as_bytes())));
                }
                at += word.len() + 1;
            }
            let found: Vec<_> = found.iter().map(|token| (token.span, token.hash)).collect();
            assert_eq!(found, expected);
        }
    }
}
