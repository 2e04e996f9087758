//! A bounded cache from the bytes of a piece of text to its number of tokens.
//!
//! Up to 15 bytes: the bytes, their length and the count are one 128-bit word, four of them one cache
//! line, so a look-up touches one line and compares all bytes. Longer ones: a hash, then the bytes
//! themselves are compared. Nothing is ever answered for other bytes. Each hit moves a piece one place up
//! its line and a new piece takes the last place, so frequent pieces stay; a count is the same whether it
//! was cached or not.

const SHORT: usize = 15;
const LONG: usize = 128;
const SHORT_LINES: usize = 1 << 14;
const LONG_SLOTS: usize = 1 << 14;
const MAX_LONG_BYTES: usize = 2 << 20;
const COUNT_SHIFT: u32 = 124;
const BYTES: u128 = !(0xf << COUNT_SHIFT);

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u128; 4]);

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    start: u32,
    len: u16,
    count: u16,
}

/// Where the count of a piece would be kept.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    /// In one line, packed with the count.
    Short(u128),
    /// In the table of longer pieces, by hash.
    Long(u64),
    /// Nowhere: too long.
    None,
}

/// Counts of pieces seen before; about 3.5 MB.
#[derive(Debug)]
pub struct Cache {
    lines: Vec<Line>,
    slots: Vec<Slot>,
    bytes: Vec<u8>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            lines: vec![Line::default(); SHORT_LINES],
            slots: vec![Slot::default(); LONG_SLOTS],
            bytes: Vec::new(),
        }
    }
}

impl Cache {
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

    /// The count that was kept for the piece of this key.
    #[inline]
    #[must_use]
    pub fn get(&mut self, key: Key, piece: &[u8]) -> Option<u32> {
        match key {
            Key::Short(word) => {
                let line = &mut self.lines.get_mut(line_of(word))?.0;
                let at = line.iter().position(|kept| kept & BYTES == word)?;
                let count = (line[at] >> COUNT_SHIFT) as u32;
                if at > 0 {
                    line.swap(at, at - 1);
                }
                Some(count)
            }
            Key::Long(hash) => {
                let slot = self.slots.get(hash as usize % LONG_SLOTS)?;
                let start = slot.start as usize;
                let same = slot.hash == hash
                    && self.bytes.get(start..start + usize::from(slot.len)).is_some_and(|kept| kept == piece);
                same.then_some(u32::from(slot.count))
            }
            Key::None => None,
        }
    }

    /// Keep the count of the piece of this key.
    pub fn put(&mut self, key: Key, piece: &[u8], count: u32) {
        match key {
            Key::Short(word) if count < 16 => {
                if let Some(line) = self.lines.get_mut(line_of(word)) {
                    line.0[3] = word | u128::from(count) << COUNT_SHIFT;
                }
            }
            Key::Long(hash) => {
                if self.bytes.len() + piece.len() > MAX_LONG_BYTES {
                    self.bytes.clear();
                    self.slots.fill(Slot::default());
                }
                let (start, len) = (self.bytes.len() as u32, piece.len() as u16);
                if let (Some(slot), Ok(count)) =
                    (self.slots.get_mut(hash as usize % LONG_SLOTS), u16::try_from(count))
                {
                    *slot = Slot { hash, start, len, count };
                    self.bytes.extend_from_slice(piece);
                }
            }
            _ => {}
        }
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
    use super::*;

    #[test]
    fn a_count_is_given_back_for_the_same_bytes_only() {
        let mut cache = Cache::default();
        let pieces: Vec<Vec<u8>> = (0..60_000_u32)
            .map(|n| {
                let len = 1 + (n * 7 % 140) as usize;
                n.to_be_bytes().iter().copied().cycle().take(len).collect()
            })
            .collect();
        let count = |piece: &[u8]| piece.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 16;
        let mut hits = 0;
        for piece in pieces.iter().chain(&pieces) {
            let key = Cache::key(piece, 0, piece.len());
            match cache.get(key, piece) {
                Some(found) => {
                    hits += 1;
                    assert_eq!(found, count(piece));
                }
                None => cache.put(key, piece, count(piece)),
            }
        }
        assert!(hits > 10_000, "{hits}");
    }

    #[test]
    fn zeros_at_the_end_of_a_piece_count() {
        let mut cache = Cache::default();
        cache.put(Cache::key(b"a", 0, 1), b"a", 1);
        assert_eq!(cache.get(Cache::key(b"a\0", 0, 2), b"a\0"), None);
        assert_eq!(cache.get(Cache::key(b"a", 0, 1), b"a"), Some(1));
        assert_eq!(cache.get(Cache::key(b"xxxxxxxxxxxxxxxxxxxxxxxxa", 24, 25), b"a"), Some(1));
    }
}
