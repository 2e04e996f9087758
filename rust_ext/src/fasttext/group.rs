//! The group of signals of one model: the most probable label of each document, and its probability.
//!
//! Models are loaded once per process and shared by threads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::{Float32Builder, StringBuilder};

use super::{Model, Scorer, Scores};
use crate::error::{Error, Result};
use crate::measure::Signals;
use crate::text::Views;

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
pub struct Classifier {
    name: String,
    scorer: Arc<Scorer>,
}

impl Classifier {
    /// Load the model of `settings`, an object of [`Settings`].
    ///
    /// # Errors
    /// `Error::Config` for wrong settings, `Error::Data` for a wrong model file.
    pub fn new(settings: &serde_json::Value) -> Result<Self> {
        let settings: Settings = serde::Deserialize::deserialize(settings)
            .map_err(|error| Error::Config(format!("model spec: {error}")))?;
        Ok(Self { scorer: load(&settings)?, name: settings.name })
    }

    /// A group with no rows yet.
    #[must_use]
    pub fn group(&self) -> Labels {
        Labels {
            classifier: self.clone(),
            scores: Scores::default(),
            labels: StringBuilder::new(),
            probabilities: Float32Builder::new(),
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
    let new = Arc::new(Scorer::new(Model::open(&settings.model)?));
    if loaded.len() >= MAX_LOADED {
        loaded.clear();
    }
    loaded.insert(key, Arc::clone(&new));
    Ok(new)
}

/// `<name>.label` and `<name>.score` of each document; null where a text has no feature that the model knows.
#[derive(Debug)]
pub struct Labels {
    classifier: Classifier,
    scores: Scores,
    labels: StringBuilder,
    probabilities: Float32Builder,
}

impl Signals for Labels {
    fn push(&mut self, doc: &Views<'_>) {
        let scorer = &self.classifier.scorer;
        scorer.score(doc.text, &mut self.scores);
        let Some(top) = self.scores.best() else { return self.push_null() };
        self.labels.append_option(scorer.labels().get(top));
        self.probabilities.append_option(self.scores.probabilities().get(top).copied());
    }

    fn push_null(&mut self) {
        self.labels.append_null();
        self.probabilities.append_null();
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let name = &self.classifier.name;
        vec![
            (format!("{name}.label"), Arc::new(self.labels.finish()) as ArrayRef),
            (format!("{name}.score"), Arc::new(self.probabilities.finish())),
        ]
    }
}
