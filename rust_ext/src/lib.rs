//! The native core of `curate`: hot loops over text and numbers, Arrow in and Arrow out.
//!
//! Everything but `python.rs` compiles without Python: `cargo test --no-default-features`.

pub mod document;
pub mod error;
pub mod hash;
pub mod measure;
pub mod ngram;
pub mod pool;
pub mod pystr;
#[cfg(feature = "python")]
mod python;
pub mod sample;
pub mod text;
pub mod tokens;
pub mod uax29;
