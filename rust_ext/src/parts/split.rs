//! Where the paragraphs or lines of a text are.
//!
//! Everything follows from the words that white space (Python's) separates: two words are in different
//! lines where a `\n` lies between them, in different paragraphs where two do, that is a blank line. So
//! parts are never blank. Linear in the text, at about 1 GB/s.

use std::str::FromStr;

use crate::error::Error;
use crate::runs::{Run, runs};

/// What texts are cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Lines without a blank one between them.
    Paragraph,
    /// What lies between `\n` characters.
    Line,
}

impl Unit {
    /// How many `\n` between two words put them into different parts.
    fn num_breaks(self) -> usize {
        match self {
            Self::Paragraph => 2,
            Self::Line => 1,
        }
    }
}

impl FromStr for Unit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "paragraph" => Ok(Self::Paragraph),
            "line" => Ok(Self::Line),
            _ => Err(Error::Config(format!("units are paragraph and line, not: {name}"))),
        }
    }
}

/// A paragraph or line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First byte of its first line, with the white space there.
    pub start: usize,
    /// First byte of its first word.
    pub first_word: usize,
    /// One past the last byte of its last word.
    pub end: usize,
    /// Words that white space separates, at least one.
    pub num_words: usize,
    /// Whether one space lies between any two of its words.
    is_plain: bool,
}

impl Part {
    /// What is compared of it: its words with one space between them; `buffer` is where they are put where
    /// need be.
    pub fn key<'a>(&self, text: &'a str, buffer: &'a mut Vec<u8>) -> &'a [u8] {
        let words = text.get(self.first_word..self.end).unwrap_or("");
        if self.is_plain {
            return words.as_bytes();
        }
        buffer.clear();
        runs(words, Run::Visible, |start, end| {
            if !buffer.is_empty() {
                buffer.push(b' ');
            }
            buffer.extend_from_slice(words.as_bytes().get(start..end).unwrap_or(&[]));
        });
        buffer
    }
}

/// Replace `parts` by those of `text`, in order.
pub fn split(text: &str, unit: Unit, parts: &mut Vec<Part>) {
    parts.clear();
    let bytes = text.as_bytes();
    let mut end_of_last = 0;
    runs(text, Run::Visible, |start, end| {
        let gap = bytes.get(end_of_last..start).unwrap_or(&[]);
        match parts.last_mut() {
            Some(part) if gap == b" " || count_breaks(gap) < unit.num_breaks() => {
                part.end = end;
                part.num_words += 1;
                part.is_plain &= gap == b" ";
            }
            _ => {
                let before = gap.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                parts.push(Part {
                    start: end_of_last + before,
                    first_word: start,
                    end,
                    num_words: 1,
                    is_plain: true,
                });
            }
        }
        end_of_last = end;
    });
}

fn count_breaks(gap: &[u8]) -> usize {
    gap.iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str, unit: Unit) -> Vec<String> {
        let (mut parts, mut buffer) = (Vec::new(), Vec::new());
        split(text, unit, &mut parts);
        let key = |part: &Part| String::from_utf8(part.key(text, &mut buffer).to_vec()).unwrap();
        parts.iter().map(key).collect()
    }

    #[test]
    fn lines_and_paragraphs_are_those_of_the_words() {
        let text = "\n  a  b\r\nc d\n \t\n\u{a0}e\u{2028}f\n";
        assert_eq!(keys(text, Unit::Line), ["a b", "c d", "e f"]);
        assert_eq!(keys(text, Unit::Paragraph), ["a b c d", "e f"]);
        assert_eq!(keys(" \n\n", Unit::Line), [""; 0]);
    }
}
