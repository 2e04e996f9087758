//! The whole Python boundary: three lines a function - convert, leave Python, wrap.

mod lanes;
mod linear;
mod near;
mod tokens;
mod verify;

use std::path::PathBuf;

use arrow_array::{
    Array, BooleanArray, LargeBinaryArray, LargeListArray, ListArray, RecordBatch, make_array,
};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::error::{Error, Result};
use crate::fasttext::train;
use crate::minhash::bands;
use crate::parts::{self, removal};
use crate::tokens::Tokenizer;
use crate::{c4, edits, fasttext, hash, measure, sample, words};

/// Run `job` without the interpreter; its errors become those of `curate.errors`.
fn leave<T: Send>(py: Python<'_>, job: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(job).map_err(|error| raise(py, &error))
}

fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let name = match error {
        Error::Config(_) => "ConfigError",
        Error::Data(_) => "DataError",
        Error::File { path, code: Some(code), message } => {
            return PyOSError::new_err((*code, message.clone(), path.clone()));
        }
        Error::File { code: None, .. } => return PyOSError::new_err(error.to_string()),
    };
    let class = py.import("curate.errors").and_then(|module| module.getattr(name));
    match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
        Ok(class) => PyErr::from_type(class, error.to_string()),
        Err(failure) => failure,
    }
}

/// The array that Python passed, as the type that the core wants.
fn downcast<T: Array + Clone + 'static>(
    py: Python<'_>,
    name: &str,
    data: PyArrowType<ArrayData>,
) -> PyResult<T> {
    let array = make_array(data.0);
    array.as_any().downcast_ref::<T>().cloned().ok_or_else(|| {
        raise(py, &Error::Data(format!("{name} has the wrong Arrow type: {}", array.data_type())))
    })
}

/// An array for Python.
fn wrap(array: impl Array) -> PyArrowType<ArrayData> {
    PyArrowType(array.to_data())
}

/// Measure every document of a large_binary array. See `measure::measure`.
#[pyfunction]
#[pyo3(name = "measure")]
fn measure_texts(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    spec: &str,
    num_threads: usize,
) -> PyResult<PyArrowType<RecordBatch>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    leave(py, || measure::measure(&texts, &measure::Spec::parse(spec)?, num_threads)).map(PyArrowType)
}

/// The spans that C4's line rules remove from each document. See `c4::edits`.
#[pyfunction]
fn c4_edits(py: Python<'_>, texts: PyArrowType<ArrayData>) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    leave(py, || Ok(edits::column(&texts, c4::edits))).map(|edits| PyArrowType(edits.into_data()))
}

/// Documents without the spans of their edits. See `edits::apply`.
#[pyfunction]
fn apply_edits(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    edits: PyArrowType<ArrayData>,
) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    let edits: ListArray = downcast(py, "edits", edits)?;
    leave(py, || edits::apply(&texts, &edits)).map(|texts| PyArrowType(texts.into_data()))
}

/// Measure documents whose words are given as large_list<large_string>. See `measure::measure_words`.
#[pyfunction]
fn measure_words(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    words: PyArrowType<ArrayData>,
    spec: &str,
) -> PyResult<PyArrowType<RecordBatch>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    let words: LargeListArray = downcast(py, "words", words)?;
    leave(py, || measure::measure_words(&texts, &words, &measure::Spec::parse(spec)?)).map(PyArrowType)
}

/// Words of every document, as large_list<large_string>. See `words::split`.
#[pyfunction]
fn split_words(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    mode: &str,
) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    leave(py, || Ok(words::split(&texts, words::parse_mode(mode)?)))
        .map(|lists| PyArrowType(lists.into_data()))
}

/// English sentences of every document, as uint32. See `words::count_sentences`.
#[pyfunction]
fn count_sentences(py: Python<'_>, texts: PyArrowType<ArrayData>) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    leave(py, || Ok(words::count_sentences(&texts))).map(|counts| PyArrowType(counts.into_data()))
}

/// Whether a tokenizer is counted with natively. See `tokens::Tokenizer::is_native`.
#[pyfunction]
fn is_native_tokenizer(py: Python<'_>, path: PathBuf, pattern: Option<&str>) -> PyResult<bool> {
    leave(py, || Ok(Tokenizer::from_files(&path, pattern)?.is_native()))
}

/// What is in a fastText model, as JSON. See `fasttext::Model::describe`.
#[pyfunction]
fn describe_model(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    leave(py, || Ok(fasttext::Model::open(&path)?.describe().to_string()))
}

