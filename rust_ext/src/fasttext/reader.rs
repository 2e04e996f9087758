//! Numbers and strings from a model file, never beyond its end.
//!
//! The file is read as a stream: memory is taken only for what is kept, after it is known that the file has it.

use std::io::{BufRead, Seek, SeekFrom};

use crate::error::{Error, Result};

const CHUNK: usize = 1 << 14;
/// Weights are below this, or sums and products of them could be beyond all bounds.
pub const MAX_WEIGHT: f32 = 1e12;

/// A place in a model file.
pub struct Reader<S> {
    source: S,
    at: u64,
    size: u64,
}

fn broken(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Data(format!("{what} cannot be read: {error}"))
}

/// Refuse weights that no training gives.
///
/// # Errors
/// `Error::Data` where one is not a number or beyond `MAX_WEIGHT`.
pub fn check_weights(values: &[f32], what: &str) -> Result<()> {
    match values.iter().find(|value| value.is_nan() || value.abs() > MAX_WEIGHT) {
        None => Ok(()),
        Some(value) => {
            Err(Error::Data(format!("{what} has a weight that is not below {MAX_WEIGHT:e}: {value}")))
        }
    }
}

impl<S: BufRead + Seek> Reader<S> {
    /// Start at the first byte.
    ///
    /// # Errors
    /// `Error::Data` where the source cannot be read; so for all below.
    pub fn new(mut source: S) -> Result<Self> {
        let size = source.seek(SeekFrom::End(0)).map_err(broken("the end"))?;
        source.rewind().map_err(broken("the header"))?;
        Ok(Self { source, at: 0, size })
    }

    /// Bytes that are left.
    #[must_use]
    pub fn num_left(&self) -> usize {
        usize::try_from(self.size - self.at).unwrap_or(usize::MAX)
    }

    /// Where the next byte is.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// Go to a byte that was passed before.
    ///
    /// # Errors
    /// As `new`.
    pub fn go_to(&mut self, position: u64, what: &str) -> Result<()> {
        self.at = self.source.seek(SeekFrom::Start(position.min(self.size))).map_err(broken(what))?;
        Ok(())
    }

    /// Pass over bytes of `what`.
    ///
    /// # Errors
    /// `Error::Data` where the file ends before; so for all below.
    pub fn skip(&mut self, count: usize, what: &str) -> Result<()> {
        self.check(count, what)?;
        self.go_to(self.at + count as u64, what)
    }

    fn check(&self, count: usize, what: &str) -> Result<()> {
        let left = self.num_left();
        if count <= left {
            return Ok(());
        }
        Err(Error::Data(format!("ends inside {what}: {count} bytes are to come, {left} are there")))
    }

    fn fill(&mut self, out: &mut [u8], what: &str) -> Result<()> {
        self.check(out.len(), what)?;
        self.source.read_exact(out).map_err(broken(what))?;
        self.at += out.len() as u64;
        Ok(())
    }

    /// The next bytes.
    ///
    /// # Errors
    /// As `skip`.
    pub fn bytes(&mut self, count: usize, what: &str) -> Result<Vec<u8>> {
        self.check(count, what)?;
        let mut out = vec![0; count];
        self.fill(&mut out, what)?;
        Ok(out)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        self.fill(&mut out, what)?;
        Ok(out)
    }

    /// A byte.
    ///
    /// # Errors
    /// As `skip`.
    pub fn byte(&mut self, what: &str) -> Result<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    /// A number of 4 bytes.
    ///
    /// # Errors
    /// As `skip`.
    pub fn i32(&mut self, what: &str) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    /// A number of 8 bytes.
    ///
    /// # Errors
    /// As `skip`.
    pub fn i64(&mut self, what: &str) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// A number of 4 or 8 bytes that counts something, with an upper bound.
    ///
    /// # Errors
    /// As `skip`, and where the number is not within the bounds.
    pub fn size(&mut self, width: usize, max: usize, what: &str) -> Result<usize> {
        let value = if width == 4 { i64::from(self.i32(what)?) } else { self.i64(what)? };
        match usize::try_from(value) {
            Ok(size) if size <= max => Ok(size),
            _ => Err(Error::Data(format!("{what} is not between 0 and {max}: {value}"))),
        }
    }

    /// A truth value of one byte.
    ///
    /// # Errors
    /// As `skip`, and where the byte is neither 0 nor 1.
    pub fn bool(&mut self, what: &str) -> Result<bool> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::Data(format!("{what} is not 0 or 1: {other}"))),
        }
    }

    /// Floats.
    ///
    /// # Errors
    /// As `rows`.
    pub fn floats(&mut self, count: usize, what: &str) -> Result<Vec<f32>> {
        self.check(count.saturating_mul(4), what)?;
        let mut out = Vec::with_capacity(count);
        self.rows(count, 1, what, |values| out.extend_from_slice(values))?;
        Ok(out)
    }

    /// Floats in rows of `width`; `take` is called with one row after another, or with several at a time.
    ///
    /// # Errors
    /// As `skip` and `check_weights`.
    pub fn rows(
        &mut self,
        num_rows: usize,
        width: usize,
        what: &str,
        mut take: impl FnMut(&[f32]),
    ) -> Result<()> {
        self.check(num_rows.saturating_mul(width).saturating_mul(4), what)?;
        let rows_at_once = (CHUNK / width.max(1)).max(1);
        let mut bytes = vec![0; 4 * width * rows_at_once.min(num_rows)];
        let mut values = Vec::new();
        for first in (0..num_rows).step_by(rows_at_once) {
            let bytes = &mut bytes[..4 * width * rows_at_once.min(num_rows - first)];
            self.fill(bytes, what)?;
            let (chunks, _) = bytes.as_chunks::<4>();
            values.clear();
            values.extend(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)));
            check_weights(&values, what)?;
            take(&values);
        }
        Ok(())
    }

    /// The bytes before the next zero byte, which is skipped.
    ///
    /// # Errors
    /// `Error::Data` where there is none.
    pub fn string(&mut self, what: &str) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.at += self.source.read_until(0, &mut out).map_err(broken(what))? as u64;
        if out.pop() == Some(0) {
            return Ok(out);
        }
        Err(Error::Data(format!("ends inside {what}: no end of a string is there")))
    }
}
