//! Candidates and clusters of near-duplicates for Python. See `near`.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{downcast, leave, wrap};
use crate::near::{self, Mode, Settings};

/// Pairs that may be alike. See `near::Candidates`.
#[pyclass]
pub struct Candidates(near::Candidates);

#[pymethods]
impl Candidates {
    #[new]
    #[pyo3(signature = (
        folder, num_bands, num_rows, *, num_partitions = 256, memory_bytes, num_indexed = 0, mode = "both"
    ))]
    #[expect(clippy::too_many_arguments, reason = "all but three by name")]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        num_bands: usize,
        num_rows: usize,
        num_partitions: usize,
        memory_bytes: u64,
        num_indexed: u64,
        mode: &str,
    ) -> PyResult<Self> {
        leave(py, || {
            let mode = Mode::parse(mode)?;
            let settings =
                Settings { folder, num_bands, num_rows, num_partitions, memory_bytes, num_indexed, mode };
            near::Candidates::new(settings)
        })
        .map(Self)
    }

    /// Add signatures with the numbers and scopes of their documents.
    fn add(
        &mut self,
        py: Python<'_>,
        signatures: PyArrowType<ArrayData>,
        nodes: PyArrowType<ArrayData>,
        scopes: Option<PyArrowType<ArrayData>>,
        num_threads: usize,
    ) -> PyResult<()> {
        let signatures = downcast(py, "signatures", signatures)?;
        let nodes = downcast(py, "nodes", nodes)?;
        let scopes = scopes.map(|scopes| downcast(py, "scopes", scopes)).transpose()?;
        leave(py, || self.0.add(signatures, nodes, scopes, num_threads))
    }

    /// Find pairs, hot groups and components; what was counted.
    fn find<'py>(
        &mut self,
        py: Python<'py>,
        max_group: usize,
        num_threads: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let counts = leave(py, || self.0.find(max_group, num_threads))?;
        named(py, &counts.named())
    }

    /// The bucket of each document of a range, as uint32.
    fn buckets(
        &self,
        py: Python<'_>,
        first_node: u64,
        num_nodes: usize,
        num_buckets: u32,
    ) -> PyResult<PyArrowType<ArrayData>> {
        leave(py, || self.0.buckets(first_node, num_nodes, num_buckets)).map(wrap)
    }

    /// Whether each document of a range is a member of a hot group.
    fn is_hot(
        &self,
        py: Python<'_>,
        first_node: u64,
        num_nodes: usize,
    ) -> PyResult<PyArrowType<ArrayData>> {
        leave(py, || self.0.is_hot(first_node, num_nodes)).map(wrap)
    }

    /// Write the files of all buckets.
    fn assign(&mut self, py: Python<'_>, num_buckets: u32) -> PyResult<()> {
        leave(py, || self.0.assign(num_buckets))
    }

    /// Remove the scratch files.
    fn close(&mut self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

/// Clusters of edges. See `near::Clusters`.
#[pyclass]
pub struct Clusters(near::Clusters);

#[pymethods]
impl Clusters {
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, num_nodes: u64, memory_bytes: u64) -> PyResult<Self> {
        leave(py, || near::Clusters::new(folder, num_nodes, memory_bytes)).map(Self)
    }

    /// Add edges with their similarity.
    fn add(
        &mut self,
        py: Python<'_>,
        a: PyArrowType<ArrayData>,
        b: PyArrowType<ArrayData>,
        similarity: PyArrowType<ArrayData>,
    ) -> PyResult<()> {
        let (a, b) = (downcast(py, "a", a)?, downcast(py, "b", b)?);
        let similarity = downcast(py, "similarity", similarity)?;
        leave(py, || self.0.add(&a, &b, &similarity))
    }

    /// Find the clusters; what was counted.
    fn finish<'py>(&mut self, py: Python<'py>, num_threads: usize) -> PyResult<Bound<'py, PyDict>> {
        let counts = leave(py, || self.0.finish(num_threads))?;
        named(py, &counts.named())
    }

    /// The rows of a range of nodes.
    fn read(
        &mut self,
        py: Python<'_>,
        first_node: u64,
        num_nodes: usize,
    ) -> PyResult<PyArrowType<RecordBatch>> {
        leave(py, || self.0.read(first_node, num_nodes)).map(PyArrowType)
    }

    /// Remove the scratch files.
    fn close(&mut self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

/// Which documents of clusters are dropped, and for which. See `near::choose_keepers`.
#[pyfunction]
pub fn choose_keepers(
    py: Python<'_>,
    docs: PyArrowType<RecordBatch>,
    edges: PyArrowType<RecordBatch>,
    connected: bool,
) -> PyResult<PyArrowType<RecordBatch>> {
    leave(py, || near::choose_keepers(&docs.0, &edges.0, connected)).map(PyArrowType)
}

fn named<'py>(py: Python<'py>, counts: &[(&str, u64)]) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    counts.iter().try_for_each(|(name, count)| found.set_item(name, count))?;
    Ok(found)
}
