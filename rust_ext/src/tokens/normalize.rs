//! What tokenizers do to a text before they split it.
//!
//! Unicode forms come from the crate that `tokenizers` uses, so that both know the same version of
//! Unicode. ASCII is in every form already: most text is passed on without a copy.

use memchr::memmem;
use serde_json::Value;
use unicode_normalization_alignments as unicode;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization as _};

use super::charsmap::Charsmap;
use super::files::decode_base64;
use super::hugging_face::{Parsed, Refusal};

/// A chain of normal forms, applied in order.
#[derive(Debug, Default)]
pub struct Normalizer {
    forms: Vec<Form>,
}

#[derive(Debug)]
enum Form {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    /// White space and control characters as in neural machine translation.
    Nmt,
    Lowercase,
    Strip {
        left: bool,
        right: bool,
    },
    Prepend(String),
    Replace {
        from: String,
        to: String,
    },
    /// Runs of two spaces or more.
    ReplaceSpaces {
        to: String,
    },
    Charsmap(Box<Charsmap>),
}

impl Normalizer {
    /// Read the `normalizer` of a `tokenizer.json`.
    ///
    /// # Errors
    /// What is not known here, or wrong.
    pub fn parse(value: &Value) -> Parsed<Self> {
        let mut forms = Vec::new();
        flatten(value, "normalizers", &mut |part, kind| {
            forms.push(Form::parse(part, kind)?);
            Ok(())
        })?;
        Ok(Self { forms })
    }

    /// Whether the first character of a text may be left out, so that offsets do not start at 0.
    #[must_use]
    pub fn may_drop_start(&self) -> bool {
        self.forms.iter().any(|form| match form {
            Form::Nmt | Form::Strip { .. } | Form::Charsmap(_) => true,
            Form::Replace { to, .. } | Form::ReplaceSpaces { to } => to.is_empty(),
            _ => false,
        })
    }

    /// Whether no space is left in any text.
    #[must_use]
    pub fn replaces_spaces(&self) -> bool {
        let keeps =
            |form: &Form| matches!(form, Form::Replace { from, to } if from == " " && !to.contains(' '));
        self.forms.last().is_some_and(keeps)
    }

    /// The normalized text: `text` itself, or what is written to one of the buffers.
    pub fn apply<'a>(&self, text: &'a str, buffers: &'a mut [String; 2]) -> &'a str {
        let [current, next] = buffers;
        let mut is_copied = false;
        for form in &self.forms {
            if form.apply(if is_copied { current.as_str() } else { text }, next) {
                std::mem::swap(current, next);
                is_copied = true;
            }
        }
        if is_copied { current } else { text }
    }
}

impl Form {
    fn parse(part: &Value, kind: &str) -> Parsed<Self> {
        let text = |key: &str| part[key].as_str().map(str::to_owned);
        let unknown = || Refusal::Unknown(format!("normalizer {kind}: {part}"));
        Ok(match kind {
            "NFC" => Self::Nfc,
            "NFD" => Self::Nfd,
            "NFKC" => Self::Nfkc,
            "NFKD" => Self::Nfkd,
            "Nmt" => Self::Nmt,
            "Lowercase" => Self::Lowercase,
            "Strip" => Self::Strip { left: part["strip_left"] == true, right: part["strip_right"] == true },
            "Prepend" => Self::Prepend(text("prepend").ok_or_else(unknown)?),
            "Replace" => {
                let to = text("content").ok_or_else(unknown)?;
                match (part["pattern"]["String"].as_str(), part["pattern"]["Regex"].as_str()) {
                    (Some(from), None) if !from.is_empty() => Self::Replace { from: from.into(), to },
                    (None, Some(" {2,}")) => Self::ReplaceSpaces { to },
                    _ => return Err(unknown()),
                }
            }
            "Precompiled" => {
                let map = part["precompiled_charsmap"].as_str().and_then(decode_base64);
                let map = map.as_deref().and_then(Charsmap::parse);
                Self::Charsmap(Box::new(map.ok_or("normalizer: precompiled_charsmap is broken")?))
            }
            _ => return Err(unknown()),
        })
    }

