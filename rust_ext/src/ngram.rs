//! Repeated n-grams of one document, level by level.
//!
//! An n-gram can occur twice only if both (n-1)-grams inside it do, so each level visits only what may repeat
//! on the level below. Up to 4 words a table of counts by hash sieves out most that occurs once, and only what
//! may be the most frequent is counted exactly; from 5 words on repeated n-grams are numbered, and the numbers
//! of the two (n-1)-grams inside are the key of the next level. Whatever is compared in the end is words.
//!
//! Cost: linear in the words; buffers are used again for the next document.

use crate::vocabulary::{clear, seed};

/// Documents with more words have no n-gram signals: their tables would not fit a memory budget.
pub const MAX_WORDS: usize = 1 << 20;

/// Words in the shortest n-grams that are numbered.
pub const NUMBERED: usize = 5;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// Counts in the sieve for each n-gram that may be repeated.
const SIEVE: usize = 4;

const NO_SUCCESSOR: (u32, u32) = (u32::MAX, u32::MAX);

/// A different n-gram of the current level.
#[derive(Debug, Clone, Copy)]
struct Gram {
    /// The numbers of the two (n-1)-grams inside it, or its hash.
    key: u64,
    /// Word at which it occurs first.
    first: u32,
    count: u32,
}

/// A place where an n-gram may be repeated.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Its first word.
    at: u32,
    hash: u32,
}

/// The repeated n-grams of one document after another: `start`, `most_frequent` for 2, 3 and 4 words,
/// `number_first` for 5, then `number_next` for each length more.
#[derive(Debug)]
pub struct NGrams {
    multipliers: [u64; NUMBERED],
    /// Where an n-gram of the current level may be repeated: all that are, and some that are not.
    may_repeat: Vec<Place>,
    /// Occurrences of n-grams, by hash, capped.
    sieve: Vec<u8>,
    /// Different n-grams of the current level, as far as they are counted.
    grams: Vec<Gram>,
    slots: Vec<u32>,
    /// Repeated n-grams of the current level: first word, number.
    repeated: Vec<(u32, u32)>,
    /// The places with the greatest count of the sieve.
    most: Vec<Place>,
    /// For each number of the level below, the number that follows it where it occurs first, and that of both.
    successors: Vec<(u32, u32)>,
}

/// Places whose n-grams are counted.
enum Places {
    All,
    /// Those with the greatest count of the sieve.
    Most,
    /// Those with at least this count of the sieve.
    AtLeast(u8),
}

impl Default for NGrams {
    fn default() -> Self {
        let (may_repeat, sieve, grams, slots, repeated, most, successors) = Default::default();
        // No result depends on the seeds; they keep texts from being made to collide.
        let multipliers = std::array::from_fn(|_| seed() | 1);
        Self { multipliers, may_repeat, sieve, grams, slots, repeated, most, successors }
    }
}

impl NGrams {
    /// Level 1: the words that occur more than once, by the number of each word and the count of each number.
    pub fn start(&mut self, ids: &[u32], counts: &[u32]) {
        self.may_repeat.resize(ids.len(), Place { at: 0, hash: 0 });
        let mut kept = 0;
        // Here and below: written always, counted where it holds; a branch would be guessed wrong too often.
        for (at, &id) in (0u32..).zip(ids) {
            self.may_repeat[kept] = Place { at, hash: 0 };
            kept += usize::from(counts[id as usize] > 1);
        }
        self.may_repeat.truncate(kept);
    }

    /// First word and count of the most frequent n-gram of the next level, the first one where several are;
    /// the first n-gram, once, where none is repeated.
    pub fn most_frequent<const N: usize>(&mut self, ids: &[u32]) -> (usize, usize) {
        let most = self.sieve::<N>(ids);
        self.count::<N>(ids, Places::Most);
        let (mut at, mut count) = self.most_frequent_counted();
        if count < u32::from(most) {
            // Different n-grams share a count of the sieve: the most frequent one may be elsewhere.
            self.count::<N>(ids, Places::AtLeast(count.max(2) as u8));
            (at, count) = self.most_frequent_counted();
        }
        (at as usize, count as usize)
    }

