//! Counts of sentences over the words of the English splitting.
//!
//! A sentence ends after a token that is one terminal mark and whatever punctuation follows it; white space
//! other than one space is a token of its own there, so it can start a sentence.

use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed};

use super::chars::is_in;
use crate::text::Span;

/// Characters that end a sentence when they are a token.
const SENTENCE_ENDS: [u32; 136] = [
    0x21, 0x22, 0x2e, 0x2f, 0x3f, 0x40, 0x589, 0x58a, 0x61f, 0x620, 0x6d4, 0x6d5, 0x700, 0x703, 0x7f9, 0x7fa,
    0x964, 0x966, 0x104a, 0x104c, 0x1362, 0x1363, 0x1367, 0x1369, 0x166e, 0x166f, 0x1735, 0x1737, 0x1803,
    0x1804, 0x1809, 0x180a, 0x1944, 0x1946, 0x1aa8, 0x1aac, 0x1b5a, 0x1b5c, 0x1b5e, 0x1b60, 0x1c3b, 0x1c3d,
    0x1c7e, 0x1c80, 0x203c, 0x203e, 0x2047, 0x204a, 0x2e2e, 0x2e2f, 0x2e3c, 0x2e3d, 0x3002, 0x3003, 0xa4ff,
    0xa500, 0xa60e, 0xa610, 0xa6f3, 0xa6f4, 0xa6f7, 0xa6f8, 0xa876, 0xa878, 0xa8ce, 0xa8d0, 0xa92f, 0xa930,
    0xa9c8, 0xa9ca, 0xaa5d, 0xaa60, 0xaaf0, 0xaaf2, 0xabeb, 0xabec, 0xfe52, 0xfe53, 0xfe56, 0xfe58, 0xff01,
    0xff02, 0xff0e, 0xff0f, 0xff1f, 0xff20, 0xff61, 0xff62, 0x10a56, 0x10a58, 0x11047, 0x11049, 0x110be,
    0x110c2, 0x11141, 0x11144, 0x111c5, 0x111c7, 0x111cd, 0x111ce, 0x111de, 0x111e0, 0x11238, 0x1123a,
    0x1123b, 0x1123d, 0x112a9, 0x112aa, 0x1144b, 0x1144d, 0x115c2, 0x115c4, 0x115c9, 0x115d8, 0x11641,
    0x11643, 0x1173c, 0x1173f, 0x11a42, 0x11a44, 0x11a9b, 0x11a9d, 0x11c41, 0x11c43, 0x16a6e, 0x16a70,
    0x16af5, 0x16af6, 0x16b37, 0x16b39, 0x16b44, 0x16b45, 0x1bc9f, 0x1bca0, 0x1da88, 0x1da89,
];

static CATEGORY: CodePointMapDataBorrowed<'static, GeneralCategory> =
    CodePointMapData::<GeneralCategory>::new();

/// Sentences in `text`, whose words are `words`; never less than 1.
#[must_use]
pub fn count(text: &str, words: &[Span]) -> usize {
    let mut num_sentences = 1;
    let mut has_ended = false;
    let mut end = 0;
    for word in words {
        let starts_by_space = has_ended && has_space_token(text, end, word.start as usize);
        let token = word.of(text);
        if starts_by_space {
            num_sentences += 1;
            has_ended = false;
        }
        if is_terminal(token) {
            has_ended = true;
        } else if has_ended && !is_punctuation(token) {
            num_sentences += 1;
            has_ended = false;
        }
        end = word.end as usize;
    }
    num_sentences + usize::from(has_ended && has_space_token(text, end, text.len()))
}

/// Whether the white space between two words is more than one space.
fn has_space_token(text: &str, start: usize, end: usize) -> bool {
    !matches!(text.get(start..end), Some("" | " "))
}

fn is_terminal(token: &str) -> bool {
    let mut chars = token.chars();
    matches!((chars.next(), chars.next()), (Some(char), None) if is_in(char as u32, &SENTENCE_ENDS))
}

fn is_punctuation(token: &str) -> bool {
    token.chars().all(|char| match char {
        '!'..='~' => char.is_ascii_punctuation() && !"$+<=>^`|~".contains(char),
        _ => GeneralCategoryGroup::Punctuation.contains(CATEGORY.get(char)),
    })
}
