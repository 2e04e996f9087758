//! The one error type of the core.

use std::fmt;

/// Why a native call failed: always a setting, an input or a file, never the text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A setting is wrong; becomes `ConfigError` in Python.
    Config(String),
    /// An input (a model or tokenizer file, an array of the wrong type) is wrong; becomes `DataError`.
    Data(String),
    /// A scratch or output file cannot be read or written; becomes `OSError` in Python.
    File {
        /// The file or folder.
        path: String,
        /// The number of the system's error, where it has one.
        code: Option<i32>,
        /// What the system says.
        message: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Data(message) => out.write_str(message),
            Self::File { path, message, .. } => write!(out, "{path}: {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// What every fallible core function returns.
pub type Result<T> = std::result::Result<T, Error>;