    /// First words of the n-grams of the current level, below `NUMBERED`, that may be repeated: all that are.
    pub fn may_repeat(&self) -> impl Iterator<Item = usize> + '_ {
        self.may_repeat.iter().map(|place| place.at as usize)
    }

    /// First word and number of each repeated n-gram of the current level, from `NUMBERED` on, by position.
    #[must_use]
    pub fn repeated(&self) -> &[(u32, u32)] {
        &self.repeated
    }

    /// The numbers of repeated n-grams are below this.
    #[must_use]
    pub fn num_numbers(&self) -> usize {
        self.grams.len()
    }

    /// From what may repeat at N-1 words to what may repeat at N; returns the greatest count of the sieve.
    #[inline(never)] // Inlined into each other these run slower.
    fn sieve<const N: usize>(&mut self, ids: &[u32]) -> u8 {
        let mask = clear(&mut self.sieve, SIEVE * self.may_repeat.len());
        let places = self.may_repeat.as_mut_slice();
        let mut found = 0;
        for index in 1..places.len() {
            let (at, next) = (places[index - 1].at, places[index].at);
            let hash = gram_at::<N>(ids, at).map_or(0, |gram| multilinear(gram, &self.multipliers));
            let is_pair = u8::from(next == at + 1);
            let count = &mut self.sieve[hash as usize & mask];
            *count += is_pair & u8::from(*count < u8::MAX);
            places[found] = Place { at, hash };
            found += usize::from(is_pair);
        }
        let (mut kept, mut most) = (0, 2);
        self.most.clear();
        for index in 0..found {
            let place = places[index];
            let count = self.sieve[place.hash as usize & mask];
            places[kept] = place;
            kept += usize::from(count > 1);
            if count >= most {
                if count > most {
                    most = count;
                    self.most.clear();
                }
                self.most.push(place);
            }
        }
        self.may_repeat.truncate(kept);
        most
    }

    /// First word and count of the most frequent n-gram at the counted places.
    fn most_frequent_counted(&self) -> (u32, u32) {
        let mut found = (0, 1);
        for gram in &self.grams {
            if gram.count > found.1 {
                found = (gram.first, gram.count);
            }
        }
        found
    }

    /// Count the n-grams at some places; each place gets the number of its n-gram.
    #[inline(never)] // Inlined into each other these run slower.
    fn count<const N: usize>(&mut self, ids: &[u32], places: Places) {
        self.grams.clear();
        self.repeated.clear();
        let pair = |place: &Place| (place.at, place.hash);
        match places {
            Places::All => self.repeated.extend(self.may_repeat.iter().map(pair)),
            Places::Most => self.repeated.extend(self.most.iter().map(pair)),
            Places::AtLeast(least) => {
                let mask = self.sieve.len() - 1;
                let is_asked = |place: &&Place| self.sieve[place.hash as usize & mask] >= least;
                self.repeated.extend(self.may_repeat.iter().filter(is_asked).map(pair));
            }
        }
        let mask = clear(&mut self.slots, 2 * self.repeated.len());
        for (at, number) in &mut self.repeated {
            let hash = *number;
            let gram = gram_at::<N>(ids, *at);
            let is_same =
                |other: &Gram| other.key == u64::from(hash) && gram_at::<N>(ids, other.first) == gram;
            let new = Gram { key: u64::from(hash), first: *at, count: 0 };
            *number = number_of(&mut self.slots, &mut self.grams, hash as usize & mask, new, is_same);
        }
    }

    /// Number the repeated n-grams of `NUMBERED` words.
    pub fn number_first(&mut self, ids: &[u32]) {
        self.sieve::<NUMBERED>(ids);
        self.count::<NUMBERED>(ids, Places::All);
        self.keep_repeated();
    }

    /// Replace the repeated (n-1)-grams by the repeated n-grams.
    ///
    /// Most are followed by one and the same n-gram wherever they occur; only for others a table is asked.
    #[inline(never)]
    pub fn number_next(&mut self) {
        self.successors.clear();
        self.successors.resize(self.grams.len(), NO_SUCCESSOR);
        self.grams.clear();
        let mut mask = None;
        let mut found = 0;
        for index in 1..self.repeated.len() {
            let ((at, left), (next, right)) = (self.repeated[index - 1], self.repeated[index]);
            if next != at + 1 {
                continue;
            }
            let key = u64::from(left) << 32 | u64::from(right);
            let successor = &mut self.successors[left as usize];
            let number = if successor.0 == right {
                self.grams[successor.1 as usize].count += 1;
                successor.1
            } else if *successor == NO_SUCCESSOR {
                *successor = (right, self.grams.len() as u32);
                self.grams.push(Gram { key, first: at, count: 1 });
                successor.1
            } else {
                let mask = *mask.get_or_insert_with(|| clear(&mut self.slots, 2 * self.repeated.len()));
                let slot = fold(key ^ self.multipliers[0], MULTIPLIER) as usize & mask;
                let new = Gram { key, first: at, count: 0 };
                number_of(&mut self.slots, &mut self.grams, slot, new, |other| other.key == key)
            };
            self.repeated[found] = (at, number);
            found += 1;
        }
        self.repeated.truncate(found);
        self.keep_repeated();
    }

    fn keep_repeated(&mut self) {
        let mut kept = 0;
        for index in 0..self.repeated.len() {
            let (at, number) = self.repeated[index];
            self.repeated[kept] = (at, number);
            kept += usize::from(self.grams[number as usize].count > 1);
        }
        self.repeated.truncate(kept);
    }
}

