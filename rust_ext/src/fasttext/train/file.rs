//! Writes a model as a file of version 12, which the reference implementation reads.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::weights::Weights;
use super::{Settings, Vocabulary};
use crate::fasttext::{MAGIC, SUPERVISED};

const VERSION: i32 = 12;
const SOFTMAX: i32 = 3;
/// Settings of other kinds of models at their defaults: window, negatives, tokens between updates of the rate.
const WINDOW: i32 = 5;
const NEGATIVES: i32 = 5;
/// Discard rate of frequent words in word vectors.
const DISCARD: f64 = 1e-4;

/// Write a model into the file of that name, which may be there.
///
/// # Errors
/// That of the file system.
pub fn write(
    path: &Path,
    settings: &Settings,
    vocabulary: &Vocabulary,
    weights: &Weights,
) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let numbers = [
        MAGIC,
        VERSION,
        settings.dim as i32,
        WINDOW,
        settings.epoch as i32,
        settings.min_count as i32,
        NEGATIVES,
        settings.word_ngrams as i32,
        SOFTMAX,
        SUPERVISED,
        settings.num_buckets() as i32,
        settings.minn as i32,
        settings.maxn as i32,
        super::UPDATE_RATE as i32,
    ];
    for number in numbers {
        out.write_all(&number.to_le_bytes())?;
    }
    out.write_all(&DISCARD.to_le_bytes())?;
    write_vocabulary(&mut out, vocabulary)?;
    let num_rows = weights.input.len() / weights.dim;
    write_matrix(&mut out, &weights.input, num_rows, weights.dim)?;
    write_matrix(&mut out, &weights.output, vocabulary.labels.len(), weights.dim)?;
    out.flush()
}

fn write_vocabulary(out: &mut impl Write, vocabulary: &Vocabulary) -> std::io::Result<()> {
    let (num_words, num_labels) = (vocabulary.words.len(), vocabulary.labels.len());
    for size in [num_words + num_labels, num_words, num_labels] {
        out.write_all(&(size as i32).to_le_bytes())?;
    }
    out.write_all(&vocabulary.num_tokens.to_le_bytes())?;
    // No pruning index.
    out.write_all(&(-1i64).to_le_bytes())?;
    for (entries, kind) in [(&vocabulary.words, 0u8), (&vocabulary.labels, 1)] {
        for (name, count) in entries {
            out.write_all(name)?;
            out.write_all(&[0])?;
            out.write_all(&count.to_le_bytes())?;
            out.write_all(&[kind])?;
        }
    }
    Ok(())
}

/// A matrix that is not quantised.
fn write_matrix(out: &mut impl Write, values: &[f32], num_rows: usize, dim: usize) -> std::io::Result<()> {
    out.write_all(&[0])?;
    for size in [num_rows as i64, dim as i64] {
        out.write_all(&size.to_le_bytes())?;
    }
    for value in values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}
