//! Gopher's repetition signals of n-grams with datatrove's semantics.
//!
//! An n-gram can occur twice only if both (n-1)-grams inside it do, so each level visits only what may repeat
//! on the level below. Up to 4 words a table of counts by hash sieves out most that occurs once, and only what
//! may be the most frequent is counted exactly; from 5 words on repeated n-grams are numbered, and the numbers
//! of the two (n-1)-grams inside are the key of the next level. Whatever is compared in the end is words.
//!
//! datatrove compares the words of a 5- to 10-gram run together, where ("1", "23") equals ("12", "3"). Where that
//! is asked for (`Grams::new`), such places, which are rare, are found first (`seams.rs`), and only n-grams that
//! hold one are compared as text.
//!
//! Cost: linear in the text; buffers are used again for the next document.

use crate::ngram::{fold, hash};
use crate::repeats::seen_before;
use crate::seams::Seams;
use crate::text::{Span, Views, count_chars};
use crate::vocabulary::{Vocabulary, clear, seed};

/// Lengths of the n-grams whose most frequent one is measured.
pub const TOP: [usize; 3] = [2, 3, 4];
/// Lengths of the n-grams whose repeats are measured.
pub const DUP: [usize; 6] = [5, 6, 7, 8, 9, 10];

/// In place of the number of an n-gram that is not repeated word by word.
const NO_NUMBER: u32 = u32::MAX;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
/// Counts in the sieve for each n-gram that may be repeated.
const SIEVE: usize = 4;

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

/// The n-gram signals of one document after another.
#[derive(Debug)]
pub struct Grams {
    joined: bool,
    multipliers: [u64; DUP[0]],
    /// Where an n-gram of the current level may be repeated: all that are, and some that are not.
    may_repeat: Vec<Place>,
    /// Occurrences of n-grams, by hash, capped.
    sieve: Vec<u8>,
    /// Different n-grams of the current level, as far as they are counted.
    grams: Vec<Gram>,
    slots: Vec<u32>,
    /// Repeated n-grams of the current level: first word, number.
    repeated: Vec<(u32, u32)>,
    /// For each word, a level up to which the n-gram that starts there may be repeated; for `joined` alone.
    depths: Vec<u8>,
    seams: Seams,
    seen: Vec<bool>,
    has_seam: Vec<bool>,
    places: Vec<(u32, u32)>,
    texts: Vec<u64>,
    /// Where each word starts in characters; empty where that is its place in bytes.
    chars: Vec<u32>,
    /// Characters of each different word.
    lengths: Vec<u32>,
}

impl Grams {
    /// Buffers without a document yet. With `joined` n-grams are equal when their words run together are.
    #[must_use]
    pub fn new(joined: bool) -> Self {
        let (may_repeat, sieve, grams, slots, repeated, depths) = Default::default();
        let (seams, seen, has_seam, places, texts, chars, lengths) = Default::default();
        let multipliers = std::array::from_fn(|_| seed() | 1);
        Self {
            joined,
            multipliers,
            may_repeat,
            sieve,
            grams,
            slots,
            repeated,
            depths,
            seams,
            seen,
            has_seam,
            places,
            texts,
            chars,
            lengths,
        }
    }
}

impl Grams {
    /// Characters of the most frequent n-gram times its count for the lengths `TOP`, then characters of the
    /// n-grams that occurred before for the lengths `DUP`.
    ///
    /// Most frequent: ties go to the first, words are joined by single spaces, 0 where there are too few
    /// words. Occurred before: read from the left; after a repeat the next n-gram starts behind it, and only
    /// n-grams that are no repeat count as having occurred.
    pub fn measure(&mut self, doc: &Views<'_>, words: &mut Vocabulary) -> [usize; TOP.len() + DUP.len()] {
        self.place(doc, words);
        self.start(words);
        let top = [self.top::<2>(words), self.top::<3>(words), self.top::<4>(words)];
        self.number_first(words.ids());
        let mut out = [0; TOP.len() + DUP.len()];
        out[..TOP.len()].copy_from_slice(&top);
        if self.joined {
            words.join(doc.words_text.as_bytes(), doc.words);
            self.seams.find(doc.words_text.as_bytes(), words, &self.depths);
        }
        for (slot, n) in out[TOP.len()..].iter_mut().zip(DUP) {
            if n > DUP[0] {
                self.number_next();
            }
            *slot = match self.seams.places() {
                [] => self.dup_by_number(words, n),
                _ => self.dup_by_text(words, n),
            };
        }
        out
    }

