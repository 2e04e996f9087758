//! The sets of one bucket, by node: all in memory where they fit, or those that are needed next.
//!
//! What is compared is known in batches, so sets that do not fit are read for a batch in the order of the
//! file, and kept for the next batches until memory is full. The index takes 24 bytes for each set.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use super::pair_files::{WORD_BYTES, named, open};
use super::similarity::Set;
use crate::error::{Error, Result};
use crate::pool;

const BUFFER_BYTES: usize = 1 << 20;
/// Numbers of a record before its values.
const HEAD_WORDS: u64 = 2;
/// The index may have this size however little memory there is.
const MIN_INDEX_BYTES: usize = 16 << 20;
/// Comparisons that are worth waking threads for.
const MIN_PARALLEL: usize = 64;
const MIN_LEN: usize = 32;

/// Where a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    node: u64,
    /// Number of the first value in the file.
    at: u64,
    num_values: u32,
    level: u32,
}

/// Sets that are in memory.
#[derive(Debug)]
enum Held {
    All(Vec<u64>),
    Some { sets: HashMap<usize, Vec<u64>>, num_bytes: usize },
}

/// The sets of a bucket.
#[derive(Debug)]
pub struct Sets {
    path: PathBuf,
    file: Option<File>,
    entries: Vec<Entry>,
    held: Held,
    max_bytes: usize,
}

impl Sets {
    /// The sets of a file, none where it is missing; about `max_bytes` are held in memory.
    ///
    /// # Errors
    /// `Error::Data` for a file that cannot be read or has two sets of a node, `Error::Config` where not even
    /// the index fits.
    pub fn open(path: PathBuf, max_bytes: usize) -> Result<Self> {
        let Some((file, num_bytes)) = open(&path)? else {
            return Ok(Self {
                path,
                file: None,
                entries: Vec::new(),
                held: Held::All(Vec::new()),
                max_bytes,
            });
        };
        let fits = num_bytes <= max_bytes as u64;
        let mut words = Words::new(&path, &file, num_bytes, fits)?;
        let mut entries = Vec::new();
        while let Some(entry) = words.entry()? {
            entries.push(entry);
            if entries.len() * size_of::<Entry>() > max_bytes.max(MIN_INDEX_BYTES) {
                return Err(Error::Config(format!(
                    "{} has more sets than can be indexed; take more buckets, or more bytes than: {max_bytes}",
                    path.display()
                )));
            }
        }
        entries.sort_unstable();
        if let Some([first, _]) = entries.array_windows().find(|[a, b]| a.node == b.node) {
            return Err(Error::Data(format!("each node has one text, two have come for: {}", first.node)));
        }
        let held =
            if fits { Held::All(words.kept) } else { Held::Some { sets: HashMap::new(), num_bytes: 0 } };
        Ok(Self { path, file: Some(file), entries, held, max_bytes })
    }

