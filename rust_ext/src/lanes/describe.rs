//! The tensors of a batch from its tokens and the spans of documents in them.

use std::cell::Cell;

use super::SPAN;
use crate::error::{Error, Result};

/// Label of a token that is not learned.
const IGNORED: i64 = -100;
/// Pool of padding.
const NO_SOURCE: i32 = -1;

/// What is written: each has as many numbers as there are tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tensors<'a> {
    /// Tokens.
    pub ids: &'a [Cell<i64>],
    /// Tokens, `IGNORED` at padding and where a span begins.
    pub labels: &'a [Cell<i64>],
    /// Places in the span.
    pub positions: &'a [Cell<i64>],
    /// Pools.
    pub sources: &'a [Cell<i32>],
}

/// Write the tensors of some rows of `seq_len` tokens; spans are in order and do not overlap.
///
/// # Errors
/// A span does not follow the one before it, or is not within a row.
pub fn describe(tokens: &[i32], seq_len: usize, spans: &[i64], out: Tensors<'_>) -> Result<()> {
    let num = tokens.len();
    if out.ids.len() != num
        || out.labels.len() != num
        || out.positions.len() != num
        || out.sources.len() != num
    {
        return Err(Error::Data(format!("tensors are not of {num} tokens")));
    }
    let mut at = 0;
    for span in spans.chunks_exact(SPAN) {
        let start = span_start(span, seq_len, at, num).ok_or_else(|| {
            Error::Data(format!("a span is not within its row, or not behind the one before: {span:?}"))
        })?;
        pad(tokens, at..start, out);
        at = start + span[2] as usize;
        fill(&out.sources[start..at], span[3] as i32);
        for (position, to) in out.positions[start..at].iter().enumerate() {
            to.set(position as i64);
        }
        for (to, &token) in out.ids[start..at].iter().zip(&tokens[start..at]) {
            to.set(i64::from(token));
        }
        for (to, &token) in out.labels[start..at].iter().zip(&tokens[start..at]) {
            to.set(i64::from(token));
        }
        out.labels[start].set(IGNORED);
    }
    pad(tokens, at..num, out);
    Ok(())
}

/// Where a span begins among all tokens.
fn span_start(span: &[i64], seq_len: usize, at: usize, num: usize) -> Option<usize> {
    let [row, start, length] = [0, 1, 2].map(|column| usize::try_from(span[column]).ok());
    let (row, start, length) = (row?, start?, length?);
    let first = row.checked_mul(seq_len)?.checked_add(start)?;
    let is_within = length > 0 && start < seq_len && length <= seq_len - start;
    (is_within && first >= at && first.checked_add(length)? <= num).then_some(first)
}

fn pad(tokens: &[i32], places: std::ops::Range<usize>, out: Tensors<'_>) {
    for place in places {
        out.ids[place].set(i64::from(tokens[place]));
        out.labels[place].set(IGNORED);
        out.positions[place].set(0);
        out.sources[place].set(NO_SOURCE);
    }
}

fn fill(out: &[Cell<i32>], value: i32) {
    for to in out {
        to.set(value);
    }
}
