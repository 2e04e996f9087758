//! Randomness as a hash of (seed, purpose, document id), and the keys that sampling sorts by.
//!
//! A document's number depends on nothing else, so neither order, batches, shards nor threads show. The number is the
//! first 64 bits, little-endian, of BLAKE3(id, seed as 8 little-endian bytes, purpose), of which the upper 52 are used:
//! u = (h >> 12 + 1/2) / 2^52, exact, never 0 and never 1. Logarithms are libm's, the same on every machine.
//!
//! Successive draws without replacement with probabilities in proportion to exp(score / temperature) are the largest
//! keys score / temperature + Gumbel noise, noise = -ln(-ln u). Cost: about 0.1 us a document.
//!
//! The content of a pool is the sum modulo 2^128 of its documents, each as the first 128 bits, little-endian, of
//! BLAKE3(id, 0 as 8 bytes, "pool"): it depends on no order, and disjoint pools add up.

use arrow_array::{Array, FixedSizeBinaryArray, Float64Array, UInt32Array, UInt64Array};

use crate::error::{Error, Result};
use crate::hash::ID_BYTES;

/// Bytes of a purpose at most: one block of the hash.
pub const MAX_PURPOSE_BYTES: usize = 40;

/// The source of all random numbers of one purpose.
#[derive(Debug, Clone)]
pub struct Source {
    block: Vec<u8>,
}

impl Source {
    /// A source for `seed` and `purpose`; different purposes give independent numbers.
    ///
    /// # Errors
    /// `Error::Config` when the purpose is longer than [`MAX_PURPOSE_BYTES`].
    pub fn new(seed: u64, purpose: &str) -> Result<Self> {
        if purpose.len() > MAX_PURPOSE_BYTES {
            return Err(Error::Config(format!(
                "a purpose has at most {MAX_PURPOSE_BYTES} bytes, this one has: {}",
                purpose.len()
            )));
        }
        let mut block = vec![0; ID_BYTES];
        block.extend_from_slice(&seed.to_le_bytes());
        block.extend_from_slice(purpose.as_bytes());
        Ok(Self { block })
    }

    fn hash(&mut self, id: &[u8]) -> blake3::Hash {
        for (to, from) in self.block.iter_mut().zip(id.iter().take(ID_BYTES)) {
            *to = *from;
        }
        blake3::hash(&self.block)
    }

    /// The number of one document, strictly between 0 and 1.
    pub fn uniform(&mut self, id: &[u8]) -> f64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.hash(id).as_bytes()[..8]);
        const SCALE: f64 = 1.0 / (1_u64 << 52) as f64;
        ((u64::from_le_bytes(bytes) >> 12) as f64 + 0.5) * SCALE
    }

    /// Standard Gumbel noise of one document.
    pub fn gumbel(&mut self, id: &[u8]) -> f64 {
        -libm::log(-libm::log(self.uniform(id)))
    }
}

/// One uniform number per id; null where the id is null.
///
/// # Errors
/// `Error::Config` for a purpose that is too long, `Error::Data` for ids that are not of 16 bytes.
pub fn hash_uniform(ids: &FixedSizeBinaryArray, seed: u64, purpose: &str) -> Result<Float64Array> {
    let mut source = Source::new(seed, purpose)?;
    check_ids(ids)?;
    Ok(ids.iter().map(|id| id.map(|id| source.uniform(id))).collect())
}

/// One key `score / temperature + Gumbel` per document; null where the score is null or NaN, or the id is null.
///
/// # Errors
/// As [`hash_uniform`]; `Error::Config` for a temperature that is not finite and above 0, `Error::Data` for arrays of
/// different lengths.
pub fn gumbel_keys(
    ids: &FixedSizeBinaryArray,
    scores: &Float64Array,
    temperature: f64,
    seed: u64,
    purpose: &str,
) -> Result<Float64Array> {
    let mut source = Source::new(seed, purpose)?;
    check_ids(ids)?;
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(Error::Config(format!("temperature is not a number above 0: {temperature}")));
    }
    if ids.len() != scores.len() {
        return Err(Error::Data(format!(
            "ids and scores differ in length: {} and {}",
            ids.len(),
            scores.len()
        )));
    }
    let pairs = ids.iter().zip(scores.iter());
    Ok(pairs
        .map(|pair| match pair {
            (Some(id), Some(score)) if !score.is_nan() => Some(score / temperature + source.gumbel(id)),
            _ => None,
        })
        .collect())
}

/// The sum of the documents of each of `num_pools` pools, as 16 little-endian bytes; null ids count nothing.
///
/// # Errors
/// `Error::Data` for ids that are not of 16 bytes, arrays of different lengths, and a pool that is not below `num_pools`.
pub fn content_sums(
    ids: &FixedSizeBinaryArray,
    pools: &UInt32Array,
    num_pools: usize,
) -> Result<FixedSizeBinaryArray> {
    let mut source = Source::new(0, "pool")?;
    check_ids(ids)?;
    if ids.len() != pools.len() {
        return Err(Error::Data(format!(
            "ids and pools differ in length: {} and {}",
            ids.len(),
            pools.len()
        )));
    }
    let mut sums = vec![0_u128; num_pools];
    for (id, pool) in ids.iter().zip(pools.iter()) {
        let (Some(id), Some(pool)) = (id, pool) else { continue };
        let Some(sum) = sums.get_mut(pool as usize) else {
            return Err(Error::Data(format!("a pool is not below {num_pools}: {pool}")));
        };
        let mut bytes = [0; ID_BYTES];
        bytes.copy_from_slice(&source.hash(id).as_bytes()[..ID_BYTES]);
        *sum = sum.wrapping_add(u128::from_le_bytes(bytes));
    }
    let values: Vec<[u8; ID_BYTES]> = sums.iter().map(|sum| sum.to_le_bytes()).collect();
    if values.is_empty() {
        return Ok(FixedSizeBinaryArray::new(ID_BYTES as i32, arrow_buffer::Buffer::default(), None));
    }
    FixedSizeBinaryArray::try_from_iter(values.iter()).map_err(|error| Error::Data(error.to_string()))
}

