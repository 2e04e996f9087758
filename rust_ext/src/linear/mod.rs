//! Linear models over hashed n-grams of tokens: importance weights (Xie et al. 2023, arXiv:2302.03169), distilled
//! heads of raters.
//!
//! The score of an output is the sum, or the mean, of the weights of a text's n-grams, each as often as it occurs,
//! plus a bias. Sums are of 64 bits, in one order: n-grams by their last token, the shortest first; the bias comes
//! last. A text without tokens or with fewer than the model asks for has no score.
//!
//! And counts of the buckets of texts, which importance weights are fitted from. Not here: fitting, which is Python's.

mod count;
mod features;
mod file;
mod grams;
mod group;
mod memo;
mod sha;

pub use count::{Counter, Settings as CountSettings};
pub use file::Model;
pub use group::{Linear, Sums};
