//! Lanes of the training loader for Python; tables of numbers come and go as numpy's buffers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow_array::{Array as _, UInt16Array, UInt32Array, make_array};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{leave, raise};
use crate::error::Error;
use crate::lanes::{Chunk, Lanes, Shape, Stored, Tensors, describe};

/// Some lanes at work. See `lanes::Lanes`.
#[pyclass(frozen)]
pub struct LaneFiller(Mutex<Lanes>);

type Changes<'py> =
    (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, usize);

#[pymethods]
impl LaneFiller {
    #[new]
    fn new(
        py: Python<'_>,
        shape: (usize, usize, usize, usize, i32, u64),
        cursor: PyBuffer<i64>,
        served: PyBuffer<i64>,
        done: PyBuffer<u8>,
    ) -> PyResult<Self> {
        let (lanes, pools, rows, seq_len, pad, max_empty) = shape;
        let shape = Shape { lanes, pools, rows, seq_len, pad, max_empty };
        let made = Lanes::new(shape, &cursor.to_vec(py)?, &served.to_vec(py)?, &done.to_vec(py)?);
        made.map(|lanes| Self(Mutex::new(lanes))).map_err(|error| raise(py, &error))
    }

    /// Go on with other weights.
    fn reweigh(
        &self,
        py: Python<'_>,
        weights: PyBuffer<f64>,
        passes: PyBuffer<f64>,
        clocks: PyBuffer<f64>,
    ) -> PyResult<()> {
        let (weights, passes, clocks) = (weights.to_vec(py)?, passes.to_vec(py)?, clocks.to_vec(py)?);
        leave(py, || self.lock().reweigh(&weights, &passes, &clocks))
    }

    /// Fill the sequences of a step; lane, pool, window and item of a document that is missing.
    fn fill(&self, py: Python<'_>) -> PyResult<Option<(usize, usize, i64, i64)>> {
        let need = leave(py, || self.lock().fill())?;
        Ok(need.map(|need| (need.lane, need.pool, need.place.0, need.place.1)))
    }

    /// Give a lane documents of a pool: their place, files, and tables.
    fn supply(
        &self,
        py: Python<'_>,
        lane_pool: (usize, usize),
        place: (i64, i64),
        files: Vec<PyArrowType<ArrayData>>,
        file_of: Option<PyBuffer<i64>>,
        tables: (PyBuffer<i64>, PyBuffer<i64>, PyBuffer<i64>),
    ) -> PyResult<()> {
        let files: PyResult<Vec<Stored>> = files.into_iter().map(|file| stored(py, file)).collect();
        let file_of = file_of.map_or(Ok(Vec::new()), |numbers| numbers.to_vec(py))?;
        let (begins, lengths, docs) = (tables.0.to_vec(py)?, tables.1.to_vec(py)?, tables.2.to_vec(py)?);
        let files = files?;
        leave(py, || {
            let chunk = Chunk::new(place.0, place.1, files, file_of, begins, lengths, docs)?;
            self.lock().supply(lane_pool.0, lane_pool.1, chunk)
        })
    }

    /// Say that a pool has nothing left for a lane.
    fn exhaust(&self, py: Python<'_>, lane: usize, pool: usize) -> PyResult<()> {
        leave(py, || self.lock().exhaust(lane, pool))
    }

    /// Forget the documents that a lane has of a pool.
    fn forget(&self, py: Python<'_>, lane: usize, pool: usize) -> PyResult<()> {
        leave(py, || self.lock().forget(lane, pool))
    }

    /// End the step: its tokens into `out`; spans, changed places, their passes, clocks, and lanes that are
    /// short.
    fn finish<'py>(&self, py: Python<'py>, out: PyBuffer<i32>) -> PyResult<Changes<'py>> {
        out.copy_from_slice(py, self.lock().tokens())?;
        let changes = self.lock().finish();
        let ints = |numbers: &[i64]| {
            PyBytes::new(py, &numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>())
        };
        let floats = |numbers: &[f64]| {
            PyBytes::new(py, &numbers.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<u8>>())
        };
        Ok((
            ints(&changes.spans),
            ints(&changes.places),
            floats(&changes.passes),
            floats(&changes.clocks),
            changes.num_short,
        ))
    }
}

impl LaneFiller {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(py: Python<'_>, file: PyArrowType<ArrayData>) -> PyResult<Stored> {
    let array = make_array(file.0);
    if let Some(ids) = array.as_any().downcast_ref::<UInt16Array>() {
        return Ok(Stored::Short(ids.clone()));
    }
    if let Some(ids) = array.as_any().downcast_ref::<UInt32Array>() {
        return Ok(Stored::Long(ids.clone()));
    }
    Err(raise(py, &Error::Data(format!("tokens have the wrong Arrow type: {}", array.data_type()))))
}

/// Write the tensors of a batch: ids, labels, positions, sources. See `lanes::describe`.
#[pyfunction]
pub fn describe_batch(
    py: Python<'_>,
    tokens: PyBuffer<i32>,
    seq_len: usize,
    spans: PyBuffer<i64>,
    out: (PyBuffer<i64>, PyBuffer<i64>, PyBuffer<i64>, PyBuffer<i32>),
) -> PyResult<()> {
    let (tokens, spans) = (tokens.to_vec(py)?, spans.to_vec(py)?);
    let tensors = Tensors {
        ids: cells(py, &out.0)?,
        labels: cells(py, &out.1)?,
        positions: cells(py, &out.2)?,
        sources: cells(py, &out.3)?,
    };
    describe(&tokens, seq_len, &spans, tensors).map_err(|error| raise(py, &error))
}

fn cells<'a, T: Element>(py: Python<'a>, buffer: &'a PyBuffer<T>) -> PyResult<&'a [std::cell::Cell<T>]> {
    buffer
        .as_mut_slice(py)
        .ok_or_else(|| raise(py, &Error::Data("a tensor is not one writable piece of memory".to_owned())))
}
