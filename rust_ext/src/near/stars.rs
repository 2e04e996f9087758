//! Components on the disk: alternating large stars and small stars (Kiveris et al. 2014, "Connected
//! Components in MapReduce and Beyond").
//!
//! A large star ties the larger neighbours of each node to the smallest node of the neighbourhood; a small
//! star does so with the smaller ones and the node itself. Neither tears a component apart; where nothing
//! changes any more every node is tied to the smallest of its component alone.
//!
//! Cost: two sorts of all edges a round, in as many rounds as about the logarithm of the longest way; memory
//! is the budget, however many nodes there are.

use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::BAND_BITS;
use super::bag::{Adder, Bag, Run, Shape, num_partitions};
use super::components::Budget;
use super::disk::Scratch;
use super::records::{Record, Stream, Writer};
use crate::error::Result;
use crate::pool;

const MAX_PARTITIONS: usize = 64;

/// Write node and smallest member of its component for all nodes, ascending; returns how many.
///
/// # Errors
/// That of the file system.
pub fn write(
    scratch: &Arc<Scratch>,
    edges: &[PathBuf],
    largest: u64,
    budget: Budget,
    path: PathBuf,
) -> Result<u64> {
    let bag = |name: String| {
        let parts = num_partitions(largest, MAX_PARTITIONS);
        let shape = Shape::below(&name, largest, parts, 2, budget.memory_bytes / 8);
        Bag::new(scratch, shape).thinned(thin)
    };
    let mut edges = read(edges, bag("star".to_owned()))?;
    for round in 0_u64.. {
        let oriented = bag(format!("star-large-{round}"));
        let mut is_changed = each_part(&edges, &oriented, budget, large)?;
        let next = bag(format!("star-small-{round}"));
        is_changed |= each_part(&oriented, &next, budget, small)?;
        edges = next;
        if !is_changed {
            break;
        }
    }
    let mut out = Writer::create(scratch, path)?;
    let (mut num_nodes, mut before) = (0, None);
    for at in 0..edges.num_parts() {
        edges.drain(at, budget.share(), &mut |run| {
            let Run::Sorted(records) = run else { return Ok(()) };
            for &[node, smallest] in records {
                if before != Some(node) {
                    num_nodes += 1;
                    out.push([node, node.min(smallest)])?;
                }
                before = Some(node);
            }
            Ok(())
        })?;
    }
    out.finish()?;
    Ok(num_nodes)
}

fn thin(records: &mut Vec<Record<2>>) {
    records.sort_unstable();
    records.dedup();
}

/// All edges, in both directions.
fn read(edges: &[PathBuf], bag: Bag<2>) -> Result<Bag<2>> {
    let mut stream: Stream<2> = Stream::open(edges.to_vec());
    let mut adder = bag.adder();
    while let Some([a, b]) = stream.next()? {
        both(&mut adder, a, b >> BAND_BITS)?;
    }
    adder.finish()?;
    Ok(bag)
}

fn both(adder: &mut Adder<'_, 2>, a: u64, b: u64) -> Result<()> {
    adder.push([a, b])?;
    adder.push([b, a])
}

/// The neighbourhood that is being looked at.
#[derive(Debug, Clone, Copy)]
struct Around {
    node: u64,
    /// Its smallest neighbour, the first.
    first: u64,
    last: u64,
}

