//! Matrices of a model: dense, or product-quantised and written out as dense rows when they are read.

use super::reader::Reader;
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

    /// Read a matrix with rows of `width` floats.
    ///
    /// # Errors
    /// `Error::Data` where the file has something else.
    pub fn read(reader: &mut Reader<'_>, width: usize, is_quantised: bool, what: &str) -> Result<Self> {
        if is_quantised { read_quantised(reader, width, what) } else { read_dense(reader, width, what) }
    }
}

fn read_shape(reader: &mut Reader<'_>, width: usize, what: &str) -> Result<usize> {
    let num_rows = reader.size(8, i32::MAX as usize, &format!("the number of rows of {what}"))?;
    let num_columns = reader.size(8, i32::MAX as usize, &format!("the number of columns of {what}"))?;
    if num_columns == width {
        return Ok(num_rows);
    }
    Err(Error::Data(format!("{what} has {num_columns} columns instead of {width}")))
}

fn read_dense(reader: &mut Reader<'_>, width: usize, what: &str) -> Result<Matrix> {
    let num_rows = read_shape(reader, width, what)?;
    let count = num_rows.saturating_mul(width);
    Ok(Matrix { width, values: reader.floats(count, what)? })
}

fn read_quantised(reader: &mut Reader<'_>, width: usize, what: &str) -> Result<Matrix> {
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
    fn read(reader: &mut Reader<'_>, width: usize, what: &str) -> Result<Self> {
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
