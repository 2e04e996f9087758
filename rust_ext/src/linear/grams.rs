//! From tokens, one after another, to the buckets of the n-grams that end at each, the shortest first.
//!
//! `sha256`: SHA-256 of the UTF-8 of the tokens joined by one space, read as one big-endian number, modulo the
//! buckets. `fnv`, all modulo 2^64: t = FNV-1a of a token's UTF-8; g = t for one token, and g of a longer n-gram is
//! g of all its tokens but the last times `STEP`, plus t of the last; h = MurmurHash3's 64-bit finaliser of g; the
//! bucket is the upper half of h times the buckets, divided by 2^32.

use sha2::{Digest as _, Sha256};

use super::file::{Hash, MAX_NGRAMS};
use super::memo::{MAX_KEPT, Memo, NONE, Wanted};
use super::sha::{BLOCK_BYTES, Block, Digits, NUM_DIGITS, hash, hash_two};

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// Bytes that fit into one block, with a byte that ends them and their number.
const MAX_BLOCK_TEXT: usize = BLOCK_BYTES - 9;
/// Bytes of two tokens that are joined in a register, with shifts by less than its size.
const SHORT_BYTES: usize = 15;
/// Tokens that are looked up before any n-gram is hashed.
const BLOCK_TOKENS: usize = 128;

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

/// By SHA-256, with a memo. Tokens are taken by blocks: first all n-grams of a block are looked up, then those that are
/// not known are hashed one after the other, which a processor overlaps where no look-up stands between two hashes.
#[derive(Debug)]
pub struct Sha {
    /// Powers of 2^32 modulo the buckets, the highest first.
    powers: [u64; NUM_DIGITS],
    num_buckets: u64,
    memo: Memo,
    max_ngram: usize,
    /// Those of the block, after the last ones before it.
    tokens: Vec<Token>,
    /// How many were before it.
    num_before: usize,
    /// Of the n-grams of the block, in order.
    buckets: Vec<u32>,
    missing: Vec<Missing>,
    wanted: Vec<Wanted>,
}

/// A token by where it stands.
#[derive(Debug, Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
    /// Its number in the memo.
    id: u32,
}

/// An n-gram that is not known, or not yet looked up.
#[derive(Debug, Clone, Copy, Default)]
struct Missing {
    key: u64,
    /// Where the memo has it.
    at: u32,
    /// Its place in the block.
    place: u32,
    /// Its last token, and how many it has.
    last: u32,
    size: u32,
}

impl Missing {
    /// Its tokens.
    fn of<'a>(&self, tokens: &'a [Token]) -> &'a [Token] {
        tokens.get((self.last + 1 - self.size) as usize..=self.last as usize).unwrap_or(&[])
    }
}

impl Sha {
    fn new(max_ngram: usize, num_buckets: usize) -> Self {
        let num_buckets = num_buckets as u64;
        Self {
            powers: powers(num_buckets),
            num_buckets,
            memo: Memo::default(),
            max_ngram,
            tokens: Vec::with_capacity(BLOCK_TOKENS + MAX_NGRAMS),
            num_before: 0,
            buckets: Vec::with_capacity(BLOCK_TOKENS * max_ngram),
            missing: vec![Missing::default(); BLOCK_TOKENS * max_ngram],
            wanted: Vec::with_capacity(BLOCK_TOKENS),
        }
    }

    /// Begin a text.
    pub fn start(&mut self) {
        self.memo.start();
        self.tokens.clear();
        self.num_before = 0;
    }

    /// Take the next token of `text`; `push` gets the bucket of each n-gram, sooner or later.
    #[inline]
    pub fn token(&mut self, text: &[u8], start: usize, end: usize, push: impl FnMut(u32)) {
        self.tokens.push(Token { start, end, id: NONE });
        if self.tokens.len() - self.num_before == BLOCK_TOKENS {
            self.finish(text, push);
        }
    }

