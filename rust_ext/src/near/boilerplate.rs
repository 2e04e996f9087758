//! Lines that a large share of a source's documents have: templates, navigation, headers of licences.
//!
//! A line is what line feeds separate, without the white space around it; one without any word character is
//! never counted and never dropped. Lines are known by a hash of 64 bits, so among a million of them another
//! line is taken for one of them once in 10^13.
//!
//! The counts are exact, so memory is 30 to 60 bytes for each different line of a source: count a sample of
//! documents. A dropped line leaves its line feed: it never joins two words, but shingles run over the place
//! where it was, from the words before it to those behind.

use std::collections::HashMap;

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, UInt32Type, UInt64Type};
use arrow_array::{Array as _, LargeBinaryArray, PrimitiveArray, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};

use super::shingle_sets::{same_length, text_at};
use crate::error::{Error, Result};
use crate::ngram::hash;
use crate::pystr;

/// The hash of a line that may be dropped.
fn key(line: &str) -> Option<u64> {
    let line = pystr::strip(line);
    line.chars().any(pystr::is_word).then(|| hash(0, line.as_bytes()))
}

/// In how many documents of each source a line occurs.
#[derive(Debug)]
pub struct LineCounts {
    max_lines: usize,
    counts: HashMap<(u32, u64), u64>,
    num_docs: HashMap<u32, u64>,
    /// Lines of one document.
    lines: Vec<u64>,
}

impl LineCounts {
    /// Nothing counted; `max_lines` different lines of sources fit.
    ///
    /// # Errors
    /// `Error::Config` for no lines at all.
    pub fn new(max_lines: usize) -> Result<Self> {
        if max_lines == 0 {
            return Err(Error::Config("max_lines is at least 1, not: 0".into()));
        }
        let (counts, num_docs, lines) = (HashMap::new(), HashMap::new(), Vec::new());
        Ok(Self { max_lines, counts, num_docs, lines })
    }

    /// Count documents; those that are null or not UTF-8 do not count.
    ///
    /// # Errors
    /// `Error::Data` for arrays that do not fit, `Error::Config` for more lines than fit.
    pub fn add(&mut self, texts: &LargeBinaryArray, sources: &UInt32Array) -> Result<()> {
        same_length("sources", sources, texts)?;
        for (row, &source) in sources.values().iter().enumerate() {
            let Some(text) = text_at(texts, row) else { continue };
            *self.num_docs.entry(source).or_default() += 1;
            self.lines.clear();
            self.lines.extend(text.split('\n').filter_map(key));
            self.lines.sort_unstable();
            self.lines.dedup();
            for &line in &self.lines {
                *self.counts.entry((source, line)).or_default() += 1;
            }
            if self.counts.len() > self.max_lines {
                return Err(Error::Config(format!(
                    "the documents have more different lines than max_lines; count fewer documents, or allow \
                     more than: {}",
                    self.max_lines
                )));
            }
        }
        Ok(())
    }

    /// The lines that `min_share` of the documents of their source have, and `min_docs` at least.
    ///
    /// # Errors
    /// `Error::Config` for a share that is not above 0 and at most 1, or no documents.
    pub fn finish(&self, min_share: f64, min_docs: u64) -> Result<Boilerplate> {
        if !(min_share > 0.0 && min_share <= 1.0) {
            return Err(Error::Config(format!("min_share is above 0 and at most 1, not: {min_share}")));
        }
        if min_docs == 0 {
            return Err(Error::Config("min_docs is at least 1, not: 0".into()));
        }
        let is_frequent = |source: u32, count: u64| {
            let num_docs = self.num_docs.get(&source).copied().unwrap_or(0);
            count >= min_docs && count as f64 / num_docs as f64 >= min_share
        };
        let frequent = self.counts.iter().filter(|&(&(source, _), &count)| is_frequent(source, count));
        Ok(Boilerplate::new(frequent.map(|(&line, _)| line).collect()))
    }
}

/// Lines that are dropped before texts are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boilerplate {
    /// Sources and hashes of lines, ascending.
    lines: Vec<(u32, u64)>,
}

impl Boilerplate {
    fn new(mut lines: Vec<(u32, u64)>) -> Self {
        lines.sort_unstable();
        lines.dedup();
        Self { lines }
    }

    /// Read what `to_arrow` has made.
    ///
    /// # Errors
    /// `Error::Data` for other columns, or nulls in them.
    pub fn from_arrow(batch: &RecordBatch) -> Result<Self> {
        let sources = column::<UInt32Type>(batch, "source")?;
        let lines = column::<UInt64Type>(batch, "line")?;
        Ok(Self::new(sources.values().iter().copied().zip(lines.values().iter().copied()).collect()))
    }

    /// Columns source and line, sorted.
    ///
    /// # Errors
    /// None in practice: the columns are of one length.
    pub fn to_arrow(&self) -> Result<RecordBatch> {
        let schema = Schema::new(vec![
            Field::new("source", DataType::UInt32, false),
            Field::new("line", DataType::UInt64, false),
        ]);
        let sources = UInt32Array::from_iter_values(self.lines.iter().map(|&(source, _)| source));
        let lines = UInt64Array::from_iter_values(self.lines.iter().map(|&(_, line)| line));
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(sources), Arc::new(lines)])
            .map_err(|error| Error::Data(error.to_string()))
    }

    /// A text of a source without these lines, in `kept` where that is not the text itself.
    pub fn drop_lines<'a>(&self, source: u32, text: &'a str, kept: &'a mut String) -> &'a str {
        let start = self.lines.partition_point(|&(other, _)| other < source);
        let own = self.lines.get(start..).unwrap_or(&[]);
        let own = own.split_at(own.partition_point(|&(other, _)| other == source)).0;
        if own.is_empty() {
            return text;
        }
        kept.clear();
        for line in text.split('\n') {
            let is_dropped = key(line).is_some_and(|line| own.binary_search(&(source, line)).is_ok());
            kept.push_str(if is_dropped { "" } else { line });
            kept.push('\n');
        }
        kept
    }
}

fn column<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a PrimitiveArray<T>> {
    let found = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<T>());
    found.filter(|column| column.null_count() == 0).ok_or_else(|| {
        Error::Data(format!(
            "boilerplate has columns source of uint32 and line of uint64 without nulls, not: {:?}",
            batch.schema().fields()
        ))
    })
}