    fn place(&mut self, doc: &Views<'_>, words: &Vocabulary) {
        self.chars.clear();
        if doc.is_ascii && doc.words_text.is_ascii() {
            return;
        }
        self.lengths.clear();
        let length = |span: &Span| count_chars(span.of(doc.words_text)) as u32;
        self.lengths.extend(words.spans().iter().map(length));
        let mut sum = 0;
        self.chars.push(0);
        for &id in words.ids() {
            sum += self.lengths[id as usize];
            self.chars.push(sum);
        }
    }

    fn num_chars(&self, words: &Vocabulary, at: usize, n: usize) -> usize {
        let places = if self.chars.is_empty() { words.starts() } else { &self.chars };
        match (places.get(at), places.get(at + n)) {
            (Some(start), Some(end)) => (end - start) as usize,
            _ => 0,
        }
    }

    /// Level 1: the words that occur more than once.
    fn start(&mut self, words: &Vocabulary) {
        let (ids, counts) = (words.ids(), words.counts());
        self.depths.clear();
        self.may_repeat.resize(ids.len(), Place { at: 0, hash: 0 });
        let mut kept = 0;
        // Here and below: written always, counted where it holds; a branch would be guessed wrong too often.
        for (at, &id) in (0u32..).zip(ids) {
            self.may_repeat[kept] = Place { at, hash: 0 };
            kept += usize::from(counts[id as usize] > 1);
        }
        self.may_repeat.truncate(kept);
        if self.joined {
            self.depths.extend(ids.iter().map(|&id| u8::from(counts[id as usize] > 1)));
        }
    }

    /// Characters of the most frequent n-gram, spaces between its words included, times its count.
    fn top<const N: usize>(&mut self, words: &Vocabulary) -> usize {
        let most = self.sieve::<N>(words.ids());
        if words.ids().len() < N {
            return 0;
        }
        let (mut at, mut count) = self.most_frequent::<N>(words.ids(), most);
        if count < u32::from(most) {
            // Different n-grams share a count of the sieve: the most frequent one may be elsewhere.
            (at, count) = self.most_frequent::<N>(words.ids(), count.max(2) as u8);
        }
        (self.num_chars(words, at as usize, N) + N - 1) * count as usize
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
        let (mut kept, mut most) = (0, 0);
        for index in 0..found {
            let place = places[index];
            let count = self.sieve[place.hash as usize & mask];
            places[kept] = place;
            kept += usize::from(count > 1);
            most = most.max(count);
        }
        self.may_repeat.truncate(kept);
        if self.joined {
            for place in &self.may_repeat {
                self.depths[place.at as usize] = N as u8;
            }
        }
        most
    }

    /// First word and count of the most frequent n-gram among those that the sieve counts `least` times or more.
    fn most_frequent<const N: usize>(&mut self, ids: &[u32], least: u8) -> (u32, u32) {
        let mask = self.sieve.len() - 1;
        let sieve = std::mem::take(&mut self.sieve);
        self.count::<N>(ids, |place| sieve[place.hash as usize & mask] >= least);
        self.sieve = sieve;
        let mut found = (0, 1);
        for gram in &self.grams {
            if gram.count > found.1 {
                found = (gram.first, gram.count);
            }
        }
        found
    }

