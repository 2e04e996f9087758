//! The group of signals of one model: a score for each of its outputs.
//!
//! Models are loaded once per process and shared by threads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::Float64Builder;

use super::file::{Aggregate, Model, Tokens};
use super::grams::Grams;
use crate::characters::characters;
use crate::error::{Error, Result};
use crate::hash;
use crate::measure::Signals;
use crate::runs::word_punct;
use crate::text::{Reads, Span, Views};
use crate::uax29;

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
            grams: Grams::new(model.hash, model.max_ngram, model.num_buckets),
            text: Text::default(),
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
    grams: Grams,
    text: Text,
    sums: Vec<f64>,
    columns: Vec<Float64Builder>,
}

impl Sums {
    /// Add up the weights of a document's n-grams and count them.
    fn add(&mut self, doc: &Views<'_>) -> u64 {
        let Self { linear, grams, text, sums, .. } = self;
        let (model, use_words) = (&linear.model, linear.reads_words());
        let mut count = 0;
        sums.fill(0.0);
        let mut push = |bucket: u32| {
            let row = bucket as usize * sums.len();
            let weights = model.weight.get(row..row + sums.len()).unwrap_or(&[]);
            sums.iter_mut().zip(weights).for_each(|(sum, &weight)| *sum += f64::from(weight));
            count += 1;
        };
        match grams {
            Grams::Sha(sha) => {
                sha.start();
                text.each_token(doc, model.tokens, use_words, |text, start, end| {
                    sha.token(text, start, end, &mut push);
                });
            }
            Grams::Fnv(fnv) => {
                fnv.start();
                text.each_token(doc, model.tokens, use_words, |text, start, end| {
                    fnv.token(text, start, end, &mut push);
                });
            }
        }
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

/// Buffers of one text after another.
#[derive(Debug, Default)]
struct Text {
    lowered: String,
    words: Vec<Span>,
}

impl Text {
    /// Call `push` with the text that tokens are of, and start and end of each token.
    fn each_token(
        &mut self,
        doc: &Views<'_>,
        tokens: Tokens,
        use_words: bool,
        mut push: impl FnMut(&[u8], usize, usize),
    ) {
        match tokens {
            Tokens::WordPunctLower => {
                characters().lower(doc.text, &mut self.lowered);
                let bytes = self.lowered.as_bytes();
                word_punct(&self.lowered, |start, end| push(bytes, start, end));
            }
            Tokens::Whitespace => {
                let text = doc.text.as_bytes();
                let spans = doc.tokens.iter().map(|token| token.span);
                spans.for_each(|span| push(text, span.start as usize, span.end as usize));
            }
            Tokens::Uax29 => {
                let (text, words) = if use_words {
                    (doc.words_text, doc.words)
                } else {
                    self.words.clear();
                    uax29::split(doc.text, &mut self.words);
                    (doc.text, self.words.as_slice())
                };
                words.iter().for_each(|word| push(text.as_bytes(), word.start as usize, word.end as usize));
            }
        }
    }
}
