//! Documents that share a key, and what follows from it: pairs, or a hot group where they are too many.
//!
//! A group of up to `max_group` documents gives all its pairs; a larger one is hot, and each member is noted
//! with the key instead. Cost: as many pairs as there are, 16 bytes each, once for each band that two
//! documents share.
//!
//! Not here: the removal of pairs that were found in several bands.

use std::path::Path;

use super::BAND_BITS;
use super::bag::{Adder, Run};
use super::records::{Record, Stream};
use crate::error::{Error, Result};

/// Which pairs are made, where some documents are those of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All but those of two documents of the index.
    Both,
    /// Those of two documents that are not of the index.
    Within,
    /// Those of a document of the index and one that is not.
    Against,
}

impl Mode {
    /// Read a setting.
    ///
    /// # Errors
    /// `Error::Config` that lists the modes.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "both" => Ok(Self::Both),
            "within" => Ok(Self::Within),
            "against" => Ok(Self::Against),
            _ => Err(Error::Config(format!("mode is both, within or against, not: {name}"))),
        }
    }
}

/// How groups are treated.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Documents of a group that is not hot, at most.
    pub max_group: usize,
    /// Documents below this are of the index.
    pub num_indexed: u64,
    /// Which pairs are made.
    pub mode: Mode,
}

impl Rules {
    /// Whether a group of ascending documents has a pair that is made, by its ends.
    fn has_pair(self, first: u64, last: u64) -> bool {
        let (is_old, is_new) = (first < self.num_indexed, last >= self.num_indexed);
        first != last && is_new && (is_old || self.mode != Mode::Against)
    }
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents with a signature.
    pub num_docs: u64,
    /// Different keys.
    pub num_keys: u64,
    /// Keys that several documents have.
    pub num_groups: u64,
    /// Documents of the largest group; 1 where no key is shared.
    pub largest_group: u64,
    /// Different pairs.
    pub num_pairs: u64,
    /// Groups without pairs.
    pub num_hot_groups: u64,
    /// Different documents in such groups.
    pub num_hot_docs: u64,
    /// Documents in a pair or in a hot group.
    pub num_candidates: u64,
    /// Most bytes that were on the disk at one time, about.
    pub scratch_bytes: u64,
}

impl Counts {
    /// All counts with their names.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        [
            ("num_docs", self.num_docs),
            ("num_keys", self.num_keys),
            ("num_groups", self.num_groups),
            ("largest_group", self.largest_group),
            ("num_pairs", self.num_pairs),
            ("num_hot_groups", self.num_hot_groups),
            ("num_hot_docs", self.num_hot_docs),
            ("num_candidates", self.num_candidates),
            ("scratch_bytes", self.scratch_bytes),
        ]
    }

    /// Both together, where they are of different partitions.
    pub fn join(self, other: Self) -> Self {
        Self {
            num_docs: self.num_docs + other.num_docs,
            num_keys: self.num_keys + other.num_keys,
            num_groups: self.num_groups + other.num_groups,
            largest_group: self.largest_group.max(other.largest_group),
            num_pairs: self.num_pairs + other.num_pairs,
            num_hot_groups: self.num_hot_groups + other.num_hot_groups,
            num_hot_docs: self.num_hot_docs + other.num_hot_docs,
            num_candidates: self.num_candidates + other.num_candidates,
            scratch_bytes: self.scratch_bytes.max(other.scratch_bytes),
        }
    }
}

/// The document of a record of a key.
fn node_of(record: &Record<2>) -> u64 {
    record[1] >> BAND_BITS
}

/// A record of a hot group: in the order of document, key, band.
fn hot(record: &Record<2>) -> Record<2> {
    let [key, value] = *record;
    let band = value & ((1 << BAND_BITS) - 1);
    [value >> BAND_BITS << BAND_BITS | key >> (u64::BITS - BAND_BITS), key << BAND_BITS | band]
}

/// Document, key and band of a record of a hot group.
pub fn unpack_hot([high, low]: Record<2>) -> Record<3> {
    let band = low & ((1 << BAND_BITS) - 1);
    [high >> BAND_BITS, high << (u64::BITS - BAND_BITS) | low >> BAND_BITS, band]
}

