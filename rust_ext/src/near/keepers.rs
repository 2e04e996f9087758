//! Which documents of a cluster are kept, once it is known who is left and who is preferred.
//!
//! Documents are looked at from the best to the worst. One is dropped if a document that is kept already has
//! the same text or one that it has an edge with, and kept otherwise: every dropped document is like one that
//! stays. Where a cluster is connected it is enough to be of it: the first is kept alone.
//!
//! Cost: a kept document tells its neighbours once, so that time is that of sorting documents and edges:
//! about a second for a million of each. Memory: 8 bytes an edge, about 60 bytes a document of the largest
//! cluster.

use std::sync::Arc;

use arrow_array::builder::{Float64Builder, Int64Builder};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};

use crate::error::{Error, Result};

/// Edges, to be looked up from both ends.
#[derive(Debug)]
struct Edges<'a> {
    a: &'a [i64],
    b: &'a [i64],
    similarities: &'a [f64],
    /// Edges in the order of their second end.
    by_b: Vec<usize>,
}

impl<'a> Edges<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let (a, b) = (column::<Int64Array>(batch, "a")?, column::<Int64Array>(batch, "b")?);
        let similarities = column::<Float64Array>(batch, "similarity")?.values();
        let edges = a.values().iter().zip(b.values());
        if !edges.clone().is_sorted() {
            return Err(Error::Data("edges are not sorted by a and b".to_owned()));
        }
        if let Some((at, _)) = similarities.iter().enumerate().find(|(_, similarity)| similarity.is_nan()) {
            return Err(Error::Data(format!("the similarity of edge {at} is not a number")));
        }
        let (a, b) = (a.values(), b.values());
        let mut by_b: Vec<usize> = (0..b.len()).collect();
        by_b.sort_by_key(|&at| b.get(at));
        Ok(Self { a, b, similarities, by_b })
    }

    /// Other ends and similarities of all edges of a node.
    fn of(&self, node: i64) -> impl Iterator<Item = (i64, f64)> + '_ {
        let first = self.a.partition_point(|&a| a < node);
        let count = self.a.get(first..).unwrap_or_default().partition_point(|&a| a == node);
        let forth = (first..first + count).filter_map(|at| self.end(self.b, at));
        let second = |at: &usize| self.b.get(*at).copied();
        let first = self.by_b.partition_point(|at| second(at) < Some(node));
        let rest = self.by_b.get(first..).unwrap_or_default();
        let back = rest.iter().take_while(move |at| second(at) == Some(node));
        forth.chain(back.filter_map(|&at| self.end(self.a, at)))
    }

    fn end(&self, ends: &[i64], at: usize) -> Option<(i64, f64)> {
        Some((*ends.get(at)?, *self.similarities.get(at)?))
    }
}

/// What is dropped.
#[derive(Debug, Default)]
struct Dropped {
    docs: Int64Builder,
    keepers: Int64Builder,
    similarities: Float64Builder,
}

impl Dropped {
    fn push(&mut self, doc: i64, keeper: i64, similarity: Option<f64>) {
        self.docs.append_value(doc);
        self.keepers.append_value(keeper);
        self.similarities.append_option(similarity);
    }

    fn finish(mut self) -> Result<RecordBatch> {
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("doc", Arc::new(self.docs.finish()), false),
            ("keeper", Arc::new(self.keepers.finish()), false),
            ("similarity", Arc::new(self.similarities.finish()), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::Data(error.to_string()))
    }
}

/// The dropped documents in the order of `docs`, each with the document that is kept for it and their
/// similarity.
///
/// `docs` has columns cluster, doc and node (documents of one node have the same text), sorted by cluster and
/// within it from the best to the worst; `edges` has columns a, b and similarity, between nodes, sorted by
/// both. A dropped document has, of the documents that were kept before it, the most similar one, the better
/// one of equally similar ones; the same text is 1.0. Where `connected`, all but the first of a cluster are
/// dropped for the first, and the similarity is null without an edge between them.
///
/// # Errors
/// `Error::Data` for columns that are missing, of other types, not sorted, or with nulls.
pub fn choose_keepers(docs: &RecordBatch, edges: &RecordBatch, connected: bool) -> Result<RecordBatch> {
    let clusters = column::<Int64Array>(docs, "cluster")?.values();
    let ids = column::<Int64Array>(docs, "doc")?.values();
    let nodes = column::<Int64Array>(docs, "node")?.values();
    if !clusters.is_sorted() {
        return Err(Error::Data("documents are not sorted by cluster".to_owned()));
    }
    let edges = Edges::new(edges)?;
    let mut dropped = Dropped::default();
    let mut start = 0;
    for cluster in clusters.chunk_by(|a, b| a == b) {
        let range = start..start + cluster.len();
        start = range.end;
        let members = (ids.get(range.clone()), nodes.get(range));
        let (Some(ids), Some(nodes)) = members else { continue };
        one_cluster(ids, nodes, &edges, connected, &mut dropped);
    }
    dropped.finish()
}

fn one_cluster(ids: &[i64], nodes: &[i64], edges: &Edges<'_>, connected: bool, dropped: &mut Dropped) {
    let mut places = nodes.to_vec();
    places.sort_unstable();
    places.dedup();
    // Of every node: the best document that is kept for it, and how similar that is.
    let mut best: Vec<Option<(i64, f64)>> = vec![None; places.len()];
    let mut kept = None;
    for (&id, &node) in ids.iter().zip(nodes) {
        let found = places.binary_search(&node).ok().and_then(|at| best.get(at).copied().flatten());
        if let Some((keeper, similarity)) = found {
            dropped.push(id, keeper, Some(similarity));
            continue;
        }
        if let Some(keeper) = kept.filter(|_| connected) {
            dropped.push(id, keeper, None);
            continue;
        }
        kept = Some(id);
        for (other, similarity) in edges.of(node).chain([(node, 1.0)]) {
            if let Some(slot) = places.binary_search(&other).ok().and_then(|at| best.get_mut(at))
                && (other == node || slot.is_none_or(|(_, before)| similarity > before))
            {
                *slot = Some((id, similarity));
            }
        }
    }
}

/// A column without nulls.
fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T> {
    let Some(found) = batch.column_by_name(name) else {
        return Err(Error::Data(format!("a column is missing: {name}")));
    };
    if found.null_count() > 0 {
        return Err(Error::Data(format!("column {name} has nulls: {}", found.null_count())));
    }
    found
        .as_any()
        .downcast_ref()
        .ok_or_else(|| Error::Data(format!("column {name} has the wrong Arrow type: {}", found.data_type())))
}