    /// Count the n-grams at the places that `is_asked`; each such place gets the number of its n-gram.
    #[inline(never)] // Inlined into each other these run slower.
    fn count<const N: usize>(&mut self, ids: &[u32], is_asked: impl Fn(&Place) -> bool) {
        self.grams.clear();
        self.repeated.clear();
        self.repeated.extend(
            self.may_repeat.iter().filter(|place| is_asked(place)).map(|place| (place.at, place.hash)),
        );
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

    /// Number the repeated n-grams of the first length of `DUP`.
    fn number_first(&mut self, ids: &[u32]) {
        self.sieve::<{ DUP[0] }>(ids);
        self.count::<{ DUP[0] }>(ids, |_| true);
        self.keep_repeated();
    }

    /// Replace the repeated (n-1)-grams by the repeated n-grams.
    #[inline(never)]
    fn number_next(&mut self) {
        self.grams.clear();
        let mask = clear(&mut self.slots, 2 * self.repeated.len());
        let mut found = 0;
        for index in 1..self.repeated.len() {
            let ((at, left), (next, right)) = (self.repeated[index - 1], self.repeated[index]);
            if next != at + 1 {
                continue;
            }
            let key = u64::from(left) << 32 | u64::from(right);
            let slot = fold(key ^ self.multipliers[0], MULTIPLIER) as usize & mask;
            let new = Gram { key, first: at, count: 0 };
            let number = number_of(&mut self.slots, &mut self.grams, slot, new, |other| other.key == key);
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

    fn dup_by_number(&mut self, words: &Vocabulary, n: usize) -> usize {
        self.seen.clear();
        self.seen.resize(self.grams.len(), false);
        let mut sum = 0;
        let mut next = 0;
        for &(at, number) in &self.repeated {
            if at as usize >= next && std::mem::replace(&mut self.seen[number as usize], true) {
                sum += self.num_chars(words, at as usize, n);
                next = at as usize + n;
            }
        }
        sum
    }

    /// As `dup_by_number`, comparing n-grams with seams as text.
    fn dup_by_text(&mut self, words: &Vocabulary, n: usize) -> usize {
        self.find_places(n);
        self.seen.clear();
        self.seen.resize(self.grams.len(), false);
        let mask = clear(&mut self.texts, 2 * self.places.len());
        let (starts, joined) = (words.starts(), words.joined());
        let gram = |at: usize| joined.get(*starts.get(at)? as usize..*starts.get(at + n)? as usize);
        let mut sum = 0;
        let mut next = 0;
        for &(at, number) in &self.places {
            let at = at as usize;
            let Some(bytes) = gram(at) else { break };
            if at < next {
                continue;
            }
            let seen = if number != NO_NUMBER && !self.has_seam[number as usize] {
                std::mem::replace(&mut self.seen[number as usize], true)
            } else {
                let same = |number: u64| gram(number as usize - 1) == Some(bytes);
                seen_before(&mut self.texts, mask, hash(self.multipliers[0], bytes), at as u64 + 1, same)
            };
            if seen {
                sum += self.num_chars(words, at, n);
                next = at + n;
            }
        }
        sum
    }

    /// Where an n-gram may equal another one, with its number: repeated word by word, or with a seam before
    /// its last word. A number has a seam if one of its occurrences does.
    fn find_places(&mut self, n: usize) {
        self.places.clear();
        self.has_seam.clear();
        self.has_seam.resize(self.grams.len(), false);
        let reach = n as u32 - 2;
        let mut live = self.repeated.iter().copied().peekable();
        let mut from = 0;
        for &seam in self.seams.places() {
            let first = from.max(seam.saturating_sub(reach));
            while let Some(pair) = live.next_if(|pair| pair.0 < first) {
                self.places.push(pair);
            }
            for at in first..=seam {
                let number = live.next_if(|pair| pair.0 == at).map_or(NO_NUMBER, |pair| pair.1);
                if let Some(flag) = self.has_seam.get_mut(number as usize) {
                    *flag = true;
                }
                self.places.push((at, number));
            }
            from = seam + 1;
        }
        self.places.extend(live);
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
fn multilinear<const N: usize>(gram: &[u32; N], multipliers: &[u64; DUP[0]]) -> u32 {
    let products =
        gram.iter().zip(multipliers).map(|(&id, &multiplier)| multiplier.wrapping_mul(u64::from(id) + 1));
    (products.fold(0, u64::wrapping_add) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::text::{Reads, Segments};

    /// Characters of the n-grams that occurred before, the slow way.
    fn twin(words: &[&str], n: usize) -> usize {
        let mut seen = HashSet::new();
        let (mut sum, mut at) = (0, 0);
        while at + n <= words.len() {
            let gram = words[at..at + n].concat();
            if seen.contains(&gram) {
                sum += gram.chars().count();
                at += n;
            } else {
                seen.insert(gram);
                at += 1;
            }
        }
        sum
    }

    #[test]
    fn repeats_are_found_however_the_words_are_cut() {
        let vocabularies: [&[&str]; 5] = [
            &["a", "aa", "aaa", "b"],
            &["1", "23", "12", "3", "x", "y", "z"],
            &["in", "to", "into", "the", "re", "there", "there-in", "there-into", "-in"],
            &["governme", "nt", "government", "s", "governments", "ly", "governmently", "l", "y"],
            &["\u{e9}", "e", "\u{e9}e", "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxy", "z", "zz"],
        ];
        let mut grams = Grams::new(true);
        let mut vocabulary = Vocabulary::default();
        let mut segments = Segments::default();
        let mut state = 88_172_645_463_325_252u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % bound
        };
        for round in 0..20_000 {
            let parts = vocabularies[round % vocabularies.len()];
            let words: Vec<&str> = (0..below(60)).map(|_| parts[below(parts.len())]).collect();
            let doc = segments.view_given("", words.iter().copied(), Reads::default());
            vocabulary.load(doc.words_text.as_bytes(), doc.words);
            let found = grams.measure(&doc, &mut vocabulary);
            let expected: Vec<usize> = DUP.iter().map(|&n| twin(&words, n)).collect();
            assert_eq!(found[TOP.len()..], expected, "{words:?}");
        }
    }
}
