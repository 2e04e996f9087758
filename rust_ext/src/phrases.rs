//! The phrases that C4's rules look for, found lazily from left to right and in any case of letters.

use crate::simd::{BLOCK, block_at};
use crate::text::Span;

/// One of several heads, then a tail; both lower-case ASCII.
struct Phrase {
    heads: &'static [&'static str],
    tail: &'static str,
    /// Position in `tail` of two letters that are rare together in English: what the search stops at.
    rare: usize,
}

const LOREM_IPSUM: Phrase = Phrase { heads: &[""], tail: "lorem ipsum", rare: 7 };
const JAVASCRIPT: Phrase = Phrase { heads: &[""], tail: "javascript", rare: 0 };
const POLICY: [Phrase; 3] = [
    Phrase { heads: &["privacy ", "cookie "], tail: "policy", rare: 4 },
    Phrase { heads: &["use ", "uses ", "use of "], tail: "cookies", rare: 3 },
    Phrase { heads: &[""], tail: "terms of use", rare: 3 },
];

impl Phrase {
    /// The first occurrence that starts at `from` or later.
    fn find(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        let tail = self.tail.as_bytes();
        let (first, second) = (tail[self.rare], tail[self.rare + 1]);
        let text_from = text.get(from..)?;
        let mut at = 0;
        while at < text_from.len() {
            let (block, _) = block_at(text_from, at);
            let mut pairs = block.letter(first) & block.letter(second) >> 1;
            while pairs != 0 {
                let found = self.at(text_from, at + pairs.trailing_zeros() as usize);
                if let Some((start, end)) = found {
                    return Some((from + start, from + end));
                }
                pairs &= pairs - 1;
            }
            // The last byte may be the first of a pair.
            at += BLOCK - 1;
        }
        None
    }

    /// The phrase whose rare pair is at `pair`.
    #[cold]
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

    fn is_in(&self, lower: &str) -> bool {
        self.find(lower.as_bytes(), 0).is_some()
    }
}

/// The next occurrence of a phrase, searched for only as far as it is asked for.
struct Cursor {
    phrase: Phrase,
    is_searched: bool,
    next: Option<(usize, usize)>,
}

impl Cursor {
    fn new(phrase: Phrase) -> Self {
        Self { phrase, is_searched: false, next: None }
    }

    fn is_within(&mut self, text: &str, line: Span) -> bool {
        let (start, end) = (line.start as usize, line.end as usize);
        if !self.is_searched || self.next.is_some_and(|(next, _)| next < start) {
            self.next = self.phrase.find(text.as_bytes(), start);
            self.is_searched = true;
        }
        self.next.is_some_and(|(_, after)| after <= end)
    }
}

/// Which phrases a line holds.
#[derive(Debug, Clone, Copy)]
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
    lorem_ipsum: Cursor,
    javascript: Cursor,
    policy: [Cursor; 3],
}

impl<'a> Phrases<'a> {
    /// Search in `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        // The only letters outside ASCII whose lower case holds an ASCII letter: K for kelvin, I with a dot.
        let has_foreign_letters = !text.is_ascii() && (text.contains('\u{212a}') || text.contains('\u{130}'));
        Self {
            text,
            has_foreign_letters,
            lorem_ipsum: Cursor::new(LOREM_IPSUM),
            javascript: Cursor::new(JAVASCRIPT),
            policy: POLICY.map(Cursor::new),
        }
    }

    /// The phrases in a line; lines are asked for by position. `edited` stands for a line that differs from the text.
    pub fn within(&mut self, line: Span, edited: Option<&str>) -> Mentions {
        if edited.is_some() || self.has_foreign_letters {
            return mentions(&edited.unwrap_or(line.of(self.text)).to_lowercase());
        }
        let text = self.text;
        Mentions {
            lorem_ipsum: self.lorem_ipsum.is_within(text, line),
            javascript: self.javascript.is_within(text, line),
            policy: self.policy.iter_mut().fold(false, |found, cursor| found | cursor.is_within(text, line)),
        }
    }
}

fn mentions(lower: &str) -> Mentions {
    Mentions {
        lorem_ipsum: LOREM_IPSUM.is_in(lower),
        javascript: JAVASCRIPT.is_in(lower),
        policy: POLICY.iter().any(|phrase| phrase.is_in(lower)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_wherever_blocks_end() {
        for phrase in [LOREM_IPSUM, JAVASCRIPT].iter().chain(&POLICY) {
            for head in phrase.heads {
                for before in 0..140 {
                    let whole = format!("{head}{}", phrase.tail);
                    let text = format!("{}{}.", "-".repeat(before), whole.to_uppercase());
                    let expected = Some((before, before + whole.len()));
                    assert_eq!(phrase.find(text.as_bytes(), 0), expected, "{text}");
                    assert_eq!(phrase.find(text.as_bytes(), before), expected, "{text}");
                    assert_eq!(phrase.find(text.as_bytes(), before + 1), None, "{text}");
                    assert_eq!(phrase.find(&text.as_bytes()[..text.len() - 2], 0), None, "{text}");
                }
            }
        }
    }
}
