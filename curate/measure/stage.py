"""What every measuring stage is: frozen settings, kind, version, columns, its wish for the native pass."""

from functools import cache
from typing import ClassVar

import pyarrow as pa

from curate import text
from curate.schema import Settings, fingerprint


class StageModel(Settings):
    """Base of the stages; a change of what a stage measures raises its `version`."""

    kind: ClassVar[str]
    version: ClassVar[int]
    paths: ClassVar[tuple[str, ...]] = ()
    """Settings that are paths of files."""

    @property
    def key(self) -> str:
        """What tells the stages of a recipe apart; the kind, where there can be one only."""
        return self.kind

    def needs(self) -> text.NativeSpec:
        """What this stage wants from the one native pass."""
        raise NotImplementedError

    def annotate(self, texts: pa.Array, *, num_threads: int = 1) -> pa.RecordBatch:
        """Measure texts for this stage alone: one row per text, `columns()` in order.

        Bytes need not be UTF-8; a null or invalid text gives a row of nulls.
        """
        return text.measure(texts, self.needs(), num_threads=num_threads).select(list(self.columns()))

    def columns(self) -> tuple[str, ...]:
        """Names of the columns that this stage measures, in order."""
        return _columns(self.needs())

    def fingerprint(self) -> str:
        """Hash of kind, version and settings: what decides the columns of a given text."""
        return fingerprint([self.kind, self.version, self.model_dump(mode="json")])


@cache
def _columns(spec: text.NativeSpec) -> tuple[str, ...]:
    names = text.measure(pa.array([], pa.large_binary()), spec).schema.names
    return tuple(name for name in names if name != text.INVALID_UTF8)
