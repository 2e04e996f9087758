//! The set of shingles of a text, as hashes.
//!
//! A word's hash takes up 16 bytes at a time: `state = fold(state ^ low, high ^ F0)` from `state = key ^
//! length`, the last ones filled up with zeros, then `fold(state, F1)`. A character's hash is `fold(fold(key
//! ^ code point, F0), F1)`. A shingle's is `fold(sum of hash_i * BASE^(n - 1 - i) ^ key, F1)`, 1 where that
//! is 0; the sum rolls. Texts of fewer words or characters than n are one shingle.
//!
//! Shingles are a set: a table holds each once. Beyond `max_shingles` different ones only those are kept
//! whose lower half is below 2^32 / 2^level, with the least level that fits: the same shingles whatever their
//! order, and those that two texts share are kept in both. Their number times 2^level estimates how many
//! there are, with a relative standard deviation of about 1 / sqrt(max_shingles / 2). Sketches see every
//! shingle nevertheless.

use super::{FACTORS, Numbers, Settings, Unit, fold};

/// Base of rolling sums.
const BASE: u64 = 0xc4ce_b9fe_1a85_ec53;
/// Items that are hashed in one go.
const BATCH: usize = 1 << 12;
const MIN_SLOTS: usize = 64;

/// Shingles of one text after another.
#[derive(Debug)]
pub struct Shingles {
    key: u64,
    unit: Unit,
    ngram: usize,
    /// `BASE` to the power of `ngram`.
    leaving: u64,
    /// Hashes of words or characters that are in no sum yet, behind the last `ngram` that are.
    items: Vec<u64>,
    num_done: usize,
    sum: u64,
    num_items: u64,
    hashes: Vec<u64>,
    set: Set,
}

impl Shingles {
    /// No text yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let ngram = settings.ngram;
        Self {
            key: Numbers(settings.seed).next().unwrap_or(0),
            unit: settings.unit,
            ngram,
            leaving: (0..ngram).fold(1, |power: u64, _| power.wrapping_mul(BASE)),
            items: Vec::with_capacity(BATCH + ngram),
            num_done: 0,
            sum: 0,
            num_items: 0,
            hashes: Vec::with_capacity(BATCH),
            set: Set::new(settings.max_shingles),
        }
    }

    /// Begin a text.
    pub fn start(&mut self) {
        self.items.clear();
        self.set.clear();
        (self.num_done, self.sum, self.num_items) = (0, 0, 0);
    }

    /// Take up the word from `start` to `end` of `text`; `see` gets all hashes in batches, some of them
    /// again.
    #[inline]
    pub fn word(&mut self, text: &[u8], start: usize, end: usize, see: &mut impl FnMut(&[u64])) {
        match self.unit {
            Unit::Word => self.item(hash_word(self.key, text, start, end), see),
            Unit::Char => {
                if self.num_items > 0 {
                    self.item(hash_char(self.key, ' '), see);
                }
                let word = std::str::from_utf8(text.get(start..end).unwrap_or(&[])).unwrap_or("");
                word.chars().for_each(|c| self.item(hash_char(self.key, c), see));
            }
        }
    }

    /// End the text; `see` as in `word`.
    pub fn end(&mut self, see: &mut impl FnMut(&[u64])) {
        self.flush(see);
        if (1..self.ngram as u64).contains(&self.num_items) {
            self.hashes.clear();
            self.hashes.push(self.hash(self.sum));
            self.set.insert(&mut self.hashes);
            see(&self.hashes);
        }
    }

    /// Different shingles, and whether that is an estimate.
    #[must_use]
    pub fn count(&self) -> (u64, bool) {
        ((self.set.hashes.len() as u64) << self.set.level, self.set.level > 0)
    }

    /// How often the sample was halved; 0 where all hashes are kept. See [`is_kept`].
    #[must_use]
    pub fn level(&self) -> u32 {
        self.set.level
    }

    /// The hashes that were kept, in no order that means anything.
    #[must_use]
    pub fn hashes(&self) -> &[u64] {
        &self.set.hashes
    }

    #[inline]
    fn item(&mut self, hash: u64, see: &mut impl FnMut(&[u64])) {
        self.num_items += 1;
        self.items.push(hash);
        if self.items.len() >= BATCH + self.ngram {
            self.flush(see);
        }
    }

    #[inline]
    fn hash(&self, sum: u64) -> u64 {
        fold(sum ^ self.key, FACTORS[1]).max(1)
    }

    #[inline(never)]
    fn flush(&mut self, see: &mut impl FnMut(&[u64])) {
        self.hashes.clear();
        let mut sum = self.sum;
        let first = self.num_done.max(self.ngram - 1);
        for &new in self.items.get(self.num_done..first.min(self.items.len())).unwrap_or(&[]) {
            sum = sum.wrapping_mul(BASE).wrapping_add(new);
        }
        if let Some(new) = self.items.get(first..) {
            // Before the first whole shingle nothing leaves.
            let whole = first + 1 == self.ngram;
            let old = std::iter::repeat_n(&0, usize::from(whole)).chain(&self.items);
            let old = old.skip(if whole { 0 } else { first - self.ngram });
            for (&new, &old) in new.iter().zip(old) {
                sum = sum.wrapping_mul(BASE).wrapping_add(new).wrapping_sub(old.wrapping_mul(self.leaving));
                self.hashes.push(self.hash(sum));
            }
        }
        self.sum = sum;
        let num_old = self.items.len().saturating_sub(self.ngram);
        self.items.copy_within(num_old.., 0);
        self.items.truncate(self.items.len() - num_old);
        self.num_done = self.items.len();
        self.set.insert(&mut self.hashes);
        see(&self.hashes);
    }
}

