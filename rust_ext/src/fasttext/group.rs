//! The groups of signals of fastText models: each model is loaded once per process and shared by threads.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;

use super::columns::{Columns, Layout};
use super::head::{Scored, top_of};
use super::units::{Aggregate, Sums, Unit, parts};
use super::{Model, Scorer, Scratch};
use crate::error::{Error, Result};
use crate::measure::Signals;
use crate::text::{Reads, Views};

/// Models kept in memory; more than this in one process are loaded again and again.
const MAX_LOADED: usize = 8;

/// Which model scores, what is scored at a time, and which columns come out.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The prefix of the columns.
    pub name: String,
    /// The model file.
    pub model: PathBuf,
    /// Fingerprint of its content: what makes two loads the same.
    pub fingerprint: String,
    /// Number of labels that are named, the most probable first.
    #[serde(default = "one")]
    pub top: usize,
    /// The label whose probability is the score; none for that of the most probable one.
    #[serde(default)]
    pub score: Option<String>,
    /// Labels that get a column with their probability.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Whether the mean of the labels, which are numbers, gets a column.
    #[serde(default)]
    pub grade: bool,
    /// Whether the language and the script of the most probable label get columns.
    #[serde(default)]
    pub script: bool,
    /// Whether the labels of parts get columns.
    #[serde(default)]
    pub mix: bool,
    /// What is scored at a time.
    #[serde(default)]
    pub unit: Unit,
    /// How parts come together.
    #[serde(default)]
    pub aggregate: Aggregate,
}

fn one() -> usize {
    1
}

/// Makes groups without loading anything again.
#[derive(Debug, Clone)]
pub struct Classifier {
    settings: Arc<Settings>,
    scorer: Arc<Scorer>,
    layout: Arc<Layout>,
}

impl Classifier {
    /// Load the model of `settings`, an object of [`Settings`].
    ///
    /// # Errors
    /// `Error::Config` for wrong settings, `Error::Data` for a wrong model file.
    pub fn new(settings: &serde_json::Value) -> Result<Self> {
        let settings: Settings = serde::Deserialize::deserialize(settings)
            .map_err(|error| Error::Config(format!("model spec: {error}")))?;
        let scorer = load(&settings)?;
        let layout = Arc::new(Layout::new(&settings, scorer.labels())?);
        Ok(Self { scorer, layout, settings: Arc::new(settings) })
    }

    /// A group with no rows yet.
    #[must_use]
    pub fn group(&self) -> Labels {
        Labels {
            columns: Columns::new(&self.settings, Arc::clone(&self.layout)),
            scratch: self.scorer.scratch(),
            scorer: Arc::clone(&self.scorer),
            settings: Arc::clone(&self.settings),
            parts: Vec::new(),
            found: Vec::new(),
            sums: Sums::default(),
            probabilities: Vec::new(),
            shares: Vec::new(),
        }
    }
}

type Key = (PathBuf, String);

fn load(settings: &Settings) -> Result<Arc<Scorer>> {
    static LOADED: OnceLock<Mutex<HashMap<Key, Arc<Scorer>>>> = OnceLock::new();
    let key = (settings.model.clone(), settings.fingerprint.clone());
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = loaded.get(&key) {
        return Ok(Arc::clone(found));
    }
    let new = Arc::new(Scorer::new(Model::open_if(&settings.model, Some(&settings.fingerprint))?));
    if loaded.len() >= MAX_LOADED {
        loaded.clear();
    }
    loaded.insert(key, Arc::clone(&new));
    Ok(new)
}

/// Labels and probabilities of each document; null where a text has no feature that the model knows.
#[derive(Debug)]
pub struct Labels {
    settings: Arc<Settings>,
    scorer: Arc<Scorer>,
    columns: Columns,
    scratch: Scratch,
    parts: Vec<Range<usize>>,
    found: Vec<Scored>,
    sums: Sums,
    probabilities: Vec<f32>,
    /// Bytes of the parts with each label that was met.
    shares: Vec<(usize, usize)>,
}

impl Labels {
    /// Score the document as one line.
    fn read_whole(&mut self, doc: &Views<'_>) {
        if !self.scorer.read_tokens(doc.text, doc.tokens, &mut self.scratch) {
            return;
        }
        if self.settings.needs_all() {
            self.probabilities.extend_from_slice(self.scorer.all(&mut self.scratch));
            top_of(&self.probabilities, self.settings.top, &mut self.found);
        } else {
            self.scorer.top(self.settings.top, &mut self.scratch, &mut self.found);
        }
    }

    /// Score the parts of the document, for its probabilities or only for the labels of its parts.
    fn read_parts(&mut self, doc: &Views<'_>, unit: Unit) {
        let how = self.settings.aggregate;
        parts(doc, unit, &mut self.parts);
        self.sums.clear();
        let mut best = Vec::with_capacity(1);
        for part in &self.parts {
            if !self.scorer.read(doc.text, part.clone(), &mut self.scratch) {
                continue;
            }
            if self.settings.unit == Unit::Document {
                self.scorer.top(1, &mut self.scratch, &mut best);
            } else {
                let probabilities = self.scorer.all(&mut self.scratch);
                self.sums.add(probabilities, part.len(), how);
                top_of(probabilities, 1, &mut best);
            }
            for &(label, _) in &best {
                match self.shares.iter_mut().find(|(other, _)| *other == label) {
                    Some((_, num_bytes)) => *num_bytes += part.len(),
                    None => self.shares.push((label, part.len())),
                }
            }
        }
        if self.settings.unit != Unit::Document {
            self.sums.finish(how, &mut self.probabilities);
            top_of(&self.probabilities, self.settings.top, &mut self.found);
        }
    }
}

impl Signals for Labels {
    fn push(&mut self, doc: &Views<'_>) {
        self.found.clear();
        self.probabilities.clear();
        self.shares.clear();
        let unit = self.settings.unit;
        if unit == Unit::Document {
            self.read_whole(doc);
        }
        if unit != Unit::Document || self.settings.mix {
            self.read_parts(doc, if unit == Unit::Document { Unit::Paragraph } else { unit });
        }
        self.columns.push(doc.text, self.scorer.labels(), &self.found, &self.probabilities, &mut self.shares);
    }

    fn push_null(&mut self) {
        self.columns.push("", self.scorer.labels(), &[], &[], &mut Vec::new());
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        self.columns.finish()
    }

    fn reads(&self) -> Reads {
        let Settings { unit, mix, .. } = *self.settings;
        let lines = matches!(unit, Unit::Line | Unit::Paragraph) || (mix && unit == Unit::Document);
        Reads { tokens: unit == Unit::Document, lines, ..Reads::NOTHING }
    }

    fn has_tables(&self) -> bool {
        true
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        self.scorer.put_back(&mut self.scratch);
    }
}
