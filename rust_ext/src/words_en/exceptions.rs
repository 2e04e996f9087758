//! Chunks that are split by list: contractions, abbreviations, clock times, emoticons.
//!
//! About 1,340 rules, made from small tables when first needed. A rule has a text and the lengths of its
//! tokens. A rule whose text would also be cut by the affix and infix rules has a *pattern* too: the tokens it
//! falls into without exceptions, which [`super::repair`] looks for in finished documents.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::Splitter;
use crate::text::Span;

/// Families of contractions: each word, as written and with a capital, with each tail; every tail also
/// without its apostrophe. Spaces are token boundaries, bars are between tails.
const FAMILIES: &[(&str, &str)] = &[
    ("i", "'m|'m a"),
    ("i you he she it we they", "'ll|'ll 've|'d|'d 've"),
    ("i you we they", "'ve"),
    ("you we they", "'re"),
    ("he she it", "'s"),
    ("who what when where why how there that this these those", "'ll|'ll 've|'d|'d 've"),
    ("who what when where why how there that this", "'s"),
    ("who what when where why how there these those", "'re|'ve"),
    ("ca could do does did had may might must need ought sha should wo would", "n't|n't 've"),
    ("could might must should would", "'ve"),
    ("ai are is was were have has dare", "n't"),
];

/// Words that a family would make but that are words of their own; also with a capital.
const NOT_CONTRACTIONS: &str = "ill its hell shell shed were well whore";

/// Other words of several tokens, as written and with a capital.
const SPLIT_WORDS: &str = "not 've|not ve|can not|gon na|got ta|let 's|c'm on|how 'd 'y";

/// Words that stay one token, as written and with a capital, with and without the final apostrophe.
const DROPPED_G: &str = "doin' goin' havin' lovin' nothin' nuthin' ol' somethin'";

/// Abbreviations and words with inner marks that stay one token.
const WHOLE_WORDS: &str = "\
    Ak. Ala. Apr. Ariz. Ark. Aug. Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. \
    Kan. Kans. Ky. La. Mar. Mass. Mich. Minn. Miss. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. \
    Okla. Ore. Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. Adm. Bros. Co. Corp. D.C. Dr. E.G. E.g. Gen. Gov. I.E. \
    I.e. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. a.m. co. e.g. i.e. p.m. \
    v.s. vs. and/or w/o ma'am Ma'am o'clock O'clock 's 'S \u{2018}s \u{2018}S 're 'd 'em em 'll ll 'nuff nuff \
    'bout 'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz C++ <space> \\t \\n \\\") ' '' \u{2014} \u{e4}. \u{f6}. \u{fc}.";

/// Emoticons; each stays one token.
const EMOTICONS: &str = "\
    :) :)) :))) :-) :-)) :-))) (: (-: =) (= :] :-] [: [-: [= =] ]= :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :(( \
    :((( :-( :-(( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| =[ :1 :P :-P :p :-p :O :-O :o :-o :0 \
    :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> \
    <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 \
    </3 (^_^) (-_-) (._.) (>_<) (*_*) (\u{ac}_\u{ac}) \u{ca0}_\u{ca0} \u{ca0}\u{fe35}\u{ca0} (\u{ca0}_\u{ca0}) \
    \u{af}\\(\u{30c4})/\u{af} (\u{256f}\u{b0}\u{25a1}\u{b0}\u{ff09}\u{256f}\u{fe35}\u{253b}\u{2501}\u{253b} ><(((*>";

/// Slots of the hash table; about 16 % are used, so a miss is one probe.
const NUM_SLOTS: usize = 8192;
/// The bits of a slot that are not the rule's number.
const TAG: u32 = 0xffff_0000;
/// Pairs of bytes.
const NUM_JOINTS: usize = 1 << 16;

/// One exception.
#[derive(Debug)]
pub(super) struct Rule {
    /// The chunk it applies to.
    pub text: Box<str>,
    /// Lengths in bytes of the tokens it becomes.
    pub tokens: Box<[u8]>,
    /// Lengths of the tokens it would fall into without exceptions; empty when those rules leave it alone.
    pub pattern: Box<[u8]>,
}

impl Rule {
    /// Whether finding the pattern changes anything.
    pub fn rejoins(&self) -> bool {
        !self.pattern.is_empty() && self.pattern != self.tokens
    }
}

/// The exceptions, found by their bytes.
#[derive(Debug)]
pub(super) struct Exceptions {
    rules: Vec<Rule>,
    /// Number of the rule from 1, 0 for none, and above it 16 more bits of the hash.
    slots: Vec<u32>,
    max_bytes: usize,
    /// Tokens that some pattern has before its last.
    leading: BTreeSet<Box<str>>,
    /// Bits of (last byte of the first token, first byte of the second) of the rules that rejoin.
    joints: Vec<u64>,
}

impl Exceptions {
    /// No exceptions at all: what the affix and infix rules do alone.
    pub fn none() -> Self {
        Self {
            rules: Vec::new(),
            slots: vec![0; NUM_SLOTS],
            max_bytes: 0,
            leading: BTreeSet::new(),
            joints: vec![0; NUM_JOINTS / 64],
        }
    }

