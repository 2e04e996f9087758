//! The split patterns of byte-level tokenizers as hand-written scanners.
//!
//! Each scanner gives exactly the matches of its regular expression, left to right; each of these
//! patterns matches every character, so the matches cover the text. About one nanosecond per byte of
//! ASCII. Not here: any other pattern (the fallback runs those).

use super::classes::{Classes, END, LETTER, LOWER, MARK, NUMBER, SPACE, UNCASED, UPPER};

/// A split pattern that is known by heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanner {
    /// The pattern of GPT-2 (also r50k and p50k).
    Gpt2,
    /// The pattern of cl100k and what came after it.
    Cl100k {
        /// Longest run of digits in one piece.
        max_digits: usize,
        /// Whether white space at the end of the text stays in one piece (`\s++$`).
        joins_end: bool,
    },
    /// The pattern of o200k, which splits at changes of case.
    O200k,
    /// Every numeric character alone, the runs between them whole.
    Digits,
    /// Runs of numeric characters, the runs between them whole.
    DigitRuns,
    /// A new piece at every word mark (`U+2581`).
    Words,
    /// A new piece at every run of word marks.
    WordRuns,
}

/// What stands for a space in SentencePiece vocabularies.
pub const WORD_MARK: char = '\u{2581}';
const WORD_MARK_BYTES: [u8; 3] = [0xe2, 0x96, 0x81];

const PATTERNS: [(&str, Scanner); 8] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Gpt2),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s", Scanner::Gpt2),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Cl100k { max_digits: 3, joins_end: false },
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Cl100k { max_digits: 1, joins_end: false },
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Cl100k { max_digits: 3, joins_end: false },
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        Scanner::Cl100k { max_digits: 3, joins_end: true },
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::O200k,
    ),
];

/// Names of patterns, as tiktoken calls the encodings that use them.
pub const NAMES: [&str; 5] = ["gpt2", "r50k_base", "p50k_base", "cl100k_base", "o200k_base"];

const UPPERS: u8 = UPPER | UNCASED | MARK;
const LOWERS: u8 = LOWER | UNCASED | MARK;
const WORD: u8 = LETTER | NUMBER | SPACE;

impl Scanner {
    /// The scanner of a regular expression of tiktoken, where it is one of the known ones.
    #[must_use]
    pub fn of_pattern(pattern: &str) -> Option<Self> {
        PATTERNS.iter().find(|(known, _)| *known == pattern).map(|(_, scanner)| *scanner)
    }

    /// The scanner of a regular expression of `tokenizers`, whose engine reads `{1,3}+` as any number of
    /// repeats of one to three, not as a possessive one.
    #[must_use]
    pub fn of_onig_pattern(pattern: &str) -> Option<Self> {
        Some(match Self::of_pattern(pattern)? {
            Self::Cl100k { joins_end, .. } if pattern.contains("{1,3}+") => {
                Self::Cl100k { max_digits: usize::MAX, joins_end }
            }
            scanner => scanner,
        })
    }

    /// The scanner of a name of [`NAMES`].
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name {
            "gpt2" | "r50k_base" | "p50k_base" => Some(Self::Gpt2),
            "cl100k_base" => Some(Self::Cl100k { max_digits: 3, joins_end: true }),
            "o200k_base" => Some(Self::O200k),
            _ => None,
        }
    }

    /// End of the piece that starts at `start`; `text` is valid UTF-8, `start` inside it and on a character.
    #[inline]
    #[must_use]
    pub fn next(self, table: &Classes, text: &[u8], start: usize) -> usize {
        let scan = Scan { table, text };
        match self {
            Self::Gpt2 => scan.gpt2(start),
            Self::Cl100k { max_digits, joins_end } => scan.cl100k(start, max_digits, joins_end),
            Self::O200k => scan.o200k(start),
            Self::Digits | Self::DigitRuns => {
                let (class, len) = table.at(text, start);
                match class & NUMBER {
                    0 => scan.run_without(start + len, NUMBER),
                    _ if self == Self::Digits => start + len,
                    _ => scan.run(start + len, NUMBER),
                }
            }
            Self::Words => scan.word(start + 1),
            Self::WordRuns => {
                let mut at = start;
                while text.get(at..).is_some_and(|rest| rest.starts_with(&WORD_MARK_BYTES)) {
                    at += WORD_MARK_BYTES.len();
                }
                scan.word(at.max(start + 1))
            }
        }
    }
}

/// A text and the table, to keep the arguments few.
#[derive(Clone, Copy)]
struct Scan<'a> {
    table: &'a Classes,
    text: &'a [u8],
}

