//! The phrases that C4's rules look for, in any case of letters: all of them in one pass over the text.

use crate::simd::{BLOCK, block_at};
use crate::text::Span;

/// One of several heads, then a tail; both lower-case ASCII.
struct Phrase {
    kind: Kind,
    heads: &'static [&'static str],
    tail: &'static str,
    /// Position in `tail` of two letters that are rare together in English: what the search stops at.
    rare: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LoremIpsum,
    Javascript,
    Policy,
}

const PHRASES: [Phrase; 5] = [
    Phrase { kind: Kind::LoremIpsum, heads: &[""], tail: "lorem ipsum", rare: 7 },
    Phrase { kind: Kind::Javascript, heads: &[""], tail: "javascript", rare: 0 },
    Phrase { kind: Kind::Policy, heads: &["privacy ", "cookie "], tail: "policy", rare: 4 },
    Phrase { kind: Kind::Policy, heads: &["use ", "uses ", "use of "], tail: "cookies", rare: 3 },
    Phrase { kind: Kind::Policy, heads: &[""], tail: "terms of use", rare: 3 },
];

/// The rare letters of each phrase.
const RARE: [(u8, u8); PHRASES.len()] = rare();

const fn rare() -> [(u8, u8); PHRASES.len()] {
    let mut out = [(0, 0); PHRASES.len()];
    let mut index = 0;
    while index < PHRASES.len() {
        let Phrase { tail, rare, .. } = &PHRASES[index];
        out[index] = (tail.as_bytes()[*rare], tail.as_bytes()[*rare + 1]);
        index += 1;
    }
    out
}

impl Phrase {
    /// The phrase whose rare letters are at `pair`: where it starts, heads included, and ends.
    fn at(&self, text: &[u8], pair: usize) -> Option<(usize, usize)> {
        let tail = pair.checked_sub(self.rare)?;
        let end = tail + self.tail.len();
        if !text.get(tail..end)?.eq_ignore_ascii_case(self.tail.as_bytes()) {
            return None;
        }
        let ends = |head: &&&str| {
            let start = tail.checked_sub(head.len());
            start.is_some_and(|start| text[start..tail].eq_ignore_ascii_case(head.as_bytes()))
        };
        self.heads.iter().find(ends).map(|head| (tail - head.len(), end))
    }
}

/// Where a phrase starts, where it ends, and of which kind it is.
type Occurrence = (usize, usize, Kind);

/// All phrases of a text that start at `from` or later, by position.
fn find(text: &[u8], from: usize) -> Vec<Occurrence> {
    let mut found = Vec::new();
    let mut at = from;
    while at + 1 < text.len() {
        let (block, next) = (block_at(text, at).0, block_at(text, at + 1).0);
        let mut pairs = block.any_pair(&next, RARE);
        while pairs != 0 {
            let pair = at + pairs.trailing_zeros() as usize;
            let here = PHRASES
                .iter()
                .filter_map(|phrase| phrase.at(text, pair).map(|(start, end)| (start, end, phrase.kind)));
            found.extend(here.filter(|&(start, _, _)| start >= from));
            pairs &= pairs - 1;
        }
        at += BLOCK;
    }
    found.sort_unstable_by_key(|occurrence| occurrence.0);
    found
}

/// Which phrases a line holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mentions {
    /// "lorem ipsum".
    pub lorem_ipsum: bool,
    /// "javascript".
    pub javascript: bool,
    /// One of the phrases about cookies, privacy and terms of use.
    pub policy: bool,
}

/// The phrases of one document.
pub struct Phrases<'a> {
    text: &'a str,
    has_foreign_letters: bool,
    /// Searched for when the first line is asked for.
    found: Option<Vec<Occurrence>>,
}

impl<'a> Phrases<'a> {
    /// Search in `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        // The only letters outside ASCII whose lower case holds an ASCII letter: K for kelvin, I with a dot.
        let has_foreign_letters = !text.is_ascii() && (text.contains('\u{212a}') || text.contains('\u{130}'));
        Self { text, has_foreign_letters, found: None }
    }

    /// The phrases in a line; lines are asked for by position. `edited` stands for a line that differs from the text.
    pub fn within(&mut self, line: Span, edited: Option<&str>) -> Mentions {
        if edited.is_some() || self.has_foreign_letters {
            let lower = edited.unwrap_or(line.of(self.text)).to_lowercase();
            return mentions(find(lower.as_bytes(), 0).iter());
        }
        let (start, end) = (line.start as usize, line.end as usize);
        let found = self.found.get_or_insert_with(|| find(self.text.as_bytes(), start));
        let first = found.partition_point(|occurrence| occurrence.0 < start);
        let last = found.partition_point(|occurrence| occurrence.0 < end);
        let inside = found.get(first..last).unwrap_or(&[]).iter();
        mentions(inside.filter(|occurrence| occurrence.1 <= end))
    }
}

fn mentions<'a>(found: impl Iterator<Item = &'a Occurrence>) -> Mentions {
    let mut out = Mentions::default();
    for (_, _, kind) in found {
        match kind {
            Kind::LoremIpsum => out.lorem_ipsum = true,
            Kind::Javascript => out.javascript = true,
            Kind::Policy => out.policy = true,
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_wherever_blocks_end() {
        for phrase in &PHRASES {
            for head in phrase.heads {
                for before in 0..140 {
                    let whole = format!("{head}{}", phrase.tail);
                    let text = format!("{}{}.", "-".repeat(before), whole.to_uppercase());
                    let expected = [(before, before + whole.len(), phrase.kind)];
                    assert_eq!(find(text.as_bytes(), 0), expected, "{text}");
                    assert_eq!(find(text.as_bytes(), before), expected, "{text}");
                    assert_eq!(find(text.as_bytes(), before + 1), [], "{text}");
                    assert_eq!(find(&text.as_bytes()[..text.len() - 2], 0), [], "{text}");
                }
            }
        }
    }

    #[test]
    fn a_line_has_the_phrases_that_are_wholly_in_it() {
        let text = "use cookies\nterms of\nuse JavaScript, lorem ipsum\nCookie Policy";
        let mut phrases = Phrases::new(text);
        let lines: Vec<_> = crate::pystr::split_lines(text).collect();
        let found: Vec<_> = lines.iter().map(|&line| phrases.within(line, None)).collect();
        let kinds: Vec<_> = found.iter().map(|m| (m.lorem_ipsum, m.javascript, m.policy)).collect();
        assert_eq!(
            kinds,
            [(false, false, true), (false, false, false), (true, true, false), (false, false, true)]
        );
        assert!(phrases.within(lines[1], Some("Terms OF use")).policy);
    }
}
