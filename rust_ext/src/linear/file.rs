//! A model file: safetensors of one or two tensors, whose metadata say what the numbers mean.
//!
//! Read here and not by the `safetensors` crate: the format is a length, JSON and floats, and what is checked
//! beyond it (names, shapes, that no byte is left over) would be the larger part anyway. Nothing is allocated
//! for what the file does not hold.

use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};

/// What `format` is in the metadata of a model.
const FORMAT: &str = "curate.hashed_linear.1";
/// Buckets that a model can have.
pub const MAX_BUCKETS: usize = 1 << 28;
const MAX_OUTPUTS: usize = 1 << 12;
/// Tokens in the longest n-gram that a model can have.
pub const MAX_NGRAMS: usize = 8;
const MAX_NAME_BYTES: usize = 64;

/// How a text is cut into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tokens {
    /// Lower case, then runs of word characters and of other characters that are no white space.
    #[serde(rename = "wordpunct_lower")]
    WordPunctLower,
    /// Words of UAX #29 as they are.
    Uax29,
    /// Runs of anything but fastText's white space.
    Whitespace,
}

/// How n-grams get their buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hash {
    /// SHA-256 of the tokens joined by one space, as one number, modulo the buckets.
    Sha256,
    /// FNV-1a of each token, combined; cheap.
    Fnv,
}

/// How weights become a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// Their sum divided by the number of n-grams.
    Mean,
}

/// A model as it was read.
#[derive(Debug)]
pub struct Model {
    /// How a text is cut.
    pub tokens: Tokens,
    /// Tokens in the longest n-gram.
    pub max_ngram: usize,
    /// How n-grams get their buckets.
    pub hash: Hash,
    /// How weights become a score.
    pub aggregate: Aggregate,
    /// Names of the outputs.
    pub outputs: Vec<String>,
    /// Tokens below which a text has no score.
    pub min_tokens: u64,
    /// Buckets.
    pub num_buckets: usize,
    /// A row of outputs for each bucket.
    pub weight: Vec<f32>,
    /// Added to each output at the end.
    pub bias: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Metadata,
    weight: Tensor,
    #[serde(default, deserialize_with = "given")]
    bias: Option<Tensor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    format: String,
    tokens: String,
    ngrams: String,
    hash: String,
    aggregate: String,
    outputs: String,
    #[serde(default, deserialize_with = "given")]
    min_tokens: Option<String>,
    /// For people.
    #[serde(default, rename = "about")]
    _about: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// What is left out is none; null is a mistake.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    source: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(source).map(Some)
}

impl Model {
    /// Read a model from the bytes of a file. Memory: about their size.
    ///
    /// # Errors
    /// `Error::Data` that says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let wrong = |message: String| Err(Error::Data(message));
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return wrong(format!("it ends before the length of its header: {} bytes", bytes.len()));
        };
        let length = u64::from_le_bytes(*length);
        let Some((header, data)) = usize::try_from(length).ok().and_then(|end| rest.split_at_checked(end))
        else {
            return wrong(format!("its header has {length} bytes, of which are there: {}", rest.len()));
        };
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| Error::Data(format!("the header is wrong: {error}")))?;
        let metadata = header.metadata;
        if metadata.format != FORMAT {
            return wrong(format!("the format is not {FORMAT}: {}", metadata.format));
        }
        let outputs = read_outputs(&metadata.outputs)?;
        let num_buckets = check_shapes(&header.weight, header.bias.as_ref(), outputs.len())?;
        check_places(&header.weight, header.bias.as_ref(), data.len())?;
        let bias = header.bias.map(|bias| bias.floats(data, "bias")).transpose()?;
        Ok(Self {
            tokens: choose(
                "tokens",
                &metadata.tokens,
                [
                    ("wordpunct_lower", Tokens::WordPunctLower),
                    ("uax29", Tokens::Uax29),
                    ("whitespace", Tokens::Whitespace),
                ],
            )?,
            max_ngram: number("ngrams", &metadata.ngrams, 1, MAX_NGRAMS as u64)? as usize,
            hash: choose("hash", &metadata.hash, [("sha256", Hash::Sha256), ("fnv", Hash::Fnv)])?,
            aggregate: choose(
                "aggregate",
                &metadata.aggregate,
                [("sum", Aggregate::Sum), ("mean", Aggregate::Mean)],
            )?,
            min_tokens: match metadata.min_tokens {
                Some(text) => number("min_tokens", &text, 0, u64::from(u32::MAX))?,
                None => 0,
            },
            num_buckets,
            weight: header.weight.floats(data, "weight")?,
            bias: bias.unwrap_or_else(|| vec![0.0; outputs.len()]),
            outputs,
        })
    }
}

