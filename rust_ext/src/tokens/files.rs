//! Reading tokenizer files; what is wrong with one is said with its path.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Tokenizer;
use super::bpe::{Alphabet, Bpe, Merge, Merges, NONE};
use super::hugging_face::{Parsed, Refusal, Vocabulary, alphabet, bpe, parse};
use super::native::{Model, Native, Step};
use super::normalize::Normalizer;
use super::split::{NAMES, Scanner};
use crate::error::{Error, Result};

const MAX_FILE_BYTES: u64 = 256 << 20;
const VOCABULARIES: [&str; 3] = ["tokenizer.json", "vocab.json", "encoder.json"];
const MERGES: [&str; 2] = ["merges.txt", "vocab.bpe"];

/// What is in the file of a tokenizer.
pub enum Content {
    /// Lines of tokens and ranks.
    Ranks(Vec<u8>),
    /// A vocabulary, whose merges are beside it.
    Vocabulary(Value),
    /// A `tokenizer.json`, and its bytes.
    Whole(Value, Vec<u8>),
}

/// Open the file of the tokenizer at `path`, and tell which it is.
///
/// # Errors
/// `Error::Data` for what cannot be read.
pub fn open(path: &Path) -> Result<(PathBuf, Content)> {
    let path = if path.is_dir() { inside(path)? } else { path.to_owned() };
    let bytes = load(&path)?;
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Ok((path, Content::Ranks(bytes)));
    }
    let json: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Data(format!("{}: not JSON: {error}", path.display())))?;
    let is_whole = json["model"].is_object();
    Ok((path, if is_whole { Content::Whole(json, bytes) } else { Content::Vocabulary(json) }))
}

/// Read the tokenizer at `path`, whatever its format is.
///
/// # Errors
/// As [`super::Tokenizer::from_files`].
pub fn read(path: &Path, pattern: Option<&str>) -> Result<Tokenizer> {
    let (path, content) = open(path)?;
    let wrong = |what: String| Error::Data(format!("{}: {what}", path.display()));
    let native = match &content {
        Content::Ranks(bytes) => return Ok(Tokenizer::Native(Box::new(tiktoken(bytes, &path, pattern)?))),
        Content::Vocabulary(json) => {
            let merges = beside(&path)?;
            let lines = String::from_utf8(load(&merges)?)
                .map_err(|_| Error::Data(format!("{}: not UTF-8", merges.display())))?;
            gpt2(json, &lines)
        }
        Content::Whole(json, _) => {
            let dropout = &json["model"]["dropout"];
            if dropout.as_f64().is_some_and(|dropout| dropout > 0.0) {
                return Err(wrong(format!("model.dropout makes tokens random: {dropout}")));
            }
            parse(json)
        }
    };
    native.map(Box::new).map(Tokenizer::Native).or_else(|refusal| match (refusal, &content) {
        (Refusal::Unknown(what), Content::Whole(_, bytes)) => {
            other(bytes).ok_or_else(|| wrong(format!("not supported: {what}")))
        }
        (Refusal::Broken(what) | Refusal::Unknown(what), _) => Err(wrong(what)),
    })
}

/// The tokenizer run by the `tokenizers` crate.
#[cfg(feature = "tokenizers")]
fn other(bytes: &[u8]) -> Option<Tokenizer> {
    super::fallback::Fallback::parse(bytes).map(Tokenizer::Fallback)
}

#[cfg(not(feature = "tokenizers"))]
fn other(_bytes: &[u8]) -> Option<Tokenizer> {
    None
}

fn inside(folder: &Path) -> Result<PathBuf> {
    let found = VOCABULARIES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Error::Data(format!("{}: has none of {}", folder.display(), VOCABULARIES.join(", "))))
}

fn beside(vocabulary: &Path) -> Result<PathBuf> {
    let found = MERGES.iter().map(|name| vocabulary.with_file_name(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let names = MERGES.join(" or ");
        Error::Data(format!("{}: is a vocabulary, but {names} is not beside it", vocabulary.display()))
    })
}

fn load(path: &Path) -> Result<Vec<u8>> {
    let fail = |error: std::io::Error| Error::Data(format!("{}: {error}", path.display()));
    let size = fs::metadata(path).map_err(fail)?.len();
    if size > MAX_FILE_BYTES {
        return Err(Error::Data(format!("{}: {size} bytes are more than {MAX_FILE_BYTES}", path.display())));
    }
    fs::read(path).map_err(fail)
}

