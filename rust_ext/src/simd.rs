//! Sixty-four bytes at a time: which of them are in a class, one bit each, the first byte lowest.
//!
//! On x86-64 with SSE2, which every such machine has, so that nothing is chosen at run time; elsewhere with
//! plain loops. Both give the same bits. About 20 instructions a class and block.
//!
//! And least values of many hash functions, with AVX2 where the machine has it, which is found out at run
//! time: 4 ns for 128 functions, 35 with SSE2, which multiplies no 32-bit numbers and has no least of
//! unsigned ones.

/// Bytes in a block.
pub const BLOCK: usize = 64;

#[cfg(not(target_arch = "x86_64"))]
pub use portable::Block;
#[cfg(target_arch = "x86_64")]
pub use sse2::Block;

/// The block at `at`, and how many of its bytes are the text's; zeros follow the end.
#[inline]
#[must_use]
pub fn block_at(bytes: &[u8], at: usize) -> (Block, usize) {
    let rest = bytes.get(at..).unwrap_or(&[]);
    match rest.first_chunk() {
        Some(block) => (Block::new(block), BLOCK),
        None => last_block(rest),
    }
}

#[cold]
fn last_block(rest: &[u8]) -> (Block, usize) {
    let mut block = [0; BLOCK];
    if let Some(start) = block.get_mut(..rest.len()) {
        start.copy_from_slice(rest);
    }
    (Block::new(&block), rest.len())
}

/// The lowest `count` bits.
#[inline]
#[must_use]
pub fn low_bits(count: usize) -> u64 {
    if count < BLOCK { (1 << count) - 1 } else { u64::MAX }
}

/// The sum, and whether it overflows.
#[inline]
#[must_use]
pub fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, over) = a.overflowing_add(b);
    let (sum, over_again) = sum.overflowing_add(u64::from(carry));
    (sum, over | over_again)
}

