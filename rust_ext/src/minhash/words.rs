//! How text becomes words before it is cut into shingles.
//!
//! Lower case and classes of characters are those of Python 3.11. For ASCII, lowering copies at memory speed
//! and words are found 64 bytes at a time.

use icu_normalizer::{DecomposingNormalizer, DecomposingNormalizerBorrowed};

use crate::characters::{DIGIT, MARK, characters};
use crate::normalize::Normalized;
use crate::runs::{Run, runs};
use crate::simd::{BLOCK, block_at, low_bits};

static NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfd();

/// How text becomes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Lower case; words are runs of `\w`.
    Word,
    /// Lower case; words are what white space separates.
    Space,
    /// As datatrove simplifies text: lower case, without punctuation, control characters and, after NFD,
    /// marks; every run of digits is one 0. Words are what white space separates.
    Datatrove,
    /// RedPajama-V2's normalised content: without ASCII punctuation, lower case, NFD; words are what white
    /// space separates.
    RedPajama,
}

/// The words of one text after another.
#[derive(Debug)]
pub struct Words {
    normalize: Normalize,
    lowered: String,
    simplified: Simplified,
    redpajama: Normalized,
}

impl Words {
    /// No text yet.
    #[must_use]
    pub fn new(normalize: Normalize) -> Self {
        Self {
            normalize,
            lowered: String::new(),
            simplified: Simplified::default(),
            redpajama: Normalized::default(),
        }
    }

    /// Call `push` with a text, start and end of each word, in order; the text is not the same for all words.
    pub fn each(&mut self, text: &str, mut push: impl FnMut(&[u8], usize, usize)) {
        let Self { normalize, lowered, simplified, redpajama } = self;
        let run = match normalize {
            Normalize::Word => Run::Words,
            Normalize::Space => Run::Visible,
            Normalize::Datatrove => {
                characters().lower(text, lowered);
                return simplified.each(lowered, push);
            }
            Normalize::RedPajama => {
                redpajama.fill(text);
                let words = redpajama.words().iter();
                return words
                    .for_each(|word| push(redpajama.bytes(), word.start as usize, word.end as usize));
            }
        };
        characters().lower(text, lowered);
        let bytes = lowered.as_bytes();
        runs(lowered, run, |start, end| push(bytes, start, end));
    }
}

/// Words as datatrove simplifies them, one after another.
#[derive(Debug, Default)]
struct Simplified {
    /// One bit for each byte of the text: a letter of ASCII.
    letters: Vec<u64>,
    kept: String,
    /// A word that is not in the text as it is, and zeros behind it, as hashes read 16 bytes.
    word: Vec<u8>,
}

impl Simplified {
    fn each(&mut self, lowered: &str, mut push: impl FnMut(&[u8], usize, usize)) {
        let bytes = lowered.as_bytes();
        self.letters.clear();
        self.letters.extend((0..bytes.len()).step_by(BLOCK).map(|at| block_at(bytes, at).0.letters()));
        runs(lowered, Run::Visible, |start, end| {
            if self.has_only_letters(start, end) {
                return push(bytes, start, end);
            }
            let word = lowered.get(start..end).unwrap_or("");
            self.word.clear();
            if word.is_ascii() {
                self.add_ascii(word.as_bytes());
            } else {
                self.add_wide(word);
            }
            let num_bytes = self.word.len();
            if num_bytes > 0 {
                self.word.extend([0; 16]);
                push(&self.word, 0, num_bytes);
            }
        });
    }

    #[inline]
    fn has_only_letters(&self, start: usize, end: usize) -> bool {
        let (block, place) = (start / BLOCK, start % BLOCK);
        let of = |block: usize| self.letters.get(block).copied().unwrap_or(0);
        // Two shifts, as one by 64 is none.
        let letters = of(block) >> place | of(block + 1) << 1 << (BLOCK - 1 - place);
        let all = low_bits(end - start);
        end - start <= BLOCK && letters & all == all
    }

    fn add_ascii(&mut self, word: &[u8]) {
        let mut in_number = false;
        for &byte in word.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            let is_digit = byte.is_ascii_digit();
            if !(is_digit && in_number) {
                self.word.push(if is_digit { b'0' } else { byte });
            }
            in_number = is_digit;
        }
    }

    fn add_wide(&mut self, word: &str) {
        let table = characters();
        self.kept.clear();
        self.kept.extend(word.chars().filter(|&c| !is_dropped(c)));
        let mut in_number = false;
        for c in NFD.normalize_iter(self.kept.chars()) {
            let flags = table.of(c);
            if flags & MARK != 0 {
                continue;
            }
            let is_digit = flags & DIGIT != 0;
            if !(is_digit && in_number) {
                let c = if is_digit { '0' } else { c };
                self.word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            in_number = is_digit;
        }
    }
}

/// Whether datatrove takes a character for punctuation; control characters are among them.
fn is_dropped(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() || c.is_ascii_control();
    }
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{ab}'
            | '\u{b4}'
            | '\u{bb}'
            | '\u{2013}'
            | '\u{2014}'
            | '\u{2019}'
            | '\u{201c}'..='\u{201e}'
            | '\u{2026}'
            | '\u{2236}'
            | '\u{2501}'
            | '\u{25ba}'
            | '\u{3001}'
            | '\u{3002}'
            | '\u{3008}'..='\u{300d}'
            | '\u{3010}'
            | '\u{3011}'
            | '\u{ff01}'
            | '\u{ff05}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{ff0c}'
            | '\u{ff0e}'
            | '\u{ff11}'
            | '\u{ff1a}'
            | '\u{ff1b}'
            | '\u{ff1f}'
            | '\u{ff5e}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(normalize: Normalize, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        Words::new(normalize).each(text, |text, start, end| {
            out.push(String::from_utf8(text[start..end].to_vec()).unwrap());
        });
        out
    }

    #[test]
    fn words_do_not_depend_on_where_blocks_end() {
        let text = "Don't, STOP\u{c9}t\u{e9}-now! 1,000.5e3 \u{2026} x\u{1c}y\0z \u{ff11}\u{661}2";
        let expected = [
            (Normalize::Word, "don t stop\u{e9}t\u{e9} now 1 000 5e3 x y z \u{ff11}\u{661}2"),
            (Normalize::Space, "don't, stop\u{e9}t\u{e9}-now! 1,000.5e3 \u{2026} x y\0z \u{ff11}\u{661}2"),
            (Normalize::Datatrove, "dont stopetenow 0e0 x yz 0"),
            (Normalize::RedPajama, "dont stope\u{301}te\u{301}now 10005e3 \u{2026} x y\0z \u{ff11}\u{661}2"),
        ];
        for before in 0..140 {
            for (normalize, words_of_text) in expected {
                let head = "y".repeat(before);
                let found = words(normalize, &format!("{head} {text}"));
                let all = format!("{head} {words_of_text}");
                assert_eq!(found, all.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>());
            }
        }
    }
}
