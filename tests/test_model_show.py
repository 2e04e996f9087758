"""`curate model show` on the command line."""

from pathlib import Path

from tests.command import Curate
from tests.reference import fasttext


def test_model_show_prints_what_is_in_a_model(curate: Curate, tmp_path: Path) -> None:
    model = fasttext.random_model(1, loss="softmax", dim=4, num_labels=30, max_chars=0, ngrams=2)
    path = tmp_path / "model.bin"
    path.write_bytes(fasttext.to_bytes(model))
    done = curate("model", "show", path)
    assert done.code == 0 and "softmax" in done.out and "l0 (" in done.out and "and 10 more" in done.out
    assert len(curate("model", "show", path, "--json").value["labels"]) == 30
    path.write_bytes(b"nothing")
    assert curate("model", "show", path).errors[0].startswith(f"error: {path}: no fastText model")
