//! Clusters of verified edges: components, their sizes, and the strongest edge of each node, row by row.
//!
//! Edges are set aside once as records of their ends, and once at each end with the similarity, of which only
//! the strongest matters: buffers are thinned before they are written. Cost: about 16 bytes of scratch an
//! edge, less where edges of a node come close together; 40 bytes a clustered node in the end.
//!
//! Not here: which of a cluster is kept.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder, UInt32Builder};
use arrow_array::{Array as _, ArrayRef, Float64Array, Int64Array, RecordBatch};
use rayon::prelude::*;

use super::bag::{Bag, Run, Shape, num_partitions};
use super::components::{Budget, components, distinct};
use super::disk::{Scratch, named};
use super::records::{Record, Stream, Writer, width};
use super::{BAND_BITS, MAX_NODES, check_memory};
use crate::error::{Error, Result};
use crate::pool;
use crate::sample::order_key;

const MAX_PARTITIONS: usize = 256;

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Clusters of several nodes.
    pub num_clusters: u64,
    /// Nodes in them.
    pub num_docs: u64,
    /// Nodes of the largest; 1 where there is none.
    pub largest: u64,
    /// Most bytes that were on the disk at one time, about.
    pub scratch_bytes: u64,
}

impl ClusterCounts {
    /// Both together, where they are of different partitions of clusters.
    fn join(self, other: Self) -> Self {
        Self {
            num_clusters: self.num_clusters + other.num_clusters,
            num_docs: self.num_docs + other.num_docs,
            largest: self.largest.max(other.largest),
            scratch_bytes: self.scratch_bytes.max(other.scratch_bytes),
        }
    }

    /// All counts with their names.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("num_clusters", self.num_clusters),
            ("num_docs", self.num_docs),
            ("largest", self.largest),
            ("scratch_bytes", self.scratch_bytes),
        ]
    }
}

#[derive(Debug)]
enum State {
    /// Ends of edges; node, falling similarity, neighbour.
    Adding {
        edges: Bag<2>,
        ends: Bag<3>,
    },
    /// The rows of clustered nodes: node, cluster, size, neighbour, bits of the similarity.
    Finished {
        rows: PathBuf,
        after: Option<(u64, Stream<5>)>,
    },
    Closed,
}

/// The clusters of a corpus, step by step.
#[derive(Debug)]
pub struct Clusters {
    scratch: Arc<Scratch>,
    num_nodes: u64,
    memory_bytes: u64,
    state: State,
}

impl Clusters {
    /// Begin, with an empty folder for scratch files within `folder`.
    ///
    /// # Errors
    /// `Error::Config` for settings out of their bounds, that of the file system.
    pub fn new(folder: PathBuf, num_nodes: u64, memory_bytes: u64) -> Result<Self> {
        check_memory(memory_bytes)?;
        if num_nodes > MAX_NODES {
            return Err(Error::Config(format!("num_nodes is at most {MAX_NODES}, not: {num_nodes}")));
        }
        let scratch = Arc::new(Scratch::create(folder.join("clusters.tmp"))?);
        let (largest, parts) = (num_nodes.saturating_sub(1), num_partitions(num_nodes, MAX_PARTITIONS));
        let shape = |name, words| Shape::below(name, largest, parts, words, memory_bytes / 4);
        let edges = Bag::new(&scratch, shape("edges", 2)).thinned(thin_edges);
        let ends = Bag::new(&scratch, shape("ends", 3)).thinned(thin_ends);
        Ok(Self { scratch, num_nodes, memory_bytes, state: State::Adding { edges, ends } })
    }

    /// Add edges, in any order; one may come several times.
    ///
    /// # Errors `Error::Data` for arrays of different lengths, nodes that there are not, edges from a node to
    /// itself, or similarities that are no numbers, before anything is added; `Error::Config` after `finish`.
    pub fn add(&mut self, a: &Int64Array, b: &Int64Array, similarities: &Float64Array) -> Result<()> {
        let State::Adding { edges, ends } = &self.state else {
            return Err(Error::Config("clusters are finished: nothing can be added".to_owned()));
        };
        self.check(a, b, similarities)?;
        let (mut edges, mut ends) = (edges.adder(), ends.adder());
        for ((&a, &b), &similarity) in a.values().iter().zip(b.values()).zip(similarities.values()) {
            let (a, b) = (a.cast_unsigned(), b.cast_unsigned());
            edges.push([a.min(b), a.max(b) << BAND_BITS])?;
            // The strongest comes first.
            ends.push([a, !order_key(similarity), b])?;
            ends.push([b, !order_key(similarity), a])?;
        }
        edges.finish()?;
        ends.finish()
    }

