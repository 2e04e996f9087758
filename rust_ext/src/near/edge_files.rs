//! Edges, sorted out of core: runs that are sorted in memory, written, and merged.
//!
//! A record is (a, b, band, bits of the similarity). Where `FAN_IN` runs of one size are there they become
//! one of the next, so that few files are open and each edge is written once for each factor of `FAN_IN`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt16Array};
use arrow_schema::{DataType, Field, Schema};
use rayon::slice::ParallelSliceMut as _;

use super::pair_files::{Records, named};
use crate::error::{Error, Result};
use crate::pool;

const FAN_IN: usize = 64;
const NUM_WORDS: usize = 4;
const RECORD_BYTES: usize = 8 * NUM_WORDS;
const MIN_BUFFER: usize = 4 << 10;
const MAX_BUFFER: usize = 1 << 20;
/// Rows of a batch.
const BATCH_ROWS: usize = 1 << 16;

type Record = [u64; NUM_WORDS];

/// Two documents that are alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// One document.
    pub a: u64,
    /// The other.
    pub b: u64,
    /// Their similarity.
    pub similarity: f64,
    /// The lowest band that made them candidates.
    pub band: u16,
}

/// Edges that are being collected.
#[derive(Debug)]
pub struct EdgeFiles {
    folder: PathBuf,
    max_bytes: usize,
    buffer: Vec<Record>,
    /// Sorted runs by how often they were merged.
    levels: Vec<Vec<PathBuf>>,
    num_files: usize,
}

impl EdgeFiles {
    /// No edges; files will be in `folder`.
    #[must_use]
    pub fn new(folder: &Path, max_bytes: usize) -> Self {
        let (folder, buffer) = (folder.to_path_buf(), Vec::new());
        Self { folder, max_bytes, buffer, levels: Vec::new(), num_files: 0 }
    }

    /// Add an edge.
    ///
    /// # Errors
    /// `Error::Data` where a file cannot be written.
    pub fn push(&mut self, edge: Edge, num_threads: usize) -> Result<()> {
        let Edge { a, b, similarity, band } = edge;
        self.buffer.push([a.min(b), a.max(b), u64::from(band), similarity.to_bits()]);
        // Half of the bytes, as a vector may have grown to twice what it holds.
        if self.buffer.len() >= (self.max_bytes / RECORD_BYTES / 2).max(1) {
            self.flush(num_threads)
        } else {
            Ok(())
        }
    }

    /// Write what is in memory.
    ///
    /// # Errors
    /// As `push`.
    pub fn flush(&mut self, num_threads: usize) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        pool::run(num_threads, || buffer.par_sort_unstable())?;
        let path = self.write(buffer.drain(..).map(Ok))?;
        self.buffer = buffer;
        self.put(path, 0)
    }

    /// The edges in order, each once.
    ///
    /// # Errors
    /// `Error::Data` for files that cannot be read.
    pub fn merge(&self) -> Result<Merge> {
        Merge::new(self.levels.iter().flatten(), self.max_bytes)
    }

    /// Remove all files and edges.
    ///
    /// # Errors
    /// `Error::Data` for a file that cannot be removed.
    pub fn clear(&mut self) -> Result<()> {
        self.buffer = Vec::new();
        for path in self.levels.drain(..).flatten() {
            std::fs::remove_file(&path).map_err(named(&path))?;
        }
        Ok(())
    }

    fn put(&mut self, path: PathBuf, level: usize) -> Result<()> {
        if level == self.levels.len() {
            self.levels.push(Vec::new());
        }
        let Some(runs) = self.levels.get_mut(level) else { return Ok(()) };
        runs.push(path);
        if runs.len() < FAN_IN {
            return Ok(());
        }
        let runs = std::mem::take(runs);
        let merged = self.write(Merge::new(runs.iter(), self.max_bytes)?)?;
        for path in &runs {
            std::fs::remove_file(path).map_err(named(path))?;
        }
        self.put(merged, level + 1)
    }

    fn write(&mut self, records: impl Iterator<Item = Result<Record>>) -> Result<PathBuf> {
        let path = super::pair_files::bucket_path(&self.folder, "edges", self.num_files);
        self.num_files += 1;
        let file = File::create(&path).map_err(named(&path))?;
        let mut out = BufWriter::with_capacity(MAX_BUFFER, file);
        for record in records {
            out.write_all(record?.map(u64::to_le_bytes).as_flattened()).map_err(named(&path))?;
        }
        out.flush().map_err(named(&path))?;
        Ok(path)
    }
}

