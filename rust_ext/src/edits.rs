//! Edits of texts as columns: per document the byte spans to remove, by position.

use std::sync::Arc;

use arrow_array::builder::{LargeBinaryBuilder, ListBuilder, StructBuilder, UInt32Builder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt32Type;
use arrow_array::{Array as _, LargeBinaryArray, ListArray};
use arrow_schema::{DataType, Field, Fields};

use crate::error::{Error, Result};
use crate::text::{MAX_TEXT_BYTES, Span};

/// The spans that `edit` removes from each text; null where the text is null, not UTF-8, or 4 GiB and more.
#[must_use]
pub fn column(texts: &LargeBinaryArray, edit: fn(&str) -> Vec<Span>) -> ListArray {
    let mut lists = builder();
    for bytes in texts {
        let text = bytes.filter(|bytes| bytes.len() < MAX_TEXT_BYTES).map(simdutf8::basic::from_utf8);
        match text {
            Some(Ok(text)) => append(&mut lists, &edit(text)),
            _ => lists.append_null(),
        }
    }
    lists.finish()
}

/// Makes a column of edits.
#[must_use]
pub fn builder() -> ListBuilder<StructBuilder> {
    let fields =
        Fields::from(["start", "end"].map(|name| Field::new(name, DataType::UInt32, false)).to_vec());
    let item = Field::new("item", DataType::Struct(fields.clone()), false);
    let columns = vec![
        Box::new(UInt32Builder::new()) as Box<dyn arrow_array::builder::ArrayBuilder>,
        Box::new(UInt32Builder::new()),
    ];
    ListBuilder::new(StructBuilder::new(fields, columns)).with_field(Arc::new(item))
}

/// Append the edits of one text.
pub fn append(lists: &mut ListBuilder<StructBuilder>, spans: &[Span]) {
    for span in spans {
        for (at, value) in [span.start, span.end].into_iter().enumerate() {
            if let Some(column) = lists.values().field_builder::<UInt32Builder>(at) {
                column.append_value(value);
            }
        }
        lists.values().append(true);
    }
    lists.append(true);
}

/// The spans of a column of edits, all rows one after another.
///
/// # Errors
/// `Error::Data` where they are not lists of start and end.
pub fn spans(edits: &ListArray) -> Result<Vec<Span>> {
    let values = edits.values().as_struct_opt();
    let field = |name| values?.column_by_name(name)?.as_primitive_opt::<UInt32Type>();
    let (Some(starts), Some(ends)) = (field("start"), field("end")) else {
        let found = edits.value_type();
        return Err(Error::Data(format!("edits must be lists of start and end, both uint32, not: {found}")));
    };
    let pairs = starts.values().iter().zip(ends.values());
    Ok(pairs.map(|(&start, &end)| Span { start, end }).collect())
}

/// Those of one row.
#[must_use]
pub fn spans_of<'a>(edits: &ListArray, spans: &'a [Span], row: usize) -> &'a [Span] {
    let at = |row: usize| edits.value_offsets().get(row).map_or(0, |&offset| offset as usize);
    spans.get(at(row)..at(row + 1)).unwrap_or(&[])
}

/// The texts without the spans of `edits`; null where either is null.
///
/// # Errors
/// `Error::Data` when lengths or types differ, or spans are out of order or beyond their text.
pub fn apply(texts: &LargeBinaryArray, edits: &ListArray) -> Result<LargeBinaryArray> {
    if texts.len() != edits.len() {
        return Err(Error::Data(format!("{} texts but {} lists of edits", texts.len(), edits.len())));
    }
    let all = spans(edits)?;
    let mut out = LargeBinaryBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut edited = Vec::new();
    for (row, bytes) in texts.iter().enumerate() {
        let (Some(bytes), true) = (bytes, edits.is_valid(row)) else {
            out.append_null();
            continue;
        };
        edited.clear();
        let mut kept_from = 0;
        for span in spans_of(edits, &all, row) {
            let (start, end) = (span.start as usize, span.end as usize);
            if start < kept_from || end < start || bytes.len() < end {
                let length = bytes.len();
                return Err(Error::Data(format!(
                    "row {row}: edit {start}..{end} of {length} bytes is out of place"
                )));
            }
            edited.extend_from_slice(&bytes[kept_from..start]);
            kept_from = end;
        }
        edited.extend_from_slice(&bytes[kept_from..]);
        out.append_value(&edited);
    }
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::c4;

    fn edited(text: &str) -> String {
        let texts = LargeBinaryArray::from(vec![text.as_bytes()]);
        let texts = apply(&texts, &column(&texts, c4::edits)).unwrap();
        String::from_utf8(texts.value(0).to_vec()).unwrap()
    }

    #[test]
    fn c4_edits_leave_the_kept_lines_with_one_newline_between_them() {
        let cases = [
            ("", ""),
            ("nothing is kept here", ""),
            ("  One two three. \r\n\r\nno end\n\t Four five six!  \n", "One two three.\nFour five six!"),
            (
                "[1] [edit] One[2] two three.[citation needed]\n[3] Four five six.",
                "One two three.\n Four five six.",
            ),
            ("Java[1]script is on today.\nThis page uses cookies. Ok.\nOne two {three}.", "One two {three}."),
            ("One two three.\u{2028}Four five six.", "One two three.\u{2028}Four five six."),
            ("One two three.\r\rx\u{85}Four five six.", "One two three.\rFour five six."),
            ("One two three...\nOne \u{130}.\nOne two \"three\"", "One two \"three\""),
        ];
        for (text, expected) in cases {
            assert_eq!(edited(text), expected, "{text:?}");
        }
    }

    #[test]
    fn nulls_and_invalid_text_have_no_edits() {
        let texts = LargeBinaryArray::from(vec![Some("a b c.".as_bytes()), None, Some(b"\xff")]);
        let edits = column(&texts, c4::edits);
        assert_eq!((edits.null_count(), edits.value(0).len()), (2, 0));
        assert_eq!(
            apply(&texts, &edits).unwrap(),
            LargeBinaryArray::from(vec![Some("a b c.".as_bytes()), None, None])
        );
    }

    #[test]
    fn edits_of_another_text_are_refused_by_row() {
        let long = LargeBinaryArray::from(vec!["no end, all of it is removed".as_bytes()]);
        let short = LargeBinaryArray::from(vec!["short".as_bytes()]);
        let error = apply(&short, &column(&long, c4::edits)).unwrap_err();
        assert_eq!(error.to_string(), "row 0: edit 0..28 of 5 bytes is out of place");
    }
}
