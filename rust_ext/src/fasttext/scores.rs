//! From a text to the probabilities of labels.

use super::dictionary::{fnv, tokens};
use super::matrix::Matrix;
use super::words::Words;
use super::{Loss, MAX_COUNT, Model};

/// What the reference implementation adds before it takes a logarithm.
const EPSILON: f64 = 1e-5;
/// The reference implementation's table of the logistic function.
const SIGMOID_SIZE: usize = 512;
const MAX_SIGMOID: f32 = 8.0;

/// Scores texts with one model; threads share it.
#[derive(Debug)]
pub struct Scorer {
    model: Model,
    /// Rows to add up for a text: of the input, or their products with the output matrix.
    rows: Matrix,
    is_folded: bool,
    /// Whether the rows of each word are added up first. That changes the last bits of a sum, which only a quantised
    /// model leaves room for, and which the steps of the logistic function would make large.
    sums_words: bool,
    tree: Vec<Node>,
    sigmoid: Vec<f32>,
}

/// A decision of hierarchical softmax; labels come first, the root last.
#[derive(Debug, Clone, Copy)]
struct Node {
    count: i64,
    left: usize,
    right: usize,
}

const NONE: usize = usize::MAX;
/// In place of the rows of a word that is none.
const NO_FEATURE: usize = u32::MAX as usize;

/// Memory that serves one text after another, and the probabilities of the last one.
#[derive(Debug, Default)]
pub struct Scores {
    words: Words,
    hashes: Vec<u32>,
    rows: Vec<u32>,
    hidden: Vec<f32>,
    outputs: Vec<f32>,
    probabilities: Vec<f32>,
}

impl Scores {
    /// The probability of each label, by the label's number; empty for a text without features.
    #[must_use]
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// The number of the most probable label, the first one where several are.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        let found = self.probabilities.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
        found.map(|(label, _)| label)
    }
}

impl Scorer {
    /// Prepare a model for scoring.
    #[must_use]
    pub fn new(model: Model) -> Self {
        let width = model.output.num_rows();
        // Not for labels alone: the table of the logistic function has steps, which rounding would cross.
        let is_folded = width < model.input.width && model.loss != Loss::Independent;
        let rows = if is_folded {
            let products = (0..model.input.num_rows()).flat_map(|row| {
                let input = model.input.row(row);
                (0..width).map(|label| exact_dot(model.output.row(label), input)).collect::<Vec<_>>()
            });
            Matrix::new(width, products.collect())
        } else {
            model.input.clone()
        };
        let tree = match model.loss {
            Loss::HierarchicalSoftmax => build_tree(model.dictionary.counts()),
            _ => Vec::new(),
        };
        let sums_words =
            model.dictionary.has_subwords() && model.is_quantised && model.loss != Loss::Independent;
        let model = Model { input: Matrix::new(model.input.width, Vec::new()), ..model };
        Self { model, rows, is_folded, sums_words, tree, sigmoid: sigmoid_table() }
    }

