//! The signals of FineWeb's quality rules (Penedo et al. 2024), as datatrove's `FineWebQualityFilter` measures them.
//!
//! Lines are the pieces between `\n` that are not blank. A document without such lines has no fractions: the
//! filter drops it as empty.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{Float64Builder, UInt32Builder};

use crate::measure::Signals;
use crate::pystr;
use crate::text::{Reads, Views};

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
    num_lines: UInt32Builder,
    fractions: [Float64Builder; FRACTIONS.len()],
}

impl Signals for FineWeb {
    fn push(&mut self, doc: &Views<'_>) {
        let lines = Lines::of(doc);
        let newlines = doc.lines.len() - 1;
        let num_lines = lines.all;
        self.num_lines.append_value(u32::try_from(num_lines).unwrap_or(u32::MAX));
        let values = [
            ratio(lines.punct, num_lines),
            ratio(lines.short, num_lines),
            ratio(lines.repeated_chars, doc.num_chars - newlines).filter(|_| num_lines > 0),
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

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let mut columns: Vec<(String, ArrayRef)> =
            vec![(NUM_LINES.into(), Arc::new(self.num_lines.finish()))];
        for (name, column) in FRACTIONS.iter().zip(&mut self.fractions) {
            columns.push(((*name).into(), Arc::new(column.finish())));
        }
        columns
    }

    fn reads(&self) -> Reads {
        Reads { words: true, repeated_lines: true, ..Reads::default() }
    }
}

/// What the rules ask of the lines that are not blank.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    all: usize,
    /// With the end of a sentence as their last character.
    punct: usize,
    short: usize,
    /// Characters of the lines that were there before.
    repeated_chars: usize,
}

impl Lines {
    fn of(doc: &Views<'_>) -> Self {
        let mut out = Self::default();
        for ((line, core), &is_repeated) in doc.iter_lines().zip(doc.cores).zip(doc.repeated_lines) {
            if core.num_bytes() == 0 {
                continue;
            }
            out.all += 1;
            out.punct += usize::from(line.chars().next_back().is_some_and(pystr::is_terminal));
            out.short += usize::from(is_short(line));
            out.repeated_chars += if is_repeated { pystr::len(line) } else { 0 };
        }
        out
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
    use crate::text::Segments;

    #[test]
    fn short_lines_are_counted_in_characters() {
        assert!(is_short(&"\u{4e2d}".repeat(30)) && !is_short(&"\u{4e2d}".repeat(31)));
        assert!(is_short(&"a".repeat(30)) && !is_short(&"a".repeat(31)) && !is_short(&"a".repeat(121)));
    }

    #[test]
    fn repeated_lines_count_from_the_second_occurrence() {
        let text = "a\nbc\n \nbc\n\u{e9}.\na\n \n\u{e9}.";
        let mut segments = Segments::default();
        let doc = segments.view(text, |_, _| (), FineWeb::default().reads());
        assert_eq!(Lines::of(&doc), Lines { all: 6, punct: 2, short: 6, repeated_chars: 5 });
    }
}
