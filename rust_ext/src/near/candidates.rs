//! Candidates of a corpus: signatures in, pairs and hot groups by bucket out.
//!
//! `add` takes signatures, `find` makes pairs and their components, `buckets` says where the text of a
//! document is wanted, `assign` writes what is to be verified: all of a component goes to one bucket.
//!
//! Files for each bucket, words little-endian, each absent where it would be empty:
//!
//! - `pairs-<bucket:05>.bin`: a, b, band; a < b, sorted by both, each pair once with its lowest band;
//! - `hot-<bucket:05>.bin`: node, key, band; sorted by node and key.
//!
//! Cost: see [`super`]; memory is the budget and about 1 MiB for each thread, or `max_group` records of 32
//! bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{BooleanArray, FixedSizeBinaryArray, Int64Array, UInt32Array, UInt64Array};
use rayon::prelude::*;

use super::bag::{Bag, Shape, num_partitions};
use super::components::{Budget, Components, components, distinct};
use super::disk::{Scratch, named};
use super::groups::{Counts, Groups, Mode, Rules, unpack_hot, unpack_pair};
use super::keys::{Bands, Rows};
use super::records::{Record, Stream, Writer, encode};
use super::{BAND_BITS, check_memory, hash_number};
use crate::error::{Error, Result};
use crate::pool;

/// Buckets at most: their files have numbers of five digits.
const MAX_BUCKETS: u32 = 100_000;
/// Partitions at most.
const MAX_PARTITIONS: usize = 1 << 14;
/// What `buckets` says of a document that is in no pair and no hot group.
const NO_BUCKET: u32 = u32::MAX;

/// What candidates are found by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where files are written.
    pub folder: PathBuf,
    /// Bands of a signature.
    pub num_bands: usize,
    /// Slots of a band.
    pub num_rows: usize,
    /// Files that keys are dealt out to, a power of two.
    pub num_partitions: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Documents below this are of an index.
    pub num_indexed: u64,
    /// Which pairs are made.
    pub mode: Mode,
}

#[derive(Debug)]
struct Found {
    pairs: Vec<PathBuf>,
    hot: Vec<PathBuf>,
    /// The members of hot groups, in order.
    hot_nodes: PathBuf,
    components: Components,
    is_assigned: bool,
}

#[derive(Debug)]
enum State {
    Adding { keys: Bag<2>, num_docs: u64, largest: Option<u64> },
    Found(Found),
    Closed,
}

/// The candidates of a corpus, step by step.
#[derive(Debug)]
pub struct Candidates {
    settings: Settings,
    scratch: Arc<Scratch>,
    state: State,
}

impl Candidates {
    /// Begin, with an empty folder for scratch files within the folder.
    ///
    /// # Errors
    /// `Error::Config` for settings out of their bounds, that of the file system.
    pub fn new(settings: Settings) -> Result<Self> {
        check_memory(settings.memory_bytes)?;
        let parts = settings.num_partitions;
        if !parts.is_power_of_two() || parts > MAX_PARTITIONS {
            return Err(Error::Config(format!(
                "num_partitions is a power of two up to {MAX_PARTITIONS}, not: {parts}"
            )));
        }
        let scratch = Arc::new(Scratch::create(settings.folder.join("candidates.tmp"))?);
        let shape = Shape::below("keys", u64::MAX, parts, 1, settings.memory_bytes / 4);
        let state = State::Adding { keys: Bag::new(&scratch, shape), num_docs: 0, largest: None };
        let found = Self { settings, scratch, state };
        found.bands().check()?;
        Ok(found)
    }

    fn bands(&self) -> Bands {
        let Settings { num_bands, num_rows, num_indexed, mode, .. } = self.settings;
        // No pair of documents within the rest of a corpus has one of the index.
        Bands { num_bands, num_rows, first_node: if mode == Mode::Within { num_indexed } else { 0 } }
    }

    /// Add the signatures of some documents, in any order; those without one play no part.
    ///
    /// # Errors Those of [`Rows::new`], before anything is added; that of the file system; `Error::Config`
    /// after `find`.
    pub fn add(
        &mut self,
        signatures: FixedSizeBinaryArray,
        nodes: Int64Array,
        scopes: Option<UInt64Array>,
        num_threads: usize,
    ) -> Result<()> {
        let bands = self.bands();
        let State::Adding { keys, num_docs, largest } = &mut self.state else {
            return Err(Error::Config("candidates are found: nothing can be added".to_owned()));
        };
        let rows = Rows::new(signatures, nodes, scopes, bands)?;
        let (count, top) = rows.add_to(keys, bands, num_threads)?;
        *num_docs += count;
        *largest = (*largest).max(top);
        Ok(())
    }

