//! Token ids of documents, on many threads.
//!
//! Each document is encoded alone, so neither threads nor batches show in the ids. The memory of a thread
//! (its cache and buffers) is kept from call to call. Not here: cutting or packing of documents.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use arrow_array::{Array as _, LargeBinaryArray, LargeListArray, UInt32Array};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::Tokenizer;
use super::native::Scratch;
use super::sink::{Ids, Sink};
use crate::error::{Error, Result};
use crate::measure::{chunks, num_bytes};
use crate::pool;
use crate::text::MAX_TEXT_BYTES;

/// Text has about so many bytes for each token, or more.
const BYTES_PER_TOKEN: usize = 4;
/// Threads whose memory is kept.
const MAX_IDLE: usize = 8;

type Memory = Scratch<<Ids as Sink>::Few>;

/// Tokens that every document gets besides its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ends {
    /// Before the first.
    pub bos: Option<u32>,
    /// After the last.
    pub eos: Option<u32>,
}

/// A tokenizer that gives ids, for any number of threads.
#[derive(Debug)]
pub struct Encoder {
    tokenizer: Tokenizer,
    idle: Mutex<Vec<Memory>>,
}

/// Ids of documents that follow each other, and where those of each one end.
#[derive(Debug, Default)]
struct Encoded {
    ids: Vec<u32>,
    ends: Vec<usize>,
}

impl Encoder {
    /// Read a tokenizer.
    ///
    /// # Errors
    /// As [`Tokenizer::from_files`].
    pub fn new(path: &Path, pattern: Option<&str>) -> Result<Self> {
        Ok(Self { tokenizer: Tokenizer::from_files(path, pattern)?, idle: Mutex::default() })
    }

    /// Ids of every document, special tokens of the tokenizer left out, those of `ends` added. One thread
    /// is the caller's own.
    ///
    /// # Errors
    /// `Error::Data` with the first row that is null, not UTF-8, too long, or cannot be encoded.
    pub fn encode(&self, texts: &LargeBinaryArray, ends: Ends, num_threads: usize) -> Result<LargeListArray> {
        let chunks = chunks(texts, num_threads);
        if let [rows] = chunks.as_slice() {
            return list(vec![self.rows(texts, rows.clone(), ends)?]);
        }
        let encode = |rows: Range<usize>| self.rows(texts, rows, ends);
        let parts: Vec<Result<Encoded>> =
            pool::run(num_threads, || chunks.into_par_iter().with_max_len(1).map(encode).collect())?;
        list(parts.into_iter().collect::<Result<_>>()?)
    }

    fn rows(&self, texts: &LargeBinaryArray, rows: Range<usize>, ends: Ends) -> Result<Encoded> {
        let mut memory = self.take();
        let mut ids = Ids(Vec::with_capacity(num_bytes(texts, &rows) / BYTES_PER_TOKEN));
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let text = text(texts, row)?;
            ids.0.extend(ends.bos);
            if !self.tokenizer.run(text, &mut memory, &mut ids) {
                return Err(Error::Data(format!("row {row}: the tokenizer has no tokens for its text")));
            }
            ids.0.extend(ends.eos);
            out.push(ids.0.len());
        }
        self.put_back(memory);
        Ok(Encoded { ids: ids.0, ends: out })
    }

    /// Nobody waits for another thread here, which may not exist after a fork.
    fn take(&self) -> Memory {
        self.idle.try_lock().ok().and_then(|mut idle| idle.pop()).unwrap_or_default()
    }

    fn put_back(&self, mut memory: Memory) {
        memory.trim();
        if let Ok(mut idle) = self.idle.try_lock()
            && idle.len() < MAX_IDLE
        {
            idle.push(memory);
        }
    }
}

fn text(texts: &LargeBinaryArray, row: usize) -> Result<&str> {
    let bad = |what: String| Error::Data(format!("row {row}: {what}"));
    if texts.is_null(row) {
        return Err(bad("a null is no text".into()));
    }
    let bytes = texts.value(row);
    if bytes.len() >= MAX_TEXT_BYTES {
        return Err(bad(format!("a text of {} bytes is not below {MAX_TEXT_BYTES}", bytes.len())));
    }
    simdutf8::compat::from_utf8(bytes).map_err(|error| bad(format!("not UTF-8: {error}")))
}

/// One list for each document.
fn list(parts: Vec<Encoded>) -> Result<LargeListArray> {
    let mut offsets = vec![0_i64];
    let mut parts = parts.into_iter();
    let Encoded { mut ids, ends } = parts.next().unwrap_or_default();
    offsets.extend(ends.iter().map(|end| *end as i64));
    let rest: Vec<Encoded> = parts.collect();
    ids.reserve_exact(rest.iter().map(|part| part.ids.len()).sum());
    for part in rest {
        offsets.extend(part.ends.iter().map(|end| (ids.len() + end) as i64));
        ids.extend_from_slice(&part.ids);
    }
    let field = Arc::new(Field::new("item", DataType::UInt32, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    LargeListArray::try_new(field, offsets, Arc::new(UInt32Array::from(ids)), None)
        .map_err(|error| Error::Data(format!("lists of ids: {error}")))
}