impl Scan<'_> {
    #[inline]
    fn class(self, at: usize) -> (u8, usize) {
        self.table.at(self.text, at)
    }

    /// End of the run of characters from `at` that have one of the `flags`.
    #[inline]
    fn run(self, mut at: usize, flags: u8) -> usize {
        loop {
            at = self.table.ascii_run(self.text, at, flags, true);
            let (class, len) = self.class(at);
            if class & flags == 0 {
                return at;
            }
            at += len;
        }
    }

    /// End of the run of characters from `at` that have none of the `flags`.
    #[inline]
    fn run_without(self, mut at: usize, flags: u8) -> usize {
        loop {
            at = self.table.ascii_run(self.text, at, flags, false);
            let (class, len) = self.class(at);
            if class & (flags | END) != 0 {
                return at;
            }
            at += len;
        }
    }

    fn run_of(self, mut at: usize, bytes: &[u8]) -> usize {
        while self.text.get(at).is_some_and(|byte| bytes.contains(byte)) {
            at += 1;
        }
        at
    }

    /// The first word mark from `at`, else the end.
    #[inline]
    fn word(self, mut at: usize) -> usize {
        let from = |at| self.text.get(at..).unwrap_or_default();
        while let Some(skipped) = memchr::memchr(WORD_MARK_BYTES[0], from(at)) {
            at += skipped;
            if from(at).starts_with(&WORD_MARK_BYTES) {
                return at;
            }
            at += 1;
        }
        self.text.len()
    }

    /// Length of an English contraction at `at`, 0 for none.
    #[inline]
    fn contraction(self, at: usize, any_case: bool) -> usize {
        if self.text.get(at) != Some(&b'\'') {
            return 0;
        }
        let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
        let first = self.text.get(at + 1).copied().map_or(0, fold);
        let second = self.text.get(at + 2).copied().map_or(0, fold);
        match (first, second) {
            (b's' | b't' | b'm' | b'd', _) => 2,
            (b'r' | b'v', b'e') | (b'l', b'l') => 3,
            // U+017F, the long s, folds to s.
            (0xc5, 0xbf) if any_case => 3,
            _ => 0,
        }
    }

    #[inline]
    fn gpt2(self, start: usize) -> usize {
        match self.contraction(start, false) {
            0 => {}
            len => return start + len,
        }
        let (mut class, mut len) = self.class(start);
        let mut at = start;
        if self.text.get(start) == Some(&b' ') {
            let (next, next_len) = self.class(start + 1);
            if next & (SPACE | END) == 0 {
                (class, len, at) = (next, next_len, start + 1);
            }
        }
        if class & LETTER != 0 {
            self.run(at + len, LETTER)
        } else if class & NUMBER != 0 {
            self.run(at + len, NUMBER)
        } else if class & SPACE != 0 {
            self.spaces(start)
        } else {
            self.run_without(at + len, WORD)
        }
    }

    /// `\s+(?!\S)|\s+`: the last white space before a word is left for the word.
    #[inline]
    fn spaces(self, start: usize) -> usize {
        let (mut at, mut last) = (start, start);
        loop {
            let (class, len) = self.class(at);
            if class & SPACE == 0 {
                return if class == END || last == start { at } else { last };
            }
            last = at;
            at += len;
        }
    }

    #[inline]
    fn cl100k(self, start: usize, max_digits: usize, joins_end: bool) -> usize {
        match self.contraction(start, true) {
            0 => {}
            len => return start + len,
        }
        let (class, len) = self.class(start);
        if class & LETTER != 0 {
            return self.run(start + len, LETTER);
        }
        if class & NUMBER != 0 {
            return self.digits(start, max_digits);
        }
        let first = self.text.get(start).copied().unwrap_or(0);
        let (next, next_len) = self.class(start + len);
        if next & LETTER != 0 && first != b'\n' && first != b'\r' {
            return self.run(start + len + next_len, LETTER);
        }
        self.rest(start, class, joins_end, b"\r\n")
    }

    fn digits(self, start: usize, max_digits: usize) -> usize {
        let mut at = start;
        for _ in 0..max_digits {
            let (class, len) = self.class(at);
            if class & NUMBER == 0 {
                break;
            }
            at += len;
        }
        at
    }

    /// What follows the letters and digits in cl100k and o200k: punctuation and white space.
    #[inline]
    fn rest(self, start: usize, class: u8, joins_end: bool, closing: &[u8]) -> usize {
        let mut at = start;
        if self.text.get(start) == Some(&b' ') {
            at += 1;
            if self.class(at).0 & (WORD | END) != 0 {
                at = start;
            }
        }
        if at > start || class & SPACE == 0 {
            return self.run_of(self.run_without(at, WORD), closing);
        }
        let end = self.run(start, SPACE);
        if joins_end && end == self.text.len() {
            return end;
        }
        let spaces = self.text.get(start..end).unwrap_or_default();
        match spaces.iter().rposition(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(last) => start + last + 1,
            None => self.spaces(start),
        }
    }

    fn o200k(self, start: usize) -> usize {
        let (class, len) = self.class(start);
        if class & NUMBER != 0 {
            return self.digits(start, 3);
        }
        let first = self.text.get(start).copied().unwrap_or(0);
        let prefix = class & LETTER == 0 && first != b'\n' && first != b'\r';
        let after = start + len;
        let word = prefix
            .then(|| self.lower_word(after))
            .flatten()
            .or_else(|| self.lower_word(start))
            .or_else(|| prefix.then(|| self.upper_word(after)).flatten())
            .or_else(|| self.upper_word(start));
        match word {
            Some(end) => end + self.contraction(end, true),
            None => self.rest(start, class, false, b"\r\n/"),
        }
    }

    /// `U*W+`: upper case, then at least one that is lower case; the run of both may overlap.
    fn lower_word(self, start: usize) -> Option<usize> {
        let (mut at, mut overlap) = (start, None);
        loop {
            let (class, len) = self.class(at);
            if class & UPPERS == 0 {
                return if class & LOWERS != 0 { Some(self.run(at + len, LOWERS)) } else { overlap };
            }
            at += len;
            if class & LOWERS != 0 {
                overlap = Some(at);
            }
        }
    }

    /// `U+W*`.
    fn upper_word(self, start: usize) -> Option<usize> {
        let end = self.run(start, UPPERS);
        (end > start).then(|| self.run(end, LOWERS))
    }
}
