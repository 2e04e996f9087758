//! Matrices of a model: dense, or product-quantised and written out as dense rows when they are read.

use std::io::{BufRead, Seek};

use super::reader::{Reader, check_weights};
use crate::error::{Error, Result};

/// Centroids of a quantiser.
const CENTROIDS: usize = 256;
/// A quantised matrix is written out up to this many bytes.
const MAX_DENSE_BYTES: usize = 1 << 30;

/// Rows of floats.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// Columns.
    pub width: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Rows from their values, one after another.
    #[must_use]
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        Self { width, values }
    }

    /// Number of rows.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// A row; empty where there is none.
    #[inline]
    #[must_use]
    pub fn row(&self, index: usize) -> &[f32] {
        self.values.get(index * self.width..(index + 1) * self.width).unwrap_or(&[])
    }

    /// Add rows to `sum`, one after another.
    #[inline]
    pub fn add_rows(&self, rows: &[u32], sum: &mut [f32]) {
        match sum.len() {
            2 => self.add_fixed::<2>(rows, sum),
            16 => self.add_fixed::<16>(rows, sum),
            _ => {
                for &row in rows {
                    sum.iter_mut().zip(self.row(row as usize)).for_each(|(total, value)| *total += value);
                }
            }
        }
    }

    /// As `add_rows`, with a sum that stays in registers.
    #[inline]
    fn add_fixed<const N: usize>(&self, rows: &[u32], sum: &mut [f32]) {
        let (all, _) = self.values.as_chunks::<N>();
        let Some(sum) = sum.first_chunk_mut::<N>().filter(|_| self.width == N) else { return };
        let mut total = *sum;
        for row in rows.iter().filter_map(|&row| all.get(row as usize)) {
            total.iter_mut().zip(row).for_each(|(total, value)| *total += value);
        }
        *sum = total;
    }

    /// Bytes of its values.
    #[must_use]
    pub fn num_bytes(&self) -> usize {
        4 * self.values.len()
    }

    /// The first rows, and after them others of those that follow, by their place among these.
    #[must_use]
    pub fn reordered(&self, num_first: usize, others: &[u32]) -> Self {
        let mut values = Vec::with_capacity((num_first + others.len()) * self.width);
        values.extend_from_slice(self.values.get(..num_first * self.width).unwrap_or(&[]));
        others.iter().for_each(|&row| values.extend_from_slice(self.row(num_first + row as usize)));
        Self { width: self.width, values }
    }

    /// The same values with rows for columns.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let rows = self.num_rows();
        let column = |column: usize| (0..rows).map(move |row| self.row(row)[column]);
        Self { width: rows, values: (0..self.width).flat_map(column).collect() }
    }

    /// The products of every row with every row of `other`, in rows: each exact up to one rounding.
    #[must_use]
    pub fn products(&self, other: &Self) -> Self {
        let mut out = Products::new(other, self.num_rows());
        out.extend(&self.values);
        out.finish()
    }
}

/// Collects the products of rows with the rows of a matrix.
pub struct Products<'a> {
    other: &'a Matrix,
    values: Vec<f32>,
}

impl<'a> Products<'a> {
    /// Nothing yet, and room for so many rows.
    #[must_use]
    pub fn new(other: &'a Matrix, num_rows: usize) -> Self {
        Self { other, values: Vec::with_capacity(num_rows * other.num_rows()) }
    }

    /// Take up rows as wide as those of the matrix.
    pub fn extend(&mut self, rows: &[f32]) {
        let num_columns = self.other.num_rows();
        for row in rows.chunks_exact(self.other.width.max(1)) {
            self.values.extend((0..num_columns).map(|column| exact_dot(row, self.other.row(column))));
        }
    }

    /// The products of all rows.
    #[must_use]
    pub fn finish(self) -> Matrix {
        Matrix::new(self.other.num_rows(), self.values)
    }
}

fn exact_dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (&x, &y)| sum + f64::from(x) * f64::from(y)) as f32
}