    /// The number of a node's set.
    #[must_use]
    pub fn find(&self, node: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&node, |entry| entry.node).ok()
    }

    /// The node of a set.
    #[must_use]
    pub fn node(&self, set: usize) -> u64 {
        self.entries.get(set).map_or(0, |entry| entry.node)
    }

    /// Call `compare` with the sets of each pair of numbers; the answers are in the order of the pairs.
    ///
    /// # Errors
    /// `Error::Data` for a file that cannot be read, `Error::Config` when threads cannot be started.
    pub fn each<R: Send>(
        &mut self,
        mut pairs: &[(usize, usize)],
        num_threads: usize,
        compare: impl Fn(Set<'_>, Set<'_>) -> R + Sync,
    ) -> Result<Vec<R>> {
        let mut out = Vec::with_capacity(pairs.len());
        while !pairs.is_empty() {
            let (now, later) = pairs.split_at(self.hold(pairs, num_threads)?);
            let compare = |&(a, b): &(usize, usize)| compare(self.set(a), self.set(b));
            if now.len() < MIN_PARALLEL {
                out.extend(now.iter().map(compare));
            } else {
                let now = now.par_iter().with_min_len(MIN_LEN).map(compare);
                out.extend(pool::run(num_threads, || now.collect::<Vec<_>>())?);
            }
            pairs = later;
        }
        Ok(out)
    }

    fn set(&self, set: usize) -> Set<'_> {
        let entry = self.entries.get(set);
        let values = match &self.held {
            Held::All(words) => {
                entry.and_then(|entry| words.get(entry.at as usize..)?.get(..entry.num_values as usize))
            }
            Held::Some { sets, .. } => sets.get(&set).map(Vec::as_slice),
        };
        Set { level: entry.map_or(0, |entry| entry.level), values: values.unwrap_or(&[]) }
    }

    fn num_bytes(&self, set: usize) -> usize {
        self.entries.get(set).map_or(0, |entry| entry.num_values as usize * WORD_BYTES as usize)
    }

    /// Read what the first pairs need; their number, at least 1.
    fn hold(&mut self, pairs: &[(usize, usize)], num_threads: usize) -> Result<usize> {
        if matches!(self.held, Held::All(_)) {
            return Ok(pairs.len());
        }
        let mut wanted = HashSet::new();
        let (mut wanted_bytes, mut count) = (0, 0);
        for &(a, b) in pairs {
            let new = [a, b].into_iter().filter(|set| !wanted.contains(set));
            let new_bytes: usize = new.map(|set| self.num_bytes(set)).sum();
            if count > 0 && wanted_bytes + new_bytes > self.max_bytes {
                break;
            }
            wanted.extend([a, b]);
            wanted_bytes += new_bytes;
            count += 1;
        }
        self.read(&wanted, num_threads)?;
        Ok(count)
    }

    fn read(&mut self, wanted: &HashSet<usize>, num_threads: usize) -> Result<()> {
        let Held::Some { sets, num_bytes: held_bytes } = &self.held else { return Ok(()) };
        let mut missing: Vec<usize> = wanted.iter().copied().filter(|set| !sets.contains_key(set)).collect();
        missing.sort_unstable_by_key(|&set| self.entries.get(set).map(|entry| entry.at));
        let new_bytes: usize = missing.iter().map(|&set| self.num_bytes(set)).sum();
        let is_full = held_bytes + new_bytes > self.max_bytes;
        if let Held::Some { sets, num_bytes } = &mut self.held
            && is_full
        {
            sets.retain(|set, _| wanted.contains(set));
            *num_bytes = sets.values().map(|values| values.len() * WORD_BYTES as usize).sum();
        }
        let read = |&set: &usize| self.read_set(set).map(|values| (set, values));
        let found: Result<Vec<_>> = if missing.len() < MIN_PARALLEL {
            missing.iter().map(read).collect()
        } else {
            let missing = missing.par_iter().with_min_len(MIN_LEN).map(read);
            pool::run(num_threads, || missing.collect())?
        };
        let found = found?;
        if let Held::Some { sets, num_bytes } = &mut self.held {
            sets.extend(found);
            *num_bytes += new_bytes;
        }
        Ok(())
    }

    fn read_set(&self, set: usize) -> Result<Vec<u64>> {
        let (Some(entry), Some(file)) = (self.entries.get(set), &self.file) else { return Ok(Vec::new()) };
        let mut bytes = vec![0; self.num_bytes(set)];
        file.read_exact_at(&mut bytes, entry.at * WORD_BYTES).map_err(named(&self.path))?;
        Ok(numbers(&bytes).collect())
    }
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The numbers of a file, which are kept or skipped where they are values.
struct Words<'a> {
    path: &'a Path,
    source: BufReader<&'a File>,
    num_words: u64,
    at: u64,
    keeps: bool,
    kept: Vec<u64>,
    bytes: Vec<u8>,
}

impl<'a> Words<'a> {
    fn new(path: &'a Path, file: &'a File, num_bytes: u64, keeps: bool) -> Result<Self> {
        if !num_bytes.is_multiple_of(WORD_BYTES) {
            return Err(truncated(path));
        }
        let num_words = num_bytes / WORD_BYTES;
        let source = BufReader::with_capacity(BUFFER_BYTES, file);
        let kept = if keeps { Vec::with_capacity(num_words as usize) } else { Vec::new() };
        Ok(Self { path, source, num_words, at: 0, keeps, kept, bytes: Vec::new() })
    }

    fn read(&mut self, count: u64) -> Result<()> {
        if count > self.num_words - self.at {
            return Err(truncated(self.path));
        }
        self.at += count;
        self.bytes.resize((count * WORD_BYTES) as usize, 0);
        self.source.read_exact(&mut self.bytes).map_err(named(self.path))?;
        if self.keeps {
            self.kept.extend(numbers(&self.bytes));
        }
        Ok(())
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        if count > self.num_words - self.at {
            return Err(truncated(self.path));
        }
        self.at += count;
        self.source.seek_relative((count * WORD_BYTES) as i64).map_err(named(self.path))
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        if self.at == self.num_words {
            return Ok(None);
        }
        self.read(HEAD_WORDS)?;
        let mut head = numbers(&self.bytes);
        let (node, sizes) = (head.next().unwrap_or(0), head.next().unwrap_or(0));
        drop(head);
        let (level, num_values) = (sizes as u32, (sizes >> 32) as u32);
        let entry = Entry { node, at: self.at, num_values, level };
        if self.keeps { self.read(num_values.into()) } else { self.skip(num_values.into()) }?;
        Ok(Some(entry))
    }
}

fn truncated(path: &Path) -> Error {
    Error::Data(format!("a file of sets ends within one, add the texts again: {}", path.display()))
}
