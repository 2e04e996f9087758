//! Gopher's repetition signals of n-grams with datatrove's semantics.
//!
//! `ngram.rs` finds what is repeated word by word. datatrove compares the words of a 5- to 10-gram run together,
//! where ("1", "23") equals ("12", "3"). Where that is asked for (`Grams::new`), such places, which are rare, are
//! found first (`seams.rs`), and only n-grams that hold one are compared as text.
//!
//! Cost: linear in the text; buffers are used again for the next document.

use crate::ngram::{NGrams, NUMBERED, hash};
use crate::repeats::seen_before;
use crate::seams::Seams;
use crate::text::{Span, Views, count_chars};
use crate::vocabulary::{Vocabulary, clear, seed};

/// Lengths of the n-grams whose most frequent one is measured.
pub const TOP: [usize; 3] = [2, 3, 4];
/// Lengths of the n-grams whose repeats are measured.
pub const DUP: [usize; 6] = [NUMBERED, 6, 7, 8, 9, 10];

/// In place of the number of an n-gram that is not repeated word by word.
const NO_NUMBER: u32 = u32::MAX;

/// The n-gram signals of one document after another.
#[derive(Debug)]
pub struct Grams {
    joined: bool,
    seed: u64,
    ngrams: NGrams,
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
        let (ngrams, depths, seams, seen, has_seam) = Default::default();
        let (places, texts, chars, lengths) = Default::default();
        Self { joined, seed: seed(), ngrams, depths, seams, seen, has_seam, places, texts, chars, lengths }
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
        let mut out = [0; TOP.len() + DUP.len()];
        out[..TOP.len()].copy_from_slice(&[self.top::<2>(words), self.top::<3>(words), self.top::<4>(words)]);
        if self.joined {
            words.join(doc.words_text.as_bytes(), doc.words);
            self.seams.find(doc.words_text.as_bytes(), words, &self.depths);
        }
        self.ngrams.number_first(words.ids());
        for (slot, n) in out[TOP.len()..].iter_mut().zip(DUP) {
            if n > NUMBERED {
                self.ngrams.number_next();
            }
            *slot = match self.seams.places() {
                [] => self.dup_by_number(words, n),
                _ => self.dup_by_text(words, n),
            };
        }
        out
    }

    fn start(&mut self, words: &Vocabulary) {
        let (ids, counts) = (words.ids(), words.counts());
        self.ngrams.start(ids, counts);
        self.depths.clear();
        if self.joined {
            self.depths.extend(ids.iter().map(|&id| u8::from(counts[id as usize] > 1)));
        }
    }

    /// Characters of the most frequent n-gram, spaces between its words included, times its count.
    fn top<const N: usize>(&mut self, words: &Vocabulary) -> usize {
        let (at, count) = self.ngrams.most_frequent::<N>(words.ids());
        if self.joined {
            self.ngrams.may_repeat().for_each(|at| self.depths[at] = N as u8);
        }
        if words.ids().len() < N { 0 } else { (self.num_chars(words, at, N) + N - 1) * count }
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

    fn dup_by_number(&mut self, words: &Vocabulary, n: usize) -> usize {
        self.seen.clear();
        self.seen.resize(self.ngrams.num_numbers(), false);
        let mut sum = 0;
        let mut next = 0;
        for &(at, number) in self.ngrams.repeated() {
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
        self.seen.resize(self.ngrams.num_numbers(), false);
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
        self.has_seam.resize(self.ngrams.num_numbers(), false);
        let reach = n as u32 - 2;
        let mut live = self.ngrams.repeated().iter().copied().peekable();
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
