"""Time datatrove's filters on the documents of a Parquet file; run with an interpreter that has datatrove.

Every document goes through all four filters. Prints CPU seconds, twice: one filter after the other over each
document, in the order in which its cache of split words serves three of them; and with that cache emptied
between filters, as when each filter is a run of its own. Loading and one warm-up document are not timed.
"""

import sys
import time

import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_parts


def main() -> None:
    filters = [GopherQualityFilter(), GopherRepetitionFilter(), FineWebQualityFilter(), C4QualityFilter()]
    for each in filters:
        each.filter(Document(text="One document to load the tokenizer. It has a few words.", id="warm-up"))
    texts = pq.read_table(sys.argv[1], columns=["text"])["text"].to_pylist()
    for is_shared in (True, False):
        start = time.process_time()
        for row, text in enumerate(texts):
            for each in filters:
                each.filter(Document(text=text, id=str(row)))
                if not is_shared:
                    split_into_parts.cache_clear()
        split_into_parts.cache_clear()
        print(time.process_time() - start)


if __name__ == "__main__":
    main()
