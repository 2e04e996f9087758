//! Text to shingles: the one way that signatures and sets of shingles share.

use super::{Settings, Shingles, Words};

/// Cuts one text after another into words and those into shingles.
#[derive(Debug)]
pub struct Cutter {
    words: Words,
    shingles: Shingles,
}

impl Cutter {
    /// No text yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { words: Words::new(settings.normalize), shingles: Shingles::new(settings) }
    }

    /// The shingles of a text; `see` gets all hashes in batches, some of them again, whatever is kept.
    pub fn cut(&mut self, text: &str, see: &mut impl FnMut(&[u64])) -> &Shingles {
        let Self { words, shingles } = self;
        shingles.start();
        words.each(text, |text, start, end| shingles.word(text, start, end, see));
        shingles.end(see);
        shingles
    }
}
