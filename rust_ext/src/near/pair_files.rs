//! Files of records of 64-bit numbers, little-endian; those of candidates among them.
//!
//! `pairs-<bucket>.bin` has records (a, b, band), sorted by (a, b), each pair once, a < b. `hot-<bucket>.bin`
//! has records (node, key, band), sorted by (node, key): members of hot groups, a group being what has the
//! same key. A file that is not there is an empty one; one that breaks these rules is an error.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of a number.
pub const WORD_BYTES: u64 = 8;
const MAX_NODE: u64 = i64::MAX as u64;
const MAX_BAND: u64 = u16::MAX as u64;

/// An I/O error with the path of its file.
pub fn named(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Data(format!("{}: {error}", path.display()))
}

/// The path of a bucket's file.
#[must_use]
pub fn bucket_path(folder: &Path, kind: &str, bucket: usize) -> PathBuf {
    folder.join(format!("{kind}-{bucket:05}.bin"))
}

/// A file that may be missing, with its length.
///
/// # Errors
/// `Error::Data` for a file that is there and cannot be opened.
pub fn open(path: &Path) -> Result<Option<(File, u64)>> {
    match File::open(path) {
        Ok(file) => {
            let num_bytes = file.metadata().map_err(named(path))?.len();
            Ok(Some((file, num_bytes)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path)(error)),
    }
}

/// Records of `N` numbers, one after another.
#[derive(Debug)]
pub struct Records<const N: usize> {
    path: PathBuf,
    source: Option<BufReader<File>>,
    num_left: u64,
}

impl<const N: usize> Records<N> {
    /// The records of a file; none where it is missing.
    ///
    /// # Errors
    /// `Error::Data` for a file that cannot be opened, and for one that ends within a record.
    pub fn open(path: PathBuf, buffer_bytes: usize) -> Result<Self> {
        let Some((file, num_bytes)) = open(&path)? else {
            return Ok(Self { path, source: None, num_left: 0 });
        };
        let record_bytes = N as u64 * WORD_BYTES;
        if !num_bytes.is_multiple_of(record_bytes) {
            return Err(Error::Data(format!(
                "{} has records of {record_bytes} bytes, it ends within one, with: {num_bytes} bytes",
                path.display()
            )));
        }
        let source = BufReader::with_capacity(buffer_bytes, file);
        Ok(Self { path, source: Some(source), num_left: num_bytes / record_bytes })
    }

    fn broken(&self, what: &str, record: [u64; N]) -> Error {
        Error::Data(format!("{}: {what}, not: {record:?}; make the candidates anew", self.path.display()))
    }
}

impl<const N: usize> Iterator for Records<N> {
    type Item = Result<[u64; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        let source = self.source.as_mut().filter(|_| self.num_left > 0)?;
        self.num_left -= 1;
        let mut words = [[0; WORD_BYTES as usize]; N];
        let read = source.read_exact(words.as_flattened_mut());
        Some(read.map(|()| words.map(u64::from_le_bytes)).map_err(named(&self.path)))
    }
}

/// Two candidates that share the key of a band.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The lesser node.
    pub a: u64,
    /// The greater node.
    pub b: u64,
    /// The band.
    pub band: u16,
}

/// The pairs of a bucket.
#[derive(Debug)]
pub struct Pairs {
    records: Records<3>,
    last: Option<(u64, u64)>,
}

impl Pairs {
    /// The pairs of a file.
    ///
    /// # Errors
    /// As [`Records::open`].
    pub fn open(path: PathBuf, buffer_bytes: usize) -> Result<Self> {
        Ok(Self { records: Records::open(path, buffer_bytes)?, last: None })
    }

    fn check(&mut self, record: [u64; 3]) -> Result<Pair> {
        let [a, b, band] = record;
        if a >= b || b > MAX_NODE || band > MAX_BAND {
            return Err(self.records.broken("pairs are of two nodes, the lesser first, and a band", record));
        }
        if self.last >= Some((a, b)) {
            return Err(self.records.broken("pairs are sorted and each is there once", record));
        }
        self.last = Some((a, b));
        Ok(Pair { a, b, band: band as u16 })
    }
}

impl Iterator for Pairs {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        Some(record.and_then(|record| self.check(record)))
    }
}

/// A document with the hot groups that it is in: their keys, ascending, each with the lowest band.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The document.
    pub node: u64,
    /// Keys and bands.
    pub groups: Vec<(u64, u16)>,
}

/// The members of a bucket's hot groups.
#[derive(Debug)]
pub struct Members {
    records: Records<3>,
    last: Option<(u64, u64)>,
    /// The first record of the next document.
    next: Option<(u64, u64, u16)>,
}

impl Members {
    /// The members that a file has.
    ///
    /// # Errors
    /// As [`Records::open`], and for a first record that is none.
    pub fn open(path: PathBuf, buffer_bytes: usize) -> Result<Self> {
        let mut members = Self { records: Records::open(path, buffer_bytes)?, last: None, next: None };
        members.next = members.read()?;
        Ok(members)
    }

    /// The next documents, `count` at most.
    ///
    /// # Errors
    /// `Error::Data` for records that are out of order or out of bounds.
    pub fn take(&mut self, count: usize) -> Result<Vec<Member>> {
        let mut out: Vec<Member> = Vec::new();
        while let Some((node, key, band)) = self.next {
            let is_full = out.len() == count;
            match out.last_mut().filter(|member| member.node == node) {
                None if is_full => break,
                None => out.push(Member { node, groups: vec![(key, band)] }),
                Some(member) => match member.groups.last_mut().filter(|(last, _)| *last == key) {
                    None => member.groups.push((key, band)),
                    Some((_, lowest)) => *lowest = band.min(*lowest),
                },
            }
            self.next = self.read()?;
        }
        Ok(out)
    }

    fn read(&mut self) -> Result<Option<(u64, u64, u16)>> {
        let Some(record) = self.records.next().transpose()? else { return Ok(None) };
        let [node, key, band] = record;
        if node > MAX_NODE || band > MAX_BAND {
            return Err(self.records.broken("members are of a node, a key and a band", record));
        }
        if self.last > Some((node, key)) {
            return Err(self.records.broken("members are sorted by node and key", record));
        }
        self.last = Some((node, key));
        Ok(Some((node, key, band as u16)))
    }
}
