//! Words and sentences of whole columns, for tests, peers and anyone who wants to look at them.
//!
//! The measuring pass does not come through here: it reads spans and makes no strings.

use arrow_array::builder::{LargeListBuilder, LargeStringBuilder, UInt32Builder};
use arrow_array::{Array as _, LargeBinaryArray, LargeListArray, UInt32Array};

use crate::error::{Error, Result};
use crate::text::{MAX_TEXT_BYTES, WordMode, splitter};
use crate::words_en;

/// The word mode of a name.
///
/// # Errors
/// `Error::Config` for a name that is none.
pub fn parse_mode(name: &str) -> Result<WordMode> {
    serde_json::from_value(name.into())
        .map_err(|_| Error::Config(format!("words is uax29 or datatrove-en, not: {name}")))
}

/// Words of every text; null where the text is null, not UTF-8 or 4 GiB and more.
#[must_use]
pub fn split(texts: &LargeBinaryArray, mode: WordMode) -> LargeListArray {
    let split = splitter(mode);
    let mut out = LargeListBuilder::new(LargeStringBuilder::new());
    let mut spans = Vec::new();
    for text in iter_texts(texts) {
        if let Some(text) = text {
            spans.clear();
            split(text, &mut spans);
            spans.iter().for_each(|span| out.values().append_value(span.of(text)));
        }
        out.append(text.is_some());
    }
    out.finish()
}

/// Sentences of every text as the mode `datatrove-en` has them; null as in [`split`].
#[must_use]
pub fn count_sentences(texts: &LargeBinaryArray) -> UInt32Array {
    let mut out = UInt32Builder::with_capacity(texts.len());
    let mut scratch = Vec::new();
    for text in iter_texts(texts) {
        let count = text.map(|text| words_en::count_sentences(text, &mut scratch));
        out.append_option(count.and_then(|count| u32::try_from(count).ok()));
    }
    out.finish()
}

fn iter_texts(texts: &LargeBinaryArray) -> impl Iterator<Item = Option<&str>> {
    texts.iter().map(|bytes| {
        bytes
            .filter(|bytes| bytes.len() < MAX_TEXT_BYTES)
            .and_then(|bytes| simdutf8::basic::from_utf8(bytes).ok())
    })
}