/// Natural logarithms of weights, minus infinity for 0; null where a weight is null, NaN, negative or infinite.
#[must_use]
pub fn log_weights(weights: &Float64Array) -> Float64Array {
    weights.iter().map(|weight| weight.filter(|w| *w >= 0.0 && w.is_finite()).map(libm::log)).collect()
}

/// Integers in the order of the floats: `a < b` exactly where `key(a) < key(b)`; -0 equals 0; null where null or NaN.
#[must_use]
pub fn order_keys(values: &Float64Array) -> UInt64Array {
    values.iter().map(|value| value.filter(|v| !v.is_nan()).map(order_key)).collect()
}

/// An integer in the order of a float that is a number.
pub(crate) fn order_key(value: f64) -> u64 {
    // Adding 0 turns -0 into 0.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn check_ids(ids: &FixedSizeBinaryArray) -> Result<()> {
    if ids.value_length() as usize == ID_BYTES {
        return Ok(());
    }
    Err(Error::Data(format!("document ids have {ID_BYTES} bytes, these have: {}", ids.value_length())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u8) -> FixedSizeBinaryArray {
        let values: Vec<[u8; ID_BYTES]> = (0..count).map(|i| crate::hash::id(&[i])).collect();
        FixedSizeBinaryArray::try_from_iter(values.iter()).unwrap()
    }

    #[test]
    fn numbers_are_pinned() {
        let found = hash_uniform(&ids(2), 42, "sample").unwrap();
        assert_eq!(found.values().to_vec(), [0.188_545_302_445_775_83, 0.822_834_277_475_396_4]);
    }

    #[test]
    fn seed_purpose_and_id_all_count() {
        let one =
            |seed, purpose, id: u8| Source::new(seed, purpose).unwrap().uniform(&crate::hash::id(&[id]));
        let base = one(1, "a", 1);
        assert!(base != one(2, "a", 1) && base != one(1, "b", 1) && base != one(1, "a", 2));
    }

    #[test]
    fn contents_add_up_in_any_order() {
        let pools = UInt32Array::from(vec![0, 1, 0]);
        let found = content_sums(&ids(3), &pools, 2).unwrap();
        let whole = content_sums(&ids(3), &UInt32Array::from(vec![0, 0, 0]), 1).unwrap();
        let number = |bytes: &[u8]| u128::from_le_bytes(bytes.try_into().unwrap());
        assert_eq!(number(found.value(0)).wrapping_add(number(found.value(1))), number(whole.value(0)));
        assert!(content_sums(&ids(3), &pools, 1).is_err() && content_sums(&ids(2), &pools, 2).is_err());
        let none = ids(3).slice(0, 0);
        assert_eq!(content_sums(&none, &UInt32Array::from(Vec::<u32>::new()), 0).unwrap().len(), 0);
    }

    #[test]
    fn order_keys_follow_the_floats() {
        let values = [f64::NEG_INFINITY, -2.0, -f64::MIN_POSITIVE, 0.0, 1e-300, 1.0, f64::INFINITY];
        let keys = order_keys(&Float64Array::from(values.to_vec()));
        assert!(keys.values().windows(2).all(|pair| pair[0] < pair[1]));
        let zeros = order_keys(&Float64Array::from(vec![Some(-0.0), Some(0.0), Some(f64::NAN), None]));
        assert_eq!(zeros.value(0), zeros.value(1));
        assert!(zeros.is_null(2) && zeros.is_null(3));
    }

    #[test]
    fn keys_are_null_without_a_score_and_weights_without_sense() {
        let keys =
            gumbel_keys(&ids(3), &Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]), 2.0, 1, "a")
                .unwrap();
        assert_eq!((keys.is_null(0), keys.is_null(1), keys.is_null(2)), (false, true, true));
        let logs = log_weights(&Float64Array::from(vec![0.0, 1.0, -1.0, f64::INFINITY, f64::NAN]));
        assert_eq!(logs.value(0), f64::NEG_INFINITY);
        assert_eq!(logs.value(1), 0.0);
        assert!(logs.is_null(2) && logs.is_null(3) && logs.is_null(4));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(matches!(hash_uniform(&ids(1), 1, &"a".repeat(41)), Err(Error::Config(_))));
        let scores = Float64Array::from(vec![1.0]);
        for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(gumbel_keys(&ids(1), &scores, temperature, 1, "a"), Err(Error::Config(_))));
        }
        assert!(matches!(gumbel_keys(&ids(2), &scores, 1.0, 1, "a"), Err(Error::Data(_))));
        let short = FixedSizeBinaryArray::try_from_iter([[1_u8, 2]].iter()).unwrap();
        assert!(matches!(hash_uniform(&short, 1, "a"), Err(Error::Data(_))));
    }
}
