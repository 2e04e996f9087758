//! The fused pass: every enabled group of signals over each document, in one scan.
//!
//! A group sees one document at a time through [`Views`] and keeps its own output columns, so a pass
//! of many groups gives the same bytes as many passes of one group. Rows depend on their own text
//! alone, so neither threads nor chunks show in the result.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, LargeBinaryArray, LargeListArray, RecordBatch, make_array};
use arrow_data::transform::MutableArrayData;
use arrow_schema::{ArrowError, Field, Schema};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use crate::c4::C4;
use crate::document::{Document, Identity};
use crate::error::{Error, Result};
use crate::fasttext::Classifier;
use crate::fasttext::tokens::{Token, split};
use crate::fineweb::FineWeb;
use crate::gopher::Gopher;
use crate::linear::Linear;
use crate::minhash::{self, MinHash};
use crate::pool;
use crate::redpajama::RedPajama;
use crate::text::{MAX_TEXT_BYTES, Reads, Segments, Split, Views, WordMode, splitter};
use crate::tokens::Counter;

/// Column that is true where the text is not valid UTF-8; the first of every pass.
pub const INVALID_UTF8: &str = "input.invalid_utf8";

/// A chunk of documents is not made smaller than this for the sake of more threads.
const MIN_CHUNK_BYTES: usize = 256 << 10;
/// Text of the documents that one group with tables gets before the next.
const TURN_BYTES: usize = 1 << 20;
/// More chunks than threads, so that a thread with light documents helps the others.
const CHUNKS_PER_THREAD: usize = 16;

/// A group of signals: one output row per document, columns named `stage.measure`.
pub trait Signals: Send {
    /// Measure one document and append one row.
    fn push(&mut self, doc: &Views<'_>);
    /// Append a row of nulls, for a document that could not be read.
    fn push_null(&mut self);
    /// The columns, in a fixed order, with as many rows as were pushed since the last call.
    fn finish(&mut self) -> Vec<(String, ArrayRef)>;
    /// What `push` reads; a pass has nothing that no group reads.
    fn reads(&self) -> Reads {
        Reads::default()
    }
    /// Whether it looks up tables that fill the cache of a core. Such a group gets a batch of documents before the
    /// next group does: taking turns at each document, all would wait for memory.
    fn has_tables(&self) -> bool {
        false
    }
}

/// Makes a group with no rows yet; called once per thread of a pass.
pub type Make = Box<dyn Fn() -> Box<dyn Signals> + Send + Sync>;

/// What one pass measures.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Names of the groups; their order does not matter.
    pub groups: Vec<String>,
    /// How text is split into words.
    pub words: WordMode,
    /// Settings of the token counters, one object each.
    #[serde(default)]
    pub tokens: Vec<serde_json::Value>,
    /// Settings of the fastText models, one object each.
    #[serde(default)]
    pub models: Vec<serde_json::Value>,
    /// Settings of the hashed linear models, one object each.
    #[serde(default)]
    pub linears: Vec<serde_json::Value>,
    /// Settings of signatures; none are made without.
    #[serde(default)]
    pub minhash: Option<serde_json::Value>,
}

impl Spec {
    /// Read a spec from JSON.
    ///
    /// # Errors
    /// `Error::Config` for anything else than the fields above.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|error| Error::Config(format!("measure spec: {error}")))
    }

    /// The makers of the enabled groups, in the order of their columns; `is_given` words come from outside.
    fn makers(&self, is_given: bool) -> Result<Vec<Make>> {
        let words = self.words;
        let joined = is_given || words == WordMode::DatatroveEn;
        let known: [(&str, Make); 6] = [
            ("identity", Box::new(|| Box::<Identity>::default())),
            ("document", Box::new(|| Box::<Document>::default())),
            ("gopher", Box::new(move || Box::new(Gopher::new(joined)))),
            ("c4", Box::new(move || Box::new(C4::new(words)))),
            ("fineweb", Box::new(|| Box::<FineWeb>::default())),
            ("redpajama", Box::new(|| Box::<RedPajama>::default())),
        ];
        for name in &self.groups {
            if !known.iter().any(|(other, _)| other == name) {
                let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
                return Err(Error::Config(format!("groups are {}, not: {name}", names.join(", "))));
            }
        }
        let enabled = |name: &str| self.groups.iter().any(|other| other == name);
        let mut makers: Vec<Make> =
            known.into_iter().filter(|(name, _)| enabled(name)).map(|(_, make)| make).collect();
        for settings in &self.tokens {
            let counter = Counter::new(settings)?;
            makers.push(Box::new(move || Box::new(counter.group())));
        }
        for settings in &self.models {
            let classifier = Classifier::new(settings)?;
            makers.push(Box::new(move || Box::new(classifier.group())));
        }
        for settings in &self.linears {
            let linear = Linear::new(settings, words == WordMode::Uax29 && !is_given)?;
            makers.push(Box::new(move || Box::new(linear.group())));
        }
        if let Some(settings) = &self.minhash {
            let settings = minhash::Settings::new(settings)?;
            makers.push(Box::new(move || Box::new(MinHash::new(&settings))));
        }
        Ok(makers)
    }
}

