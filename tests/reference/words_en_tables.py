"""Tables of the slow English word splitter: classes of characters and the exceptions.

Classes are written as the inside of a regular expression's brackets, lists as text to be split.
"""
# ruff: noqa: SIM905

import re
import sys

CASED = (
    r"\u0041-\u005a\u0061-\u007a\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01bf\u01c4-\u02af\u0386\u0388-\u038a"
    r"\u038c\u038e-\u038f\u0391-\u03a9\u03ac-\u03af\u03b1-\u03c9\u03cc-\u03ce\u0400-\u0401\u0403-\u040a"
    r"\u040c-\u040d\u0410-\u0451\u0453-\u045a\u045c-\u045d\u0490-\u0491\u0496-\u0497\u04a2-\u04a3"
    r"\u04ae-\u04af\u04ba-\u04bb\u04d8-\u04d9\u04e8-\u04e9\u1d00-\u1d25\u1d6b-\u1d77\u1d79-\u1d9a"
    r"\u1e00-\u1eff\u2c60-\u2c7b\u2c7e-\u2c7f\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\ua790-\ua7b9\ua7fa"
    r"\uab30-\uab5a\uab60-\uab64\uff21-\uff3a\uff41-\uff5a"
)
"""Letters of the scripts with capitals."""
UNCASED = (
    r"\u0591-\u05f4\u0620-\u064a\u066e-\u06d5\u06e5-\u06ff\u0750-\u077f\u08a0-\u08bd\u0900-\u09ff"
    r"\u0b80-\u0cff\u0d80-\u0dff\u1100-\u137f\u2e80-\u2fdf\u2ff0-\u30ff\u31c0-\u31ef\u3200-\u4dbf"
    r"\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\ufb1d-\ufbb1\ufbd3-\ufd3d\ufd50-\ufdc7\ufdf0-\ufdfb"
    r"\ufe30-\ufe4f\ufe70-\ufefc\U0001ee00-\U0001eebb\U0001f200-\U0001f2ff\U00020000-\U0002a6df"
    r"\U0002a700-\U0002ebef\U0002f800-\U0002fa1f"
)
"""Letters of the scripts without."""
ICONS = (
    r"\u00a6\u00a9\u00ae\u00b0\u0482\u058d-\u058e\u060e-\u060f\u06de\u06e9\u06fd-\u06fe\u07f6\u09fa\u0b70"
    r"\u0bf3-\u0bf8\u0bfa\u0c7f\u0d4f\u0d79\u0f01-\u0f03\u0f13\u0f15-\u0f17\u0f1a-\u0f1f\u0f34\u0f36\u0f38"
    r"\u0fbe-\u0fc5\u0fc7-\u0fcc\u0fce-\u0fcf\u0fd5-\u0fd8\u109e-\u109f\u1390-\u1399\u1940\u19de-\u19ff"
    r"\u1b61-\u1b6a\u1b74-\u1b7c\u2100-\u2101\u2103-\u2106\u2108-\u2109\u2114\u2116-\u2117\u211e-\u2123"
    r"\u2125\u2127\u2129\u212e\u213a-\u213b\u214a\u214c-\u214d\u214f\u218a-\u218b\u2195-\u2199"
    r"\u219c-\u219f\u21a1-\u21a2\u21a4-\u21a5\u21a7-\u21ad\u21af-\u21cd\u21d0-\u21d1\u21d3\u21d5-\u21f3"
    r"\u2300-\u2307\u230c-\u231f\u2322-\u2328\u232b-\u237b\u237d-\u239a\u23b4-\u23db\u23e2-\u2426"
    r"\u2440-\u244a\u249c-\u24e9\u2500-\u25b6\u25b8-\u25c0\u25c2-\u25f7\u2600-\u266e\u2670-\u2767"
    r"\u2794-\u27bf\u2800-\u28ff\u2b00-\u2b2f\u2b45-\u2b46\u2b4d-\u2b73\u2b76-\u2b95\u2b98-\u2bc8"
    r"\u2bca-\u2bfe\u2ce5-\u2cea\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u2ff0-\u2ffb\u3004\u3012-\u3013"
    r"\u3020\u3036-\u3037\u303e-\u303f\u3190-\u3191\u3196-\u319f\u31c0-\u31e3\u3200-\u321e\u322a-\u3247"
    r"\u3250\u3260-\u327f\u328a-\u32b0\u32c0-\u32fe\u3300-\u33ff\u4dc0-\u4dff\ua490-\ua4c6\ua828-\ua82b"
    r"\ua836-\ua837\ua839\uaa77-\uaa79\ufdfd\uffe4\uffe8\uffed-\uffee\ufffc-\ufffd\U00010137-\U0001013f"
    r"\U00010179-\U00010189\U0001018c-\U0001018e\U00010190-\U0001019b\U000101a0\U000101d0-\U000101fc"
    r"\U00010877-\U00010878\U00010ac8\U0001173f\U00016b3c-\U00016b3f\U00016b45\U0001bc9c"
    r"\U0001d000-\U0001d0f5\U0001d100-\U0001d126\U0001d129-\U0001d164\U0001d16a-\U0001d16c"
    r"\U0001d183-\U0001d184\U0001d18c-\U0001d1a9\U0001d1ae-\U0001d1e8\U0001d200-\U0001d241\U0001d245"
    r"\U0001d300-\U0001d356\U0001d800-\U0001d9ff\U0001da37-\U0001da3a\U0001da6d-\U0001da74"
    r"\U0001da76-\U0001da83\U0001da85-\U0001da86\U0001ecac\U0001f000-\U0001f02b\U0001f030-\U0001f093"
    r"\U0001f0a0-\U0001f0ae\U0001f0b1-\U0001f0bf\U0001f0c1-\U0001f0cf\U0001f0d1-\U0001f0f5"
    r"\U0001f110-\U0001f16b\U0001f170-\U0001f1ac\U0001f1e6-\U0001f202\U0001f210-\U0001f23b"
    r"\U0001f240-\U0001f248\U0001f250-\U0001f251\U0001f260-\U0001f265\U0001f300-\U0001f3fa"
    r"\U0001f400-\U0001f6d4\U0001f6e0-\U0001f6ec\U0001f6f0-\U0001f6f9\U0001f700-\U0001f773"
    r"\U0001f780-\U0001f7d8\U0001f800-\U0001f80b\U0001f810-\U0001f847\U0001f850-\U0001f859"
    r"\U0001f860-\U0001f887\U0001f890-\U0001f8ad\U0001f900-\U0001f90b\U0001f910-\U0001f93e"
    r"\U0001f940-\U0001f970\U0001f973-\U0001f976\U0001f97a\U0001f97c-\U0001f9a2\U0001f9b0-\U0001f9b9"
    r"\U0001f9c0-\U0001f9c2\U0001f9d0-\U0001f9ff\U0001fa60-\U0001fa6d"
)
"""Symbols and pictographs."""
SENTENCE_ENDS = (
    r"\u0021\u002e\u003f\u0589\u061f\u06d4\u0700-\u0702\u07f9\u0964-\u0965\u104a-\u104b\u1362\u1367-\u1368"
    r"\u166e\u1735-\u1736\u1803\u1809\u1944-\u1945\u1aa8-\u1aab\u1b5a-\u1b5b\u1b5e-\u1b5f\u1c3b-\u1c3c"
    r"\u1c7e-\u1c7f\u203c-\u203d\u2047-\u2049\u2e2e\u2e3c\u3002\ua4ff\ua60e-\ua60f\ua6f3\ua6f7"
    r"\ua876-\ua877\ua8ce-\ua8cf\ua92f\ua9c8-\ua9c9\uaa5d-\uaa5f\uaaf0-\uaaf1\uabeb\ufe52\ufe56-\ufe57"
    r"\uff01\uff0e\uff1f\uff61\U00010a56-\U00010a57\U00011047-\U00011048\U000110be-\U000110c1"
    r"\U00011141-\U00011143\U000111c5-\U000111c6\U000111cd\U000111de-\U000111df\U00011238-\U00011239"
    r"\U0001123b-\U0001123c\U000112a9\U0001144b-\U0001144c\U000115c2-\U000115c3\U000115c9-\U000115d7"
    r"\U00011641-\U00011642\U0001173c-\U0001173e\U00011a42-\U00011a43\U00011a9b-\U00011a9c"
    r"\U00011c41-\U00011c42\U00016a6e-\U00016a6f\U00016af5\U00016b37-\U00016b38\U00016b44\U0001bc9f"
    r"\U0001da88"
)
"""Characters that end a sentence when they are a token."""