    /// Find all pairs, hot groups and components.
    ///
    /// # Errors
    /// That of the file system; `Error::Data` for a document that was added twice, `Error::Config` where they
    /// are found already. Nothing can be done afterwards but to close.
    pub fn find(&mut self, max_group: usize, num_threads: usize) -> Result<Counts> {
        if max_group == 0 {
            return Err(Error::Config("max_group is at least 1, not: 0".to_owned()));
        }
        let (mut keys, num_docs, largest) = match std::mem::replace(&mut self.state, State::Closed) {
            State::Adding { keys, num_docs, largest } => (keys, num_docs, largest.unwrap_or(0)),
            other => {
                self.state = other;
                return Err(Error::Config("candidates are found once".to_owned()));
            }
        };
        keys.keep_together(max_group);
        let Settings { memory_bytes, num_partitions: most, num_indexed, mode, .. } = self.settings;
        let budget = Budget { memory_bytes, num_threads };
        // About as many pairs as keys, where there are many at all.
        let parts = num_partitions(num_docs.saturating_mul(self.settings.num_bands as u64), most);
        let shape = |name, frac| Shape::below(name, largest, parts, 2, memory_bytes / frac);
        let hot = shape("hot", 16);
        // The first word of a hot record has more below the document.
        let hot = Shape { skipped: hot.skipped.saturating_sub(BAND_BITS), ..hot };
        let [pairs, hot, links] =
            [shape("pairs", 8), hot, shape("links", 16)].map(|shape| Bag::new(&self.scratch, shape));
        let rules = Rules { max_group, num_indexed, mode };
        let mut counts = group(&keys, rules, [&pairs, &hot, &links], budget)?;
        drop(keys);
        let scratch = &self.scratch;
        let pairs = distinct(scratch, pairs, "sorted-pairs", 0, false, budget)?;
        let hot = distinct(scratch, hot, "sorted-hot", BAND_BITS, true, budget)?;
        let hot_nodes = self.write_hot_nodes(&hot.paths)?;
        let links = distinct(scratch, links, "sorted-links", 0, false, budget)?;
        let edges = [pairs.paths.as_slice(), &links.paths].concat();
        let components = components(scratch, &edges, largest, budget)?;
        links.paths.iter().try_for_each(|path| scratch.remove(path))?;
        counts.num_docs = num_docs;
        counts.num_pairs = pairs.num_records;
        counts.num_hot_docs = hot.num_nodes;
        counts.num_candidates = components.num_nodes;
        counts.scratch_bytes = scratch.peak();
        let (pairs, hot) = (pairs.paths, hot.paths);
        self.state = State::Found(Found { pairs, hot, hot_nodes, components, is_assigned: false });
        Ok(counts)
    }

    fn write_hot_nodes(&self, hot: &[PathBuf]) -> Result<PathBuf> {
        let mut out: Writer<1> = Writer::create(&self.scratch, self.scratch.path("hot-nodes"))?;
        let mut stream: Stream<2> = Stream::open(hot.to_vec());
        let mut last = None;
        while let Some(record) = stream.next()? {
            let [node, ..]: Record<3> = unpack_hot(record);
            if last.replace(node) != Some(node) {
                out.push([node])?;
            }
        }
        out.finish()
    }

    /// Whether each document of a range is a member of a hot group.
    ///
    /// # Errors
    /// That of the file system, `Error::Config` before `find`.
    pub fn is_hot(&self, first_node: u64, num_nodes: usize) -> Result<BooleanArray> {
        let mut stream: Stream<1> = Stream::seek(&self.found()?.hot_nodes, first_node)?;
        let mut is_hot = |node| Ok(stream.find(node)?.is_some());
        (first_node..).take(num_nodes).map(|node| is_hot(node).map(Some)).collect()
    }

    fn found(&self) -> Result<&Found> {
        match &self.state {
            State::Found(found) => Ok(found),
            State::Adding { .. } => Err(Error::Config("candidates are not found yet: call find".to_owned())),
            State::Closed => Err(Error::Config("candidates are closed".to_owned())),
        }
    }

