//! A bounded cache from the bytes of a piece of text to its tokens: their number, or their ids.
//!
//! Up to 15 bytes: the bytes, their length and the count are one 128-bit word, four of them one cache
//! line, so a look-up touches one line and compares all bytes; ids are in the line after it. Longer ones,
//! and those with more ids than fit there: a hash, then the bytes themselves are compared. Nothing is
//! ever answered for other bytes. Each hit moves a piece one place up its line and a new piece takes the
//! last place, so frequent pieces stay; tokens are the same whether they were cached or not.

use super::sink::{Few, Sink};

const SHORT: usize = 15;
const LONG: usize = 128;
const SHORT_LINES: usize = 1 << 14;
const LONG_SLOTS: usize = 1 << 14;
const MAX_LONG_BYTES: usize = 2 << 20;
const COUNT_SHIFT: u32 = 124;
const BYTES: u128 = !(0xf << COUNT_SHIFT);

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line<F> {
    words: [u128; 4],
    few: [F; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    start: u32,
    len: u16,
    count: u16,
}

/// Where the tokens of a piece would be kept.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// In one line, packed with the count.
    Short(u128),
    /// In the table of longer pieces, by hash.
    Long(u64),
    /// Nowhere: too long.
    None,
}

/// Tokens of pieces seen before; about 3.5 MB for counts, 4.5 MB for ids.
#[derive(Debug)]
pub struct Cache<F> {
    lines: Vec<Line<F>>,
    slots: Vec<Slot>,
    /// The bytes of longer pieces, each followed by its ids where those are kept.
    bytes: Vec<u8>,
}

impl<F: Few> Default for Cache<F> {
    fn default() -> Self {
        Self {
            lines: vec![Line::default(); SHORT_LINES],
            slots: vec![Slot::default(); LONG_SLOTS],
            bytes: Vec::new(),
        }
    }
}

impl<F: Few> Cache<F> {
    /// Give `sink` the tokens that were kept for the piece of this key; false where there are none.
    #[inline]
    #[must_use]
    pub fn get<S: Sink<Few = F>>(&mut self, key: Key, piece: &[u8], sink: &mut S) -> bool {
        match key {
            Key::Short(word) => {
                let Some(line) = self.lines.get_mut(line_of(word)) else { return false };
                let Some(at) = line.words.iter().position(|kept| kept & BYTES == word) else {
                    return F::MAX > 0 && self.get_long(hash_long(piece), piece, sink);
                };
                sink.push_few((line.words[at] >> COUNT_SHIFT) as usize, &line.few[at]);
                if at > 0 {
                    line.words.swap(at, at - 1);
                    line.few.swap(at, at - 1);
                }
                true
            }
            Key::Long(hash) => self.get_long(hash, piece, sink),
            Key::None => false,
        }
    }

    fn get_long<S: Sink<Few = F>>(&self, hash: u64, piece: &[u8], sink: &mut S) -> bool {
        let Some(slot) = self.slots.get(hash as usize % LONG_SLOTS) else { return false };
        let (start, len, count) = (slot.start as usize, usize::from(slot.len), usize::from(slot.count));
        if slot.hash != hash || self.bytes.get(start..start + len).is_none_or(|kept| kept != piece) {
            return false;
        }
        if F::MAX == 0 {
            sink.push_few(count, &F::default());
            return true;
        }
        let Some((ids, _)) = self.bytes.get(start + len..).and_then(|rest| rest.split_at_checked(4 * count))
        else {
            return false;
        };
        sink.push(ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)));
        true
    }

    /// Keep the tokens of the piece of this key.
    pub fn put(&mut self, key: Key, piece: &[u8], ids: &[u32]) {
        match (key, F::keep(ids)) {
            (Key::Short(word), Some(few)) if ids.len() < 16 => {
                if let Some(line) = self.lines.get_mut(line_of(word)) {
                    line.words[3] = word | (ids.len() as u128) << COUNT_SHIFT;
                    line.few[3] = few;
                }
            }
            (Key::Short(_), _) => self.put_long(hash_long(piece), piece, ids),
            (Key::Long(hash), _) => self.put_long(hash, piece, ids),
            (Key::None, _) => {}
        }
    }

    fn put_long(&mut self, hash: u64, piece: &[u8], ids: &[u32]) {
        let id_bytes = if F::MAX > 0 { 4 * ids.len() } else { 0 };
        if self.bytes.len() + piece.len() + id_bytes > MAX_LONG_BYTES {
            self.bytes.clear();
            self.slots.fill(Slot::default());
        }
        let (start, len) = (self.bytes.len() as u32, piece.len() as u16);
        if let (Some(slot), Ok(count)) =
            (self.slots.get_mut(hash as usize % LONG_SLOTS), u16::try_from(ids.len()))
        {
            *slot = Slot { hash, start, len, count };
            self.bytes.extend_from_slice(piece);
            if F::MAX > 0 {
                self.bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
            }
        }
    }
}