/// Different hashes, none of them 0.
#[derive(Debug)]
struct Set {
    hashes: Vec<u64>,
    /// A table of them, 0 where free; at most about half is taken.
    slots: Vec<u64>,
    max: usize,
    max_slots: usize,
    level: u32,
}

impl Set {
    fn new(max: usize) -> Self {
        // Twice what it holds when a batch comes on top of the most that are kept, or nearly so.
        let max_slots = (2 * max).next_power_of_two().max(4 * BATCH);
        Self { hashes: Vec::new(), slots: Vec::new(), max, max_slots, level: 0 }
    }

    fn clear(&mut self) {
        self.hashes.clear();
        self.slots.clear();
        self.level = 0;
    }

    /// Take up a batch; leave in it what may be new: all that is not kept, and what is seen for the first
    /// time.
    fn insert(&mut self, batch: &mut Vec<u64>) {
        let most = 2 * (self.hashes.len() + batch.len());
        if most > self.slots.len() && self.slots.len() < self.max_slots {
            self.rebuild(most.next_power_of_two().clamp(MIN_SLOTS, self.max_slots));
        }
        let (slots, level) = (&mut self.slots, self.level);
        batch.retain(|&hash| !is_kept(hash, level) || put(slots, hash));
        self.hashes.extend(batch.iter().filter(|&&hash| is_kept(hash, level)));
        if self.hashes.len() > self.max {
            while self.hashes.len() > self.max {
                self.level += 1;
                let level = self.level;
                self.hashes.retain(|&hash| is_kept(hash, level));
            }
            self.rebuild(self.slots.len());
        }
    }

    fn rebuild(&mut self, num_slots: usize) {
        self.slots.clear();
        self.slots.resize(num_slots, 0);
        for &hash in &self.hashes {
            put(&mut self.slots, hash);
        }
    }
}

/// Whether a sample of this level has a hash.
#[inline]
fn is_kept(hash: u64, level: u32) -> bool {
    hash & 0xffff_ffff < (1 << 32) >> level
}

/// Put a hash into a table; false if it is there.
#[inline]
fn put(slots: &mut [u64], hash: u64) -> bool {
    let mask = slots.len().wrapping_sub(1);
    let mut at = (hash >> 32) as usize & mask;
    while let Some(slot) = slots.get_mut(at) {
        if *slot == hash {
            return false;
        }
        if *slot == 0 {
            *slot = hash;
            return true;
        }
        at = (at + 1) & mask;
    }
    false
}

#[inline]
fn hash_char(key: u64, c: char) -> u64 {
    fold(fold(key ^ u64::from(c), FACTORS[0]), FACTORS[1])
}

