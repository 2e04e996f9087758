//! Slots of a signature from the hashes of shingles.
//!
//! `fast` is fast similarity sketching (Dahlgaard, Knudsen and Thorup 2017, arXiv:1704.04370). A shingle
//! falls into one slot, and the least that falls there fills it; while slots are empty, another round with
//! other hash functions fills only those; in rounds k to 2k each shingle falls into the slot of the round, so
//! that all are filled. One step for each shingle of long texts, k ln k for short ones; error below that of k
//! independent functions, as slots share out the shingles. A shingle falls by the upper half of its hash,
//! times k: the upper half of the product is the slot, the upper 21 bits of its lower half are the rank; the
//! lower half of the hash is what the slot keeps and decides ties. In the rounds from k on the rank is the
//! upper 21 bits of the hash. In round r > 0 the hash is `fold(hash ^ a_r, b_r)`.
//!
//! `classic` has a function for each slot: the least `a_j x + b_j` modulo 2^32, x the upper half of a hash. k
//! steps for each shingle, many at a time.
//!
//! Numbers a and b, by turns, are splitmix64's from the seed, after the one that is the key of shingles; b_r
//! is made odd, and so is a_j.

use super::{MAX_HASHES, Method, Numbers, Settings, fold};
use crate::simd::multiply_add_min;

/// No shingle fell into a slot.
const EMPTY: u64 = u64::MAX;
/// Hashes that `classic` takes up in one go.
const BATCH: usize = 256;
const LOW: u64 = 0xffff_ffff;
/// Bits of the number of a round, of which there are twice as many as slots.
const ROUND_BITS: u32 = 11;
const _: () = assert!(2 * MAX_HASHES <= 1 << ROUND_BITS);

/// Slots that are being filled.
#[derive(Debug)]
pub enum Sketch {
    /// By fast similarity sketching.
    Fast(Fast),
    /// By a function for each slot.
    Classic(Classic),
}

impl Sketch {
    /// Empty slots.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut numbers = Numbers(settings.seed);
        numbers.next();
        let mut next = || numbers.next().unwrap_or(0);
        let num_hashes = settings.num_hashes;
        match settings.sketch {
            Method::Fast => Self::Fast(Fast {
                slots: vec![EMPTY; num_hashes],
                rounds: (1..2 * num_hashes).map(|_| (next(), next() | 1)).collect(),
            }),
            Method::Classic => {
                let (factors, terms) = (0..num_hashes).map(|_| ((next() | 1) as u32, next() as u32)).unzip();
                let (slots, batch) = (vec![u32::MAX; num_hashes], Vec::with_capacity(BATCH));
                Self::Classic(Classic { slots, factors, terms, batch })
            }
        }
    }

    /// Empty all slots.
    pub fn start(&mut self) {
        match self {
            Self::Fast(fast) => fast.slots.fill(EMPTY),
            Self::Classic(classic) => classic.slots.fill(u32::MAX),
        }
    }

    /// Take up hashes of shingles; again changes nothing.
    pub fn add(&mut self, hashes: &[u64]) {
        match self {
            Self::Fast(fast) => fast.add(hashes.iter().copied(), 0),
            Self::Classic(classic) => classic.add(hashes),
        }
    }

    /// Append the slots, four bytes each, little-endian; `hashes` are those that were kept, at least one.
    pub fn end(&mut self, hashes: &[u64], out: &mut Vec<u8>) {
        match self {
            Self::Fast(fast) => {
                fast.fill(hashes);
                out.extend(fast.slots.iter().flat_map(|&key| ((key & LOW) as u32).to_le_bytes()));
            }
            Self::Classic(classic) => out.extend(classic.slots.iter().flat_map(|slot| slot.to_le_bytes())),
        }
    }
}

/// Slots of fast similarity sketching.
#[derive(Debug)]
pub struct Fast {
    /// The least key so far: the round, what ranks it in the round, what is kept.
    slots: Vec<u64>,
    /// Hash functions of the rounds after the first.
    rounds: Vec<(u64, u64)>,
}

impl Fast {
    #[inline]
    fn add(&mut self, hashes: impl Iterator<Item = u64>, round: u64) {
        let num_slots = self.slots.len() as u64;
        for hash in hashes {
            let product = (hash >> 32) * num_slots;
            self.put((product >> 32) as usize, key(round, product & LOW, hash));
        }
    }

    /// As `add`, all into one slot.
    fn add_to(&mut self, slot: usize, hashes: impl Iterator<Item = u64>, round: u64) {
        hashes.for_each(|hash| self.put(slot, key(round, hash >> 32, hash)));
    }

    #[inline]
    fn put(&mut self, slot: usize, key: u64) {
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = key.min(*slot);
        }
    }

    /// The rounds after the first, while slots are empty.
    fn fill(&mut self, hashes: &[u64]) {
        let num_slots = self.slots.len();
        let rounds = std::mem::take(&mut self.rounds);
        for (round, &(a, b)) in (1..).zip(&rounds) {
            let again = hashes.iter().map(|hash| fold(hash ^ a, b));
            if round < num_slots {
                // So few cannot have filled all.
                if round * hashes.len() >= num_slots && !self.slots.contains(&EMPTY) {
                    break;
                }
                self.add(again, round as u64);
            } else if self.slots.get(round - num_slots) == Some(&EMPTY) {
                self.add_to(round - num_slots, again, round as u64);
            }
        }
        self.rounds = rounds;
    }
}

/// What orders hashes in a slot: earlier rounds come first.
#[inline]
fn key(round: u64, rank: u64, hash: u64) -> u64 {
    round << (64 - ROUND_BITS) | rank >> ROUND_BITS << 32 | hash & LOW
}

/// Slots with a function each.
#[derive(Debug)]
pub struct Classic {
    slots: Vec<u32>,
    factors: Vec<u32>,
    terms: Vec<u32>,
    batch: Vec<u32>,
}

impl Classic {
    fn add(&mut self, hashes: &[u64]) {
        for hashes in hashes.chunks(BATCH) {
            self.batch.clear();
            self.batch.extend(hashes.iter().map(|hash| (hash >> 32) as u32));
            multiply_add_min(&mut self.slots, &self.factors, &self.terms, &self.batch);
        }
    }
}
