//! Near duplicates for Python: verification of candidates, sets of shingles, boilerplate.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{FixedSizeBinaryArray, Int64Array, LargeBinaryArray, RecordBatch, UInt32Array};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{downcast, leave, wrap};
use crate::near::boilerplate;
use crate::near::edge_files::Edges;
use crate::near::shingle_sets::{self as sets, Texts};
use crate::near::verify::{self, Options, Places};

type Data = PyArrowType<ArrayData>;

fn sources_of(py: Python<'_>, sources: Option<Data>) -> PyResult<Option<UInt32Array>> {
    sources.map(|sources| downcast(py, "sources", sources)).transpose()
}

/// The hashes of the shingles of each text. See `near::shingle_sets`.
#[pyfunction]
pub fn shingle_sets(py: Python<'_>, texts: Data, settings: &str) -> PyResult<Data> {
    let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
    leave(py, || sets::shingle_sets(&texts, settings)).map(wrap)
}

/// Similarity of texts, row by row. See `near::shingle_sets::set_similarity`.
#[pyfunction]
#[pyo3(signature = (texts_a, texts_b, settings, mode, boilerplate=None, sources_a=None, sources_b=None))]
#[allow(clippy::too_many_arguments, reason = "two texts, each with its sources")]
pub fn set_similarity(
    py: Python<'_>,
    texts_a: Data,
    texts_b: Data,
    settings: &str,
    mode: &str,
    boilerplate: Option<Bound<'_, Boilerplate>>,
    sources_a: Option<Data>,
    sources_b: Option<Data>,
) -> PyResult<Data> {
    let (a, b) = (downcast(py, "texts_a", texts_a)?, downcast(py, "texts_b", texts_b)?);
    let (of_a, of_b) = (sources_of(py, sources_a)?, sources_of(py, sources_b)?);
    let lines = boilerplate.map(|lines| Arc::clone(&lines.get().0));
    let (a, b) = (Texts { texts: &a, sources: of_a.as_ref() }, Texts { texts: &b, sources: of_b.as_ref() });
    leave(py, || sets::set_similarity(a, b, lines.as_deref(), settings, mode)).map(wrap)
}

/// Counts in how many documents lines occur. See `near::boilerplate::LineCounts`.
#[pyclass]
pub struct LineCounts(boilerplate::LineCounts);

#[pymethods]
impl LineCounts {
    #[new]
    fn new(py: Python<'_>, max_lines: usize) -> PyResult<Self> {
        leave(py, || boilerplate::LineCounts::new(max_lines)).map(Self)
    }

    /// Count the lines of documents.
    fn add(&mut self, py: Python<'_>, texts: Data, sources: Data) -> PyResult<()> {
        let (texts, sources) = (downcast(py, "texts", texts)?, downcast(py, "sources", sources)?);
        leave(py, || self.0.add(&texts, &sources))
    }

    /// The lines that many documents of their source have.
    fn finish(&self, py: Python<'_>, min_share: f64, min_docs: u64) -> PyResult<Boilerplate> {
        leave(py, || self.0.finish(min_share, min_docs)).map(|lines| Boilerplate(Arc::new(lines)))
    }
}

/// Lines that are dropped before texts are compared. See `near::boilerplate::Boilerplate`.
#[pyclass(frozen)]
pub struct Boilerplate(Arc<boilerplate::Boilerplate>);

#[pymethods]
impl Boilerplate {
    /// Read what `to_arrow` has made.
    #[staticmethod]
    fn from_arrow(py: Python<'_>, batch: PyArrowType<RecordBatch>) -> PyResult<Self> {
        leave(py, || boilerplate::Boilerplate::from_arrow(&batch.0)).map(|lines| Self(Arc::new(lines)))
    }

    /// Columns source and line.
    fn to_arrow(&self, py: Python<'_>) -> PyResult<PyArrowType<RecordBatch>> {
        leave(py, || self.0.to_arrow()).map(PyArrowType)
    }
}

/// A verification of candidates. See `near::verify::Verifier`.
#[pyclass]
pub struct Verifier(verify::Verifier);

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (folder, settings, *, mode, threshold, max_reps=64, num_buckets, memory_bytes))]
    #[allow(clippy::too_many_arguments, reason = "all settings of a verification")]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        settings: &str,
        mode: &str,
        threshold: f64,
        max_reps: usize,
        num_buckets: usize,
        memory_bytes: usize,
    ) -> PyResult<Self> {
        let options = Options { settings, mode, threshold, max_reps, num_buckets, memory_bytes };
        leave(py, || verify::Verifier::new(&folder, &options)).map(Self)
    }

    /// Take up the sets of texts.
    #[pyo3(signature = (texts, nodes, buckets, num_threads, boilerplate=None, sources=None))]
    #[allow(clippy::too_many_arguments, reason = "columns of texts, and how they are read")]
    fn add_texts(
        &mut self,
        py: Python<'_>,
        texts: Data,
        nodes: Data,
        buckets: Data,
        num_threads: usize,
        boilerplate: Option<Bound<'_, Boilerplate>>,
        sources: Option<Data>,
    ) -> PyResult<()> {
        let texts: LargeBinaryArray = downcast(py, "texts", texts)?;
        let (nodes, buckets) = (downcast(py, "nodes", nodes)?, downcast(py, "buckets", buckets)?);
        let sources = sources_of(py, sources)?;
        let lines = boilerplate.map(|lines| Arc::clone(&lines.get().0));
        let texts = Texts { texts: &texts, sources: sources.as_ref() };
        let places = Places { nodes: &nodes, buckets: &buckets };
        leave(py, || self.0.add_texts(texts, lines.as_deref(), &places, num_threads))
    }

    /// Take up signatures.
    fn add_signatures(
        &mut self,
        py: Python<'_>,
        signatures: Data,
        nodes: Data,
        buckets: Data,
    ) -> PyResult<()> {
        let signatures: FixedSizeBinaryArray = downcast(py, "signatures", signatures)?;
        let nodes: Int64Array = downcast(py, "nodes", nodes)?;
        let buckets: UInt32Array = downcast(py, "buckets", buckets)?;
        leave(py, || self.0.add_signatures(&signatures, &Places { nodes: &nodes, buckets: &buckets }))
    }

    /// Verify all candidates; what was met, by name. Ctrl-C is heard between two buckets.
    fn verify<'py>(&mut self, py: Python<'py>, num_threads: usize) -> PyResult<Bound<'py, PyDict>> {
        leave(py, || self.0.start())?;
        for bucket in 0..self.0.num_buckets() {
            leave(py, || self.0.verify_bucket(bucket, num_threads))?;
            py.check_signals()?;
        }
        let counts = leave(py, || self.0.finish(num_threads))?;
        let found = PyDict::new(py);
        counts.items().into_iter().try_for_each(|(name, count)| found.set_item(name, count))?;
        found.set_item("rejected_by_tenth", counts.rejected_by_tenth.to_vec())?;
        Ok(found)
    }

    /// The edges, sorted, in batches.
    fn edges(&self, py: Python<'_>) -> PyResult<EdgeBatches> {
        leave(py, || self.0.edges()).map(EdgeBatches)
    }

    /// Remove the files of this verification.
    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        leave(py, || self.0.close())
    }
}

/// Batches of edges. See `near::edge_files::Edges`.
#[pyclass]
pub struct EdgeBatches(Edges);

#[pymethods]
impl EdgeBatches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<PyArrowType<RecordBatch>>> {
        Ok(leave(py, || self.0.next().transpose())?.map(PyArrowType))
    }
}
