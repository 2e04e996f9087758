//! Buckets of tokens and n-grams that were met before: SHA-256 of a short string takes longer than a look.
//!
//! What is kept shows in no result: a token is compared as a whole, an n-gram by the numbers of its tokens. Memory
//! is bounded: about 6 MiB, one memo for each thread and model.

use crate::ngram::{fold, hash};
use crate::simd::prefetch;
use crate::text::Span;
use crate::vocabulary;

/// Tokens that are kept; with more of them all are forgotten when the next text begins.
const MAX_TOKENS: usize = 1 << 16;
/// Bytes of kept tokens.
const MAX_BYTES: usize = 1 << 20;
/// A longer token is not kept.
const MAX_TOKEN_BYTES: usize = 64;
const NUM_SLOTS: usize = 2 * MAX_TOKENS;
/// Places of n-grams: each has one, where the last to come stays. Of English pairs 0.58 are found with so many, 0.43
/// with an eighth, 0.71 with eight times as many.
const NUM_PLACES: usize = 1 << 17;
const KEY_BYTES: usize = 8;
/// Bits of a token's number in the key of an n-gram.
const ID_BITS: usize = 21;
/// Tokens in the longest n-gram that is kept.
pub const MAX_KEPT: usize = 3;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Lengths have 7 bits, above those of a token's number.
const LENGTH_SHIFT: u32 = 25;

/// Number of a token that is not kept.
pub const NONE: u32 = 0;

/// A token in the table; empty where its length and number are 0.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The token itself up to 8 bytes, else its hash.
    key: u64,
    /// Its number, and its length in the highest bits.
    packed: u32,
    bucket: u32,
}

impl Slot {
    fn id(self) -> u32 {
        self.packed & ((1 << LENGTH_SHIFT) - 1)
    }

    fn length(self) -> usize {
        (self.packed >> LENGTH_SHIFT) as usize
    }
}

/// Where a token is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    key: u64,
    at: u32,
}

/// A bucket by the numbers of an n-gram's tokens; a key is never 0.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    key: u64,
    bucket: u32,
}

/// What was met before.
#[derive(Debug)]
pub struct Memo {
    seed: u64,
    slots: Vec<Slot>,
    places: Vec<Place>,
    /// By number: end in `names`.
    ends: Vec<u32>,
    names: Vec<u8>,
}

impl Default for Memo {
    fn default() -> Self {
        let seed = vocabulary::seed();
        let mut out =
            Self { seed, slots: Vec::new(), places: Vec::new(), ends: Vec::new(), names: Vec::new() };
        out.clear();
        out
    }
}

impl Memo {
    /// Forget everything where no more can be kept; only between texts, as numbers start again.
    pub fn start(&mut self) {
        if self.is_full() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.slots.resize(NUM_SLOTS, Slot::default());
        self.places.clear();
        self.places.resize(NUM_PLACES, Place::default());
        // Numbers start at 1.
        self.ends.clear();
        self.ends.push(0);
        self.names.clear();
    }

    fn is_full(&self) -> bool {
        self.ends.len() >= MAX_TOKENS || self.names.len() >= MAX_BYTES
    }

    /// Where a token is about to be looked for; it need not be there.
    #[inline]
    #[must_use]
    pub fn wanted(&self, text: &[u8], start: usize, end: usize) -> Wanted {
        let length = end - start;
        let key = if length <= KEY_BYTES {
            vocabulary::head(text.get(start..).unwrap_or(&[]), Span::new(0, length))
        } else {
            hash(self.seed, text.get(start..end).unwrap_or(&[]))
        };
        let step = MULTIPLIER.wrapping_add(2 * length as u64);
        let at = fold(key ^ self.seed, step) as usize % NUM_SLOTS;
        prefetch(&self.slots, at);
        Wanted { key, at: at as u32 }
    }

    /// Number and bucket of a token; `make` is asked where it is not known.
    #[inline]
    pub fn token(
        &mut self,
        text: &[u8],
        start: usize,
        end: usize,
        wanted: Wanted,
        make: impl FnOnce() -> u32,
    ) -> (u32, u32) {
        let token = text.get(start..end).unwrap_or(&[]);
        if token.len() > MAX_TOKEN_BYTES {
            return (NONE, make());
        }
        let mut at = wanted.at as usize;
        loop {
            let slot = self.slots[at];
            if slot.packed == 0 {
                break;
            }
            if slot.key == wanted.key && slot.length() == token.len() && self.is_same(slot.id(), token) {
                return (slot.id(), slot.bucket);
            }
            at = (at + 1) % NUM_SLOTS;
        }
        let bucket = make();
        (self.keep(at, wanted.key, token, bucket), bucket)
    }

    #[inline]
    fn is_same(&self, id: u32, token: &[u8]) -> bool {
        let end = self.ends[id as usize] as usize;
        token.len() <= KEY_BYTES || self.names.get(end - token.len()..end) == Some(token)
    }

    #[cold]
    fn keep(&mut self, at: usize, key: u64, token: &[u8], bucket: u32) -> u32 {
        if self.is_full() {
            return NONE;
        }
        let id = self.ends.len() as u32;
        self.slots[at] = Slot { key, packed: (token.len() as u32) << LENGTH_SHIFT | id, bucket };
        if token.len() > KEY_BYTES {
            self.names.extend_from_slice(token);
        }
        self.ends.push(self.names.len() as u32);
        id
    }

    /// The key of an n-gram whose shorter end has `key`, with one token put before it; 0 where one is not kept.
    #[inline]
    #[must_use]
    pub fn longer(key: u64, id: u32) -> u64 {
        if key == 0 || id == NONE { 0 } else { key << ID_BITS | u64::from(id) }
    }

    /// The place of an n-gram of at least two tokens, which is about to be looked at.
    #[inline]
    #[must_use]
    pub fn place(&self, key: u64) -> usize {
        let at = fold(key ^ self.seed, MULTIPLIER) as usize % NUM_PLACES;
        prefetch(&self.places, at);
        at
    }

    /// Bucket of an n-gram by its place, and whether it is known; else the bucket is any.
    #[inline]
    #[must_use]
    pub fn ngram(&self, key: u64, at: usize) -> (u32, bool) {
        let place = self.places[at % NUM_PLACES];
        (place.bucket, (place.key == key) & (key != 0))
    }

    /// Know the bucket of an n-gram from now on, instead of another one.
    #[inline]
    pub fn keep_ngram(&mut self, key: u64, at: usize, bucket: u32) {
        self.places[at % NUM_PLACES] = Place { key, bucket };
    }
}
