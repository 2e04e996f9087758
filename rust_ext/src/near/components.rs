//! Components of a graph: the smallest member of each, for every node that has an edge.
//!
//! Where the nodes fit the memory a forest is kept there ([`super::forest`]): one bit for each number up to
//! the largest, and 8 bytes for each node with an edge. Else edges are sorted in rounds ([`super::stars`]).
//!
//! Both also have what they start from here: edges without repetition, in files by their first node.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::BAND_BITS;
use super::bag::{Bag, Run};
use super::disk::Scratch;
use super::forest::{Forest, Marks};
use super::groups::twice_added;
use super::records::{Record, Writer};
use super::stars;
use crate::error::Result;
use crate::pool;

/// What a job may use.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Bytes.
    pub memory_bytes: u64,
    /// Threads.
    pub num_threads: usize,
}

impl Budget {
    /// Bytes that each thread may sort in, half of all.
    pub fn share(self) -> u64 {
        self.memory_bytes / 2 / self.num_threads.max(1) as u64
    }
}

/// Sorted records of a bag, without repetition.
#[derive(Debug, Default)]
pub struct Distinct {
    /// Files by ranges, in order.
    pub paths: Vec<PathBuf>,
    /// Records in them.
    pub num_records: u64,
    /// Different documents that they begin with.
    pub num_nodes: u64,
}

/// Write a bag as sorted files; of records that differ in the band alone the first is kept.
///
/// Documents are numbered by the first word but for its lowest `node_shift` bits.
///
/// # Errors
/// That of the file system, `Error::Data` where `is_once` and a record was there twice.
pub fn distinct(
    scratch: &Arc<Scratch>,
    bag: Bag<2>,
    name: &str,
    node_shift: u32,
    is_once: bool,
    budget: Budget,
) -> Result<Distinct> {
    let part = |at: usize| -> Result<Distinct> {
        let mut writer = None;
        let mut found = Distinct::default();
        let mut before: Option<Record<2>> = None;
        bag.drain(at, budget.share(), &mut |run| {
            let Run::Sorted(records) = run else { return Ok(()) };
            for &record in records {
                let is_new = |shifts: [u32; 2]| {
                    before.is_none_or(|before| {
                        before[0] >> shifts[0] != record[0] >> shifts[0]
                            || before[1] >> shifts[1] != record[1] >> shifts[1]
                    })
                };
                if is_once && before == Some(record) {
                    return Err(twice_added(record[0] >> node_shift));
                }
                if is_new([0, BAND_BITS]) {
                    found.num_records += 1;
                    let is_other = before.is_none_or(|b| b[0] >> node_shift != record[0] >> node_shift);
                    found.num_nodes += u64::from(is_other);
                    if writer.is_none() {
                        writer = Some(Writer::create(scratch, scratch.path(&format!("{name}-{at}")))?);
                    }
                    writer.as_mut().map_or(Ok(()), |writer| writer.push(record))?;
                }
                before = Some(record);
            }
            Ok(())
        })?;
        found.paths.extend(writer.map(Writer::finish).transpose()?);
        Ok(found)
    };
    let parts: Vec<Distinct> = pool::run(budget.num_threads, || {
        (0..bag.num_parts()).into_par_iter().map(part).collect::<Result<_>>()
    })??;
    Ok(parts.into_iter().fold(Distinct::default(), |mut all, part| {
        all.paths.extend(part.paths);
        all.num_records += part.num_records;
        all.num_nodes += part.num_nodes;
        all
    }))
}

/// Where the components are, sorted by node, and how many nodes have one.
#[derive(Debug)]
pub struct Components {
    /// Records of node and smallest member of its component.
    pub path: PathBuf,
    /// Nodes with an edge.
    pub num_nodes: u64,
}

/// Find the components of edges: records of a node, and of another above the bits of a band.
///
/// # Errors
/// That of the file system.
pub fn components(
    scratch: &Arc<Scratch>,
    edges: &[PathBuf],
    largest: u64,
    budget: Budget,
) -> Result<Components> {
    let path = scratch.path("components");
    let num_nodes = if Marks::num_bytes(largest) <= budget.memory_bytes / 4 {
        let marks = Marks::of(edges, largest, budget.num_threads)?;
        if Forest::num_bytes(&marks) <= budget.memory_bytes / 4 * 3 {
            let forest = Forest::of(edges, &marks, budget.num_threads)?;
            forest.write(&marks, Writer::create(scratch, path.clone())?)?
        } else {
            drop(marks);
            stars::write(scratch, edges, largest, budget, path.clone())?
        }
    } else {
        stars::write(scratch, edges, largest, budget, path.clone())?
    };
    Ok(Components { path, num_nodes })
}
