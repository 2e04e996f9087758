//! Sentences without a language: a count for texts that no language's splitter is chosen for.
//!
//! A sentence holds a letter or number and ends at the end of the text or at a terminal character: one
//! outside ASCII ends it at once (Chinese and Japanese put no space after it); `.`, `!` and `?` end it where
//! white space or the end of the text follows, closing quotes and brackets between them allowed. So `3.14`
//! and `example.org` are not cut, and `Mr. Smith` is.

use std::ops::Range;

use crate::pystr::{is_space, is_terminal, is_word};
use crate::simd::{Block, add, block_at, low_bits};
use crate::text::{Span, core};

/// Count the sentences of `text`.
#[must_use]
pub fn count(text: &str) -> usize {
    count_within(text, 0..text.len())
}

/// Count the sentences of a range of `text`, on character boundaries, as if it stood alone.
#[must_use]
pub fn count_within(text: &str, range: Range<usize>) -> usize {
    let (bytes, end) = (text.as_bytes(), range.end.min(text.len()));
    let mut counter = Counter::default();
    let mut at = range.start;
    while at < end {
        let (block, num_bytes) = block_at(bytes, at);
        let num_plain = num_bytes.min(end - at).min(block.high().trailing_zeros() as usize);
        counter.block(&block, num_plain);
        at += num_plain;
        // What is not ASCII, and what is close behind it, one by one.
        while let Some(rest) = text.get(at..end)
            && !rest.as_bytes()[..rest.len().min(16)].is_ascii()
            && let Some(c) = rest.chars().next()
        {
            counter.character(c);
            at += c.len_utf8();
        }
    }
    counter.num_ended + usize::from(counter.has_word)
}

/// The byte ranges of the sentences of `text`, without the white space around them.
pub fn parts(text: &str, out: &mut Vec<Range<usize>>) {
    out.clear();
    let mut counter = Counter::default();
    let mut start = 0;
    let mut push = |range: Range<usize>| {
        let piece = core(text, Span::new(range.start, range.end));
        out.push(piece.start as usize..piece.end as usize);
    };
    for (at, c) in text.char_indices() {
        let num_ended = counter.num_ended;
        counter.character(c);
        if counter.num_ended > num_ended {
            let end = at + c.len_utf8();
            push(start..end);
            start = end;
        }
    }
    if counter.has_word {
        push(start..text.len());
    }
}

/// The sentences that ended so far, and the one at hand.
#[derive(Default)]
struct Counter {
    num_ended: usize,
    /// It holds a letter or number.
    has_word: bool,
    /// A terminal was met, and then neither a letter or number nor white space.
    may_end: bool,
}

impl Counter {
    /// Take up the first `num_plain` bytes of a block, which are ASCII.
    ///
    /// Additions carry what was met from the bit where it was to the next bit that is free of it: a terminal
    /// over what is no word and no space, then a word up to the next end of a sentence.
    #[inline]
    fn block(&mut self, block: &Block, num_plain: usize) {
        let plain = low_bits(num_plain);
        let spaces = (block.any_of([b' ']) | block.within(b'\t', b'\r') | block.within(0x1c, 0x1f)) & plain;
        let words = (block.letters() | block.within(b'0', b'9') | block.any_of([b'_'])) & plain;
        let terminals = block.any_of([b'.', b'!', b'?']) & plain;
        let others = !(spaces | words);
        let (stops, may_end) = add(others, terminals, self.may_end);
        let ends = stops & spaces;
        let (reached, has_word) = add(!ends, words, self.has_word);
        self.num_ended += (reached & ends).count_ones() as usize;
        (self.may_end, self.has_word) = (may_end, has_word);
    }

    #[inline]
    fn character(&mut self, c: char) {
        let ends = if is_terminal(c) {
            self.may_end = true;
            !c.is_ascii()
        } else if is_word(c) {
            self.has_word = true;
            self.may_end = false;
            false
        } else {
            self.may_end && is_space(c)
        };
        if ends {
            self.num_ended += usize::from(self.has_word);
            (self.has_word, self.may_end) = (false, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_terminals_before_white_space() {
        let cases = [
            ("", 0),
            ("... !", 0),
            ("One. Two! Three", 3),
            ("Pi is 3.14 at example.org.", 1),
            ("\"Really?!\" he said. (Yes.) No", 4),
            ("Mr. Smith", 2),
            ("\u{4f60}\u{597d}\u{3002}\u{518d}\u{89c1}\u{3002}", 2),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), expected, "{text}");
            assert_eq!(one_by_one(text), expected, "{text}");
        }
    }

    fn one_by_one(text: &str) -> usize {
        let mut counter = Counter::default();
        text.chars().for_each(|c| counter.character(c));
        counter.num_ended + usize::from(counter.has_word)
    }

    #[test]
    fn blocks_count_what_characters_one_by_one_do() {
        let alphabet: Vec<char> =
            "aZ09_...!?!?\"') -\n\t\u{1c}\u{0}    \u{e9}\u{a0}\u{3002}\u{2026}".chars().collect();
        let mut state = 1u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for round in 0..50_000 {
            let length = below(200);
            let ascii = if round % 2 == 0 { 4 } else { 0 };
            let text: String = (0..length).map(|_| alphabet[below(alphabet.len() - ascii)]).collect();
            assert_eq!(count(&text), one_by_one(&text), "{text:?}");
            let around = format!("Aa.{text}?!. b");
            assert_eq!(count_within(&around, 3..3 + text.len()), one_by_one(&text), "{text:?}");
        }
    }
}
