"""The report of a token log as data: shares asked and served by pool, in all and over the steps.

One pass over the blocks, whose number need not be known: curves have at most MAX_POINTS points, and where
there would be more, neighbours are joined. Shares are weighted by tokens, so asked and served compare.

Cost: memory for the points of every pool, about 50 MB for 1,000 pools. Not here: reading the log (the
loader), looks (mixture_page.py).
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

FORMAT = 1
MAX_POINTS = 240
MAX_EVENTS = 200
NUM_CURVES = 8


class BlockLike(Protocol):
    """What the report reads of a block of the log; tables are by pool."""

    @property
    def block(self) -> int:
        """Number of the block."""

    @property
    def first_step(self) -> int:
        """Its first step."""

    @property
    def num_steps(self) -> int:
        """Its number of steps."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Asked shares."""

    @property
    def tokens(self) -> Mapping[str, int]:
        """Tokens served in it."""

    @property
    def docs(self) -> Mapping[str, int]:
        """Documents begun in it."""

    @property
    def epochs(self) -> Mapping[str, float]:
        """Epochs served up to its end."""

    @property
    def loss(self) -> Mapping[str, float | None]:
        """Mean loss in it."""

    @property
    def events(self) -> Sequence[Any]:
        """What happened in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolShare:
    """One pool over all blocks of the log."""

    pool: str
    asked_share: float
    """Mean of the asked shares, weighted by the tokens of the blocks."""
    served_share: float
    max_gap: float
    """Greatest difference of asked and served share in one block."""
    tokens: int
    docs: int
    epochs: float
    """At the end; tokens before the log are counted."""
    first_loss: float | None
    last_loss: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Shares of one pool over the steps, a value for each point."""

    pool: str | None
    """None is all the pools that have no curve of their own."""
    asked: list[float]
    served: list[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureReport:
    """All that page, text and JSON show."""

    format: int
    title: str
    plan: str
    num_blocks: int
    first_step: int
    end_step: int
    """First step after the last block."""
    tokens: int
    docs: int
    pools: list[PoolShare]
    """Most tokens first, ties by name."""
    steps: list[int]
    """First step of each point of the curves."""
    curves: list[Curve]
    """The largest pools, then, where there are more, the sum of the others."""
    events: list[dict[str, Any]]
    """The first MAX_EVENTS, with their blocks."""
    num_events: int


@dataclass(slots=True)
class _Point:
    """Neighbouring blocks: tokens asked and served by pool."""

    first_step: int
    asked: dict[str, float]
    served: dict[str, int]

    def join(self, other: "_Point") -> "_Point":
        """Add the blocks after these."""
        for pool, asked in other.asked.items():
            self.asked[pool] = self.asked.get(pool, 0.0) + asked
        for pool, served in other.served.items():
            self.served[pool] = self.served.get(pool, 0) + served
        return self


@dataclass(slots=True)
class _Sums:
    """What is counted in the pass."""

    points: list[_Point] = field(default_factory=list)
    width: int = 1
    """Blocks of a point."""
    num_blocks: int = 0
    first_step: int = 0
    end_step: int = 0
    asked: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    docs: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
    epochs: dict[str, float] = field(default_factory=dict)
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    num_events: int = 0

    def add(self, block: BlockLike) -> None:
        """Count one block."""
        total = sum(block.tokens.values())
        asked = {pool: min(weight, 1.0) * total for pool, weight in block.weights.items()}
        self._add_point(_Point(block.first_step, asked, dict(block.tokens)))
        if self.num_blocks == 0:
            self.first_step = block.first_step
        self.num_blocks += 1
        self.end_step = block.first_step + block.num_steps
        for pool in {**asked, **block.tokens}:
            wanted, got = asked.get(pool, 0.0), block.tokens.get(pool, 0)
            self.asked[pool] = self.asked.get(pool, 0.0) + wanted
            self.tokens[pool] = self.tokens.get(pool, 0) + got
            gap = abs(wanted - got) / total if total else 0.0
            self.gaps[pool] = max(self.gaps.get(pool, 0.0), gap)
        for pool, number in block.docs.items():
            self.docs[pool] = self.docs.get(pool, 0) + number
        self.epochs.update(block.epochs)
        for pool, loss in block.loss.items():
            if loss is not None:
                self.losses[pool] = (self.losses.get(pool, (loss, loss))[0], loss)
        room = MAX_EVENTS - len(self.events)
        self.events += [{"block": block.block, "event": event} for event in block.events[:room]]
        self.num_events += len(block.events)

    def _add_point(self, point: _Point) -> None:
        if self.num_blocks % self.width:
            self.points[-1].join(point)
            return
        if len(self.points) == MAX_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [first.join(second) for first, second in pairs]
            self.width *= 2
        self.points.append(point)


def build_mixture_report(
    blocks: Iterable[BlockLike], *, title: str, plan: str, pools: Sequence[str]
) -> MixtureReport:
    """Count the blocks of a log once; `pools` are those of its header, there even if nothing came of them."""
    sums = _Sums()
    for block in blocks:
        sums.add(block)
    total = sum(sums.tokens.values())
    rows = [_row(sums, pool, total) for pool in {**dict.fromkeys(pools), **sums.asked}]
    rows.sort(key=lambda row: (-row.tokens, row.pool))
    return MixtureReport(
        format=FORMAT,
        title=title,
        plan=plan,
        num_blocks=sums.num_blocks,
        first_step=sums.first_step,
        end_step=sums.end_step,
        tokens=total,
        docs=sum(sums.docs.values()),
        pools=rows,
        steps=[point.first_step for point in sums.points],
        curves=_curves(sums.points, [row.pool for row in rows]),
        events=sums.events,
        num_events=sums.num_events,
    )


def _row(sums: _Sums, pool: str, total: int) -> PoolShare:
    first_loss, last_loss = sums.losses.get(pool, (None, None))
    return PoolShare(
        pool=pool,
        asked_share=sums.asked.get(pool, 0.0) / total if total else 0.0,
        served_share=sums.tokens.get(pool, 0) / total if total else 0.0,
        max_gap=sums.gaps.get(pool, 0.0),
        tokens=sums.tokens.get(pool, 0),
        docs=sums.docs.get(pool, 0),
        epochs=sums.epochs.get(pool, 0.0),
        first_loss=first_loss,
        last_loss=last_loss,
    )


def _curves(points: list[_Point], pools: list[str]) -> list[Curve]:
    """Draw the first pools each and the rest as one."""
    alone = pools if len(pools) <= NUM_CURVES else pools[: NUM_CURVES - 1]
    groups: list[tuple[str | None, list[str]]] = [(pool, [pool]) for pool in alone]
    if len(alone) < len(pools):
        groups.append((None, pools[len(alone) :]))
    totals = [sum(point.served.values()) for point in points]
    curves = []
    for name, members in groups:
        asked = [math.fsum(point.asked.get(pool, 0.0) for pool in members) for point in points]
        served = [sum(point.served.get(pool, 0) for pool in members) for point in points]
        curves.append(
            Curve(
                pool=name,
                asked=[part / total if total else 0.0 for part, total in zip(asked, totals, strict=True)],
                served=[part / total if total else 0.0 for part, total in zip(served, totals, strict=True)],
            )
        )
    return curves


def mixture_to_json(report: MixtureReport) -> bytes:
    """Write the report as JSON, keys sorted."""
    text = json.dumps(asdict(report), sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    return text.encode("ascii") + b"\n"
