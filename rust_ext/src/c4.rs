//! The line and document rules of C4 (Raffel et al. 2020), as datatrove's `C4QualityFilter` evaluates them.
//!
//! Lines are those of `str.splitlines`, stripped; each is dropped by the first rule it fails, in the order
//! of [`Verdict`]. The document rules are measured with all line rules on and the other document rule off.
//! [`edits`] gives the rewriting of the text as spans to remove; it is no part of measuring.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BooleanBuilder, UInt32Builder};
use memchr::{memchr, memchr_iter};

use crate::measure::Signals;
use crate::phrases::Phrases;
use crate::pystr;
use crate::sentences;
use crate::text::{Span, Views, WordMode};
use crate::words_en;

const COUNTS: [&str; 9] = [
    "c4.num_lines",
    "c4.num_kept_lines",
    "c4.num_lines_too_long_word",
    "c4.num_lines_no_terminal_punct",
    "c4.num_lines_too_few_words",
    "c4.num_lines_javascript",
    "c4.num_lines_policy",
    "c4.num_sentences",
    "c4.num_long_lines",
];
const FLAGS: [&str; 2] = ["c4.has_lorem_ipsum", "c4.has_curly_bracket"];

const MAX_WORD_CHARS: usize = 1000;
const MIN_WORDS: usize = 3;
/// What the last character of a line has to be one of.
const TERMINALS: [u8; 5] = *b".?!\"'";
const LONG_LINE_CHARS: usize = 200;

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    TooLongWord,
    NoTerminalPunct,
    TooFewWords,
    Javascript,
    Policy,
    Kept,
}

/// What the document rules found in a line that reached them.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    lorem_ipsum: bool,
    curly_bracket: bool,
}

/// The `c4.*` columns.
pub struct C4 {
    words: WordMode,
    scratch: Vec<Span>,
    counts: [UInt32Builder; COUNTS.len()],
    flags: [BooleanBuilder; FLAGS.len()],
}

impl C4 {
    /// No rows yet; `words` decides how sentences are counted.
    #[must_use]
    pub fn new(words: WordMode) -> Self {
        Self {
            words,
            scratch: Vec::new(),
            counts: std::array::from_fn(|_| UInt32Builder::new()),
            flags: std::array::from_fn(|_| BooleanBuilder::new()),
        }
    }

    /// Sentences of a kept line, in the words' mode; datatrove finds at least one in any.
    fn count_sentences(&mut self, text: &str, core: Span, line: Cow<'_, str>) -> usize {
        let count = match (self.words, line) {
            (WordMode::Uax29, Cow::Borrowed(_)) => {
                sentences::count_within(text, core.start as usize..core.end as usize)
            }
            (WordMode::Uax29, Cow::Owned(line)) => sentences::count(&line),
            (WordMode::DatatroveEn, line) => words_en::count_sentences(&line, &mut self.scratch),
        };
        count.max(1)
    }
}

impl Signals for C4 {
    fn push(&mut self, doc: &Views<'_>) {
        let mut found = Found::default();
        let mut verdicts = [0usize; Verdict::Kept as usize + 1];
        let mut num_sentences = 0;
        let mut rules = Rules::new(doc.text);
        for (line, core) in doc.iter_python_lines() {
            let (clean, verdict) = rules.judge(line, core, &mut found);
            verdicts[verdict as usize] += 1;
            if verdict == Verdict::Kept {
                num_sentences += self.count_sentences(doc.text, core, clean);
            }
        }
        let dropped = |verdict: Verdict| verdicts[verdict as usize];
        let values = [
            verdicts.iter().sum(),
            dropped(Verdict::Kept),
            dropped(Verdict::TooLongWord),
            dropped(Verdict::NoTerminalPunct),
            dropped(Verdict::TooFewWords),
            dropped(Verdict::Javascript),
            dropped(Verdict::Policy),
            num_sentences,
            doc.lines.iter().filter(|line| is_long(line.of(doc.text))).count(),
        ];
        for (column, value) in self.counts.iter_mut().zip(values) {
            column.append_value(u32::try_from(value).unwrap_or(u32::MAX));
        }
        for (column, value) in self.flags.iter_mut().zip([found.lorem_ipsum, found.curly_bracket]) {
            column.append_value(value);
        }
    }

    fn push_null(&mut self) {
        self.counts.iter_mut().for_each(UInt32Builder::append_null);
        self.flags.iter_mut().for_each(BooleanBuilder::append_null);
    }

    fn finish(&mut self) -> Vec<(String, ArrayRef)> {
        let mut columns: Vec<(String, ArrayRef)> = Vec::with_capacity(COUNTS.len() + FLAGS.len());
        for (name, column) in COUNTS.iter().zip(&mut self.counts) {
            columns.push(((*name).into(), Arc::new(column.finish())));
        }
        for (name, column) in FLAGS.iter().zip(&mut self.flags) {
            columns.push(((*name).into(), Arc::new(column.finish())));
        }
        columns
    }
}

fn is_long(line: &str) -> bool {
    line.len() >= LONG_LINE_CHARS && pystr::len(line) >= LONG_LINE_CHARS
}

/// The line rules over one document.
struct Rules<'a> {
    text: &'a str,
    phrases: Phrases<'a>,
    has_bracket: bool,
    has_brace: bool,
}

impl<'a> Rules<'a> {
    fn new(text: &'a str) -> Self {
        let has = |byte: u8| memchr(byte, text.as_bytes()).is_some();
        Self { text, phrases: Phrases::new(text), has_bracket: has(b'['), has_brace: has(b'{') }
    }

