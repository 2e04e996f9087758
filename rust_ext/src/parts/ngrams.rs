//! Hashes of the n-grams of a part.
//!
//! A word's hash is `ngram::hash` of its bytes with seed 0; an n-gram's is `fold(sum of hash_i * BASE^(n -
//! 1 - i), FACTOR)`, and the sum rolls. A part of fewer words than n is one n-gram of what there is.
//! Pinned; 64 bits, and no defence against texts that are made to collide.

use crate::ngram::{fold, hash};

/// Base of rolling sums.
const BASE: u64 = 0xc4ce_b9fe_1a85_ec53;
const FACTOR: u64 = 0xd134_2543_de82_ef95;

/// Makes n-grams of words.
#[derive(Debug, Clone)]
pub struct Ngrams {
    size: usize,
    /// `BASE` to the power of `size`.
    leaving: u64,
    words: Vec<u64>,
}

impl Ngrams {
    /// N-grams of `size` words.
    pub fn new(size: usize) -> Self {
        let leaving = (0..size).fold(1, |power: u64, _| power.wrapping_mul(BASE));
        Self { size, leaving, words: Vec::new() }
    }

    /// Begin a part.
    pub fn start(&mut self) {
        self.words.clear();
    }

    /// Take up the next word.
    #[inline]
    pub fn word(&mut self, word: &[u8]) {
        self.words.push(hash(0, word));
    }

    /// How many words there are.
    pub fn num_words(&self) -> usize {
        self.words.len()
    }

    /// Append the n-grams of the part; returns how many they are.
    pub fn end(&self, hashes: &mut Vec<u64>) -> usize {
        let before = hashes.len();
        let head = self.words.get(..self.size.min(self.words.len())).unwrap_or(&[]);
        let mut sum = head.iter().fold(0, |sum: u64, &word| sum.wrapping_mul(BASE).wrapping_add(word));
        if !head.is_empty() {
            hashes.push(fold(sum, FACTOR));
        }
        let rest = self.words.get(self.size..).unwrap_or(&[]);
        for (&new, &old) in rest.iter().zip(&self.words) {
            sum = sum.wrapping_mul(BASE).wrapping_add(new).wrapping_sub(old.wrapping_mul(self.leaving));
            hashes.push(fold(sum, FACTOR));
        }
        hashes.len() - before
    }
}
