//! From the hidden vector of a text to the probabilities of labels.

use super::matrix::Matrix;

/// What the reference implementation adds before it takes a logarithm.
const EPSILON: f64 = 1e-5;
/// The reference implementation's table of the logistic function.
const SIGMOID_SIZE: usize = 512;
const MAX_SIGMOID: f32 = 8.0;
/// What the reference implementation takes for the count of a node that is not made yet.
pub const MAX_COUNT: i64 = 1_000_000_000_000_000;

/// How outputs become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// A Huffman tree of binary decisions.
    HierarchicalSoftmax,
    /// Negative sampling: each label alone.
    NegativeSampling,
    /// One against all: each label alone.
    OneVsAll,
    /// One distribution over all labels.
    Softmax,
}

impl Loss {
    /// Whether each label has a probability of its own, from the table of the logistic function.
    #[must_use]
    pub fn is_independent(self) -> bool {
        matches!(self, Self::NegativeSampling | Self::OneVsAll)
    }
}

/// A label and its probability.
pub type Scored = (usize, f32);

/// The output side of a model.
#[derive(Debug)]
pub struct Head {
    loss: Loss,
    num_labels: usize,
    /// The output matrix; none where the hidden vector is the outputs.
    output: Option<Matrix>,
    /// Its columns as rows: sums over them run through labels side by side, each in the order of the reference.
    columns: Option<Matrix>,
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

impl Head {
    /// The head of a model with the counts of its labels and its output matrix, unless that is folded.
    #[must_use]
    pub fn new(loss: Loss, counts: &[i64], output: Option<Matrix>) -> Self {
        let tree = if loss == Loss::HierarchicalSoftmax { build_tree(counts) } else { Vec::new() };
        let columns = output.as_ref().map(Matrix::transposed);
        Self { loss, num_labels: counts.len(), output, columns, tree, sigmoid: sigmoid_table() }
    }

    /// The most probable labels, at most `num`, the first one where several are equal.
    pub fn top(&self, hidden: &[f32], num: usize, scratch: &mut Vec<f32>, found: &mut Vec<Scored>) {
        found.clear();
        if self.loss != Loss::HierarchicalSoftmax {
            self.all(hidden, scratch);
            return top_of(scratch, num, found);
        }
        let mut waiting = vec![(self.tree.len() - 1, 0.0f32)];
        while let Some((index, score)) = waiting.pop() {
            if found.len() == num && found.last().is_none_or(|worst| score < worst.1) {
                continue;
            }
            let node = self.tree[index];
            if node.left == NONE {
                keep((index, score), num, found);
            } else {
                let (left, right) = self.decide(index, hidden);
                // The left one is looked at first, as the reference does.
                waiting.push((node.right, score + right));
                waiting.push((node.left, score + left));
            }
        }
        found.iter_mut().for_each(|scored| scored.1 = libm::expf(scored.1));
    }

    /// The probability of each label, by its number.
    pub fn all(&self, hidden: &[f32], probabilities: &mut Vec<f32>) {
        probabilities.clear();
        if self.loss == Loss::HierarchicalSoftmax {
            return self.descend(hidden, probabilities);
        }
        match &self.columns {
            None => probabilities.extend_from_slice(hidden),
            Some(columns) => {
                probabilities.resize(self.num_labels, 0.0);
                for (row, &value) in hidden.iter().enumerate() {
                    let products = columns.row(row).iter().map(|weight| weight * value);
                    probabilities.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
                }
            }
        }
        if self.loss == Loss::Softmax {
            softmax(probabilities);
        } else {
            probabilities.iter_mut().for_each(|output| *output = reported(self.logistic(*output)));
        }
    }

    /// The logarithms of the probabilities of the left and the right child of a node.
    fn decide(&self, index: usize, hidden: &[f32]) -> (f32, f32) {
        let row = index - self.num_labels;
        let output = match &self.output {
            None => hidden.get(row).copied().unwrap_or(0.0),
            Some(output) => dot(output.row(row), hidden),
        };
        let right = 1.0 / (1.0 + libm::expf(-output));
        (log(1.0 - right), log(right))
    }

    /// The probability of each leaf of the tree.
    fn descend(&self, hidden: &[f32], probabilities: &mut Vec<f32>) {
        probabilities.resize(self.num_labels, 0.0);
        let mut waiting = vec![(self.tree.len() - 1, 0.0f32)];
        while let Some((index, score)) = waiting.pop() {
            let node = self.tree[index];
            if node.left == NONE {
                probabilities[index] = libm::expf(score);
                continue;
            }
            let (left, right) = self.decide(index, hidden);
            waiting.push((node.left, score + left));
            waiting.push((node.right, score + right));
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
}

/// The most probable labels of a list by number.
pub fn top_of(probabilities: &[f32], num: usize, found: &mut Vec<Scored>) {
    found.clear();
    for scored in probabilities.iter().copied().enumerate() {
        keep(scored, num, found);
    }
}

/// Put a label where it belongs among the best so far.
fn keep(scored: Scored, num: usize, found: &mut Vec<Scored>) {
    let place = found
        .partition_point(|other| other.1.total_cmp(&scored.1).reverse().then(other.0.cmp(&scored.0)).is_lt());
    if place < num {
        found.truncate(num - 1);
        found.insert(place, scored);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (x, y)| sum + x * y)
}

fn log(x: f32) -> f32 {
    libm::log(f64::from(x) + EPSILON) as f32
}

/// A probability as it comes out of the logarithm that the reference implementation keeps.
fn reported(probability: f32) -> f32 {
    (f64::from(probability) + EPSILON) as f32
}

fn softmax(outputs: &mut [f32]) {
    let greatest = outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    outputs.iter_mut().for_each(|output| *output = libm::expf(*output - greatest));
    let sum: f32 = outputs.iter().fold(0.0, |sum, value| sum + value);
    outputs.iter_mut().for_each(|value| *value = reported(*value / sum));
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
