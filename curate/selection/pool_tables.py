"""Pools with their natural amounts, from a plan, a run, or a table: what mixtures are made of.

A plan's `pools.parquet` has unique tokens and the content of every pool; a CSV needs the columns `pool` and
`tokens` (or `share`), and may have `num_docs` and `content`. Not here: what a plan takes of them
(allocation/).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.errors import DataError
from curate.files import read_json
from curate.laws.tables import read_table
from curate.selection.allocation.pools import MAX_TOKENS, is_content

TOKEN_COLUMNS = ("num_unique_tokens", "unique_tokens", "tokens", "num_tokens")
"""What unique tokens may be called, the first that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NaturalPool:
    """A pool before anything is decided."""

    name: str
    amount: float
    """Unique tokens, or the natural share."""
    unique_tokens: int | None
    """None where only shares are known."""
    content: str | None
    """Fingerprint of its documents; None is not known."""


def find_pools(path: Path) -> Path:
    """The table of pools of a run's folder (its current plan), of a plan's folder, or the path itself.

    Raises:
        DataError: the folder has none.
    """
    if not path.is_dir():
        return path
    if (path / "pools.parquet").exists():
        return path / "pools.parquet"
    current = path / "current.json"
    if current.exists():
        value = read_json(current)
        name = value.get("plan") if isinstance(value, dict) else None
        if isinstance(name, str) and is_content(name) and (path / "plans" / name / "pools.parquet").exists():
            return path / "plans" / name / "pools.parquet"
    found = sorted(path.glob("plans/*/pools.parquet"))
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{path} has {'no plan' if not found else f'{len(found)} plans'} with a table of pools",
        hint="give the path of a plan's pools.parquet, or of a CSV with columns pool, tokens",
    )


def read_pools(path: Path) -> list[NaturalPool]:
    """Read pools with their natural amounts.

    Raises:
        DataError: a column is missing, or a value is wrong; names pool, column and value.
    """
    path = find_pools(path)
    frame = read_table(path)
    key = next((name for name in (*TOKEN_COLUMNS, "share") if name in frame.columns), None)
    if "pool" not in frame.columns or key is None:
        raise DataError(
            f"{path}: pools have the columns pool and tokens, or share: {', '.join(frame.columns)}",
        )
    names = [str(name) for name in frame["pool"].to_list()]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: a pool stands twice: {twice[0]}")
    contents = frame["content"].to_list() if "content" in frame.columns else [None] * len(names)
    return [
        _pool(name, amount, content, key, path)
        for name, amount, content in zip(names, _numbers(frame[key], path), contents, strict=True)
    ]


def _numbers(column: pl.Series, path: Path) -> list[float]:
    if not column.dtype.is_numeric():
        raise DataError(f"{path}: the column {column.name} is not of numbers but of {column.dtype}")
    return column.cast(pl.Float64).to_list()


def _pool(name: str, amount: float | None, content: object, key: str, path: Path) -> NaturalPool:
    if amount is None or not 0 < amount < MAX_TOKENS:
        raise DataError(
            f"{path}: {key} of pool {name} is above 0 and below 2^60, not: {amount}",
            hint="leave out pools that have nothing",
        )
    if content is not None and not is_content(content):
        raise DataError(f"{path}: content of pool {name} is 32 hexadecimal digits, not: {content!r:.80}")
    if key == "share":
        return NaturalPool(name=name, amount=amount, unique_tokens=None, content=_text(content))
    if amount != int(amount):
        raise DataError(f"{path}: {key} of pool {name} is a whole number, not: {amount}")
    return NaturalPool(name=name, amount=amount, unique_tokens=int(amount), content=_text(content))


def _text(content: object) -> str | None:
    return content if isinstance(content, str) else None
