//! Small models of every kind, as files of versions 11 and 12.

use super::random::Random;

const CENTROIDS: usize = 256;
const NUM_BUCKETS: usize = 40;
const NUM_KEPT: usize = 15;

/// What a model is.
#[derive(Debug, Clone, Copy)]
struct Shape {
    version: i32,
    loss: i32,
    dim: usize,
    num_labels: usize,
    max_chars: i32,
    ngrams: i32,
    /// Columns of a part where the input is quantised, with pruned buckets.
    part: Option<usize>,
    has_norms: bool,
    is_output_quantised: bool,
}

/// All four losses, folded or not, with subwords or n-grams, dense, quantised, and quantised in both matrices.
#[must_use]
pub fn all_models(seed: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (loss, num_labels) in [(1, 2), (1, 7), (2, 3), (3, 2), (3, 9), (4, 5)] {
        for (max_chars, ngrams) in [(0, 1), (0, 3), (3, 1), (4, 2)] {
            for (part, is_output_quantised) in [(None, false), (Some(2), false), (Some(3), true)] {
                let number = found.len() as u64;
                let shape = Shape {
                    version: if number % 7 == 6 { 11 } else { 12 },
                    loss,
                    dim: 3 + found.len() % 3,
                    num_labels,
                    max_chars,
                    ngrams,
                    part,
                    has_norms: number.is_multiple_of(2),
                    is_output_quantised,
                };
                found.push(write(shape, &mut Random::new(seed, u64::MAX - number)));
            }
        }
    }
    found
}

fn write(shape: Shape, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let words = ["</s>", "a", "ab", "b\u{e9}", "\u{4e2d}", "w3", "w11", "<"];
    let min_chars = shape.max_chars.min(2);
    let dim = shape.dim as i32;
    let settings = [dim, 5, 1, 1, 5, shape.ngrams, shape.loss, 3, NUM_BUCKETS as i32, min_chars];
    push(&mut out, &[793_712_314, shape.version]);
    push(&mut out, &settings);
    push(&mut out, &[shape.max_chars, 100]);
    out.extend(1e-4f64.to_le_bytes());
    let sizes = [words.len() + shape.num_labels, words.len(), shape.num_labels];
    push(&mut out, &sizes.map(|size| size as i32));
    push_long(&mut out, &[99, shape.part.map_or(-1, |_| NUM_KEPT as i64)]);
    for word in words {
        entry(&mut out, word, 1, 0);
    }
    for label in 0..shape.num_labels {
        entry(&mut out, &format!("__label__l{label}"), (shape.num_labels - label) as i64, 1);
    }
    let num_rows = words.len() + if shape.part.is_some() { NUM_KEPT } else { NUM_BUCKETS };
    if shape.part.is_some() {
        for row in 0..NUM_KEPT as i32 {
            push(&mut out, &[2 * row + 1, row]);
        }
    }
    out.push(u8::from(shape.part.is_some()));
    matrix(&mut out, num_rows, shape, shape.part, random);
    out.push(u8::from(shape.is_output_quantised));
    let part = shape.part.filter(|_| shape.is_output_quantised);
    matrix(&mut out, shape.num_labels, shape, part, random);
    out
}

fn matrix(out: &mut Vec<u8>, num_rows: usize, shape: Shape, part: Option<usize>, random: &mut Random) {
    let size = [num_rows as i64, shape.dim as i64];
    let Some(part) = part else {
        push_long(out, &size);
        return floats(out, num_rows * shape.dim, random);
    };
    let num_parts = shape.dim.div_ceil(part);
    out.push(u8::from(shape.has_norms));
    push_long(out, &size);
    push(out, &[(num_rows * num_parts) as i32]);
    codes(out, num_rows * num_parts, random);
    quantiser(out, [shape.dim, num_parts, part, shape.dim - (num_parts - 1) * part], random);
    if shape.has_norms {
        codes(out, num_rows, random);
        quantiser(out, [1; 4], random);
    }
}

fn quantiser(out: &mut Vec<u8>, sizes: [usize; 4], random: &mut Random) {
    push(out, &sizes.map(|size| size as i32));
    floats(out, sizes[0] * CENTROIDS, random);
}

fn codes(out: &mut Vec<u8>, count: usize, random: &mut Random) {
    out.extend((0..count).map(|_| random.next() as u8));
}

fn floats(out: &mut Vec<u8>, count: usize, random: &mut Random) {
    out.extend((0..count).flat_map(|_| random.float().to_le_bytes()));
}

fn entry(out: &mut Vec<u8>, name: &str, count: i64, kind: u8) {
    out.extend(name.as_bytes());
    out.push(0);
    push_long(out, &[count]);
    out.push(kind);
}

fn push(out: &mut Vec<u8>, numbers: &[i32]) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn push_long(out: &mut Vec<u8>, numbers: &[i64]) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}
