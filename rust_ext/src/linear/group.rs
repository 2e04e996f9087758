//! The group of signals of one model: a score for each of its outputs.
//!
//! Models are loaded once per process and shared by threads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::Float64Builder;

use super::features::Features;
use super::file::{Aggregate, Model, Tokens};
use crate::error::{Error, Result};
use crate::hash;
use crate::measure::Signals;
use crate::text::{Reads, Views};

/// Models kept in memory; more than this in one process are loaded again and again.
const MAX_LOADED: usize = 8;

/// Which model scores, and what its columns are called.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the stage: the prefix of its columns.
    pub name: String,
    /// The model file.
    pub model: PathBuf,
    /// Fingerprint of its content: what makes two loads the same.
    pub fingerprint: String,
}

/// Makes groups without loading anything again.
#[derive(Debug, Clone)]
pub struct Linear {
    name: String,
    model: Arc<Model>,
    /// Whether the words of the pass are those of UAX #29.
    has_words: bool,
}

impl Linear {
    /// Load the model of `settings`, an object of [`Settings`]; `has_words` says that a pass has words of UAX #29.
    ///
    /// # Errors
    /// `Error::Config` for wrong settings, `Error::Data` for a wrong model file.
    pub fn new(settings: &serde_json::Value, has_words: bool) -> Result<Self> {
        let settings: Settings = serde::Deserialize::deserialize(settings)
            .map_err(|error| Error::Config(format!("linear spec: {error}")))?;
        Ok(Self { model: load(&settings)?, name: settings.name, has_words })
    }

    /// A group with no rows yet.
    #[must_use]
    pub fn group(&self) -> Sums {
        let model = &self.model;
        Sums {
            features: Features::new(model.tokens, model.max_ngram, model.hash, model.num_buckets),
            sums: vec![0.0; model.outputs.len()],
            columns: model.outputs.iter().map(|_| Float64Builder::new()).collect(),
            linear: self.clone(),
        }
    }

    fn reads_words(&self) -> bool {
        self.has_words && self.model.tokens == Tokens::Uax29
    }
}

type Key = (PathBuf, String);

fn load(settings: &Settings) -> Result<Arc<Model>> {
    static LOADED: OnceLock<Mutex<HashMap<Key, Arc<Model>>>> = OnceLock::new();
    let key = (settings.model.clone(), settings.fingerprint.clone());
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = loaded.get(&key) {
        return Ok(Arc::clone(found));
    }
    let new = Arc::new(open(settings)?);
    if loaded.len() >= MAX_LOADED {
        loaded.clear();
    }
    loaded.insert(key, Arc::clone(&new));
    Ok(new)
}

fn open(settings: &Settings) -> Result<Model> {
    let path = &settings.model;
    let named = |error: &dyn std::fmt::Display| Error::Data(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| named(&error))?;
    let (expected, found) = (&settings.fingerprint, hash::hex(hash::id(&bytes)));
    if found != *expected {
        return Err(named(&format!(
            "the model changed meanwhile, run again; its hash was {expected}: {found}"
        )));
    }
    Model::parse(&bytes).map_err(|error| named(&format!("no hashed linear model that can be read: {error}")))
}

/// `<name>.<output>` of each document, for every output; null where a text has no score.
#[derive(Debug)]
pub struct Sums {
    linear: Linear,
    features: Features,
    sums: Vec<f64>,
    columns: Vec<Float64Builder>,
}

impl Sums {
    /// Add up the weights of a document's n-grams and count them.
    fn add(&mut self, doc: &Views<'_>) -> u64 {
        let Self { linear, features, sums, .. } = self;
        let (model, use_words) = (&linear.model, linear.reads_words());
        let mut count = 0;
        sums.fill(0.0);
        features.each_bucket(doc, use_words, |bucket| {
            let row = bucket as usize * sums.len();
            let weights = model.weight.get(row..row + sums.len()).unwrap_or(&[]);
            sums.iter_mut().zip(weights).for_each(|(sum, &weight)| *sum += f64::from(weight));
            count += 1;
        });
        count
    }
}

impl Signals for Sums {
    fn push(&mut self, doc: &Views<'_>) {
        let count = self.add(doc);
        let model = &self.linear.model;
        // As many tokens as a text of this many n-grams has; texts shorter than an n-gram count as published.
        let longest = model.max_ngram as u64;
        if count == 0 || (count + longest * (longest - 1) / 2) / longest < model.min_tokens {
            return self.push_null();
        }
        let divisor = if model.aggregate == Aggregate::Mean { count as f64 } else { 1.0 };
        for ((column, sum), &bias) in self.columns.iter_mut().zip(&self.sums).zip(&model.bias) {
            column.append_value(sum / divisor + f64::from(bias));
        }
    }

    fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Float64Builder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let Linear { name, model, .. } = &self.linear;
        let named = |(output, column): (&String, &mut Float64Builder)| {
            (format!("{name}.{output}"), Arc::new(column.finish()) as ArrayRef)
        };
        model.outputs.iter().zip(&mut self.columns).map(named).collect()
    }

    fn reads(&self) -> Reads {
        let tokens = self.linear.model.tokens == Tokens::Whitespace;
        Reads { words: self.linear.reads_words(), tokens, ..Reads::NOTHING }
    }

    fn has_tables(&self) -> bool {
        // Words are not found twice for that.
        !self.linear.reads_words()
    }
}
