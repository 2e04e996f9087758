//! From a text to the buckets of its n-grams: what scoring and counting share.

use super::file::{Hash, Tokens};
use super::grams::Grams;
use crate::characters::characters;
use crate::runs::word_punct;
use crate::text::{Span, Views};
use crate::uax29;

/// Buckets of one text after another.
#[derive(Debug)]
pub struct Features {
    tokens: Tokens,
    grams: Grams,
    text: Text,
}

impl Features {
    /// Features of n-grams of up to `max_ngram` tokens in so many buckets.
    #[must_use]
    pub fn new(tokens: Tokens, max_ngram: usize, hash: Hash, num_buckets: usize) -> Self {
        Self { tokens, grams: Grams::new(hash, max_ngram, num_buckets), text: Text::default() }
    }

    /// Call `push` with the bucket of each n-gram of a document, by their last token, the shortest first;
    /// `use_words` says that the document has its words of UAX #29.
    pub fn each_bucket(&mut self, doc: &Views<'_>, use_words: bool, mut push: impl FnMut(u32)) {
        let Self { tokens, grams, text } = self;
        match grams {
            Grams::Sha(sha) => {
                sha.start();
                let text = text.each_token(doc, *tokens, use_words, |text, start, end| {
                    sha.token(text, start, end, &mut push);
                });
                sha.finish(text, push);
            }
            Grams::Fnv(fnv) => {
                fnv.start();
                text.each_token(doc, *tokens, use_words, |text, start, end| {
                    fnv.token(text, start, end, &mut push);
                });
            }
        }
    }

    /// Number of n-grams of a document; nothing is hashed.
    pub fn count(&mut self, doc: &Views<'_>, use_words: bool) -> u64 {
        let mut num_tokens = 0;
        self.text.each_token(doc, self.tokens, use_words, |_, _, _| num_tokens += 1);
        (0..self.grams.max_ngram() as u64).map(|fewer| u64::saturating_sub(num_tokens, fewer)).sum()
    }
}

/// Buffers of one text after another.
#[derive(Debug, Default)]
struct Text {
    lowered: String,
    words: Vec<Span>,
}

impl Text {
    /// Call `push` with the text that tokens are of, and start and end of each token; returns the text.
    fn each_token<'a>(
        &'a mut self,
        doc: &Views<'a>,
        tokens: Tokens,
        use_words: bool,
        mut push: impl FnMut(&[u8], usize, usize),
    ) -> &'a [u8] {
        match tokens {
            Tokens::WordPunctLower => {
                characters().lower(doc.text, &mut self.lowered);
                let bytes = self.lowered.as_bytes();
                word_punct(&self.lowered, |start, end| push(bytes, start, end));
                bytes
            }
            Tokens::Whitespace => {
                let text = doc.text.as_bytes();
                let spans = doc.tokens.iter().map(|token| token.span);
                spans.for_each(|span| push(text, span.start as usize, span.end as usize));
                text
            }
            Tokens::Uax29 => {
                let (text, words) = if use_words {
                    (doc.words_text, doc.words)
                } else {
                    self.words.clear();
                    uax29::split(doc.text, &mut self.words);
                    (doc.text, self.words.as_slice())
                };
                let text = text.as_bytes();
                words.iter().for_each(|word| push(text, word.start as usize, word.end as usize));
                text
            }
        }
    }
}
