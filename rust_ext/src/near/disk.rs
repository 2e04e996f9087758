//! A folder of scratch files that knows how many bytes are in it.
//!
//! Nothing here survives: the folder is emptied when it is taken and removed when it is dropped. Not here:
//! what is in the files.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::records::{Record, encode, width};
use crate::error::{Error, Result};

/// Bytes of records that are written in one go, few enough for the cache.
const TURN_BYTES: usize = 1 << 18;

/// An I/O error with the path it is about.
pub fn named(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |error| Error::File {
        path: path.display().to_string(),
        code: error.raw_os_error(),
        message: error.to_string(),
    }
}

/// A folder of one's own for files that are removed in the end.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    bytes: AtomicU64,
    peak: AtomicU64,
}

impl Scratch {
    /// Make the folder, without anything that an earlier process left in it.
    ///
    /// # Errors
    /// That of the file system.
    pub fn create(folder: PathBuf) -> Result<Self> {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(&folder)(error)),
            _ => {}
        }
        fs::create_dir_all(&folder).map_err(named(&folder))?;
        Ok(Self { folder, bytes: AtomicU64::new(0), peak: AtomicU64::new(0) })
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Write records at the end of a file, which need not be there.
    ///
    /// # Errors
    /// That of the file system.
    pub fn append<const N: usize>(&self, path: &Path, records: &[Record<N>]) -> Result<()> {
        let mut file = open_end(path)?;
        let mut bytes = Vec::new();
        for part in records.chunks(TURN_BYTES / width::<N>()) {
            bytes.clear();
            encode(part, &mut bytes);
            file.write_all(&bytes).map_err(named(path))?;
            self.count(bytes.len() as u64);
        }
        Ok(())
    }

    /// Count bytes that were written into the folder.
    pub fn count(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// Remove a file; one that is not there is no error.
    ///
    /// # Errors
    /// That of the file system.
    pub fn remove(&self, path: &Path) -> Result<()> {
        let Ok(found) = fs::metadata(path) else {
            return Ok(());
        };
        fs::remove_file(path).map_err(named(path))?;
        self.bytes.fetch_sub(found.len(), Ordering::Relaxed);
        Ok(())
    }

    /// The most bytes that were here at one time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Scratch {
    /// Remove everything; what cannot be removed stays.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Write at the end of a file, which need not be there.
///
/// # Errors
/// That of the file system.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    open_end(path)?.write_all(bytes).map_err(named(path))
}

fn open_end(path: &Path) -> Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    // To ask for a file to be made locks the folder even where the file is there.
    let file = options.append(true).open(path).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => options.create(true).open(path),
        _ => Err(error),
    });
    file.map_err(named(path))
}
