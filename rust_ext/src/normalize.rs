//! RedPajama's normalised content: without ASCII punctuation, lower case, words one space apart, NFD.

use icu_normalizer::{DecomposingNormalizer, DecomposingNormalizerBorrowed};
use memchr::memmem;

use crate::pystr;
use crate::simd::{BLOCK, Block, block_at, low_bits};
use crate::text::Span;

/// Bytes that are copied at once.
const STEP: usize = 16;

static NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfd();

/// The normalised content of one document; buffers are used again for the next one.
#[derive(Debug, Default)]
pub struct Normalized {
    bytes: Vec<u8>,
    words: Vec<Span>,
    /// Characters of all words before each, and of all at the end.
    chars: Vec<u64>,
    word_start: usize,
    is_ascii: bool,
}

impl Normalized {
    /// Normalise `text`.
    pub fn fill(&mut self, text: &str) {
        self.bytes.clear();
        self.bytes.reserve(text.len());
        self.words.clear();
        self.chars.clear();
        self.chars.push(0);
        (self.word_start, self.is_ascii) = (0, true);
        // Lower sigma depends on its neighbours, so such texts are lowered as a whole.
        if !text.is_ascii() && text.contains('\u{3a3}') {
            let without = text.replace(|c: char| c.is_ascii_punctuation(), "");
            self.add(&without.to_lowercase());
        } else {
            self.add(text);
        }
        self.end_word();
        self.bytes.truncate(self.words.last().map_or(0, |word| word.end as usize));
    }

    /// The content, UTF-8.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its words.
    #[must_use]
    pub fn words(&self) -> &[Span] {
        &self.words
    }

    /// Characters of the words from `start` up to `end`.
    #[must_use]
    pub fn chars_of(&self, start: usize, end: usize) -> usize {
        match (self.chars.get(start), self.chars.get(end)) {
            (Some(before), Some(after)) => after.saturating_sub(*before) as usize,
            _ => 0,
        }
    }

    /// Characters of all words.
    #[must_use]
    pub fn num_word_chars(&self) -> usize {
        self.chars_of(0, self.words.len())
    }

    /// Characters of the content: the words and the spaces between them.
    #[must_use]
    pub fn num_chars(&self) -> usize {
        self.num_word_chars() + self.words.len().saturating_sub(1)
    }

    /// Occurrences of `part` that do not overlap.
    #[must_use]
    pub fn count(&self, part: &[u8]) -> usize {
        memmem::find_iter(&self.bytes, part).count()
    }

    fn add(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let (block, num_bytes) = block_at(bytes, at);
            let num_plain = num_bytes.min(block.high().trailing_zeros() as usize);
            self.add_block(&block, bytes.get(at..at + num_plain).unwrap_or(&[]));
            at += num_plain;
            while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next())
                && !c.is_ascii()
            {
                self.add_char(c);
                at += c.len_utf8();
            }
        }
    }

    /// Add ASCII text, the first bytes of a block.
    fn add_block(&mut self, block: &Block, plain: &[u8]) {
        let spaces = block.any_of([b' ']) | block.within(b'\t', b'\r') | block.within(0x1c, 0x1f);
        let punctuation = block.within(b'!', b'/')
            | block.within(b':', b'@')
            | block.within(b'[', b'`')
            | block.within(b'{', b'~');
        let mut lower = [0; BLOCK + STEP];
        if let Some(part) = lower.get_mut(..plain.len()) {
            part.copy_from_slice(plain);
            part.make_ascii_lowercase();
        }
        let kept = !(spaces | punctuation) & low_bits(plain.len());
        let (mut first, mut last) = (kept & !(kept << 1), kept & !(kept >> 1));
        let mut before = 0;
        while first != 0 {
            let (start, end) = (first.trailing_zeros() as usize, last.trailing_zeros() as usize + 1);
            if spaces & low_bits(start) & !low_bits(before) != 0 {
                self.end_word();
            }
            self.copy(&lower, start, end);
            before = end;
            first &= first - 1;
            last &= last - 1;
        }
        if spaces & low_bits(plain.len()) & !low_bits(before) != 0 {
            self.end_word();
        }
    }

    /// Append a part of a block, copied in whole steps, as parts are short.
    #[inline]
    fn copy(&mut self, block: &[u8; BLOCK + STEP], start: usize, end: usize) {
        let from = self.bytes.len();
        for at in (start..end).step_by(STEP) {
            if let Some(step) = block.get(at..).and_then(<[u8]>::first_chunk::<STEP>) {
                self.bytes.extend_from_slice(step);
            }
        }
        self.bytes.truncate(from + end - start);
    }

    fn add_char(&mut self, c: char) {
        if pystr::is_space(c) {
            return self.end_word();
        }
        self.is_ascii = false;
        for lower in c.to_lowercase() {
            self.bytes.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    fn end_word(&mut self) {
        if self.word_start == self.bytes.len() {
            return;
        }
        if !self.is_ascii {
            self.decompose();
        }
        let word = &self.bytes[self.word_start..];
        let chars = if self.is_ascii { word.len() } else { pystr::len_utf8(word) };
        let total = self.chars.last().copied().unwrap_or(0);
        self.chars.push(total + chars as u64);
        self.words.push(Span { start: self.word_start as u32, end: self.bytes.len() as u32 });
        self.bytes.push(b' ');
        (self.word_start, self.is_ascii) = (self.bytes.len(), true);
    }

    fn decompose(&mut self) {
        let Ok(word) = std::str::from_utf8(&self.bytes[self.word_start..]) else { return };
        if let std::borrow::Cow::Owned(decomposed) = NFD.normalize(word) {
            self.bytes.truncate(self.word_start);
            self.bytes.extend_from_slice(decomposed.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_does_not_depend_on_where_blocks_end() {
        for before in 0..140 {
            let text = format!("{}Don't, STOP\u{c9}t\u{e9}-now! {}", "x".repeat(before), "Y ".repeat(40));
            let mut normalized = Normalized::default();
            normalized.fill(&text);
            let mut expected = format!("{}dont stope\u{301}te\u{301}now", "x".repeat(before));
            expected += &" y".repeat(40);
            assert_eq!(std::str::from_utf8(normalized.bytes()).unwrap(), expected, "{text}");
            assert_eq!(normalized.words().len(), 42);
        }
    }

    #[test]
    fn content_is_lowered_stripped_and_decomposed() {
        let cases = [
            ("", "", 0),
            (" -- ", "", 0),
            ("  Don't\u{a0}STOP!\n\n(now) ", "dont stop now", 11),
            ("\u{c9}t\u{e9}", "e\u{301}te\u{301}", 5),
            ("\u{39f}\u{394}\u{39f}\u{3a3}. \u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2} \u{3c3}", 5),
            ("\u{130}\u{37e}", "i\u{307};", 3),
            ("a\u{301}\u{316}b", "a\u{316}\u{301}b", 4),
        ];
        for (text, expected, chars) in cases {
            let mut normalized = Normalized::default();
            normalized.fill(text);
            assert_eq!(normalized.bytes(), expected.as_bytes(), "{text}");
            assert_eq!(normalized.num_word_chars(), chars, "{text}");
        }
    }
}