/// First and second document and band of a record of a pair.
pub fn unpack_pair([a, low]: Record<2>) -> Record<3> {
    [a, low >> BAND_BITS, low & ((1 << BAND_BITS) - 1)]
}

/// Turns the groups of one partition into records.
#[derive(Debug)]
pub struct Groups<'a> {
    rules: Rules,
    counts: Counts,
    pairs: Adder<'a, 2>,
    hot: Adder<'a, 2>,
    /// First document of a hot group and another one.
    links: Adder<'a, 2>,
}

impl<'a> Groups<'a> {
    /// Nothing is counted yet.
    pub fn new(rules: Rules, pairs: Adder<'a, 2>, hot: Adder<'a, 2>, links: Adder<'a, 2>) -> Self {
        Self { rules, counts: Counts::default(), pairs, hot, links }
    }

    /// Look at records that are sorted by key, or all have one.
    ///
    /// # Errors
    /// That of the file system, `Error::Data` for a document that came twice.
    pub fn see(&mut self, run: &Run<'_, 2>) -> Result<()> {
        match run {
            Run::Sorted(records) => {
                let mut groups = records.chunk_by(|a, b| a[0] == b[0]);
                groups.try_for_each(|group| self.group(group))
            }
            Run::Equal(path) => self.stream(path),
        }
    }

    /// Hand over what waits; returns what was counted.
    ///
    /// # Errors
    /// That of the file system.
    pub fn finish(self) -> Result<Counts> {
        self.pairs.finish()?;
        self.hot.finish()?;
        self.links.finish()?;
        Ok(self.counts)
    }

    fn count(&mut self, size: u64) {
        self.counts.num_keys += 1;
        self.counts.num_groups += u64::from(size > 1);
        self.counts.largest_group = self.counts.largest_group.max(size);
    }

    /// One group, sorted by document.
    fn group(&mut self, group: &[Record<2>]) -> Result<()> {
        self.count(group.len() as u64);
        let [first, .., last] = group else { return Ok(()) };
        if let Some([twice, _]) = group.array_windows().find(|[a, b]| a == b) {
            return Err(twice_added(node_of(twice)));
        }
        if !self.rules.has_pair(node_of(first), node_of(last)) {
            return Ok(());
        }
        if group.len() > self.rules.max_group {
            self.counts.num_hot_groups += 1;
            return group.iter().try_for_each(|record| self.member(node_of(first), record));
        }
        self.pairs(group)
    }

    fn pairs(&mut self, group: &[Record<2>]) -> Result<()> {
        let old = group.partition_point(|record| node_of(record) < self.rules.num_indexed);
        for (at, record) in group.iter().enumerate() {
            // Two of the index never; two others not where only the index counts.
            let after = if at < old { old } else { at + 1 };
            if at >= old && self.rules.mode == Mode::Against {
                break;
            }
            let (a, band) = (node_of(record), record[1] & ((1 << BAND_BITS) - 1));
            for other in group.get(after..).unwrap_or_default() {
                let b = node_of(other);
                if a != b {
                    self.pairs.push([a, b << BAND_BITS | band])?;
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, first: u64, record: &Record<2>) -> Result<()> {
        self.hot.push(hot(record))?;
        self.links.push([first, node_of(record) << BAND_BITS])
    }

    /// One group that does not fit the memory, which is larger than any that is not hot.
    fn stream(&mut self, path: &Path) -> Result<()> {
        let (mut size, mut first, mut last) = (0, u64::MAX, 0);
        each(path, |record| {
            size += 1;
            first = first.min(node_of(record));
            last = last.max(node_of(record));
            Ok(())
        })?;
        self.count(size);
        if !self.rules.has_pair(first, last) {
            return Ok(());
        }
        self.counts.num_hot_groups += 1;
        each(path, |record| self.member(first, record))
    }
}

fn each(path: &Path, mut see: impl FnMut(&Record<2>) -> Result<()>) -> Result<()> {
    let mut stream = Stream::open(vec![path.to_path_buf()]);
    loop {
        let chunk = stream.chunk()?;
        if chunk.is_empty() {
            return Ok(());
        }
        chunk.iter().try_for_each(&mut see)?;
    }
}

/// The error of a document that came twice.
pub fn twice_added(node: u64) -> Error {
    Error::Data(format!("a document was added twice: node {node}"))
}
