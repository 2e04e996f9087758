//! Unigram: the most probable split of a piece into tokens, and how many they are.
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
    /// Whether each byte has a token of its own; none where bytes are no fallback.
    bytes: Option<Box<[bool; 256]>>,
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
pub struct Lattice(Vec<Best>);

impl Lattice {
    /// Give back a buffer of more entries than `kept`.
    pub fn trim(&mut self, kept: usize) {
        self.0.clear();
        self.0.shrink_to(kept);
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
        let has = |byte: u8| trie.has(format!("<0x{byte:02X}>").as_bytes());
        let bytes = byte_fallback.then(|| Box::new(std::array::from_fn(|byte| has(byte as u8))));
        Ok(Self { trie, unknown: unknown as u32, unknown_score: least - UNKNOWN_PENALTY, bytes })
    }

    /// Number of tokens of `piece`.
    #[must_use]
    pub fn count(&self, piece: &str, lattice: &mut Lattice) -> u32 {
        let best = &mut lattice.0;
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
        self.walk(piece, best)
    }

    /// Count the tokens of the best path; neighbouring unknown characters are one.
    fn walk(&self, piece: &str, best: &[Best]) -> u32 {
        let (mut end, mut total, mut unknown_end) = (piece.len(), 0, None);
        while let Some(node) = best.get(end).filter(|node| end > 0 && node.start != NONE) {
            if node.id == self.unknown {
                unknown_end = unknown_end.or(Some(end));
            } else {
                total += 1 + unknown_end.take().map_or(0, |stop| self.unknown_tokens(&piece[end..stop]));
            }
            end = node.start as usize;
        }
        total + unknown_end.map_or(0, |stop| self.unknown_tokens(&piece[..stop]))
    }

    fn unknown_tokens(&self, run: &str) -> u32 {
        match &self.bytes {
            Some(bytes)
                if run.bytes().all(|byte| bytes[usize::from(byte)]) && !self.trie.has(run.as_bytes()) =>
            {
                run.len() as u32
            }
            _ => 1,
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

    fn has(&self, token: &[u8]) -> bool {
        let mut is_token = false;
        self.prefixes(token, |len, _, _| is_token |= len == token.len());
        is_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(vocabulary: &[(&str, f64)], byte_fallback: bool, piece: &str) -> u32 {
        Unigram::new(vocabulary, 0, byte_fallback).unwrap().count(piece, &mut Lattice::default())
    }

    #[test]
    fn the_most_probable_split_is_counted_and_unknown_characters_join() {
        let vocabulary = [("<unk>", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5), ("abc", -9.0), ("c", -1.0)];
        assert_eq!(count(&vocabulary, false, ""), 0);
        assert_eq!(count(&vocabulary, false, "abab"), 2);
        assert_eq!(count(&vocabulary, false, "abc"), 2);
        assert_eq!(count(&vocabulary, false, "axya\u{e9}"), 4);
        assert_eq!(count(&vocabulary, false, "<unk>x"), 1);
    }

    #[test]
    fn unknown_characters_become_bytes_where_all_of_them_have_tokens() {
        let vocabulary = [("<unk>", 0.0), ("a", -1.0), ("<0xC3>", -9.0), ("<0xA9>", -9.0)];
        assert_eq!(count(&vocabulary, true, "a\u{e9}\u{e9}a"), 6);
        assert_eq!(count(&vocabulary, true, "a\u{e9}xa"), 3);
    }
}