/// First 128 bits of the BLAKE3 hash of `data`, lower-case hex.
#[pyfunction]
fn blake3_hex(py: Python<'_>, data: &[u8]) -> String {
    py.detach(|| hash::hex(hash::id(data)))
}

/// First 128 bits of the BLAKE3 hash of a file's content, lower-case hex.
#[pyfunction]
fn hash_file(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    Ok(hash::hex(py.detach(|| hash::file(&path))?))
}

/// BLAKE3 over data that comes in pieces.
#[pyclass]
struct Hasher(blake3::Hasher);

#[pymethods]
impl Hasher {
    #[new]
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// Add `data` to what was hashed so far.
    fn update(&mut self, py: Python<'_>, data: &[u8]) {
        py.detach(|| self.0.update(data));
    }

    /// First 128 bits of the hash of everything so far, lower-case hex.
    fn hexdigest(&self) -> String {
        hash::hex(hash::truncate(self.0.finalize()))
    }
}

/// One number in (0, 1) per document id. See `sample::hash_uniform`.
#[pyfunction]
fn hash_uniform(
    py: Python<'_>,
    ids: PyArrowType<ArrayData>,
    seed: u64,
    purpose: &str,
) -> PyResult<PyArrowType<ArrayData>> {
    let ids = downcast(py, "ids", ids)?;
    leave(py, || sample::hash_uniform(&ids, seed, purpose)).map(wrap)
}

/// One key `score / temperature + Gumbel` per document. See `sample::gumbel_keys`.
#[pyfunction]
fn gumbel_keys(
    py: Python<'_>,
    ids: PyArrowType<ArrayData>,
    scores: PyArrowType<ArrayData>,
    temperature: f64,
    seed: u64,
    purpose: &str,
) -> PyResult<PyArrowType<ArrayData>> {
    let (ids, scores) = (downcast(py, "ids", ids)?, downcast(py, "scores", scores)?);
    leave(py, || sample::gumbel_keys(&ids, &scores, temperature, seed, purpose)).map(wrap)
}

/// The content of each pool. See `sample::content_sums`.
#[pyfunction]
fn content_sums(
    py: Python<'_>,
    ids: PyArrowType<ArrayData>,
    pools: PyArrowType<ArrayData>,
    num_pools: usize,
) -> PyResult<PyArrowType<ArrayData>> {
    let (ids, pools) = (downcast(py, "ids", ids)?, downcast(py, "pools", pools)?);
    leave(py, || sample::content_sums(&ids, &pools, num_pools)).map(wrap)
}

/// Natural logarithms of weights. See `sample::log_weights`.
#[pyfunction]
fn log_weights(py: Python<'_>, weights: PyArrowType<ArrayData>) -> PyResult<PyArrowType<ArrayData>> {
    let weights = downcast(py, "weights", weights)?;
    leave(py, || Ok(sample::log_weights(&weights))).map(wrap)
}

/// Integers in the order of floats. See `sample::order_keys`.
#[pyfunction]
fn order_keys(py: Python<'_>, values: PyArrowType<ArrayData>) -> PyResult<PyArrowType<ArrayData>> {
    let values = downcast(py, "values", values)?;
    leave(py, || Ok(sample::order_keys(&values))).map(wrap)
}

/// Keys of bands of signatures. See `minhash::bands::band_keys`.
#[pyfunction]
fn band_keys(
    py: Python<'_>,
    signatures: PyArrowType<ArrayData>,
    num_bands: usize,
    num_rows: usize,
) -> PyResult<PyArrowType<ArrayData>> {
    let signatures = downcast(py, "signatures", signatures)?;
    leave(py, || bands::band_keys(&signatures, num_bands, num_rows)).map(wrap)
}

/// Share of equal slots, pair by pair. See `minhash::bands::signature_similarity`.
#[pyfunction]
fn signature_similarity(
    py: Python<'_>,
    a: PyArrowType<ArrayData>,
    b: PyArrowType<ArrayData>,
) -> PyResult<PyArrowType<ArrayData>> {
    let (a, b) = (downcast(py, "a", a)?, downcast(py, "b", b)?);
    leave(py, || bands::signature_similarity(&a, &b)).map(wrap)
}

/// A training of a fastText classifier, in steps. See `fasttext::train::Trainer`.
#[pyclass]
struct FastTextTrainer(train::Trainer);

