//! The signals of FineWeb's quality rules (Penedo et al. 2024), as datatrove's `FineWebQualityFilter` measures them.
//!
//! Lines are the pieces between `\n` that are not blank. A document without such lines has no fractions: the
//! filter drops it as empty.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, UInt32Builder};

use crate::measure::Signals;
use crate::ngram::NGrams;
use crate::pystr;
use crate::text::{Span, Views};

const NUM_LINES: &str = "fineweb.num_lines";
const FRACTIONS: [&str; 4] = [
    "fineweb.line_punct_frac",
    "fineweb.short_line_frac",
    "fineweb.char_dup_frac",
    "fineweb.newline_word_frac",
];

const SHORT_LINE_CHARS: usize = 30;

/// The `fineweb.*` columns.
#[derive(Default)]
pub struct FineWeb {
    lines: Vec<Span>,
    numbers: NGrams,
    num_lines: UInt32Builder,
    fractions: [Float64Builder; FRACTIONS.len()],
}

impl Signals for FineWeb {
    fn push(&mut self, doc: &Views<'_>) {
        self.lines.clear();
        self.lines.extend(doc.lines.iter().filter(|line| !is_blank(line.of(doc.text))));
        let lines = || self.lines.iter().map(|line| line.of(doc.text));
        let punct = lines().filter(|line| line.chars().next_back().is_some_and(pystr::is_terminal)).count();
        let short = lines().filter(|line| is_short(line)).count();
        let newlines = doc.lines.len() - 1;
        let num_lines = self.lines.len();
        self.num_lines.append_value(u32::try_from(num_lines).unwrap_or(u32::MAX));
        let values = [
            ratio(punct, num_lines),
            ratio(short, num_lines),
            ratio(self.repeated_chars(doc.text), doc.num_chars - newlines).filter(|_| num_lines > 0),
            ratio(newlines, doc.words.len()),
        ];
        for (column, value) in self.fractions.iter_mut().zip(values) {
            column.append_option(value);
        }
    }

    fn push_null(&mut self) {
        self.num_lines.append_null();
        self.fractions.iter_mut().for_each(Float64Builder::append_null);
    }

    fn finish(mut self: Box<Self>) -> Vec<(String, ArrayRef)> {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![(NUM_LINES.into(), Arc::new(self.num_lines.finish()))];
        for (name, column) in FRACTIONS.iter().zip(&mut self.fractions) {
            columns.push(((*name).into(), Arc::new(column.finish())));
        }
        columns
    }
}

impl FineWeb {
    /// Characters of the lines that were there before.
    fn repeated_chars(&mut self, text: &str) -> usize {
        self.numbers.number(text.as_bytes(), &self.lines);
        if self.numbers.counts().len() == self.lines.len() {
            return 0;
        }
        let mut num_seen = 0;
        let mut chars = 0;
        for (&id, line) in self.numbers.ids().iter().zip(&self.lines) {
            if id == num_seen {
                num_seen += 1;
            } else {
                chars += pystr::len(line.of(text));
            }
        }
        chars
    }
}

fn is_blank(line: &str) -> bool {
    match line.as_bytes().first() {
        Some(byte) if byte.is_ascii_graphic() => false,
        _ => pystr::strip_start(line).is_empty(),
    }
}

fn is_short(line: &str) -> bool {
    line.len() <= SHORT_LINE_CHARS
        || (line.len() <= 4 * SHORT_LINE_CHARS && pystr::len(line) <= SHORT_LINE_CHARS)
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_are_counted_in_characters() {
        assert!(is_short(&"\u{4e2d}".repeat(30)) && !is_short(&"\u{4e2d}".repeat(31)));
        assert!(is_short(&"a".repeat(30)) && !is_short(&"a".repeat(31)) && !is_short(&"a".repeat(121)));
    }

    #[test]
    fn repeated_lines_count_from_the_second_occurrence() {
        let text = "abcabab";
        let spans = [(0, 1), (1, 2), (3, 4), (4, 5), (2, 3), (5, 7)];
        let lines = spans.map(|(start, end)| Span { start, end }).to_vec();
        let mut group = FineWeb { lines, ..FineWeb::default() };
        assert_eq!(group.repeated_chars(text), 2);
    }
}
