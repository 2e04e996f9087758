"""The answer of a budget: tokens of every pool beside the baselines, what they are worth, how sure that is.

Pools are in the order of their names. The JSON has a column for each number, so that 100,000 pools are some
megabytes, and `Allocation.from_json` gives back what was written.

Not here: how it is computed (solve.py), how it is drawn (text.py, the report).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.errors import DataError

FORMAT = 1


UNVALUED = "prior equal"
"""`valued_by` of a plan for which nothing says what pools are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """How the allocation moves when what it rests on is another."""

    change: str
    """What was changed: `utility ratios x 0.8`."""
    moved: float
    """Part of the tokens that goes to other pools."""
    pools: tuple[tuple[str, float, float], ...]
    """Name, share and epochs of the largest pools and of those that move most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """How many tokens of which pool; sequences have one entry for each, by name."""

    rule: str
    target_tokens: int
    names: tuple[str, ...]
    unique_tokens: tuple[int, ...]
    tokens: tuple[int, ...]
    """Whole tokens; they add up to the target, and none is above its cap."""
    caps: tuple[float, ...]
    """Greatest epochs."""
    marginal: tuple[float, ...]
    """What the next token of each pool is worth, as `valued_by` has it."""
    baselines: Mapping[str, tuple[int, ...]]
    """Tokens by the rules `natural` and `stratified`, under the same caps."""
    values: Mapping[str, float]
    """What the tokens are worth together, of this plan and of the baselines, this plan being 1."""
    valued_by: str
    """Where utilities come from."""
    decay: str
    """Form of the decay that values were computed with."""
    level: float | None = None
    """Utility at which the budget was full, for the rule marginal."""
    contents: tuple[str | None, ...]
    """Fingerprints of the pools."""
    sensitivity: tuple[Shift, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def epochs(self) -> tuple[float, ...]:
        """Passes over the unique tokens of each pool."""
        return tuple(n / unique for n, unique in zip(self.tokens, self.unique_tokens, strict=True))

    @property
    def share(self) -> tuple[float, ...]:
        """Part of the target that each pool gives."""
        return tuple(n / self.target_tokens for n in self.tokens)

    def full(self) -> tuple[bool, ...]:
        """Whether each pool is at its cap, to a token."""
        return tuple(
            n >= cap * unique - 1
            for n, cap, unique in zip(self.tokens, self.caps, self.unique_tokens, strict=True)
        )

    @property
    def is_valued(self) -> bool:
        """Whether `values` and `marginal` say something: a mixture by a law has no utilities of its own."""
        return self.rule != "mixture" or self.valued_by != UNVALUED

    def as_text(self) -> str:
        """Write the table for a terminal."""
        from curate.selection.allocation.text import allocation_as_text

        return allocation_as_text(self)

    def to_json(self) -> dict[str, Any]:
        """Give the allocation as JSON values, numbers by column."""
        return {
            "format": FORMAT,
            "kind": "allocation",
            "rule": self.rule,
            "target_tokens": self.target_tokens,
            "valued_by": self.valued_by,
            "decay": self.decay,
            "level": self.level,
            "values": dict(self.values),
            "pools": {
                "name": list(self.names),
                "unique_tokens": list(self.unique_tokens),
                "cap": list(self.caps),
                "tokens": list(self.tokens),
                "epochs": list(self.epochs),
                "share": list(self.share),
                "marginal": list(self.marginal),
                "content": list(self.contents),
                **{name: list(tokens) for name, tokens in self.baselines.items()},
            },
            "sensitivity": [
                {"change": each.change, "moved": each.moved, "pools": [list(row) for row in each.pools]}
                for each in self.sensitivity
            ],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, value: Any) -> "Allocation":
        """Give back what `to_json` wrote.

        Raises:
            DataError: It is no allocation, or of another format; the message has key and value.
        """
        if not isinstance(value, Mapping) or value.get("kind") != "allocation":
            raise DataError(f"this is no allocation of a budget: {value!r:.80}")
        if value.get("format") != FORMAT:
            raise DataError(f"the format of an allocation is {FORMAT}, not: {value.get('format')!r}")
        try:
            return cls._read(value)
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise DataError(f"the allocation of a budget has a wrong or missing value: {exc!r}") from exc

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> "Allocation":
        pools = value["pools"]
        lengths = {key: len(column) for key, column in pools.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of different length: {lengths}")
        tokens = tuple(map(int, pools["tokens"]))
        if sum(tokens) != value["target_tokens"]:
            raise ValueError(f"tokens add up to {sum(tokens)}, not to {value['target_tokens']}")
        return cls(
            rule=str(value["rule"]),
            target_tokens=int(value["target_tokens"]),
            names=tuple(map(str, pools["name"])),
            unique_tokens=tuple(map(int, pools["unique_tokens"])),
            tokens=tokens,
            caps=tuple(map(float, pools["cap"])),
            marginal=tuple(map(float, pools["marginal"])),
            baselines={name: tuple(map(int, pools[name])) for name in ("natural", "stratified")},
            values={str(name): float(each) for name, each in value["values"].items()},
            valued_by=str(value["valued_by"]),
            decay=str(value["decay"]),
            level=None if value["level"] is None else float(value["level"]),
            contents=tuple(pools["content"]),
            sensitivity=tuple(
                Shift(
                    change=str(each["change"]),
                    moved=float(each["moved"]),
                    pools=tuple(
                        (str(name), float(share), float(epochs)) for name, share, epochs in each["pools"]
                    ),
                )
                for each in value["sensitivity"]
            ),
            warnings=tuple(map(str, value["warnings"])),
        )
