//! Training of classifiers (Joulin et al. 2016, arXiv:1607.01759): softmax over labels, words and n-grams of words.
//!
//! The same numbers as the reference implementation with one thread, to the last bit, but that all ten blocks of the
//! input matrix start random, as they do there with ten threads or more; `init_blocks` = 1 is its one thread. Equally
//! frequent words are in the order of first occurrence, which the reference leaves open. The file is streamed once to
//! count and once an epoch; memory is the vocabulary and the matrices, 4 x dim bytes a word and bucket.
//!
//! Work is done in steps, so that whoever asks for them can stop between two. Not here: other losses, word vectors,
//! several threads (steps depend on the ones before), quantisation.

mod counts;
mod file;
mod lines;
mod random;
mod weights;

use std::collections::HashMap;
use std::path::Path;

use counts::Counts;
use lines::Lines;
use random::Minstd;
use weights::{NUM_BLOCKS, Weights};

use super::dictionary::{Dictionary, END, Features, LABEL_PREFIX, Parts};
use super::tokens::Token;
use crate::error::{Error, Result};
use crate::text::Span;

/// Tokens between two updates of the learning rate.
const UPDATE_RATE: i64 = 100;
const MAX_DIM: usize = super::MAX_DIM;
const MAX_NGRAMS: usize = 1 << 10;

/// Settings of a training, under the names that the reference implementation has for them where it has one.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Columns of the matrices.
    pub dim: usize,
    /// Passes over the file.
    pub epoch: u32,
    /// Learning rate at the start; it falls to 0.
    pub lr: f64,
    /// Words in the longest n-gram.
    pub word_ngrams: usize,
    /// Occurrences that a word needs to have a row.
    pub min_count: u32,
    /// Rows of n-grams and subwords.
    pub bucket: u32,
    /// Characters in the shortest subword.
    pub minn: usize,
    /// Characters in the longest subword; 0 for none.
    pub maxn: usize,
    /// Seed of the initial weights.
    pub seed: u32,
    /// Tenths of the input matrix that start random.
    pub init_blocks: usize,
    /// Whether the row of `</s>` becomes zero at the end.
    pub zero_eos: bool,
    /// Bytes that the matrices may take.
    pub max_bytes: u64,
}

impl Settings {
    /// Read settings from JSON.
    ///
    /// # Errors
    /// `Error::Config` that names the setting, its bounds and its value.
    pub fn parse(json: &str) -> Result<Self> {
        let settings: Self =
            serde_json::from_str(json).map_err(|error| Error::Config(format!("training: {error}")))?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        let max = i32::MAX as usize;
        let bounded = [
            ("dim", self.dim, 1, MAX_DIM),
            ("epoch", self.epoch as usize, 1, max),
            ("word_ngrams", self.word_ngrams, 1, MAX_NGRAMS),
            ("min_count", self.min_count as usize, 1, max),
            ("bucket", self.bucket as usize, usize::from(self.uses_buckets()), max),
            ("minn", self.minn, 0, self.maxn),
            ("maxn", self.maxn, 0, MAX_NGRAMS),
            ("init_blocks", self.init_blocks, 1, NUM_BLOCKS),
        ];
        for (name, value, low, high) in bounded {
            if !(low..=high).contains(&value) {
                return Err(Error::Config(format!("{name} is not between {low} and {high}: {value}")));
            }
        }
        if self.lr.is_finite() && self.lr > 0.0 {
            return Ok(());
        }
        Err(Error::Config(format!("lr is not a number above 0: {}", self.lr)))
    }

    fn uses_buckets(&self) -> bool {
        self.word_ngrams > 1 || self.maxn > 0
    }

    /// Rows that hashes are mapped to; none where nothing is hashed.
    fn num_buckets(&self) -> u32 {
        if self.uses_buckets() { self.bucket } else { 0 }
    }
}

/// Words and labels in the order of their rows, with their counts.
#[derive(Debug)]
struct Vocabulary {
    words: Vec<(Vec<u8>, i64)>,
    labels: Vec<(Vec<u8>, i64)>,
    num_tokens: i64,
}

#[derive(Debug)]
enum State {
    Counting { counts: Counts, has_example: bool },
    Training(Box<Training>),
}

/// A training under way.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    lines: Lines,
    state: State,
}

impl Trainer {
    /// Begin; nothing is read yet.
    ///
    /// # Errors
    /// `Error::Config` for wrong settings, `Error::Data` for a file that cannot be opened.
    pub fn new(path: &Path, settings: &str) -> Result<Self> {
        let settings = Settings::parse(settings)?;
        let state = State::Counting { counts: Counts::default(), has_example: false };
        Ok(Self { settings, lines: Lines::open(path)?, state })
    }