#[pymethods]
impl FastTextTrainer {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, settings: &str) -> PyResult<Self> {
        leave(py, || train::Trainer::new(&path, settings)).map(Self)
    }

    /// Go on for about `num_bytes` of the file; false when the training is over.
    fn advance(&mut self, py: Python<'_>, num_bytes: u64) -> PyResult<bool> {
        leave(py, || self.0.advance(num_bytes))
    }

    /// Share of the work that is done.
    fn done_frac(&self) -> f64 {
        self.0.done_frac()
    }

    /// Numbers of words, labels and tokens; None before all are counted.
    fn sizes(&self) -> Option<(usize, usize, i64)> {
        self.0.sizes()
    }

    /// Write the model into a file, replacing its content.
    fn write(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        leave(py, || self.0.write(&path))
    }
}

/// Edits that do at once what two do one after the other. See `parts::removal::compose_edits`.
#[pyfunction]
fn compose_edits(
    py: Python<'_>,
    first: PyArrowType<ArrayData>,
    second: PyArrowType<ArrayData>,
) -> PyResult<PyArrowType<ArrayData>> {
    let (first, second): (ListArray, ListArray) =
        (downcast(py, "edits", first)?, downcast(py, "edits", second)?);
    leave(py, || removal::compose_edits(&first, &second)).map(wrap)
}

/// Hashes of the parts of each document. See `parts::part_hashes`.
#[pyfunction]
fn part_hashes(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    scopes: Option<PyArrowType<ArrayData>>,
    settings: &str,
    num_threads: usize,
) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    let scopes = scopes.map(|scopes| downcast(py, "scopes", scopes)).transpose()?;
    let settings = parts::Settings::parse(settings);
    leave(py, || parts::part_hashes(&texts, scopes.as_ref(), &settings?, num_threads)).map(wrap)
}

/// The spans that take parts out of each document. See `parts::removal::part_edits`.
#[pyfunction]
fn part_edits(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    parts: PyArrowType<ArrayData>,
    is_whole: PyArrowType<ArrayData>,
    unit: &str,
) -> PyResult<PyArrowType<ArrayData>> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    let parts: ListArray = downcast(py, "parts", parts)?;
    let is_whole: BooleanArray = downcast(py, "is_whole", is_whole)?;
    leave(py, || removal::part_edits(&texts, &parts, &is_whole, unit.parse()?)).map(wrap)
}

/// Bytes of a Bloom filter for so many items at that error. See `parts::bloom::Size::solve`.
#[pyfunction]
fn bloom_bytes(py: Python<'_>, expected: u64, false_positive_rate: f64) -> PyResult<u64> {
    leave(py, || Ok(parts::bloom::Size::solve(expected, false_positive_rate)?.num_bytes()))
}

/// Finds parts that were seen before. See `parts::PartFilter`.
#[pyclass]
struct PartFilter(parts::PartFilter);

#[pymethods]
impl PartFilter {
    #[new]
    fn new(py: Python<'_>, settings: &str) -> PyResult<Self> {
        leave(py, || parts::PartFilter::new(parts::FilterSettings::parse(settings)?)).map(Self)
    }

    /// Parts of the next documents that were seen before.
    fn find(
        &mut self,
        py: Python<'_>,
        texts: PyArrowType<ArrayData>,
        scopes: Option<PyArrowType<ArrayData>>,
        num_threads: usize,
    ) -> PyResult<PyArrowType<RecordBatch>> {
        let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
        let scopes = scopes.map(|scopes| downcast(py, "scopes", scopes)).transpose()?;
        leave(py, || self.0.find(&texts, scopes.as_ref(), num_threads)).map(PyArrowType)
    }

    /// Items in the filter, and the probability that a new one is taken for seen now.
    fn state(&self) -> (u64, f64) {
        self.0.state()
    }
}

/// `curate._rust`: the list of exports.
#[pymodule(gil_used = false)]
mod _rust {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::lanes::{LaneFiller, describe_batch};
    #[pymodule_export]
    use super::linear::NgramCounter;
    #[pymodule_export]
    use super::near::{Candidates, Clusters, choose_keepers};
    #[pymodule_export]
    use super::tokens::{TokenEncoder, TokenNames};
    #[pymodule_export]
    use super::verify::{Boilerplate, EdgeBatches, LineCounts, Verifier, set_similarity, shingle_sets};
    #[pymodule_export]
    use super::{
        FastTextTrainer, Hasher, PartFilter, apply_edits, band_keys, blake3_hex, bloom_bytes, c4_edits,
        compose_edits, content_sums, count_sentences, describe_model, gumbel_keys, hash_file, hash_uniform,
        is_native_tokenizer, log_weights, measure_texts, measure_words, order_keys, part_edits, part_hashes,
        signature_similarity, split_words,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
