//! Records of a few 64-bit words, in memory and in files (little-endian), read and written in sequence.
//!
//! Words are compared from the first to the last. Cost: a copy, and buffers of at most 256 KiB for each open
//! file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Scratch, named};
use crate::error::{Error, Result};

/// One record.
pub type Record<const N: usize> = [u64; N];

const WORD_BYTES: usize = 8;
const BUFFER_BYTES: usize = 1 << 18;

/// Bytes of a record.
pub const fn width<const N: usize>() -> usize {
    N * WORD_BYTES
}

/// Add the bytes of records.
pub fn encode<const N: usize>(records: &[Record<N>], out: &mut Vec<u8>) {
    out.reserve(records.len() * width::<N>());
    for record in records {
        for word in record {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
}

/// Add the records of bytes.
fn decode<const N: usize>(bytes: &[u8], out: &mut Vec<Record<N>>) {
    out.extend(bytes.chunks_exact(width::<N>()).map(|bytes| {
        let mut record = [0; N];
        for (word, bytes) in record.iter_mut().zip(bytes.as_chunks::<WORD_BYTES>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        record
    }));
}

/// The records of files, one file after another; a file that is not there is empty.
#[derive(Debug)]
pub struct Stream<const N: usize> {
    paths: std::vec::IntoIter<PathBuf>,
    file: Option<(PathBuf, File)>,
    bytes: Vec<u8>,
    waiting: Vec<Record<N>>,
    at: usize,
}

impl<const N: usize> Stream<N> {
    /// From the first record of the first file.
    pub fn open(paths: Vec<PathBuf>) -> Self {
        let bytes = vec![0; BUFFER_BYTES / width::<N>() * width::<N>()];
        Self { paths: paths.into_iter(), file: None, bytes, waiting: Vec::new(), at: 0 }
    }

    /// From the first record of a sorted file whose first word is at least `first`.
    ///
    /// # Errors
    /// That of the file system.
    pub fn seek(path: &Path, first: u64) -> Result<Self> {
        let mut stream = Self::open(Vec::new());
        let Some(mut file) = open(path)? else {
            return Ok(stream);
        };
        let num_bytes = file.metadata().map_err(named(path))?.len();
        let (mut low, mut high) = (0, num_bytes / width::<N>() as u64);
        while low < high {
            let middle = low.midpoint(high);
            let mut word = [0; WORD_BYTES];
            file.seek(SeekFrom::Start(middle * width::<N>() as u64)).map_err(named(path))?;
            file.read_exact(&mut word).map_err(named(path))?;
            if u64::from_le_bytes(word) < first { low = middle + 1 } else { high = middle }
        }
        file.seek(SeekFrom::Start(low * width::<N>() as u64)).map_err(named(path))?;
        stream.file = Some((path.to_path_buf(), file));
        Ok(stream)
    }

    /// The next records, as many as are at hand; none at the end.
    ///
    /// # Errors
    /// That of the file system, `Error::Data` for a file that ends within a record.
    pub fn chunk(&mut self) -> Result<&[Record<N>]> {
        if self.at >= self.waiting.len() {
            self.fill()?;
        }
        let chunk = self.waiting.get(self.at..).unwrap_or_default();
        self.at = self.waiting.len();
        Ok(chunk)
    }

    /// Add all records that are left.
    ///
    /// # Errors
    /// Those of [`Self::chunk`].
    pub fn read_all(mut self, out: &mut Vec<Record<N>>) -> Result<()> {
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(());
            }
            out.extend_from_slice(chunk);
        }
    }

    /// The next record, which stays.
    ///
    /// # Errors
    /// Those of [`Self::chunk`].
    pub fn peek(&mut self) -> Result<Option<Record<N>>> {
        if self.at >= self.waiting.len() {
            self.fill()?;
        }
        Ok(self.waiting.get(self.at).copied())
    }

    /// The next record.
    ///
    /// # Errors
    /// Those of [`Self::chunk`].
    pub fn next(&mut self) -> Result<Option<Record<N>>> {
        let found = self.peek()?;
        self.at += 1;
        Ok(found)
    }

    /// The record that begins with `first`, where records are sorted; what is before it is passed over.
    ///
    /// # Errors
    /// Those of [`Self::chunk`].
    pub fn find(&mut self, first: u64) -> Result<Option<Record<N>>> {
        while let Some(record) = self.peek()? {
            if record[0] >= first {
                return Ok((record[0] == first).then_some(record));
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn fill(&mut self) -> Result<()> {
        self.waiting.clear();
        self.at = 0;
        while self.waiting.is_empty() {
            if self.file.is_none() {
                let Some(path) = self.paths.next() else { return Ok(()) };
                self.file = open(&path)?.map(|file| (path, file));
                continue;
            }
            if let Some((path, file)) = &mut self.file {
                let count = read_full(file, &mut self.bytes).map_err(named(path))?;
                if count % width::<N>() != 0 {
                    return Err(Error::Data(format!("{}: the file ends within a record", path.display())));
                }
                decode(self.bytes.get(..count).unwrap_or_default(), &mut self.waiting);
            }
            if self.waiting.is_empty() {
                self.file = None;
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some).map_err(named(path)),
    }
}

/// Read until the buffer is full or the file ends.
fn read_full(file: &mut File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = bytes.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

/// Writes one file; it is complete after `finish`.
#[derive(Debug)]
pub struct Writer<const N: usize> {
    scratch: Arc<Scratch>,
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
}

impl<const N: usize> Writer<N> {
    /// An empty file in the place of one that may be there.
    ///
    /// # Errors
    /// That of the file system.
    pub fn create(scratch: &Arc<Scratch>, path: PathBuf) -> Result<Self> {
        let file = File::create(&path).map_err(named(&path))?;
        Ok(Self { scratch: Arc::clone(scratch), path, file, bytes: Vec::new() })
    }

    /// Add one record.
    ///
    /// # Errors
    /// That of the file system.
    pub fn push(&mut self, record: Record<N>) -> Result<()> {
        encode(&[record], &mut self.bytes);
        if self.bytes.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    /// Write what waits; returns where the file is.
    ///
    /// # Errors
    /// That of the file system.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.write()?;
        Ok(self.path)
    }

    fn write(&mut self) -> Result<()> {
        self.file.write_all(&self.bytes).map_err(named(&self.path))?;
        self.scratch.count(self.bytes.len() as u64);
        self.bytes.clear();
        Ok(())
    }
}
