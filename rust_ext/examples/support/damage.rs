//! Ways to damage the bytes of a file.

use super::random::Random;

/// Bytes of the numbers that a model starts with.
const HEADER: usize = 92;
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    3,
    -1,
    255,
    256,
    1024,
    1025,
    65_536,
    65_537,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];
const FLOATS: [f32; 9] =
    [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, -0.0, 1e30, -1e30];

/// Damage a file one to three times; another of `models` may lend its bytes.
pub fn damage(bytes: &mut Vec<u8>, models: &[Vec<u8>], random: &mut Random) {
    for _ in 0..=random.below(3) {
        match random.below(9) {
            0 => flip(bytes, usize::MAX, random),
            1 => flip(bytes, 400, random),
            2 => bytes.truncate(random.below(bytes.len() + 1)),
            3 => splice(bytes, models, random),
            4 | 5 => number(bytes, random),
            6 => double(bytes, random),
            7 => {
                let range = range(bytes, random);
                bytes.drain(range);
            }
            _ => {
                let float = *random.pick(&FLOATS);
                let start = random.below(bytes.len());
                overwrite(bytes, start, &float.to_le_bytes());
            }
        }
    }
}

fn flip(bytes: &mut [u8], end: usize, random: &mut Random) {
    let end = end.min(bytes.len());
    for _ in 0..=random.below(8) {
        if let Some(byte) = bytes.get_mut(random.below(end)) {
            *byte ^= if random.below(2) == 0 { 1 << random.below(8) } else { random.next() as u8 };
        }
    }
}

/// Go on as another file does, from one place to the same or another.
fn splice(bytes: &mut Vec<u8>, models: &[Vec<u8>], random: &mut Random) {
    let other = random.pick(models);
    let here = random.below(bytes.len() + 1);
    let there = if random.below(2) == 0 { here.min(other.len()) } else { random.below(other.len() + 1) };
    bytes.truncate(here);
    bytes.extend_from_slice(&other[there..]);
}

/// Put a number that is too large, or just so, in the header or elsewhere.
fn number(bytes: &mut [u8], random: &mut Random) {
    let number = random.pick(&NUMBERS).wrapping_add(random.below(3) as i64 - 1);
    let start = if random.below(4) == 0 { random.below(bytes.len()) } else { 4 * random.below(HEADER / 4) };
    if random.below(3) == 0 {
        overwrite(bytes, start, &number.to_le_bytes());
    } else {
        overwrite(bytes, start, &(number as i32).to_le_bytes());
    }
}

fn double(bytes: &mut Vec<u8>, random: &mut Random) {
    let range = range(bytes, random);
    let copy = bytes[range.clone()].to_vec();
    let place = if random.below(2) == 0 { range.end } else { random.below(bytes.len() + 1) };
    bytes.splice(place..place, copy);
}

fn range(bytes: &[u8], random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(bytes.len() + 1);
    let longest = *random.pick(&[1, 8, 64, 2048]);
    start..(start + random.below(longest + 1)).min(bytes.len())
}

fn overwrite(bytes: &mut [u8], start: usize, new: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(start).zip(new) {
        *byte = *new;
    }
}
