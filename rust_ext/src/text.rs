//! The views of one document that every native measurement reads: characters, words and lines.

/// A byte range of the document's text, on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The slice of `text` that this span names; empty where the span is not of this text.
    #[must_use]
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
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
    /// Words in order, in the mode of the pass; no span is empty.
    pub words: &'a [Span],
    /// The pieces of `text` between `\n` characters (as Python's `text.split("\n")`), without the `\n`.
    pub lines: &'a [Span],
}
