//! Hashes of the parts of documents: what the exact answer is found from.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array as _, FixedSizeBinaryArray, LargeBinaryArray, ListArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};

use super::{Scopes, Unit, map_chunks, split, text_at};
use crate::error::{Error, Result};
use crate::{hash, pool};

/// Which parts are compared.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Paragraphs or lines.
    pub unit: Unit,
    /// Parts of fewer words, as white space separates them, are not compared.
    pub min_words: usize,
}

impl Settings {
    /// Read settings from JSON.
    ///
    /// # Errors
    /// `Error::Config` for anything else than the fields.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::Config(format!("parts: {error}")))
    }
}

/// Hashes of the parts of some documents, one after another.
#[derive(Default)]
struct Hashes {
    /// Of each document.
    num_parts: Vec<usize>,
    values: Vec<u8>,
    is_compared: Vec<bool>,
}

/// For each text the first 128 bits of the BLAKE3 of each of its parts, null for those that are not
/// compared; a list without parts where the text cannot be read. Hashes of different `scopes` differ.
///
/// # Errors
/// `Error::Data` where there are not as many scopes as texts.
pub fn part_hashes(
    texts: &LargeBinaryArray,
    scopes: Option<&LargeBinaryArray>,
    settings: &Settings,
    num_threads: usize,
) -> Result<ListArray> {
    let scopes = Scopes::new(scopes, texts.len())?;
    let job = |rows: Range<usize>| hash_rows(texts, &scopes, settings, rows);
    let chunks = pool::run(num_threads, || map_chunks(texts, 0..texts.len(), job))?;
    let (mut values, mut is_compared, mut num_parts) = (Vec::new(), Vec::new(), Vec::new());
    for mut chunk in chunks {
        values.append(&mut chunk.values);
        is_compared.append(&mut chunk.is_compared);
        num_parts.append(&mut chunk.num_parts);
    }
    if i32::try_from(is_compared.len()).is_err() {
        return Err(Error::Data(format!("a batch has too many parts: {}", is_compared.len())));
    }
    let failed = |error| Error::Data(format!("parts: {error}"));
    let width = hash::ID_BYTES as i32;
    let nulls = NullBuffer::from(is_compared);
    let values =
        FixedSizeBinaryArray::try_new(width, Buffer::from_vec(values), Some(nulls)).map_err(failed)?;
    let field = Arc::new(Field::new("item", DataType::FixedSizeBinary(width), true));
    ListArray::try_new(field, OffsetBuffer::from_lengths(num_parts), Arc::new(values), None).map_err(failed)
}

fn hash_rows(
    texts: &LargeBinaryArray,
    scopes: &Scopes<'_>,
    settings: &Settings,
    rows: Range<usize>,
) -> Hashes {
    let (mut found, mut parts, mut buffer) = (Hashes::default(), Vec::new(), Vec::new());
    for row in rows {
        let text = text_at(texts, row).unwrap_or("");
        split(text, settings.unit, &mut parts);
        let scope = scopes.of(row);
        for part in &parts {
            let is_compared = part.num_words >= settings.min_words;
            let hash = if is_compared { hash::id(part.key(text, &mut buffer)) } else { [0; hash::ID_BYTES] };
            found.values.extend((u128::from_le_bytes(hash) ^ scope).to_le_bytes());
            found.is_compared.push(is_compared);
        }
        found.num_parts.push(parts.len());
    }
    found
}
