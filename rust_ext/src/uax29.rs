//! Word boundaries of Unicode UAX #29, white space dropped, punctuation kept.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;

use crate::text::Span;

/// Append the words of `text`: the UAX #29 segments that are not all white space.
///
/// Chinese, Japanese, Thai, Khmer, Lao and Burmese are split by dictionary.
pub fn split(text: &str, words: &mut Vec<Span>) {
    split_slow(text, 0, words);
}

fn split_slow(text: &str, base: usize, words: &mut Vec<Span>) {
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    let mut start = 0;
    for end in segmenter.segment_str(text) {
        if text.get(start..end).is_some_and(|word| !word.chars().all(char::is_whitespace)) {
            words.push(Span::new(base + start, base + end));
        }
        start = end;
    }
}
