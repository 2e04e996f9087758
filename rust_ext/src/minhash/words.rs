//! How text becomes words before it is cut into shingles.
//!
//! Lower case and classes of characters are those of Python 3.11. For ASCII, lowering copies at memory speed and
//! words are found 64 bytes at a time.

use icu_normalizer::{DecomposingNormalizer, DecomposingNormalizerBorrowed};

use crate::characters::{Characters, DIGIT, MARK, SPACE, characters};
use crate::normalize::Normalized;
use crate::runs::{Run, runs};
use crate::text::Span;

static NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizer::new_nfd();

/// How text becomes words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalize {
    /// Lower case; words are runs of `\w`.
    Word,
    /// Lower case; words are what white space separates.
    Space,
    /// As datatrove simplifies text: lower case, without punctuation, control characters and, after NFD, marks; every
    /// run of digits is one 0. Words are what white space separates.
    Datatrove,
    /// RedPajama-V2's normalised content: without ASCII punctuation, lower case, NFD; words are what white space
    /// separates.
    RedPajama,
}

/// The words of one text after another.
#[derive(Debug)]
pub struct Words {
    normalize: Normalize,
    lowered: String,
    simplified: Simplified,
    redpajama: Normalized,
}

impl Words {
    /// No text yet.
    #[must_use]
    pub fn new(normalize: Normalize) -> Self {
        Self {
            normalize,
            lowered: String::new(),
            simplified: Simplified::default(),
            redpajama: Normalized::default(),
        }
    }

    /// Call `push` with the normalised text, start and end of each word, in order.
    pub fn each(&mut self, text: &str, mut push: impl FnMut(&[u8], usize, usize)) {
        let Self { normalize, lowered, simplified, redpajama } = self;
        let run = match normalize {
            Normalize::Word => Run::Words,
            Normalize::Space => Run::Visible,
            Normalize::Datatrove => {
                characters().lower(text, lowered);
                simplified.fill(lowered, characters());
                return each_span(simplified.text.as_bytes(), &simplified.words, push);
            }
            Normalize::RedPajama => {
                redpajama.fill(text);
                return each_span(redpajama.bytes(), redpajama.words(), push);
            }
        };
        characters().lower(text, lowered);
        let bytes = lowered.as_bytes();
        runs(lowered, run, |start, end| push(bytes, start, end));
    }
}

fn each_span(text: &[u8], words: &[Span], mut push: impl FnMut(&[u8], usize, usize)) {
    words.iter().for_each(|word| push(text, word.start as usize, word.end as usize));
}

/// What datatrove makes of a text.
#[derive(Debug, Default)]
struct Simplified {
    text: String,
    words: Vec<Span>,
    kept: String,
}

impl Simplified {
    fn fill(&mut self, lowered: &str, table: &Characters) {
        self.text.clear();
        self.words.clear();
        for word in lowered.split(|c| table.of(c) & SPACE != 0) {
            let start = self.text.len();
            self.kept.clear();
            self.kept.extend(word.chars().filter(|&c| !is_dropped(c)));
            let mut in_number = false;
            let mut add = |c: char| {
                let flags = table.of(c);
                if flags & DIGIT != 0 {
                    if !in_number {
                        self.text.push('0');
                    }
                    in_number = true;
                } else if flags & MARK == 0 {
                    self.text.push(c);
                    in_number = false;
                }
            };
            if self.kept.is_ascii() {
                self.kept.chars().for_each(&mut add);
            } else {
                NFD.normalize_iter(self.kept.chars()).for_each(&mut add);
            }
            if self.text.len() > start {
                self.words.push(Span::new(start, self.text.len()));
            }
        }
    }
}

/// Whether datatrove takes a character for punctuation; control characters are among them.
fn is_dropped(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_punctuation() || c.is_ascii_control();
    }
    matches!(
        c,
        '\u{80}'..='\u{9f}'
            | '\u{ab}'
            | '\u{b4}'
            | '\u{bb}'
            | '\u{2013}'
            | '\u{2014}'
            | '\u{2019}'
            | '\u{201c}'..='\u{201e}'
            | '\u{2026}'
            | '\u{2236}'
            | '\u{2501}'
            | '\u{25ba}'
            | '\u{3001}'
            | '\u{3002}'
            | '\u{3008}'..='\u{300d}'
            | '\u{3010}'
            | '\u{3011}'
            | '\u{ff01}'
            | '\u{ff05}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{ff0c}'
            | '\u{ff0e}'
            | '\u{ff11}'
            | '\u{ff1a}'
            | '\u{ff1b}'
            | '\u{ff1f}'
            | '\u{ff5e}'
    )
}
