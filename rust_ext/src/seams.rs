//! Where different words of a document run together to the same text: ("in", "to") and ("into", ...).
//!
//! Two different lists of equally many words can run together to one text only if, at the first word where
//! they differ, the shorter of the two goes on as the longer. Such places are found from three sides, none of
//! which misses one (some are found that lead to nothing):
//! - 8 bytes from a word on that occur elsewhere with other word starts among them;
//! - the last 2 words or more of the list, less than 8 bytes together, likewise; the words before them occur
//!   twice as well;
//! - a word of 8 bytes or more that, with what follows, reads as a longer word of the document does.

use crate::ngram::fold;
use crate::text::Span;
use crate::vocabulary::{Vocabulary, clear, head, seed};

/// Words in the shortest lists that are compared.
const MIN_WORDS: usize = 5;
/// Bytes compared from a word on.
const WINDOW: usize = 8;
/// The places of word starts inside a window.
const STARTS: u64 = 0x7f;
/// Set in a slot when its text was met with different word starts.
const FLAG: u64 = 0x80;
/// Set in every slot in use.
const USED: u64 = 0x100;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A text that may have been met with different word starts.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    hash: u64,
    /// Word at which it starts.
    at: u32,
    /// Word starts inside it.
    starts: u8,
}

/// Finds the seams of one document after another.
#[derive(Debug)]
pub struct Seams {
    seed: u64,
    /// One bit for each byte of the joined words, set where a word starts.
    bits: Vec<u64>,
    /// By hash: the word starts of all texts there, then the places that were none.
    marks: Vec<u16>,
    /// The hash of the window of each word.
    windows: Vec<u64>,
    short_at: Vec<u32>,
    short: Vec<Candidate>,
    candidates: Vec<Candidate>,
    /// Hash of a text, `FLAG`, the word starts inside it.
    slots: Vec<u64>,
    /// The different words of 8 bytes or more, with their numbers.
    long: Vec<(u32, Span)>,
    extensions: Vec<(u32, u32)>,
    kinds: Vec<u8>,
    places: Vec<u32>,
}

impl Default for Seams {
    fn default() -> Self {
        let (bits, marks, windows, short_at, short, candidates) = Default::default();
        let (slots, long, extensions, kinds, places) = Default::default();
        let seed = seed();
        Self {
            seed,
            bits,
            marks,
            windows,
            short_at,
            short,
            candidates,
            slots,
            long,
            extensions,
            kinds,
            places,
        }
    }
}

impl Seams {
    /// The words at which lists of words may differ and run together to the same text, in order.
    #[must_use]
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// Find the seams of a document; `depths` has for each word the longest repeated n-gram from there on.
    pub fn find(&mut self, text: &[u8], words: &Vocabulary, depths: &[u8]) {
        self.places.clear();
        if words.ids().len() < MIN_WORDS {
            return;
        }
        self.mark_starts(words);
        self.mark_texts(words, depths);
        self.find_candidates(words);
        if !self.candidates.is_empty() {
            self.compare();
        }
        self.find_long_words(text, words);
        self.places.sort_unstable();
        self.places.dedup();
    }

    fn mark_starts(&mut self, words: &Vocabulary) {
        let num_bytes = words.starts().last().map_or(0, |&end| end as usize);
        self.bits.clear();
        self.bits.resize(num_bytes / 64 + 2, 0);
        for &start in words.starts() {
            self.bits[start as usize / 64] |= 1 << (start % 64);
        }
    }

    /// Mark by hash, without telling texts of equal hash apart, which word starts each text has.
    fn mark_texts(&mut self, words: &Vocabulary, depths: &[u8]) {
        let mask = clear(&mut self.marks, 8 * words.ids().len());
        let num_words = words.ids().len();
        self.windows.resize(num_words, 0);
        self.short_at.resize(num_words, 0);
        let mut num_short = 0;
        let starts = words.starts();
        for (at, (&start, window)) in starts.iter().zip(&mut self.windows).enumerate() {
            let bytes = first_bytes(words, start);
            let start = start as usize;
            let (block, shift) = ((start + 1) / 64, (start + 1) % 64);
            let (low, high) = (self.bits[block], self.bits[block + 1]);
            let inside = (low >> shift | high << 1 << (63 - shift)) & STARTS;
            *window = fold(bytes ^ self.seed, MULTIPLIER);
            self.marks[*window as usize & mask] |= marks(inside);
            // Written always, counted where it holds; a branch would be guessed wrong too often.
            self.short_at[num_short] = at as u32;
            num_short += usize::from(has_short(starts, depths, at));
        }
        self.short.clear();
        for index in 0..num_short {
            let at = self.short_at[index] as usize;
            self.mark_short(starts, at, first_bytes(words, starts[at]), mask);
        }
    }

    /// Mark the texts of 2 words or more and less than 8 bytes: their bytes and, as the last byte, their length.
    fn mark_short(&mut self, starts: &[u32], at: usize, bytes: u64, mask: usize) {
        let start = starts[at] as usize;
        let inside = self.starts_after(start);
        for &end in starts.get(at + 2..).unwrap_or(&[]) {
            let length = end as usize - start;
            if length >= WINDOW {
                break;
            }
            let text = bytes & ((1 << (8 * length)) - 1) | (length as u64) << 56;
            let inside = inside & ((1 << (length - 1)) - 1);
            let hash = fold(text ^ self.seed, MULTIPLIER);
            self.marks[hash as usize & mask] |= marks(inside);
            self.short.push(Candidate { hash, at: at as u32, starts: inside as u8 });
        }
    }

