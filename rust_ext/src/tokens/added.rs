//! Added and special tokens: they are found in the text before anything else is split.
//!
//! Leftmost first, longest among those; the flags `single_word`, `lstrip` and `rstrip` as in
//! `tokenizers`, overlaps of stripped white space included.

use aho_corasick::{AhoCorasick, MatchKind};

use crate::error::{Error, Result};

/// One added token.
#[derive(Debug, Clone)]
pub struct Added {
    /// The text it is.
    pub content: String,
    /// Its token.
    pub id: u32,
    /// Whether letters, digits or underscores beside it forbid it.
    pub single_word: bool,
    /// Whether it takes the white space before it.
    pub lstrip: bool,
    /// Whether it takes the white space after it.
    pub rstrip: bool,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A stretch that is no added token, and where it starts.
    Text(usize, &'a str),
    /// An added token.
    Token(u32),
}

/// A set of added tokens, searched together.
#[derive(Debug)]
pub struct AddedSet {
    search: AhoCorasick,
    tokens: Vec<Added>,
}

impl AddedSet {
    /// Build the search; `None` where there are no tokens.
    ///
    /// # Errors
    /// `Error::Data` when the automaton would be too large.
    pub fn new(tokens: Vec<Added>) -> Result<Option<Self>> {
        if tokens.is_empty() {
            return Ok(None);
        }
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| &token.content))
            .map_err(|error| Error::Data(format!("tokenizer added_tokens: {error}")))?;
        Ok(Some(Self { search, tokens }))
    }

    /// Call `visit` with every part of `text`, in order; none is empty.
    pub fn split<'a>(&self, text: &'a str, mut visit: impl FnMut(Part<'a>)) {
        let mut done = 0;
        for hit in self.search.find_iter(text) {
            let (mut start, mut stop) = (hit.start(), hit.end());
            let Some(token) = self.tokens.get(hit.pattern().as_usize()) else { continue };
            let (before, after) = (&text[..start], &text[stop..]);
            if token.single_word && (before.ends_with(is_word) || after.starts_with(is_word)) {
                continue;
            }
            if token.lstrip {
                start = before.trim_end().len().max(done);
            }
            if token.rstrip {
                stop = text.len() - after.trim_start().len();
            }
            if done < start {
                visit(Part::Text(done, &text[done..start]));
            }
            if start < stop {
                visit(Part::Token(token.id));
            }
            done = stop;
        }
        if done < text.len() {
            visit(Part::Text(done, &text[done..]));
        }
    }
}

fn is_word(char: char) -> bool {
    regex_syntax::try_is_word_character(char).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(tokens: &[(&str, [bool; 3])], text: &str) -> String {
        let added = |(&(content, [single_word, lstrip, rstrip]), id): (&(&str, [bool; 3]), u32)| Added {
            content: content.into(),
            id,
            single_word,
            lstrip,
            rstrip,
        };
        let set = AddedSet::new(tokens.iter().zip(0..).map(added).collect()).unwrap().unwrap();
        let mut out = Vec::new();
        set.split(text, |part| match part {
            Part::Text(start, piece) => {
                assert!(text[start..].starts_with(piece));
                out.push(piece.to_owned());
            }
            Part::Token(id) => out.push(format!("[{id}]")),
        });
        out.join(",")
    }

    #[test]
    fn the_longest_token_wins_and_white_space_is_taken_where_asked() {
        let plain = [false; 3];
        assert_eq!(split(&[("<a>", plain), ("<a>b", plain)], "x<a>b<a>"), "x,[1],[0]");
        assert_eq!(split(&[("<m>", [false, true, false])], "x \n<m> y"), "x,[0], y");
        assert_eq!(split(&[("<m>", [false, false, true])], "x <m> y"), "x ,[0],y");
        assert_eq!(split(&[("ab", [true, false, false])], "ab cab ab"), "[0], cab ,[0]");
    }
}
