//! Examples of a training file, one after the other, as the reference implementation sees them.
//!
//! An example ends with `</s>`: the end of a line, or a word that is spelled so. The last line of a file without a
//! newline has no such end. One line is held at a time.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fasttext::dictionary::END;
use crate::fasttext::tokens::{Token, fnv, split};

const BUFFER_BYTES: usize = 1 << 20;

/// A training file that is read from its start to its end, as often as wanted.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    tokens: Vec<Token>,
    /// First of the tokens that was not seen.
    at: usize,
    /// Whether all examples of the line were seen.
    is_over: bool,
    end_hash: u32,
    num_read: u64,
    num_bytes: u64,
}

impl Lines {
    /// Open a file.
    ///
    /// # Errors
    /// `Error::Data` with its name where it cannot be read; so for all below.
    pub fn open(path: &Path) -> Result<Self> {
        let named = |error: std::io::Error| Error::Data(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(named)?;
        let num_bytes = file.metadata().map_err(named)?.len();
        Ok(Self {
            path: path.into(),
            reader: BufReader::with_capacity(BUFFER_BYTES, file),
            line: Vec::new(),
            tokens: Vec::new(),
            at: 0,
            is_over: true,
            end_hash: fnv(END),
            num_read: 0,
            num_bytes,
        })
    }

    /// An error that names the file.
    #[must_use]
    pub fn error(&self, message: &str) -> Error {
        Error::Data(format!("{}: {message}", self.path.display()))
    }

    /// Bytes of the file.
    #[must_use]
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Bytes that were read so far, in all passes.
    #[must_use]
    pub fn num_read(&self) -> u64 {
        self.num_read
    }

    /// Go back to the start.
    ///
    /// # Errors
    /// As `open`.
    pub fn rewind(&mut self) -> Result<()> {
        self.is_over = true;
        self.reader.rewind().map_err(|error| self.error(&error.to_string()))
    }

    /// Call `each` with the tokens of the next example and their hashes; false at the end of the file.
    ///
    /// # Errors
    /// As `open`.
    pub fn next_example(&mut self, mut each: impl FnMut(&[u8], u32)) -> Result<bool> {
        if self.is_over && !self.read_line()? {
            return Ok(false);
        }
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            let (start, end) = (token.span.start as usize, token.span.end as usize);
            let word = self.line.get(start..end).unwrap_or(&[]);
            each(word, token.hash);
            if word == END {
                return Ok(true);
            }
        }
        self.is_over = true;
        if self.line.last() == Some(&b'\n') {
            each(END, self.end_hash);
        }
        Ok(true)
    }

    fn read_line(&mut self) -> Result<bool> {
        self.line.clear();
        self.tokens.clear();
        self.at = 0;
        let count = self.reader.read_until(b'\n', &mut self.line);
        let count = count.map_err(|error| self.error(&error.to_string()))?;
        self.num_read += count as u64;
        if u32::try_from(count).is_err() {
            return Err(self.error("a line has 4 GiB or more"));
        }
        split(&self.line, 0..count, &mut self.tokens);
        self.is_over = count == 0;
        Ok(count > 0)
    }
}