    /// The line as datatrove would keep it, and whether it does.
    fn judge(&mut self, line: Span, core: Span, found: &mut Found) -> (Cow<'a, str>, Verdict) {
        let stripped = core.of(self.text);
        if has_too_long_word(stripped) {
            return (Cow::Borrowed(stripped), Verdict::TooLongWord);
        }
        if stripped.as_bytes().last().is_some_and(|&byte| never_ends_sentence(byte)) {
            return (Cow::Borrowed(stripped), Verdict::NoTerminalPunct);
        }
        let clean = if self.has_bracket { without_citations(stripped) } else { Cow::Borrowed(stripped) };
        let verdict = if !clean.ends_with(TERMINALS.map(char::from)) || clean.ends_with("...") {
            Verdict::NoTerminalPunct
        } else if pystr::split(stripped).nth(MIN_WORDS - 1).is_none() {
            Verdict::TooFewWords
        } else {
            let edited = matches!(clean, Cow::Owned(_)).then_some(clean.as_ref());
            let mentions = self.phrases.within(line, edited);
            found.lorem_ipsum |= mentions.lorem_ipsum;
            found.curly_bracket |= self.has_brace && !mentions.javascript && clean.contains('{');
            match (mentions.javascript, mentions.policy) {
                (true, _) => Verdict::Javascript,
                (false, true) => Verdict::Policy,
                (false, false) => Verdict::Kept,
            }
        };
        (clean, verdict)
    }
}

/// Whether a line that ends in this byte has no end of a sentence there: a bracket may end a citation, which
/// is not looked at.
fn never_ends_sentence(byte: u8) -> bool {
    !TERMINALS.contains(&byte) && byte != b']'
}

fn has_too_long_word(line: &str) -> bool {
    let is_too_long = |word: &str| word.len() > MAX_WORD_CHARS && pystr::len(word) > MAX_WORD_CHARS;
    line.len() > MAX_WORD_CHARS && pystr::split(line).any(is_too_long)
}

/// Wikipedia's marks in brackets: `[12]`, `[]`, `[edit]`, `[citation needed]`, by position.
fn citations(line: &str) -> impl Iterator<Item = (usize, usize)> + '_ {
    memchr_iter(b'[', line.as_bytes()).filter_map(|start| {
        let inside = line.get(start + 1..)?;
        let length = match inside.find(|c| !pystr::is_digit(c)) {
            Some(digits) if inside.as_bytes()[digits] == b']' => digits + 1,
            _ if inside.starts_with("edit]") => "edit]".len(),
            _ if inside.starts_with("citation needed]") => "citation needed]".len(),
            _ => return None,
        };
        Some((start, start + 1 + length))
    })
}

fn without_citations(line: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut from = 0;
    for (start, end) in citations(line) {
        clean.push_str(&line[from..start]);
        from = end;
    }
    if from == 0 {
        return Cow::Borrowed(line);
    }
    clean.push_str(&line[from..]);
    Cow::Owned(clean)
}

/// The byte spans to remove from `text` so that C4's line rules are applied to it: what is left is the kept
/// lines, stripped and without citations, one `\n` between them, stripped as a whole. The document rules play
/// no part. Only where no `\n` lies between two kept lines (`\r` alone, U+2028, ...) is the original separator kept.
#[must_use]
pub fn edits(text: &str) -> Vec<Span> {
    let mut rules = Rules::new(text);
    let mut removed = Removed::default();
    let mut end_of_last = None;
    for span in pystr::split_lines(text) {
        let core = crate::text::core(text, span);
        let (_, verdict) = rules.judge(span, core, &mut Found::default());
        if verdict != Verdict::Kept {
            continue;
        }
        let (start, line) = (core.start as usize, core.of(text));
        if let Some(end) = end_of_last {
            removed.keep(separator(text, end, start));
        }
        let mut from = 0;
        for (cut, after) in citations(line).chain([(line.len(), line.len())]) {
            let piece = &line[from..cut];
            let piece = if removed.is_fresh() { pystr::strip_start(piece) } else { piece };
            removed.keep((start + cut - piece.len(), start + cut));
            from = after;
        }
        end_of_last = Some(start + line.len());
    }
    removed.finish(text.len())
}

/// The separator to keep in the gap between two kept lines: its first `\n`, else the first line break.
fn separator(text: &str, start: usize, end: usize) -> (usize, usize) {
    let gap = &text[start..end];
    match memchr(b'\n', gap.as_bytes()) {
        Some(at) => (start + at, start + at + 1),
        None => gap
            .char_indices()
            .find(|&(_, c)| pystr::is_line_break(c))
            .map_or((start, start), |(at, c)| (start + at, start + at + c.len_utf8())),
    }
}

/// The complement of kept ranges that come by position.
#[derive(Default)]
struct Removed {
    spans: Vec<Span>,
    end: usize,
    kept_any: bool,
}

impl Removed {
    /// Whether nothing is kept so far.
    fn is_fresh(&self) -> bool {
        !self.kept_any
    }

    fn keep(&mut self, (start, end): (usize, usize)) {
        if start == end {
            return;
        }
        self.kept_any = true;
        self.remove_until(start);
        self.end = end;
    }

    fn remove_until(&mut self, start: usize) {
        if start > self.end {
            self.spans.push(Span { start: self.end as u32, end: start as u32 });
        }
    }

    fn finish(mut self, length: usize) -> Vec<Span> {
        self.remove_until(length);
        self.spans
    }
}
