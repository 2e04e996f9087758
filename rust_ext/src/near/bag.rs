//! A bag of records in partitions by their top bits: filled by many threads, emptied in order.
//!
//! Records wait in a buffer for each partition and are appended to its file when that is full; files are open
//! only while they are written, so there may be thousands. A partition is emptied by sorting it in memory;
//! one that does not fit is dealt out again by its next bits, and so on. Records that are equal in what may
//! be split on and that still do not fit are handed out as a file; those that are equal in all are handed out
//! twice.
//!
//! Cost: records are written and read once, and once more for each level of splitting. A bag that never
//! filled a buffer touches no disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::Scratch;
use super::records::{Record, Stream, width};
use super::sort::sort;
use crate::error::Result;

/// Records that a thread keeps for a partition before it takes the lock.
const LOCAL: usize = 32;
/// Bits of partitions that a partition is split into at most.
const MAX_SPLIT_BITS: u32 = 8;
/// Records of a buffer at least.
const MIN_BUFFER: usize = 16;
/// Times the memory that a buffer takes when it grows.
const GROWTH: usize = 8;
/// Records that are worth a partition.
const MIN_PART: u64 = 1 << 14;

/// Partitions for about so many records, which is a power of two and not above `most`.
pub fn num_partitions(num_records: u64, most: usize) -> usize {
    let wanted = (num_records / MIN_PART).next_power_of_two();
    usize::try_from(wanted).unwrap_or(most).min(most)
}

/// What a bag is told once.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Begins the names of files.
    pub name: String,
    /// Bits, counted from the top of the first word, that are the same in all records.
    pub skipped: u32,
    /// Bits that number the partitions.
    pub bits: u32,
    /// Words that may be split on; records that are equal in these stay together.
    pub words: u32,
    /// Bytes of all buffers.
    pub buffer_bytes: u64,
    /// Records that are taken into memory whatever the budget.
    pub min_records: usize,
}

impl Shape {
    /// For records whose first word is at most `largest`, in about `num_partitions`.
    pub fn below(name: &str, largest: u64, num_partitions: usize, words: u32, buffer_bytes: u64) -> Self {
        let skipped = largest.leading_zeros().min(u64::BITS - 1);
        let bits = num_partitions.max(1).ilog2().min(u64::BITS - skipped);
        Self { name: name.to_owned(), skipped, bits, words, buffer_bytes, min_records: 64 }
    }
}

