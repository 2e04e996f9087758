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

    /// The bucket of a hash; 0 where there are none.
    #[inline]
    #[must_use]
    pub fn bucket(&self, hash: u64) -> u32 {
        // Too small by two at most.
        let quotient = ((u128::from(hash) * u128::from(self.inverse)) >> 64) as u64;
        let mut bucket = hash.wrapping_sub(quotient.wrapping_mul(self.num_buckets));
        for _ in 0..2 {
            bucket -= if bucket >= self.num_buckets { self.num_buckets } else { 0 };
        }
        bucket as u32
    }

    /// Append the rows that buckets have, counted from `first`.
    pub fn append_rows(&self, buckets: &[u32], first: u32, rows: &mut Vec<u32>) {
        match &self.kept {
            _ if self.num_buckets == 0 => {}
            None => rows.extend(buckets.iter().map(|bucket| first + bucket)),
            Some(kept) => kept.append_ranks(buckets, first, rows),
        }
    }
}

/// Buckets that were kept, numbered in ascending order.
#[derive(Debug)]
struct Kept {
    /// For each 64 buckets, which of them were kept; empty where that would be too large.
    bits: Vec<u64>,
    /// For each 64 buckets, how many were kept before.
    before: Vec<u32>,
    ranks: HashMap<u32, u32>,
    rows: Vec<u32>,
}

impl Kept {
    fn new(rows: &BTreeMap<u32, u32>, num_buckets: usize) -> Self {
        let rows_of = rows.values().copied().collect();
        let mut out = Self { bits: Vec::new(), before: Vec::new(), ranks: HashMap::new(), rows: rows_of };
        if num_buckets > MAX_BITS {
            out.ranks = rows.keys().copied().zip(0..).collect();
            return out;
        }
        out.bits = vec![0; num_buckets.div_ceil(64)];
        for &bucket in rows.keys() {
            if let Some(bits) = out.bits.get_mut(bucket as usize / 64) {
                *bits |= 1 << (bucket % 64);
            }
        }
        let mut before = 0;
        for bits in &out.bits {
            out.before.push(before);
            before += bits.count_ones();
        }
        out
    }

    /// Append the numbers of those buckets that were kept, counted from `first`. Whether one was is not asked with a
    /// branch, which would be guessed wrong half of the time: every number is written, and stays if it is one.
    fn append_ranks(&self, buckets: &[u32], first: u32, rows: &mut Vec<u32>) {
        if self.bits.is_empty() {
            return rows
                .extend(buckets.iter().filter_map(|bucket| self.ranks.get(bucket)).map(|rank| first + rank));
        }
        let start = rows.len();
        rows.resize(start + buckets.len(), 0);
        let mut end = start;
        for &bucket in buckets {
            let place = bucket as usize / 64;
            let (bits, before) = self.bits.get(place).zip(self.before.get(place)).unwrap_or((&0, &0));
            let bit = 1u64 << (bucket % 64);
            rows[end] = first + before + (bits & (bit - 1)).count_ones();
            end += usize::from(bits & bit != 0);
        }
        rows.truncate(end);
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
                    assert_eq!(u64::from(buckets.bucket(hash)), hash % u64::from(num), "{hash} {num}");
                }
            }
        }
        let mut rows = Vec::new();
        Buckets::new(0).append_rows(&[Buckets::new(0).bucket(5)], 7, &mut rows);
        assert!(rows.is_empty());
    }

    #[test]
    fn kept_buckets_are_numbered_in_order_with_and_without_the_table() {
        let rows: BTreeMap<u32, u32> = [(3, 2), (64, 0), (70, 1), (199, 3)].into();
        for num_buckets in [200, MAX_BITS + 1] {
            let kept = Kept::new(&rows, num_buckets);
            assert_eq!(kept.rows, [2, 0, 1, 3]);
            let mut found = vec![9];
            kept.append_ranks(&(0..200).rev().chain([64]).collect::<Vec<_>>(), 100, &mut found);
            assert_eq!(found, [9, 103, 102, 101, 100, 101]);
        }
    }
}
