"""What the loader says where optional libraries are missing, and what it does without them."""

import subprocess
import sys

import pytest

from curate.errors import MissingExtra
from tests.loader.corpus import Corpus, Doc, write_plan, write_shards
from tests.loader.test_random_access import tokenizer_file

__all__ = ["tokenizer_file"]

MISSING = ("torch", "transformers", "accelerate", "tokenizers", "torchdata", "grain")


def without_extras(code, *arguments):
    """Run code where no optional library can be imported; what it prints."""
    block = "import sys\nfor name in {MISSING!r}: sys.modules[name] = None\n".replace(
        "{MISSING!r}", repr(MISSING)
    )
    done = subprocess.run(
        [sys.executable, "-c", block + code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_importing_the_loader_needs_no_torch_and_opening_says_how_to_get_it():
    code = """
import curate.loader
from curate.errors import MissingExtra
try:
    curate.loader.open("nowhere", seq_len=8, global_batch=4)
except MissingExtra as error:
    print(error, error.hint, sep="; ")
"""
    assert without_extras(code) == ["the loader needs torch; pip install 'curate[torch]'"]


def test_importing_the_loader_imports_no_optional_library():
    code = f"import sys, curate.loader; print([name for name in {MISSING!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_documents_by_number_need_no_torch(tmp_path, tokenizer_file):
    corpus = Corpus([[Doc("one"), Doc("two", repeats=2)]])
    plan = write_plan(corpus, tmp_path / "plan", write_shards(corpus, tmp_path / "shards"))
    code = """
from curate.loader import Access, open_documents
documents = open_documents(sys.argv[1], tokenizer=sys.argv[2], access=Access(cache_dir=sys.argv[3]))
print(*[len(documents[number]["tokens"]) for number in range(len(documents))])
"""
    assert without_extras(code, plan.path, tokenizer_file, tmp_path / "cache") == ["4 4 4"]


def test_a_trainer_without_transformers_says_what_to_install(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "curate.loader.huggingface", raising=False)
    with pytest.raises(MissingExtra, match="a Trainer needs transformers") as caught:
        import curate.loader.huggingface  # noqa: F401
    assert caught.value.hint == "pip install transformers accelerate"
