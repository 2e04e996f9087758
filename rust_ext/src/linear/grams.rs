//! From tokens, one after another, to the buckets of the n-grams that end at each, the shortest first.
//!
//! `sha256`: SHA-256 of the UTF-8 of the tokens joined by one space, read as one big-endian number, modulo the
//! buckets. `fnv`, all modulo 2^64: t = FNV-1a of a token's UTF-8; g = t for one token, and g of a longer n-gram is
//! g of all its tokens but the last times `STEP`, plus t of the last; h = MurmurHash3's 64-bit finaliser of g; the
//! bucket is the upper half of h times the buckets, divided by 2^32.

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

use super::file::{Hash, MAX_NGRAMS};
use super::memo::{MAX_KEPT, Memo};

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// 32-bit digits of a SHA-256.
const NUM_DIGITS: usize = 8;
/// What SHA-256 starts with.
const SHA_START: [u32; NUM_DIGITS] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const BLOCK_BYTES: usize = 64;
/// Bytes that fit into one block, with a byte that ends them and their number.
const MAX_BLOCK_TEXT: usize = BLOCK_BYTES - 9;

/// The n-grams of one text after another.
#[derive(Debug)]
pub enum Grams {
    /// By SHA-256.
    Sha(Box<Sha>),
    /// By FNV-1a.
    Fnv(Fnv),
}

impl Grams {
    /// For n-grams of up to `max_ngram` tokens and at most 2^28 buckets.
    #[must_use]
    pub fn new(hash: Hash, max_ngram: usize, num_buckets: usize) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha(Box::new(Sha::new(max_ngram, num_buckets))),
            Hash::Fnv => {
                Self::Fnv(Fnv { num_buckets: num_buckets as u64, hashes: vec![0; max_ngram], num_tokens: 0 })
            }
        }
    }

    /// Tokens in the longest n-gram.
    #[must_use]
    pub fn max_ngram(&self) -> usize {
        match self {
            Self::Sha(sha) => sha.max_ngram,
            Self::Fnv(fnv) => fnv.hashes.len(),
        }
    }
}

/// By SHA-256, with a memo.
#[derive(Debug)]
pub struct Sha {
    /// Powers of 2^32 modulo the buckets, the highest first.
    powers: [u64; NUM_DIGITS],
    num_buckets: u64,
    memo: Memo,
    max_ngram: usize,
    /// Start, end and number of the last tokens, each at its position modulo the length.
    recent: [(usize, usize, u32); MAX_NGRAMS],
    num_tokens: usize,
}

impl Sha {
    fn new(max_ngram: usize, num_buckets: usize) -> Self {
        let num_buckets = num_buckets as u64;
        Self {
            powers: powers(num_buckets),
            num_buckets,
            memo: Memo::default(),
            max_ngram,
            recent: [(0, 0, 0); MAX_NGRAMS],
            num_tokens: 0,
        }
    }

    /// Begin a text.
    pub fn start(&mut self) {
        self.memo.start();
        self.num_tokens = 0;
    }

    /// Take the next token of `text` and call `push` with the bucket of each n-gram that it ends.
    #[inline]
    pub fn token(&mut self, text: &[u8], start: usize, end: usize, mut push: impl FnMut(u32)) {
        let Self { powers, num_buckets, memo, recent, .. } = self;
        let bucket_of = |digits| remainder(digits, powers, *num_buckets);
        let (id, bucket) = memo.token(text, start, end, |token| bucket_of(digest([token].into_iter())));
        push(bucket);
        let last = self.num_tokens;
        recent[last % MAX_NGRAMS] = (start, end, id);
        self.num_tokens += 1;
        let mut key = u64::from(id);
        for size in 2..=self.max_ngram.min(self.num_tokens) {
            let first = last + 1 - size;
            key = if size <= MAX_KEPT { Memo::longer(key, recent[first % MAX_NGRAMS].2) } else { 0 };
            let tokens = (first..=last).map(|at| recent[at % MAX_NGRAMS]);
            let tokens = tokens.map(|(start, end, _)| text.get(start..end).unwrap_or(&[]));
            push(memo.ngram(key, || bucket_of(digest(tokens))));
        }
    }
}

/// SHA-256 of tokens joined by one space, as 32-bit digits. Short ones are laid out as one block here, which saves
/// a tenth of the time.
fn digest<'a>(tokens: impl Iterator<Item = &'a [u8]> + Clone) -> [u32; NUM_DIGITS] {
    let mut block = [0; BLOCK_BYTES];
    let mut length = 0;
    for (index, token) in tokens.clone().enumerate() {
        if index > 0 {
            block[length % BLOCK_BYTES] = b' ';
            length += 1;
        }
        // A space may follow.
        match block.get_mut(length..length + token.len()) {
            Some(place) if length + token.len() < MAX_BLOCK_TEXT => place.copy_from_slice(token),
            _ => return long_digest(tokens),
        }
        length += token.len();
    }
    block[length % BLOCK_BYTES] = 0x80;
    block[BLOCK_BYTES - 2..].copy_from_slice(&(8 * length as u16).to_be_bytes());
    let mut digits = SHA_START;
    compress256(&mut digits, &[block]);
    digits
}

#[cold]
fn long_digest<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> [u32; NUM_DIGITS] {
    let mut hash = Sha256::new();
    for (index, token) in tokens.enumerate() {
        if index > 0 {
            hash.update(b" ");
        }
        hash.update(token);
    }
    let bytes = hash.finalize();
    let (digits, _) = bytes.as_chunks::<4>();
    let mut out = [0; NUM_DIGITS];
    out.iter_mut().zip(digits).for_each(|(to, from)| *to = u32::from_be_bytes(*from));
    out
}

