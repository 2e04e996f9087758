//! The tokens of a tokenizer by what they are: looked up when a tokenizer is opened, not while it runs.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::files::{Content, open, parse_ranks};
use crate::error::{Error, Result};

/// Ids of tokens by their bytes, spelled as in the tokenizer's file.
#[derive(Debug)]
pub struct Names {
    ids: HashMap<Vec<u8>, u32>,
    special: Vec<(String, u32)>,
}

impl Names {
    /// Read the tokens of the tokenizer at `path`, of any format that [`super::Tokenizer`] reads.
    ///
    /// # Errors
    /// `Error::Data` for what cannot be read.
    pub fn from_files(path: &Path) -> Result<Self> {
        let (path, content) = open(path)?;
        let wrong = |what: &str| Error::Data(format!("{}: {what}", path.display()));
        let json = match &content {
            Content::Ranks(bytes) => {
                return Ok(Self { ids: parse_ranks(bytes, &path)?, special: Vec::new() });
            }
            Content::Vocabulary(json) => json,
            Content::Whole(json, _) => &json["model"]["vocab"],
        };
        let mut ids: HashMap<Vec<u8>, u32> =
            model_tokens(json).map(|(token, id)| (token.as_bytes().to_vec(), id)).collect();
        let mut special = Vec::new();
        if let Content::Whole(json, _) = &content {
            let added = added_ids(json);
            for token in added_tokens(json).filter(|token| token["special"] == true) {
                let name = token["content"].as_str().unwrap_or_default();
                special.extend(added.get(name).map(|id| (name.to_owned(), *id)));
            }
            ids.extend(added.into_iter().map(|(token, id)| (token.as_bytes().to_vec(), id)));
        }
        if ids.is_empty() {
            return Err(wrong("model.vocab has no tokens"));
        }
        Ok(Self { ids, special })
    }

    /// The id of a token.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token.as_bytes()).copied()
    }

    /// The tokens that are marked as special, with their ids, in the order of the file.
    #[must_use]
    pub fn special(&self) -> &[(String, u32)] {
        &self.special
    }

    /// One more than the greatest id.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ids.values().max().map_or(0, |id| u64::from(*id) + 1)
    }
}

/// Tokens and ids of a vocabulary, an object or a list of tokens with their scores.
fn model_tokens(vocabulary: &Value) -> impl Iterator<Item = (&str, u32)> {
    let entries = vocabulary.as_object().into_iter().flatten();
    let entries = entries.filter_map(|(token, id)| Some((token.as_str(), u32::try_from(id.as_u64()?).ok()?)));
    let list = vocabulary.as_array().into_iter().flatten().zip(0..);
    entries.chain(list.filter_map(|(entry, id)| Some((entry[0].as_str()?, id))))
}

fn added_tokens(json: &Value) -> impl Iterator<Item = &Value> {
    json["added_tokens"].as_array().into_iter().flatten()
}

/// Ids of the added tokens of a `tokenizer.json`, as `tokenizers` gives them out: those of the model, and
/// numbers after its size for the others, whatever the file says.
pub fn added_ids(json: &Value) -> HashMap<&str, u32> {
    let vocabulary = &json["model"]["vocab"];
    let names = || added_tokens(json).filter_map(|token| token["content"].as_str());
    let mut ids: HashMap<&str, Option<u32>> = names().map(|name| (name, None)).collect();
    for (token, id) in model_tokens(vocabulary) {
        if let Some(found) = ids.get_mut(token) {
            *found = Some(id);
        }
    }
    let size = vocabulary.as_object().map(serde_json::Map::len).or(vocabulary.as_array().map(Vec::len));
    let mut next = u32::try_from(size.unwrap_or(0)).unwrap_or(u32::MAX);
    for name in names().filter(|name| !name.is_empty()) {
        if let Some(id) = ids.get_mut(name).filter(|id| id.is_none()) {
            *id = Some(next);
            next = next.saturating_add(1);
        }
    }
    ids.into_iter().filter_map(|(name, id)| Some((name, id?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_tokens_have_the_ids_of_the_model_or_those_after_it() {
        let added = |names: &[&str]| -> Vec<Value> {
            names.iter().map(|name| serde_json::json!({"content": name, "id": 99})).collect()
        };
        let json = serde_json::json!({
            "model": {"vocab": {"a": 5, "b": 1}},
            "added_tokens": added(&["x", "a", "", "y", "x"]),
        });
        assert_eq!(added_ids(&json), HashMap::from([("x", 2), ("a", 5), ("y", 3)]));
        let list = serde_json::json!({
            "model": {"vocab": [["a", 0.0], ["b", 0.0], ["a", 0.0]]},
            "added_tokens": added(&["a", "c"]),
        });
        assert_eq!(added_ids(&list), HashMap::from([("a", 2), ("c", 3)]));
    }
}
