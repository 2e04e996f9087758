//! Parts of the fuzzers in this folder.

pub mod allocations;
pub mod damage;
pub mod models;
pub mod random;