    /// Write the form of `text` to `out`; false where it is `text` itself.
    fn apply(&self, text: &str, out: &mut String) -> bool {
        match self {
            Self::Nfc => canonical(text, unicode::is_nfc_quick, |text| text.nfc().map(|(char, _)| char), out),
            Self::Nfd => canonical(text, unicode::is_nfd_quick, |text| text.nfd().map(|(char, _)| char), out),
            Self::Nfkc => {
                canonical(text, unicode::is_nfkc_quick, |text| text.nfkc().map(|(char, _)| char), out)
            }
            Self::Nfkd => {
                canonical(text, unicode::is_nfkd_quick, |text| text.nfkd().map(|(char, _)| char), out)
            }
            Self::Nmt => rewrite(text.chars().filter_map(nmt), out),
            Self::Lowercase => rewrite(text.chars().flat_map(char::to_lowercase), out),
            Self::Strip { left, right } => {
                let kept = if *left { text.trim_start() } else { text };
                let kept = if *right { kept.trim_end() } else { kept };
                kept.len() < text.len() && rewrite(kept.chars(), out)
            }
            Self::Prepend(prefix) => {
                out.clear();
                out.push_str(prefix);
                out.push_str(text);
                !text.is_empty()
            }
            Self::Replace { from, to } => replace(text, from, to, out),
            Self::ReplaceSpaces { to } => replace_spaces(text, to, out),
            Self::Charsmap(map) => map.apply(text, out),
        }
    }
}

fn rewrite(chars: impl Iterator<Item = char>, out: &mut String) -> bool {
    out.clear();
    out.extend(chars);
    true
}

/// A Unicode form: where the quick check says yes, nothing changes.
fn canonical<'a, I: Iterator<Item = char>>(
    text: &'a str,
    check: fn(std::str::Chars<'a>) -> IsNormalized,
    form: fn(&'a str) -> I,
    out: &mut String,
) -> bool {
    !text.is_ascii() && check(text.chars()) != IsNormalized::Yes && rewrite(form(text), out)
}

fn nmt(char: char) -> Option<char> {
    match char {
        '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{8f}' | '\u{9f}' => None,
        '\t' | '\n' | '\u{c}' | '\r' | '\u{1680}' | '\u{200b}'..='\u{200f}' => Some(' '),
        '\u{2028}' | '\u{2029}' | '\u{2581}' | '\u{feff}' | '\u{fffd}' => Some(' '),
        _ => Some(char),
    }
}

/// Replace every `from`; false where there is none.
pub fn replace(text: &str, from: &str, to: &str, out: &mut String) -> bool {
    out.clear();
    let mut done = 0;
    let mut push = |start: usize| {
        out.push_str(&text[done..start]);
        out.push_str(to);
        done = start + from.len();
    };
    match from.as_bytes() {
        [byte] => memchr::memchr_iter(*byte, text.as_bytes()).for_each(&mut push),
        bytes => memmem::find_iter(text.as_bytes(), bytes).for_each(&mut push),
    }
    out.push_str(&text[done..]);
    done > 0
}

fn replace_spaces(text: &str, to: &str, out: &mut String) -> bool {
    out.clear();
    let mut done = 0;
    while let Some(found) = memmem::find(&text.as_bytes()[done..], b"  ") {
        let rest = text[done + found..].trim_start_matches(' ');
        out.push_str(&text[done..done + found]);
        out.push_str(to);
        done = text.len() - rest.len();
    }
    out.push_str(&text[done..]);
    done > 0
}

/// Call `visit` with every part of a component that may be a `Sequence`, which keeps its parts under `key`.
///
/// # Errors
/// The first error of `visit`, or a part that is no object with a type.
pub fn flatten(value: &Value, key: &str, visit: &mut impl FnMut(&Value, &str) -> Parsed<()>) -> Parsed<()> {
    if value.is_null() {
        return Ok(());
    }
    match value.get("type").and_then(Value::as_str) {
        Some("Sequence") => match value.get(key).and_then(Value::as_array) {
            Some(parts) => parts.iter().try_for_each(|part| flatten(part, key, visit)),
            None => Err(format!("a Sequence without {key}").into()),
        },
        Some(kind) => visit(value, kind),
        None => Err(format!("a component without a type: {value}").into()),
    }
}
