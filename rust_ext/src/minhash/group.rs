//! The group of signals: a signature for each document, and how many shingles it is of.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, FixedSizeBinaryBuilder, UInt32Builder};

use super::{Cutter, Settings, Sketch};
use crate::measure::Signals;
use crate::text::{Reads, Views};

/// `minhash.signature`, null without a shingle; `minhash.num_shingles`; whether that is an estimate,
/// `minhash.is_sampled`.
#[derive(Debug)]
pub struct MinHash {
    cutter: Cutter,
    sketch: Sketch,
    slots: Vec<u8>,
    signatures: FixedSizeBinaryBuilder,
    num_shingles: UInt32Builder,
    is_sampled: BooleanBuilder,
}

impl MinHash {
    /// No rows yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        // At most 4 * MAX_HASHES bytes.
        let width = 4 * settings.num_hashes as i32;
        Self {
            cutter: Cutter::new(settings),
            sketch: Sketch::new(settings),
            slots: Vec::new(),
            signatures: FixedSizeBinaryBuilder::new(width),
            num_shingles: UInt32Builder::new(),
            is_sampled: BooleanBuilder::new(),
        }
    }
}

impl Signals for MinHash {
    fn push(&mut self, doc: &Views<'_>) {
        let Self { cutter, sketch, slots, .. } = self;
        sketch.start();
        let shingles = cutter.cut(doc.text, &mut |hashes| sketch.add(hashes));
        let (count, is_sampled) = shingles.count();
        slots.clear();
        if count > 0 {
            sketch.end(shingles.hashes(), slots);
        }
        // The width is the builder's own, so the first cannot fail.
        if count == 0 || self.signatures.append_value(&self.slots).is_err() {
            self.signatures.append_null();
        }
        self.num_shingles.append_value(u32::try_from(count).unwrap_or(u32::MAX));
        self.is_sampled.append_value(is_sampled);
    }

    fn push_null(&mut self) {
        self.signatures.append_null();
        self.num_shingles.append_null();
        self.is_sampled.append_null();
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        vec![
            ("minhash.signature".into(), Arc::new(self.signatures.finish())),
            ("minhash.num_shingles".into(), Arc::new(self.num_shingles.finish())),
            ("minhash.is_sampled".into(), Arc::new(self.is_sampled.finish())),
        ]
    }

    fn reads(&self) -> Reads {
        Reads::NOTHING
    }
}
