"""Weights on a plan: constant between points, or moving in a straight line from mixture to mixture.

A point has a step, or a number of tokens, and the weights from there on: a table, `natural` or `uniform`.
Before the first point its weights hold already, after the last one they stay. A block has the weights of its
first step, so a change inside a block takes effect with the next one.

Cost: nothing worth a number. Not here: curricula inside a pool, which are the plan's `order`.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from curate.errors import ConfigError
from curate.schema import Settings
from curate.selection.budget import parse_budget
from curate.selection.fixed import Static
from curate.selection.mixer import Floats, PoolSupply, by_pool, checked, normalised


class Point(Settings):
    """The weights from a step, or from a number of tokens, on."""

    step: int | None = Field(default=None, ge=0)
    """Step, counted from 0; either this or `tokens`."""
    tokens: int | str | None = None
    """Tokens handed out before it: `20B`, padding included; either this or `step`."""
    weights: dict[str, float] | Literal["natural", "uniform"]
    """A table that names every pool, or `natural`, or `uniform`."""

    @field_validator("tokens")
    @classmethod
    def _check_tokens(cls, value: int | str | None) -> int | None:
        tokens = None if value is None else parse_budget(value)
        if tokens is not None and not isinstance(tokens, int):
            raise ConfigError(f"schedule: tokens are a whole number, not a fraction: {value}")
        return tokens

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.step is None) == (self.tokens is None):
            raise ConfigError(
                f"schedule: a point has either a step or tokens: step={self.step}, tokens={self.tokens}"
            )
        if isinstance(self.weights, dict):
            checked(list(self.weights.values()), at=f"schedule: weights from {self.place} on")
        return self

    @property
    def place(self) -> int:
        """Step or tokens."""
        return self.step if self.step is not None else int(self.tokens or 0)


class ScheduleSettings(Settings):
    """Points, and what is between them."""

    points: list[Point] = Field(min_length=1)
    """All by step or all by tokens, growing."""
    between: Literal["constant", "linear"] = "constant"
    """`constant` keeps the weights until the next point, `linear` moves to it in a straight line."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = {point.step is None for point in self.points}
        if len(kinds) > 1:
            raise ConfigError("schedule: points are all by step or all by tokens: both")
        places = [point.place for point in self.points]
        for before, after in pairwise(places):
            if after <= before:
                raise ConfigError(f"schedule: points grow: {after} comes after {before}")
        return self


class Schedule(Static):
    """Weights on a plan."""

    kind = "schedule"

    def __init__(self, settings: ScheduleSettings) -> None:
        self.settings: ScheduleSettings = settings

    def begin(self, pools: Sequence[PoolSupply]) -> None:
        """Bring the tables into the order of the pools."""
        self._rows = [self._row(point.weights) for point in self.settings.points]

    def _row(self, weights: dict[str, float] | str) -> Floats:
        if isinstance(weights, dict):
            return checked(by_pool(weights, self.names, at="schedule"), at="schedule")
        return self.natural if weights == "natural" else normalised((self.natural > 0).astype(np.float64))

    def weights(self, block: int, first_step: int, tokens_per_step: int) -> Floats:
        """Give the weights at the block's first step."""
        points = self.settings.points
        here = first_step if points[0].step is not None else first_step * tokens_per_step
        places = [point.place for point in points]
        last = max(0, bisect_right(places, here) - 1)
        if self.settings.between == "constant" or last + 1 == len(points) or here <= places[0]:
            return self._rows[last].copy()
        part = (here - places[last]) / (places[last + 1] - places[last])
        return normalised((1.0 - part) * self._rows[last] + part * self._rows[last + 1])
