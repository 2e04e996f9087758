//! The script that a text is written in, as ISO 15924 names it.

use icu_properties::props::Script;
use icu_properties::{CodePointMapData, PropertyNamesShort};

/// Kana make a text Japanese where they are at least one in so many of its kana and Chinese characters.
const KANA_SHARE: usize = 10;

/// Cut a label such as `eng_Latn` into language and script; a label without a script is a language.
#[must_use]
pub fn cut(label: &str) -> (&str, Option<&str>) {
    let is_script = |name: &str| {
        let mut letters = name.bytes();
        name.len() == 4
            && letters.next().is_some_and(|first| first.is_ascii_uppercase())
            && letters.all(|letter| letter.is_ascii_lowercase())
    };
    match label.split_once('_') {
        Some((language, script)) if is_script(script) => (language, Some(script)),
        _ => (label, None),
    }
}

/// The script of most letters of a text, of equal ones Latin or else the one that comes first; none for a text without
/// letters. Chinese characters and kana together are `Jpan`, Chinese characters alone `Hani`.
#[must_use]
pub fn of(text: &str) -> Option<&'static str> {
    let latin = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let mut counts: Vec<(Script, usize)> = vec![(Script::Latin, latin)];
    if !text.is_ascii() {
        let scripts = CodePointMapData::<Script>::new();
        let letters = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic());
        let mut at = 0;
        for script in letters.map(|c| scripts.get(c)) {
            if !matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                if counts[at].0 != script {
                    at = counts.iter().position(|(other, _)| *other == script).unwrap_or_else(|| {
                        counts.push((script, 0));
                        counts.len() - 1
                    });
                }
                counts[at].1 += 1;
            }
        }
    }
    merge_japanese(&mut counts);
    let best = counts.iter().rev().max_by_key(|(_, count)| *count)?;
    if best.1 == 0 {
        return None;
    }
    if best.0 == Script::Japanese { Some("Jpan") } else { PropertyNamesShort::<Script>::new().get(best.0) }
}

fn merge_japanese(counts: &mut Vec<(Script, usize)>) {
    let is_kana = |script: Script| matches!(script, Script::Hiragana | Script::Katakana);
    let kana: usize = counts.iter().filter(|(script, _)| is_kana(*script)).map(|(_, count)| count).sum();
    let chinese = counts.iter().find(|(script, _)| *script == Script::Han).map_or(0, |(_, count)| *count);
    if kana > 0 && kana * KANA_SHARE >= kana + chinese {
        counts.retain(|(script, _)| !is_kana(*script) && *script != Script::Han);
        counts.push((Script::Japanese, kana + chinese));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_cut_where_they_name_a_script() {
        assert_eq!(cut("eng_Latn"), ("eng", Some("Latn")));
        assert_eq!(cut("en"), ("en", None));
        assert_eq!(cut("zh_cn"), ("zh_cn", None));
    }

    #[test]
    fn the_script_of_most_letters_counts() {
        let cases = [
            ("", None),
            ("12 !?", None),
            ("abc \u{e9}", Some("Latn")),
            ("\u{431}\u{432}\u{433} ab", Some("Cyrl")),
            ("\u{4e2d}\u{6587}", Some("Hani")),
            ("\u{65e5}\u{672c}\u{306e}\u{30ab}", Some("Jpan")),
            ("\u{d55c}\u{ad6d}", Some("Hang")),
            ("\u{627}\u{644}", Some("Arab")),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
