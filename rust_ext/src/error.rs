//! The one error type of the core.

use std::fmt;

/// Why a native call failed: always a setting or a file, never the text of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A setting is wrong; becomes `ConfigError` in Python.
    Config(String),
    /// An input (a model or tokenizer file, an array of the wrong type) is wrong; becomes `DataError`.
    Data(String),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Data(message) => out.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// What every fallible core function returns.
pub type Result<T> = std::result::Result<T, Error>;