    /// Go on for about `num_bytes` of the file; false when the training is over.
    ///
    /// # Errors
    /// `Error::Data` for a file that nothing can be learned from, and where numbers do not stay finite; `Error::Config`
    /// where the matrices are larger than allowed.
    pub fn advance(&mut self, num_bytes: u64) -> Result<bool> {
        match &mut self.state {
            State::Training(training) => training.advance(&mut self.lines, &self.settings, num_bytes),
            State::Counting { counts, has_example } => {
                if !count(&mut self.lines, num_bytes, counts, has_example)? {
                    let training = Training::new(&self.settings, counts, *has_example, &self.lines)?;
                    self.lines.rewind()?;
                    self.state = State::Training(Box::new(training));
                }
                Ok(true)
            }
        }
    }

    /// Share of the work that is done.
    #[must_use]
    pub fn done_frac(&self) -> f64 {
        let num_passes = f64::from(self.settings.epoch) + 1.0;
        let num_done = match &self.state {
            State::Counting { .. } => self.lines.num_read() as f64 / self.lines.num_bytes().max(1) as f64,
            State::Training(training) => {
                1.0 + training.num_seen as f64 / training.vocabulary.num_tokens as f64
            }
        };
        (num_done / num_passes).min(1.0)
    }

    /// Numbers of words, labels and tokens; none before all are counted.
    #[must_use]
    pub fn sizes(&self) -> Option<(usize, usize, i64)> {
        let State::Training(training) = &self.state else { return None };
        let found = &training.vocabulary;
        Some((found.words.len(), found.labels.len(), found.num_tokens))
    }

    /// Write the model into a file, replacing its content.
    ///
    /// # Errors
    /// `Error::Config` before the training is over, `Error::Data` with the file's name where it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let State::Training(training) = &self.state else { return Err(not_over()) };
        if !training.is_over {
            return Err(not_over());
        }
        file::write(path, &self.settings, &training.vocabulary, &training.weights)
            .map_err(|error| Error::Data(format!("{}: {error}", path.display())))
    }
}

fn not_over() -> Error {
    Error::Config("a model is written after its training is over".into())
}

/// Count the tokens of the next `num_bytes`; false at the end of the file.
fn count(lines: &mut Lines, num_bytes: u64, counts: &mut Counts, has_example: &mut bool) -> Result<bool> {
    let stop = lines.num_read().saturating_add(num_bytes);
    while lines.num_read() < stop {
        let (mut has_label, mut has_word) = (false, false);
        let is_there = lines.next_example(|token, hash| {
            counts.add(token, hash);
            let is_label = token.starts_with(LABEL_PREFIX);
            has_label |= is_label;
            has_word |= !is_label && token != END;
        })?;
        if !is_there {
            return Ok(false);
        }
        *has_example |= has_label && has_word;
    }
    Ok(true)
}

/// Gradient descent under way.
#[derive(Debug)]
struct Training {
    vocabulary: Vocabulary,
    dictionary: Dictionary,
    label_ids: HashMap<Vec<u8>, u32>,
    weights: Weights,
    /// Chooses one label of an example that has several.
    random: Minstd,
    /// Tokens that the learning rate knows of, and those after them.
    num_seen: i64,
    num_since: i64,
    /// Whether the pass over the file met a token.
    has_token: bool,
    parts: Parts,
    rows: Vec<u32>,
    hashes: Vec<u32>,
    labels: Vec<u32>,
    is_over: bool,
}

impl Training {
    fn new(settings: &Settings, counts: &Counts, has_example: bool, lines: &Lines) -> Result<Self> {
        let (words, labels) = counts.sorted(i64::from(settings.min_count));
        match (labels.as_slice(), has_example) {
            _ if counts.num_tokens == 0 => return Err(lines.error("the training file is empty")),
            ([], _) => return Err(lines.error("no line has a label, a word that starts with __label__")),
            ([(only, _)], _) => {
                let only = String::from_utf8_lossy(only);
                return Err(lines.error(&format!("two or more labels are needed, there is one: {only}")));
            }
            (_, false) => return Err(lines.error("no line has a label and a word beside it")),
            _ if words.is_empty() => {
                let least = settings.min_count;
                return Err(lines.error(&format!("no word is as frequent as min_count: {least}")));
            }
            _ => {}
        }
        let num_rows = words.len() + settings.num_buckets() as usize;
        check_memory(settings, words.len(), labels.len())?;
        let features = Features {
            word_ngrams: settings.word_ngrams,
            num_buckets: settings.num_buckets(),
            min_chars: settings.minn,
            max_chars: settings.maxn,
        };
        let owned = |entries: &[(&[u8], i64)]| {
            entries.iter().map(|&(name, count)| (name.to_vec(), count)).collect::<Vec<_>>()
        };
        let ids = labels.iter().enumerate().map(|(id, &(name, _))| (name.to_vec(), id as u32));
        Ok(Self {
            dictionary: Dictionary::of_words(words.iter().map(|&(word, _)| word), features)?,
            label_ids: ids.collect(),
            weights: Weights::new(num_rows, labels.len(), settings.dim, settings.init_blocks, settings.seed)?,
            vocabulary: Vocabulary {
                words: owned(&words),
                labels: owned(&labels),
                num_tokens: counts.num_tokens,
            },
            random: Minstd::new(u64::from(settings.seed)),
            num_seen: 0,
            num_since: 0,
            has_token: false,
            parts: Parts::default(),
            rows: Vec::new(),
            hashes: Vec::new(),
            labels: Vec::new(),
            is_over: false,
        })
    }

