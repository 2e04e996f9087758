"""Time a whole curation in datatrove; run with an interpreter that has datatrove.

ParquetReader, Gopher repetition and quality, C4, FineWeb, exact duplicates by hash of the text (its three
steps: signatures, search, removal, which reads the filtered documents again) and ParquetWriter with zstd,
each stage one task in this process. Loading packages and one warm-up document are not timed. Arguments: the
folder with Parquet files, and a folder to work in. Prints CPU seconds, twice: where documents that one filter
drops are not seen by the next, and with every filter on every document.
"""

import sys
import time
from pathlib import Path

import pyarrow as pa
from datatrove.data import Document
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.logging import logger
from datatrove.utils.text import split_into_parts


def drain(steps: list) -> None:
    """Run the steps of one stage as its executor does, without the executor's logs."""
    data = None
    for step in steps:
        data = step(data, 0, 1) if callable(step) else step.run(data, 0, 1)
    for _ in data or ():
        pass


def content(document: Document) -> str:
    return document.text


class All(BaseFilter):
    """Keeps what all filters keep; asks each of them about every document."""

    name = "all"

    def __init__(self, filters: list[BaseFilter]) -> None:
        super().__init__()
        self.filters = filters

    def filter(self, doc: Document) -> bool:
        """Ask all filters; a filter's edits are not kept, so that each sees the same text."""
        text, kept = doc.text, True
        for each in self.filters:
            kept &= each.filter(doc) is True
            doc.text = text
        return kept


def chain(source: str, work: Path, filters: list[BaseFilter]) -> list[list]:
    """The stages, each a list of steps."""
    config = ExactDedupConfig(content_getter=content)
    filtered, signatures, found, left = (str(work / name) for name in ("filtered", "sigs", "found", "left"))
    first = [ParquetReader(source), *filters, ParquetWriter(filtered, compression="zstd")]
    last = [
        ParquetReader(filtered),
        ExactDedupFilter(found, config=config),
        ParquetWriter(left, compression="zstd"),
    ]
    return [
        [*first, ExactDedupSignature(signatures, finder_workers=1, config=config)],
        [ExactFindDedups(signatures, found, config=config)],
        last,
    ]


def main() -> None:
    logger.remove()
    source, work = sys.argv[1], Path(sys.argv[2])
    filters = [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]
    for each in filters:
        each.filter(Document(text="One document to load the tokenizer. It has a few words.", id="warm-up"))
    pa.set_cpu_count(1)
    for name, steps in (("chain", filters), ("all", [All(filters)])):
        split_into_parts.cache_clear()
        start = time.process_time()
        for stage in chain(source, work / name, steps):
            drain(stage)
        print(time.process_time() - start)


if __name__ == "__main__":
    main()