/// A GPT-2 vocabulary: text that spells a special token is text.
fn gpt2(json: &Value, merges: &str) -> Parsed<Native> {
    let lines = merges.lines().filter(|line| !line.starts_with("#version") && !line.is_empty());
    let merges: Vec<Value> = lines.map(Value::from).collect();
    let model = serde_json::json!({"vocab": json, "merges": merges});
    Ok(Native {
        added: None,
        normalizer: Normalizer::default(),
        added_normalized: None,
        steps: vec![Step::Scan(Scanner::Gpt2)],
        model: Model::Bpe(bpe(&model, true)?),
    })
}

/// A tiktoken file: lines of a token in base64 and its rank.
fn tiktoken(bytes: &[u8], path: &Path, pattern: Option<&str>) -> Result<Native> {
    let names = NAMES.join(", ");
    let scanner = match pattern {
        None => {
            return Err(Error::Config(format!(
                "tokens.pattern is needed for a tiktoken file: one of {names}"
            )));
        }
        Some(pattern) => {
            Scanner::of_name(pattern).or_else(|| Scanner::of_pattern(pattern)).ok_or_else(|| {
                Error::Config(format!(
                    "tokens.pattern is none of {names} nor one of their patterns: {pattern}"
                ))
            })?
        }
    };
    let ranks = parse_ranks(bytes, path)?;
    let alphabet = Alphabet::Bytes(alphabet(&ranks));
    let model = Bpe {
        merges: Merges::new(&rank_merges(&ranks), &alphabet),
        alphabet,
        whole: ranks,
        unknown: None,
        fuse_unknown: false,
        fallback: None,
    };
    Ok(Native {
        added: None,
        normalizer: Normalizer::default(),
        added_normalized: None,
        steps: vec![Step::Scan(scanner)],
        model: Model::Bpe(model.pruned()),
    })
}

/// Tokens and ranks of a tiktoken file.
///
/// # Errors
/// `Error::Data` with the line that is wrong, or a byte that has no token.
pub fn parse_ranks(bytes: &[u8], path: &Path) -> Result<Vocabulary<Vec<u8>>> {
    let wrong = |what: String| Error::Data(format!("{}: {what}", path.display()));
    let (mut ranks, mut seen) = (Vocabulary::<Vec<u8>>::new(), HashSet::new());
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (token, rank) = ranked(line)
            .ok_or_else(|| wrong(format!("line {}: not a token in base64 and its rank", number + 1)))?;
        if ranks.insert(token, rank).is_some() || !seen.insert(rank) {
            return Err(wrong(format!("line {}: a token or rank comes twice", number + 1)));
        }
    }
    match (0..=u8::MAX).find(|byte| !ranks.contains_key(&[*byte][..])) {
        Some(byte) => Err(wrong(format!("no token for byte: 0x{byte:02x}"))),
        None => Ok(ranks),
    }
}

/// Every way to put a token together from two others; all ways of one token have one rank.
fn rank_merges(ranks: &Vocabulary<Vec<u8>>) -> Vec<Merge> {
    let mut tokens: Vec<_> = ranks.iter().filter(|(token, _)| token.len() > 1).collect();
    tokens.sort_unstable_by_key(|(_, id)| **id);
    let mut out = Vec::new();
    for ((token, &result), rank) in tokens.into_iter().zip(0..) {
        for middle in 1..token.len() {
            let (left, right) = token.split_at(middle);
            if let (Some(&left), Some(&right)) = (ranks.get(left), ranks.get(right)) {
                out.push(Merge { left, right, rank, result });
            }
        }
    }
    out
}

fn ranked(line: &[u8]) -> Option<(Vec<u8>, u32)> {
    let (token, rank) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let rank = rank.parse().ok().filter(|rank| *rank < NONE)?;
    decode_base64(token).filter(|token| !token.is_empty()).map(|token| (token, rank))
}

/// Decode standard base64 with or without padding; `None` for anything else.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let bytes = (bits << (6 * (4 - group.len()))).to_be_bytes();
        out.extend(bytes.get(1..group.len()).filter(|_| group.len() > 1)?);
    }
    Some(out)
}
