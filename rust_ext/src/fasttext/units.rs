//! What is scored at a time: a document as a whole, or its parts, whose probabilities are brought together.

use std::ops::Range;

use crate::sentences;
use crate::text::Views;

/// What is scored at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The document as one line.
    #[default]
    Document,
    /// Each line that is not blank.
    Line,
    /// Each run of lines that are not blank.
    Paragraph,
    /// Each sentence, as `document.num_sentences` counts them.
    Sentence,
}

/// How the probabilities of parts become those of the document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The mean over parts.
    #[default]
    Mean,
    /// The greatest of each label.
    Max,
    /// The mean, each part with the weight of its bytes.
    LengthWeighted,
}

/// The byte ranges of the parts of a document, in order; none is blank.
pub fn parts(doc: &Views<'_>, unit: Unit, out: &mut Vec<Range<usize>>) {
    out.clear();
    match unit {
        Unit::Document => out.push(0..doc.text.len()),
        Unit::Sentence => sentences::parts(doc.text, out),
        Unit::Line | Unit::Paragraph => {
            let mut was_blank = true;
            for core in doc.cores {
                let is_blank = core.num_bytes() == 0;
                if !is_blank {
                    let range = core.start as usize..core.end as usize;
                    match out.last_mut().filter(|_| unit == Unit::Paragraph && !was_blank) {
                        Some(last) => last.end = range.end,
                        None => out.push(range),
                    }
                }
                was_blank = is_blank;
            }
        }
    }
}

/// Brings the probabilities of parts together.
#[derive(Debug, Default)]
pub struct Sums {
    values: Vec<f64>,
    weight: f64,
}

impl Sums {
    /// Nothing yet.
    pub fn clear(&mut self) {
        self.values.clear();
        self.weight = 0.0;
    }

    /// Take up a part of `num_bytes`.
    pub fn add(&mut self, probabilities: &[f32], num_bytes: usize, how: Aggregate) {
        self.values.resize(probabilities.len(), 0.0);
        let weight = if how == Aggregate::LengthWeighted { num_bytes as f64 } else { 1.0 };
        self.weight += weight;
        for (sum, &value) in self.values.iter_mut().zip(probabilities) {
            let value = f64::from(value);
            *sum = if how == Aggregate::Max { sum.max(value) } else { *sum + weight * value };
        }
    }

    /// The probabilities of the document; none where there was no part.
    pub fn finish(&self, how: Aggregate, out: &mut Vec<f32>) {
        let scale = if how == Aggregate::Max { 1.0 } else { self.weight };
        out.clear();
        out.extend(self.values.iter().map(|&sum| (sum / scale) as f32));
    }
}