    /// The exceptions of English, made once per process.
    pub fn english() -> &'static Self {
        static ENGLISH: OnceLock<Exceptions> = OnceLock::new();
        ENGLISH.get_or_init(|| {
            let none = Self::none();
            let rules = rules().into_iter().map(|(text, tokens)| {
                let pattern = pattern(&text, &none);
                Rule { text: text.into(), tokens: tokens.into(), pattern: pattern.into() }
            });
            Self::of(rules.collect())
        })
    }

    fn of(rules: Vec<Rule>) -> Self {
        let mut out = Self::none();
        for (index, rule) in rules.iter().enumerate() {
            let (mut slot, tag) = hash(rule.text.as_bytes());
            while out.slots[slot] != 0 {
                slot = (slot + 1) % NUM_SLOTS;
            }
            out.slots[slot] = tag | (index + 1) as u32;
            out.max_bytes = out.max_bytes.max(rule.text.len());
            out.add_pattern(rule);
        }
        out.rules = rules;
        out
    }

    /// Length of the longest text of a rule.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    fn add_pattern(&mut self, rule: &Rule) {
        let mut start = 0;
        for (index, len) in rule.pattern.iter().map(|len| usize::from(*len)).enumerate() {
            let end = start + len;
            if end < rule.text.len() {
                self.leading.insert(rule.text[start..end].into());
                if index == 0 && rule.rejoins() {
                    let joint = joint(rule.text.as_bytes(), end);
                    self.joints[joint / 64] |= 1 << (joint % 64);
                }
            }
            start = end;
        }
    }

    /// Whether a rule that [`Rule::rejoins`] may have its first token end before byte `at` of `text`.
    #[inline]
    pub fn may_rejoin(&self, text: &[u8], at: usize) -> bool {
        let joint = joint(text, at);
        self.joints[joint / 64] >> (joint % 64) & 1 == 1
    }

    /// Whether some pattern has `token` before its last.
    pub fn is_leading(&self, token: &str) -> bool {
        self.leading.contains(token)
    }

    /// The rule for exactly these bytes.
    #[inline]
    pub fn find(&self, text: &[u8]) -> Option<&Rule> {
        if text.is_empty() || text.len() > self.max_bytes {
            return None;
        }
        let (mut slot, tag) = hash(text);
        while self.slots[slot] != 0 {
            if self.slots[slot] & TAG == tag {
                let rule = &self.rules[(self.slots[slot] & !TAG) as usize - 1];
                if rule.text.as_bytes() == text {
                    return Some(rule);
                }
            }
            slot = (slot + 1) % NUM_SLOTS;
        }
        None
    }
}

/// Number of the two bytes around `at`.
#[inline]
fn joint(text: &[u8], at: usize) -> usize {
    usize::from(text[at - 1]) << 8 | usize::from(text[at])
}

/// Slot and tag of a text: a multiplicative hash of its first and last eight bytes and its length.
#[inline]
fn hash(text: &[u8]) -> (usize, u32) {
    let (low, high) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            (Some(first), Some(last)) => {
                (u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last)))
            }
            _ => (text.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
        },
    };
    let mixed = (low ^ high.rotate_left(29)).wrapping_add(text.len() as u64);
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 51) as usize, (mixed >> 16) as u32 & TAG)
}

/// Token lengths of a rule's text without exceptions; empty when nothing cuts it.
fn pattern(text: &str, none: &Exceptions) -> Vec<u8> {
    let mut spans = Vec::new();
    let mut splitter = Splitter::new(text, none);
    splitter.chunk(0, text.len(), &mut spans);
    if spans.len() < 2 {
        return Vec::new();
    }
    spans.iter().map(|span: &Span| span.num_bytes() as u8).collect()
}

/// Every rule: its text and token lengths, in a fixed order, each text once.
fn rules() -> Vec<(String, Vec<u8>)> {
    let mut rules = Vec::new();
    for (words, tails) in FAMILIES {
        for (word, tail) in words.split(' ').flat_map(|word| tails.split('|').map(move |tail| (word, tail))) {
            add_both_cases(&mut rules, &format!("{word} {tail}"));
            add_both_cases(&mut rules, &format!("{word} {}", tail.replace('\'', "")));
        }
    }
    for word in NOT_CONTRACTIONS.split(' ') {
        rules.retain(|(text, _)| *text != word && *text != capitalized(word));
    }
    for word in SPLIT_WORDS.split('|') {
        add_both_cases(&mut rules, word);
    }
    for word in DROPPED_G.split(' ') {
        add_both_cases(&mut rules, word);
        add_both_cases(&mut rules, word.trim_end_matches('\''));
    }
    for hour in 1..=12 {
        for half in ["am", "a.m.", "pm", "p.m."] {
            add(&mut rules, &format!("{hour} {half}"));
        }
    }
    for scale in "cfkCFK".chars() {
        add(&mut rules, &format!("\u{b0} {scale} ."));
    }
    for letter in 'a'..='z' {
        add(&mut rules, &format!("{letter}."));
    }
    add(&mut rules, "y' all");
    add(&mut rules, "y all");
    for word in WHOLE_WORDS.split(' ').chain(EMOTICONS.split(' ')) {
        add(&mut rules, word);
    }
    rules
}

fn add_both_cases(rules: &mut Vec<(String, Vec<u8>)>, tokens: &str) {
    add(rules, tokens);
    add(rules, &capitalized(tokens));
}

/// Add a rule from its tokens, and the same with typographic apostrophes; a text that is there stays.
fn add(rules: &mut Vec<(String, Vec<u8>)>, tokens: &str) {
    for tokens in [tokens.to_owned(), tokens.replace('\'', "\u{2019}")] {
        let text = tokens.replace(' ', "");
        if rules.iter().all(|(other, _)| *other != text) {
            rules.push((text, tokens.split(' ').map(|token| token.len() as u8).collect()));
        }
    }
}

fn capitalized(word: &str) -> String {
    word.get(..1).map_or_else(String::new, str::to_ascii_uppercase) + word.get(1..).unwrap_or("")
}
