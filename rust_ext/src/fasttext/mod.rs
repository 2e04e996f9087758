//! fastText models (Joulin et al. 2016, arXiv:1607.01759): supervised `.bin` and `.ftz` files, read with bounds
//! checks and scored as the reference implementation scores them.
//!
//! A text is one line: a newline separates words like any white space, and a word `</s>` ends it. Where there are fewer outputs than
//! dimensions the output matrix is folded into the input rows, which gives the same numbers up to rounding from
//! rows that are shorter: a classifier of two labels, 2 million buckets and 100 dimensions takes 16 MB instead of
//! 800. Probabilities are those that the reference reports, which adds 1e-5 before it takes a logarithm.
//!
//! `train` makes models. Not here: word vectors.

mod buckets;
mod columns;
mod dictionary;
mod group;
mod head;
mod matrix;
mod reader;
mod scores;
pub mod tokens;
pub mod train;
mod units;
mod words;

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::Path;

use dictionary::{Dictionary, Features};
pub use group::{Classifier, Labels};
pub use head::{Loss, Scored};
use matrix::{Matrix, Products, read_dense, read_quantised, read_shape};
use reader::Reader;
pub use scores::{Scorer, Scratch};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::hash;

const MAGIC: i32 = 793_712_314;
const VERSIONS: std::ops::RangeInclusive<i32> = 11..=12;
const MAX_DIM: usize = 1 << 16;
const SUPERVISED: i32 = 3;

/// A model as it was read.
#[derive(Debug)]
pub struct Model {
    dictionary: Dictionary,
    settings: Settings,
    loss: Loss,
    is_quantised: bool,
    /// Rows to add up for a text: of the input matrix, or their products with the output matrix.
    rows: Matrix,
    /// None where it is folded into the rows.
    output: Option<Matrix>,
}

/// The settings of training, as the file has them.
#[derive(Debug, Clone, Copy)]
struct Settings {
    version: i32,
    dim: usize,
    epochs: i32,
    min_count: i32,
    has_quantised_output: bool,
}

impl Model {
    /// Read a model file.
    ///
    /// # Errors
    /// `Error::Data` that says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_if(path, None)
    }

    /// As `open`, for a file whose content has this fingerprint and no other.
    ///
    /// # Errors
    /// As `open`, and where the content is another.
    pub fn open_if(path: &Path, fingerprint: Option<&str>) -> Result<Self> {
        let named = |error: &dyn std::fmt::Display| Error::Data(format!("{}: {error}", path.display()));
        let mut file = File::open(path).map_err(|error| named(&error))?;
        if let Some(expected) = fingerprint {
            let found = hash::hex(hash::content(&mut file).map_err(|error| named(&error))?);
            if found != expected {
                return Err(named(&format!(
                    "the model changed meanwhile, run again; its hash was {expected}: {found}"
                )));
            }
        }
        Self::read(BufReader::with_capacity(1 << 18, file))
            .map_err(|error| named(&format!("no fastText model that can be read: {error}")))
    }

    /// Read a model from the bytes of a file.
    ///
    /// # Errors
    /// As `read`.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        Self::read(Cursor::new(bytes))
    }

    /// Read a model. Memory: the words, and the rows that scoring needs; where these are folded the matrix is never
    /// in memory as a whole. A quantised matrix is written out, up to 1 GiB.
    ///
    /// # Errors
    /// As `open`, without the file's name.
    pub fn read(source: impl BufRead + Seek) -> Result<Self> {
        let reader = &mut Reader::new(source)?;
        let magic = reader.i32("the header")?;
        if magic != MAGIC {
            return Err(Error::Data(format!("it starts with {magic} instead of {MAGIC}")));
        }
        let (mut settings, features, loss) = read_settings(reader)?;
        let dictionary = Dictionary::read(reader, features)?;
        let is_quantised = reader.bool("the kind of the input matrix")?;
        if dictionary.kept_rows().is_some() && !is_quantised {
            return Err(Error::Data("it is pruned but not quantised".into()));
        }
        let input = Input::read(reader, settings.dim, is_quantised)?;
        settings.has_quantised_output = reader.bool("the kind of the output matrix")? && is_quantised;
        let read_output = if settings.has_quantised_output { read_quantised } else { read_dense };
        let output = read_output(reader, settings.dim, "the output matrix")?;
        check_rows(&dictionary, input.num_rows(), output.num_rows())?;
        if loss == Loss::HierarchicalSoftmax {
            check_counts(dictionary.counts())?;
        }
        // Not for labels alone: the table of the logistic function has steps, which rounding would cross.
        let is_folded = output.num_rows() < settings.dim && !loss.is_independent();
        let rows = input.into_rows(reader, is_folded.then_some(&output))?;
        let rows = match dictionary.kept_rows() {
            None => rows,
            Some(kept) => rows.reordered(dictionary.num_words(), kept),
        };
        let output = (!is_folded).then_some(output);
        Ok(Self { dictionary, settings, loss, is_quantised, rows, output })
    }

    /// Labels without `__label__`, the most frequent in training first.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.dictionary.labels()
    }

    /// What is in the file, for people.
    #[must_use]
    pub fn describe(&self) -> Value {
        let Settings { version, dim, epochs, min_count, has_quantised_output } = self.settings;
        let features = self.dictionary.features();
        let labels = self.labels().iter().zip(self.dictionary.counts());
        let loss = match self.loss {
            Loss::HierarchicalSoftmax => "hs",
            Loss::NegativeSampling => "ns",
            Loss::OneVsAll => "ova",
            Loss::Softmax => "softmax",
        };
        json!({
            "format": "fasttext",
            "version": version,
            "loss": loss,
            "dim": dim,
            "num_words": self.dictionary.num_words(),
            "num_labels": self.labels().len(),
            "labels": labels.map(|(name, count)| json!({"label": name, "count": count})).collect::<Vec<_>>(),
            "word_ngrams": features.word_ngrams,
            "num_buckets": features.num_buckets,
            "num_kept_buckets": self.dictionary.kept_rows().map(<[u32]>::len),
            "min_chars": features.min_chars,
            "max_chars": features.max_chars,
            "epochs": epochs,
            "min_count": min_count,
            "is_quantised": self.is_quantised,
            "has_quantised_output": has_quantised_output,
            "is_folded": self.output.is_none(),
            "bytes_in_memory": self.rows.num_bytes() + self.output.as_ref().map_or(0, Matrix::num_bytes),
        })
    }
}

