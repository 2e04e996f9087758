//! Numbers and strings from the bytes of a model file, never beyond its end.

use crate::error::{Error, Result};

/// A place in the bytes of a model.
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Start at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn num_left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next bytes, which are of `what`.
    ///
    /// # Errors
    /// `Error::Data` where the file ends before; so for all below.
    pub fn bytes(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let Some(found) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            let left = self.num_left();
            return Err(Error::Data(format!(
                "ends inside {what}: {count} bytes are to come, {left} are there"
            )));
        };
        self.at += count;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N, what)?);
        Ok(out)
    }

    /// A number of 4 bytes.
    ///
    /// # Errors
    /// As `bytes`.
    pub fn i32(&mut self, what: &str) -> Result<i32> {
        Ok(i32::from_le_bytes(self.array(what)?))
    }

    /// A number of 8 bytes.
    ///
    /// # Errors
    /// As `bytes`.
    pub fn i64(&mut self, what: &str) -> Result<i64> {
        Ok(i64::from_le_bytes(self.array(what)?))
    }

    /// A number of 4 or 8 bytes that counts something, with an upper bound.
    ///
    /// # Errors
    /// As `bytes`, and where the number is not within the bounds.
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
    /// As `bytes`, and where the byte is neither 0 nor 1.
    pub fn bool(&mut self, what: &str) -> Result<bool> {
        match self.array::<1>(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Error::Data(format!("{what} is not 0 or 1: {other}"))),
        }
    }

    /// Floats; memory is taken only after it is known that the file has them.
    ///
    /// # Errors
    /// As `bytes`, and where one is not finite.
    pub fn floats(&mut self, count: usize, what: &str) -> Result<Vec<f32>> {
        let num_bytes = count.saturating_mul(4);
        let (chunks, _) = self.bytes(num_bytes, what)?.as_chunks::<4>();
        let floats: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
        if floats.iter().all(|value| value.is_finite()) {
            return Ok(floats);
        }
        Err(Error::Data(format!("{what} has a value that is not finite")))
    }

    /// The bytes before the next zero byte, which is skipped.
    ///
    /// # Errors
    /// `Error::Data` where there is none.
    pub fn string(&mut self, what: &str) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let Some(length) = memchr::memchr(0, rest) else {
            return Err(Error::Data(format!("ends inside {what}: no end of a string is there")));
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }
}
