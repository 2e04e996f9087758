//! Byte-pair encoding: how many tokens a piece of text becomes.
//!
//! Merges are applied lowest rank first, leftmost first among equals, as all implementations do. Short
//! pieces scan an array (quadratic, but of a few dozen); long ones use a heap, n log n.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// No token.
pub const NONE: u32 = u32::MAX;

/// Pieces of at most this many symbols are merged by scanning.
const SCAN_SYMBOLS: usize = 48;

/// How a piece becomes its first symbols.
#[derive(Debug)]
pub enum Alphabet {
    /// Every byte is a symbol.
    Bytes(Box<[u32; 256]>),
    /// Every character is a symbol.
    Chars(HashMap<char, u32>),
}

/// A BPE model.
#[derive(Debug)]
pub struct Bpe {
    /// First symbols; what has none is unknown.
    pub alphabet: Alphabet,
    /// Ranks and results of pairs.
    pub merges: Merges,
    /// Pieces that are one token whatever the merges say.
    pub whole: HashSet<Vec<u8>>,
    /// Token of what is unknown; without one it is left out.
    pub unknown: Option<u32>,
    /// Whether neighbouring unknown symbols are one.
    pub fuse_unknown: bool,
    /// Tokens of bytes, for characters that are unknown.
    pub fallback: Option<Box<[u32; 256]>>,
}

/// Memory that is used again from piece to piece.
#[derive(Debug, Default)]
pub struct Work {
    ids: Vec<u32>,
    pairs: Vec<(u32, u32)>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    id: u32,
    prev: u32,
    next: u32,
}

impl Bpe {
    /// Number of tokens of `piece`, which is not empty.
    #[must_use]
    pub fn count(&self, piece: &str, work: &mut Work) -> u32 {
        if self.whole.contains(piece.as_bytes()) {
            return 1;
        }
        work.ids.clear();
        self.symbols(piece, &mut work.ids);
        if work.ids.len() <= SCAN_SYMBOLS { self.merges.scan(work) } else { self.merges.sift(work) }
    }

    fn symbols(&self, piece: &str, ids: &mut Vec<u32>) {
        // What is unknown is held back until a known symbol follows; tokens of bytes overtake it.
        let mut pending = false;
        let mut push = |ids: &mut Vec<u32>, id: u32, bytes: &[u8]| {
            if id != NONE {
                ids.extend(self.unknown.filter(|_| std::mem::take(&mut pending)));
                ids.push(id);
            } else if let Some(fallback) = &self.fallback
                && bytes.iter().all(|byte| fallback[usize::from(*byte)] != NONE)
            {
                ids.extend(bytes.iter().map(|byte| fallback[usize::from(*byte)]));
            } else if self.unknown.is_some() {
                ids.extend(self.unknown.filter(|_| pending && !self.fuse_unknown));
                pending = true;
            }
        };
        match &self.alphabet {
            Alphabet::Bytes(table) => {
                for byte in piece.as_bytes() {
                    push(ids, table[usize::from(*byte)], &[*byte]);
                }
            }
            Alphabet::Chars(table) => {
                let mut buffer = [0; 4];
                for char in piece.chars() {
                    let id = table.get(&char).copied().unwrap_or(NONE);
                    push(ids, id, char.encode_utf8(&mut buffer).as_bytes());
                }
            }
        }
        ids.extend(self.unknown.filter(|_| pending));
    }
}

/// Two symbols that become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merge {
    /// The symbol on the left.
    pub left: u32,
    /// The symbol on the right.
    pub right: u32,
    /// Lower ranks merge first; below [`NONE`].
    pub rank: u32,
    /// What they become.
    pub result: u32,
}

/// Pairs of symbols that merge: an open-addressing table.
#[derive(Debug)]
pub struct Merges {
    slots: Vec<(u64, u32, u32)>,
    mask: usize,
}

const EMPTY: u64 = u64::MAX;

impl Merges {
    /// Build the table; of a pair that comes twice, the last is kept.
    #[must_use]
    pub fn new(merges: &[Merge]) -> Self {
        let size = (2 * merges.len() + 2).next_power_of_two();
        let mut out = Self { slots: vec![(EMPTY, 0, 0); size], mask: size - 1 };
        for merge in merges {
            let key = u64::from(merge.left) << 32 | u64::from(merge.right);
            let at = out.slot(key);
            if let Some(slot) = out.slots.get_mut(at) {
                *slot = (key, merge.rank, merge.result);
            }
        }
        out
    }

