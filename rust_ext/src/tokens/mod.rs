//! Tokens of text: tokenizer files in, the number of tokens of a text or their ids out.
//!
//! Both equal those of `encode(text, add_special_tokens=False)` of `tokenizers`, without truncation. A text
//! is cut at added tokens, normalized, split by a hand-written scanner, and each piece is looked up in a
//! cache; only what misses is merged. Not here: decoding, training.

mod added;
mod bpe;
mod cache;
mod charsmap;
mod classes;
mod counts;
mod encode;
#[cfg(feature = "tokenizers")]
mod fallback;
mod files;
mod hugging_face;
mod names;
mod native;
mod normalize;
pub mod scripts;
mod sink;
mod split;
mod unigram;

pub use counts::{Counter, Settings, TokenCounts};
pub use encode::{Encoder, Ends};
pub use names::Names;
pub use native::{Native, Scratch};
pub use sink::{Count, Few, Ids, Sink};

use std::path::Path;

use crate::error::Result;

/// A tokenizer; threads share it, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub enum Tokenizer {
    /// Every part is known here.
    Native(Box<Native>),
    /// Some part is not.
    #[cfg(feature = "tokenizers")]
    Fallback(fallback::Fallback),
}

impl Tokenizer {
    /// Read a `tokenizer.json`, a GPT-2 vocabulary with its merges, a tiktoken file, or a folder that has
    /// one of the first two. `pattern` splits the text for a tiktoken file: a name or a known pattern.
    ///
    /// # Errors
    /// `Error::Data` for what cannot be read or is not supported, `Error::Config` for a wrong pattern.
    pub fn from_files(path: &Path, pattern: Option<&str>) -> Result<Self> {
        files::read(path, pattern)
    }

    /// Give `sink` the tokens of `text`, no special tokens added; false, and nothing given, where the text
    /// cannot be encoded.
    #[must_use]
    pub fn run<S: Sink>(&self, text: &str, scratch: &mut Scratch<S::Few>, sink: &mut S) -> bool {
        match self {
            Self::Native(native) => native.run(text, scratch, sink),
            #[cfg(feature = "tokenizers")]
            Self::Fallback(fallback) => return fallback.run(text, sink),
        }
        true
    }

    /// Number of tokens of `text`, no special tokens added; `None` where the text cannot be encoded.
    #[must_use]
    pub fn count(&self, text: &str, scratch: &mut Scratch<<Count as Sink>::Few>) -> Option<u64> {
        let mut count = Count::default();
        self.run(text, scratch, &mut count).then_some(count.0)
    }

    /// Whether the native path runs; otherwise it is the `tokenizers` crate, which is much slower.
    #[must_use]
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }
}
