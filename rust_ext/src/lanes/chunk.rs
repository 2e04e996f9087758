//! Documents of a window that a lane has at hand: tokens in memory, or in files that are mapped into it.

use arrow_array::{UInt16Array, UInt32Array};

use crate::error::{Error, Result};

/// Tokens as they are stored.
#[derive(Debug, Clone)]
pub enum Stored {
    /// Two bytes each.
    Short(UInt16Array),
    /// Four bytes each.
    Long(UInt32Array),
}

impl Stored {
    fn len(&self) -> usize {
        match self {
            Self::Short(ids) => ids.len(),
            Self::Long(ids) => ids.len(),
        }
    }
}

/// Consecutive documents of a window.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The window.
    pub window: i64,
    /// The first document's place in the window.
    pub first: i64,
    files: Vec<Stored>,
    /// The file of each document; empty where all are in the first.
    file_of: Vec<i64>,
    begins: Vec<i64>,
    lengths: Vec<i64>,
    docs: Vec<i64>,
}

impl Chunk {
    /// Documents `docs` of `lengths` tokens, which begin at `begins` in their files.
    ///
    /// # Errors
    /// The tables differ in length, or a document does not lie in its file.
    pub fn new(
        window: i64,
        first: i64,
        files: Vec<Stored>,
        file_of: Vec<i64>,
        begins: Vec<i64>,
        lengths: Vec<i64>,
        docs: Vec<i64>,
    ) -> Result<Self> {
        let num = docs.len();
        if begins.len() != num || lengths.len() != num || !(file_of.is_empty() || file_of.len() == num) {
            return Err(Error::Data("tables of documents differ in length".to_owned()));
        }
        let made = Self { window, first, files, file_of, begins, lengths, docs };
        for place in 0..num {
            let (begin, length) = (made.begins[place], made.lengths[place]);
            let size = made.file(place).map_or(-1, |file| file.len() as i64);
            if begin < 0 || length < 0 || begin > size || length > size - begin {
                return Err(Error::Data(format!(
                    "document {} has {length} tokens from {begin} on, of a file of {size}",
                    made.docs[place]
                )));
            }
        }
        Ok(made)
    }

    fn file(&self, place: usize) -> Option<&Stored> {
        let number = self.file_of.get(place).copied().unwrap_or(0);
        usize::try_from(number).ok().and_then(|number| self.files.get(number))
    }

    /// Whether a document of a window is here.
    #[must_use]
    pub fn has(&self, window: i64, item: i64) -> bool {
        window == self.window && item >= self.first && item - self.first < self.docs.len() as i64
    }

    /// A document that is here: its number in the index, and its tokens.
    #[must_use]
    pub fn document(&self, item: i64) -> (i64, i64) {
        let place = (item - self.first) as usize;
        (self.docs[place], self.lengths[place])
    }

    /// Copy tokens of a document that is here, from `offset` on.
    pub fn copy(&self, item: i64, offset: i64, out: &mut [i32]) {
        let place = (item - self.first) as usize;
        let begin = (self.begins[place] + offset) as usize;
        match self.file(place) {
            Some(Stored::Short(ids)) => {
                for (to, from) in out.iter_mut().zip(&ids.values()[begin..]) {
                    *to = i32::from(*from);
                }
            }
            Some(Stored::Long(ids)) => {
                for (to, from) in out.iter_mut().zip(&ids.values()[begin..]) {
                    *to = *from as i32;
                }
            }
            None => {}
        }
    }
}