    /// Position of the slot that has the key, or of the empty one where it would be.
    #[inline]
    fn slot(&self, key: u64) -> usize {
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & self.mask;
        while let Some((found, ..)) = self.slots.get(at) {
            if *found == key || *found == EMPTY {
                break;
            }
            at = (at + 1) & self.mask;
        }
        at
    }

    /// Rank and result of a pair; `(NONE, NONE)` where it does not merge.
    #[inline]
    #[must_use]
    pub fn get(&self, left: u32, right: u32) -> (u32, u32) {
        let key = u64::from(left) << 32 | u64::from(right);
        match self.slots.get(self.slot(key)) {
            Some(&(found, rank, result)) if found == key => (rank, result),
            _ => (NONE, NONE),
        }
    }

    /// Merge `work.ids` by looking for the lowest rank again and again; returns what is left.
    fn scan(&self, work: &mut Work) -> u32 {
        let Work { ids, pairs, .. } = work;
        pairs.clear();
        pairs.extend(ids.iter().zip(ids.iter().skip(1)).map(|(left, right)| self.get(*left, *right)));
        loop {
            let mut best = (NONE, 0);
            for (at, pair) in pairs.iter().enumerate() {
                if pair.0 < best.0 {
                    best = (pair.0, at);
                }
            }
            let (rank, at) = best;
            if rank == NONE {
                return ids.len() as u32;
            }
            let merged = pairs.remove(at).1;
            ids.remove(at + 1);
            if let Some(id) = ids.get_mut(at) {
                *id = merged;
            }
            if at > 0 {
                pairs[at - 1] = self.get(ids[at - 1], merged);
            }
            if at < pairs.len() {
                pairs[at] = self.get(merged, ids[at + 1]);
            }
        }
    }

    /// Merge `work.ids` with a heap over a linked list; returns what is left.
    fn sift(&self, work: &mut Work) -> u32 {
        let Work { ids, links, heap, .. } = work;
        let count = ids.len() as u32;
        links.clear();
        links.extend(ids.iter().zip(0..).map(|(&id, at)| Link {
            id,
            prev: if at == 0 { NONE } else { at - 1 },
            next: if at + 1 == count { NONE } else { at + 1 },
        }));
        heap.clear();
        let first = |(pair, at): (&[u32], u32)| match self.get(pair[0], pair[1]) {
            (NONE, _) => None,
            (rank, result) => Some(Reverse((rank, at, result))),
        };
        heap.extend(ids.windows(2).zip(0..).filter_map(first));
        let mut left = count;
        while let Some(Reverse((_, at, result))) = heap.pop() {
            let here = links[at as usize];
            if here.id == NONE || here.next == NONE {
                continue;
            }
            let right = links[here.next as usize];
            if self.get(here.id, right.id).1 != result {
                continue;
            }
            links[here.next as usize].id = NONE;
            links[at as usize] = Link { id: result, prev: here.prev, next: right.next };
            left -= 1;
            if right.next != NONE {
                links[right.next as usize].prev = at;
                let (rank, new) = self.get(result, links[right.next as usize].id);
                heap.extend((rank != NONE).then_some(Reverse((rank, at, new))));
            }
            if here.prev != NONE {
                let (rank, new) = self.get(links[here.prev as usize].id, result);
                heap.extend((rank != NONE).then_some(Reverse((rank, here.prev, new))));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges of random pairs of a small alphabet, so that long pieces merge deeply.
    fn merges() -> Merges {
        let mut state = 1_u32;
        let mut next = |bound: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % bound
        };
        let merge = |result| Merge { left: next(result), right: next(result), rank: result, result };
        Merges::new(&(4..200).map(merge).collect::<Vec<_>>())
    }

    #[test]
    fn the_heap_and_the_scan_merge_alike() {
        let merges = merges();
        let mut work = Work::default();
        for len in 1..300_u32 {
            let ids: Vec<u32> = (0..len).map(|at| (at * at + len / 3) % 4).collect();
            work.ids.clone_from(&ids);
            let scanned = merges.scan(&mut work);
            work.ids = ids;
            assert_eq!(merges.sift(&mut work), scanned, "{len}");
        }
    }
}
