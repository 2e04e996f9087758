//! Byte spans that take parts out of texts, and edits of edited texts as edits of the raw ones.
//!
//! A removed part goes with what separates it from the next one; where the last ones go, with what separates
//! them from the one before; where all go, the text is empty. So the others keep what was between them.

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use arrow_array::{Array as _, BooleanArray, LargeBinaryArray, ListArray};

use super::{Part, Unit, split, text_at};
use crate::edits;
use crate::error::{Error, Result};
use crate::text::Span;

/// The spans that take parts out of each text, by their numbers, or all of it where `is_whole`; null where
/// the text cannot be read.
///
/// # Errors
/// `Error::Data` where lengths or types differ, or a text has no such part.
pub fn part_edits(
    texts: &LargeBinaryArray,
    parts: &ListArray,
    is_whole: &BooleanArray,
    unit: Unit,
) -> Result<ListArray> {
    let numbers = parts.values().as_primitive_opt::<UInt32Type>().ok_or_else(|| {
        Error::Data(format!("numbers of parts must be lists of uint32, not: {}", parts.value_type()))
    })?;
    if texts.len() != parts.len() || texts.len() != is_whole.len() {
        return Err(Error::Data(format!(
            "{} texts but {} lists of parts and {} flags",
            texts.len(),
            parts.len(),
            is_whole.len()
        )));
    }
    let mut out = edits::builder();
    let (mut all, mut spans) = (Vec::new(), Vec::new());
    for row in 0..texts.len() {
        let Some(text) = text_at(texts, row) else {
            out.append_null();
            continue;
        };
        let (start, end) = (parts.value_offsets()[row] as usize, parts.value_offsets()[row + 1] as usize);
        let removed = numbers.values().get(start..end).unwrap_or(&[]);
        spans.clear();
        if is_whole.is_valid(row) && is_whole.value(row) {
            spans.push(Span::new(0, text.len()));
        } else if !removed.is_empty() {
            split(text, unit, &mut all);
            remove(&all, removed, text.len(), &mut spans)
                .ok_or_else(|| Error::Data(format!("row {row} has no such parts: {removed:?}")))?;
        }
        spans.retain(|span| span.start < span.end);
        edits::append(&mut out, &spans);
    }
    Ok(out.finish())
}

/// Spans of the removed parts; none where a number is out of order or beyond them.
fn remove(parts: &[Part], removed: &[u32], num_bytes: usize, spans: &mut Vec<Span>) -> Option<()> {
    let mut rest = removed.iter().map(|&number| number as usize).peekable();
    let mut next = 0;
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(number) = rest.next_if_eq(&(last + 1)) {
            last = number;
        }
        if first < next || last >= parts.len() {
            return None;
        }
        next = last + 1;
        let before = first.checked_sub(1).and_then(|before| parts.get(before));
        spans.push(match (before, parts.get(next)) {
            (_, Some(after)) => Span::new(parts.get(first)?.start, after.start),
            (Some(before), None) => Span::new(before.end, parts.get(last)?.end),
            (None, None) => Span::new(0, num_bytes),
        });
    }
    Some(())
}

/// Edits that do at once what `first`, and `second` on what is left, do one after the other; null where
/// either is null.
///
/// # Errors
/// `Error::Data` where lengths or types differ.
pub fn compose_edits(first: &ListArray, second: &ListArray) -> Result<ListArray> {
    if first.len() != second.len() {
        return Err(Error::Data(format!("{} and {} lists of edits", first.len(), second.len())));
    }
    let (first_spans, second_spans) = (edits::spans(first)?, edits::spans(second)?);
    let mut out = edits::builder();
    let mut spans = Vec::new();
    for row in 0..first.len() {
        if first.is_null(row) || second.is_null(row) {
            out.append_null();
            continue;
        }
        spans.clear();
        compose(
            edits::spans_of(first, &first_spans, row),
            edits::spans_of(second, &second_spans, row),
            &mut spans,
        );
        edits::append(&mut out, &spans);
    }
    Ok(out.finish())
}

fn compose(first: &[Span], second: &[Span], out: &mut Vec<Span>) {
    let mut waiting = first.iter().copied().peekable();
    // Bytes that `first` removes before the place at hand.
    let mut gone = 0;
    for span in second {
        let mut at = span.start;
        while at < span.end {
            while let Some(before) = waiting.next_if(|span| span.start.saturating_sub(gone) <= at) {
                gone += before.end.saturating_sub(before.start);
                push(out, before);
            }
            let next = waiting.peek().map_or(u32::MAX, |span| span.start.saturating_sub(gone));
            let stop = span.end.min(next);
            push(out, Span { start: at.saturating_add(gone), end: stop.saturating_add(gone) });
            at = stop;
        }
    }
    waiting.for_each(|span| push(out, span));
}

/// Append a span, joined to the last one where they touch.
fn push(out: &mut Vec<Span>, span: Span) {
    match out.last_mut() {
        Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
        _ => out.push(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_reads_as_before() {
        let text = "\n a b\n\nc\n d \n\n\ne\n";
        let cases: [(Unit, &[u32], &str); 7] = [
            (Unit::Line, &[], text),
            (Unit::Line, &[0], "\nc\n d \n\n\ne\n"),
            (Unit::Line, &[1], "\n a b\n\n d \n\n\ne\n"),
            (Unit::Line, &[1, 3], "\n a b\n\n d\n"),
            (Unit::Line, &[0, 1, 2, 3], ""),
            (Unit::Paragraph, &[1, 2], "\n a b\n"),
            (Unit::Paragraph, &[1], "\n a b\n\ne\n"),
        ];
        for (unit, removed, expected) in cases {
            let texts = LargeBinaryArray::from(vec![text.as_bytes()]);
            let removed = removed.iter().map(|&number| Some(number));
            let parts = ListArray::from_iter_primitive::<UInt32Type, _, _>([Some(removed)]);
            let edits = part_edits(&texts, &parts, &vec![false].into(), unit).unwrap();
            let left = crate::edits::apply(&texts, &edits).unwrap();
            assert_eq!(std::str::from_utf8(left.value(0)).unwrap(), expected);
        }
    }

    #[test]
    fn parts_of_another_text_are_refused_by_row() {
        let texts = LargeBinaryArray::from(vec!["a\nb".as_bytes()]);
        for numbers in [vec![2], vec![1, 0], vec![1, 1]] {
            let list = numbers.into_iter().map(Some);
            let parts = ListArray::from_iter_primitive::<UInt32Type, _, _>([Some(list)]);
            let error = part_edits(&texts, &parts, &vec![false].into(), Unit::Line).unwrap_err();
            assert!(error.to_string().starts_with("row 0 has no such parts"), "{error}");
        }
    }
}
