//! The generator that initial weights are drawn with: `std::minstd_rand` and the distributions of libstdc++.

const MODULUS: u64 = 2_147_483_647;
const FACTOR: u64 = 48_271;
/// Numbers that the generator gives: 1 to `MODULUS` - 1.
const NUM_VALUES: u64 = MODULUS - 1;

/// Multiplicative congruential generator.
#[derive(Debug)]
pub struct Minstd(u64);

impl Minstd {
    /// Start from a seed; multiples of the modulus count as 1.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = seed % MODULUS;
        Self(if state == 0 { 1 } else { state })
    }

    /// The next number, from 0.
    fn draw(&mut self) -> u64 {
        self.0 = self.0 * FACTOR % MODULUS;
        self.0 - 1
    }

    /// A number in [0, 1), of two draws.
    fn canonical(&mut self) -> f64 {
        let range = NUM_VALUES as f64;
        let sum = self.draw() as f64;
        let found = (sum + self.draw() as f64 * range) / (range * range);
        if found < 1.0 { found } else { 1.0f64.next_down() }
    }

    /// A number between `-bound` and `bound`.
    pub fn symmetric(&mut self, bound: f64) -> f64 {
        self.canonical() * (bound - -bound) + -bound
    }

    /// A whole number below `count`, which is at least 1 and small; draws also where there is no choice.
    pub fn below(&mut self, count: u64) -> u64 {
        let scale = (NUM_VALUES - 1) / count;
        loop {
            let found = self.draw();
            if found < count * scale {
                return found / scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ten_thousandth_number_is_that_of_the_standard() {
        let mut random = Minstd::new(1);
        for _ in 0..9_999 {
            random.draw();
        }
        assert_eq!(random.draw() + 1, 399_268_537);
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let mut random = Minstd::new(0);
        assert!((0..10_000).all(|_| random.symmetric(0.25).abs() <= 0.25));
        assert!((0..10_000).all(|_| random.below(3) < 3));
    }
}