    /// Call `push` with the buckets that it has not got.
    pub fn finish(&mut self, text: &[u8], push: impl FnMut(u32)) {
        let num_missing = self.look_up(text);
        let Self { powers, num_buckets, memo, tokens, buckets, missing, .. } = self;
        let (pairs, rest) = missing[..num_missing].as_chunks::<2>();
        let mut keep = |missing: &Missing, digits: Digits| {
            let bucket = remainder(digits, powers, *num_buckets);
            memo.keep_ngram(missing.key, missing.at as usize, bucket);
            buckets[missing.place as usize] = bucket;
        };
        for [first, second] in pairs {
            if let (Some(a), Some(b)) = (block(text, first.of(tokens)), block(text, second.of(tokens))) {
                let [a, b] = hash_two(&[a, b]);
                keep(first, a);
                keep(second, b);
            } else {
                keep(first, digest(text, first.of(tokens)));
                keep(second, digest(text, second.of(tokens)));
            }
        }
        rest.iter().for_each(|one| keep(one, digest(text, one.of(tokens))));
        buckets.iter().copied().for_each(push);
        self.num_before = self.tokens.len().min(self.max_ngram - 1);
        self.tokens.drain(..self.tokens.len() - self.num_before);
    }

    /// Look up the n-grams of a block; returns how many are missing. Where things are is found out before anything is
    /// looked at, so that memory is waited for once and not each time.
    fn look_up(&mut self, text: &[u8]) -> usize {
        let Self { powers, num_buckets, memo, tokens, wanted, buckets, missing, .. } = self;
        let num_before = self.num_before;
        wanted.clear();
        let new = tokens.get(num_before..).unwrap_or(&[]);
        wanted.extend(new.iter().map(|token| memo.wanted(text, token.start, token.end)));
        buckets.clear();
        let mut num_asked = 0;
        for (last, wanted) in (num_before..).zip(wanted.iter()) {
            let token = tokens[last];
            let make = || remainder(digest(text, &[token]), powers, *num_buckets);
            let (id, bucket) = memo.token(text, token.start, token.end, *wanted, make);
            tokens[last].id = id;
            buckets.push(bucket);
            let mut key = u64::from(id);
            for size in 2..=self.max_ngram.min(last + 1) {
                key = if size <= MAX_KEPT { Memo::longer(key, tokens[last + 1 - size].id) } else { 0 };
                let at = memo.place(key) as u32;
                missing[num_asked] =
                    Missing { key, at, place: buckets.len() as u32, last: last as u32, size: size as u32 };
                num_asked += 1;
                buckets.push(0);
            }
        }
        let mut num_missing = 0;
        for index in 0..num_asked {
            let one = missing[index];
            let (bucket, is_known) = memo.ngram(one.key, one.at as usize);
            buckets[one.place as usize] = bucket;
            // Written in any case: whether an n-gram is known is a toss-up, which no processor foresees.
            missing[num_missing] = one;
            num_missing += usize::from(!is_known);
        }
        num_missing
    }
}

/// SHA-256 of tokens joined by one space.
fn digest(text: &[u8], tokens: &[Token]) -> Digits {
    block(text, tokens).map_or_else(
        || long_digest(tokens.iter().map(|token| text.get(token.start..token.end).unwrap_or(&[]))),
        |block| hash(&block),
    )
}

/// The block of tokens joined by one space; none where they are three, too long, or the text ends soon.
#[inline]
fn block(text: &[u8], tokens: &[Token]) -> Option<Block> {
    match *tokens {
        [one] => one_block(text, one.start, one.end - one.start),
        [first, second] => block_of_two(text, first, second),
        _ => None,
    }
}

