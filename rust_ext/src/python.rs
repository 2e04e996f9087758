//! The whole Python boundary: three lines a function - convert, leave Python, wrap.

use pyo3::prelude::*;

/// `curate._rust`: the list of exports.
#[pymodule(gil_used = false)]
mod _rust {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BUILD_PROFILE", if cfg!(debug_assertions) { "debug" } else { "release" })
    }
}
