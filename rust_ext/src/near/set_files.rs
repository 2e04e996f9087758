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

/// Sets on their way into files.
#[derive(Debug)]
pub struct SetFiles {
    folder: PathBuf,
    max_bytes: usize,
    buffers: Vec<Vec<u8>>,
    num_buffered: usize,
}

impl SetFiles {
    /// No sets; about `max_bytes` are held in memory.
    #[must_use]
    pub fn new(folder: &Path, num_buckets: usize, max_bytes: usize) -> Self {
        Self {
            folder: folder.to_path_buf(),
            max_bytes,
            buffers: vec![Vec::new(); num_buckets],
            num_buffered: 0,
        }
    }

    /// Append the set of a node to a bucket; empty sets are left out.
    ///
    /// # Errors
    /// `Error::Data` where a file cannot be written.
    pub fn push(&mut self, bucket: usize, node: u64, set: Set<'_>) -> Result<()> {
        let Some(buffer) = self.buffers.get_mut(bucket).filter(|_| !set.values.is_empty()) else {
            return Ok(());
        };
        let before = buffer.len();
        buffer.extend(node.to_le_bytes());
        buffer.extend(set.level.to_le_bytes());
        // At most 2^21 shingles.
        buffer.extend((set.values.len() as u32).to_le_bytes());
        buffer.extend(set.values.iter().flat_map(|value| value.to_le_bytes()));
        self.num_buffered += buffer.len() - before;
        if self.num_buffered >= self.max_bytes { self.flush() } else { Ok(()) }
    }

    /// Write what is in memory, and give the memory back.
    ///
    /// # Errors
    /// As `push`.
    pub fn flush(&mut self) -> Result<()> {
        for (bucket, buffer) in self.buffers.iter_mut().enumerate() {
            if buffer.is_empty() {
                continue;
            }
            let path = bucket_path(&self.folder, KIND, bucket);
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.and_then(|mut file| file.write_all(buffer)).map_err(named(&path))?;
            *buffer = Vec::new();
        }
        self.num_buffered = 0;
        Ok(())
    }
}
