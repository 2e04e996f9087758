//! Verification: which candidates are alike, by their sets of shingles, bucket by bucket.
//!
//! Sets of texts are written to a file for each bucket (`set_files`); a bucket's candidates are read and
//! compared (`similarity`), all pairs of a bucket, and of groups that are too large for that each member with
//! representatives (`hot`). Edges are sorted out of core (`edge_files`). The answer does not depend on
//! threads, memory, the number of buckets or the order of adding.
//!
//! Memory: a quarter of the budget for what is written, a half for sets that are compared, the rest for
//! edges; besides, 24 bytes for each set of a bucket, the texts that were passed and a few megabytes.
//! Cost: a comparison of n shingles takes about n ns.

use std::path::{Path, PathBuf};

use arrow_array::{Array as _, FixedSizeBinaryArray, Int64Array, UInt32Array};

use super::boilerplate::Boilerplate;
use super::edge_files::{Edge, EdgeFiles, Edges};
use super::hot::Hot;
use super::pair_files::{Members, Pair, Pairs, bucket_path, named};
use super::set_files::{KIND, SetFiles};
use super::sets::Sets;
use super::shingle_sets::{Texts, make, pack, parse, same_length};
use super::similarity::{Measure, Rule, Set, similarity};
use crate::error::{Error, Result};
use crate::minhash::Settings;

const BUFFER_BYTES: usize = 1 << 20;
/// Pairs that are compared in one go.
const MAX_PAIRS: usize = 1 << 16;
/// Text that is cut in one go.
const TURN_BYTES: usize = 16 << 20;
const MAX_BUCKETS: usize = 1 << 20;

/// What verification has met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pairs of candidates.
    pub num_pairs: u64,
    /// Pairs that are alike.
    pub num_edges: u64,
    /// Pairs that are not.
    pub num_rejected: u64,
    /// Pairs one of which has no set.
    pub num_missing: u64,
    /// Members of hot groups that have no set.
    pub num_hot_missing: u64,
    /// Comparisons of members of hot groups with representatives.
    pub num_hot_comparisons: u64,
    /// Those that are alike; pairs may be among them.
    pub num_hot_edges: u64,
    /// Hot groups in which a document was to be a representative and there was no room.
    pub num_capped_groups: u64,
    /// Documents that found no room in at least one of their groups.
    pub num_capped_docs: u64,
    /// Rejected pairs by tenths of their similarity.
    pub rejected_by_tenth: [u64; 10],
}

impl Counts {
    /// All but the tenths, by name.
    #[must_use]
    pub fn items(&self) -> [(&'static str, u64); 9] {
        [
            ("num_pairs", self.num_pairs),
            ("num_edges", self.num_edges),
            ("num_rejected", self.num_rejected),
            ("num_missing", self.num_missing),
            ("num_hot_missing", self.num_hot_missing),
            ("num_hot_comparisons", self.num_hot_comparisons),
            ("num_hot_edges", self.num_hot_edges),
            ("num_capped_groups", self.num_capped_groups),
            ("num_capped_docs", self.num_capped_docs),
        ]
    }
}

/// How candidates are verified.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Settings of the stage, JSON.
    pub settings: &'a str,
    /// jaccard, containment or signature.
    pub mode: &'a str,
    /// Similarity that is enough.
    pub threshold: f64,
    /// Representatives of a hot group at most.
    pub max_reps: usize,
    /// Buckets of candidates.
    pub num_buckets: usize,
    /// The budget.
    pub memory_bytes: usize,
}

/// A verification; its files are in the folder of the candidates.
#[derive(Debug)]
pub struct Verifier {
    folder: PathBuf,
    settings: Settings,
    measure: Measure,
    rule: Rule,
    max_reps: usize,
    num_buckets: usize,
    memory_bytes: usize,
    set_files: SetFiles,
    edges: EdgeFiles,
    counts: Counts,
    is_done: bool,
}

