//! Parts of documents - paragraphs or lines - that occur elsewhere in the corpus.
//!
//! A text is cut into parts ([`split`]). What is compared of a part is its words, those that white space
//! separates, with one space between them: the 128 bits of its BLAKE3 ([`hashes`]), or n-grams of its UAX
//! #29 words ([`ngrams`]). [`PartFilter`] remembers in a Bloom filter ([`bloom`]) what was seen and says
//! which parts of the next texts are no news; [`removal`] turns such parts into byte spans to remove.
//!
//! Not here: the exact answer, which needs the hashes of all parts at once (sorted out of core, in Python).

pub mod bloom;
mod filter;
mod hashes;
mod ngrams;
pub mod removal;
pub mod split;

use std::ops::Range;

use arrow_array::{Array as _, LargeBinaryArray};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use crate::error::{Error, Result};
use crate::hash;
use crate::text::MAX_TEXT_BYTES;
pub use filter::{FilterSettings, PartFilter};
pub use hashes::{Settings, part_hashes};
pub use split::{Part, Unit, split};

/// Rows that are hashed together have at least this many bytes of text.
const CHUNK_BYTES: usize = 256 << 10;

/// The text of a row; none where it is null, not UTF-8, or 4 GiB and more.
fn text_at(texts: &LargeBinaryArray, row: usize) -> Option<&str> {
    let bytes = texts.is_valid(row).then(|| texts.value(row)).filter(|bytes| bytes.len() < MAX_TEXT_BYTES)?;
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Ranges of rows with at least `num_bytes` of text each, but for the last.
fn cut(texts: &LargeBinaryArray, rows: Range<usize>, num_bytes: usize) -> Vec<Range<usize>> {
    let offsets = texts.value_offsets();
    let at = |row: usize| offsets.get(row).map_or(0, |&offset| offset as usize);
    let mut ranges = Vec::new();
    let mut start = rows.start;
    for row in rows.clone() {
        if at(row + 1) - at(start) >= num_bytes {
            ranges.push(start..row + 1);
            start = row + 1;
        }
    }
    if start < rows.end {
        ranges.push(start..rows.end);
    }
    ranges
}

/// `job` of chunks of rows, in their order, on the threads of the pool that is current.
fn map_chunks<T: Send>(
    texts: &LargeBinaryArray,
    rows: Range<usize>,
    job: impl Fn(Range<usize>) -> T + Send + Sync,
) -> Vec<T> {
    cut(texts, rows, CHUNK_BYTES).into_par_iter().map(job).collect()
}

/// Values inside which parts are compared: what is added to the hash of a part of a row.
struct Scopes<'a>(Option<&'a LargeBinaryArray>);

impl<'a> Scopes<'a> {
    fn new(scopes: Option<&'a LargeBinaryArray>, num_rows: usize) -> Result<Self> {
        match scopes {
            Some(scopes) if scopes.len() != num_rows => {
                Err(Error::Data(format!("{num_rows} texts but {} scopes", scopes.len())))
            }
            _ => Ok(Self(scopes)),
        }
    }

    /// 128 bits for the value of a row, 0 for null and where there are no values.
    fn of(&self, row: usize) -> u128 {
        let value = self.0.filter(|scopes| scopes.is_valid(row)).map(|scopes| scopes.value(row));
        value.map_or(0, |value| u128::from_le_bytes(hash::id(value)))
    }
}