    /// The bucket of each document of a range; 2^32 - 1 where it is no candidate.
    ///
    /// # Errors
    /// That of the file system, `Error::Config` before `find`.
    pub fn buckets(&self, first_node: u64, num_nodes: usize, num_buckets: u32) -> Result<UInt32Array> {
        check_buckets(num_buckets)?;
        let mut stream: Stream<2> = Stream::seek(&self.found()?.components.path, first_node)?;
        let mut bucket =
            |node| Ok(stream.find(node)?.map_or(NO_BUCKET, |[_, id]| bucket_of(id, num_buckets)));
        (first_node..).take(num_nodes).map(|node| bucket(node).map(Some)).collect()
    }

    /// Write pairs and hot groups by bucket; the sorted ones are removed.
    ///
    /// # Errors
    /// That of the file system, `Error::Config` before `find` and after an earlier call.
    pub fn assign(&mut self, num_buckets: u32) -> Result<()> {
        check_buckets(num_buckets)?;
        if self.found()?.is_assigned {
            return Err(Error::Config("candidates are assigned once".to_owned()));
        }
        let Self { settings, scratch, state: State::Found(found) } = self else { return Ok(()) };
        found.is_assigned = true;
        let limit = settings.memory_bytes / 2 / u64::from(num_buckets);
        for (name, files, unpack) in
            [("pairs", &found.pairs, unpack_pair as fn(_) -> _), ("hot", &found.hot, unpack_hot)]
        {
            remove_old(&settings.folder, name)?;
            let mut ids: Stream<2> = Stream::open(vec![found.components.path.clone()]);
            let mut out = Buckets::new(&settings.folder, name, num_buckets, limit);
            for path in files {
                let mut stream = Stream::open(vec![path.clone()]);
                while let Some(record) = stream.next()? {
                    let record: Record<3> = unpack(record);
                    let id = ids.find(record[0])?.map_or(record[0], |[_, id]| id);
                    out.push(bucket_of(id, num_buckets), record)?;
                }
                scratch.remove(path)?;
            }
            out.finish()?;
        }
        Ok(())
    }

    /// Remove the scratch files; nothing can be done afterwards.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.scratch.clear();
    }
}

/// Turn all keys into pairs, hot records, and links of hot groups.
fn group(keys: &Bag<2>, rules: Rules, [pairs, hot, links]: [&Bag<2>; 3], budget: Budget) -> Result<Counts> {
    let part = |at: usize| {
        let mut groups = Groups::new(rules, pairs.adder(), hot.adder(), links.adder());
        keys.drain(at, budget.share(), &mut |run| groups.see(&run))?;
        groups.finish()
    };
    pool::run(budget.num_threads, || {
        let parts = (0..keys.num_parts()).into_par_iter().map(part);
        parts.try_reduce(Counts::default, |a, b| Ok(a.join(b)))
    })?
}

fn check_buckets(num_buckets: u32) -> Result<()> {
    if (1..=MAX_BUCKETS).contains(&num_buckets) {
        return Ok(());
    }
    Err(Error::Config(format!("num_buckets is from 1 to {MAX_BUCKETS}, not: {num_buckets}")))
}

/// The bucket of a component.
fn bucket_of(id: u64, num_buckets: u32) -> u32 {
    // The rest is below `num_buckets`.
    (hash_number(id) % u64::from(num_buckets)) as u32
}

/// Remove files of buckets that an earlier process left.
fn remove_old(folder: &Path, name: &str) -> Result<()> {
    let start = format!("{name}-");
    for entry in std::fs::read_dir(folder).map_err(named(folder))? {
        let path = entry.map_err(named(folder))?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let bucket = file.strip_prefix(&start).and_then(|rest| rest.strip_suffix(".bin"));
        if bucket.is_some_and(|bucket| bucket.len() == 5 && bucket.bytes().all(|b| b.is_ascii_digit())) {
            std::fs::remove_file(&path).map_err(named(&path))?;
        }
    }
    Ok(())
}

/// Files of buckets, written through a buffer for each.
struct Buckets<'a> {
    folder: &'a Path,
    name: &'a str,
    limit: usize,
    waiting: Vec<Vec<u8>>,
}

