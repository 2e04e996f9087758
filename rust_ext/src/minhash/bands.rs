//! What is derived from signatures: keys of bands, which candidates share, and estimates of similarity.

use arrow_array::builder::FixedSizeBinaryBuilder;
use arrow_array::{Array as _, FixedSizeBinaryArray, Float64Array};

use crate::error::{Error, Result};
use crate::ngram::hash;

/// Bytes of a slot and of a key.
const SLOT_BYTES: usize = 4;
const KEY_BYTES: usize = 8;

/// The keys of `num_bands` bands of `num_rows` slots each, 8 bytes a key, little-endian; null where a
/// signature is.
///
/// A key is `hash(number of the band, its slots)`; slots beyond the last band play no part.
///
/// # Errors
/// `Error::Config` for bands that the signatures have no slots for, `Error::Data` for values that are no
/// signatures.
pub fn band_keys(
    signatures: &FixedSizeBinaryArray,
    num_bands: usize,
    num_rows: usize,
) -> Result<FixedSizeBinaryArray> {
    let num_slots = num_slots(signatures)?;
    let needed = num_bands.checked_mul(num_rows).filter(|&needed| (1..=num_slots).contains(&needed));
    if needed.is_none() {
        return Err(Error::Config(format!(
            "bands times rows are from 1 to {num_slots} slots, not: {num_bands} times {num_rows}"
        )));
    }
    // Not more than twice the bytes of a signature.
    let width = i32::try_from(KEY_BYTES * num_bands).unwrap_or(i32::MAX);
    let mut out = FixedSizeBinaryBuilder::with_capacity(signatures.len(), width);
    let mut keys = Vec::with_capacity(KEY_BYTES * num_bands);
    for signature in signatures {
        let Some(signature) = signature else {
            out.append_null();
            continue;
        };
        keys.clear();
        let bands = signature.chunks_exact(SLOT_BYTES * num_rows).take(num_bands);
        keys.extend((0..).zip(bands).flat_map(|(band, slots)| hash(band, slots).to_le_bytes()));
        out.append_value(&keys).map_err(|error| Error::Data(error.to_string()))?;
    }
    Ok(out.finish())
}

/// The share of slots that are equal, row by row; null where either is null.
///
/// # Errors
/// `Error::Data` for arrays of different lengths or kinds, or values that are no signatures.
pub fn signature_similarity(a: &FixedSizeBinaryArray, b: &FixedSizeBinaryArray) -> Result<Float64Array> {
    let num_slots = num_slots(a)?;
    if a.value_length() != b.value_length() || a.len() != b.len() {
        return Err(Error::Data(format!(
            "signatures differ in number or size: {} of {} bytes and {} of {}",
            a.len(),
            a.value_length(),
            b.len(),
            b.value_length()
        )));
    }
    let similarity = |(a, b): (&[u8], &[u8])| {
        let (a, b) = (a.as_chunks::<SLOT_BYTES>().0, b.as_chunks::<SLOT_BYTES>().0);
        a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / num_slots as f64
    };
    Ok(a.iter().zip(b.iter()).map(|(a, b)| a.zip(b).map(similarity)).collect())
}

fn num_slots(signatures: &FixedSizeBinaryArray) -> Result<usize> {
    let num_bytes = usize::try_from(signatures.value_length()).unwrap_or(0);
    if num_bytes == 0 || num_bytes % SLOT_BYTES != 0 {
        return Err(Error::Data(format!(
            "signatures have slots of {SLOT_BYTES} bytes, these have: {num_bytes}"
        )));
    }
    Ok(num_bytes / SLOT_BYTES)
}
