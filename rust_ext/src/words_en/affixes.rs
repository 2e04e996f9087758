//! What is cut off the ends of a chunk and where its middle is cut: single marks, ellipses, units, hyphens.
//!
//! All functions look at a bounded number of characters or pass over the chunk once; none backtracks.

use super::chars::{ALPHA, Classes, ICON, LOWER, PREFIX, QUOTE, STOPS, SUFFIX, UPPER};

/// Units and currencies that are cut off after a digit. The Arabic ones that begin with U+0442 are as the rules have them.
const AFTER_DIGIT: &str = "\
    % G GB K KB M MB Pa T TB cm cm\u{b2} cm\u{b3} dm dm\u{b2} dm\u{b3} ft g gb hPa ha in kb kg km km/h kmh \
    km\u{b2} km\u{b3} lb m m/s mb mbar mg mm mm\u{b2} mm\u{b3} mph m\u{b2} m\u{b3} nm oz t tb yd \u{b5}g \
    \u{b5}m \u{413}\u{411} \u{413}\u{431} \u{41a}\u{411} \u{41a}\u{431} \u{41c}\u{411} \u{41c}\u{431} \
    \u{41f}\u{430} \u{422}\u{411} \u{422}\u{431} \u{433} \u{433}\u{431} \u{434}\u{43c} \u{434}\u{43c}\u{b2} \
    \u{434}\u{43c}\u{b3} \u{43a}\u{41f}\u{430} \u{43a}\u{431} \u{43a}\u{433} \u{43a}\u{43c} \
    \u{43a}\u{43c}/\u{447} \u{43a}\u{43c}\u{b2} \u{43a}\u{43c}\u{b3} \u{43c} \u{43c}/\u{441} \u{43c}\u{b2} \
    \u{43c}\u{b3} \u{43c}\u{431} \u{43c}\u{431}\u{430}\u{440} \u{43c}\u{433} \u{43c}\u{43c} \
    \u{43c}\u{43c}\u{b2} \u{43c}\u{43c}\u{b3} \u{43d}\u{43c} \u{441}\u{43c} \u{441}\u{43c}\u{b2} \
    \u{441}\u{43c}\u{b3} \u{442}\u{431}\u{643}\u{645} \u{627}\u{643}\u{648}\u{627}\u{628} \
    \u{62c}\u{631}\u{627}\u{645} \u{62c}\u{645} \u{633}\u{645} \u{633}\u{645}\u{b2} \u{633}\u{645}\u{b3} \
    \u{63a}\u{631}\u{627}\u{645} \u{643}\u{63a} \u{643}\u{645} \u{643}\u{645}\u{b2} \u{643}\u{645}\u{b3} \
    \u{643}\u{648}\u{628} \u{645} \u{645}\u{b2} \u{645}\u{b3} \u{645}\u{644}\u{63a} \u{645}\u{645} \
    \u{645}\u{645}\u{b2} \u{645}\u{645}\u{b3} A$ C$ US$ $ \u{a3} \u{a5} \u{e3f} \u{20a0} \u{20a1} \u{20a2} \
    \u{20a3} \u{20a4} \u{20a5} \u{20a6} \u{20a7} \u{20a8} \u{20a9} \u{20aa} \u{20ab} \u{20ac} \u{20ad} \u{20ae} \
    \u{20af} \u{20b0} \u{20b1} \u{20b2} \u{20b3} \u{20b4} \u{20b5} \u{20b6} \u{20b7} \u{20b8} \u{20b9} \u{20ba} \
    \u{20bb} \u{20bc} \u{20bd} \u{20be} \u{20bf} \u{fdfc}";
/// Characters of the longest of them.
const MAX_UNIT_CHARS: usize = 5;

/// Prefixes of several characters.
const LONG_PREFIXES: [&str; 3] = ["US$", "A$", "C$"];
const ELLIPSIS: char = '\u{2026}';
/// In the order in which they are tried.
const HYPHENS: [&str; 7] = ["-", "\u{2013}", "\u{2014}", "--", "---", "\u{2014}\u{2014}", "~"];

