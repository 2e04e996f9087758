//! Identity and sizes of a document.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{FixedSizeBinaryBuilder, UInt32Builder};

use crate::hash;
use crate::measure::Signals;
use crate::sentences;
use crate::text::{Reads, Views};

/// `doc_id` and `document.num_bytes`: what duplicates need to know of a document beside signatures.
pub struct Identity {
    ids: FixedSizeBinaryBuilder,
    sizes: UInt32Builder,
}

impl Default for Identity {
    fn default() -> Self {
        Self { ids: FixedSizeBinaryBuilder::new(16), sizes: UInt32Builder::new() }
    }
}

impl Signals for Identity {
    fn push(&mut self, doc: &Views<'_>) {
        // The width is the builder's own, so this cannot fail.
        let _ = self.ids.append_value(hash::id(doc.text.as_bytes()));
        self.sizes.append_value(u32::try_from(doc.text.len()).unwrap_or(u32::MAX));
    }

    fn push_null(&mut self) {
        self.ids.append_null();
        self.sizes.append_null();
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        vec![
            ("doc_id".into(), Arc::new(self.ids.finish())),
            ("document.num_bytes".into(), Arc::new(self.sizes.finish())),
        ]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }
}

const COUNTS: [&str; 5] = [
    "document.num_chars",
    "document.num_words",
    "document.num_lines",
    "document.num_sentences",
    "document.num_paragraphs",
];

/// The other `document.*` columns.
#[derive(Default)]
pub struct Document {
    counts: [UInt32Builder; COUNTS.len()],
}

impl Signals for Document {
    fn push(&mut self, doc: &Views<'_>) {
        let values = [
            doc.num_chars,
            doc.words.len(),
            num_lines(doc),
            sentences::count(doc.text),
            num_paragraphs(doc),
        ];
        for (column, value) in self.counts.iter_mut().zip(values) {
            column.append_value(u32::try_from(value).unwrap_or(u32::MAX));
        }
    }

    fn push_null(&mut self) {
        self.counts.iter_mut().for_each(UInt32Builder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let columns = COUNTS.iter().zip(&mut self.counts);
        columns.map(|(name, column)| ((*name).into(), Arc::new(column.finish()) as ArrayRef)).collect()
    }

    fn reads(&self) -> Reads {
        Reads { words: true, ..Reads::default() }
    }
}

/// Lines as a reader counts them: a `\n` at the very end starts no further line; no text, no line.
fn num_lines(doc: &Views<'_>) -> usize {
    doc.lines.len() - usize::from(doc.text.is_empty() || doc.text.ends_with('\n'))
}

/// Runs of non-blank lines.
fn num_paragraphs(doc: &Views<'_>) -> usize {
    let mut count = 0;
    let mut was_blank = true;
    for (line, core) in doc.iter_lines().zip(doc.cores) {
        // Python's white space holds Unicode's and U+001C to U+001F.
        let is_blank = core.num_bytes() == 0 && line.chars().all(char::is_whitespace);
        count += usize::from(was_blank && !is_blank);
        was_blank = is_blank;
    }
    count
}