impl Tensor {
    /// The numbers, which must all be finite.
    fn floats(&self, data: &[u8], name: &str) -> Result<Vec<f32>> {
        let [start, end] = self.data_offsets;
        let (numbers, _) = data.get(start..end).unwrap_or(&[]).as_chunks::<4>();
        let floats: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match floats.iter().find(|value| !value.is_finite()) {
            None => Ok(floats),
            Some(value) => Err(Error::Data(format!("{name} has a value that is not finite: {value}"))),
        }
    }
}

/// Tensors are as wide as there are outputs; returns the number of buckets.
fn check_shapes(weight: &Tensor, bias: Option<&Tensor>, width: usize) -> Result<usize> {
    let buckets = match weight.shape[..] {
        [buckets, columns] if columns == width && (1..=MAX_BUCKETS).contains(&buckets) => buckets,
        ref shape => {
            return Err(Error::Data(format!("weight is not [1 to {MAX_BUCKETS}, {width}]: {shape:?}")));
        }
    };
    match bias {
        Some(bias) if bias.shape != [width] => {
            Err(Error::Data(format!("bias is not [{width}]: {:?}", bias.shape)))
        }
        _ => Ok(buckets),
    }
}

/// Tensors fill the data without gaps, and each has the bytes of its shape.
fn check_places(weight: &Tensor, bias: Option<&Tensor>, num_bytes: usize) -> Result<()> {
    let mut end = 0;
    let mut tensors: Vec<_> = [("weight", Some(weight)), ("bias", bias)]
        .into_iter()
        .filter_map(|(name, tensor)| tensor.map(|tensor| (name, tensor)))
        .collect();
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    for (name, tensor) in tensors {
        if tensor.dtype != "F32" {
            return Err(Error::Data(format!("{name} is not of F32: {}", tensor.dtype)));
        }
        let size = tensor.shape.iter().try_fold(4usize, |size, &count| size.checked_mul(count));
        let next = size.and_then(|size| size.checked_add(end));
        if tensor.data_offsets[0] != end || Some(tensor.data_offsets[1]) != next {
            return Err(Error::Data(format!(
                "{name} of shape {:?} does not follow at byte {end}: {:?}",
                tensor.shape, tensor.data_offsets
            )));
        }
        end = tensor.data_offsets[1];
    }
    if end == num_bytes {
        return Ok(());
    }
    Err(Error::Data(format!("its tensors have {end} bytes, of which are there: {num_bytes}")))
}

fn choose<T: Copy, const N: usize>(key: &str, value: &str, known: [(&str, T); N]) -> Result<T> {
    known.iter().find(|(name, _)| *name == value).map(|(_, found)| *found).ok_or_else(|| {
        let names = known.map(|(name, _)| name);
        Error::Data(format!("{key} is none of {}: {value}", names.join(", ")))
    })
}

/// A number in plain decimal digits.
fn number(key: &str, text: &str, min: u64, max: u64) -> Result<u64> {
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) && value.to_string() == text => Ok(value),
        _ => Err(Error::Data(format!("{key} is not a number from {min} to {max}: {text}"))),
    }
}

fn read_outputs(json: &str) -> Result<Vec<String>> {
    let names: Vec<String> = serde_json::from_str(json)
        .map_err(|error| Error::Data(format!("outputs is not a JSON list of names: {error}")))?;
    if !(1..=MAX_OUTPUTS).contains(&names.len()) {
        return Err(Error::Data(format!("there are not 1 to {MAX_OUTPUTS} outputs: {}", names.len())));
    }
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    for name in &names {
        if !(1..=MAX_NAME_BYTES).contains(&name.len()) || !name.as_bytes().iter().all(is_good) {
            let rule =
                format!("the name of an output is not 1 to {MAX_NAME_BYTES} ASCII letters, digits or _");
            return Err(Error::Data(format!("{rule}: {name}")));
        }
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Data(format!("an output stands twice: {}", pair[0])));
    }
    Ok(names)
}
