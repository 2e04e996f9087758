//! A radix sort of records from the highest bits that differ, in place up to one spare copy.
//!
//! Each step deals out by up to 11 bits; what is left in a bucket is sorted by comparison once it is small.
//! Cost: about 20 ns a record of two words. The order is total, so that equal records need none.

use super::records::Record;

/// Records that are sorted by comparison.
const SMALL: usize = 48;
const MAX_BITS: u32 = 11;

/// Bits of one word that tell records apart.
#[derive(Debug, Clone, Copy)]
struct Digit {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Digit {
    /// The highest bits that differ, few enough that buckets hold some records each; None where all are
    /// equal.
    fn of<const N: usize>(records: &[Record<N>]) -> Option<Self> {
        let first = records.first()?;
        let mut varying = [0; N];
        for record in records {
            for ((varying, word), first) in varying.iter_mut().zip(record).zip(first) {
                *varying |= word ^ first;
            }
        }
        let (word, varying) = varying.into_iter().enumerate().find(|&(_, varying)| varying != 0)?;
        let top = u64::BITS - varying.leading_zeros();
        let bits = records.len().ilog2().saturating_sub(4).clamp(1, MAX_BITS).min(top);
        Some(Self { word, shift: top - bits, bits })
    }

    fn value<const N: usize>(self, record: &Record<N>) -> usize {
        let word = record.get(self.word).copied().unwrap_or(0);
        (word >> self.shift) as usize & ((1 << self.bits) - 1)
    }
}

/// Sort records; `spare` has at least as many, with any content before and after.
pub fn sort<const N: usize>(records: &mut [Record<N>], spare: &mut [Record<N>]) {
    let num_records = records.len();
    if num_records <= SMALL {
        records.sort_unstable();
        return;
    }
    let (Some(digit), Some(spare)) = (Digit::of(records), spare.get_mut(..num_records)) else {
        return;
    };
    let mut ends = vec![0; 1 << digit.bits];
    for record in &*records {
        if let Some(count) = ends.get_mut(digit.value(record)) {
            *count += 1;
        }
    }
    let mut total = 0;
    for end in &mut ends {
        total += std::mem::replace(end, total);
    }
    for record in &*records {
        if let Some(at) = ends.get_mut(digit.value(record)) {
            if let Some(place) = spare.get_mut(*at) {
                *place = *record;
            }
            *at += 1;
        }
    }
    records.copy_from_slice(spare);
    let (mut records, mut spare, mut start) = (records, spare, 0);
    for end in ends {
        let (bucket, rest) = records.split_at_mut(end - start);
        let (beside, rest_beside) = spare.split_at_mut(end - start);
        if bucket.len() > 1 {
            sort(bucket, beside);
        }
        (records, spare, start) = (rest, rest_beside, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, mask: u64) -> Vec<Record<2>> {
        (0..count as u64).map(|at| [super::super::hash_number(at) & mask, at.reverse_bits() >> 40]).collect()
    }

    #[test]
    fn records_are_sorted_whatever_differs() {
        for count in [0, 1, 2, 47, 48, 49, 1000, 70_000] {
            for mask in [0, 1, 0xff, 1 << 63, u64::MAX] {
                let mut found = numbers(count, mask);
                let mut expected = found.clone();
                expected.sort_unstable();
                sort(&mut found, &mut vec![[0; 2]; count]);
                assert_eq!(found, expected, "{count} {mask}");
            }
        }
    }

    #[test]
    fn equal_records_end() {
        let mut found = vec![[7, 7, 7]; 5000];
        sort(&mut found, &mut vec![[0; 3]; 5000]);
        assert_eq!(found, vec![[7, 7, 7]; 5000]);
    }
}
