"""Why the selection took a document, how often, or why not: facts, and how they are said.

Not here: reasons of filters and duplicates (explain.py).
"""

from dataclasses import dataclass
from typing import Self

from curate.report.drawing import grouped

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionFacts:
    """What selection compared for this document and its pool."""

    method: str
    key: float | None
    """Score or sampling key of the document; None where the method has none."""
    threshold: float | None
    """Threshold of the pool; a key under it is not taken. None where everything was taken."""
    seed: int | None
    budget_tokens: int | None
    planned_tokens: int | None
    score: str | None = None
    """Column or weight that the key was made from."""
    unique_tokens: int | None = None
    """Tokens of the pool that may be taken."""
    can_repeat: bool = False
    """Whether a budget above those repeats documents."""

    @classmethod
    def of_tiers(cls, score: str) -> Self:
        """Facts of a document without a score for the tiers, which is in no pool with a budget."""
        return cls(
            method="tiers",
            key=None,
            threshold=None,
            seed=None,
            budget_tokens=None,
            planned_tokens=None,
            score=score,
        )


def describe_selection(given: SelectionFacts) -> list[str]:
    """Write what the draw compared."""
    made = f" of {given.score}" if given.score else ""
    seed = "" if given.seed is None else f", seed {given.seed}"
    lines = [f"{given.method}{made}{seed}: key {number(given.key)}, threshold {number(given.threshold)}"]
    if given.budget_tokens is not None:
        planned = grouped(given.planned_tokens)
        lines.append(f"the pool's budget is {grouped(given.budget_tokens)} tokens, planned are {planned}")
    return lines


def describe_repeats(given: SelectionFacts, repeats: int) -> list[str]:
    """Write why a kept document is taken as often as it is; nothing where its pool has no budget."""
    budget, unique = given.budget_tokens, given.unique_tokens
    if budget is None or not unique:
        return []
    whole = budget // unique if given.can_repeat else 0
    what = f"{grouped(budget)} tokens of {grouped(unique)} in the pool"
    if not whole:
        return [f"once: the budget is {what}, and the document is in the cut"]
    if repeats == whole and budget % unique == 0:
        return [f"{repeats} times: the budget is {what}, all of them {grouped(whole)} times"]
    rest = "and once more for the cut of the rest" if repeats > whole else "the cut of the rest is without it"
    return [f"{repeats} times: the budget is {what}, all of them {grouped(whole)} times, {rest}"]


def number(value: Value) -> str:
    """Write a measured value: exact integers, floats with six digits, null as null."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