/// Read the numbers of rows and columns.
///
/// # Errors
/// `Error::Data` where the columns are not `width`; so for all below.
pub fn read_shape<S: BufRead + Seek>(reader: &mut Reader<S>, width: usize, what: &str) -> Result<usize> {
    let num_rows = reader.size(8, i32::MAX as usize, &format!("the number of rows of {what}"))?;
    let num_columns = reader.size(8, i32::MAX as usize, &format!("the number of columns of {what}"))?;
    if num_columns == width {
        return Ok(num_rows);
    }
    Err(Error::Data(format!("{what} has {num_columns} columns instead of {width}")))
}

/// Read a dense matrix with rows of `width` floats.
///
/// # Errors
/// As `read_shape`, and where the file has something else.
pub fn read_dense<S: BufRead + Seek>(reader: &mut Reader<S>, width: usize, what: &str) -> Result<Matrix> {
    let num_rows = read_shape(reader, width, what)?;
    let values = reader.floats(num_rows.saturating_mul(width), what)?;
    Ok(Matrix { width, values })
}

/// Read a quantised matrix with rows of `width` floats.
///
/// # Errors
/// As `read_dense`.
pub fn read_quantised<S: BufRead + Seek>(reader: &mut Reader<S>, width: usize, what: &str) -> Result<Matrix> {
    let has_norms = reader.bool(what)?;
    let num_rows = read_shape(reader, width, what)?;
    let num_codes = reader.size(4, reader.num_left(), &format!("the number of codes of {what}"))?;
    let codes = reader.bytes(num_codes, what)?;
    let quantiser = Quantiser::read(reader, width, what)?;
    if quantiser.num_parts.checked_mul(num_rows) != Some(num_codes) {
        return Err(Error::Data(format!("{what} has {num_codes} codes for {num_rows} rows")));
    }
    let norms = if has_norms {
        let codes = reader.bytes(num_rows, what)?;
        let norms = Quantiser::read(reader, 1, what)?;
        Some((codes, norms))
    } else {
        None
    };
    if num_rows.checked_mul(4 * width).is_none_or(|size| size > MAX_DENSE_BYTES) {
        return Err(Error::Data(format!(
            "{what} has more than 1 GiB when it is written out: {num_rows} rows"
        )));
    }
    let mut values = Vec::with_capacity(num_rows * width);
    for (row, parts) in codes.chunks_exact(quantiser.num_parts).enumerate() {
        let norm = norms.as_ref().map_or(1.0, |(codes, norms)| norms.centroid(0, codes[row])[0]);
        for (part, &code) in parts.iter().enumerate() {
            values.extend(quantiser.centroid(part, code).iter().map(|value| norm * value));
        }
    }
    check_weights(&values, what)?;
    Ok(Matrix { width, values })
}

/// Product quantiser: a vector is cut into parts, and each part is one of 256 centroids.
struct Quantiser {
    num_parts: usize,
    part_width: usize,
    last_width: usize,
    centroids: Vec<f32>,
}

impl Quantiser {
    fn read<S: BufRead + Seek>(reader: &mut Reader<S>, width: usize, what: &str) -> Result<Self> {
        let mut size = |name: &str| reader.size(4, width, &format!("{name} of the quantiser of {what}"));
        let dim = size("the dimension")?;
        let num_parts = size("the number of parts")?;
        let part_width = size("the width of a part")?;
        let last_width = size("the width of the last part")?;
        let has_parts = num_parts > 0 && (1..=part_width).contains(&last_width);
        if dim != width || !has_parts || (num_parts - 1) * part_width + last_width != width {
            return Err(Error::Data(format!(
                "the quantiser of {what} does not cut {width} columns: {num_parts} parts of {part_width}, the last {last_width}"
            )));
        }
        let centroids = reader.floats(width * CENTROIDS, what)?;
        Ok(Self { num_parts, part_width, last_width, centroids })
    }

    fn centroid(&self, part: usize, code: u8) -> &[f32] {
        let first = part * CENTROIDS * self.part_width;
        let width = if part + 1 == self.num_parts { self.last_width } else { self.part_width };
        let start = first + usize::from(code) * width;
        self.centroids.get(start..start + width).unwrap_or(&[])
    }
}
