//! Byte-pair encoding: the tokens that a piece of text becomes.
//!
//! Merges are applied lowest rank first, leftmost first among equals, as all implementations do. Short
//! pieces scan an array (quadratic, but of a few dozen); long ones use a heap, n log n.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

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
    pub whole: HashMap<Vec<u8>, u32>,
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
    ranks: Vec<u32>,
    links: Vec<Link>,
    heap: BinaryHeap<Reverse<(u32, u32)>>,
}

impl Work {
    /// Give back buffers of more entries than `kept`.
    pub fn trim(&mut self, kept: usize) {
        self.ids.clear();
        self.ids.shrink_to(kept);
        self.ranks.clear();
        self.ranks.shrink_to(kept);
        self.links.clear();
        self.links.shrink_to(kept);
        self.heap.clear();
        self.heap.shrink_to(kept);
    }
}

#[derive(Debug, Clone, Copy)]
struct Link {
    id: u32,
    prev: u32,
    next: u32,
}

impl Bpe {
    /// Forget the whole pieces that merge into one token anyway, mostly all of them: no look-up is faster.
    #[must_use]
    pub fn pruned(mut self) -> Self {
        let mut whole = std::mem::take(&mut self.whole);
        let mut work = Work::default();
        whole.retain(|piece, id| {
            std::str::from_utf8(piece).is_ok_and(|piece| self.merge(piece, &mut work) != [*id])
        });
        Self { whole, ..self }
    }

    /// Tokens of `piece`, which is not empty.
    #[must_use]
    pub fn ids<'a>(&'a self, piece: &str, work: &'a mut Work) -> &'a [u32] {
        match self.whole.get(piece.as_bytes()) {
            Some(id) => std::slice::from_ref(id),
            None => self.merge(piece, work),
        }
    }

    fn merge<'a>(&self, piece: &str, work: &'a mut Work) -> &'a [u32] {
        work.ids.clear();
        self.symbols(piece, &mut work.ids);
        let bytes = matches!(self.alphabet, Alphabet::Bytes(_)).then_some(piece.as_bytes());
        if work.ids.len() <= SCAN_SYMBOLS {
            self.merges.scan(work, bytes)
        } else {
            self.merges.sift(work)
        }
        &work.ids
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
    /// Lower ranks merge first.
    pub rank: u32,
    /// What they become.
    pub result: u32,
}

/// Pairs of symbols that merge: an open-addressing table behind a filter of bits that fits the cache.
#[derive(Debug)]
pub struct Merges {
    slots: Vec<Slot>,
    mask: usize,
    /// Bits of the pairs that are in the table; most look-ups of others end here.
    filter: Vec<u64>,
    /// What merges become, by rank.
    results: Vec<u32>,
    /// Ranks of pairs of bytes, where every byte is a symbol; else empty.
    bytes: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    left: u32,
    right: u32,
    rank: u32,
}

const EMPTY: Slot = Slot { left: NONE, right: NONE, rank: NONE };

impl Merges {
    /// Build the table; of a pair that comes twice, the last is kept. Memory grows with the highest rank.
    #[must_use]
    pub fn new(merges: &[Merge], alphabet: &Alphabet) -> Self {
        let size = (2 * merges.len() + 2).next_power_of_two();
        let num_ranks = merges.iter().map(|merge| merge.rank as usize + 1).max().unwrap_or(0);
        let mut out = Self {
            slots: vec![EMPTY; size],
            mask: size - 1,
            filter: vec![0; (size / 8).max(1)],
            results: vec![NONE; num_ranks],
            bytes: Vec::new(),
        };
        for merge in merges {
            let hash = hash(merge.left, merge.right);
            let at = out.slot(hash, merge.left, merge.right);
            out.slots[at] = Slot { left: merge.left, right: merge.right, rank: merge.rank };
            let (word, bit) = out.bit(hash);
            out.filter[word] |= bit;
            if let Some(result) = out.results.get_mut(merge.rank as usize) {
                *result = merge.result;
            }
        }
        if let Alphabet::Bytes(ids) = alphabet
            && !ids.contains(&NONE)
        {
            let ranks = ids.iter().flat_map(|left| ids.iter().map(|right| out.get(*left, *right)));
            out.bytes = ranks.collect();
        }
        out
    }

    /// Position of the slot that has the pair, or of the empty one where it would be.
    #[inline]
    fn slot(&self, hash: u64, left: u32, right: u32) -> usize {
        let mut at = (hash >> 32) as usize & self.mask;
        while let Some(slot) = self.slots.get(at) {
            if (slot.left == left && slot.right == right) || slot.rank == NONE {
                break;
            }
            at = (at + 1) & self.mask;
        }
        at
    }

