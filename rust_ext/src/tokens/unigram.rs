//! Unigram: the most probable split of a piece into tokens.
//!
//! Viterbi over a trie whose edges are a hash table. Scores are added in the same order as `tokenizers`
//! adds them and the first of equals wins, so ties fall alike.

use super::bpe::NONE;

/// What an unknown character costs below the least probable token.
const UNKNOWN_PENALTY: f64 = 10.0;
const EMPTY: u64 = u64::MAX;

/// A Unigram model.
#[derive(Debug)]
pub struct Unigram {
    trie: Trie,
    unknown: u32,
    unknown_score: f64,
    /// The token of each byte, `NONE` where it has none; nothing where bytes are no fallback.
    bytes: Option<Box<[u32; 256]>>,
}

/// The best way to reach a position.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f64,
    start: u32,
    id: u32,
}

const UNREACHED: Best = Best { score: 0.0, start: NONE, id: 0 };

/// Memory that is used again from piece to piece.
#[derive(Debug, Default)]
pub struct Lattice {
    best: Vec<Best>,
    ids: Vec<u32>,
}

impl Lattice {
    /// Give back a buffer of more entries than `kept`.
    pub fn trim(&mut self, kept: usize) {
        self.best.clear();
        self.best.shrink_to(kept);
        self.ids.clear();
        self.ids.shrink_to(kept);
    }
}

impl Unigram {
    /// Build a model; `unknown` is the index of the unknown token in `vocabulary`.
    ///
    /// # Errors
    /// What is wrong: the index is outside, or the vocabulary is too large.
    pub fn new(vocabulary: &[(&str, f64)], unknown: usize, byte_fallback: bool) -> Result<Self, String> {
        if unknown >= vocabulary.len() {
            return Err(format!("model.unk_id is outside the vocabulary: {unknown}"));
        }
        let mut trie = Trie::with_capacity(num_nodes(vocabulary))?;
        let mut least = f64::INFINITY;
        for ((token, score), id) in vocabulary.iter().zip(0..) {
            trie.insert(token.as_bytes(), id, *score);
            least = if *score < least { *score } else { least };
        }
        let token = |byte: usize| trie.find(format!("<0x{byte:02X}>").as_bytes()).unwrap_or(NONE);
        let bytes = byte_fallback.then(|| Box::new(std::array::from_fn(token)));
        Ok(Self { trie, unknown: unknown as u32, unknown_score: least - UNKNOWN_PENALTY, bytes })
    }

    /// Tokens of `piece`.
    #[must_use]
    pub fn ids<'a>(&self, piece: &str, lattice: &'a mut Lattice) -> &'a [u32] {
        let Lattice { best, ids } = lattice;
        best.clear();
        best.resize(piece.len() + 1, UNREACHED);
        for (start, char) in piece.char_indices() {
            let here = best[start].score;
            let single = start + char.len_utf8();
            let mut has_single = false;
            let mut reach = |end: usize, score: f64, id: u32| {
                let target = &mut best[end];
                if target.start == NONE || score + here > target.score {
                    *target = Best { score: score + here, start: start as u32, id };
                }
            };
            self.trie.prefixes(&piece.as_bytes()[start..], |len, id, score| {
                has_single |= start + len == single;
                reach(start + len, score, id);
            });
            if !has_single {
                reach(single, self.unknown_score, self.unknown);
            }
        }
        ids.clear();
        self.walk(piece, best, ids);
        ids.reverse();
        ids
    }

    /// Write the tokens of the best path, last first; neighbouring unknown characters are one.
    fn walk(&self, piece: &str, best: &[Best], ids: &mut Vec<u32>) {
        let (mut end, mut unknown_end) = (piece.len(), None);
        while let Some(node) = best.get(end).filter(|node| end > 0 && node.start != NONE) {
            if node.id == self.unknown {
                unknown_end = unknown_end.or(Some(end));
            } else {
                if let Some(stop) = unknown_end.take() {
                    self.push_unknown(&piece[end..stop], ids);
                }
                ids.push(node.id);
            }
            end = node.start as usize;
        }
        if let Some(stop) = unknown_end {
            self.push_unknown(&piece[..stop], ids);
        }
    }

    fn push_unknown(&self, run: &str, ids: &mut Vec<u32>) {
        match (self.trie.find(run.as_bytes()), &self.bytes) {
            (Some(id), _) => ids.push(id),
            (None, Some(bytes)) if run.bytes().all(|byte| bytes[usize::from(byte)] != NONE) => {
                ids.extend(run.bytes().rev().map(|byte| bytes[usize::from(byte)]));
            }
            _ => ids.push(self.unknown),
        }
    }
}

