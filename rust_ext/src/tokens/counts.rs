//! The group of signals that counts tokens and the bytes from which they are estimated.
//!
//! Tokenizers are loaded once per process and shared; the caches of the threads are kept from call to
//! call. With a sample, only documents whose hash of (seed, `doc_id`) falls in it are counted.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_array::ArrayRef;
use arrow_array::builder::UInt32Builder;

use super::{Scratch, Tokenizer, scripts};
use crate::error::{Error, Result};
use crate::hash;
use crate::measure::Signals;
use crate::text::Views;

/// Purpose of the hash that draws the sample.
const PURPOSE: &[u8] = b"tokens.sample";
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
    /// Documents whose 64-bit hash is below this are counted; none counts all of them.
    pub sample_below: Option<u64>,
    /// Seed of the sample.
    pub seed: u64,
}

/// A tokenizer and the memory of the threads that are not using it now.
#[derive(Debug)]
struct Loaded {
    tokenizer: Tokenizer,
    idle: Mutex<Vec<Scratch>>,
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
    settings: Arc<Settings>,
    loaded: Option<Arc<Loaded>>,
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
        Ok(Self { settings: Arc::new(settings), loaded })
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
            scratch: idle.or_else(|| self.loaded.as_ref().map(|_| Scratch::default())),
            counts: UInt32Builder::new(),
            bytes: std::array::from_fn(|_| UInt32Builder::new()),
        }
    }

    fn is_sampled(&self, text: &str) -> bool {
        self.settings
            .sample_below
            .is_none_or(|below| draw(self.settings.seed, hash::id(text.as_bytes())) < below)
    }
}

/// The number that decides whether a document is in the sample of `seed`.
#[must_use]
pub fn draw(seed: u64, doc_id: [u8; hash::ID_BYTES]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(PURPOSE).update(&seed.to_le_bytes()).update(&doc_id);
    let mut out = [0; 8];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(out)
}

/// `<name>.count` and `<name>.bytes_<class>` of each document.
#[derive(Debug)]
pub struct TokenCounts {
    counter: Counter,
    scratch: Option<Scratch>,
    counts: UInt32Builder,
    bytes: [UInt32Builder; scripts::NUM],
}

impl Signals for TokenCounts {
    fn push(&mut self, doc: &Views<'_>) {
        let count = match (&self.counter.loaded, &mut self.scratch) {
            (Some(loaded), Some(scratch)) if self.counter.is_sampled(doc.text) => {
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

    fn finish(mut self: Box<Self>) -> Vec<(String, ArrayRef)> {
        if let (Some(loaded), Some(scratch)) = (&self.counter.loaded, self.scratch.take()) {
            loaded.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        }
        let name = &self.counter.settings.name;
        let mut out: Vec<(String, ArrayRef)> =
            vec![(format!("{name}.count"), Arc::new(self.counts.finish()))];
        for (class, column) in scripts::NAMES.iter().zip(&mut self.bytes) {
            out.push((format!("{name}.bytes_{class}"), Arc::new(column.finish())));
        }
        out
    }

    fn reads_words(&self) -> bool {
        false
    }
}
