"""UAX #29 word segments in plain Python, rule by rule, for ASCII, Latin, Greek and common punctuation.

White-space segments are dropped. Other scripts, joiners and emoji are outside this twin.
"""

import unicodedata

MID_LETTER = set(":\u00b7\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a")
MID_NUM = set(",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14")
MID_NUM_LET = set(".'\u2018\u2019\u2024\ufe52\uff07\uff0e")
NEWLINE = set("\n\r\v\f\x85\u2028\u2029")
EXTENDERS = set("_\u203f\u2040\u2054")
LETTERS_BY_RULE = set("\u02c2\u02c3\u02c4\u02c5\u02d2\u02d3\u02d4\u02d5\u02d6\u02d7\u02de\u02df\u02e5\u02e6")


def words(text):
    """Segments between word boundaries that are not white space."""
    kinds = [_kind(c) for c in text]
    out, start = [], 0
    for at in range(1, len(text) + 1):
        if at == len(text) or _is_boundary(text, kinds, at):
            if not all(_is_space(c) for c in text[start:at]):
                out.append(text[start:at])
            start = at
    return out


def _kind(c):
    category = unicodedata.category(c)
    if c in NEWLINE:
        return "newline"
    if c in MID_LETTER:
        return "mid letter"
    if c in MID_NUM:
        return "mid number"
    if c in MID_NUM_LET:
        return "mid both"
    if c in EXTENDERS:
        return "connector"
    if category in ("Mn", "Me", "Mc") or c == "\u00ad":
        return "extend"
    if category == "Nd":
        return "number"
    if category in ("Lu", "Ll", "Lt", "Lm", "Lo") or c in LETTERS_BY_RULE:
        return "letter"
    if c == " ":
        return "space"
    return "other"


def _is_boundary(text, kinds, at):
    before, after = kinds[at - 1], kinds[at]
    if text[at - 1 : at + 1] == "\r\n":  # WB3
        return False
    if "newline" in (before, after):  # WB3a, WB3b
        return True
    if before == after == "space":  # WB3d
        return False
    if after == "extend":  # WB4
        return False
    left = [kinds[i] for i in range(at) if not _is_ignored(kinds, i)]
    right = [kinds[i] for i in range(at, len(text)) if not _is_ignored(kinds, i)]
    previous, second = left[-1], left[-2] if len(left) > 1 else None
    following = right[1] if len(right) > 1 else None
    joined = ("letter", "number", "connector")
    if previous in joined and after in joined:  # WB5, WB8, WB9, WB10, WB13a, WB13b
        return False
    for kind, mids in (("letter", ("mid letter", "mid both")), ("number", ("mid number", "mid both"))):
        if previous == kind and after in mids and following == kind:  # WB6, WB12
            return False
        if second == kind and previous in mids and after == kind:  # WB7, WB11
            return False
    return True


def _is_ignored(kinds, at):
    """Whether WB4 skips the character: it extends one before it that is no line end."""
    return kinds[at] == "extend" and at > 0 and kinds[at - 1] != "newline"


def _is_space(c):
    return c in "\t \n\r\v\f\x85" or unicodedata.category(c) in ("Zs", "Zl", "Zp")
