"""Budgets over pools: how many tokens of which pool, for this compute, and how sure that is."""

from curate.selection.allocation.allocation import Allocation, Shift
from curate.selection.allocation.comparison import Comparison, Crossover, Curve
from curate.selection.allocation.evidence import Evidence, EvidencePool, read_evidence, write_evidence
from curate.selection.allocation.pools import Supply
from curate.selection.allocation.settings import Allocate
from curate.selection.allocation.solve import allocate

__all__ = [
    "Allocate",
    "Allocation",
    "Comparison",
    "Crossover",
    "Curve",
    "Evidence",
    "EvidencePool",
    "Shift",
    "Supply",
    "allocate",
    "read_evidence",
    "write_evidence",
]
