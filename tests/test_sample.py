"""The sample shards: what the demo and other tests rely on."""

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq

SAMPLE = Path(__file__).parent.parent / "sample"
PARQUET = sorted(SAMPLE.glob("*.parquet"))


def sample_rows() -> list[dict[str, str]]:
    rows = [row for path in PARQUET for row in pq.read_table(path).to_pylist()]
    with gzip.open(SAMPLE / "part-3.jsonl.gz", "rt", encoding="utf-8") as lines:
        return rows + [json.loads(line) for line in lines]


def test_every_document_has_id_text_source_and_licence() -> None:
    rows = sample_rows()
    assert len(rows) == 2082
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["text"] and row["source"] and row["license"] for row in rows)


def test_the_sample_holds_natural_copies_in_different_shards() -> None:
    rows = sample_rows()
    assert len(rows) - len({row["text"] for row in rows}) == 218


def test_every_document_has_a_language_so_that_no_rule_of_the_demo_meets_a_null() -> None:
    assert all(row["lang"] for row in sample_rows())


def test_the_notice_names_every_source() -> None:
    notice = (SAMPLE / "NOTICE.md").read_text(encoding="utf-8")
    assert [s for s in sorted({row["source"] for row in sample_rows()}) if f"`{s}`" not in notice] == []


def test_shards_differ_in_optional_columns_and_have_several_row_groups() -> None:
    assert len({tuple(pq.read_schema(path).names) for path in PARQUET}) == len(PARQUET) == 3
    assert min(pq.read_metadata(path).num_row_groups for path in PARQUET) > 1
