//! The whole Python boundary: three lines a function - convert, leave Python, wrap.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::hash;

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

/// `curate._rust`: the list of exports.
#[pymodule(gil_used = false)]
mod _rust {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{Hasher, blake3_hex, hash_file};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
