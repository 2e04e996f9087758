//! The files of sets, one for each bucket, while they are written.
//!
//! A record is a node (64 bits), a level and a length (32 bits each) and so many values of 64 bits. Records
//! of a bucket are in the order of coming; what reads them looks up nodes, so the order does not matter.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::pair_files::{bucket_path, named};
use super::similarity::Set;
use crate::error::Result;

/// Name of these files.
pub const KIND: &str = "sets";

/// Bytes that are written in one go, where memory allows.
const MAX_BUFFER: usize = 1 << 20;

/// Sets on their way into files.
#[derive(Debug)]
pub struct SetFiles {
    folder: PathBuf,
    /// One for each bucket, written when it has `buffer_bytes`.
    buffers: Vec<Vec<u8>>,
    buffer_bytes: usize,
}

impl SetFiles {
    /// No sets; about `max_bytes` are held in memory.
    #[must_use]
    pub fn new(folder: &Path, num_buckets: usize, max_bytes: usize) -> Self {
        // Half, as a vector may have grown to twice what it holds.
        let buffer_bytes = (max_bytes / num_buckets.max(1) / 2).min(MAX_BUFFER);
        Self { folder: folder.to_path_buf(), buffers: vec![Vec::new(); num_buckets], buffer_bytes }
    }

    /// Append the set of a node to a bucket; empty sets are left out.
    ///
    /// # Errors
    /// `Error::Data` where a file cannot be written.
    pub fn push(&mut self, bucket: usize, node: u64, set: Set<'_>) -> Result<()> {
        let Some(buffer) = self.buffers.get_mut(bucket).filter(|_| !set.values.is_empty()) else {
            return Ok(());
        };
        buffer.extend(node.to_le_bytes());
        buffer.extend(set.level.to_le_bytes());
        // At most 2^21 shingles.
        buffer.extend((set.values.len() as u32).to_le_bytes());
        buffer.extend(set.values.iter().flat_map(|value| value.to_le_bytes()));
        if buffer.len() < self.buffer_bytes {
            return Ok(());
        }
        append(&bucket_path(&self.folder, KIND, bucket), buffer)?;
        buffer.clear();
        buffer.shrink_to(self.buffer_bytes);
        Ok(())
    }

    /// Write what is in memory, and give the memory back.
    ///
    /// # Errors
    /// As `push`.
    pub fn flush(&mut self) -> Result<()> {
        for (bucket, buffer) in self.buffers.iter_mut().enumerate() {
            if !buffer.is_empty() {
                append(&bucket_path(&self.folder, KIND, bucket), buffer)?;
            }
            *buffer = Vec::new();
        }
        Ok(())
    }
}

fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(named(path))
}
