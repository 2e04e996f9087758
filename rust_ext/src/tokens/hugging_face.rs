//! Reading `tokenizer.json`: every part is either known in full or refused by name.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::added::{Added, AddedSet};
use super::bpe::{Alphabet, Bpe, Merge, Merges, NONE};
use super::names::added_ids;
use super::native::{Model, Native, Prefix, Step};
use super::normalize::{Normalizer, flatten};
use super::split::{Scanner, WORD_MARK};
use super::unigram::Unigram;

/// Why a tokenizer cannot be run here.
#[derive(Debug)]
pub enum Refusal {
    /// A part that is not known here.
    Unknown(String),
    /// A part that is wrong.
    Broken(String),
}

impl From<String> for Refusal {
    fn from(what: String) -> Self {
        Self::Broken(what)
    }
}

impl From<&str> for Refusal {
    fn from(what: &str) -> Self {
        Self::Broken(what.into())
    }
}

/// What every reader of a part returns.
pub type Parsed<T> = Result<T, Refusal>;

/// Tokens by what they are, with their ids.
pub type Vocabulary<K> = HashMap<K, u32>;

/// Read a tokenizer.
///
/// # Errors
/// The part that is wrong, or not known here.
pub fn parse(json: &Value) -> Parsed<Native> {
    let normalizer = Normalizer::parse(&json["normalizer"])?;
    let (mut steps, is_byte_level) = pre_tokenizer(&json["pre_tokenizer"], &normalizer)?;
    let model = &json["model"];
    let kind = model["type"].as_str().unwrap_or(if model["merges"].is_array() { "BPE" } else { "Unigram" });
    let model = match kind {
        "BPE" => {
            let bpe = bpe(model, is_byte_level)?;
            // Whole texts are merged word by word where no merge could tell the difference.
            if !is_byte_level
                && !steps.iter().any(|step| matches!(step, Step::Scan(_)))
                && merges_words(model, &bpe)
            {
                steps.push(Step::Scan(Scanner::WordRuns));
            }
            Model::Bpe(bpe)
        }
        "Unigram" if !is_byte_level => Model::Unigram(unigram(model)?),
        other => return Err(Refusal::Unknown(format!("model {other}"))),
    };
    let (added, added_normalized) = added_tokens(json, &normalizer)?;
    Ok(Native { added, normalizer, added_normalized, steps, model })
}

/// The steps of splitting, and whether pieces are spelled in bytes.
fn pre_tokenizer(value: &Value, normalizer: &Normalizer) -> Parsed<(Vec<Step>, bool)> {
    let mut steps = Vec::new();
    let mut is_byte_level = false;
    flatten(value, "pretokenizers", &mut |part, kind| {
        if is_byte_level {
            return Err(Refusal::Unknown("pre_tokenizer ByteLevel is not the last".into()));
        }
        match kind {
            "ByteLevel" => {
                is_byte_level = true;
                steps.extend((part["add_prefix_space"] != false).then_some(Step::PrefixSpace));
                steps.extend((part["use_regex"] != false).then_some(Step::Scan(Scanner::Gpt2)));
            }
            "Digits" if part["individual_digits"] == true => steps.push(Step::Scan(Scanner::Digits)),
            "Digits" => steps.push(Step::Scan(Scanner::DigitRuns)),
            "WhitespaceSplit" => steps.push(Step::WhiteSpace),
            "Metaspace" => {
                steps.push(Step::WordMarks(prefix(part, normalizer)?));
                steps.extend((part["split"] != false).then_some(Step::Scan(Scanner::Words)));
            }
            // A cut at spaces where there are none.
            "Split" if part["pattern"]["String"] == " " && normalizer.replaces_spaces() => {}
            "Split" => steps.push(Step::Scan(split(part)?)),
            _ => return Err(Refusal::Unknown(format!("pre_tokenizer {kind}"))),
        }
        Ok(())
    })?;
    Ok((steps, is_byte_level))
}

