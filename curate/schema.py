"""Words shared by every layer: settings, column names, reason codes, fingerprints.

Not here: what a stage is (measure/stage.py).
"""

import json
import re
from typing import Any

from pydantic import BaseModel, ConfigDict

from curate import _rust

NULL_TEXT = "input.null_text"
INVALID_UTF8 = "input.invalid_utf8"
BAD_JSON = "input.bad_json"
BAD_TEXT_TYPE = "input.bad_text_type"
LINE_TOO_LONG = "input.line_too_long"
TEXT_TOO_LARGE = "input.text_too_large"

INPUT_ERRORS = (NULL_TEXT, INVALID_UTF8, BAD_JSON, BAD_TEXT_TYPE, LINE_TOO_LONG, TEXT_TOO_LARGE)
"""Reason codes of rows that could not be read; each is kept in the ledger and listed in quarantine."""

TEXT = "text"
"""Name of the text column inside the engine, whatever the input calls it."""

ERROR = "input.error"
"""Column that holds one of INPUT_ERRORS, or null for a good row."""

NULL_SUFFIX = ".null"
"""Appended to a rule's reason where the rule met a null or NaN: `gopher.too_short.null`."""

_REASON = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


class Settings(BaseModel):
    """Base of every part of a recipe: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def fingerprint(value: Any) -> str:
    """Hash a JSON-like value: BLAKE3 of its canonical JSON, 128 bits, lower-case hex."""
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=True)
    return _rust.blake3_hex(data.encode("ascii"))


def is_reason(code: str) -> bool:
    """Tell whether `code` is a well-formed reason: `stage.rule` in lower case."""
    return _REASON.fullmatch(code) is not None
