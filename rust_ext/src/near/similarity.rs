//! How alike two documents are, and whether that is enough.
//!
//! Jaccard similarity is the share of all shingles that both have, containment the share of those of the
//! smaller set. Both are exact where all shingles are there. A set that was sampled is compared at the higher
//! level of the two: both are cut down to the shingles that a sample of that level has, and the similarity
//! is then an estimate, with a standard deviation of about sqrt(J (1 - J) / n) for n shingles left in the
//! union. Of signatures, the share of equal slots is the similarity.

use super::overlap::shared;
use crate::error::{Error, Result};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Shingles of both over those of either.
    Jaccard,
    /// Shingles of both over those of the smaller set.
    Containment,
    /// Equal slots of signatures, over this number of slots.
    Signature(usize),
}

impl Measure {
    /// A measure by its name.
    ///
    /// # Errors
    /// `Error::Config` for another name.
    pub fn parse(mode: &str, num_hashes: usize) -> Result<Self> {
        match mode {
            "jaccard" => Ok(Self::Jaccard),
            "containment" => Ok(Self::Containment),
            "signature" => Ok(Self::Signature(num_hashes)),
            _ => Err(Error::Config(format!("mode is jaccard, containment or signature, not: {mode}"))),
        }
    }
}

/// A set of shingles as it is stored, or the slots of a signature.
#[derive(Debug, Clone, Copy)]
pub struct Set<'a> {
    /// How often a sample of shingles was halved.
    pub level: u32,
    /// Hashes with their halves exchanged, ascending, so that a sample of a higher level is a prefix; or
    /// slots, two in a number.
    pub values: &'a [u64],
}

impl<'a> Set<'a> {
    /// What a sample of a level has of this one.
    fn at(self, level: u32) -> &'a [u64] {
        if level <= self.level {
            return self.values;
        }
        let limit = 1_u64.checked_shl(u64::BITS.saturating_sub(level)).unwrap_or(u64::MAX);
        self.values.split_at(self.values.partition_point(|&value| value < limit)).0
    }
}

/// A hash of a shingle as sets store it.
#[must_use]
pub fn stored(hash: u64) -> u64 {
    hash.rotate_left(u64::BITS / 2)
}

/// A similarity as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Similarity {
    shared: usize,
    all: usize,
}

impl Similarity {
    /// The quotient; 0 where there is nothing to compare.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.all == 0 { 0.0 } else { self.shared as f64 / self.all as f64 }
    }

    /// Tenths, rounded down, 9 at most.
    #[must_use]
    pub fn tenth(self) -> usize {
        (10 * self.shared).checked_div(self.all).unwrap_or(0).min(9)
    }
}

/// A measure, and what of it is enough.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    measure: Measure,
    threshold: f64,
}

impl Rule {
    /// A measure with its threshold.
    ///
    /// # Errors
    /// `Error::Config` for a threshold that is not above 0 and at most 1.
    pub fn new(measure: Measure, threshold: f64) -> Result<Self> {
        if threshold > 0.0 && threshold <= 1.0 {
            return Ok(Self { measure, threshold });
        }
        Err(Error::Config(format!("threshold is above 0 and at most 1, not: {threshold}")))
    }

    /// Whether a similarity is enough.
    #[must_use]
    pub fn is_met(&self, similarity: Similarity) -> bool {
        similarity.value() >= self.threshold
    }

    /// The similarity, if it is enough: most of those that are not are given up early.
    #[must_use]
    pub fn met(&self, a: Set<'_>, b: Set<'_>) -> Option<Similarity> {
        let similarity = match self.measure {
            Measure::Signature(_) => Some(similarity(self.measure, a, b)),
            measure => compare(measure, a, b, |num_a, num_b| self.least(num_a, num_b)),
        };
        similarity.filter(|&similarity| self.is_met(similarity))
    }

    /// Shingles that two sets of these sizes share at least where their similarity is enough; one less, so
    /// that no rounding matters.
    fn least(&self, num_a: usize, num_b: usize) -> usize {
        let least = match self.measure {
            Measure::Jaccard => self.threshold * (num_a + num_b) as f64 / (1.0 + self.threshold),
            _ => self.threshold * num_a.min(num_b) as f64,
        };
        (least as usize).saturating_sub(1)
    }
}

/// How alike two documents are.
#[must_use]
pub fn similarity(measure: Measure, a: Set<'_>, b: Set<'_>) -> Similarity {
    match measure {
        Measure::Signature(num_slots) => {
            Similarity { shared: num_equal(a.values, b.values, num_slots), all: num_slots }
        }
        // Nothing is given up where nothing is needed.
        _ => compare(measure, a, b, |_, _| 0).unwrap_or(Similarity { shared: 0, all: 0 }),
    }
}

fn compare(
    measure: Measure,
    a: Set<'_>,
    b: Set<'_>,
    least: impl Fn(usize, usize) -> usize,
) -> Option<Similarity> {
    let level = a.level.max(b.level);
    let (a, b) = (a.at(level), b.at(level));
    let shared = shared(a, b, least(a.len(), b.len()))?;
    let all = match measure {
        Measure::Jaccard => a.len() + b.len() - shared,
        _ => a.len().min(b.len()),
    };
    Some(Similarity { shared, all })
}

fn num_equal(a: &[u64], b: &[u64], num_slots: usize) -> usize {
    let equal = a.iter().zip(b).map(|(a, b)| {
        let differs = a ^ b;
        usize::from(differs as u32 == 0) + usize::from(differs >> 32 == 0)
    });
    // An odd number of slots has an empty half behind the last, equal in all signatures.
    equal.sum::<usize>().saturating_sub(num_slots % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_higher_level_is_a_prefix() {
        let mut hashes: Vec<u64> =
            (1..500_u64).map(|i| crate::ngram::fold(i, 0x9e37_79b9_7f4a_7c15)).collect();
        for level in 0..10 {
            let mut values: Vec<u64> = hashes.iter().copied().map(stored).collect();
            values.sort_unstable();
            hashes.retain(|hash| hash & 0xffff_ffff < (1 << 32) >> level);
            let mut expected: Vec<u64> = hashes.iter().copied().map(stored).collect();
            expected.sort_unstable();
            assert_eq!(Set { level: 0, values: &values }.at(level), expected);
        }
    }

    #[test]
    fn a_threshold_is_met_by_what_equals_it() {
        for measure in [Measure::Jaccard, Measure::Containment] {
            for threshold in [0.1, 1.0 / 3.0, 0.7, 0.8, 0.9, 1.0, 1e-9] {
                let rule = Rule::new(measure, threshold).unwrap();
                let a: Vec<u64> = (0..30).collect();
                for start in 0..31 {
                    let b: Vec<u64> = (start..start + 25).collect();
                    let [a, b] = [&a, &b].map(|values| Set { level: 0, values });
                    let exact = similarity(measure, a, b);
                    let expected = (exact.value() >= threshold).then_some(exact);
                    assert_eq!(rule.met(a, b), expected);
                }
            }
        }
        for threshold in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(Rule::new(Measure::Jaccard, threshold).is_err());
        }
    }
}
