//! Token ids for Python: tokenizers that encode, and the names of their tokens.

use std::path::PathBuf;

use arrow_array::LargeBinaryArray;
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;

use super::{downcast, leave, wrap};
use crate::tokens::{Encoder, Ends, Names};

/// A tokenizer that gives ids. See `tokens::Encoder`.
#[pyclass(frozen)]
pub struct TokenEncoder(Encoder);

#[pymethods]
impl TokenEncoder {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, pattern: Option<&str>) -> PyResult<Self> {
        leave(py, || Encoder::new(&path, pattern)).map(Self)
    }

    /// Ids of every document of a large_binary array, as large_list<uint32>.
    fn encode(
        &self,
        py: Python<'_>,
        texts: PyArrowType<ArrayData>,
        bos: Option<u32>,
        eos: Option<u32>,
        num_threads: usize,
    ) -> PyResult<PyArrowType<ArrayData>> {
        let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
        leave(py, || self.0.encode(&texts, Ends { bos, eos }, num_threads)).map(wrap)
    }
}

/// Tokens of a tokenizer by what they are. See `tokens::Names`.
#[pyclass(frozen)]
pub struct TokenNames(Names);

#[pymethods]
impl TokenNames {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        leave(py, || Names::from_files(&path)).map(Self)
    }

    /// The id of a token; None where there is no such token.
    fn id(&self, token: &str) -> Option<u32> {
        self.0.id(token)
    }

    /// The special tokens with their ids, in the order of the file.
    fn special(&self) -> Vec<(String, u32)> {
        self.0.special().to_vec()
    }

    /// One more than the greatest id.
    fn size(&self) -> u64 {
        self.0.size()
    }
}
