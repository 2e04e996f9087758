//! Counts of hashed n-grams for Python.

use arrow_array::LargeBinaryArray;
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;

use super::{downcast, leave, wrap};
use crate::linear::{CountSettings, Counter};

/// Counts the buckets of n-grams. See `linear::Counter`.
#[pyclass(frozen)]
pub struct NgramCounter(Counter);

#[pymethods]
impl NgramCounter {
    #[new]
    fn new(py: Python<'_>, settings: &str) -> PyResult<Self> {
        leave(py, || CountSettings::parse(settings).map(Counter::new)).map(Self)
    }

    /// Count the n-grams of a large_binary array; how many each document has, as uint64.
    fn add(
        &self,
        py: Python<'_>,
        texts: PyArrowType<ArrayData>,
        num_threads: usize,
    ) -> PyResult<PyArrowType<ArrayData>> {
        let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
        leave(py, || self.0.add(&texts, num_threads)).map(wrap)
    }

    /// How many n-grams each document has; nothing is counted.
    fn lengths(
        &self,
        py: Python<'_>,
        texts: PyArrowType<ArrayData>,
        num_threads: usize,
    ) -> PyResult<PyArrowType<ArrayData>> {
        let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
        leave(py, || self.0.lengths(&texts, num_threads)).map(wrap)
    }

    /// How often each bucket was met, as uint64.
    fn counts(&self, py: Python<'_>) -> PyResult<PyArrowType<ArrayData>> {
        leave(py, || Ok(self.0.counts())).map(wrap)
    }
}