/// The block of two tokens; none where it would be too long, or the text ends soon.
#[inline]
fn block_of_two(text: &[u8], first: Token, second: Token) -> Option<Block> {
    let (length, more) = (first.end - first.start, second.end - second.start);
    if second.start == first.end + 1 && text.get(first.end) == Some(&b' ') {
        return one_block(text, first.start, length + 1 + more);
    }
    if length + 1 + more > MAX_BLOCK_TEXT {
        return None;
    }
    if length + 1 + more <= SHORT_BYTES {
        let word = |token: Token, size: usize| {
            let bytes = text.get(token.start..)?.first_chunk()?;
            Some(u128::from_le_bytes(*bytes) & !(u128::MAX << (8 * size)))
        };
        let both = word(first, length)? | (u128::from(b' ') | word(second, more)? << 8) << (8 * length);
        let mut block = [0; BLOCK_BYTES];
        *block.first_chunk_mut()? = both.to_le_bytes();
        return Some(ended(block, length + 1 + more));
    }
    // Blocks are copied as a whole, which takes less time than finding out how long tokens are.
    let mut both = [0; 2 * BLOCK_BYTES];
    *both.first_chunk_mut()? = *text.get(first.start..)?.first_chunk::<BLOCK_BYTES>()?;
    both[length] = b' ';
    *both.get_mut(length + 1..)?.first_chunk_mut()? =
        *text.get(second.start..)?.first_chunk::<BLOCK_BYTES>()?;
    Some(ended(*both.first_chunk()?, length + 1 + more))
}

/// The block of so many bytes of the text; none where they are too many, or the text ends soon.
#[inline]
fn one_block(text: &[u8], start: usize, length: usize) -> Option<Block> {
    let block = text.get(start..)?.first_chunk()?;
    (length <= MAX_BLOCK_TEXT).then(|| ended(*block, length))
}

/// The first `length` bytes of a block as SHA-256 ends them: a mark, zeros, the number of bits. By whole registers:
/// what is written byte by byte cannot be read at once as more than a byte.
#[inline]
fn ended(mut block: Block, length: usize) -> Block {
    let End { kept, added } = &ENDS[length.min(MAX_BLOCK_TEXT)];
    for ((byte, kept), added) in block.iter_mut().zip(kept).zip(added) {
        *byte = *byte & kept | added;
    }
    block
}

/// What is kept of a block and what is added.
struct End {
    kept: [u8; BLOCK_BYTES],
    added: [u8; BLOCK_BYTES],
}

/// By the number of bytes that are kept.
static ENDS: [End; MAX_BLOCK_TEXT + 1] = {
    const NONE: End = End { kept: [0; BLOCK_BYTES], added: [0; BLOCK_BYTES] };
    let mut ends = [NONE; MAX_BLOCK_TEXT + 1];
    let mut length = 0;
    while length <= MAX_BLOCK_TEXT {
        let mut at = 0;
        while at < length {
            ends[length].kept[at] = 0xff;
            at += 1;
        }
        ends[length].added[length] = 0x80;
        ends[length].added[BLOCK_BYTES - 2] = ((8 * length) >> 8) as u8;
        ends[length].added[BLOCK_BYTES - 1] = ((8 * length) & 0xff) as u8;
        length += 1;
    }
    ends
};

fn long_digest<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Digits {
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
fn remainder(digits: Digits, powers: &[u64; NUM_DIGITS], num_buckets: u64) -> u32 {
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
        if let Grams::Sha(sha) = &mut grams {
            sha.finish(text.as_bytes(), |bucket| out.push(bucket));
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
        let text = (0..400u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>();
        let spaced = [&text[..70], b" ", &text[71..]].concat();
        for (first, second) in (1..70).flat_map(|first| (1..70).map(move |second| (first, second))) {
            // The first token before the space of one text; gaps of no and of some bytes; the end of the text.
            for (text, start, gap) in
                [(&spaced, 70 - first, 1), (&text, 0, 0), (&text, 9, 3), (&text, 300, 0)]
            {
                let one = Token { start, end: (start + first).min(400), id: 0 };
                let after = (one.end + gap).min(399);
                let two = Token { start: after, end: (after + second).min(400), id: 0 };
                let slices = [one, two].map(|token| &text[token.start..token.end]);
                assert_eq!(digest(text, &[one, two]), long_digest(slices.into_iter()));
                assert_eq!(digest(text, &[one]), long_digest(slices[..1].iter().copied()));
            }
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