impl Verifier {
    /// Begin; files that an earlier verification left in the folder are removed.
    ///
    /// # Errors
    /// `Error::Config` for settings out of bounds, `Error::Data` for a folder that cannot be used.
    pub fn new(folder: &Path, options: &Options<'_>) -> Result<Self> {
        let settings = parse(options.settings)?;
        let measure = Measure::parse(options.mode, settings.num_hashes)?;
        let rule = Rule::new(measure, options.threshold)?;
        let &Options { max_reps, num_buckets, memory_bytes, .. } = options;
        let bounds = [
            ("max_reps", max_reps, 1 << 16),
            ("num_buckets", num_buckets, MAX_BUCKETS),
            ("memory_bytes", memory_bytes, usize::MAX),
        ];
        if let Some((name, value, max)) =
            bounds.into_iter().find(|&(_, value, max)| !(1..=max).contains(&value))
        {
            return Err(Error::Config(format!("{name} is from 1 to {max}, not: {value}")));
        }
        std::fs::create_dir_all(folder).map_err(named(folder))?;
        remove_files(folder)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            settings,
            measure,
            rule,
            max_reps,
            num_buckets,
            memory_bytes,
            set_files: SetFiles::new(folder, num_buckets, memory_bytes / 4),
            edges: EdgeFiles::new(folder, memory_bytes / 4),
            counts: Counts::default(),
            is_done: false,
        })
    }

    /// Buckets of candidates.
    #[must_use]
    pub fn num_buckets(&self) -> usize {
        self.num_buckets
    }

    /// Take up the sets of texts. A text that is null or not UTF-8 has none.
    ///
    /// # Errors
    /// `Error::Data` for columns that do not fit and files that cannot be written, `Error::Config` where
    /// signatures are compared.
    pub fn add_texts(
        &mut self,
        texts: Texts<'_>,
        lines: Option<&Boilerplate>,
        places: &Places<'_>,
        num_threads: usize,
    ) -> Result<()> {
        if let Measure::Signature(_) = self.measure {
            return Err(Error::Config("mode signature compares signatures, add those, not: texts".into()));
        }
        let discount = texts.discount(lines)?;
        let texts = texts.texts;
        let places = places.check(texts, self.num_buckets)?;
        let mut start = 0;
        for end in 1..=texts.len() {
            let offsets = texts.value_offsets();
            let num_bytes = offsets.get(end).zip(offsets.get(start)).map_or(0, |(end, start)| end - start);
            if end < texts.len() && num_bytes < TURN_BYTES as i64 {
                continue;
            }
            let made = make(texts, start..end, discount, &self.settings, num_threads)?;
            for (set, &(node, bucket)) in made.iter().zip(places.get(start..end).unwrap_or(&[])) {
                self.set_files.push(bucket, node, set.as_set())?;
            }
            start = end;
        }
        Ok(())
    }

    /// Take up signatures, the slots of which are compared. A null has none.
    ///
    /// # Errors
    /// As `add_texts`, but `Error::Config` where texts are compared.
    pub fn add_signatures(&mut self, signatures: &FixedSizeBinaryArray, places: &Places<'_>) -> Result<()> {
        let Measure::Signature(num_slots) = self.measure else {
            return Err(Error::Config("signatures are compared in mode signature, add texts instead".into()));
        };
        if usize::try_from(signatures.value_length()).ok() != Some(4 * num_slots) {
            return Err(Error::Data(format!(
                "signatures have {num_slots} slots of 4 bytes, these have: {} bytes",
                signatures.value_length()
            )));
        }
        let places = places.check(signatures, self.num_buckets)?;
        for (signature, (node, bucket)) in signatures.iter().zip(places) {
            if let Some(signature) = signature {
                self.set_files.push(bucket, node, Set { level: 0, values: &pack(signature) })?;
            }
        }
        Ok(())
    }

    /// Begin to verify what was added; buckets follow.
    ///
    /// # Errors
    /// `Error::Data` where files cannot be written.
    pub fn start(&mut self) -> Result<()> {
        (self.counts, self.is_done) = (Counts::default(), false);
        self.edges.clear()?;
        self.set_files.flush()
    }

    /// Verify the candidates of a bucket.
    ///
    /// # Errors
    /// `Error::Data` for files that are damaged, cannot be read or written, and for two texts of one node.
    pub fn verify_bucket(&mut self, bucket: usize, num_threads: usize) -> Result<()> {
        let path = |kind| bucket_path(&self.folder, kind, bucket);
        let pairs = Pairs::open(path("pairs"), BUFFER_BYTES)?;
        let mut members = Members::open(path("hot"), BUFFER_BYTES)?;
        let mut sets = Sets::open(path(KIND), self.memory_bytes / 2)?;
        self.verify_pairs(pairs, &mut sets, num_threads)?;
        let hot = Hot { rule: &self.rule, max_reps: self.max_reps, num_threads };
        hot.verify(&mut members, &mut sets, &mut self.edges, &mut self.counts)
    }

    /// End; what was met.
    ///
    /// # Errors
    /// `Error::Data` where files cannot be written.
    pub fn finish(&mut self, num_threads: usize) -> Result<Counts> {
        self.edges.flush(num_threads)?;
        self.is_done = true;
        Ok(self.counts.clone())
    }

    /// The edges, sorted, each once.
    ///
    /// # Errors
    /// `Error::Config` before verification, `Error::Data` for files that cannot be read.
    pub fn edges(&self) -> Result<Edges> {
        if self.is_done {
            return self.edges.merge().map(Edges);
        }
        Err(Error::Config("there are no edges yet, verify before asking for them".into()))
    }

    /// Remove all files of this verification.
    ///
    /// # Errors
    /// `Error::Data` for a file that cannot be removed.
    pub fn close(&mut self) -> Result<()> {
        self.is_done = false;
        self.set_files = SetFiles::new(&self.folder, self.num_buckets, self.memory_bytes / 4);
        self.edges.clear()?;
        remove_files(&self.folder)
    }

    fn verify_pairs(&mut self, mut pairs: Pairs, sets: &mut Sets, num_threads: usize) -> Result<()> {
        loop {
            let batch = pairs.by_ref().take(MAX_PAIRS).collect::<Result<Vec<Pair>>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            let found = batch.iter().map(|pair| sets.find(pair.a).zip(sets.find(pair.b)));
            let found: Vec<_> =
                batch.iter().zip(found).filter_map(|(pair, sets)| Some((pair, sets?))).collect();
            self.counts.num_pairs += batch.len() as u64;
            self.counts.num_missing += (batch.len() - found.len()) as u64;
            let numbers: Vec<_> = found.iter().map(|&(_, numbers)| numbers).collect();
            let measure = self.measure;
            let similarities = sets.each(&numbers, num_threads, |a, b| similarity(measure, a, b))?;
            for ((&Pair { a, b, band }, _), similarity) in found.into_iter().zip(similarities) {
                if self.rule.is_met(similarity) {
                    self.counts.num_edges += 1;
                    self.edges.push(Edge { a, b, similarity: similarity.value(), band }, num_threads)?;
                    continue;
                }
                self.counts.num_rejected += 1;
                if let Some(count) = self.counts.rejected_by_tenth.get_mut(similarity.tenth()) {
                    *count += 1;
                }
            }
        }
    }
}