impl<'a> Buckets<'a> {
    fn new(folder: &'a Path, name: &'a str, num_buckets: u32, limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 20);
        Self { folder, name, limit, waiting: vec![Vec::new(); num_buckets as usize] }
    }

    fn push(&mut self, bucket: u32, record: Record<3>) -> Result<()> {
        let Some(waiting) = self.waiting.get_mut(bucket as usize) else { return Ok(()) };
        encode(&[record], waiting);
        if waiting.len() >= self.limit { self.write(bucket as usize) } else { Ok(()) }
    }

    fn write(&mut self, bucket: usize) -> Result<()> {
        let Some(waiting) = self.waiting.get_mut(bucket).filter(|waiting| !waiting.is_empty()) else {
            return Ok(());
        };
        let path = self.folder.join(format!("{}-{bucket:05}.bin", self.name));
        super::disk::append(&path, waiting)?;
        waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        (0..self.waiting.len()).try_for_each(|bucket| self.write(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Signatures of four slots, of a few values each.
    fn slots(node: u64) -> [u32; 4] {
        let value = |slot: u64, count: u64| hash_number(hash_number(node * 4 + slot) % count) as u32;
        [value(0, 3), value(1, 40), value(2, 60), value(3, 50)]
    }

    fn run(
        memory_bytes: u64,
        num_partitions: usize,
        num_threads: usize,
        mode: Mode,
    ) -> (Counts, Vec<Vec<u8>>) {
        let name = format!("curate-near-{}-{memory_bytes}-{num_partitions}-{mode:?}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&folder);
        let settings = Settings {
            folder: folder.clone(),
            num_bands: 4,
            num_rows: 1,
            num_partitions,
            memory_bytes,
            num_indexed: 100,
            mode,
        };
        let mut found = Candidates::new(settings).unwrap();
        for start in [300, 0, 150] {
            let nodes: Vec<u64> = (start..start + 150).collect();
            let values = nodes.iter().map(|&node| slots(node).map(u32::to_le_bytes).concat());
            let signatures = FixedSizeBinaryArray::try_from_iter(values).unwrap();
            let nodes = Int64Array::from_iter_values(nodes.iter().map(|&node| node as i64));
            found.add(signatures, nodes, None, num_threads).unwrap();
        }
        let counts = found.find(20, num_threads).unwrap();
        found.assign(3).unwrap();
        let files =
            ["pairs", "hot"].iter().flat_map(|name| (0..3).map(move |at| format!("{name}-{at:05}.bin")));
        let files = files.map(|name| std::fs::read(folder.join(name)).unwrap_or_default()).collect();
        drop(found);
        std::fs::remove_dir_all(folder).unwrap();
        (counts, files)
    }

    #[test]
    fn pairs_and_hot_groups_are_those_of_the_definition() {
        let mut groups: BTreeMap<(usize, u32), Vec<u64>> = BTreeMap::new();
        for node in 0..450 {
            for (band, slot) in slots(node).into_iter().enumerate() {
                groups.entry((band, slot)).or_default().push(node);
            }
        }
        let mut pairs = BTreeSet::new();
        for group in groups.values().filter(|group| group.len() <= 20) {
            for (at, &a) in group.iter().enumerate() {
                pairs.extend(group[at + 1..].iter().filter(|&&b| b >= 100).map(|&b| (a, b)));
            }
        }
        let (counts, files) = run(1 << 20, 16, 1, Mode::Both);
        assert_eq!(counts.num_pairs, pairs.len() as u64);
        assert_eq!(counts.num_hot_groups, groups.values().filter(|group| group.len() > 20).count() as u64);
        assert_eq!(counts.num_keys, groups.len() as u64);
        assert_eq!(files.iter().take(3).map(|file| file.len() / 24).sum::<usize>(), pairs.len());
        assert_eq!(counts.num_hot_docs, 450);
    }

    #[test]
    fn neither_memory_nor_partitions_nor_threads_show() {
        for mode in [Mode::Both, Mode::Within, Mode::Against] {
            let (expected, files) = run(1 << 24, 256, 1, mode);
            for (memory_bytes, num_partitions, num_threads) in
                [(1 << 12, 16, 1), (1 << 12, 1, 2), (1 << 14, 64, 4)]
            {
                let (counts, other) = run(memory_bytes, num_partitions, num_threads, mode);
                let scratch_bytes = expected.scratch_bytes;
                assert_eq!(Counts { scratch_bytes, ..counts }, expected, "{mode:?} {memory_bytes}");
                assert!(files == other, "{mode:?} {memory_bytes} {num_partitions} {num_threads}");
            }
        }
    }
}