/// Measure every document of `texts`.
///
/// # Errors
/// `Error::Config` for an unknown group.
pub fn measure(texts: &LargeBinaryArray, spec: &Spec, num_threads: usize) -> Result<RecordBatch> {
    let (makers, key) = (spec.makers(false)?, format!("{spec:?}"));
    Pass { texts, given: None, makers, split: splitter(spec.words), key }.run(num_threads)
}

/// Measure every document of `texts`, with the words of each given instead of found.
///
/// # Errors
/// As [`measure`]; `Error::Data` when the arrays differ in length or the words are not strings.
pub fn measure_words(texts: &LargeBinaryArray, words: &LargeListArray, spec: &Spec) -> Result<RecordBatch> {
    if texts.len() != words.len() {
        return Err(Error::Data(format!("{} texts but {} lists of words", texts.len(), words.len())));
    }
    if words.values().as_string_opt::<i64>().is_none() {
        return Err(Error::Data(format!("words must be large_string, not: {}", words.value_type())));
    }
    let (makers, key) = (spec.makers(true)?, format!("{spec:?}, given"));
    Pass { texts, given: Some(words), makers, split: |_, _| (), key }.run(1)
}

struct Pass<'a> {
    texts: &'a LargeBinaryArray,
    given: Option<&'a LargeListArray>,
    makers: Vec<Make>,
    split: Split,
    /// What makes workers of different passes the same.
    key: String,
}

type Columns = Vec<(String, ArrayRef)>;

impl Pass<'_> {
    fn run(&self, num_threads: usize) -> Result<RecordBatch> {
        let chunks = chunks(self.texts, num_threads);
        if let [rows] = chunks.as_slice() {
            let mut worker = Worker::take(self);
            let columns = worker.measure(self, rows.clone());
            worker.put_back();
            return concat(&[columns], self.texts.len());
        }
        // The largest first, so that no thread is left with much to do when the others are done.
        let mut order: Vec<usize> = (0..chunks.len()).collect();
        order.sort_by_key(|&index| Reverse(num_bytes(self.texts, &chunks[index])));
        let parts: Vec<OnceLock<Columns>> = chunks.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let work = |_: usize| {
            let mut worker = Worker::take(self);
            while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Each index is taken once, so the place is empty.
                let _ = parts[index].set(worker.measure(self, chunks[index].clone()));
            }
            worker.put_back();
        };
        pool::run(num_threads, || (0..num_threads).into_par_iter().with_max_len(1).for_each(work))?;
        let parts: Vec<Columns> =
            parts.into_iter().map(|part| part.into_inner().unwrap_or_default()).collect();
        concat(&parts, self.texts.len())
    }

    fn view<'a>(&self, row: usize, text: &'a str, reads: Reads, segments: &'a mut Segments) -> Views<'a> {
        match self.given {
            None => segments.view(text, self.split, reads),
            Some(lists) => {
                let list = lists.value(row);
                let words = list.as_string_opt::<i64>().into_iter().flat_map(|words| words.iter().flatten());
                segments.view_given(text, words, reads)
            }
        }
    }
}

/// Workers that wait for the next call with the same spec: memory that is given back and taken again has to
/// be cleared by the kernel, which costs up to a tenth of the time.
static IDLE: Mutex<Vec<Worker>> = Mutex::new(Vec::new());
const MAX_IDLE: usize = 8;
/// A worker that met a larger document is not kept: its buffers have about ten times the size of the text.
const MAX_IDLE_TEXT: usize = 1 << 20;

/// One thread's groups, whose buffers serve one chunk after another.
struct Worker {
    key: String,
    groups: Vec<Box<dyn Signals>>,
    /// Numbers of groups that take turns with the others, and what they read.
    turns: Vec<(Vec<usize>, Reads)>,
    segments: Segments,
    tokens: Tokens,
    /// Bytes of the largest document so far.
    largest: usize,
}

impl Worker {
    /// An idle worker, or a new one. Nobody waits for another thread here, which may not exist after a fork.
    fn take(pass: &Pass<'_>) -> Self {
        if let Ok(mut idle) = IDLE.try_lock()
            && let Some(index) = idle.iter().position(|worker| worker.key == pass.key)
        {
            return idle.swap_remove(index);
        }
        let groups: Vec<_> = pass.makers.iter().map(|make| make()).collect();
        let turns = turns(&groups);
        let (segments, tokens) = (Segments::default(), Tokens::default());
        Self { key: pass.key.clone(), groups, turns, segments, tokens, largest: 0 }
    }

    fn put_back(self) {
        if self.largest <= MAX_IDLE_TEXT
            && let Ok(mut idle) = IDLE.try_lock()
        {
            idle.truncate(MAX_IDLE - 1);
            idle.insert(0, self);
        }
    }