/// Sorted records of a partition, in the order of partitions and within them.
pub enum Run<'a, const N: usize> {
    /// Sorted, and after all that came before.
    Sorted(&'a [Record<N>]),
    /// Records in any order that are equal in all words that may be split on, but not in the last one.
    Equal(&'a Path),
}

#[derive(Debug)]
struct Part<const N: usize> {
    waiting: Vec<Record<N>>,
    on_disk: u64,
    /// Held by who writes the file.
    file: Arc<Mutex<()>>,
}

/// The bag.
#[derive(Debug)]
pub struct Bag<const N: usize> {
    scratch: Arc<Scratch>,
    shape: Shape,
    limit: usize,
    parts: Vec<Mutex<Part<N>>>,
    /// Makes a full buffer smaller, or not; loses nothing that matters.
    thin: Option<fn(&mut Vec<Record<N>>)>,
    /// Memory that is used again: to take it from the system costs as much as to fill it.
    spares: Mutex<Vec<Vec<Record<N>>>>,
}

impl<const N: usize> Bag<N> {
    /// An empty bag.
    pub fn new(scratch: &Arc<Scratch>, shape: Shape) -> Self {
        let num_parts = 1_usize << shape.bits;
        let buffer = usize::try_from(shape.buffer_bytes).unwrap_or(usize::MAX);
        let limit = (buffer / num_parts / width::<N>()).max(MIN_BUFFER);
        let part = || Part { waiting: Vec::new(), on_disk: 0, file: Arc::default() };
        let parts = std::iter::repeat_with(|| Mutex::new(part()));
        let parts = parts.take(num_parts).collect();
        let spares = Mutex::new(Vec::new());
        Self { scratch: Arc::clone(scratch), shape, limit, parts, thin: None, spares }
    }

    /// With a function that sorts a full buffer and leaves out what others in it make needless.
    pub fn thinned(mut self, thin: fn(&mut Vec<Record<N>>)) -> Self {
        self.thin = Some(thin);
        self
    }

    /// Take at least so many records into memory, whatever the budget.
    pub fn keep_together(&mut self, min_records: usize) {
        self.shape.min_records = self.shape.min_records.max(min_records);
    }

    /// Partitions, full or empty.
    pub fn num_parts(&self) -> usize {
        self.parts.len()
    }

    /// A way to add records, for one thread.
    pub fn adder(&self) -> Adder<'_, N> {
        let num_parts = self.parts.len();
        Adder { bag: self, local: vec![[0; N]; num_parts * LOCAL], counts: vec![0; num_parts] }
    }

    fn place(&self, record: &Record<N>) -> usize {
        let word = record.get((self.shape.skipped / u64::BITS) as usize).copied().unwrap_or(0);
        let skipped = self.shape.skipped % u64::BITS;
        if self.shape.bits == 0 { 0 } else { (word << skipped >> (u64::BITS - self.shape.bits)) as usize }
    }

    fn path(&self, at: usize) -> PathBuf {
        self.scratch.path(&format!("{}-{at}", self.shape.name))
    }

    fn lock(&self, at: usize) -> Option<MutexGuard<'_, Part<N>>> {
        self.parts.get(at).map(|part| part.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spare(&self) -> Vec<Record<N>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, mut records: Vec<Record<N>>) {
        records.clear();
        self.spares.lock().unwrap_or_else(PoisonError::into_inner).push(records);
    }

    fn append(&self, at: usize, records: &[Record<N>]) -> Result<()> {
        let Some(mut part) = self.lock(at).filter(|_| !records.is_empty()) else { return Ok(()) };
        if part.waiting.len() + records.len() <= self.limit {
            self.extend(&mut part.waiting, records);
            return Ok(());
        }
        // Nobody waits while the full buffer is thinned and written.
        let mut full = std::mem::replace(&mut part.waiting, self.spare());
        self.extend(&mut part.waiting, records);
        drop(part);
        if let Some(thin) = self.thin {
            thin(&mut full);
        }
        let Some(mut part) = self.lock(at) else { return Ok(()) };
        if 2 * full.len() <= self.limit && part.waiting.len() + full.len() <= self.limit {
            self.extend(&mut part.waiting, &full);
            drop(part);
        } else {
            part.on_disk += full.len() as u64;
            let file = Arc::clone(&part.file);
            drop(part);
            self.write(at, &full, &file)?;
        }
        self.give_back(full);
        Ok(())
    }

    /// Add to a buffer that grows in few steps and not above its limit, where that is possible.
    fn extend(&self, waiting: &mut Vec<Record<N>>, records: &[Record<N>]) {
        let needed = waiting.len() + records.len();
        if needed > waiting.capacity() {
            let capacity = (GROWTH * waiting.capacity()).clamp(needed, self.limit.max(needed));
            waiting.reserve_exact(capacity - waiting.len());
        }
        waiting.extend_from_slice(records);
    }

    /// Write at the end of the file of a partition, one thread at a time.
    fn write(&self, at: usize, records: &[Record<N>], file: &Mutex<()>) -> Result<()> {
        let _alone = file.lock().unwrap_or_else(PoisonError::into_inner);
        self.scratch.append(&self.path(at), records)
    }

    /// Write all buffers and give back their memory.
    ///
    /// # Errors
    /// That of the file system.
    pub fn flush(&self) -> Result<()> {
        for at in 0..self.parts.len() {
            let Some(mut part) = self.lock(at) else { continue };
            let waiting = std::mem::take(&mut part.waiting);
            if !waiting.is_empty() {
                part.on_disk += waiting.len() as u64;
                self.write(at, &waiting, &part.file)?;
            }
        }
        Ok(())
    }

    /// Take a partition out, sorted, with about `memory_bytes`; what is taken leaves the disk.
    ///
    /// # Errors
    /// Those of the file system and of `visit`.
    pub fn drain(
        &self,
        at: usize,
        memory_bytes: u64,
        visit: &mut dyn FnMut(Run<'_, N>) -> Result<()>,
    ) -> Result<()> {
        let Some(mut part) = self.lock(at) else { return Ok(()) };
        let total = part.on_disk + part.waiting.len() as u64;
        if total == 0 {
            return Ok(());
        }
        let fits = memory_bytes / (2 * width::<N>() as u64);
        let waiting = std::mem::take(&mut part.waiting);
        let is_on_disk = std::mem::take(&mut part.on_disk) > 0;
        let path = self.path(at);
        if total > fits.max(self.shape.min_records as u64) {
            self.write(at, &waiting, &part.file)?;
            drop((part, waiting));
            return self.split(at, total, memory_bytes, visit);
        }
        drop(part);
        let mut records = waiting;
        if is_on_disk {
            let waiting = std::mem::replace(&mut records, self.spare());
            records.reserve_exact(usize::try_from(total).unwrap_or(0));
            records.extend_from_slice(&waiting);
            drop(waiting);
            Stream::open(vec![path.clone()]).read_all(&mut records)?;
            self.scratch.remove(&path)?;
        }
        let mut spare = self.spare();
        spare.resize(records.len(), [0; N]);
        sort(&mut records, &mut spare);
        self.give_back(spare);
        visit(Run::Sorted(&records))?;
        if is_on_disk {
            self.give_back(records);
        }
        Ok(())
    }

    /// Deal a partition out by its next bits and take the parts.
    fn split(
        &self,
        at: usize,
        num_records: u64,
        memory_bytes: u64,
        visit: &mut dyn FnMut(Run<'_, N>) -> Result<()>,
    ) -> Result<()> {
        let (path, skipped) = (self.path(at), self.shape.skipped + self.shape.bits);
        if skipped >= u64::BITS * self.shape.words {
            match Stream::open(vec![path.clone()]).next()? {
                // Twice, for those who want to know that there are several.
                Some(record) if self.shape.words as usize >= N => visit(Run::Sorted(&[record, record]))?,
                _ => visit(Run::Equal(&path))?,
            }
            return self.scratch.remove(&path);
        }
        let parts = 4 * num_records.saturating_mul(width::<N>() as u64) / memory_bytes.max(1);
        let bits = (parts.max(2).ilog2()).clamp(1, MAX_SPLIT_BITS).min(u64::BITS - skipped % u64::BITS);
        let shape = Shape {
            name: format!("{}-{at}", self.shape.name),
            skipped,
            bits,
            buffer_bytes: memory_bytes / 2,
            ..self.shape
        };
        let bag = Self::new(&self.scratch, shape);
        let (mut stream, mut adder) = (Stream::open(vec![path.clone()]), bag.adder());
        while let Some(record) = stream.next()? {
            adder.push(record)?;
        }
        adder.finish()?;
        self.scratch.remove(&path)?;
        bag.flush()?;
        (0..bag.num_parts()).try_for_each(|at| bag.drain(at, memory_bytes, visit))
    }
}

/// Adds records for one thread; the last ones arrive by `finish`.
#[derive(Debug)]
pub struct Adder<'a, const N: usize> {
    bag: &'a Bag<N>,
    /// `LOCAL` places for each partition.
    local: Vec<Record<N>>,
    counts: Vec<usize>,
}

impl<const N: usize> Adder<'_, N> {
    /// Add one record.
    ///
    /// # Errors
    /// That of the file system.
    pub fn push(&mut self, record: Record<N>) -> Result<()> {
        let at = self.bag.place(&record);
        let Some(count) = self.counts.get_mut(at) else { return Ok(()) };
        if let Some(place) = self.local.get_mut(at * LOCAL + *count) {
            *place = record;
        }
        *count += 1;
        if *count < LOCAL { Ok(()) } else { self.hand_over(at) }
    }

    fn hand_over(&mut self, at: usize) -> Result<()> {
        let Some(count) = self.counts.get_mut(at).map(std::mem::take) else { return Ok(()) };
        self.bag.append(at, self.local.get(at * LOCAL..at * LOCAL + count).unwrap_or_default())
    }

    /// Hand over what is left.
    ///
    /// # Errors
    /// That of the file system.
    pub fn finish(mut self) -> Result<()> {
        (0..self.counts.len()).try_for_each(|at| self.hand_over(at))
    }
}
