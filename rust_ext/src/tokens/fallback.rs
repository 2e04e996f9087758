//! Tokenizers with parts that are not known here run in the `tokenizers` crate: the same tokens, its speed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sink::Sink;

/// A tokenizer of the `tokenizers` crate, without truncation and padding.
pub struct Fallback(Box<tokenizers::Tokenizer>);

impl fmt::Debug for Fallback {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Fallback")
    }
}

impl Fallback {
    /// Read a `tokenizer.json`; `None` where the crate cannot read it either.
    #[must_use]
    pub fn parse(json: &[u8]) -> Option<Self> {
        // The crate panics on some files that are broken.
        let mut tokenizer = catch_unwind(|| tokenizers::Tokenizer::from_bytes(json)).ok()?.ok()?;
        tokenizer.with_truncation(None).ok()?;
        tokenizer.with_padding(None);
        Some(Self(Box::new(tokenizer)))
    }

    /// Give `sink` the tokens of `text`; false where it has none, such as an unknown one without a token.
    #[must_use]
    pub fn run(&self, text: &str, sink: &mut impl Sink) -> bool {
        match catch_unwind(AssertUnwindSafe(|| self.0.encode_fast(text, false))) {
            Ok(Ok(encoding)) => {
                sink.push(encoding.get_ids().iter().copied());
                true
            }
            _ => false,
        }
    }
}