    fn measure(&mut self, pass: &Pass<'_>, rows: Range<usize>) -> Columns {
        let all = pass.texts;
        let mut invalid = BooleanBuilder::with_capacity(rows.len());
        let max_bytes = if self.turns.len() > 1 { TURN_BYTES } else { 0 };
        let mut texts = Vec::new();
        let mut at = rows.start;
        while at < rows.end {
            let first = at;
            texts.clear();
            while at < rows.end && (texts.is_empty() || num_bytes(all, &(first..at + 1)) <= max_bytes) {
                let bytes = all.is_valid(at).then(|| all.value(at));
                let text = bytes.map(simdutf8::basic::from_utf8);
                invalid.append_value(matches!(text, Some(Err(_))));
                texts.push(text.and_then(|text| text.ok()).filter(|text| text.len() < MAX_TEXT_BYTES));
                at += 1;
            }
            self.largest = texts.iter().flatten().map(|text| text.len()).fold(self.largest, usize::max);
            self.take_turns(pass, first, &texts);
        }
        let mut columns: Columns = vec![(INVALID_UTF8.into(), Arc::new(invalid.finish()))];
        columns.extend(self.groups.iter_mut().flat_map(|group| group.finish()));
        columns
    }

    /// Push a few documents, the first of which is in row `first`, to all groups.
    fn take_turns(&mut self, pass: &Pass<'_>, first: usize, texts: &[Option<&str>]) {
        self.tokens.clear();
        if self.turns.iter().any(|(_, reads)| reads.tokens) {
            texts.iter().for_each(|text| self.tokens.push(text.unwrap_or("")));
        }
        for (members, reads) in &self.turns {
            for (index, text) in texts.iter().enumerate() {
                match text {
                    Some(text) => {
                        let doc = pass.view(first + index, text, *reads, &mut self.segments);
                        let doc = Views { tokens: self.tokens.of(index), ..doc };
                        members.iter().for_each(|&index| self.groups[index].push(&doc));
                    }
                    None => members.iter().for_each(|&index| self.groups[index].push_null()),
                }
            }
        }
    }
}

/// fastText's tokens of a few documents.
#[derive(Default)]
struct Tokens {
    tokens: Vec<Token>,
    /// Where those of each document end.
    ends: Vec<usize>,
}

impl Tokens {
    fn clear(&mut self) {
        self.tokens.clear();
        self.ends.clear();
    }

    fn push(&mut self, text: &str) {
        split(text.as_bytes(), 0..text.len(), &mut self.tokens);
        self.ends.push(self.tokens.len());
    }

    /// Those of a document by its place; none where nobody asked for tokens.
    fn of(&self, index: usize) -> &[Token] {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
        start.zip(self.ends.get(index)).and_then(|(start, &end)| self.tokens.get(start..end)).unwrap_or(&[])
    }
}

/// Which groups go together, and what they read: those without tables, then each of the others alone.
fn turns(groups: &[Box<dyn Signals>]) -> Vec<(Vec<usize>, Reads)> {
    let (apart, together): (Vec<usize>, Vec<usize>) =
        (0..groups.len()).partition(|&index| groups[index].has_tables());
    let members = std::iter::once(together).chain(apart.into_iter().map(|index| vec![index]));
    let members = members.filter(|members| !members.is_empty());
    let reads = |members: &[usize]| {
        members.iter().map(|&index| groups[index].reads()).fold(Reads::NOTHING, Reads::or)
    };
    members.map(|members| (members.clone(), reads(&members))).collect()
}

/// Bytes of the texts of some rows.
pub fn num_bytes(texts: &LargeBinaryArray, rows: &Range<usize>) -> usize {
    let offsets = texts.value_offsets();
    usize::try_from(offsets[rows.end] - offsets[rows.start]).unwrap_or(0)
}

/// Cut the rows into ranges of about equal bytes; one range for one thread.
#[must_use]
pub fn chunks(texts: &LargeBinaryArray, num_threads: usize) -> Vec<Range<usize>> {
    let all = 0..texts.len();
    if num_threads <= 1 {
        return vec![all];
    }
    let max_bytes = (num_bytes(texts, &all) / (num_threads * CHUNKS_PER_THREAD)).max(MIN_CHUNK_BYTES);
    let mut out = Vec::new();
    let mut start = 0;
    for end in 1..texts.len() {
        if num_bytes(texts, &(start..end)) >= max_bytes {
            out.push(start..end);
            start = end;
        }
    }
    out.push(start..texts.len());
    out
}

fn concat(parts: &[Columns], num_rows: usize) -> Result<RecordBatch> {
    let first = parts.first().map_or(&[][..], Vec::as_slice);
    let wrong = |error: ArrowError| Error::Data(format!("columns of a pass do not fit: {error}"));
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (index, (name, only)) in first.iter().enumerate() {
        fields.push(Field::new(name, only.data_type().clone(), true));
        if parts.len() == 1 {
            arrays.push(Arc::clone(only));
            continue;
        }
        let pieces: Vec<_> = parts.iter().map(|part| part[index].1.to_data()).collect();
        let mut joined = MutableArrayData::new(pieces.iter().collect(), false, num_rows);
        for (piece, data) in pieces.iter().enumerate() {
            joined.try_extend(piece, 0, data.len()).map_err(wrong)?;
        }
        arrays.push(make_array(joined.freeze()));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(wrong)
}