def _members(ranges: str) -> list[str]:
    matches = re.compile(f"[{ranges}]").match
    return [char for char in map(chr, range(sys.maxunicode + 1)) if matches(char)]


_CASED = _members(CASED)
ALPHA = CASED + UNCASED
LOWER = UNCASED + "".join(char for char in _CASED if char.islower() or char == "\u0294")
UPPER = UNCASED + "".join(char for char in _CASED if char.isupper() or char == "\u03a2")

MARKS = (
    "\u2026 , : ; ! ? \u00bf \u061f \u00a1 ( ) [ ] { } < > _ # * & \u3002 \uff1f \uff01 \uff0c \u3001 \uff1b "
    "\uff1a \uff5e \u00b7 \u0964 \u060c \u06d4 \u061b \u066a"
).split()
QUOTES = (
    "' \" \u201d \u201c ` \u2018 \u00b4 \u2019 \u201a , \u201e \u00bb \u00ab \u300c \u300d \u300e \u300f "
    "\uff08 \uff09 \u3014 \u3015 \u3010 \u3011 \u300a \u300b \u3008 \u3009 \u2329 \u232a \u27e6 \u27e7"
).split()
CURRENCIES = [
    "US$",
    "C$",
    "A$",
    "$",
    "\u00a3",
    "\u00a5",
    "\u0e3f",
    "\ufdfc",
    *map(chr, range(0x20A0, 0x20C0)),
]
UNITS = (
    "km m dm cm mm km\u00b2 m\u00b2 dm\u00b2 cm\u00b2 mm\u00b2 km\u00b3 m\u00b3 dm\u00b3 cm\u00b3 mm\u00b3 "
    "ha \u00b5m nm yd in ft kg g mg \u00b5g t lb oz m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB "
    "T G M K % \u043a\u043c \u043a\u043c\u00b2 \u043a\u043c\u00b3 \u043c \u043c\u00b2 \u043c\u00b3 "
    "\u0434\u043c \u0434\u043c\u00b2 \u0434\u043c\u00b3 \u0441\u043c \u0441\u043c\u00b2 \u0441\u043c\u00b3 "
    "\u043c\u043c \u043c\u043c\u00b2 \u043c\u043c\u00b3 \u043d\u043c \u043a\u0433 \u0433 \u043c\u0433 "
    "\u043c/\u0441 \u043a\u043c/\u0447 \u043a\u041f\u0430 \u041f\u0430 \u043c\u0431\u0430\u0440 "
    "\u041a\u0431 \u041a\u0411 \u043a\u0431 \u041c\u0431 \u041c\u0411 \u043c\u0431 \u0413\u0431 "
    "\u0413\u0411 \u0433\u0431 \u0422\u0431 \u0422\u0411 \u0442\u0431\u0643\u0645 "
    "\u0643\u0645\u00b2 \u0643\u0645\u00b3 \u0645 \u0645\u00b2 \u0645\u00b3 \u0633\u0645 "
    "\u0633\u0645\u00b2 \u0633\u0645\u00b3 \u0645\u0645 \u0645\u0645\u00b2 \u0645\u0645\u00b3 "
    "\u0643\u0645 \u063a\u0631\u0627\u0645 \u062c\u0631\u0627\u0645 \u062c\u0645 \u0643\u063a "
    "\u0645\u0644\u063a \u0643\u0648\u0628 \u0627\u0643\u0648\u0627\u0628 "
).split()
HYPHENS = ["-", "\u2013", "\u2014", "--", "---", "\u2014\u2014", "~"]