    fn check(&self, a: &Int64Array, b: &Int64Array, similarities: &Float64Array) -> Result<()> {
        if a.len() != b.len() || a.len() != similarities.len() {
            return Err(Error::Data(format!(
                "ends and similarities of edges differ in number: {}, {} and {}",
                a.len(),
                b.len(),
                similarities.len()
            )));
        }
        if a.null_count() + b.null_count() + similarities.null_count() > 0 {
            return Err(Error::Data("an edge has a null".to_owned()));
        }
        let is_node = |node: i64| u64::try_from(node).is_ok_and(|node| node < self.num_nodes);
        for ((&a, &b), &similarity) in a.values().iter().zip(b.values()).zip(similarities.values()) {
            if !is_node(a) || !is_node(b) {
                return Err(Error::Data(format!(
                    "nodes are below {}, an edge has: {a} and {b}",
                    self.num_nodes
                )));
            }
            if a == b {
                return Err(Error::Data(format!("an edge is from a node to itself: {a}")));
            }
            if similarity.is_nan() {
                return Err(Error::Data(format!("the similarity of {a} and {b} is not a number")));
            }
        }
        Ok(())
    }

    /// Find the clusters.
    ///
    /// # Errors
    /// That of the file system; `Error::Config` where that is done already.
    pub fn finish(&mut self, num_threads: usize) -> Result<ClusterCounts> {
        let (edges, ends) = match std::mem::replace(&mut self.state, State::Closed) {
            State::Adding { edges, ends } => (edges, ends),
            other => {
                self.state = other;
                return Err(Error::Config("clusters are finished once".to_owned()));
            }
        };
        let scratch = &self.scratch;
        let budget = Budget { memory_bytes: self.memory_bytes, num_threads };
        let edges = distinct(scratch, edges, "sorted-edges", 0, false, budget)?.paths;
        let strongest = strongest(scratch, ends, budget)?;
        let found = components(scratch, &edges, self.num_nodes.saturating_sub(1), budget)?;
        edges.iter().try_for_each(|path| scratch.remove(path))?;
        let (sizes, mut counts) = self.sizes(found.path, budget)?;
        counts.num_docs = found.num_nodes;
        let mut out: Writer<5> = Writer::create(scratch, scratch.path("rows"))?;
        let mut nearest: Stream<3> = Stream::open(strongest.clone());
        for at in 0..sizes.num_parts() {
            sizes.drain(at, self.memory_bytes / 2, &mut |run| {
                let Run::Sorted(records) = run else { return Ok(()) };
                for &[node, cluster, size] in records {
                    // A node of a cluster has an edge.
                    let [_, order, other] = nearest.find(node)?.unwrap_or([node, 0, node]);
                    out.push([node, cluster, size, other, value_of(!order).to_bits()])?;
                }
                Ok(())
            })?;
        }
        let rows = out.finish()?;
        strongest.iter().try_for_each(|path| scratch.remove(path))?;
        counts.scratch_bytes = scratch.peak();
        self.state = State::Finished { rows, after: None };
        Ok(counts)
    }

    /// Node, cluster and size of all clustered nodes, in partitions by node.
    fn sizes(&self, path: PathBuf, budget: Budget) -> Result<(Bag<3>, ClusterCounts)> {
        let (largest, parts) =
            (self.num_nodes.saturating_sub(1), num_partitions(self.num_nodes, MAX_PARTITIONS));
        let shape = |name, words| Shape::below(name, largest, parts, words, budget.memory_bytes / 8);
        let members: Bag<2> = Bag::new(&self.scratch, shape("members", 1));
        let mut adder = members.adder();
        let mut stream: Stream<2> = Stream::open(vec![path.clone()]);
        while let Some([node, cluster]) = stream.next()? {
            adder.push([cluster, node])?;
        }
        adder.finish()?;
        self.scratch.remove(&path)?;
        let sizes: Bag<3> = Bag::new(&self.scratch, shape("sizes", 3));
        let part = |at: usize| {
            let mut counts = ClusterCounts { largest: 1, ..ClusterCounts::default() };
            let mut adder = sizes.adder();
            members.drain(at, budget.share(), &mut |run| {
                each_sized(&run, &mut |[cluster, node], size| {
                    counts.num_clusters += u64::from(cluster == node);
                    counts.largest = counts.largest.max(size);
                    adder.push([node, cluster, size])
                })
            })?;
            adder.finish()?;
            Ok(counts)
        };
        let counts = pool::run(budget.num_threads, || {
            let parts = (0..members.num_parts()).into_par_iter().map(part);
            parts.try_reduce(ClusterCounts::default, |a, b| Ok(a.join(b)))
        })??;
        Ok((sizes, counts))
    }

