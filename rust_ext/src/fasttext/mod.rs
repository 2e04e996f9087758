//! fastText models (Joulin et al. 2016, arXiv:1607.01759): supervised `.bin` and `.ftz` files, read with bounds
//! checks and scored as the reference implementation scores them.
//!
//! A text is one line: a newline separates words like any white space. Where there are fewer outputs than
//! dimensions the output matrix is folded into the input rows, which gives the same numbers up to rounding from
//! rows that are shorter. Probabilities are those that the reference reports, which adds 1e-5 before it takes a
//! logarithm.
//!
//! Not here: training, word vectors.

mod dictionary;
mod group;
mod matrix;
mod reader;
mod scores;
mod words;

use std::path::Path;

use dictionary::{Dictionary, Features};
pub use group::{Classifier, Labels};
use matrix::Matrix;
use reader::Reader;
pub use scores::{Scorer, Scores};

use crate::error::{Error, Result};

const MAGIC: i32 = 793_712_314;
const VERSIONS: std::ops::RangeInclusive<i32> = 11..=12;
const MAX_DIM: usize = 1 << 16;
const SUPERVISED: i32 = 3;
/// What the reference implementation takes for a count of a node that is not made yet.
const MAX_COUNT: i64 = 1_000_000_000_000_000;

/// How outputs become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A Huffman tree of binary decisions.
    HierarchicalSoftmax,
    /// Negative sampling or one against all: each label alone.
    Independent,
    /// One distribution over all labels.
    Softmax,
}

/// A model as it was read.
#[derive(Debug)]
pub struct Model {
    dictionary: Dictionary,
    loss: Loss,
    is_quantised: bool,
    input: Matrix,
    output: Matrix,
}

impl Model {
    /// Read a model file.
    ///
    /// # Errors
    /// `Error::Data` that says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self> {
        let named = |error: &dyn std::fmt::Display| Error::Data(format!("{}: {error}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| named(&error))?;
        Self::parse(&bytes).map_err(|error| named(&format!("no fastText model that can be read: {error}")))
    }

    /// Read a model from the bytes of a file. Memory: about the size of the file, and up to 1 GiB for a quantised
    /// matrix that is written out.
    ///
    /// # Errors
    /// As `open`, without the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let magic = reader.i32("the header")?;
        if magic != MAGIC {
            return Err(Error::Data(format!("it starts with {magic} instead of {MAGIC}")));
        }
        let version = reader.i32("the header")?;
        if !VERSIONS.contains(&version) {
            return Err(Error::Data(format!("format version 11 or 12 is known, not: {version}")));
        }
        let (dim, features, loss) = read_settings(&mut reader, version)?;
        let dictionary = Dictionary::read(&mut reader, features)?;
        let is_quantised = reader.bool("the kind of the input matrix")?;
        if dictionary.is_pruned() && !is_quantised {
            return Err(Error::Data("it is pruned but not quantised".into()));
        }
        let input = Matrix::read(&mut reader, dim, is_quantised, "the input matrix")?;
        let is_output_quantised = reader.bool("the kind of the output matrix")?;
        let output =
            Matrix::read(&mut reader, dim, is_quantised && is_output_quantised, "the output matrix")?;
        let (num_rows, num_labels) = (dictionary.num_rows(), dictionary.labels().len());
        if input.num_rows() < num_rows {
            let found = input.num_rows();
            return Err(Error::Data(format!("the input matrix has {found} rows instead of {num_rows}")));
        }
        if num_labels == 0 || output.num_rows() != num_labels {
            let found = output.num_rows();
            return Err(Error::Data(format!("the output matrix has {found} rows for {num_labels} labels")));
        }
        if loss == Loss::HierarchicalSoftmax {
            check_counts(dictionary.counts())?;
        }
        Ok(Self { dictionary, loss, is_quantised, input, output })
    }

    /// Labels without `__label__`, the most frequent in training first.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.dictionary.labels()
    }
}

/// The tree over labels is built from their counts; they are in order, or it would be none.
fn check_counts(counts: &[i64]) -> Result<()> {
    let total = counts.iter().try_fold(0i64, |sum, &count| sum.checked_add(count));
    if counts.is_sorted_by(|a, b| a >= b) && total.is_some_and(|total| total < MAX_COUNT) {
        return Ok(());
    }
    Err(Error::Data("the labels are not in the order of their counts".into()))
}

fn read_settings(reader: &mut Reader<'_>, version: i32) -> Result<(usize, Features, Loss)> {
    let what = "the settings";
    let dim = reader.size(4, MAX_DIM, "the dimension")?;
    // Window, epochs, least count, negatives: of training only.
    for _ in 0..4 {
        reader.i32(what)?;
    }
    let word_ngrams = reader.size(4, 1 << 10, "the length of word n-grams")?;
    let loss = match reader.i32(what)? {
        1 => Loss::HierarchicalSoftmax,
        2 | 4 => Loss::Independent,
        3 => Loss::Softmax,
        other => return Err(Error::Data(format!("the loss is 1 to 4, not: {other}"))),
    };
    let kind = reader.i32(what)?;
    if kind != SUPERVISED {
        return Err(Error::Data(format!("it is no classifier but a model of kind {kind}")));
    }
    let num_buckets = reader.size(4, i32::MAX as usize, "the number of buckets")?;
    let min_chars = reader.size(4, 1 << 10, "the least length of subwords")?;
    let max_chars = reader.size(4, 1 << 10, "the greatest length of subwords")?;
    reader.i32(what)?;
    reader.bytes(8, what)?;
    if dim == 0 {
        return Err(Error::Data("the dimension is 0".into()));
    }
    // Old classifiers have subwords in their settings and did not use them.
    let max_chars = if version == 11 { 0 } else { max_chars };
    Ok((dim, Features { word_ngrams, num_buckets: num_buckets as u32, min_chars, max_chars }, loss))
}
