//! Reading tokenizer files; what is wrong with one is said with its path.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::added::{Added, AddedSet};
use super::bpe::{Alphabet, Bpe, Merge, Merges, NONE};
use super::native::{Native, Step};
use super::normalize::{Normalizer, flatten};
use super::split::{NAMES, Scanner};
use crate::error::{Error, Result};

const MAX_FILE_BYTES: u64 = 256 << 20;
const VOCABULARIES: [&str; 3] = ["tokenizer.json", "vocab.json", "encoder.json"];
const MERGES: [&str; 2] = ["merges.txt", "vocab.bpe"];

/// Read the tokenizer at `path`, whatever its format is.
///
/// # Errors
/// As [`super::Tokenizer::from_files`].
pub fn read(path: &Path, pattern: Option<&str>) -> Result<Native> {
    let path = if path.is_dir() { inside(path)? } else { path.to_owned() };
    let bytes = load(&path)?;
    let wrong = |what: String| Error::Data(format!("{}: {what}", path.display()));
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return tiktoken(&bytes, pattern).map_err(|error| match error {
            Error::Data(what) => wrong(what),
            config @ Error::Config(_) => config,
        });
    }
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("not JSON: {error}")))?;
    if json.get("model").is_some_and(Value::is_object) {
        return hugging_face(&json).map_err(wrong);
    }
    let merges = beside(&path)?;
    let lines = String::from_utf8(load(&merges)?)
        .map_err(|_| Error::Data(format!("{}: not UTF-8", merges.display())))?;
    gpt2(&json, &lines).map_err(wrong)
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

type Parsed<T> = std::result::Result<T, String>;

fn hugging_face(json: &Value) -> Parsed<Native> {
    let normalizer = Normalizer::parse(&json["normalizer"])?;
    let mut steps = Vec::new();
    let mut bytes = false;
    flatten(&json["pre_tokenizer"], "pretokenizers", &mut |part, kind| {
        if bytes {
            return Err("pre_tokenizer ByteLevel is not the last".into());
        }
        match kind {
            "ByteLevel" => {
                bytes = true;
                steps.extend((part["add_prefix_space"] != false).then_some(Step::PrefixSpace));
                steps.extend((part["use_regex"] != false).then_some(Step::Scan(Scanner::Gpt2)));
                return Ok(());
            }
            "Digits" if part["individual_digits"] == true => steps.push(Step::Scan(Scanner::Digits)),
            "Digits" => steps.push(Step::Scan(Scanner::DigitRuns)),
            "Split" => steps.push(Step::Scan(split(part)?)),
            _ => return Err(format!("pre_tokenizer {kind}")),
        }
        Ok(())
    })?;
    if !bytes {
        return Err("pre_tokenizer without ByteLevel".into());
    }
    let model = &json["model"];
    if model["type"].as_str().unwrap_or("BPE") != "BPE" {
        return Err(format!("model {}", model["type"]));
    }
    let (added, added_normalized) = added_tokens(&json["added_tokens"], &normalizer)?;
    Ok(Native { added, normalizer, added_normalized, steps, model: bpe(model)? })
}

fn split(part: &Value) -> Parsed<Scanner> {
    let pattern = part["pattern"]["Regex"].as_str().unwrap_or_default();
    let covers = match part["behavior"].as_str() {
        Some("Isolated") => part["invert"] != true,
        Some("Removed") => part["invert"] == true,
        _ => false,
    };
    Scanner::of_pattern(pattern).filter(|_| covers).ok_or_else(|| format!("pre_tokenizer Split: {part}"))
}

type AddedSets = (Option<AddedSet>, Option<AddedSet>);

fn added_tokens(value: &Value, normalizer: &Normalizer) -> Parsed<AddedSets> {
    let (mut raw, mut normalized) = (Vec::<Added>::new(), Vec::<Added>::new());
    let none = Vec::new();
    for token in value.as_array().unwrap_or(&none) {
        let content = token["content"].as_str().ok_or("added_tokens: one without content")?;
        if content.is_empty() {
            continue;
        }
        let flag = |name: &str| token[name] == true;
        let mut added = Added {
            content: content.into(),
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
        };
        if flag("normalized") {
            added.content = normalizer.apply(content, &mut String::new()).to_owned();
            normalized.push(added);
        } else {
            raw.push(added);
        }
    }
    for tokens in [&raw, &normalized] {
        let mut seen = HashSet::new();
        if let Some(twice) = tokens.iter().find(|token| !seen.insert(&token.content)) {
            return Err(format!("added_tokens: twice: {}", twice.content));
        }
    }
    let set = |tokens| AddedSet::new(tokens).map_err(|error| error.to_string());
    Ok((set(raw)?, set(normalized)?))
}

type Vocabulary = HashMap<Vec<u8>, u32>;