/// The key of `text[start..end]`, which is not empty.
#[inline]
#[must_use]
pub fn key(text: &[u8], start: usize, end: usize) -> Key {
    let len = end - start;
    if len <= SHORT {
        let word = match text.get(start..start + 16).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => u128::from_le_bytes(bytes) & ((1 << (8 * len)) - 1),
            None => tail(text.get(start..end).unwrap_or_default()),
        };
        Key::Short(word | (len as u128) << 120)
    } else if len <= LONG {
        Key::Long(hash_long(text.get(start..end).unwrap_or_default()))
    } else {
        Key::None
    }
}

#[inline]
fn tail(piece: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    if let Some(head) = bytes.get_mut(..piece.len()) {
        head.copy_from_slice(piece);
    }
    u128::from_le_bytes(bytes)
}

#[inline]
fn line_of(word: u128) -> usize {
    mix(word as u64, (word >> 64) as u64) as usize % SHORT_LINES
}

/// Fold two words into one with a wide multiplication.
#[inline]
fn mix(low: u64, high: u64) -> u64 {
    let wide = u128::from(low ^ 0x9e37_79b9_7f4a_7c15) * u128::from(high ^ 0xd1b5_4a32_d192_ed03);
    (wide as u64) ^ (wide >> 64) as u64
}

#[inline]
fn hash_long(piece: &[u8]) -> u64 {
    piece.chunks(8).fold(piece.len() as u64, |hash, chunk| {
        let mut bytes = [0; 8];
        if let Some(head) = bytes.get_mut(..chunk.len()) {
            head.copy_from_slice(chunk);
        }
        mix(hash, u64::from_le_bytes(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sink::{Count, Ids};
    use super::*;

    fn ids(piece: &[u8]) -> Vec<u32> {
        let seed = piece.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        (0..1 + seed % 14).map(|n| seed << 20 | n).collect()
    }

    fn hits<S: Sink + Default>(compare: impl Fn(&S, &[u32])) -> usize {
        let mut cache = Cache::<S::Few>::default();
        let pieces: Vec<Vec<u8>> = (0..60_000_u32)
            .map(|n| {
                let len = 1 + (n * 7 % 140) as usize;
                n.to_be_bytes().iter().copied().cycle().take(len).collect()
            })
            .collect();
        let mut hits = 0;
        for piece in pieces.iter().chain(&pieces) {
            let (key, mut sink) = (key(piece, 0, piece.len()), S::default());
            if cache.get(key, piece, &mut sink) {
                hits += 1;
                compare(&sink, &ids(piece));
            } else {
                cache.put(key, piece, &ids(piece));
            }
        }
        hits
    }

    #[test]
    fn tokens_are_given_back_for_the_same_bytes_only() {
        let counted = hits(|sink: &Count, ids| assert_eq!(sink.0, ids.len() as u64));
        let kept = hits(|sink: &Ids, ids| assert_eq!(sink.0, ids));
        assert!(counted > 10_000 && kept > 7_000, "{counted} {kept}");
    }

    #[test]
    fn zeros_at_the_end_of_a_piece_count() {
        let mut cache = Cache::default();
        let mut found = Ids::default();
        cache.put(key(b"a", 0, 1), b"a", &[7]);
        assert!(!cache.get(key(b"a\0", 0, 2), b"a\0", &mut found));
        assert!(cache.get(key(b"a", 0, 1), b"a", &mut found));
        assert!(cache.get(key(b"xxxxxxxxxxxxxxxxxxxxxxxxa", 24, 25), b"a", &mut found));
        assert_eq!(found.0, [7, 7]);
    }
}
