//! How many values two sorted sets share.
//!
//! Merging two sorted sets asks at each step which of two values is less; the answer is random, so it must
//! not be a branch, and each step waits for the one before. Four parts of the sets are merged side by side,
//! so that four steps are under way at any time: 1 ns for each step instead of 2.5 (a step takes up one
//! value, or one of each set where they are equal). A set that is 32 times as large as the other is searched
//! instead.

/// Values of the smaller set between two looks at whether enough can be shared still.
const CHUNK: usize = 1024;
const LANES: usize = 4;
/// Sets below this are merged in one lane.
const MIN_LANES: usize = 32;
/// Steps of all lanes that are worth a round.
const MIN_STEPS: usize = 4;
const MAX_LOPSIDED: usize = 32;

/// How many values two sorted sets share; `None` as soon as fewer than `needed` are certain.
#[must_use]
pub fn shared(a: &[u64], b: &[u64], needed: usize) -> Option<usize> {
    let (mut few, mut many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let mut count = 0;
    while count + few.len().min(many.len()) >= needed {
        let (head, rest) = few.split_at(CHUNK.min(few.len()));
        let Some(last) = head.last() else { return Some(count) };
        let (front, back) = many.split_at(many.partition_point(|value| value <= last));
        count +=
            if front.len() / MAX_LOPSIDED > head.len() { search(head, front) } else { merge(head, front) };
        (few, many) = (rest, back);
    }
    None
}

fn search(few: &[u64], many: &[u64]) -> usize {
    few.iter().filter(|value| many.binary_search(value).is_ok()).count()
}

/// Places in two sets, up to which they are merged, and where to stop.
#[derive(Clone, Copy, Default)]
struct Lane {
    a: usize,
    b: usize,
    end_a: usize,
    end_b: usize,
}

impl Lane {
    /// Steps that surely do not pass an end.
    fn num_steps(&self) -> usize {
        (self.end_a - self.a).min(self.end_b - self.b)
    }
}

/// One step from places in both sets: the next places, and one more if values are equal.
#[inline]
fn step(a: &[u64], b: &[u64], at: &mut (usize, usize), count: &mut usize) {
    if let (Some(x), Some(y)) = (a.get(at.0), b.get(at.1)) {
        *count += usize::from(x == y);
        *at = (at.0 + usize::from(x <= y), at.1 + usize::from(y <= x));
    }
}

fn merge(a: &[u64], b: &[u64]) -> usize {
    if a.len().min(b.len()) < MIN_LANES {
        return finish(a, b, Lane { a: 0, b: 0, end_a: a.len(), end_b: b.len() });
    }
    let mut lanes = lanes(a, b);
    let mut count = 0;
    loop {
        let num_steps = lanes.iter().map(Lane::num_steps).min().unwrap_or(0);
        if num_steps < MIN_STEPS {
            return count + lanes.into_iter().map(|lane| finish(a, b, lane)).sum::<usize>();
        }
        // Places of their own, so that they stay in registers.
        let [mut first, mut second, mut third, mut fourth] = lanes.map(|lane| (lane.a, lane.b));
        for _ in 0..num_steps {
            step(a, b, &mut first, &mut count);
            step(a, b, &mut second, &mut count);
            step(a, b, &mut third, &mut count);
            step(a, b, &mut fourth, &mut count);
        }
        for (lane, at) in lanes.iter_mut().zip([first, second, third, fourth]) {
            (lane.a, lane.b) = at;
        }
    }
}

fn finish(a: &[u64], b: &[u64], mut lane: Lane) -> usize {
    let mut count = 0;
    loop {
        let num_steps = lane.num_steps();
        if num_steps == 0 {
            return count;
        }
        let mut at = (lane.a, lane.b);
        (0..num_steps).for_each(|_| step(a, b, &mut at, &mut count));
        (lane.a, lane.b) = at;
    }
}

/// Cut both sets at the same values.
fn lanes(a: &[u64], b: &[u64]) -> [Lane; LANES] {
    let width = a.len() / LANES;
    let mut lanes = [Lane::default(); LANES];
    let (mut at_a, mut at_b) = (0, 0);
    for (index, lane) in (1..).zip(&mut lanes) {
        let end_a = if index == LANES { a.len() } else { at_a + width };
        let rest = b.get(at_b..).unwrap_or(&[]);
        let num_less = a.get(end_a).map_or(rest.len(), |cut| rest.partition_point(|value| value < cut));
        let end_b = at_b + num_less;
        *lane = Lane { a: at_a, b: at_b, end_a, end_b };
        (at_a, at_b) = (end_a, end_b);
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Pseudo-random sets, sorted.
    pub(super) fn set(seed: u64, size: usize, range: u64) -> Vec<u64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % range
        };
        (0..size).map(|_| next()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn shared_values_are_those_of_the_intersection() {
        let sizes = [0, 1, 2, 5, 31, 32, 33, 64, 100, 1000, 1023, 1024, 1025, 5000];
        for (seed, &size_a) in (0..).zip(&sizes) {
            for &size_b in &sizes {
                for range in [10, 3000, 1 << 20, 1 << 31] {
                    let (a, b) = (set(seed, size_a, range), set(seed + 99, size_b, range));
                    let both: BTreeSet<u64> = a.iter().copied().collect();
                    let expected = b.iter().filter(|value| both.contains(value)).count();
                    assert_eq!(shared(&a, &b, 0), Some(expected), "{size_a} {size_b} {range}");
                    assert_eq!(shared(&a, &b, expected), Some(expected));
                    let most = shared(&a, &b, expected + 1);
                    assert!(most.is_none() || most == Some(expected));
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_enough_is_given_up() {
        let a: Vec<u64> = (0..5000).collect();
        let b: Vec<u64> = (2000..7000).collect();
        assert_eq!(shared(&a, &b, 4000), None);
        assert_eq!(shared(&a, &b, 5001), None);
        assert_eq!(shared(&a, &b, 3000), Some(3000));
    }
}
