//! The `precompiled_charsmap` of SentencePiece: a double array of replacements, read with bounds.
//!
//! Layout: the size of the array in bytes (u32), the array (u32 units), then replacements that end with
//! a zero byte. A replacement is looked up by grapheme when that has fewer than 6 bytes, else by
//! character, and the shortest prefix that has one decides, as in `tokenizers`. Plain ASCII between
//! graphemes that could reach it is copied.

use unicode_segmentation::UnicodeSegmentation as _;

/// Graphemes of fewer bytes than this are looked up whole.
const MAX_GRAPHEME: usize = 6;

/// The replacements of one tokenizer.
#[derive(Debug)]
pub struct Charsmap {
    units: Vec<u32>,
    replacements: String,
    plain: [bool; 128],
}

impl Charsmap {
    /// Read the decoded bytes; `None` where they are cut off or not UTF-8.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(4)?;
        let size = u32::from_le_bytes(head.try_into().ok()?) as usize / 4 * 4;
        let (array, replacements) = rest.split_at_checked(size)?;
        let unit = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
        let mut out = Self {
            units: array.chunks(4).map(unit).collect::<Option<_>>()?,
            replacements: String::from_utf8(replacements.to_vec()).ok()?,
            plain: [false; 128],
        };
        if out.units.is_empty() {
            return None;
        }
        for byte in b' '..=b'~' {
            let is_kept = out.find(std::str::from_utf8(&[byte]).ok()?).is_none();
            out.plain[usize::from(byte)] = is_kept;
        }
        Some(out)
    }

    /// The replacement of the shortest prefix of `text` that has one.
    fn find(&self, text: &str) -> Option<&str> {
        let unit = |at: usize| self.units.get(at).map(|unit| *unit as usize);
        let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut at = offset(unit(0)?);
        for byte in text.bytes().take_while(|byte| *byte != 0).map(usize::from) {
            at ^= byte;
            let here = unit(at)?;
            if here & (1 << 31 | 0xff) != byte {
                return None;
            }
            at ^= offset(here);
            if here >> 8 & 1 == 1 {
                let start = unit(at)? & 0x7fff_ffff;
                let found = self.replacements.get(start..)?;
                return Some(found.split('\0').next().unwrap_or(found));
            }
        }
        None
    }

    /// Write the normalized text to `out`; false where nothing changes and nothing is written.
    #[must_use]
    pub fn apply(&self, text: &str, out: &mut String) -> bool {
        let mut at = self.plain_run(text, 0);
        if at == text.len() {
            return false;
        }
        out.clear();
        out.push_str(&text[..at]);
        while at < text.len() {
            let mut done = at;
            for (start, grapheme) in text[at..].grapheme_indices(true) {
                // A plain character after which nothing can join it starts the next run.
                if start > 0 && self.plain_run(text, at + start) > at + start {
                    break;
                }
                self.replace(grapheme, out);
                done = at + start + grapheme.len();
            }
            at = self.plain_run(text, done);
            out.push_str(&text[done..at]);
        }
        true
    }

    /// End of the run of plain ASCII from `start`; its last byte only counts where another ASCII byte or
    /// the end follows, since a character may join it.
    fn plain_run(&self, text: &str, start: usize) -> usize {
        let bytes = text.as_bytes();
        let plain = |byte: &u8| self.plain.get(usize::from(*byte)).copied().unwrap_or(false);
        let len = bytes[start..].iter().take_while(|byte| plain(byte)).count();
        let end = start + len;
        if len > 0 && bytes.get(end).is_some_and(|next| *next >= 0x80) { end - 1 } else { end }
    }

    fn replace(&self, grapheme: &str, out: &mut String) {
        if grapheme.len() < MAX_GRAPHEME
            && let Some(found) = self.find(grapheme)
        {
            out.push_str(found);
            return;
        }
        let mut buffer = [0; 4];
        for char in grapheme.chars() {
            match self.find(char.encode_utf8(&mut buffer)) {
                Some(found) => out.push_str(found),
                None => out.push(char),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_is_cut_off_is_refused_and_one_that_points_outside_finds_nothing() {
        assert!(Charsmap::parse(&[]).is_none());
        assert!(Charsmap::parse(&[8, 0, 0, 0, 1, 2, 3, 4]).is_none());
        assert!(Charsmap::parse(&[0, 0, 0, 0]).is_none());
        let wild = [&[4, 0, 0, 0][..], &[0xff; 4], b"x\0"].concat();
        let map = Charsmap::parse(&wild).unwrap();
        assert!(map.find("a").is_none());
        let mut out = String::new();
        assert!(map.apply("a\u{e9}\r\n", &mut out));
        assert_eq!(out, "a\u{e9}\r\n");
    }
}