/// Bytes to cut off the front of `chunk`.
pub(super) fn prefix_len(classes: &Classes, chunk: &str) -> usize {
    let mut chars = chunk.chars();
    let Some(first) = chars.next() else { return 0 };
    if classes.of(first) & PREFIX != 0 {
        return first.len_utf8();
    }
    match first {
        '.' => long_dots(num_leading_dots(chunk.as_bytes())),
        '+' if !chars.next().is_some_and(|next| next.is_ascii_digit()) => 1,
        'A' | 'C' | 'U' => {
            LONG_PREFIXES.iter().find(|prefix| chunk.starts_with(**prefix)).map_or(0, |it| it.len())
        }
        _ => 0,
    }
}

/// Bytes to cut off the end of `chunk`: the longest of the suffixes that match.
pub(super) fn suffix_len(classes: &Classes, chunk: &str) -> usize {
    let mut chars = chunk.chars();
    let Some(last) = chars.next_back() else { return 0 };
    if classes.of(last) & SUFFIX != 0 {
        let doubled = last == ELLIPSIS && chars.next_back() == Some(ELLIPSIS);
        return last.len_utf8() * if doubled { 2 } else { 1 };
    }
    match last {
        '.' => {
            let dots = chunk.bytes().rev().take_while(|byte| *byte == b'.').count();
            if dots > 1 { dots } else { usize::from(stop_is_cut(classes, chars.as_str())) }
        }
        '+' => usize::from(chars.next_back().is_some_and(|before| before.is_ascii_digit())),
        's' | 'S' => match chars.next_back() {
            Some(mark @ ('\'' | '\u{2019}')) => mark.len_utf8() + 1,
            _ => unit_len(chunk),
        },
        _ => unit_len(chunk),
    }
}

/// Whether a full stop after `before` is cut off.
pub(super) fn stop_is_cut(classes: &Classes, before: &str) -> bool {
    let mut chars = before.chars();
    let last = chars.next_back();
    if classes.has(last, STOPS) {
        return true;
    }
    let second = chars.next_back();
    let is_degree = second == Some('\u{b0}') && matches!(last, Some('F' | 'C' | 'K'));
    is_degree || (classes.has(last, UPPER) && classes.has(second, UPPER))
}

/// Length of a unit or currency that ends `chunk` right after a digit.
fn unit_len(chunk: &str) -> usize {
    let mut len = 0;
    for char in chunk.chars().rev().take(MAX_UNIT_CHARS + 1) {
        if char.is_ascii_digit() {
            let unit = &chunk[chunk.len() - len..];
            return if len > 0 && AFTER_DIGIT.split(' ').any(|known| known == unit) { len } else { 0 };
        }
        len += char.len_utf8();
    }
    0
}

fn num_leading_dots(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == b'.').count()
}

fn long_dots(count: usize) -> usize {
    if count > 1 { count } else { 0 }
}

/// Length of the separator at the start of `rest`, which follows the character `before` of the same chunk.
pub(super) fn infix_len(classes: &Classes, before: Option<char>, rest: &str) -> usize {
    let mut chars = rest.chars();
    let Some(char) = chars.next() else { return 0 };
    if char == '.' {
        let dots = num_leading_dots(rest.as_bytes());
        let is_inner = classes.has(before, LOWER | QUOTE) && classes.has(chars.next(), UPPER | QUOTE);
        return if dots > 1 { dots } else { usize::from(is_inner) };
    }
    if char == ELLIPSIS || classes.of(char) & ICON != 0 {
        return char.len_utf8();
    }
    let next = chars.next();
    let is_after_digit = before.is_some_and(|before| before.is_ascii_digit());
    let is_after_letter = classes.has(before, ALPHA);
    match char {
        '+' | '-' | '*' | '^'
            if is_after_digit && next.is_some_and(|next| next.is_ascii_digit() || next == '-') =>
        {
            1
        }
        ',' => usize::from(is_after_letter && classes.has(next, ALPHA)),
        ':' | '<' | '>' | '=' | '/' => {
            usize::from((is_after_letter || is_after_digit) && classes.has(next, ALPHA))
        }
        '-' | '~' | '\u{2013}' | '\u{2014}' if is_after_letter || is_after_digit => hyphen_len(classes, rest),
        _ => 0,
    }
}

fn hyphen_len(classes: &Classes, rest: &str) -> usize {
    let is_before_letter = |hyphen: &&&str| {
        rest.strip_prefix(**hyphen).is_some_and(|after| classes.has(after.chars().next(), ALPHA))
    };
    HYPHENS.iter().find(is_before_letter).map_or(0, |hyphen| hyphen.len())
}
