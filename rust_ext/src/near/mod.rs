//! Near duplicates: which candidates are alike, and what is not looked at.

pub mod boilerplate;
pub mod edge_files;
pub mod hot;
pub mod overlap;
pub mod records;
pub mod set_files;
pub mod sets;
pub mod shingle_sets;
pub mod similarity;
pub mod verify;
