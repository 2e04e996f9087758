//! The rows that hashes of n-grams are mapped to, all of them or those that pruning kept.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Seek};

use super::reader::Reader;
use crate::error::{Error, Result};

/// A table of bits is made for up to so many buckets.
const MAX_BITS: usize = 1 << 22;

/// Maps a hash to the number of a row, counted from the first row of a bucket.
#[derive(Debug)]
pub struct Buckets {
    num_buckets: u64,
    /// 2^64 divided by the number of buckets, for a remainder without a division.
    inverse: u64,
    /// Rows in the file.
    num_rows: usize,
    kept: Option<Kept>,
}

impl Buckets {
    /// All buckets have a row.
    #[must_use]
    pub fn new(num_buckets: u32) -> Self {
        let inverse = u64::MAX.checked_div(u64::from(num_buckets)).unwrap_or(0);
        Self { num_buckets: u64::from(num_buckets), inverse, num_rows: num_buckets as usize, kept: None }
    }

    /// Read which buckets were kept.
    ///
    /// # Errors
    /// `Error::Data` for anything that an index of pruning cannot have.
    pub fn read_kept<S: BufRead + Seek>(&mut self, reader: &mut Reader<S>, num_kept: usize) -> Result<()> {
        if num_kept > reader.num_left() / 8 {
            return Err(Error::Data(format!("the pruning index has {num_kept} entries, more than the file")));
        }
        let mut rows = BTreeMap::new();
        for _ in 0..num_kept {
            let bucket = reader.size(4, i32::MAX as usize, "a bucket of the pruning index")?;
            let row = reader.size(4, num_kept - 1, "a row of the pruning index")?;
            rows.insert(bucket as u32, row as u32);
        }
        self.num_rows = num_kept;
        self.kept = Some(Kept::new(&rows, self.num_buckets as usize));
        Ok(())
    }

    /// The rows that were kept, in the order in which they are numbered here; none where nothing was pruned.
    #[must_use]
    pub fn kept_rows(&self) -> Option<&[u32]> {
        self.kept.as_ref().map(|kept| kept.rows.as_slice())
    }

    /// Number of rows in the file.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// The row of a hash, if it has one.
    #[inline]
    #[must_use]
    pub fn row(&self, hash: u64) -> Option<u32> {
        if self.num_buckets == 0 {
            return None;
        }
        // Too small by two at most.
        let quotient = ((u128::from(hash) * u128::from(self.inverse)) >> 64) as u64;
        let mut bucket = hash - quotient * self.num_buckets;
        for _ in 0..2 {
            bucket -= if bucket >= self.num_buckets { self.num_buckets } else { 0 };
        }
        match &self.kept {
            None => Some(bucket as u32),
            Some(kept) => kept.rank(bucket as u32),
        }
    }
}

/// Buckets that were kept, numbered in ascending order.
#[derive(Debug)]
struct Kept {
    /// For each 64 buckets, which of them were kept and how many were before; empty where that would be too large.
    bits: Vec<(u64, u32)>,
    ranks: HashMap<u32, u32>,
    rows: Vec<u32>,
}

impl Kept {
    fn new(rows: &BTreeMap<u32, u32>, num_buckets: usize) -> Self {
        let mut out =
            Self { bits: Vec::new(), ranks: HashMap::new(), rows: rows.values().copied().collect() };
        if num_buckets > MAX_BITS {
            out.ranks = rows.keys().copied().zip(0..).collect();
            return out;
        }
        out.bits = vec![(0, 0); num_buckets.div_ceil(64)];
        for &bucket in rows.keys() {
            if let Some((bits, _)) = out.bits.get_mut(bucket as usize / 64) {
                *bits |= 1 << (bucket % 64);
            }
        }
        let mut before = 0;
        for (bits, rank) in &mut out.bits {
            *rank = before;
            before += bits.count_ones();
        }
        out
    }

    #[inline]
    fn rank(&self, bucket: u32) -> Option<u32> {
        let Some(&(bits, before)) = self.bits.get(bucket as usize / 64) else {
            return self.ranks.get(&bucket).copied();
        };
        let bit = 1u64 << (bucket % 64);
        (bits & bit != 0).then(|| before + (bits & (bit - 1)).count_ones())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_are_exact() {
        for num in [1, 2, 3, 7, 64, 2_000_000, i32::MAX as u32] {
            let buckets = Buckets::new(num);
            for hash in [0, 1, 2, 63, u64::from(num), u64::from(num) - 1, 1 << 32, u64::MAX, u64::MAX - 1] {
                for hash in [hash, hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)] {
                    assert_eq!(buckets.row(hash), Some((hash % u64::from(num)) as u32), "{hash} {num}");
                }
            }
        }
        assert_eq!(Buckets::new(0).row(5), None);
    }

    #[test]
    fn kept_buckets_are_numbered_in_order_with_and_without_the_table() {
        let rows: BTreeMap<u32, u32> = [(3, 2), (64, 0), (70, 1), (199, 3)].into();
        for num_buckets in [200, MAX_BITS + 1] {
            let kept = Kept::new(&rows, num_buckets);
            assert_eq!(kept.rows, [2, 0, 1, 3]);
            for bucket in 0..200 {
                let expected = rows.keys().position(|&key| key == bucket).map(|rank| rank as u32);
                assert_eq!(kept.rank(bucket), expected, "{bucket}");
            }
        }
    }
}
