//! Sentences without a language: a count for texts that no language's splitter is chosen for.
//!
//! A sentence holds a letter or number and ends at the end of the text or at a terminal character: one
//! outside ASCII ends it at once (Chinese and Japanese put no space after it); `.`, `!` and `?` end it where
//! white space or the end of the text follows, closing quotes and brackets between them allowed. So `3.14`
//! and `example.org` are not cut, and `Mr. Smith` is.

use memchr::memchr3_iter;

use crate::pystr::{is_space, is_terminal, is_word};

/// Count the sentences of `text`.
#[must_use]
pub fn count(text: &str) -> usize {
    if text.is_ascii() { count_ascii(text.as_bytes()) } else { count_wide(text) }
}

/// As `count_wide`, looking only at what follows a terminal and at what starts a sentence.
fn count_ascii(text: &[u8]) -> usize {
    let is_word = |byte: &u8| is_word(char::from(*byte));
    let has_word = |from: usize, to: usize| text.get(from..to).is_some_and(|text| text.iter().any(is_word));
    let mut count = 0;
    let mut start = 0;
    let mut checked = 0;
    for at in memchr3_iter(b'.', b'!', b'?', text) {
        if at < checked {
            continue;
        }
        let rest = text.get(at..).unwrap_or(&[]);
        let Some(stop) = rest.iter().position(|byte| is_word(byte) || is_space(char::from(*byte))) else {
            break;
        };
        checked = at + stop;
        if !rest.get(stop).is_some_and(is_word) {
            count += usize::from(has_word(start, at));
            start = checked;
        }
    }
    count + usize::from(has_word(start, text.len()))
}

fn count_wide(text: &str) -> usize {
    let mut count = 0;
    let mut has_word = false;
    let mut may_end = false;
    for c in text.chars() {
        let ends = if is_terminal(c) {
            may_end = true;
            !c.is_ascii()
        } else if is_word(c) {
            has_word = true;
            may_end = false;
            false
        } else {
            may_end && is_space(c)
        };
        if ends {
            count += usize::from(has_word);
            (has_word, may_end) = (false, false);
        }
    }
    count + usize::from(has_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_at_terminals_before_white_space() {
        let cases = [
            ("", 0),
            ("... !", 0),
            ("One. Two! Three", 3),
            ("Pi is 3.14 at example.org.", 1),
            ("\"Really?!\" he said. (Yes.) No", 4),
            ("Mr. Smith", 2),
            ("\u{4f60}\u{597d}\u{3002}\u{518d}\u{89c1}\u{3002}", 2),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), expected, "{text}");
            assert_eq!(count_wide(text), expected, "{text}");
        }
    }
}