    fn advance(&mut self, lines: &mut Lines, settings: &Settings, num_bytes: u64) -> Result<bool> {
        let num_tokens = i64::from(settings.epoch).saturating_mul(self.vocabulary.num_tokens);
        let stop = lines.num_read().saturating_add(num_bytes);
        while self.num_seen < num_tokens {
            if lines.num_read() >= stop {
                return Ok(true);
            }
            let progress = self.num_seen as f32 / num_tokens as f32;
            let lr = (settings.lr * (1.0 - f64::from(progress))) as f32;
            let num_read = self.read_example(lines)?;
            if !self.update(lr) {
                return Err(exploded(lines, settings));
            }
            self.num_since += num_read;
            if self.num_since > UPDATE_RATE {
                self.num_seen += self.num_since;
                self.num_since = 0;
            }
        }
        if !self.weights.are_finite() {
            return Err(exploded(lines, settings));
        }
        if settings.zero_eos && !self.is_over {
            let row = self.vocabulary.words.iter().position(|(word, _)| word == END);
            let dim = self.weights.dim;
            let values = row.and_then(|row| self.weights.input.get_mut(row * dim..(row + 1) * dim));
            values.unwrap_or(&mut []).fill(0.0);
        }
        self.is_over = true;
        Ok(false)
    }

    /// Find the rows and labels of the next example, of none at the end of the file; returns its number of tokens.
    fn read_example(&mut self, lines: &mut Lines) -> Result<i64> {
        let Self { dictionary, label_ids, parts, rows, hashes, labels, .. } = self;
        rows.clear();
        hashes.clear();
        labels.clear();
        let mut num_tokens = 0;
        let is_there = lines.next_example(|token, hash| {
            num_tokens += 1;
            let whole = Token { span: Span::new(0, token.len()), hash };
            if dictionary.word_rows(token, &whole, dictionary.first_slot(hash), parts, rows) {
                hashes.push(hash);
            } else {
                labels.extend(label_ids.get(token));
            }
        })?;
        dictionary.ngram_rows(hashes, rows);
        self.has_token |= num_tokens > 0;
        if !is_there {
            // Else a file that lost its text meanwhile would be read for ever.
            if !std::mem::take(&mut self.has_token) {
                return Err(lines.error("the training file changed while it was read"));
            }
            lines.rewind()?;
        }
        Ok(num_tokens)
    }

    fn update(&mut self, lr: f32) -> bool {
        if self.labels.is_empty() || self.rows.is_empty() {
            return true;
        }
        let choice = self.random.below(self.labels.len() as u64) as usize;
        let target = self.labels.get(choice).copied().unwrap_or(0);
        self.weights.update(&self.rows, target as usize, lr)
    }
}

fn exploded(lines: &Lines, settings: &Settings) -> Error {
    lines.error(&format!("numbers do not stay finite, lower lr: {}", settings.lr))
}

fn check_memory(settings: &Settings, num_words: usize, num_labels: usize) -> Result<()> {
    let num_buckets = settings.num_buckets();
    let num_rows = num_words as u64 + num_labels as u64 + u64::from(num_buckets);
    let num_bytes = num_rows.saturating_mul(4 * settings.dim as u64);
    if num_bytes <= settings.max_bytes && i32::try_from(num_words + num_labels).is_ok() {
        return Ok(());
    }
    let (dim, max) = (settings.dim, settings.max_bytes);
    Err(Error::Config(format!(
        "the matrices of {num_words} words, {num_labels} labels and {num_buckets} buckets of dim {dim} have more than the {max} bytes that they may have; lower bucket or dim, raise min_count or the memory limit: {num_bytes}"
    )))
}
