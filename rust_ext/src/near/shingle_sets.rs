//! The set of shingles of each text, and how alike two texts are: what explains a decision.
//!
//! Words, hashes and samples are those of signatures (`minhash/`). Lines of boilerplate are dropped before a
//! text is cut into words.

use std::ops::Range;

use arrow_array::builder::{LargeListBuilder, UInt64Builder};
use arrow_array::{Array, Float64Array, LargeBinaryArray, LargeListArray, UInt32Array};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};

use super::boilerplate::Boilerplate;
use super::similarity::{Measure, Set, similarity, stored};
use crate::error::{Error, Result};
use crate::minhash::{Cutter, Settings, Sketch};
use crate::pool;
use crate::text::MAX_TEXT_BYTES;

/// Texts of one thread at least.
const MIN_ROWS: usize = 16;

/// Read the settings of the stage from its JSON.
///
/// # Errors
/// `Error::Config` for anything else.
pub fn parse(settings: &str) -> Result<Settings> {
    let json =
        serde_json::from_str(settings).map_err(|error| Error::Config(format!("minhash spec: {error}")))?;
    Settings::new(&json)
}

/// A text, unless it is null, not UTF-8 or too long.
#[must_use]
pub fn text_at(texts: &LargeBinaryArray, row: usize) -> Option<&str> {
    let bytes = (row < texts.len() && texts.is_valid(row)).then(|| texts.value(row))?;
    simdutf8::basic::from_utf8(bytes).ok().filter(|text| text.len() < MAX_TEXT_BYTES)
}

/// Check that a column has a value for each row of another.
///
/// # Errors
/// `Error::Data` where it has not.
pub fn same_length(name: &str, column: &dyn Array, rows: &dyn Array) -> Result<()> {
    if column.len() != rows.len() || column.null_count() > 0 {
        return Err(Error::Data(format!(
            "{name} has a value for each of {} rows, not: {} with {} nulls",
            rows.len(),
            column.len(),
            column.null_count()
        )));
    }
    Ok(())
}

/// Texts, and the source of each where lines of boilerplate are dropped.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The texts.
    pub texts: &'a LargeBinaryArray,
    /// Their sources.
    pub sources: Option<&'a UInt32Array>,
}

impl<'a> Texts<'a> {
    /// What to drop from the texts, if anything.
    ///
    /// # Errors
    /// `Error::Config` for lines without sources or sources without lines, `Error::Data` for sources that do
    /// not fit the texts.
    pub fn discount(&self, lines: Option<&'a Boilerplate>) -> Result<Option<Discount<'a>>> {
        match (lines, self.sources) {
            (None, None) => Ok(None),
            (Some(lines), Some(sources)) => {
                same_length("sources", sources, self.texts)?;
                Ok(Some(Discount { lines, sources }))
            }
            _ => Err(Error::Config("boilerplate and sources go together, one is missing".into())),
        }
    }
}

/// The lines to drop from texts, which depend on their sources.
#[derive(Debug, Clone, Copy)]
pub struct Discount<'a> {
    lines: &'a Boilerplate,
    sources: &'a UInt32Array,
}

/// A set as it is stored, or slots.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// How often a sample was halved.
    pub level: u32,
    /// See [`Set::values`].
    pub values: Vec<u64>,
}

impl Made {
    /// As what is compared.
    #[must_use]
    pub fn as_set(&self) -> Set<'_> {
        Set { level: self.level, values: &self.values }
    }
}

/// Makes the set of one text after another.
struct Maker {
    cutter: Cutter,
    sketch: Option<Sketch>,
    kept: String,
    slots: Vec<u8>,
}

impl Maker {
    fn new(settings: &Settings, makes_slots: bool) -> Self {
        let sketch = makes_slots.then(|| Sketch::new(settings));
        Self { cutter: Cutter::new(settings), sketch, kept: String::new(), slots: Vec::new() }
    }