/// Begin to load an element that is needed soon, from memory into the cache; no more than a hint.
#[inline]
pub fn prefetch<T>(elements: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = elements.get(index) {
        sse2::prefetch(element);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (elements, index);
}

/// Make each slot the least of itself and `factor * value + term` over all values, modulo 2^32.
///
/// With AVX2 where the machine has it; the loop is the same, so the slots are.
pub fn multiply_add_min(slots: &mut [u32], factors: &[u32], terms: &[u32], values: &[u32]) {
    #[cfg(target_arch = "x86_64")]
    if avx2::multiply_add_min(slots, factors, terms, values) {
        return;
    }
    multiply_add_min_loop(slots, factors, terms, values);
}

/// Slots whose least so far stays in registers.
const LANES: usize = 32;

#[inline(always)]
fn multiply_add_min_loop(slots: &mut [u32], factors: &[u32], terms: &[u32], values: &[u32]) {
    let (full, rest) = slots.as_chunks_mut::<LANES>();
    let (full_factors, factors) = factors.as_chunks::<LANES>();
    let (full_terms, terms) = terms.as_chunks::<LANES>();
    for ((slots, factors), terms) in full.iter_mut().zip(full_factors).zip(full_terms) {
        let mut least = *slots;
        for &value in values {
            for ((least, &factor), &term) in least.iter_mut().zip(factors).zip(terms) {
                *least = value.wrapping_mul(factor).wrapping_add(term).min(*least);
            }
        }
        *slots = least;
    }
    for ((slot, &factor), &term) in rest.iter_mut().zip(factors).zip(terms) {
        *slot = values
            .iter()
            .fold(*slot, |least, &value| value.wrapping_mul(factor).wrapping_add(term).min(least));
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "what needs AVX2 may be called only where the machine has it")]
mod avx2 {
    /// Whether the machine has AVX2, and then it is done.
    #[inline]
    pub fn multiply_add_min(slots: &mut [u32], factors: &[u32], terms: &[u32], values: &[u32]) -> bool {
        let has_avx2 = std::arch::is_x86_feature_detected!("avx2");
        if has_avx2 {
            // SAFETY: the machine has AVX2.
            unsafe { with_avx2(slots, factors, terms, values) };
        }
        has_avx2
    }

    #[target_feature(enable = "avx2")]
    fn with_avx2(slots: &mut [u32], factors: &[u32], terms: &[u32], values: &[u32]) {
        super::multiply_add_min_loop(slots, factors, terms, values);
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "functions of SSE2 are unsafe where that is not named, though x86-64 includes it"
)]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _MM_HINT_T0, _mm_and_si128, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_prefetch, _mm_set_epi64x, _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::BLOCK;

    /// Begin to load an element.
    #[inline]
    pub fn prefetch<T>(element: &T) {
        // SAFETY: x86-64 has SSE, and a hint changes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) };
    }

    type Registers = [__m128i; 4];

    /// Sixty-four bytes in registers.
    #[derive(Clone, Copy)]
    pub struct Block(Registers);

    impl Block {
        /// Take up the bytes.
        #[inline]
        #[must_use]
        pub fn new(bytes: &[u8; BLOCK]) -> Self {
            // SAFETY: x86-64 has SSE2.
            Self(unsafe { load(bytes) })
        }

        /// Bytes equal to one of `values`.
        #[inline]
        #[must_use]
        pub fn any_of<const N: usize>(&self, values: [u8; N]) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { any_of(&self.0, values) }
        }

        /// Bytes from `first` to `last`, both included.
        #[inline]
        #[must_use]
        pub fn within(&self, first: u8, last: u8) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { within(&self.0, first, last, 0) }
        }

        /// ASCII letters.
        #[inline]
        #[must_use]
        pub fn letters(&self) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { within(&self.0, b'a', b'z', 0x20) }
        }

        /// Bytes that are, with those of `next` in the same place, one of the pairs: ASCII letters given in
        /// lower case, in either case.
        #[inline]
        #[must_use]
        pub fn any_pair<const N: usize>(&self, next: &Self, pairs: [(u8, u8); N]) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { any_pair(&self.0, &next.0, pairs) }
        }

        /// Bytes of 0x80 and more.
        #[inline]
        #[must_use]
        pub fn high(&self) -> u64 {
            // SAFETY: x86-64 has SSE2.
            unsafe { mask(&self.0, |part| part) }
        }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; BLOCK]) -> Registers {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| i64::from_le_bytes(words[index]);
        let pair = |low: usize| _mm_set_epi64x(word(low + 1), word(low));
        [pair(0), pair(2), pair(4), pair(6)]
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn any_of<const N: usize>(parts: &Registers, values: [u8; N]) -> u64 {
        mask(parts, |part| {
            let mut found = splat(0);
            for value in values {
                found = _mm_or_si128(found, _mm_cmpeq_epi8(part, splat(value)));
            }
            found
        })
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn any_pair<const N: usize>(parts: &Registers, next: &Registers, pairs: [(u8, u8); N]) -> u64 {
        let mut found = *parts;
        for (part, next) in found.iter_mut().zip(next) {
            let (first, second) = (_mm_or_si128(*part, splat(0x20)), _mm_or_si128(*next, splat(0x20)));
            *part = splat(0);
            for (a, b) in pairs {
                let both = _mm_and_si128(_mm_cmpeq_epi8(first, splat(a)), _mm_cmpeq_epi8(second, splat(b)));
                *part = _mm_or_si128(*part, both);
            }
        }
        mask(&found, |part| part)
    }

    /// Bytes that are from `first` to `last` once the bits `set` are set in them.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn within(parts: &Registers, first: u8, last: u8, set: u8) -> u64 {
        mask(parts, |part| {
            let offset = _mm_sub_epi8(_mm_or_si128(part, splat(set)), splat(first));
            _mm_cmpeq_epi8(_mm_min_epu8(offset, splat(last - first)), offset)
        })
    }

    /// The highest bit of each byte of `test`. Written out, as `array::map` becomes a call here.
    #[inline]
    #[target_feature(enable = "sse2")]
    #[expect(clippy::cast_sign_loss, reason = "16 bits")]
    fn mask(parts: &Registers, test: impl Fn(__m128i) -> __m128i) -> u64 {
        let bits = |part: __m128i| u64::from(_mm_movemask_epi8(test(part)) as u32);
        bits(parts[0]) | bits(parts[1]) << 16 | bits(parts[2]) << 32 | bits(parts[3]) << 48
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn splat(value: u8) -> __m128i {
        _mm_set1_epi8(value.cast_signed())
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable {
    use super::BLOCK;

    /// Sixty-four bytes.
    #[derive(Clone, Copy)]
    pub struct Block([u8; BLOCK]);

    impl Block {
        /// Take up the bytes.
        #[must_use]
        pub fn new(bytes: &[u8; BLOCK]) -> Self {
            Self(*bytes)
        }

        /// Bytes equal to one of `values`.
        #[must_use]
        pub fn any_of<const N: usize>(&self, values: [u8; N]) -> u64 {
            self.mask(|byte| values.contains(&byte))
        }

        /// Bytes from `first` to `last`, both included.
        #[must_use]
        pub fn within(&self, first: u8, last: u8) -> u64 {
            self.mask(|byte| (first..=last).contains(&byte))
        }

        /// ASCII letters.
        #[must_use]
        pub fn letters(&self) -> u64 {
            self.mask(|byte| byte.is_ascii_alphabetic())
        }

        /// Bytes that are, with those of `next` in the same place, one of the pairs: ASCII letters given in
        /// lower case, in either case.
        #[must_use]
        pub fn any_pair<const N: usize>(&self, next: &Self, pairs: [(u8, u8); N]) -> u64 {
            let found = self.0.iter().zip(&next.0).map(|(&a, &b)| pairs.contains(&(a | 0x20, b | 0x20)));
            found.rev().fold(0, |mask, found| mask << 1 | u64::from(found))
        }

        /// Bytes of 0x80 and more.
        #[must_use]
        pub fn high(&self) -> u64 {
            self.mask(|byte| !byte.is_ascii())
        }

        fn mask(&self, test: impl Fn(u8) -> bool) -> u64 {
            self.0.iter().rev().fold(0, |mask, &byte| mask << 1 | u64::from(test(byte)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_find_the_same_bytes_in_every_block() {
        let mut state = 1u64;
        for round in 0u8..=255 {
            let block: [u8; BLOCK] = std::array::from_fn(|at| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if at % 3 == 0 { round } else { (state >> 56) as u8 }
            });
            let (fast, slow) = (Block::new(&block), portable::Block::new(&block));
            assert_eq!(fast.high(), slow.high());
            assert_eq!(fast.letters(), slow.letters());
            let pairs = [(b'a' + round % 26, b'q'), (block[5] | 0x20, block[9] | 0x20)];
            let other: [u8; BLOCK] = std::array::from_fn(|at| block[(at + 4) % BLOCK]);
            let (next, slow_next) = (Block::new(&other), portable::Block::new(&other));
            assert_eq!(fast.any_pair(&next, pairs), slow.any_pair(&slow_next, pairs));
            assert_ne!(fast.any_pair(&next, pairs), 0);
            assert_eq!(fast.any_of([round, b'.', 0]), slow.any_of([round, b'.', 0]));
            for last in [round, round.saturating_add(9), 255] {
                assert_eq!(fast.within(round, last), slow.within(round, last));
            }
        }
    }

    #[test]
    fn least_values_are_those_of_one_function_after_the_other() {
        let numbers = |count: usize, salt: u32| {
            let from = |i: u32| (i + salt).wrapping_mul(2_654_435_761).rotate_left(i % 32);
            (0..count as u32).map(from).collect::<Vec<u32>>()
        };
        for (num_slots, num_values) in [(1, 1), (31, 5), (32, 0), (33, 300), (128, 77), (286, 9)] {
            let (factors, terms) = (numbers(num_slots, 3), numbers(num_slots, 99));
            let values = numbers(num_values, 7);
            let expected: Vec<u32> = (factors.iter().zip(&terms))
                .map(|(&a, &b)| values.iter().map(|x| x.wrapping_mul(a).wrapping_add(b)).min())
                .map(|least| least.unwrap_or(u32::MAX))
                .collect();
            let (mut found, mut plain) = (vec![u32::MAX; num_slots], vec![u32::MAX; num_slots]);
            multiply_add_min(&mut found, &factors, &terms, &values);
            multiply_add_min_loop(&mut plain, &factors, &terms, &values);
            assert_eq!((&found, &plain), (&expected, &expected));
        }
    }

    #[test]
    fn the_last_block_is_filled_with_zeros() {
        let (block, num_bytes) = block_at(b"..a.", 1);
        assert_eq!((block.any_of([b'.']), num_bytes), (0b101, 3));
        assert_eq!(block.any_of([0]), !low_bits(3));
        assert_eq!((low_bits(0), low_bits(64)), (0, u64::MAX));
    }
}
