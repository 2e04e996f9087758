//! The two matrices of a model in training, and one step of gradient descent.
//!
//! Arithmetic is that of the reference implementation: 32-bit floats, every sum from the first element to the last,
//! `exp` in 64 bits. So results are the same to the last bit, and on every machine.

use super::random::Minstd;
use crate::error::{Error, Result};

/// Parts of the input matrix that have a generator each.
pub const NUM_BLOCKS: usize = 10;

/// Weights and scratch.
#[derive(Debug)]
pub struct Weights {
    /// Columns of both matrices.
    pub dim: usize,
    /// Rows of words, then of buckets.
    pub input: Vec<f32>,
    /// Rows of labels.
    pub output: Vec<f32>,
    hidden: Vec<f32>,
    gradient: Vec<f32>,
    scores: Vec<f32>,
}

impl Weights {
    /// Random input weights within 1/dim of zero in the first `num_blocks` tenths, zeros elsewhere.
    ///
    /// # Errors
    /// `Error::Config` where the memory is not there.
    pub fn new(num_rows: usize, num_labels: usize, dim: usize, num_blocks: usize, seed: u32) -> Result<Self> {
        let mut input = zeros(num_rows.saturating_mul(dim))?;
        let block_size = input.len() / NUM_BLOCKS;
        let bound = f64::from((1.0 / dim as f64) as f32);
        for (block, values) in input.chunks_exact_mut(block_size.max(1)).take(num_blocks).enumerate() {
            let mut random = Minstd::new(u64::from(seed) + block as u64);
            let count = if block_size == 0 { 0 } else { values.len() };
            values.iter_mut().take(count).for_each(|value| *value = random.symmetric(bound) as f32);
        }
        let output = zeros(num_labels.saturating_mul(dim))?;
        let (hidden, gradient) = (vec![0.0; dim], vec![0.0; dim]);
        Ok(Self { dim, input, output, hidden, gradient, scores: Vec::with_capacity(num_labels) })
    }

    /// One step towards `target` from the rows of an example; false where a number is not finite any more.
    pub fn update(&mut self, rows: &[u32], target: usize, lr: f32) -> bool {
        let dim = self.dim;
        let part = (1.0 / rows.len() as f64) as f32;
        self.hidden.fill(0.0);
        self.add_rows(rows);
        self.hidden.iter_mut().for_each(|value| *value *= part);
        self.score();
        self.gradient.fill(0.0);
        for (label, (row, score)) in self.output.chunks_exact_mut(dim).zip(&self.scores).enumerate() {
            let wanted = if label == target { 1.0 } else { 0.0 };
            let alpha = lr * (wanted - score);
            self.gradient.iter_mut().zip(row.iter()).for_each(|(to, from)| *to += alpha * from);
            row.iter_mut().zip(&self.hidden).for_each(|(to, from)| *to += alpha * from);
        }
        self.gradient.iter_mut().for_each(|value| *value *= part);
        for &row in rows {
            let row = self.input.get_mut(row as usize * dim..).unwrap_or(&mut []);
            row.iter_mut().zip(&self.gradient).for_each(|(to, from)| *to += from);
        }
        self.scores.iter().all(|score| score.is_finite())
    }

    /// Add rows to the hidden vector, one after the other; eight at a time, so that memory is waited for once.
    fn add_rows(&mut self, rows: &[u32]) {
        let (input, dim) = (&self.input, self.dim);
        let row = |row: u32| input.get(row as usize * dim..).and_then(|rest| rest.get(..dim)).unwrap_or(&[]);
        let (eights, rest) = rows.as_chunks::<8>();
        for &eight in eights {
            let [a, b, c, d, e, f, g, h] = eight.map(row);
            let first = a.iter().zip(b).zip(c).zip(d);
            let last = e.iter().zip(f).zip(g).zip(h);
            for ((to, (((a, b), c), d)), (((e, f), g), h)) in self.hidden.iter_mut().zip(first).zip(last) {
                *to = *to + a + b + c + d + e + f + g + h;
            }
        }
        for &last in rest {
            self.hidden.iter_mut().zip(row(last)).for_each(|(to, from)| *to += from);
        }
    }

    /// Whether all numbers are finite.
    #[must_use]
    pub fn are_finite(&self) -> bool {
        self.input.iter().chain(&self.output).all(|value| value.is_finite())
    }

    /// Probabilities of the labels, given the hidden vector.
    fn score(&mut self) {
        self.scores.clear();
        for row in self.output.chunks_exact(self.dim) {
            self.scores.push(row.iter().zip(&self.hidden).fold(0.0, |sum, (a, b)| sum + a * b));
        }
        let greatest = self.scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0f32;
        for score in &mut self.scores {
            *score = libm::exp(f64::from(*score - greatest)) as f32;
            sum += *score;
        }
        self.scores.iter_mut().for_each(|score| *score /= sum);
    }
}

fn zeros(count: usize) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    let size = count.saturating_mul(4);
    out.try_reserve_exact(count)
        .map_err(|_| Error::Config(format!("there is no memory for a matrix, bytes: {size}")))?;
    out.resize(count, 0.0);
    Ok(out)
}