    /// The rows of a range of nodes: cluster (its smallest node) and size, the neighbour of the strongest
    /// edge and its similarity; -1, 1, -1 and null where a node is single.
    ///
    /// # Errors
    /// That of the file system, `Error::Config` before `finish` or beyond the nodes.
    pub fn read(&mut self, first_node: u64, num_nodes: usize) -> Result<RecordBatch> {
        let end = first_node.saturating_add(num_nodes as u64);
        if end > self.num_nodes {
            return Err(Error::Config(format!("nodes are below {}, not: {end}", self.num_nodes)));
        }
        let State::Finished { rows, after } = &mut self.state else {
            return Err(Error::Config("clusters are not finished: call finish".to_owned()));
        };
        let mut stream = match after.take() {
            Some((at, stream)) if at == first_node => stream,
            _ => Stream::seek(rows, first_node)?,
        };
        let mut out = Rows::default();
        for node in first_node..end {
            out.push(stream.find(node)?);
        }
        *after = Some((end, stream));
        out.finish()
    }

    /// Remove the scratch files; nothing can be done afterwards.
    pub fn close(&mut self) {
        self.state = State::Closed;
        self.scratch.clear();
    }
}

/// Look at all members of clusters, sorted by cluster or all of one, with the size of theirs.
fn each_sized(run: &Run<'_, 2>, see: &mut dyn FnMut(Record<2>, u64) -> Result<()>) -> Result<()> {
    match run {
        Run::Sorted(records) => {
            for group in records.chunk_by(|a, b| a[0] == b[0]) {
                group.iter().try_for_each(|&member| see(member, group.len() as u64))?;
            }
        }
        Run::Equal(path) => {
            let size = std::fs::metadata(path).map_err(named(path))?.len() / width::<2>() as u64;
            let mut stream = Stream::open(vec![path.to_path_buf()]);
            while let Some(member) = stream.next()? {
                see(member, size)?;
            }
        }
    }
    Ok(())
}

/// The first end of every node, in files by node.
fn strongest(scratch: &Arc<Scratch>, ends: Bag<3>, budget: Budget) -> Result<Vec<PathBuf>> {
    let part = |at: usize| -> Result<PathBuf> {
        let mut out = Writer::create(scratch, scratch.path(&format!("strongest-{at}")))?;
        let mut before = None;
        ends.drain(at, budget.share(), &mut |run| {
            let Run::Sorted(records) = run else { return Ok(()) };
            for &record in records {
                if before != Some(record[0]) {
                    out.push(record)?;
                }
                before = Some(record[0]);
            }
            Ok(())
        })?;
        out.finish()
    };
    pool::run(budget.num_threads, || {
        (0..ends.num_parts()).into_par_iter().map(part).collect::<Result<Vec<_>>>()
    })?
}

fn thin_edges(records: &mut Vec<Record<2>>) {
    records.sort_unstable();
    records.dedup();
}

fn thin_ends(records: &mut Vec<Record<3>>) {
    records.sort_unstable();
    records.dedup_by_key(|record| record[0]);
}

/// The similarity of an integer in its order.
fn value_of(order: u64) -> f64 {
    f64::from_bits(if order >> 63 == 1 { order & !(1 << 63) } else { !order })
}

#[derive(Debug, Default)]
struct Rows {
    clusters: Int64Builder,
    sizes: UInt32Builder,
    nearest: Int64Builder,
    similarities: Float64Builder,
}

impl Rows {
    fn push(&mut self, row: Option<Record<5>>) {
        let Some([_, cluster, size, other, bits]) = row else {
            self.clusters.append_value(-1);
            self.sizes.append_value(1);
            self.nearest.append_value(-1);
            return self.similarities.append_null();
        };
        self.clusters.append_value(cluster.cast_signed());
        self.sizes.append_value(u32::try_from(size).unwrap_or(u32::MAX));
        self.nearest.append_value(other.cast_signed());
        self.similarities.append_value(f64::from_bits(bits));
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("cluster_id", Arc::new(self.clusters.finish()), false),
            ("cluster_size", Arc::new(self.sizes.finish()), false),
            ("nearest", Arc::new(self.nearest.finish()), false),
            ("similarity", Arc::new(self.similarities.finish()), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Data(error.to_string()))
    }
}