    /// Word and bit of a hash in the filter, which has 8 bits for every slot.
    #[inline]
    fn bit(&self, hash: u64) -> (usize, u64) {
        ((hash >> 26) as usize & (self.filter.len() - 1), 1 << (hash >> 58))
    }

    /// Rank of a pair; `NONE` where it does not merge.
    #[inline]
    #[must_use]
    pub fn get(&self, left: u32, right: u32) -> u32 {
        let hash = hash(left, right);
        let (word, bit) = self.bit(hash);
        if self.filter.get(word).is_none_or(|bits| bits & bit == 0) {
            return NONE;
        }
        match self.slots.get(self.slot(hash, left, right)) {
            Some(slot) => slot.rank,
            None => NONE,
        }
    }

    #[inline]
    fn result(&self, rank: u32) -> u32 {
        self.results.get(rank as usize).copied().unwrap_or(NONE)
    }

    /// Merge `work.ids` by looking for the lowest rank again and again.
    ///
    /// `ranks` has the rank of each pair; the bytes of the piece give those of its first pairs, where they
    /// are the symbols.
    fn scan(&self, work: &mut Work, bytes: Option<&[u8]>) {
        let Work { ids, ranks, .. } = work;
        ranks.clear();
        match bytes.filter(|bytes| bytes.len() == ids.len() && !self.bytes.is_empty()) {
            Some(bytes) => ranks.extend(
                bytes
                    .iter()
                    .zip(bytes.iter().skip(1))
                    .map(|(left, right)| self.bytes[usize::from(*left) << 8 | usize::from(*right)]),
            ),
            None => {
                ranks.extend(ids.iter().zip(ids.iter().skip(1)).map(|(left, right)| self.get(*left, *right)))
            }
        }
        loop {
            let best = ranks.iter().copied().min().unwrap_or(NONE);
            let Some(at) = ranks.iter().position(|rank| *rank == best).filter(|_| best != NONE) else {
                return;
            };
            let merged = self.result(best);
            ranks.remove(at);
            ids.remove(at + 1);
            ids[at] = merged;
            if at > 0 {
                ranks[at - 1] = self.get(ids[at - 1], merged);
            }
            if at < ranks.len() {
                ranks[at] = self.get(merged, ids[at + 1]);
            }
        }
    }

    /// Merge `work.ids` with a heap over a linked list.
    fn sift(&self, work: &mut Work) {
        let Work { ids, links, heap, .. } = work;
        let count = ids.len() as u32;
        links.clear();
        links.extend(ids.iter().zip(0..).map(|(&id, at)| Link {
            id,
            prev: if at == 0 { NONE } else { at - 1 },
            next: if at + 1 == count { NONE } else { at + 1 },
        }));
        heap.clear();
        let entry = |rank, at| (rank != NONE).then_some(Reverse((rank, at)));
        heap.extend(ids.windows(2).zip(0..).filter_map(|(pair, at)| entry(self.get(pair[0], pair[1]), at)));
        while let Some(Reverse((rank, at))) = heap.pop() {
            let here = links[at as usize];
            if here.id == NONE || here.next == NONE {
                continue;
            }
            let right = links[here.next as usize];
            let result = self.result(rank);
            if self.result(self.get(here.id, right.id)) != result {
                continue;
            }
            links[here.next as usize].id = NONE;
            links[at as usize] = Link { id: result, prev: here.prev, next: right.next };
            if right.next != NONE {
                links[right.next as usize].prev = at;
                heap.extend(entry(self.get(result, links[right.next as usize].id), at));
            }
            if here.prev != NONE {
                heap.extend(entry(self.get(links[here.prev as usize].id, result), here.prev));
            }
        }
        ids.clear();
        ids.extend(links.iter().map(|link| link.id).filter(|id| *id != NONE));
    }
}

#[inline]
fn hash(left: u32, right: u32) -> u64 {
    (u64::from(left) << 32 | u64::from(right)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
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
        let merge = |result| Merge { left: next(result), right: next(result), rank: result - 4, result };
        Merges::new(&(4..200).map(merge).collect::<Vec<_>>(), &Alphabet::Chars(HashMap::new()))
    }

    #[test]
    fn the_heap_and_the_scan_merge_alike() {
        let merges = merges();
        let mut work = Work::default();
        for len in 1..300_u32 {
            let ids: Vec<u32> = (0..len).map(|at| (at * at + len / 3) % 4).collect();
            work.ids.clone_from(&ids);
            merges.scan(&mut work, None);
            let scanned = std::mem::replace(&mut work.ids, ids);
            merges.sift(&mut work);
            assert_eq!(work.ids, scanned, "{len}");
        }
    }
}
