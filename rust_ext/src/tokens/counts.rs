//! The group of signals that counts tokens and the bytes from which they are estimated.
//!
//! Tokenizers are loaded once per process and shared; the caches of the threads are kept from call to
//! call. With a sample, only documents whose hash of (seed, `doc_id`) falls in it are counted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::UInt32Builder;

use super::{Count, Scratch, Sink, Tokenizer, scripts};
use crate::error::{Error, Result};
use crate::hash;
use crate::measure::Signals;
use crate::sample::Source;
use crate::text::Views;

/// Purpose of the hash that draws the sample.
const PURPOSE: &str = "tokens.sample";
/// Tokenizers kept in memory; more than this in one process are loaded again and again.
const MAX_LOADED: usize = 8;

/// What to count.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the stage: the prefix of its columns.
    pub name: String,
    /// The tokenizer; none counts bytes only.
    pub tokenizer: Option<PathBuf>,
    /// Split pattern of a tiktoken file.
    pub pattern: Option<String>,
    /// Fingerprint of the content of the tokenizer files: what makes two loads the same.
    pub fingerprint: Option<String>,
    /// Documents whose number in [0, 1) is below this are counted; 1 counts all of them.
    pub sample_frac: f64,
    /// Seed of the sample.
    pub seed: u64,
}

type Memory = Scratch<<Count as Sink>::Few>;

/// A tokenizer and the memory of the threads that are not using it now.
#[derive(Debug)]
struct Loaded {
    tokenizer: Tokenizer,
    idle: Mutex<Vec<Memory>>,
}

type Key = (Option<PathBuf>, Option<String>, Option<String>);

fn load(settings: &Settings) -> Result<Option<Arc<Loaded>>> {
    static LOADED: OnceLock<Mutex<HashMap<Key, Arc<Loaded>>>> = OnceLock::new();
    let Some(path) = &settings.tokenizer else { return Ok(None) };
    let key = (Some(path.clone()), settings.pattern.clone(), settings.fingerprint.clone());
    let mut loaded = LOADED.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = loaded.get(&key) {
        return Ok(Some(Arc::clone(found)));
    }
    let tokenizer = Tokenizer::from_files(path, settings.pattern.as_deref())?;
    let new = Arc::new(Loaded { tokenizer, idle: Mutex::default() });
    if loaded.len() >= MAX_LOADED {
        loaded.clear();
    }
    loaded.insert(key, Arc::clone(&new));
    Ok(Some(new))
}

/// Makes [`TokenCounts`] without loading anything again.
#[derive(Debug, Clone)]
pub struct Counter {
    name: String,
    draw: Option<Draw>,
    loaded: Option<Arc<Loaded>>,
}

/// The draw of the sample.
#[derive(Debug, Clone)]
struct Draw {
    source: Source,
    sample_frac: f64,
}

impl Draw {
    /// Whether the document of this text is in the sample.
    fn has(&mut self, text: &str) -> bool {
        self.source.uniform(&hash::id(text.as_bytes())) < self.sample_frac
    }
}

impl Counter {
    /// Load the tokenizer of `settings`, an object of [`Settings`].
    ///
    /// # Errors
    /// `Error::Config` for wrong settings, `Error::Data` for a wrong tokenizer file.
    pub fn new(settings: &serde_json::Value) -> Result<Self> {
        let settings: Settings = serde::Deserialize::deserialize(settings)
            .map_err(|error| Error::Config(format!("tokens spec: {error}")))?;
        let loaded = load(&settings)?;
        let draw = match settings.sample_frac {
            sample_frac @ 0.0..1.0 => {
                Some(Draw { source: Source::new(settings.seed, PURPOSE)?, sample_frac })
            }
            _ => None,
        };
        Ok(Self { name: settings.name, draw, loaded })
    }

    /// A group with no rows yet.
    #[must_use]
    pub fn group(&self) -> TokenCounts {
        let idle = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.idle.lock().unwrap_or_else(PoisonError::into_inner).pop());
        TokenCounts {
            counter: self.clone(),
            draw: self.draw.clone(),
            scratch: idle.or_else(|| self.loaded.as_ref().map(|_| Memory::default())),
            counts: UInt32Builder::new(),
            bytes: std::array::from_fn(|_| UInt32Builder::new()),
        }
    }
}

/// `<name>.count` and `<name>.bytes_<class>` of each document.
#[derive(Debug)]
pub struct TokenCounts {
    counter: Counter,
    draw: Option<Draw>,
    scratch: Option<Memory>,
    counts: UInt32Builder,
    bytes: [UInt32Builder; scripts::NUM],
}

impl Drop for TokenCounts {
    fn drop(&mut self) {
        if let (Some(loaded), Some(scratch)) = (&self.counter.loaded, self.scratch.take()) {
            loaded.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        }
    }
}

impl Signals for TokenCounts {
    fn push(&mut self, doc: &Views<'_>) {
        let count = match (&self.counter.loaded, &mut self.scratch) {
            (Some(loaded), Some(scratch)) if self.draw.as_mut().is_none_or(|draw| draw.has(doc.text)) => {
                loaded.tokenizer.count(doc.text, scratch).and_then(|count| u32::try_from(count).ok())
            }
            _ => None,
        };
        self.counts.append_option(count);
        for (column, count) in self.bytes.iter_mut().zip(scripts::count(doc.text)) {
            column.append_value(count);
        }
    }

    fn push_null(&mut self) {
        self.counts.append_null();
        self.bytes.iter_mut().for_each(UInt32Builder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        if let Some(scratch) = &mut self.scratch {
            scratch.trim();
        }
        let name = &self.counter.name;
        let mut out: Vec<(String, ArrayRef)> =
            vec![(format!("{name}.count"), Arc::new(self.counts.finish()))];
        for (class, column) in scripts::NAMES.iter().zip(&mut self.bytes) {
            out.push((format!("{name}.bytes_{class}"), Arc::new(column.finish())));
        }
        out
    }
}
