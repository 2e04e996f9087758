//! Exact token counts: tokenizer files in, the number of tokens of a text out.
//!
//! Counts equal `encode(text, add_special_tokens=False)` of `tokenizers`, without truncation. A text is
//! cut at added tokens, normalized, split by a hand-written scanner, and each piece is looked up in a
//! cache; only what misses is merged. Not here: token ids, decoding, training.

mod added;
mod bpe;
mod cache;
mod charsmap;
mod classes;
mod counts;
#[cfg(feature = "tokenizers")]
mod fallback;
mod files;
mod hugging_face;
mod native;
mod normalize;
pub mod scripts;
mod split;
mod unigram;

pub use counts::{Counter, Settings, TokenCounts};
pub use native::{Native, Scratch};

use std::path::Path;

use crate::error::Result;

/// A tokenizer that counts; threads share it, each with a [`Scratch`] of its own.
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

    /// Number of tokens of `text`, no special tokens added; `None` where the text cannot be encoded.
    #[must_use]
    pub fn count(&self, text: &str, scratch: &mut Scratch) -> Option<u64> {
        match self {
            Self::Native(native) => Some(native.count(text, scratch)),
            #[cfg(feature = "tokenizers")]
            Self::Fallback(fallback) => fallback.count(text),
        }
    }

    /// Whether the native path counts; otherwise it is the `tokenizers` crate, which is much slower.
    #[must_use]
    pub fn is_native(&self) -> bool {
        matches!(self, Self::Native(_))
    }
}
