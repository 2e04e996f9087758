//! Bytes of a text by class of script: what the estimate of token counts is made from.
//!
//! Runs of ASCII are counted with comparisons that the compiler turns into vectors; other characters
//! by their code point. Not here: Unicode scripts in full, which would need no fewer factors.

use super::classes::decode;

/// Names of the classes, in the order of their columns.
pub const NAMES: [&str; NUM] = [
    "ascii_lower",
    "ascii_upper",
    "digit",
    "space",
    "space_run",
    "newline",
    "ascii_punct",
    "latin",
    "cyrillic_greek",
    "arabic_hebrew",
    "indic",
    "cjk",
    "kana_hangul",
    "other",
];

/// Number of classes.
pub const NUM: usize = 14;

const PUNCT: usize = 6;
const LATIN: usize = 7;
const OTHER: usize = 13;
const CHUNK: usize = 128;

/// Bytes of each class; they add up to the length of `text`.
#[must_use]
pub fn count(text: &str) -> [u32; NUM] {
    let bytes = text.as_bytes();
    let mut out = [0; NUM];
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.len() >= CHUNK && rest[..CHUNK].is_ascii() {
            let before = at.checked_sub(1).and_then(|last| bytes.get(last)).copied().unwrap_or(0);
            ascii(before, &rest[..CHUNK], &mut out);
            at += CHUNK;
            continue;
        }
        let stop = (at + CHUNK).min(bytes.len());
        while at < stop {
            if bytes[at] < 0x80 {
                let before = at.checked_sub(1).and_then(|last| bytes.get(last)).copied().unwrap_or(0);
                ascii(before, &bytes[at..=at], &mut out);
                at += 1;
            } else {
                let (code, len) = decode(bytes, at);
                out[class(code)] += len as u32;
                at += len;
            }
        }
    }
    out
}

/// Add the counts of at most 128 ASCII bytes that follow the byte `before`.
#[inline]
fn ascii(before: u8, bytes: &[u8], out: &mut [u32; NUM]) {
    let sum = |test: fn(u8) -> bool| u32::from(bytes.iter().map(|byte| u8::from(test(*byte))).sum::<u8>());
    let blank = |byte: u8| byte == b' ' || byte == b'\t';
    let pairs = bytes.iter().zip(bytes.iter().skip(1));
    let runs = pairs.map(|(left, right)| u8::from(blank(*left) & blank(*right))).sum::<u8>();
    let runs = u32::from(runs) + u32::from(blank(before) & bytes.first().is_some_and(|first| blank(*first)));
    let counts = [
        sum(|byte| byte.is_ascii_lowercase()),
        sum(|byte| byte.is_ascii_uppercase()),
        sum(|byte| byte.is_ascii_digit()),
        sum(blank) - runs,
        runs,
        sum(|byte| byte == b'\n' || byte == b'\r'),
    ];
    for (total, count) in out.iter_mut().zip(counts) {
        *total += count;
    }
    out[PUNCT] += bytes.len() as u32 - counts.iter().sum::<u32>();
}

/// Class of a character that is not ASCII.
fn class(code: u32) -> usize {
    match code {
        0x80..0x250 | 0x1e00..0x1f00 => LATIN,
        0x370..0x530 | 0x1c80..0x1c90 | 0x1f00..0x2000 => LATIN + 1,
        0x590..0x780 | 0x8a0..0x900 | 0xfb1d..0xfe00 | 0xfe70..0xff00 => LATIN + 2,
        0x900..0x1000 => LATIN + 3,
        0x2e80..0x2fe0 | 0x3400..0x4dc0 | 0x4e00..0xa000 | 0xf900..0xfb00 | 0x2_0000..0x3_4000 => LATIN + 4,
        0x1100..0x1200
        | 0x3000..0x3100
        | 0x3130..0x3190
        | 0x31f0..0x3200
        | 0xa960..0xa980
        | 0xac00..0xd800
        | 0xff00..0xfff0 => LATIN + 5,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_add_up_to_the_bytes_wherever_the_text_is_cut() {
        let text = "Ab 1  \t\n!\u{e9}\u{3b1}\u{5d0}\u{905}\u{4e00}\u{3042}\u{20ac}".repeat(40);
        let total = count(&text);
        assert_eq!(total, [1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 3, 3, 3, 3].map(|bytes| bytes * 40));
        assert_eq!(total.iter().sum::<u32>() as usize, text.len());
        let ascii = "x y  Z\n\n".repeat(100);
        assert_eq!(count(&ascii)[..7], [200, 100, 0, 200, 100, 200, 0][..]);
    }
}