/// The number of the n-gram that `is_same` as the new one, in a table of numbers plus one; counts it.
#[inline]
fn number_of(
    slots: &mut [u32],
    grams: &mut Vec<Gram>,
    mut slot: usize,
    new: Gram,
    is_same: impl Fn(&Gram) -> bool,
) -> u32 {
    let mask = slots.len() - 1;
    loop {
        let number = slots[slot];
        if number == 0 {
            grams.push(Gram { count: 1, ..new });
            slots[slot] = grams.len() as u32;
            return grams.len() as u32 - 1;
        }
        if let Some(gram) = grams.get_mut(number as usize - 1)
            && is_same(gram)
        {
            gram.count += 1;
            return number - 1;
        }
        slot = (slot + 1) & mask;
    }
}

#[inline]
fn gram_at<const N: usize>(ids: &[u32], at: u32) -> Option<&[u32; N]> {
    ids.get(at as usize..)?.first_chunk()
}

/// The upper half of a sum of products: two n-grams share it by chance alone, whatever they are.
#[inline]
fn multilinear<const N: usize>(gram: &[u32; N], multipliers: &[u64; NUMBERED]) -> u32 {
    let products =
        gram.iter().zip(multipliers).map(|(&id, &multiplier)| multiplier.wrapping_mul(u64::from(id) + 1));
    (products.fold(0, u64::wrapping_add) >> 32) as u32
}

/// Mix two numbers: both halves of their product.
#[must_use]
pub fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Hash bytes for a table that compares what it finds.
#[must_use]
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let (pairs, rest) = bytes.as_chunks::<16>();
    let mut state = seed ^ bytes.len() as u64;
    for pair in pairs {
        let [low, high] = [pair.first_chunk(), pair.last_chunk()].map(|half| half.map_or(0, word));
        state = fold(state ^ low, high ^ MULTIPLIER);
    }
    let (low, high) = if let (Some(head), Some(tail)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        (word(head), word(tail))
    } else if let (Some(head), Some(tail)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
    } else {
        (rest.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)), 0)
    };
    fold(fold(state ^ low, high ^ MULTIPLIER), MULTIPLIER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Positions of repeated n-grams with their counts, the slow way.
    fn twin(words: &[&str], n: usize) -> Vec<(usize, usize)> {
        let mut counts = HashMap::new();
        for gram in words.windows(n) {
            *counts.entry(gram).or_insert(0) += 1;
        }
        (0..).zip(words.windows(n)).map(|(at, gram)| (at, counts[gram])).filter(|pair| pair.1 > 1).collect()
    }

    /// Of `twin`: the first of those with the greatest count.
    fn top(words: &[&str], n: usize) -> (usize, usize) {
        let found = twin(words, n).into_iter().rev().max_by_key(|pair| pair.1);
        found.unwrap_or((0, 1))
    }

    fn check(words: &[&str]) {
        let mut numbers = HashMap::new();
        let mut counts = Vec::new();
        let mut ids = Vec::new();
        for word in words {
            let id = *numbers.entry(word).or_insert(counts.len());
            counts.resize(counts.len().max(id + 1), 0);
            counts[id] += 1;
            ids.push(id as u32);
        }
        let mut ngrams = NGrams::default();
        ngrams.start(&ids, &counts);
        assert_eq!(ngrams.most_frequent::<2>(&ids), top(words, 2), "{words:?}");
        assert_eq!(ngrams.most_frequent::<3>(&ids), top(words, 3), "{words:?}");
        assert_eq!(ngrams.most_frequent::<4>(&ids), top(words, 4), "{words:?}");
        ngrams.number_first(&ids);
        for n in NUMBERED..=10 {
            if n > NUMBERED {
                ngrams.number_next();
            }
            let mut counts = vec![0; ngrams.num_numbers()];
            ngrams.repeated().iter().for_each(|&(_, number)| counts[number as usize] += 1);
            let found: Vec<_> = ngrams
                .repeated()
                .iter()
                .map(|&(at, number)| (at as usize, counts[number as usize]))
                .collect();
            assert_eq!(found, twin(words, n), "{n} of {words:?}");
        }
    }

    #[test]
    fn levels_find_what_counting_each_n_finds() {
        check(&[]);
        check(&"a b c a b c a b d a b c a b c".split(' ').collect::<Vec<_>>());
        check(&["a"; 700]);
        check(&"one two three".split(' ').collect::<Vec<_>>());
        let text: Vec<_> = (0..5000u64).map(|i| (i * i % 61 % 7).to_string()).collect();
        check(&text.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn random_words_of_few_kinds_have_the_repeats_that_counting_finds() {
        let words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let mut state = 1u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for _ in 0..3000 {
            let (length, kinds) = (below(400), 1 + below(words.len()));
            let text: Vec<_> = (0..length).map(|_| words[below(kinds)]).collect();
            check(&text);
        }
    }
}