/// What one star does with a neighbour that is not its node's first; whether that is a change.
type Star = fn(Around, u64, &mut Adder<'_, 2>) -> Result<bool>;

/// Go through the neighbourhoods of all partitions, and say whether anything changed.
fn each_part(from: &Bag<2>, to: &Bag<2>, budget: Budget, star: Star) -> Result<bool> {
    let part = |at: usize| -> Result<bool> {
        let mut adder = to.adder();
        let (mut around, mut is_changed): (Option<Around>, bool) = (None, false);
        from.drain(at, budget.share(), &mut |run| {
            let Run::Sorted(records) = run else { return Ok(()) };
            for &[node, other] in records {
                let here = match around.filter(|around| around.node == node) {
                    Some(around) if around.last == other => continue,
                    Some(around) => Around { last: other, ..around },
                    None => Around { node, first: other, last: other },
                };
                is_changed |= star(here, other, &mut adder)?;
                around = Some(here);
            }
            Ok(())
        })?;
        adder.finish()?;
        Ok(is_changed)
    };
    pool::run(budget.num_threads, || {
        (0..from.num_parts()).into_par_iter().map(part).try_reduce(|| false, |a, b| Ok(a | b))
    })?
}

fn large(around: Around, other: u64, adder: &mut Adder<'_, 2>) -> Result<bool> {
    if other <= around.node {
        return Ok(false);
    }
    let smallest = around.node.min(around.first);
    adder.push([other, smallest])?;
    Ok(smallest != around.node)
}

/// Edges are from the larger to the smaller node.
fn small(around: Around, other: u64, adder: &mut Adder<'_, 2>) -> Result<bool> {
    if other == around.first {
        both(adder, around.node, other)?;
        return Ok(false);
    }
    both(adder, other, around.first)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::components::components;
    use super::super::hash_number;
    use super::*;

    /// Components by label propagation, the slow way.
    fn twin(edges: &[(u64, u64)]) -> Vec<Record<2>> {
        let mut ids: std::collections::BTreeMap<u64, u64> =
            edges.iter().flat_map(|&(a, b)| [(a, a), (b, b)]).collect();
        loop {
            let before = ids.clone();
            for (a, b) in edges {
                let id = ids[a].min(ids[b]);
                ids.insert(*a, id);
                ids.insert(*b, id);
            }
            if ids == before {
                return ids.into_iter().map(|(node, id)| [node, id]).collect();
            }
        }
    }

    fn check(name: &str, edges: &[(u64, u64)]) {
        let folder = std::env::temp_dir().join(format!("curate-stars-{}-{name}", std::process::id()));
        let scratch = Arc::new(Scratch::create(folder).unwrap());
        let mut out = Writer::create(&scratch, scratch.path("edges")).unwrap();
        edges.iter().for_each(|&(a, b)| out.push([a.min(b), a.max(b) << BAND_BITS]).unwrap());
        let files = vec![out.finish().unwrap()];
        let largest = edges.iter().map(|&(a, b)| a.max(b)).max().unwrap_or(0);
        for memory_bytes in [1 << 24, 1 << 12] {
            for num_threads in [1, 2] {
                let budget = Budget { memory_bytes, num_threads };
                let by_stars = scratch.path("by-stars");
                let num_nodes = write(&scratch, &files, largest, budget, by_stars.clone()).unwrap();
                let found = components(&scratch, &files, largest, budget).unwrap();
                assert_eq!(num_nodes, found.num_nodes);
                for path in [by_stars, found.path] {
                    let mut records = Vec::new();
                    let mut stream = Stream::open(vec![path]);
                    while let Some(record) = stream.next().unwrap() {
                        records.push(record);
                    }
                    assert_eq!(records, twin(edges), "{name} {memory_bytes} {num_threads}");
                }
            }
        }
    }

    #[test]
    fn both_ways_find_the_components() {
        check("none", &[]);
        check("pair", &[(0, 1)]);
        check("chain", &(0..900).map(|at| (at, at + 1)).collect::<Vec<_>>());
        let name = |at: u64| hash_number(at) % 60_000;
        check("mixed-chain", &(0..300).map(|at| (name(at), name(at + 1))).collect::<Vec<_>>());
        check("star", &(0..500).map(|at| (1000, 5000 + at)).collect::<Vec<_>>());
        check("clique", &(0..40).flat_map(|a| (a + 1..40).map(move |b| (3 * a, 3 * b))).collect::<Vec<_>>());
        let random = (0..900).map(|at| (name(at) % 1500, name(at + 7777) % 1500));
        check("random", &random.filter(|(a, b)| a != b).collect::<Vec<_>>());
    }
}
