//! Keys of the bands of signatures, one record each: the key, then document and band.
//!
//! A key is `minhash::bands`' own; where documents have scopes, that of the scope is mixed in, so that
//! documents of different scopes share none. Cost: about 10 ns a key of eight slots.

use arrow_array::{Array as _, FixedSizeBinaryArray, Int64Array, UInt64Array};
use rayon::prelude::*;

use super::bag::{Adder, Bag};
use super::{BAND_BITS, FACTORS, MAX_BANDS, MAX_NODES, hash_number};
use crate::error::{Error, Result};
use crate::minhash::fold;
use crate::ngram::hash;
use crate::pool;

const SLOT_BYTES: usize = 4;

/// How signatures are divided, and which documents are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Bands {
    /// Bands.
    pub num_bands: usize,
    /// Slots of a band.
    pub num_rows: usize,
    /// Documents below this are passed over.
    pub first_node: u64,
}

impl Bands {
    /// Check what does not depend on signatures.
    ///
    /// # Errors
    /// `Error::Config` that names the bound.
    pub fn check(self) -> Result<Self> {
        if !(1..=MAX_BANDS).contains(&self.num_bands) || self.num_rows == 0 {
            return Err(Error::Config(format!(
                "bands are from 1 to {MAX_BANDS} and rows at least 1, not: {} and {}",
                self.num_bands, self.num_rows
            )));
        }
        Ok(self)
    }
}

/// Some documents.
#[derive(Debug, Clone)]
pub struct Rows {
    signatures: FixedSizeBinaryArray,
    nodes: Int64Array,
    scopes: Option<UInt64Array>,
}

impl Rows {
    /// Documents with their numbers and scopes; those without a signature play no part.
    ///
    /// # Errors `Error::Config` for bands that signatures have no slots for, `Error::Data` for arrays that do
    /// not belong together, and numbers or scopes that are missing or too large.
    pub fn new(
        signatures: FixedSizeBinaryArray,
        nodes: Int64Array,
        scopes: Option<UInt64Array>,
        bands: Bands,
    ) -> Result<Self> {
        let num_slots = usize::try_from(signatures.value_length()).unwrap_or(0) / SLOT_BYTES;
        if bands.num_bands.saturating_mul(bands.num_rows) > num_slots {
            return Err(Error::Config(format!(
                "bands times rows are from 1 to {num_slots} slots, not: {} times {}",
                bands.num_bands, bands.num_rows
            )));
        }
        let num_scopes = scopes.as_ref().map_or(signatures.len(), UInt64Array::len);
        if nodes.len() != signatures.len() || num_scopes != signatures.len() {
            return Err(Error::Data(format!(
                "signatures, nodes and scopes differ in number: {}, {} and {num_scopes}",
                signatures.len(),
                nodes.len()
            )));
        }
        let rows = Self { signatures, nodes, scopes };
        rows.check()?;
        Ok(rows)
    }

    fn check(&self) -> Result<()> {
        for (row, node) in self.nodes.iter().enumerate().filter(|&(row, _)| self.signatures.is_valid(row)) {
            let number = node.and_then(|node| u64::try_from(node).ok()).filter(|&node| node < MAX_NODES);
            if number.is_none() {
                let node = node.map_or("null".to_owned(), |node| node.to_string());
                return Err(Error::Data(format!(
                    "nodes are from 0 to {}, row {row} has: {node}",
                    MAX_NODES - 1
                )));
            }
            if self.scopes.as_ref().is_some_and(|scopes| scopes.is_null(row)) {
                return Err(Error::Data(format!("row {row} has no scope")));
            }
        }
        Ok(())
    }

    /// Add the keys of all documents; returns how many those were and the largest number.
    ///
    /// # Errors
    /// That of the file system.
    pub fn add_to(&self, bag: &Bag<2>, bands: Bands, num_threads: usize) -> Result<(u64, Option<u64>)> {
        let num_rows = self.signatures.len();
        let step = num_rows.div_ceil(num_threads.max(1)).max(1);
        let starts: Vec<usize> = (0..num_rows).step_by(step).collect();
        pool::run(num_threads, || {
            let parts = starts.par_iter().map(|&start| {
                let part = self.slice(start, step.min(num_rows - start));
                part.add_alone(bag.adder(), bands)
            });
            parts.try_reduce(|| (0, None), |a, b| Ok((a.0 + b.0, a.1.max(b.1))))
        })?
    }

    fn slice(&self, start: usize, count: usize) -> Self {
        Self {
            signatures: self.signatures.slice(start, count),
            nodes: self.nodes.slice(start, count),
            scopes: self.scopes.as_ref().map(|scopes| scopes.slice(start, count)),
        }
    }

    fn add_alone(&self, mut adder: Adder<'_, 2>, bands: Bands) -> Result<(u64, Option<u64>)> {
        let scopes: &[u64] = self.scopes.as_ref().map_or(&[], |scopes| scopes.values());
        let scopes = scopes.iter().copied().map(Some).chain(std::iter::repeat(None));
        let (mut num_docs, mut largest) = (0, None);
        for ((signature, &node), scope) in self.signatures.iter().zip(self.nodes.values()).zip(scopes) {
            let node = node.cast_unsigned();
            let Some(signature) = signature.filter(|_| node >= bands.first_node) else { continue };
            let scope = scope.map(hash_number);
            let bands = signature.chunks_exact(SLOT_BYTES * bands.num_rows).take(bands.num_bands);
            for (band, slots) in (0..).zip(bands) {
                let key = hash(band, slots);
                let key = scope.map_or(key, |scope| fold(key ^ scope, FACTORS[1]));
                adder.push([key, node << BAND_BITS | band])?;
            }
            num_docs += 1;
            largest = largest.max(Some(node));
        }
        adder.finish()?;
        Ok((num_docs, largest))
    }
}