/// Node and bucket of each row.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Nodes.
    pub nodes: &'a Int64Array,
    /// Buckets.
    pub buckets: &'a UInt32Array,
}

impl Places<'_> {
    fn check(&self, rows: &dyn arrow_array::Array, num_buckets: usize) -> Result<Vec<(u64, usize)>> {
        same_length("nodes", self.nodes, rows)?;
        same_length("buckets", self.buckets, rows)?;
        let places = self.nodes.values().iter().zip(self.buckets.values());
        let place = |(&node, &bucket): (&i64, &u32)| match u64::try_from(node) {
            Ok(node) if (bucket as usize) < num_buckets => Ok((node, bucket as usize)),
            Ok(_) => Err(Error::Data(format!("buckets are from 0 to {}, not: {bucket}", num_buckets - 1))),
            Err(_) => Err(Error::Data(format!("nodes are from 0 on, not: {node}"))),
        };
        places.map(place).collect()
    }
}

/// Remove the files that a verification makes.
fn remove_files(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(named(folder))? {
        let path = entry.map_err(named(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let number = [KIND, "edges"].iter().find_map(|kind| name.strip_prefix(kind)?.strip_prefix('-'));
        let number = number.and_then(|number| number.strip_suffix(".bin")).unwrap_or("");
        if number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()) {
            std::fs::remove_file(&path).map_err(named(&path))?;
        }
    }
    Ok(())
}
