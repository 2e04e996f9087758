//! BLAKE3, cut to its first 128 bits: fingerprints of files and settings, ids of documents.

use std::fmt::Write as _;

use std::path::Path;

/// Bytes of an id or fingerprint.
pub const ID_BYTES: usize = 16;

/// First 128 bits of the BLAKE3 hash of `data`.
#[must_use]
pub fn id(data: &[u8]) -> [u8; ID_BYTES] {
    truncate(blake3::hash(data))
}

/// First 128 bits of a finished hash.
#[must_use]
pub fn truncate(hash: blake3::Hash) -> [u8; ID_BYTES] {
    let mut out = [0; ID_BYTES];
    out.copy_from_slice(&hash.as_bytes()[..ID_BYTES]);
    out
}

/// Lower-case hex of an id.
#[must_use]
pub fn hex(id: [u8; ID_BYTES]) -> String {
    id.iter().fold(String::with_capacity(2 * ID_BYTES), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Hash a whole file in 1 MiB reads.
///
/// # Errors
/// The I/O error of opening or reading it.
pub fn file(path: &Path) -> std::io::Result<[u8; ID_BYTES]> {
    content(&mut std::fs::File::open(path)?)
}

/// Hash what is left of a source in 1 MiB reads.
///
/// # Errors
/// The I/O error of reading it.
pub fn content(source: &mut impl std::io::Read) -> std::io::Result<[u8; ID_BYTES]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok(truncate(hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_text_has_the_published_hash() {
        assert_eq!(hex(id(b"")), "af1349b9f5f9a1a6a0404dea36dcc949");
    }
}