_PRONOUNS = ("i", "you", "he", "she", "it", "we", "they")
_ASKING = ("who", "what", "when", "where", "why", "how", "there")
_NEGATED = (
    "ca could do does did had may might must need ought sha should wo would ai are is was were have has dare"
).split()
_NEGATED_PERFECT = _NEGATED[:15]
_DROPPED_G = "doin goin havin lovin nothin nuthin ol somethin".split()
_OWN_WORDS = "ill its hell shell shed were well whore".split()
_STATES_AND_MONTHS = (
    "Ak Ala Apr Ariz Ark Aug Calif Colo Conn Dec Del Feb Fla Ga Ia Id Ill Ind Jan Jul Jun Kan Kans Ky La Mar "
    "Mass Mich Minn Miss Mt N.C N.D N.H N.J N.M N.Y Neb Nebr Nev Nov Oct Okla Ore Pa S.C Sep Sept Tenn"
    " Va Wash Wis"
).split()
_TITLES = (
    "Adm Bros Co Corp D.C Dr E.G E.g Gen Gov I.E I.e Inc Jr Ltd Md Messrs Mo Mont Mr Mrs Ms Ph.D Prof "
    "Rep Rev Sen St a.m co e.g i.e p.m v.s vs \u00e4 \u00f6 \u00fc"
).split()
_WHOLE = (
    "and/or w/o ma'am Ma'am o'clock O'clock 's 'S \u2018s \u2018S 're 'd 'em em 'll ll 'nuff nuff 'bout "
    "'cause 'Cause 'cos 'Cos 'coz 'Coz 'cuz 'Cuz C++ <space> \\t \\n \\\") ' '' \u2014"
).split()
_FACES = [
    *(
        eyes + nose + mouth
        for eyes in ":"
        for nose in ("", "-")
        for mouth in ") )) ))) ( (( ((( ] } / | 0 3 > * P p O o X x D".split()
    ),
    *(
        ":o) (o: (: (-: =) (= [: [-: [= =] ]= 8) 8-) (-8 8D 8-D ;) ;-) (; (-; ;D ;-D ): )-: =( >:( "
        ":') :'-) :'( :'-( =/ =| =[ :1 :() >:o =3 =D xD XD xDD XDD <3 <33 <333 </3 ><(((*>"
    ).split(),
    *(
        "^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o "
        "O.O o.o 0.0 o.0 0.o @_@ (^_^) (-_-) (._.) (>_<) (*_*) (\u00ac_\u00ac) \u0ca0_\u0ca0 "
        "\u0ca0\ufe35\u0ca0 (\u0ca0_\u0ca0) \u00af\\(\u30c4)/\u00af (\u256f\u00b0\u25a1\u00b0"
        "\uff09\u256f\ufe35\u253b\u2501\u253b"
    ).split(),
]


