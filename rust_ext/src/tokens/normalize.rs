//! What tokenizers do to a text before they split it.
//!
//! Unicode forms come from the crate that `tokenizers` uses, so that both know the same version of
//! Unicode. ASCII is in every form already: most text is passed on without a copy.

use serde_json::Value;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

/// A chain of normal forms, applied in order.
#[derive(Debug, Default)]
pub struct Normalizer {
    steps: Vec<Form>,
}

/// One normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Nfc,
}

impl Normalizer {
    /// Read the `normalizer` of a `tokenizer.json`; `Err` names what is not known here.
    ///
    /// # Errors
    /// The type of the unknown normalizer.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let mut steps = Vec::new();
        flatten(value, "normalizers", &mut |part, kind| match kind {
            "NFC" => {
                steps.push(Form::Nfc);
                Ok(())
            }
            _ => Err(format!("normalizer {kind}: {part}")),
        })?;
        Ok(Self { steps })
    }

    /// Whether nothing happens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The normalized text: `text` itself, or what is written to `buffer`.
    pub fn apply<'a>(&self, text: &'a str, buffer: &'a mut String) -> &'a str {
        if self.steps.is_empty() || text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
            return text;
        }
        buffer.clear();
        buffer.extend(text.nfc().map(|(char, _)| char));
        buffer
    }
}

/// Call `visit` with every part of a component that may be a `Sequence`, which keeps its parts under `key`.
///
/// # Errors
/// The first error of `visit`, or a part that is no object with a type.
pub fn flatten(
    value: &Value,
    key: &str,
    visit: &mut impl FnMut(&Value, &str) -> Result<(), String>,
) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match value.get("type").and_then(Value::as_str) {
        Some("Sequence") => match value.get(key).and_then(Value::as_array) {
            Some(parts) => parts.iter().try_for_each(|part| flatten(part, key, visit)),
            None => Err(format!("a Sequence without {key}")),
        },
        Some(kind) => visit(value, kind),
        None => Err(format!("a component without a type: {value}")),
    }
}
