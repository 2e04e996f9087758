//! Exact token counts: tokenizer files in, the number of tokens of a text out.
//!
//! Counts equal `encode(text, add_special_tokens=False)` of `tokenizers`, without truncation. A text is
//! cut at added tokens, normalized, split by a hand-written scanner, and each piece is looked up in a
//! cache; only what misses is merged. Not here: token ids, decoding, training.

pub mod added;
pub mod bpe;
mod cache;
mod classes;
mod counts;
mod files;
mod native;
pub mod normalize;
pub mod scripts;
pub mod split;

pub use counts::{Counter, Settings, TokenCounts};
pub use native::{Native, Scratch, Step};

use std::path::Path;

use crate::error::Result;

/// A tokenizer that counts; threads share it, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Tokenizer {
    native: Native,
}

impl Tokenizer {
    /// Read a `tokenizer.json`, a GPT-2 vocabulary with its merges, a tiktoken file, or a folder that has
    /// one of the first two. `pattern` splits the text for a tiktoken file: a name or a known pattern.
    ///
    /// # Errors
    /// `Error::Data` for what cannot be read or is not supported, `Error::Config` for a wrong pattern.
    pub fn from_files(path: &Path, pattern: Option<&str>) -> Result<Self> {
        Ok(Self { native: files::read(path, pattern)? })
    }

    /// Number of tokens of `text`, no special tokens added.
    #[must_use]
    pub fn count(&self, text: &str, scratch: &mut Scratch) -> u64 {
        self.native.count(text, scratch)
    }
}