/// A byte-level vocabulary: the keys spell bytes as printable characters.
fn vocabulary(value: &Value) -> Parsed<(Map<String, Value>, Vocabulary)> {
    let keys = value.as_object().ok_or("model.vocab is not an object")?;
    let bytes = bytes_of_chars();
    let mut out = Vocabulary::with_capacity(keys.len());
    for (key, id) in keys {
        let id = id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < NONE);
        let id = id.ok_or_else(|| format!("model.vocab: not an id: {key}: {}", keys[key]))?;
        if let Some(spelled) = key.chars().map(|char| bytes.get(&char).copied()).collect() {
            out.insert(spelled, id);
        }
    }
    Ok((keys.clone(), out))
}

fn bpe(model: &Value) -> Parsed<Bpe> {
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[key].as_str().is_some_and(|affix| !affix.is_empty()) {
            return Err(format!("model.{key}: {}", model[key]));
        }
    }
    if model["dropout"].as_f64().is_some_and(|dropout| dropout > 0.0) {
        return Err(format!("model.dropout makes counts random: {}", model["dropout"]));
    }
    let (keys, vocabulary) = vocabulary(&model["vocab"])?;
    let pairs = model["merges"].as_array().ok_or("model.merges is not a list")?;
    let mut merges = Vec::with_capacity(pairs.len());
    for (rank, pair) in pairs.iter().enumerate() {
        let parts = match pair {
            Value::String(line) => line.split_once(' '),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(left), Value::String(right)] => Some((left.as_str(), right.as_str())),
                _ => None,
            },
            _ => None,
        };
        let (left, right) = parts.ok_or_else(|| format!("model.merges[{rank}] is not a pair: {pair}"))?;
        merges.push(merge(&keys, rank, left, right)?);
    }
    let unknown = match model["unk_token"].as_str() {
        Some(token) => Some(id(&keys, token)?),
        None => None,
    };
    let whole =
        if model["ignore_merges"] == true { vocabulary.keys().cloned().collect() } else { HashSet::new() };
    let alphabet = alphabet(&vocabulary);
    if model["byte_fallback"] == true && alphabet.contains(&NONE) {
        return Err("model.byte_fallback with ByteLevel and without every byte".into());
    }
    Ok(Bpe {
        alphabet: Alphabet::Bytes(alphabet),
        merges: Merges::new(&merges),
        whole,
        unknown,
        fuse_unknown: model["fuse_unk"] == true,
        fallback: None,
    })
}

fn id(keys: &Map<String, Value>, token: &str) -> Parsed<u32> {
    let id = keys.get(token).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    id.ok_or_else(|| format!("model.vocab does not have: {token}"))
}

fn merge(keys: &Map<String, Value>, rank: usize, left: &str, right: &str) -> Parsed<Merge> {
    let result = id(keys, &format!("{left}{right}"))?;
    let rank = u32::try_from(rank).ok().filter(|rank| *rank < NONE).ok_or("model.merges is too long")?;
    Ok(Merge { left: id(keys, left)?, right: id(keys, right)?, rank, result })
}

fn alphabet(vocabulary: &Vocabulary) -> Box<[u32; 256]> {
    let mut out = Box::new([NONE; 256]);
    for (byte, id) in (0..=u8::MAX).zip(out.iter_mut()) {
        *id = vocabulary.get(&[byte][..]).copied().unwrap_or(NONE);
    }
    out
}

/// The printable characters that stand for bytes in byte-level vocabularies.
fn bytes_of_chars() -> HashMap<char, u8> {
    let mut free = 0x100..;
    (0..=u8::MAX)
        .filter_map(|byte| {
            let code = match byte {
                b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => Some(u32::from(byte)),
                _ => free.next(),
            };
            Some((char::from_u32(code?)?, byte))
        })
        .collect()
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
        model: bpe(&model)?,
    })
}

/// A tiktoken file: lines of a token in base64 and its rank.
fn tiktoken(bytes: &[u8], pattern: Option<&str>) -> Result<Native> {
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
    let mut ranks = Vocabulary::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let (token, rank) = ranked(line)
            .ok_or_else(|| Error::Data(format!("line {}: not a token in base64 and its rank", number + 1)))?;
        if ranks.insert(token, rank).is_some() {
            return Err(Error::Data(format!("line {}: a token comes twice", number + 1)));
        }
    }
    if let Some(byte) = (0..=u8::MAX).find(|byte| !ranks.contains_key(&[*byte][..])) {
        return Err(Error::Data(format!("no token for byte: 0x{byte:02x}")));
    }
    Ok(Native {
        added: None,
        normalizer: Normalizer::default(),
        added_normalized: None,
        steps: vec![Step::Scan(scanner)],
        model: Bpe {
            alphabet: Alphabet::Bytes(alphabet(&ranks)),
            merges: Merges::new(&rank_merges(&ranks)),
            whole: ranks.into_keys().collect(),
            unknown: None,
            fuse_unknown: false,
            fallback: None,
        },
    })
}

/// Every way to put a token together from two others.
fn rank_merges(ranks: &Vocabulary) -> Vec<Merge> {
    let mut out = Vec::new();
    for (token, &result) in ranks {
        for middle in 1..token.len() {
            let (left, right) = token.split_at(middle);
            if let (Some(&left), Some(&right)) = (ranks.get(left), ranks.get(right)) {
                out.push(Merge { left, right, rank: result, result });
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
