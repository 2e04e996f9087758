"""Pools that a budget is shared out over: unique tokens, caps, and what to say when it is too large.

Pools are put in the order of their names first, so that no sum and no tie depends on the order they came in.
Caps are whole tokens: the cap in epochs, as the decimal that was written, times the unique tokens, rounded
down. Sums are exact.

Cost: about half a second for 100,000 pools. Not here: who gets what (solve.py).
"""

import math
import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from curate.errors import ConfigError, DataError
from curate.selection.allocation.settings import EVERY_OTHER
from curate.selection.budget import parse_budget
from curate.selection.mixer import Floats, Ints, check_names, listed

CONTENT_MODULUS = 1 << 128
"""Fingerprints of pools add up modulo this."""
MAX_TOKENS = 2**60
"""Tokens of a pool and of a target are below this, so that sums of two fit in 64 bits."""

_CONTENT = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """A pool as the plan measured it."""

    name: str
    unique_tokens: int
    num_docs: int
    content: str | None = None
    """Fingerprint of its documents: 32 hexadecimal digits, the same in any order; None is not known."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DataError(f"a pool has a name, not: {self.name!r}")
        object.__setattr__(self, "unique_tokens", self._count("unique_tokens"))
        object.__setattr__(self, "num_docs", self._count("num_docs"))
        if self.content is not None and not is_content(self.content):
            raise DataError(f"pool {self.name!r}: a content is 32 hexadecimal digits, not: {self.content!r}")

    def _count(self, key: str) -> int:
        value = getattr(self, key)
        try:
            count = operator.index(value)
        except TypeError:
            raise DataError(f"pool {self.name!r}: {key} is a whole number, not: {value!r}") from None
        if not 0 < count < MAX_TOKENS:
            raise DataError(
                f"pool {self.name!r}: {key} is above 0 and below 2^60, not: {count}",
                hint="leave out pools that have nothing",
            )
        return count


def is_content(value: object) -> bool:
    """Tell whether a value is a fingerprint of documents as it is written."""
    return isinstance(value, str) and _CONTENT.fullmatch(value) is not None


def parse_target(value: int | str) -> int:
    """Read a target: a whole number of tokens, or text such as `300B`.

    Raises:
        ConfigError: It is a fraction, 0, negative, or no number.
    """
    if isinstance(value, float) and not float(value).is_integer():
        raise ConfigError(f"a target is a whole number of tokens, not: {value}")
    target = parse_budget(int(value) if isinstance(value, np.integer | float) else value)
    if not isinstance(target, int) or not 0 < target < MAX_TOKENS:
        raise ConfigError(f"a target is a number of tokens above 0 and below 2^60, not: {value}")
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """All pools, by name; arrays have one entry for each."""

    supplies: tuple[Supply, ...]
    names: tuple[str, ...]
    """Sorted."""
    unique: Ints
    """Unique tokens."""
    cap_epochs: Floats
    caps: Ints
    """Greatest number of tokens; what is above the greatest target is cut to it."""

    def total_cap(self) -> int:
        """All tokens that may be taken together."""
        return exact_sum(self.caps)


def pools_of(supplies: Sequence[Supply], cap: float | Mapping[str, float]) -> Pools:
    """Put pools in the order of their names and their caps in tokens.

    Raises:
        DataError: There are no pools, or two have the same name.
        ConfigError: The table of caps has an unknown name or leaves one out.
    """
    if not supplies:
        raise DataError("a budget needs pools to share it out over, there are: 0")
    ordered = sorted(supplies, key=lambda supply: supply.name)
    names = [supply.name for supply in ordered]
    if len(set(names)) < len(names):
        name, count = Counter(names).most_common(1)[0]
        raise DataError(f"names of pools are unique, {name!r} is given so many times: {count}")
    epochs = _epochs(cap, names)
    return Pools(
        supplies=tuple(ordered),
        names=tuple(names),
        unique=np.array([supply.unique_tokens for supply in ordered], dtype=np.int64),
        cap_epochs=np.array(epochs),
        caps=np.array(_caps(ordered, epochs), dtype=np.int64),
    )


def _epochs(cap: float | Mapping[str, float], names: Sequence[str]) -> list[float]:
    if not isinstance(cap, Mapping):
        return [float(cap)] * len(names)
    check_names([name for name in cap if name != EVERY_OTHER], names, at="allocate.cap")
    missing = [name for name in names if name not in cap]
    if missing and EVERY_OTHER not in cap:
        raise ConfigError(
            f"allocate.cap leaves out pools: {listed(missing)}",
            hint="add `'*': 4` for all that are not named",
        )
    return [float(cap.get(name, cap.get(EVERY_OTHER, math.nan))) for name in names]


def _caps(supplies: Sequence[Supply], epochs: Sequence[float]) -> list[int]:
    exact = {value: Fraction(repr(value)) for value in set(epochs)}
    parts = [(exact[value].numerator, exact[value].denominator) for value in epochs]
    return [
        min(supply.unique_tokens * top // bottom, MAX_TOKENS - 1)
        for supply, (top, bottom) in zip(supplies, parts, strict=True)
    ]


def exact_sum(values: Ints) -> int:
    """Add whole numbers of 64 bits that are not negative, without overflow."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def check_supply(pools: Pools, target: int, usable: Floats | None = None) -> None:
    """Refuse a target that the caps do not allow, with the pools that bind and the factor that frees it.

    Args:
        pools: The pools.
        target: Tokens wanted.
        usable: Weights of a table: a pool of weight 0 gives nothing; None is all pools.

    Raises:
        ConfigError: The pools cannot give the target.
    """
    mask = np.ones(len(pools.unique), dtype=bool) if usable is None else np.asarray(usable) > 0
    total = exact_sum(pools.caps[mask])
    if total >= target:
        return
    named = [name for name, is_used in zip(pools.names, mask, strict=True) if is_used]
    which = "pool" if len(named) == 1 else f"all {len(named)} pools"
    ways = [f"{_more_cap(pools, mask, target)}", f"{_more_tokens(target, total)}"]
    if not mask.all():
        ways.append("give the pools of weight 0 some weight")
    ways.append(f"lower the budget to {total}" if total else "raise the cap to at least a token")
    raise ConfigError(
        f"{which} at the cap give {total} tokens ({listed(named)}), fewer than the budget: {target}",
        hint=", or ".join(ways),
    )


def _more_cap(pools: Pools, mask: np.ndarray, target: int) -> str:
    """Say how far caps must be raised; where all are the same, to what."""
    unique = exact_sum(pools.unique[mask])
    epochs = pools.cap_epochs[mask]
    if (epochs == epochs[0]).all():
        return f"raise the cap from {epochs[0]:g} to {rounded_up(target / unique)}"
    return f"raise the caps {rounded_up(target / exact_sum(pools.caps[mask]))} times"


def _more_tokens(target: int, total: int) -> str:
    return f"find {rounded_up(target / total) if total else 'many'} times the tokens"


def rounded_up(value: float) -> str:
    """Write a number with four digits, never below what it is."""
    digits = max(0, 3 - math.floor(math.log10(value))) if value > 0 else 0
    scale = 10**digits
    return f"{math.ceil(value * scale * (1 - 1e-12)) / scale:.15g}"