/// A hash modulo the buckets: its digits times the powers of their base, whose sum fits into 64 bits.
fn remainder(digits: [u32; NUM_DIGITS], powers: &[u64; NUM_DIGITS], num_buckets: u64) -> u32 {
    let terms = digits.iter().zip(powers).map(|(&digit, power)| u64::from(digit) * power);
    (terms.sum::<u64>() % num_buckets) as u32
}

fn powers(num_buckets: u64) -> [u64; NUM_DIGITS] {
    let mut powers = [1 % num_buckets; NUM_DIGITS];
    for index in (0..NUM_DIGITS - 1).rev() {
        powers[index] = (powers[index + 1] << 32) % num_buckets;
    }
    powers
}

/// By FNV-1a.
#[derive(Debug)]
pub struct Fnv {
    num_buckets: u64,
    /// Of the n-grams that end at the last token, by their length.
    hashes: Vec<u64>,
    num_tokens: usize,
}

impl Fnv {
    /// Begin a text.
    pub fn start(&mut self) {
        self.num_tokens = 0;
    }

    /// Take the next token of `text` and call `push` with the bucket of each n-gram that it ends.
    #[inline]
    pub fn token(&mut self, text: &[u8], start: usize, end: usize, mut push: impl FnMut(u32)) {
        let bytes = text.get(start..end).unwrap_or(&[]);
        let token =
            bytes.iter().fold(FNV_START, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
        for size in (1..self.hashes.len()).rev() {
            self.hashes[size] = self.hashes[size - 1].wrapping_mul(STEP).wrapping_add(token);
        }
        if let Some(first) = self.hashes.first_mut() {
            *first = token;
        }
        self.num_tokens += 1;
        for &hash in self.hashes.iter().take(self.num_tokens) {
            push((((mix(hash) >> 32) * self.num_buckets) >> 32) as u32);
        }
    }
}

fn mix(mut hash: u64) -> u64 {
    for multiplier in MIX {
        hash = (hash ^ hash >> 33).wrapping_mul(multiplier);
    }
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(hash: Hash, max_ngram: usize, num_buckets: usize, tokens: &[&str]) -> Vec<u32> {
        let text = tokens.concat();
        let mut out = Vec::new();
        let mut grams = Grams::new(hash, max_ngram, num_buckets);
        let mut end = 0;
        for token in tokens {
            let start = end;
            end += token.len();
            match &mut grams {
                Grams::Sha(sha) => sha.token(text.as_bytes(), start, end, |bucket| out.push(bucket)),
                Grams::Fnv(fnv) => fnv.token(text.as_bytes(), start, end, |bucket| out.push(bucket)),
            }
        }
        out
    }

    #[test]
    fn sha256_gives_the_published_buckets() {
        let found = buckets(Hash::Sha256, 2, 10_000, &["alice", "went"]);
        assert_eq!((found[0], found[2]), (6720, 114));
        // The end of the SHA-256 of "abc" is 0xf20015ad.
        assert_eq!(buckets(Hash::Sha256, 1, 1 << 28, &["abc"]), [0x0200_15ad]);
        assert_eq!(buckets(Hash::Sha256, 1, 1, &["abc"]), [0]);
    }

    #[test]
    fn short_tokens_are_hashed_as_long_ones() {
        let text = "x".repeat(140);
        for (first, second) in (0..70).flat_map(|first| (0..70).map(move |second| (first, second))) {
            let tokens = [&text.as_bytes()[..first], &text.as_bytes()[..second]];
            assert_eq!(digest(tokens.into_iter()), long_digest(tokens.into_iter()));
            assert_eq!(digest(tokens[..1].iter().copied()), long_digest(tokens[..1].iter().copied()));
        }
    }

    #[test]
    fn fnv_gives_the_buckets_of_its_definition() {
        // FNV-1a of "a" is published as 0xaf63dc4c8601ec8c.
        let a = 0xaf63_dc4c_8601_ec8c_u64;
        let pair = a.wrapping_mul(STEP).wrapping_add(a);
        let bucket = |hash: u64| (mix(hash) >> 36) as u32;
        assert_eq!(buckets(Hash::Fnv, 2, 1 << 28, &["a", "a"]), [bucket(a), bucket(a), bucket(pair)]);
        assert_eq!(mix(1), 0xb456_bcfc_34c2_cb2c);
    }

    #[test]
    fn what_the_memo_keeps_or_forgets_shows_in_no_bucket() {
        let long = "y".repeat(100);
        let names: Vec<String> = (0..300_000u32).map(|index| format!("token{}", index % 150_000)).collect();
        let mut tokens: Vec<&str> = names.iter().map(String::as_str).collect();
        tokens.extend([long.as_str(), long.as_str(), "a", "b", "c", "d", "a", "b", "c", "d"]);
        let found = buckets(Hash::Sha256, 4, 99_991, &tokens);
        let powers = powers(99_991);
        let mut at = 0;
        for end in 1..=tokens.len() {
            for size in 1..=end.min(4) {
                if end % 100 < 5 || end > 300_000 {
                    let text = tokens[end - size..end].join(" ");
                    let expected = remainder(long_digest([text.as_bytes()].into_iter()), &powers, 99_991);
                    assert_eq!(found[at], expected, "{text}");
                }
                at += 1;
            }
        }
        assert_eq!(at, found.len());
    }
}