fn prefix(part: &Value, normalizer: &Normalizer) -> Parsed<Prefix> {
    let unknown = || Refusal::Unknown(format!("pre_tokenizer Metaspace: {part}"));
    if part["replacement"].as_str() != Some(&WORD_MARK.to_string()) {
        return Err(unknown());
    }
    match (part["prepend_scheme"].as_str(), &part["add_prefix_space"]) {
        (None | Some("never"), Value::Bool(false)) | (Some("never"), _) => Ok(Prefix::Never),
        (_, Value::Bool(false)) => Err(unknown()),
        (None | Some("always"), _) => Ok(Prefix::Always),
        (Some("first"), _) if !normalizer.may_drop_start() => Ok(Prefix::First),
        _ => Err(unknown()),
    }
}

fn split(part: &Value) -> Parsed<Scanner> {
    let pattern = part["pattern"]["Regex"].as_str().unwrap_or_default();
    let covers = match part["behavior"].as_str() {
        Some("Isolated") => part["invert"] != true,
        Some("Removed") => part["invert"] == true,
        _ => false,
    };
    Scanner::of_onig_pattern(pattern)
        .filter(|_| covers)
        .ok_or_else(|| Refusal::Unknown(format!("pre_tokenizer Split: {part}")))
}

type AddedSets = (Option<AddedSet>, Option<AddedSet>);

fn added_tokens(json: &Value, normalizer: &Normalizer) -> Parsed<AddedSets> {
    let (mut raw, mut normalized) = (Vec::<Added>::new(), Vec::<Added>::new());
    let (ids, none) = (added_ids(json), Vec::new());
    for token in json["added_tokens"].as_array().unwrap_or(&none) {
        let content = token["content"].as_str().ok_or("added_tokens: one without content")?;
        let Some(&id) = ids.get(content).filter(|_| !content.is_empty()) else { continue };
        let flag = |name: &str| token[name] == true;
        let mut added = Added {
            content: content.into(),
            id,
            single_word: flag("single_word"),
            lstrip: flag("lstrip"),
            rstrip: flag("rstrip"),
        };
        if flag("normalized") {
            added.content = normalizer.apply(content, &mut Default::default()).to_owned();
            normalized.push(added);
        } else {
            raw.push(added);
        }
    }
    for tokens in [&raw, &normalized] {
        let mut seen = HashSet::new();
        if let Some(bad) =
            tokens.iter().find(|token| token.content.is_empty() || !seen.insert(&token.content))
        {
            return Err(Refusal::Unknown(format!("added_tokens: twice or empty: {}", bad.content)));
        }
    }
    let set = |tokens| AddedSet::new(tokens).map_err(|error| Refusal::Broken(error.to_string()));
    Ok((set(raw)?, set(normalized)?))
}

fn unigram(model: &Value) -> Parsed<Unigram> {
    let entries = model["vocab"].as_array().ok_or("model.vocab is not a list")?;
    let mut vocabulary = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let token = entry[0].as_str().zip(entry[1].as_f64()).filter(|(_, score)| score.is_finite());
        vocabulary.push(
            token.ok_or_else(|| format!("model.vocab[{index}] is not a token and its score: {entry}"))?,
        );
    }
    let unknown = model["unk_id"].as_u64().and_then(|id| usize::try_from(id).ok());
    let unknown = unknown.ok_or_else(|| Refusal::Unknown(format!("model.unk_id: {}", model["unk_id"])))?;
    Ok(Unigram::new(&vocabulary, unknown, model["byte_fallback"] == true)?)
}

