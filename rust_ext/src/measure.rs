//! The fused pass: every enabled group of signals over each document, in one scan.
//!
//! A group sees one document at a time through [`Views`] and keeps its own output columns, so a pass
//! of many groups gives the same bytes as many passes of one group.

use arrow_array::ArrayRef;

use crate::text::Views;

/// A group of signals: one output row per document, columns named `stage.measure`.
pub trait Signals: Send {
    /// Measure one document and append one row.
    fn push(&mut self, doc: &Views<'_>);
    /// Append a row of nulls, for a document that could not be read.
    fn push_null(&mut self);
    /// The columns, in a fixed order, with as many rows as were pushed.
    fn finish(self: Box<Self>) -> Vec<(String, ArrayRef)>;
}