    /// Level and hashes of a row, in no order; `None` where there is no text.
    fn cut(
        &mut self,
        texts: &LargeBinaryArray,
        row: usize,
        discount: Option<Discount<'_>>,
    ) -> Option<(u32, &[u64])> {
        let mut text = text_at(texts, row)?;
        if let Some(Discount { lines, sources }) = discount {
            text = lines.drop_lines(sources.values().get(row).copied()?, text, &mut self.kept);
        }
        let shingles = match &mut self.sketch {
            None => self.cutter.cut(text, &mut |_| ()),
            Some(sketch) => {
                sketch.start();
                self.cutter.cut(text, &mut |hashes| sketch.add(hashes))
            }
        };
        Some((shingles.level(), shingles.hashes()))
    }

    /// The set of a row; an empty one where there is no text.
    fn make(&mut self, texts: &LargeBinaryArray, row: usize, discount: Option<Discount<'_>>) -> Made {
        let Some((level, hashes)) = self.cut(texts, row, discount) else { return Made::default() };
        let mut values: Vec<u64> = hashes.iter().copied().map(stored).collect();
        if values.is_empty() {
            return Made::default();
        }
        let Some(sketch) = &mut self.sketch else {
            values.sort_unstable();
            return Made { level, values };
        };
        let hashes: Vec<u64> = values.into_iter().map(stored).collect();
        self.slots.clear();
        sketch.end(&hashes, &mut self.slots);
        Made { level: 0, values: pack(&self.slots) }
    }
}

/// Slots, two in a number, the last filled up with zeros.
#[must_use]
pub fn pack(slots: &[u8]) -> Vec<u64> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    slots.chunks(8).map(number).collect()
}

/// The sets of a range of texts; empty ones where there is no text.
///
/// # Errors
/// `Error::Config` when threads cannot be started.
pub fn make(
    texts: &LargeBinaryArray,
    rows: Range<usize>,
    discount: Option<Discount<'_>>,
    settings: &Settings,
    num_threads: usize,
) -> Result<Vec<Made>> {
    let new = || Maker::new(settings, false);
    pool::run(num_threads, || {
        let rows = rows.into_par_iter().with_min_len(MIN_ROWS);
        rows.map_init(new, |maker, row| maker.make(texts, row, discount)).collect()
    })
}

/// The kept hashes of each text, ascending; null where there is no text.
///
/// # Errors
/// `Error::Config` for settings that are none.
pub fn shingle_sets(texts: &LargeBinaryArray, settings: &str) -> Result<LargeListArray> {
    let mut maker = Maker::new(&parse(settings)?, false);
    let mut out = LargeListBuilder::new(UInt64Builder::new());
    for row in 0..texts.len() {
        let hashes = maker.cut(texts, row, None).map(|(_, hashes)| hashes);
        let mut sorted = hashes.unwrap_or(&[]).to_vec();
        sorted.sort_unstable();
        out.values().append_slice(&sorted);
        out.append(hashes.is_some());
    }
    Ok(out.finish())
}

/// The similarity of texts, row by row; null where either text is null or has no shingle.
///
/// # Errors
/// `Error::Config` for settings or a mode that are none, `Error::Data` for arrays of different lengths.
pub fn set_similarity(
    a: Texts<'_>,
    b: Texts<'_>,
    lines: Option<&Boilerplate>,
    settings: &str,
    mode: &str,
) -> Result<Float64Array> {
    let settings = parse(settings)?;
    let measure = Measure::parse(mode, settings.num_hashes)?;
    if a.texts.len() != b.texts.len() {
        return Err(Error::Data(format!(
            "texts are compared row by row, they have: {} and {} rows",
            a.texts.len(),
            b.texts.len()
        )));
    }
    let mut maker = Maker::new(&settings, matches!(measure, Measure::Signature(_)));
    let (discount_a, discount_b) = (a.discount(lines)?, b.discount(lines)?);
    let similarities = (0..a.texts.len()).map(|row| {
        let a = maker.make(a.texts, row, discount_a);
        let b = maker.make(b.texts, row, discount_b);
        let is_compared = !a.values.is_empty() && !b.values.is_empty();
        is_compared.then(|| similarity(measure, a.as_set(), b.as_set()).value())
    });
    Ok(similarities.collect())
}