def _contractions() -> list[list[str]]:
    """Tokens of the contractions, in lower case and with the apostrophe."""
    out = [["i", "'m"], ["i", "'m", "a"], ["y'", "all"], ["not", "'ve"]]
    out += [
        [who, *rest]
        for who in (*_PRONOUNS, *_ASKING, "that", "this", "these", "those")
        for rest in (["'ll"], ["'ll", "'ve"], ["'d"], ["'d", "'ve"])
    ]
    out += [[who, "'ve"] for who in ("i", "you", "we", "they", *_ASKING, "these", "those")]
    out += [[who, "'re"] for who in ("you", "we", "they", *_ASKING, "these", "those")]
    out += [[who, "'s"] for who in ("he", "she", "it", *_ASKING, "that", "this")]
    out += [[verb, "n't"] for verb in _NEGATED] + [[verb, "n't", "'ve"] for verb in _NEGATED_PERFECT]
    out += [[verb, "'ve"] for verb in ("could", "might", "must", "should", "would")]
    return out


def exceptions() -> dict[str, list[str]]:
    """Return the tokens of every chunk that is split by list."""
    rules: list[list[str]] = []
    for tokens in _contractions():
        plain = [token.replace("'", "") for token in tokens]
        rules += [tokens, plain]
    rules += [["how", "'d", "'y"], ["let", "'s"], ["c'm", "on"], ["can", "not"], ["gon", "na"], ["got", "ta"]]
    rules += [[tokens[0].capitalize(), *tokens[1:]] for tokens in rules if tokens[0] not in ("y'", "y")]
    rules = [tokens for tokens in rules if "".join(tokens).lower() not in _OWN_WORDS]
    for word in (*_DROPPED_G, *map(str.capitalize, _DROPPED_G)):
        rules += [[word], [word + "'"]]
    rules += [[str(hour), half] for hour in range(1, 13) for half in ("am", "a.m.", "pm", "p.m.")]
    rules += [["\u00b0", scale, "."] for scale in "cfkCFK"]
    rules += [[stem + "."] for stem in (*map(chr, range(97, 123)), *_STATES_AND_MONTHS, *_TITLES)]
    rules += [[word] for word in (*_WHOLE, *_FACES)]
    out: dict[str, list[str]] = {}
    for tokens in rules:
        curly = [token.replace("'", "\u2019") for token in tokens]
        out.setdefault("".join(tokens), tokens)
        out.setdefault("".join(curly), curly)
    return out