/// The input matrix, or where it is in the file.
enum Input {
    Read(Matrix),
    Ahead { position: u64, num_rows: usize, dim: usize },
}

const INPUT: &str = "the input matrix";

impl Input {
    fn read<S: BufRead + Seek>(reader: &mut Reader<S>, dim: usize, is_quantised: bool) -> Result<Self> {
        if is_quantised {
            return read_quantised(reader, dim, INPUT).map(Self::Read);
        }
        let num_rows = read_shape(reader, dim, INPUT)?;
        let position = reader.position();
        reader.skip(num_rows.saturating_mul(4 * dim), INPUT)?;
        Ok(Self::Ahead { position, num_rows, dim })
    }

    fn num_rows(&self) -> usize {
        match self {
            Self::Read(matrix) => matrix.num_rows(),
            Self::Ahead { num_rows, .. } => *num_rows,
        }
    }

    /// The rows, or their products with those of `output`.
    fn into_rows<S: BufRead + Seek>(self, reader: &mut Reader<S>, output: Option<&Matrix>) -> Result<Matrix> {
        match (self, output) {
            (Self::Read(matrix), None) => Ok(matrix),
            (Self::Read(matrix), Some(output)) => Ok(matrix.products(output)),
            (Self::Ahead { position, num_rows, dim }, output) => {
                reader.go_to(position, INPUT)?;
                let Some(output) = output else {
                    return Ok(Matrix::new(dim, reader.floats(num_rows * dim, INPUT)?));
                };
                let mut products = Products::new(output, num_rows);
                reader.rows(num_rows, dim, INPUT, |rows| products.extend(rows))?;
                Ok(products.finish())
            }
        }
    }
}

fn check_rows(dictionary: &Dictionary, num_inputs: usize, num_outputs: usize) -> Result<()> {
    let (num_rows, num_labels) = (dictionary.num_rows(), dictionary.labels().len());
    if num_inputs < num_rows {
        return Err(Error::Data(format!("the input matrix has {num_inputs} rows instead of {num_rows}")));
    }
    if num_labels == 0 || num_outputs != num_labels {
        return Err(Error::Data(format!("the output matrix has {num_outputs} rows for {num_labels} labels")));
    }
    Ok(())
}

/// The tree over labels is built from their counts; they are in order, or it would be none.
fn check_counts(counts: &[i64]) -> Result<()> {
    let total = counts.iter().try_fold(0i64, |sum, &count| sum.checked_add(count));
    if counts.is_sorted_by(|a, b| a >= b) && total.is_some_and(|total| total < head::MAX_COUNT) {
        return Ok(());
    }
    Err(Error::Data("the labels are not in the order of their counts".into()))
}

fn read_settings<S: BufRead + Seek>(reader: &mut Reader<S>) -> Result<(Settings, Features, Loss)> {
    let what = "the settings";
    let version = reader.i32("the header")?;
    if !VERSIONS.contains(&version) {
        return Err(Error::Data(format!("format version 11 or 12 is known, not: {version}")));
    }
    let dim = reader.size(4, MAX_DIM, "the dimension")?;
    // The window is for word vectors only.
    reader.i32(what)?;
    let (epochs, min_count) = (reader.i32(what)?, reader.i32(what)?);
    reader.i32(what)?;
    let word_ngrams = reader.size(4, 1 << 10, "the length of word n-grams")?;
    let loss = match reader.i32(what)? {
        1 => Loss::HierarchicalSoftmax,
        2 => Loss::NegativeSampling,
        3 => Loss::Softmax,
        4 => Loss::OneVsAll,
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
    reader.skip(8, what)?;
    if dim == 0 {
        return Err(Error::Data("the dimension is 0".into()));
    }
    // Old classifiers have subwords in their settings and did not use them.
    let max_chars = if version == 11 { 0 } else { max_chars };
    let features = Features { word_ngrams, num_buckets: num_buckets as u32, min_chars, max_chars };
    Ok((Settings { version, dim, epochs, min_count, has_quantised_output: false }, features, loss))
}
