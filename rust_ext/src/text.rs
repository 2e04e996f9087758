//! The views of one document that every native measurement reads: characters, words and lines.

use crate::fasttext::tokens::Token;
use crate::repeats::Repeats;
use crate::simd::{BLOCK, block_at};
use crate::{pystr, uax29, words_en};

/// Documents of this many bytes or more get no row: spans are 32 bits wide.
pub const MAX_TEXT_BYTES: usize = u32::MAX as usize;

/// A byte range of the document's text, on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span of byte positions below 4 GiB.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "texts are below 4 GiB")]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// The slice of `text` that this span names; empty where the span is not of this text.
    #[must_use]
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
    }

    /// Bytes in the span.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// How text is split into words; part of every fingerprint that depends on words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum WordMode {
    /// Unicode UAX #29 word boundaries, white space dropped, punctuation kept as tokens.
    #[serde(rename = "uax29")]
    Uax29,
    /// The English splitting that datatrove's published thresholds were tuned on.
    #[serde(rename = "datatrove-en")]
    DatatroveEn,
}

/// One document, segmented once; all groups of signals read these views while they are in cache.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a> {
    /// The text, valid UTF-8, shorter than 4 GiB.
    pub text: &'a str,
    /// Whether all bytes are below 0x80.
    pub is_ascii: bool,
    /// Unicode scalar values in `text`.
    pub num_chars: usize,
    /// The string that the spans in `words` index: `text` itself, or the given words one after another.
    pub words_text: &'a str,
    /// Words in order, in the mode of the pass; no span is empty. They index `words_text`, not `text`.
    pub words: &'a [Span],
    /// The pieces of `text` between `\n` characters (as Python's `text.split("\n")`), without the `\n`.
    pub lines: &'a [Span],
    /// Each of `lines` without the white space around it, as `str.strip` has it.
    pub cores: &'a [Span],
    /// For each of `lines`, whether an earlier one is equal; empty where no group asked for it.
    pub repeated_lines: &'a [bool],
    /// Whether `str.splitlines` ends lines at anything but `\n`.
    pub has_other_breaks: bool,
    /// fastText's tokens of `text`; empty where no group asked for them. All groups of a pass share them.
    pub tokens: &'a [Token],
}

/// What groups read, beside the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reads {
    /// The lines, and what kind of characters there are and how many.
    pub lines: bool,
    /// The words.
    pub words: bool,
    /// Which lines are repeated.
    pub repeated_lines: bool,
    /// fastText's tokens.
    pub tokens: bool,
}

impl Default for Reads {
    /// Only the lines.
    fn default() -> Self {
        Self { lines: true, ..Self::NOTHING }
    }
}

impl Reads {
    /// Only the text.
    pub const NOTHING: Self = Self { lines: false, words: false, repeated_lines: false, tokens: false };

    /// What either of the two reads.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            lines: self.lines | other.lines,
            words: self.words | other.words,
            repeated_lines: self.repeated_lines | other.repeated_lines,
            tokens: self.tokens | other.tokens,
        }
    }
}

impl<'a> Views<'a> {
    /// The word at `index` of `words`.
    #[must_use]
    pub fn word(&self, index: usize) -> &'a str {
        self.words.get(index).map_or("", |span| span.of(self.words_text))
    }

    /// The lines as `str.splitlines` has them, each with what `str.strip` leaves of it.
    pub fn iter_python_lines(&self) -> impl Iterator<Item = (Span, Span)> + use<'a> {
        // Nothing follows the last line feed, so there is no line there.
        let num_lines =
            self.lines.len() - usize::from(self.lines.last().is_some_and(|line| line.num_bytes() == 0));
        let lines = if self.has_other_breaks { &[] } else { self.lines.get(..num_lines).unwrap_or(&[]) };
        let text = self.text;
        let others = self.has_other_breaks.then(|| pystr::split_lines(text));
        let others = others.into_iter().flatten().map(move |line| (line, core(text, line)));
        lines.iter().copied().zip(self.cores.iter().copied()).chain(others)
    }

    /// All lines in order.
    pub fn iter_lines(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'a> {
        let text = self.text;
        self.lines.iter().map(move |span| span.of(text))
    }
}

/// Appends the words of a text to a list.
pub type Split = fn(&str, &mut Vec<Span>);

/// The word splitter of a mode.
#[must_use]
pub fn splitter(mode: WordMode) -> Split {
    match mode {
        WordMode::Uax29 => uax29::split,
        WordMode::DatatroveEn => words_en::split,
    }
}

/// Segments documents one after another into the same buffers.
#[derive(Debug, Default)]
pub struct Segments {
    words: Vec<Span>,
    lines: Vec<Span>,
    cores: Vec<Span>,
    words_text: String,
    repeats: Repeats,
    repeated_lines: Vec<bool>,
}

impl Segments {
    /// Segment `text` as far as it is read.
    pub fn view<'a>(&'a mut self, text: &'a str, split: Split, reads: Reads) -> Views<'a> {
        self.words.clear();
        if reads.words {
            split(text, &mut self.words);
        }
        self.finish(text, reads, false)
    }

    /// Segment `text`, with the words given by the caller; empty words are dropped.
    pub fn view_given<'a, 'w>(
        &'a mut self,
        text: &'a str,
        words: impl Iterator<Item = &'w str>,
        reads: Reads,
    ) -> Views<'a> {
        self.words.clear();
        self.words_text.clear();
        for word in words.filter(|word| !word.is_empty()) {
            let start = self.words_text.len();
            self.words_text.push_str(word);
            self.words.push(Span::new(start, self.words_text.len()));
        }
        self.finish(text, reads, true)
    }

    fn finish<'a>(&'a mut self, text: &'a str, reads: Reads, given: bool) -> Views<'a> {
        self.lines.clear();
        self.cores.clear();
        if reads.lines {
            split_lines(text, &mut self.lines);
            self.cores.extend(self.lines.iter().map(|&line| core(text, line)));
        }
        self.repeated_lines.clear();
        if reads.repeated_lines {
            self.repeats.mark(text, &self.lines, &mut self.repeated_lines);
        }
        let is_ascii = reads.lines && text.is_ascii();
        Views {
            text,
            is_ascii,
            num_chars: if is_ascii || !reads.lines { text.len() } else { count_chars(text) },
            words_text: if given { &self.words_text } else { text },
            words: &self.words,
            lines: &self.lines,
            cores: &self.cores,
            repeated_lines: &self.repeated_lines,
            has_other_breaks: reads.lines && pystr::has_other_breaks(text),
            tokens: &[],
        }
    }
}

/// Number of Unicode scalar values of `text`.
#[must_use]
pub fn count_chars(text: &str) -> usize {
    text.chars().count()
}

fn split_lines(text: &str, lines: &mut Vec<Span>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for at in (0..bytes.len()).step_by(BLOCK) {
        let mut ends = block_at(bytes, at).0.any_of([b'\n']);
        while ends != 0 {
            let end = at + ends.trailing_zeros() as usize;
            lines.push(Span::new(start, end));
            start = end + 1;
            ends &= ends - 1;
        }
    }
    lines.push(Span::new(start, bytes.len()));
}

/// What `str.strip` leaves of a line.
#[inline]
#[must_use]
pub fn core(text: &str, line: Span) -> Span {
    let bytes = text.as_bytes().get(line.start as usize..line.end as usize).unwrap_or(&[]);
    if let (Some(first), Some(last)) = (bytes.first(), bytes.last())
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return line;
    }
    let rest = pystr::strip_start(line.of(text));
    let start = line.end as usize - rest.len();
    Span::new(start, start + pystr::strip_end(rest).len())
}