    /// Word starts among the 7 bytes after `start`, the next byte first.
    #[inline]
    fn starts_after(&self, start: usize) -> u64 {
        let (block, shift) = ((start + 1) / 64, (start + 1) % 64);
        let next = self.bits.get(block + 1).copied().unwrap_or(0);
        (self.bits[block] >> shift | next << 1 << (63 - shift)) & STARTS
    }

    /// The texts whose marks differ, in the order of their words.
    fn find_candidates(&mut self, words: &Vocabulary) {
        self.candidates.clear();
        let mask = self.marks.len() - 1;
        let differs = |hash: u64| {
            let marks = self.marks[hash as usize & mask];
            marks & marks >> 7 & STARTS as u16 != 0
        };
        for (at, &hash) in self.windows.iter().enumerate() {
            if differs(hash) {
                let starts = self.starts_after(words.starts()[at] as usize) as u8;
                self.candidates.push(Candidate { hash, at: at as u32, starts });
            }
        }
        self.candidates.extend(self.short.iter().filter(|short| differs(short.hash)));
    }

    /// Keep the candidates whose text was met with different word starts.
    fn compare(&mut self) {
        clear(&mut self.slots, 2 * self.candidates.len());
        for index in 0..self.candidates.len() {
            let Candidate { hash, starts, .. } = self.candidates[index];
            let slot = self.slot_of(hash);
            let entry = &mut self.slots[slot];
            if *entry == 0 {
                *entry = (hash | USED) & !(FLAG | STARTS) | u64::from(starts);
            } else if (*entry ^ u64::from(starts)) & STARTS != 0 {
                *entry |= FLAG;
            }
        }
        for candidate in &self.candidates {
            if self.slots[self.slot_of(candidate.hash)] & FLAG != 0 {
                self.places.push(candidate.at);
            }
        }
    }

    /// The slot of a text, or the empty one where it belongs.
    #[inline]
    fn slot_of(&self, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (hash >> 32) as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 || ((entry ^ hash) | USED) & !(FLAG | STARTS) == USED {
                return slot;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Add the places of long words that go on as a longer word does, and of those longer words.
    fn find_long_words(&mut self, text: &[u8], words: &Vocabulary) {
        self.find_extensions(text, words);
        if self.extensions.is_empty() {
            return;
        }
        // 1: extended by another word. 2: goes on as such a word does somewhere, or is such a word.
        self.kinds.clear();
        self.kinds.resize(words.spans().len(), 0);
        for &(shorter, _) in &self.extensions {
            self.kinds[shorter as usize] = 1;
        }
        let num_places = self.places.len();
        for (at, &id) in words.ids().iter().enumerate() {
            if self.kinds[id as usize] & 1 == 0 {
                continue;
            }
            let rest = words.joined().get(words.starts()[at] as usize..).unwrap_or(&[]);
            let first = self.extensions.partition_point(|pair| pair.0 < id);
            for &(_, longer) in self.extensions[first..].iter().take_while(|pair| pair.0 == id) {
                let span = words.spans()[longer as usize];
                if text.get(span.start as usize..span.end as usize).is_some_and(|word| rest.starts_with(word))
                {
                    self.kinds[longer as usize] |= 2;
                    self.places.push(at as u32);
                }
            }
        }
        if self.places.len() > num_places {
            for (at, &id) in words.ids().iter().enumerate() {
                if self.kinds[id as usize] & 2 != 0 {
                    self.places.push(at as u32);
                }
            }
        }
    }

    /// Pairs of long words of which the second starts with the first.
    fn find_extensions(&mut self, text: &[u8], words: &Vocabulary) {
        self.extensions.clear();
        self.long.clear();
        let long = (0u32..).zip(words.spans().iter().copied());
        self.long.extend(long.filter(|(_, span)| span.num_bytes() >= WINDOW));
        // One bit for each hash of a long word; unequal words may share it.
        let mask = 64 * clear(&mut self.slots, self.long.len()) + 63;
        for &(_, span) in &self.long {
            let bit = self.extension(head(text, span), span.num_bytes()) & mask;
            self.slots[bit / 64] |= 1 << (bit % 64);
        }
        for &(id, span) in &self.long {
            let head = head(text, span);
            for length in WINDOW..span.num_bytes() {
                let bit = self.extension(head, length) & mask;
                if self.slots[bit / 64] >> (bit % 64) & 1 != 0 {
                    let start = span.start;
                    let shorter = words.find(text, Span { start, end: start + length as u32 });
                    self.extensions.extend(shorter.map(|shorter| (shorter, id)));
                }
            }
        }
        self.extensions.sort_unstable();
    }

    #[inline]
    fn extension(&self, head: u64, length: usize) -> usize {
        fold(head ^ self.seed, MULTIPLIER.wrapping_add(2 * length as u64)) as usize
    }
}

/// The 8 bytes from a place in the joined words on.
#[inline]
fn first_bytes(words: &Vocabulary, start: u32) -> u64 {
    let window = words.joined().get(start as usize..).and_then(<[u8]>::first_chunk::<WINDOW>);
    window.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Whether some text of 2 words or more and less than 8 bytes from the word at `at` on has to be compared.
#[inline]
fn has_short(starts: &[u32], depths: &[u8], at: usize) -> bool {
    let Some(&[start, _, two, three, four, five]) = starts.get(at..).and_then(<[u32]>::first_chunk) else {
        return true;
    };
    let Some(&[third, second, first]) = at.checked_sub(3).and_then(|from| depths.get(from..)?.first_chunk())
    else {
        return true;
    };
    let is_short = |end: u32| end - start < WINDOW as u32;
    (is_short(two) & (third >= 3))
        | (is_short(three) & (second >= 2))
        | (is_short(four) & (first >= 1))
        | is_short(five)
}

/// The word starts, and above them the places that are none.
fn marks(starts: u64) -> u16 {
    (starts | (!starts & STARTS) << 7) as u16
}