    /// Labels without their prefix.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        self.model.labels()
    }

    /// Score one text.
    pub fn score(&self, text: &str, scores: &mut Scores) {
        scores.probabilities.clear();
        if !self.average(text, scores) {
            return;
        }
        let outputs = if self.is_folded {
            &scores.hidden
        } else {
            let output = &self.model.output;
            scores.outputs.clear();
            scores.outputs.extend((0..output.num_rows()).map(|row| dot(output.row(row), &scores.hidden)));
            &scores.outputs
        };
        let probabilities = &mut scores.probabilities;
        match self.model.loss {
            Loss::Softmax => softmax(outputs, probabilities),
            Loss::Independent => probabilities.extend(outputs.iter().map(|&x| reported(self.logistic(x)))),
            Loss::HierarchicalSoftmax => self.descend(outputs, probabilities),
        }
    }

    /// Make `hidden` the mean of the rows of a text; false where it has none.
    fn average(&self, text: &str, scores: &mut Scores) -> bool {
        let Scores { words, hashes, rows, hidden, .. } = scores;
        let dictionary = &self.model.dictionary;
        hidden.clear();
        hidden.resize(self.rows.width, 0.0);
        hashes.clear();
        rows.clear();
        let mut num_rows = 0;
        for token in tokens(text.as_bytes()) {
            let hash = fnv(token);
            if !self.sums_words {
                if dictionary.word_rows(token, hash, rows) {
                    hashes.push(hash);
                }
                continue;
            }
            let (count, sum) = words.get(token, hash, self.rows.width, |sum| {
                rows.clear();
                // A word without rows is a feature all the same: it is part of n-grams.
                if !dictionary.word_rows(token, hash, rows) {
                    return NO_FEATURE;
                }
                self.add(rows, sum);
                rows.len()
            });
            if count != NO_FEATURE {
                hashes.push(hash);
                num_rows += count;
                hidden.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
            }
        }
        if self.sums_words {
            rows.clear();
        }
        dictionary.ngram_rows(hashes, rows);
        self.add(rows, hidden);
        num_rows += rows.len();
        let share = 1.0 / num_rows as f32;
        hidden.iter_mut().for_each(|sum| *sum *= share);
        num_rows > 0
    }

    fn add(&self, rows: &[u32], sum: &mut [f32]) {
        for &row in rows {
            for (total, value) in sum.iter_mut().zip(self.rows.row(row as usize)) {
                *total += value;
            }
        }
    }

    /// The logistic function as the reference implementation looks it up.
    fn logistic(&self, x: f32) -> f32 {
        if x < -MAX_SIGMOID {
            return 0.0;
        }
        let place = (x + MAX_SIGMOID) * SIGMOID_SIZE as f32 / MAX_SIGMOID / 2.0;
        self.sigmoid.get(place as usize).copied().filter(|_| x <= MAX_SIGMOID).unwrap_or(1.0)
    }

    /// The probability of each leaf of the tree.
    fn descend(&self, outputs: &[f32], probabilities: &mut Vec<f32>) {
        let num_labels = self.labels().len();
        probabilities.resize(num_labels, 0.0);
        let mut waiting = vec![(self.tree.len() - 1, 0.0f32)];
        while let Some((index, score)) = waiting.pop() {
            let node = self.tree[index];
            if node.left == NONE {
                probabilities[index] = libm::expf(score);
                continue;
            }
            let output = outputs.get(index - num_labels).copied().unwrap_or(0.0);
            let right = 1.0 / (1.0 + libm::expf(-output));
            waiting.push((node.left, score + log(1.0 - right)));
            waiting.push((node.right, score + log(right)));
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn exact_dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (&x, &y)| sum + f64::from(x) * f64::from(y)) as f32
}

fn log(x: f32) -> f32 {
    libm::log(f64::from(x) + EPSILON) as f32
}

/// A probability as it comes out of the logarithm that the reference implementation keeps.
fn reported(probability: f32) -> f32 {
    (f64::from(probability) + EPSILON) as f32
}

fn softmax(outputs: &[f32], probabilities: &mut Vec<f32>) {
    let greatest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    probabilities.extend(outputs.iter().map(|&output| libm::expf(output - greatest)));
    let sum: f32 = probabilities.iter().fold(0.0, |sum, value| sum + value);
    probabilities.iter_mut().for_each(|value| *value = reported(*value / sum));
}

fn sigmoid_table() -> Vec<f32> {
    let place = |index: usize| (2 * index) as f32 * MAX_SIGMOID / SIGMOID_SIZE as f32 - MAX_SIGMOID;
    (0..=SIGMOID_SIZE).map(|index| (1.0 / (1.0 + libm::exp(-f64::from(place(index))))) as f32).collect()
}

/// The Huffman tree over labels, whose counts fall from the first to the last.
fn build_tree(counts: &[i64]) -> Vec<Node> {
    let num_labels = counts.len();
    let leaf = |&count: &i64| Node { count, left: NONE, right: NONE };
    let mut tree: Vec<Node> = counts.iter().map(leaf).collect();
    tree.resize(2 * num_labels - 1, Node { count: MAX_COUNT, left: NONE, right: NONE });
    let mut next_leaf = num_labels;
    let mut next_node = num_labels;
    for index in num_labels..tree.len() {
        let mut smallest = || {
            if next_leaf > 0
                && tree[next_leaf - 1].count < tree.get(next_node).map_or(i64::MAX, |node| node.count)
            {
                next_leaf -= 1;
                next_leaf
            } else {
                next_node += 1;
                next_node - 1
            }
        };
        let (left, right) = (smallest(), smallest());
        let count = tree[left].count + tree[right].count;
        tree[index] = Node { count, left, right };
    }
    tree
}
