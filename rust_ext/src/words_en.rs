//! The word mode `datatrove-en`: English words as the published filter thresholds were tuned on them.
//!
//! The text is cut at white space; each chunk is cut further: exceptions by list, marks off both ends, web
//! addresses whole, separators inside; then exceptions that were cut apart are joined again. Chunks of ASCII
//! letters with at most one mark after them, most of English, are decided by one table look-up.
//!
//! Linear in the text; a chunk of n marks costs O(n). The result depends on the text alone.

mod affixes;
mod chars;
mod exceptions;
mod repair;
pub mod sentences;
mod urls;

use std::ops::Range;

use self::chars::{Classes, KINDS, LETTER, SUFFIX, end_len};
use self::exceptions::Exceptions;
use crate::text::Span;

/// Append the words of `text` (shorter than 4 GiB) to `words`: in order, not empty, without white space.
pub fn split(text: &str, words: &mut Vec<Span>) {
    let before = words.len();
    let mut splitter = Splitter::new(text, Exceptions::english());
    splitter.document(words);
    if !splitter.cut_apart.is_empty() {
        let tokens = words.split_off(before);
        let chunks: Vec<_> = splitter.cut_apart.iter().map(|it| it.start - before..it.end - before).collect();
        repair::rejoin(text, &tokens, &chunks, splitter.exceptions, words);
    }
}

/// Sentences in `text`, never less than 1; `scratch` is overwritten with its words.
pub fn count_sentences(text: &str, scratch: &mut Vec<Span>) -> usize {
    scratch.clear();
    split(text, scratch);
    sentences::count(text, scratch)
}

/// One pass over one text.
struct Splitter<'a> {
    text: &'a str,
    exceptions: &'a Exceptions,
    classes: &'static Classes,
    suffixes: Vec<Span>,
    /// Ranges of words: chunks with an exception that was cut apart.
    cut_apart: Vec<Range<usize>>,
}

impl<'a> Splitter<'a> {
    fn new(text: &'a str, exceptions: &'a Exceptions) -> Self {
        Self { text, exceptions, classes: Classes::get(), suffixes: Vec::new(), cut_apart: Vec::new() }
    }

    fn document(&mut self, out: &mut Vec<Span>) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let letters = bytes[at..].iter().take_while(|byte| KINDS[usize::from(**byte)] == LETTER).count();
            let mut end = at + letters;
            let space = end_len(bytes, end);
            if space > 0 {
                if letters > 0 {
                    self.word(at, end, out);
                }
                at = end + space;
                continue;
            }
            let first = out.len();
            if letters > 0 && bytes[end].is_ascii() && end_len(bytes, end + 1) > 0 {
                end += 1;
                self.word_and_mark(at, end, out);
            } else {
                while end_len(bytes, end) == 0 {
                    end += 1;
                }
                self.chunk(at, end, out);
            }
            self.note(first, out);
            at = end;
        }
    }

    /// Remember the chunk whose words start at `first` if an exception in it was cut apart.
    #[inline]
    fn note(&mut self, first: usize, words: &[Span]) {
        if words.len() > first + 1 && repair::is_needed(self.text, &words[first..], self.exceptions) {
            self.cut_apart.push(first..words.len());
        }
    }

    /// A chunk, or rest of one, of ASCII letters alone: no affix, separator or address can be in it.
    #[inline]
    fn word(&self, start: usize, end: usize, out: &mut Vec<Span>) {
        if !self.exception(start, end, out) {
            out.push(Span::new(start, end));
        }
    }

    /// A chunk of ASCII letters and one other ASCII character.
    #[inline]
    fn word_and_mark(&self, start: usize, end: usize, out: &mut Vec<Span>) {
        let mark = self.text.as_bytes()[end - 1];
        if matches!(mark, b'.' | b'\'') && self.exception(start, end, out) {
            return;
        }
        let is_cut = match mark {
            b'.' => affixes::stop_is_cut(self.classes, &self.text[start..end - 1]),
            _ => self.classes.of(char::from(mark)) & SUFFIX != 0,
        };
        if is_cut {
            self.word(start, end - 1, out);
            out.push(Span::new(end - 1, end));
        } else {
            out.push(Span::new(start, end));
        }
    }

    /// If the bytes are an exception, append its tokens.
    #[inline]
    fn exception(&self, start: usize, end: usize, out: &mut Vec<Span>) -> bool {
        match self.exceptions.find(&self.text.as_bytes()[start..end]) {
            Some(rule) => {
                repair::push_tokens(start as u32, rule, out);
                true
            }
            None => false,
        }
    }

    fn is_exception(&self, start: usize, end: usize) -> bool {
        self.exceptions.find(&self.text.as_bytes()[start..end]).is_some()
    }

    /// Any chunk: strip marks from both ends until an exception or nothing more is found, then the middle.
    fn chunk(&mut self, start: usize, end: usize, out: &mut Vec<Span>) {
        let (mut start, mut end) = (start, end);
        self.suffixes.clear();
        while start < end && !self.is_exception(start, end) {
            let prefix = affixes::prefix_len(self.classes, &self.text[start..end]);
            if prefix > 0 && self.is_exception(start + prefix, end) {
                out.push(Span::new(start, start + prefix));
                start += prefix;
                break;
            }
            let suffix = affixes::suffix_len(self.classes, &self.text[start + prefix..end]);
            if suffix > 0 && self.is_exception(start, end - suffix) {
                self.suffixes.push(Span::new(end - suffix, end));
                end -= suffix;
                break;
            }
            if prefix + suffix == 0 {
                break;
            }
            if prefix > 0 {
                out.push(Span::new(start, start + prefix));
            }
            if suffix > 0 {
                self.suffixes.push(Span::new(end - suffix, end));
            }
            start += prefix;
            end -= suffix;
        }
        if start < end && !self.exception(start, end, out) {
            if urls::is_address(self.classes, &self.text[start..end]) {
                out.push(Span::new(start, end));
            } else {
                self.middle(start, end, out);
            }
        }
        out.extend(self.suffixes.iter().rev());
    }

    /// What is left between the affixes: cut at each separator, except at one that it starts with.
    fn middle(&self, start: usize, end: usize, out: &mut Vec<Span>) {
        let mut token = start;
        let mut at = start;
        let mut before = None;
        while at < end {
            let rest = &self.text[at..end];
            let len = affixes::infix_len(self.classes, before, rest);
            if len > 0 && at > start {
                if token < at {
                    out.push(Span::new(token, at));
                }
                out.push(Span::new(at, at + len));
                token = at + len;
            }
            let step = rest.chars().next().map_or(1, char::len_utf8).max(len);
            before = rest[..step].chars().next_back();
            at += step;
        }
        if token < end {
            out.push(Span::new(token, end));
        }
    }
}
