//! What becomes of the tokens of a text: they are counted, or their ids are kept.
//!
//! Everything that finds tokens is written once, for any [`Sink`]; the compiler makes it twice.

use std::fmt::Debug;

/// Takes the tokens of a text, in order.
pub trait Sink {
    /// What the cache keeps of the tokens of a short piece.
    type Few: Few;

    /// The next tokens.
    fn push(&mut self, ids: impl ExactSizeIterator<Item = u32>);

    /// The next `count` tokens, as the cache kept them.
    fn push_few(&mut self, count: usize, few: &Self::Few);
}

/// The tokens of a short piece, in the memory of one place of the cache.
pub trait Few: Copy + Default + Debug + Send {
    /// Most ids that fit; 0 where only their number is kept, beside this.
    const MAX: usize;

    /// Keep `ids`; `None` where they do not fit.
    fn keep(ids: &[u32]) -> Option<Self>;
}

impl Few for () {
    const MAX: usize = 0;

    fn keep(_ids: &[u32]) -> Option<Self> {
        Some(())
    }
}

impl<const N: usize> Few for [u32; N]
where
    Self: Default,
{
    const MAX: usize = N;

    fn keep(ids: &[u32]) -> Option<Self> {
        let mut few = Self::default();
        few.get_mut(..ids.len())?.copy_from_slice(ids);
        Some(few)
    }
}

/// Counts tokens.
#[derive(Debug, Default)]
pub struct Count(pub u64);

impl Sink for Count {
    type Few = ();

    fn push(&mut self, ids: impl ExactSizeIterator<Item = u32>) {
        self.0 += ids.len() as u64;
    }

    #[inline]
    fn push_few(&mut self, count: usize, _few: &()) {
        self.0 += count as u64;
    }
}

/// Ids that the cache keeps in one place; nearly all short pieces have no more.
const FEW: usize = 4;

/// Keeps the ids of tokens.
#[derive(Debug, Default)]
pub struct Ids(pub Vec<u32>);

impl Sink for Ids {
    type Few = [u32; FEW];

    fn push(&mut self, ids: impl ExactSizeIterator<Item = u32>) {
        self.0.extend(ids);
    }

    #[inline]
    fn push_few(&mut self, count: usize, few: &Self::Few) {
        // Copying all of them and forgetting some takes no branch.
        let len = self.0.len() + count;
        self.0.extend_from_slice(few);
        self.0.truncate(len);
    }
}
