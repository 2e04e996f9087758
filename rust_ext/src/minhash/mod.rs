//! MinHash signatures (Broder 1997): how alike two texts are, from a few hundred bytes for each.
//!
//! A text is normalised into words ([`words`]); its shingles are the different runs of n words, or of n
//! characters of its words with one space between them, each a hash of 64 bits ([`shingles`]). A sketch keeps
//! `num_hashes` slots of 32 bits ([`sketch`]); the share of slots that two texts have in common estimates the
//! Jaccard similarity of their sets of shingles, with a standard deviation of at most sqrt(J (1 - J) /
//! num_hashes).
//!
//! All hashes are pinned: two multiplications of 64 bits, both halves of the product ([`fold`]). They are no
//! defence against texts that are made to collide, as those of no other MinHash are.
//!
//! Not here: candidates and their verification (`near/`); [`bands`] has the keys that candidates share.

pub mod bands;
mod cutter;
mod group;
mod shingles;
mod sketch;
mod words;

use crate::error::{Error, Result};
pub use crate::ngram::fold;
pub use cutter::Cutter;
pub use group::MinHash;
pub use shingles::Shingles;
pub use sketch::Sketch;
pub use words::{Normalize, Words};

/// Slots at most.
pub const MAX_HASHES: usize = 1024;
/// Words or characters of a shingle at most.
pub const MAX_NGRAM: usize = 256;
/// Different shingles that are kept at most: a table of 32 MiB for each thread.
pub const MAX_SHINGLES: usize = 1 << 21;

/// First and second factor of every hash.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd134_2543_de82_ef95];

/// What shingles are runs of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Words.
    Word,
    /// Characters of the words with one space between them.
    Char,
}

/// How slots are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Fast similarity sketching.
    Fast,
    /// A hash function of its own for every slot.
    Classic,
}

/// What a signature is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What shingles are runs of.
    pub unit: Unit,
    /// How many of them.
    pub ngram: usize,
    /// How text becomes words.
    pub normalize: Normalize,
    /// Slots.
    pub num_hashes: usize,
    /// How slots are filled.
    pub sketch: Method,
    /// Chooses the hash functions.
    pub seed: u64,
    /// Different shingles that are counted exactly; of more, a sample by hash is counted.
    pub max_shingles: usize,
}

impl Settings {
    /// Read settings from JSON.
    ///
    /// # Errors
    /// `Error::Config` for anything else than the fields, or a number out of its bounds.
    pub fn new(json: &serde_json::Value) -> Result<Self> {
        let settings: Self = serde::Deserialize::deserialize(json)
            .map_err(|error| Error::Config(format!("minhash spec: {error}")))?;
        let bounds = [
            ("ngram", settings.ngram, MAX_NGRAM),
            ("num_hashes", settings.num_hashes, MAX_HASHES),
            ("max_shingles", settings.max_shingles, MAX_SHINGLES),
        ];
        match bounds.into_iter().find(|&(_, value, max)| !(1..=max).contains(&value)) {
            Some((name, value, max)) => {
                Err(Error::Config(format!("minhash.{name} is from 1 to {max}, not: {value}")))
            }
            None => Ok(settings),
        }
    }
}

/// A stream of pinned numbers, splitmix64.
#[derive(Debug, Clone)]
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(FACTORS[0]);
        let mut found = self.0;
        found = (found ^ found >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        found = (found ^ found >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(found ^ found >> 31)
    }
}
