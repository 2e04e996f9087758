//! The native core of `curate`: hot loops over text and numbers, Arrow in and Arrow out.
//!
//! Everything but `python/` compiles without Python: `cargo test --no-default-features`.

pub mod c4;
pub mod characters;
pub mod document;
pub mod edits;
pub mod error;
pub mod fasttext;
pub mod fineweb;
pub mod gopher;
pub mod hash;
pub mod lanes;
pub mod linear;
pub mod measure;
pub mod minhash;
pub mod near;
pub mod ngram;
pub mod normalize;
pub mod parts;
pub mod phrases;
pub mod pool;
pub mod pystr;
#[cfg(feature = "python")]
mod python;
pub mod redpajama;
pub mod repeats;
pub mod repetition;
pub mod runs;
pub mod sample;
pub mod script;
pub mod seams;
pub mod sentences;
pub mod simd;
pub mod text;
pub mod tokens;
pub mod uax29;
pub mod vocabulary;
pub mod words;
pub mod words_en;