/// A BPE model; `is_byte_level` where the keys of the vocabulary spell bytes as printable characters.
pub fn bpe(model: &Value, is_byte_level: bool) -> Parsed<Bpe> {
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[key].as_str().is_some_and(|affix| !affix.is_empty()) {
            return Err(Refusal::Unknown(format!("model.{key}: {}", model[key])));
        }
    }
    let keys = ids(&model["vocab"])?;
    let alphabet = if is_byte_level { Alphabet::Bytes(alphabet(&spelled(&keys))) } else { chars(&keys) };
    let is_covered = matches!(&alphabet, Alphabet::Bytes(ids) if !ids.contains(&NONE));
    let byte_fallback = model["byte_fallback"] == true && !is_covered;
    if byte_fallback && is_byte_level {
        return Err(Refusal::Unknown("model.byte_fallback with ByteLevel and without every byte".into()));
    }
    let fallback = |byte| keys.get(format!("<0x{byte:02X}>").as_str()).copied().unwrap_or(NONE);
    let whole = match (model["ignore_merges"] == true, is_byte_level) {
        (false, _) => HashMap::new(),
        (true, true) => spelled(&keys),
        (true, false) => keys.iter().map(|(key, id)| (key.as_bytes().to_vec(), *id)).collect(),
    };
    let model = Bpe {
        merges: Merges::new(&merges(&model["merges"], &keys)?, &alphabet),
        alphabet,
        whole,
        unknown: model["unk_token"].as_str().map(|token| id(&keys, token)).transpose()?,
        fuse_unknown: model["fuse_unk"] == true,
        fallback: byte_fallback.then(|| Box::new(std::array::from_fn(fallback))),
    };
    Ok(model.pruned())
}

fn ids(value: &Value) -> Parsed<Vocabulary<&str>> {
    let entries: &Map<String, Value> = value.as_object().ok_or("model.vocab is not an object")?;
    let number = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < NONE);
    let entry = |(key, id)| match number(id) {
        Some(number) => Ok((String::as_str(key), number)),
        None => Err(format!("model.vocab: not an id: {key}: {id}").into()),
    };
    entries.iter().map(entry).collect()
}

fn id(keys: &Vocabulary<&str>, token: &str) -> Parsed<u32> {
    Ok(keys.get(token).copied().ok_or_else(|| format!("model.vocab does not have: {token}"))?)
}

/// Left and right of a merge, in either of the two ways to write it.
fn sides(pair: &Value) -> Option<(&str, &str)> {
    match pair {
        Value::String(line) => line.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(parts) => match parts.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

fn merges(value: &Value, keys: &Vocabulary<&str>) -> Parsed<Vec<Merge>> {
    let pairs = value.as_array().ok_or("model.merges is not a list")?;
    let mut out = Vec::with_capacity(pairs.len());
    for (pair, rank) in pairs.iter().zip(0..NONE) {
        let (left, right) =
            sides(pair).ok_or_else(|| format!("model.merges[{rank}] is not a pair: {pair}"))?;
        let result = id(keys, &format!("{left}{right}"))?;
        out.push(Merge { left: id(keys, left)?, right: id(keys, right)?, rank, result });
    }
    Ok(out)
}

/// Whether word marks are known and no merge joins what stands before one with it.
fn merges_words(model: &Value, bpe: &Bpe) -> bool {
    let crosses = |(left, right): (&str, &str)| !left.ends_with(WORD_MARK) && right.starts_with(WORD_MARK);
    let is_known = matches!(&bpe.alphabet, Alphabet::Chars(chars) if chars.contains_key(&WORD_MARK));
    let pairs = model["merges"].as_array().map_or(&[][..], Vec::as_slice);
    is_known && bpe.whole.is_empty() && !pairs.iter().filter_map(sides).any(crosses)
}

fn chars(keys: &Vocabulary<&str>) -> Alphabet {
    let single = |(key, id): (&&str, &u32)| {
        let mut chars = key.chars();
        chars.next().filter(|_| chars.next().is_none()).map(|char| (char, *id))
    };
    Alphabet::Chars(keys.iter().filter_map(single).collect())
}

/// A byte-level vocabulary, by bytes; keys that spell none are left out.
fn spelled(keys: &Vocabulary<&str>) -> Vocabulary<Vec<u8>> {
    let bytes = bytes_of_chars();
    let spell = |key: &str| key.chars().map(|char| bytes.get(&char).copied()).collect::<Option<_>>();
    keys.iter().filter_map(|(key, id)| Some((spell(key)?, *id))).collect()
}

/// The token of every single byte.
pub fn alphabet(vocabulary: &Vocabulary<Vec<u8>>) -> Box<[u32; 256]> {
    let token = |byte| vocabulary.get(&[byte as u8][..]).copied().unwrap_or(NONE);
    Box::new(std::array::from_fn(token))
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