#[inline]
fn hash_word(key: u64, text: &[u8], start: usize, end: usize) -> u64 {
    let mut state = key ^ (end - start) as u64;
    let mut at = start;
    while end - at > 16 {
        let [low, high] = load(text, at, end);
        state = fold(state ^ low, high ^ FACTORS[0]);
        at += 16;
    }
    let [low, high] = load(text, at, end);
    let num_bits = 8 * (end - at) as u32;
    let masked = |half: u64, num_bits: u32| if num_bits < 64 { half & ((1 << num_bits) - 1) } else { half };
    let (low, high) = (masked(low, num_bits), masked(high, num_bits.saturating_sub(64)));
    fold(fold(state ^ low, high ^ FACTORS[0]), FACTORS[1])
}

/// The 16 bytes from `at` on: two numbers, little-endian; what lies beyond `end` means nothing.
#[inline]
fn load(text: &[u8], at: usize, end: usize) -> [u64; 2] {
    let halves = |bytes: &[u8; 16]| {
        let both = u128::from_le_bytes(*bytes);
        [both as u64, (both >> 64) as u64]
    };
    match text.get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => halves(bytes),
        None => {
            let mut bytes = [0; 16];
            let rest = text.get(at..end).unwrap_or(&[]);
            bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            halves(&bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Method, Normalize};
    use super::*;

    fn settings(ngram: usize, max_shingles: usize) -> Settings {
        let (unit, normalize, sketch) = (Unit::Word, Normalize::Word, Method::Fast);
        Settings { unit, ngram, normalize, num_hashes: 8, sketch, seed: 1, max_shingles }
    }

    /// The kept hashes in order, the number of shingles, and all hashes that were seen.
    fn found(shingles: &mut Shingles, words: &[String]) -> (Vec<u64>, u64, Vec<u64>) {
        let mut seen = Vec::new();
        let mut see = |hashes: &[u64]| seen.extend_from_slice(hashes);
        shingles.start();
        words.iter().for_each(|word| shingles.word(word.as_bytes(), 0, word.len(), &mut see));
        shingles.end(&mut see);
        let mut kept = shingles.hashes().to_vec();
        kept.sort_unstable();
        seen.sort_unstable();
        seen.dedup();
        (kept, shingles.count().0, seen)
    }

    #[test]
    fn rolling_sums_forget_what_has_left() {
        for ngram in [1, 2, 5, 256] {
            let mut shingles = Shingles::new(&settings(ngram, MAX));
            let words: Vec<_> = (0..3 * BATCH + 7).map(|i| format!("w{}", i * i % 9973)).collect();
            let (all, _, seen) = found(&mut shingles, &words);
            assert_eq!(all, seen);
            for start in [0, 1, BATCH - 1, BATCH, 2 * BATCH + 3] {
                let (one, count, _) = found(&mut shingles, &words[start..start + ngram]);
                assert_eq!((one.len(), count), (1, 1));
                assert!(all.contains(&one[0]), "{ngram} from {start}");
            }
        }
    }

    const MAX: usize = 1 << 20;

    #[test]
    fn a_sample_is_what_is_small_of_all_whatever_the_order() {
        let mut words: Vec<_> = (0..20_000).map(|i| format!("w{i}")).collect();
        let (all, ..) = found(&mut Shingles::new(&settings(1, MAX)), &words);
        let mut few = Shingles::new(&settings(1, 1000));
        let (kept, count, seen) = found(&mut few, &words);
        words.reverse();
        assert_eq!(found(&mut few, &words).0, kept);
        let limit = kept.iter().map(|hash| hash & 0xffff_ffff).max().unwrap();
        let small: Vec<_> = all.iter().copied().filter(|hash| hash & 0xffff_ffff <= limit).collect();
        assert_eq!((&small, &seen), (&kept, &all));
        assert!(few.count().1 && kept.len() > 400 && (18_000..22_000).contains(&count), "{count}");
    }

    #[test]
    fn words_are_hashed_alike_wherever_they_stand() {
        for length in 1..50 {
            let word = "abcdefghijklmnopqrstuvwxyz".repeat(2)[..length].to_string();
            let inside = format!("{word}{}", "z".repeat(40));
            assert_eq!(hash_word(7, word.as_bytes(), 0, length), hash_word(7, inside.as_bytes(), 0, length));
            let padded = format!("{word}\0");
            assert_ne!(
                hash_word(7, word.as_bytes(), 0, length),
                hash_word(7, padded.as_bytes(), 0, length + 1)
            );
        }
    }
}
