//! Gopher's repetition signals of n-grams with datatrove's semantics.
//!
//! An n-gram can occur twice only if both (n-1)-grams inside it do, so each level visits only what repeats
//! on the level below, with two numbers as key. That compares word by word; datatrove compares the words
//! of a 5- to 10-gram run together, where ("1", "23") equals ("12", "3"). Where that is asked for
//! (`Grams::new`), such places, which are rare, are found first (`seams.rs`), and only n-grams that hold one
//! are compared as text.
//!
//! Cost: linear in the text; buffers are used again for the next document.

use crate::ngram::{fold, hash};
use crate::repeats::seen_before;
use crate::seams::Seams;
use crate::text::{Views, count_chars};
use crate::vocabulary::{Entry, Vocabulary, clear, seed};

/// Lengths of the n-grams whose most frequent one is measured.
pub const TOP: [usize; 3] = [2, 3, 4];
/// Lengths of the n-grams whose repeats are measured.
pub const DUP: [usize; 6] = [5, 6, 7, 8, 9, 10];

/// In place of the number of an n-gram that is not repeated word by word.
const NO_NUMBER: u32 = u32::MAX;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// An n-gram of the current level that may be repeated.
#[derive(Debug, Clone, Copy)]
struct Gram {
    /// The numbers of the two (n-1)-grams inside it.
    key: u64,
    /// Word at which it occurs first.
    first: u32,
    count: u32,
}

/// An occurrence of a pair of repeated (n-1)-grams.
#[derive(Debug, Clone, Copy)]
struct Pair {
    key: u64,
    at: u32,
    /// Its hash, later its number.
    number: u32,
}

/// The n-gram signals of one document after another.
#[derive(Debug)]
pub struct Grams {
    joined: bool,
    seed: u64,
    /// Repeated n-grams of the current level: first word, number.
    live: Vec<(u32, u32)>,
    grams: Vec<Gram>,
    pairs: Vec<Pair>,
    /// Occurrences of pairs, by hash, capped.
    filter: Vec<u8>,
    slots: Vec<u32>,
    /// For each word, the greatest level at which the n-gram that starts there is repeated.
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
        let (live, grams, pairs, filter, slots, depths) = Default::default();
        let (seams, seen, has_seam, places, texts, chars, lengths) = Default::default();
        let seed = seed();
        Self {
            joined,
            seed,
            live,
            grams,
            pairs,
            filter,
            slots,
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
    pub fn measure(&mut self, doc: &Views<'_>, words: &Vocabulary) -> [usize; TOP.len() + DUP.len()] {
        self.place(doc, words);
        self.start(words);
        let mut out = [0; TOP.len() + DUP.len()];
        let (top, dup) = out.split_at_mut(TOP.len());
        for (slot, n) in top.iter_mut().zip(TOP) {
            self.next_level(n as u8);
            if n <= doc.words.len() {
                let (at, count) = self.most_frequent();
                *slot = (self.num_chars(words, at, n) + n - 1) * count;
            }
        }
        if self.joined {
            self.seams.find(doc.words_text.as_bytes(), words, &self.depths);
        }
        for (slot, n) in dup.iter_mut().zip(DUP) {
            self.next_level(n as u8);
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
        let length = |entry: &Entry| count_chars(entry.span.of(doc.words_text)) as u32;
        self.lengths.extend(words.entries().iter().map(length));
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
        let (ids, entries) = (words.ids(), words.entries());
        self.depths.clear();
        self.live.resize(ids.len(), (0, 0));
        let mut kept = 0;
        // Here and below: written always, counted where it holds; a branch would be guessed wrong too often.
        for (at, &id) in (0u32..).zip(ids) {
            let repeated = entries[id as usize].count > 1;
            self.depths.push(u8::from(repeated));
            self.live[kept] = (at, id);
            kept += usize::from(repeated);
        }
        self.live.truncate(kept);
    }

    /// Replace the repeated (n-1)-grams by the repeated n-grams.
    fn next_level(&mut self, n: u8) {
        self.grams.clear();
        if self.live.len() < 2 {
            self.live.clear();
            return;
        }
        self.find_pairs();
        let mask = clear(&mut self.slots, 2 * self.pairs.len());
        for pair in &mut self.pairs {
            let mut slot = pair.number as usize & mask;
            pair.number = loop {
                let number = self.slots[slot];
                if number == 0 {
                    self.grams.push(Gram { key: pair.key, first: pair.at, count: 1 });
                    self.slots[slot] = self.grams.len() as u32;
                    break self.grams.len() as u32 - 1;
                }
                if let Some(gram) = self.grams.get_mut(number as usize - 1)
                    && gram.key == pair.key
                {
                    gram.count += 1;
                    break number - 1;
                }
                slot = (slot + 1) & mask;
            };
        }
        let mut kept = 0;
        for pair in &self.pairs {
            let repeated = self.grams[pair.number as usize].count > 1;
            self.live[kept] = (pair.at, pair.number);
            kept += usize::from(repeated);
            let depth = &mut self.depths[pair.at as usize];
            *depth = if repeated { n } else { *depth };
        }
        self.live.truncate(kept);
    }

    /// Pairs of neighbours on the level below, without most of those that occur once.
    fn find_pairs(&mut self) {
        let mask = clear(&mut self.filter, 8 * self.live.len());
        self.pairs.resize(self.live.len(), Pair { key: 0, at: 0, number: 0 });
        let mut found = 0;
        for pair in self.live.windows(2) {
            let [(at, left), (next, right)] = [pair[0], pair[1]];
            let key = u64::from(left) << 32 | u64::from(right);
            let hash = fold(key ^ self.seed, MULTIPLIER) as u32;
            let meets = u8::from(next == at + 1);
            let count = &mut self.filter[hash as usize & mask];
            *count = count.saturating_add(meets);
            self.pairs[found] = Pair { key, at, number: hash };
            found += usize::from(meets);
        }
        let mut kept = 0;
        for index in 0..found {
            let pair = self.pairs[index];
            self.pairs[kept] = pair;
            kept += usize::from(self.filter[pair.number as usize & mask] > 1);
        }
        self.pairs.truncate(kept);
    }

    /// First word and count of the most frequent n-gram of the current level.
    fn most_frequent(&self) -> (usize, usize) {
        let mut found = (0, 1);
        for gram in &self.grams {
            if gram.count > found.1 {
                found = (gram.first, gram.count);
            }
        }
        (found.0 as usize, found.1 as usize)
    }

    fn dup_by_number(&mut self, words: &Vocabulary, n: usize) -> usize {
        self.seen.clear();
        self.seen.resize(self.grams.len(), false);
        let mut sum = 0;
        let mut next = 0;
        for &(at, number) in &self.live {
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
                seen_before(&mut self.texts, mask, hash(self.seed, bytes), at as u64 + 1, same)
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
        let mut live = self.live.iter().copied().peekable();
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::text::Segments;

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
            let doc = segments.view_given("", words.iter().copied());
            vocabulary.load(doc.words_text.as_bytes(), doc.words);
            let found = grams.measure(&doc, &vocabulary);
            let expected: Vec<usize> = DUP.iter().map(|&n| twin(&words, n)).collect();
            assert_eq!(found[TOP.len()..], expected, "{words:?}");
        }
    }
}
