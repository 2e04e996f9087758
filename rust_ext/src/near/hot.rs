//! Hot groups: so many documents share a key that not all pairs of them are compared.
//!
//! Documents come in ascending order. Each is compared with the representatives of all groups it is in, each
//! once; what is alike enough becomes an edge. A document without an edge becomes a representative itself, in
//! those of its groups that have room for one. So a group of n members costs at most n times `max_reps`
//! comparisons, and n where all are alike.
//!
//! Documents are compared with the representatives so far in batches, in parallel; with those that a batch
//! brings, in order. So the answer does not depend on the batches, which are large while few representatives
//! come. Memory is that of keys and representatives, besides a batch.

use std::collections::HashMap;

use rayon::iter::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};

use super::edge_files::{Edge, EdgeFiles};
use super::pair_files::{Member, Members};
use super::sets::Sets;
use super::similarity::Rule;
use super::verify::Counts;
use crate::error::Result;
use crate::pool;

const MIN_BATCH: usize = 16;
/// Documents of a batch times representatives of a group.
const MAX_LOOKUPS: usize = 1 << 18;
/// A batch shrinks where a larger share of its documents become representatives.
const MAX_NEW: usize = 8;

/// Documents that stand for a group, as numbers of their sets.
#[derive(Debug, Default)]
struct Group {
    reps: Vec<usize>,
    is_capped: bool,
}

type Groups = HashMap<u64, Group>;

/// A representative that a document is compared with, and the lowest band they share.
type Known = (usize, u16);

/// What all documents of a bucket are compared by.
#[derive(Debug, Clone, Copy)]
pub struct Hot<'a> {
    /// What is enough.
    pub rule: &'a Rule,
    /// Representatives of a group at most.
    pub max_reps: usize,
    /// Threads.
    pub num_threads: usize,
}

impl Hot<'_> {
    /// Compare the members of a bucket's hot groups.
    ///
    /// # Errors
    /// `Error::Data` for files that cannot be read, written or are damaged.
    pub fn verify(
        &self,
        members: &mut Members,
        sets: &mut Sets,
        edges: &mut EdgeFiles,
        counts: &mut Counts,
    ) -> Result<()> {
        let mut groups = Groups::new();
        let max_batch = (MAX_LOOKUPS / self.max_reps).max(MIN_BATCH);
        let mut size = MIN_BATCH;
        loop {
            let found = members.take(size)?;
            if found.is_empty() {
                break;
            }
            let num_found = found.len();
            let docs: Vec<(usize, Member)> =
                found.into_iter().filter_map(|doc| Some((sets.find(doc.node)?, doc))).collect();
            counts.num_hot_missing += (num_found - docs.len()) as u64;
            let num_new = self.batch(&docs, &mut groups, sets, edges, counts)?;
            size =
                if num_new * MAX_NEW > num_found { size / 2 } else { size * 2 }.clamp(MIN_BATCH, max_batch);
        }
        counts.num_capped_groups += groups.values().filter(|group| group.is_capped).count() as u64;
        Ok(())
    }

    /// Compare a few documents; how many of them became representatives.
    fn batch(
        &self,
        docs: &[(usize, Member)],
        groups: &mut Groups,
        sets: &mut Sets,
        edges: &mut EdgeFiles,
        counts: &mut Counts,
    ) -> Result<usize> {
        let known = |(_, doc): &(usize, Member)| known(doc, |key| groups.get(&key).map(|group| &group.reps));
        let docs_known: Vec<Vec<Known>> =
            pool::run(self.num_threads, || docs.par_iter().with_min_len(MIN_BATCH).map(known).collect())?;
        let mut compared = self.compare(docs, &docs_known, sets)?.into_iter();
        let mut fresh: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut num_new = 0;
        for ((set, doc), mut reps) in docs.iter().zip(docs_known) {
            let mut found: Vec<Option<f64>> = compared.by_ref().take(reps.len()).collect();
            if !fresh.is_empty() {
                let new = known_of(doc, &fresh);
                let pairs: Vec<_> = new.iter().map(|&(rep, _)| (rep, *set)).collect();
                found.extend(self.similarities(&pairs, sets)?);
                reps.extend(new);
            }
            counts.num_hot_comparisons += reps.len() as u64;
            let alike =
                reps.iter().zip(&found).filter_map(|(&(rep, band), found)| Some((rep, band, (*found)?)));
            let mut is_alike = false;
            for (rep, band, similarity) in alike {
                is_alike = true;
                counts.num_hot_edges += 1;
                edges.push(Edge { a: sets.node(rep), b: doc.node, similarity, band }, self.num_threads)?;
            }
            if !is_alike {
                num_new += usize::from(self.add(*set, doc, groups, &mut fresh, counts));
            }
        }
        Ok(num_new)
    }

    fn compare(
        &self,
        docs: &[(usize, Member)],
        known: &[Vec<Known>],
        sets: &mut Sets,
    ) -> Result<Vec<Option<f64>>> {
        let pairs = docs.iter().zip(known);
        let pairs: Vec<_> =
            pairs.flat_map(|((set, _), reps)| reps.iter().map(|&(rep, _)| (rep, *set))).collect();
        self.similarities(&pairs, sets)
    }

    fn similarities(&self, pairs: &[(usize, usize)], sets: &mut Sets) -> Result<Vec<Option<f64>>> {
        sets.each(pairs, self.num_threads, |a, b| self.rule.met(a, b).map(|found| found.value()))
    }

    /// Make a document a representative where there is room; whether there was any.
    fn add(
        &self,
        set: usize,
        doc: &Member,
        groups: &mut Groups,
        fresh: &mut HashMap<u64, Vec<usize>>,
        counts: &mut Counts,
    ) -> bool {
        let (mut has_room, mut is_capped) = (false, false);
        for &(key, _) in &doc.groups {
            let group = groups.entry(key).or_default();
            if group.reps.len() < self.max_reps {
                group.reps.push(set);
                fresh.entry(key).or_default().push(set);
                has_room = true;
            } else {
                group.is_capped = true;
                is_capped = true;
            }
        }
        counts.num_capped_docs += u64::from(is_capped);
        has_room
    }
}

fn known_of(doc: &Member, fresh: &HashMap<u64, Vec<usize>>) -> Vec<Known> {
    known(doc, |key| fresh.get(&key))
}

/// The representatives of all groups of a document, each once.
fn known<'a>(doc: &Member, reps_of: impl Fn(u64) -> Option<&'a Vec<usize>>) -> Vec<Known> {
    let groups = doc.groups.iter().filter_map(|&(key, band)| Some((reps_of(key)?, band)));
    let mut found: Vec<Known> =
        groups.flat_map(|(reps, band)| reps.iter().map(move |&rep| (rep, band))).collect();
    found.sort_unstable();
    found.dedup_by_key(|&mut (rep, _)| rep);
    found
}
