//! Near duplicates: who may be alike, which of them are, and who belongs together - out of core.
//!
//! Everything is a sort. Keys of bands are records of 16 bytes in partitions by their top bits ([`bag`]); a
//! partition that fits is sorted in memory ([`sort`]), one that does not is split further by the next bits.
//! Equal keys beside each other are groups, and groups give pairs ([`groups`]). Pairs go the same way, by
//! their first document. Components are found by a forest in memory ([`forest`]) or, where that does not fit,
//! by rounds of sorting ([`stars`]): the same answer, the smallest member of each.
//!
//! Cost: about 16 bytes of scratch a key, written and read once; 16 a pair, written and read about three
//! times. Answers depend neither on memory nor on partitions, threads, or the order in which rows came.
//!
//! Candidates are verified bucket by bucket: a bucket holds whole components, its shingle sets are loaded where
//! they fit ([`sets`]), pairs are compared ([`verify`], [`overlap`]) and members of hot groups are compared with
//! representatives ([`hot`]).
//!
//! Not here: signatures (`minhash`).

mod bag;
pub mod boilerplate;
mod candidates;
mod clusters;
mod components;
mod disk;
pub mod edge_files;
mod forest;
mod groups;
pub mod hot;
mod keepers;
mod keys;
pub mod overlap;
pub mod pair_files;
mod records;
pub mod set_files;
pub mod sets;
pub mod shingle_sets;
pub mod similarity;
mod sort;
mod stars;
pub mod verify;

pub use candidates::{Candidates, Settings};
pub use clusters::Clusters;
pub use groups::{Counts, Mode};
pub use keepers::choose_keepers;

use crate::error::{Error, Result};
use crate::minhash::fold;

/// Documents are numbered below this.
pub const MAX_NODES: u64 = 1 << 54;
/// Bits of a record below the number of a document: the band.
const BAND_BITS: u32 = 10;
/// Bands at most.
pub const MAX_BANDS: usize = 1 << BAND_BITS;
/// Bytes that any job needs.
pub const MIN_MEMORY: u64 = 1 << 12;

/// Factors of hashes of numbers.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd134_2543_de82_ef95];

/// A hash of one number.
fn hash_number(number: u64) -> u64 {
    fold(number ^ FACTORS[0], FACTORS[1])
}

/// Refuse a budget that no job can keep.
fn check_memory(memory_bytes: u64) -> Result<u64> {
    if memory_bytes >= MIN_MEMORY {
        return Ok(memory_bytes);
    }
    Err(Error::Config(format!("memory_bytes is at least {MIN_MEMORY}, not: {memory_bytes}")))
}
