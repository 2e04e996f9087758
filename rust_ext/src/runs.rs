//! Runs of characters as Python's `re` finds them, 64 bytes at a time: `\w+`, `\S+`, and DSIR's tokens.

use crate::characters::{SPACE, WORD, characters};
use crate::simd::{BLOCK, Block, block_at, low_bits};

/// What runs are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Word characters, `\w+`.
    Words,
    /// All but white space, `\S+`.
    Visible,
}

/// Call `push` with start and end of each run, in order.
pub fn runs(text: &str, run: Run, mut push: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    let (mut before, mut start) = (0, 0);
    for at in (0..bytes.len()).step_by(BLOCK) {
        let (words, spaces, inside) = classes(text, at);
        let members = inside & if run == Run::Words { words } else { !spaces };
        let mut changes = members ^ (members << 1 | before);
        before = members >> (BLOCK - 1);
        while changes != 0 {
            let place = changes.trailing_zeros() as usize;
            if members >> place & 1 == 1 {
                start = at + place;
            } else {
                push(start, at + place);
            }
            changes &= changes - 1;
        }
    }
    // A run that ends inside a block was pushed there.
    if before == 1 {
        push(start, bytes.len());
    }
}

/// Call `push` with start and end of each match of Python's `\w+|[^\w\s]+`, in order.
pub fn word_punct(text: &str, mut push: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    let (mut word_before, mut mark_before) = (0, 0);
    let mut open = None;
    for at in (0..bytes.len()).step_by(BLOCK) {
        let (words, spaces, inside) = classes(text, at);
        let marks = !words & !spaces & inside;
        let tokens = words | marks;
        let mut changes = (words ^ (words << 1 | word_before)) | (marks ^ (marks << 1 | mark_before));
        (word_before, mark_before) = (words >> (BLOCK - 1), marks >> (BLOCK - 1));
        changes &= inside;
        while changes != 0 {
            let place = changes.trailing_zeros() as usize;
            if let Some(start) = open.take() {
                push(start, at + place);
            }
            if tokens >> place & 1 != 0 {
                open = Some(at + place);
            }
            changes &= changes - 1;
        }
    }
    if let Some(start) = open {
        push(start, bytes.len());
    }
}

/// Word characters and spaces of the block at `at`, and its bytes that are the text's: zeros follow the end.
#[inline]
fn classes(text: &str, at: usize) -> (u64, u64, u64) {
    let (block, num_bytes) = block_at(text.as_bytes(), at);
    let (mut words, mut spaces) = ascii_classes(&block);
    if block.high() != 0 {
        let (more_words, more_spaces) = wide_classes(text, at, block.high());
        (words, spaces) = (words | more_words, spaces | more_spaces);
    }
    (words, spaces, low_bits(num_bytes))
}

#[inline]
fn ascii_classes(block: &Block) -> (u64, u64) {
    let words = block.letters() | block.within(b'0', b'9') | block.any_of([b'_']);
    let spaces = block.any_of([b' ']) | block.within(b'\t', b'\r') | block.within(0x1c, 0x1f);
    (words, spaces)
}

/// Word characters and spaces outside ASCII: all bytes of each that are in the block at `at`.
fn wide_classes(text: &str, at: usize, mut high: u64) -> (u64, u64) {
    let table = characters();
    let (mut words, mut spaces) = (0, 0);
    while high != 0 {
        let place = high.trailing_zeros() as usize;
        // Only the first character of a block can have begun before it.
        let start =
            (0..4).map(|back| (at + place).saturating_sub(back)).find(|&at| text.is_char_boundary(at));
        let start = start.unwrap_or(at + place);
        let found = text.get(start..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
        let end = (start + found.len_utf8() - at).min(BLOCK).max(place + 1);
        let bits = low_bits(end) & !low_bits(place);
        let flags = table.of(found);
        if flags & WORD != 0 {
            words |= bits;
        } else if flags & SPACE != 0 {
            spaces |= bits;
        }
        high &= !bits;
    }
    (words, spaces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        word_punct(text, |start, end| out.push(&text[start..end]));
        out
    }

    #[test]
    fn tokens_do_not_depend_on_where_blocks_end() {
        for before in 0..140 {
            for after in 0..3 {
                let (head, tail) = ("x".repeat(before), " ".repeat(after));
                let text = format!("{head} a\u{e9}_1...\u{2026}\u{4e2d}\u{3000}-{tail}");
                let words = found(&text);
                let expected = [head.as_str(), "a\u{e9}_1", "...\u{2026}", "\u{4e2d}", "-"];
                assert_eq!(words, expected[usize::from(before == 0)..], "{text:?}");
            }
        }
    }

    #[test]
    fn runs_are_the_tokens_of_one_kind_wherever_blocks_end() {
        for before in 0..140 {
            let text = format!("{} a\u{e9}_1..\u{2026}x\u{3000}-{}", "y".repeat(before), "z".repeat(before));
            let of = |run| {
                let mut out = Vec::new();
                runs(&text, run, |start, end| out.push(&text[start..end]));
                out
            };
            let words = found(&text).into_iter().filter(|token| token.starts_with(char::is_alphanumeric));
            assert_eq!(of(Run::Words), words.collect::<Vec<_>>());
            assert_eq!(of(Run::Visible), text.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn long_runs_of_wide_characters_are_one_token() {
        for length in 1..140 {
            let text = format!("{}!{}", "\u{e9}".repeat(length), "\u{1f600}".repeat(length));
            let words = found(&text);
            assert_eq!(words, [&text[..2 * length], &text[2 * length..]]);
        }
    }
}