/// Records of sorted files in order; of a pair only the one with the lowest band.
#[derive(Debug)]
pub struct Merge {
    sources: Vec<Records<NUM_WORDS>>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
    last: Option<(u64, u64)>,
}

impl Merge {
    fn new<'a>(paths: impl Iterator<Item = &'a PathBuf>, max_bytes: usize) -> Result<Self> {
        let paths: Vec<&PathBuf> = paths.collect();
        let buffer_bytes = (max_bytes / paths.len().max(1)).clamp(MIN_BUFFER, MAX_BUFFER);
        let sources: Result<Vec<_>> =
            paths.into_iter().map(|path| Records::open(path.clone(), buffer_bytes)).collect();
        let mut merge = Self { sources: sources?, heads: BinaryHeap::new(), last: None };
        (0..merge.sources.len()).try_for_each(|index| merge.advance(index))?;
        Ok(merge)
    }

    fn advance(&mut self, index: usize) -> Result<()> {
        if let Some(record) = self.sources.get_mut(index).and_then(Iterator::next) {
            self.heads.push(Reverse((record?, index)));
        }
        Ok(())
    }
}

impl Iterator for Merge {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Reverse((record, index)) = self.heads.pop()?;
            if let Err(error) = self.advance(index) {
                return Some(Err(error));
            }
            let [a, b, ..] = record;
            if self.last.replace((a, b)) != Some((a, b)) {
                return Some(Ok(record));
            }
        }
    }
}

/// Edges in order, in batches of columns a, b, similarity and band.
#[derive(Debug)]
pub struct Edges(pub Merge);

impl Iterator for Edges {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.by_ref().take(BATCH_ROWS).collect::<Result<Vec<_>>>() {
            Err(error) => Some(Err(error)),
            Ok(records) if records.is_empty() => None,
            Ok(records) => Some(batch(&records)),
        }
    }
}

fn batch(records: &[Record]) -> Result<RecordBatch> {
    let names = [
        ("a", DataType::Int64),
        ("b", DataType::Int64),
        ("similarity", DataType::Float64),
        ("band", DataType::UInt16),
    ];
    let schema = Schema::new(names.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
    // Nodes and bands were checked when candidates were read.
    let a = Int64Array::from_iter_values(records.iter().map(|&[a, ..]| a as i64));
    let b = Int64Array::from_iter_values(records.iter().map(|&[_, b, ..]| b as i64));
    let similarity = Float64Array::from_iter_values(records.iter().map(|&[.., bits]| f64::from_bits(bits)));
    let band = UInt16Array::from_iter_values(records.iter().map(|&[_, _, band, _]| band as u16));
    let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(b), Arc::new(similarity), Arc::new(band)];
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| Error::Data(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_sorted_and_each_is_there_once_however_small_the_memory() {
        let folder = std::env::temp_dir().join(format!("curate-edges-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut expected = std::collections::BTreeMap::new();
        let mut files = [1, 2000, 1 << 20].map(|max_bytes| {
            let own = folder.join(max_bytes.to_string());
            std::fs::create_dir_all(&own).unwrap();
            EdgeFiles::new(&own, max_bytes)
        });
        for i in 0..(FAN_IN * FAN_IN + 99) as u64 {
            let (a, b, band) = (i * 7919 % 1009, 2000 + i % 5, (i % 17) as u16);
            let similarity = a as f64 / b as f64;
            let lowest = expected.entry((a, b)).or_insert((similarity, band));
            lowest.1 = band.min(lowest.1);
            for files in &mut files {
                files.push(Edge { a: b, b: a, similarity, band }, 1).unwrap();
            }
        }
        for files in &mut files {
            files.flush(1).unwrap();
            assert!(files.levels.iter().all(|runs| runs.len() < FAN_IN));
            let found: Vec<_> = files.merge().unwrap().map(|record| record.unwrap()).collect();
            let all: Vec<_> = expected
                .iter()
                .map(|(&(a, b), &(similarity, band))| [a, b, u64::from(band), similarity.to_bits()])
                .collect();
            assert_eq!(found, all);
            files.clear().unwrap();
            assert_eq!(std::fs::read_dir(&files.folder).unwrap().count(), 0);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