/// Number of different prefixes of all tokens.
fn num_nodes(vocabulary: &[(&str, f64)]) -> usize {
    let mut tokens: Vec<&[u8]> = vocabulary.iter().map(|(token, _)| token.as_bytes()).collect();
    tokens.sort_unstable();
    let shared =
        |left: &[u8], right: &[u8]| left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let before = std::iter::once(&[][..]).chain(tokens.iter().copied());
    before.zip(&tokens).map(|(left, right)| right.len() - shared(left, right)).sum()
}

/// Tokens by their bytes: edges (node, byte) -> node in one open-addressing table.
#[derive(Debug)]
struct Trie {
    edges: Vec<(u64, u32)>,
    mask: usize,
    /// Id and score of the token that ends at each node; `NONE` where none does.
    ends: Vec<(u32, f64)>,
}

impl Trie {
    fn with_capacity(num_nodes: usize) -> Result<Self, String> {
        if num_nodes >= 1 << 28 {
            return Err(format!("model.vocab is too large: {num_nodes} prefixes"));
        }
        let size = (2 * num_nodes + 2).next_power_of_two();
        Ok(Self { edges: vec![(EMPTY, 0); size], mask: size - 1, ends: vec![(NONE, 0.0)] })
    }

    #[inline]
    fn slot(&self, key: u64) -> usize {
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & self.mask;
        while let Some((found, _)) = self.edges.get(at) {
            if *found == key || *found == EMPTY {
                break;
            }
            at = (at + 1) & self.mask;
        }
        at
    }

    fn insert(&mut self, token: &[u8], id: u32, score: f64) {
        let mut node = 0_u32;
        for byte in token {
            let at = self.slot(u64::from(node) << 8 | u64::from(*byte));
            let next = self.ends.len() as u32;
            let edge = &mut self.edges[at];
            if edge.0 == EMPTY {
                *edge = (u64::from(node) << 8 | u64::from(*byte), next);
                self.ends.push((NONE, 0.0));
            }
            node = edge.1;
        }
        self.ends[node as usize] = (id, score);
    }

    /// Call `found` with length, id and score of every token that `bytes` starts with, shortest first.
    #[inline]
    fn prefixes(&self, bytes: &[u8], mut found: impl FnMut(usize, u32, f64)) {
        let mut node = 0_u32;
        for (byte, len) in bytes.iter().zip(1..) {
            let key = u64::from(node) << 8 | u64::from(*byte);
            let (edge, next) = self.edges[self.slot(key)];
            if edge != key {
                return;
            }
            node = next;
            let (id, score) = self.ends[node as usize];
            if id != NONE {
                found(len, id, score);
            }
        }
    }

    /// The token that is all of these bytes.
    fn find(&self, token: &[u8]) -> Option<u32> {
        let mut found = None;
        self.prefixes(token, |len, id, _| found = (len == token.len()).then_some(id));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(vocabulary: &[(&str, f64)], byte_fallback: bool, piece: &str) -> Vec<u32> {
        let unigram = Unigram::new(vocabulary, 0, byte_fallback).unwrap();
        unigram.ids(piece, &mut Lattice::default()).to_vec()
    }

    #[test]
    fn the_most_probable_split_wins_and_unknown_characters_join() {
        let vocabulary = [("<unk>", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5), ("abc", -9.0), ("c", -1.0)];
        assert!(ids(&vocabulary, false, "").is_empty());
        assert_eq!(ids(&vocabulary, false, "abab"), [3, 3]);
        assert_eq!(ids(&vocabulary, false, "abc"), [3, 5]);
        assert_eq!(ids(&vocabulary, false, "axya\u{e9}"), [1, 0, 1, 0]);
        assert_eq!(ids(&vocabulary, false, "<unk>x"), [0]);
    }

    #[test]
    fn unknown_characters_become_bytes_where_all_of_them_have_tokens() {
        let vocabulary = [("<unk>", 0.0), ("a", -1.0), ("<0xC3>", -9.0), ("<0xA9>", -9.0)];
        assert_eq!(ids(&vocabulary, true, "a\u{e9}\u{e9}a"), [1, 2, 3, 2, 3, 1]);
        assert_eq!(ids(&vocabulary, true, "a\u{e9}xa"), [1, 0, 1]);
    }
}
