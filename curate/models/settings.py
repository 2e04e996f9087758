"""Settings of `curate train classifier`: examples, how many, the model, what its card answers.

A preset sets defaults, any of which may be given:

* `dclm` (Li et al. 2024, arXiv:2406.11794): words and bigrams, labels such as hq and cc.
* `preselect` (Shum et al. 2025, arXiv:2503.00808): the same, and the row of `</s>` is zeroed at the end, so
  that the one end that every document has says nothing about it; labels 1 and 0.
* `edu`: grades instead of labels (as FineWeb-Edu, arXiv:2406.17557, has them), a softmax over whole grades;
  the score is the expected grade, and 3 is where documents begin to be good.

Not here: where documents come from (pipeline/examples.py).
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from curate.config import build
from curate.errors import ConfigError
from curate.schema import Settings
from curate.shards import Input

PREFIX = "__label__"
"""What a label begins with in a training file."""


class ShardSource(Input):
    """Documents of shards."""

    where: str | None = None
    """SQL expression over the input's columns; only documents for which it is true are taken."""


class RunSource(Settings):
    """Documents that the current plan of a run keeps, with its edits."""

    run: str
    """Folder of the run."""
    where: str | None = None
    """SQL expression over input and measured columns; only documents for which it is true are taken."""


class FileSource(Settings):
    """Lines `__label__x text` of a training file; a label takes the lines that have it."""

    fasttext_file: str
    """A plain UTF-8 file."""


Source = ShardSource | RunSource | FileSource


class FastText(Settings):
    """Settings of the training, under the names of fastText."""

    dim: int = Field(default=100, ge=1, le=1 << 16)
    epoch: int = Field(default=5, ge=1, lt=1 << 31)
    lr: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    word_ngrams: int = Field(default=2, ge=1, le=1 << 10)
    min_count: int = Field(default=1, ge=1, lt=1 << 31)
    """Occurrences that a word needs to have a row of its own."""
    bucket: int = Field(default=2_000_000, ge=1, lt=1 << 31)
    """Rows that n-grams and subwords share."""
    minn: int = Field(default=0, ge=0, le=1 << 10)
    maxn: int = Field(default=0, ge=0, le=1 << 10)
    """Characters in the longest subword; 0 is none."""
    init_blocks: int = Field(default=10, ge=1, le=10)
    """Tenths of the input matrix that start random; the reference with one thread has 1."""
    zero_eos: bool = False
    """Zero the row of `</s>` at the end."""


PRESETS: dict[str, dict[str, Any]] = {
    "dclm": {"balance": True, "fasttext": {}},
    "preselect": {"balance": True, "fasttext": {"zero_eos": True}},
    "edu": {"balance": False, "fasttext": {}},
}


class TrainClassifier(Settings):
    """All settings of a training."""

    name: str = "classifier"
    preset: Literal["dclm", "preselect", "edu"] = "dclm"
    labels: dict[str, list[dict[str, Any]]] = Field(default={})
    """Label -> sources of its examples; two labels or more."""
    label: str | None = None
    """Column with the label of each document of `examples`, instead of `labels`: a language, a topic."""
    values: list[str] = Field(default=[])
    """Values of that column to learn, two or more; documents with another one are left out."""
    grade: str | None = None
    """Column of grades, instead of labels; they are rounded to whole ones from 0 to `max_grade`."""
    examples: list[dict[str, Any]] = Field(default=[])
    """Sources of documents that have a label or grade of their own."""
    max_grade: int = Field(default=5, ge=1, le=1000)
    min_grade: int = Field(default=3, ge=1)
    """Grade from which a document is good; inclusive."""
    pool: list[dict[str, Any]] = Field(default=[])
    """Sources of documents to read the threshold for `keep_frac` from; none means the held-out negatives, or
    with grades all that is held out."""
    pool_docs: int = Field(default=50_000, ge=1)
    """Documents of the pool that are scored, at most."""
    positive: str | None = None
    """Label whose probability is the score; null is hq or 1 where there is one, else the first."""
    stratify: str | None = None
    """Column whose values have equal parts of each label, as far as there are documents; null is off."""
    docs_per_label: int = Field(default=200_000, ge=1)
    """Documents of each label, held-out ones included, at most."""
    balance: bool = True
    """Take as many documents of every label as there are of the rarest."""
    holdout_frac: float = Field(default=0.1, gt=0, lt=1)
    """Share of documents that are tested with instead of trained on."""
    seed: int = Field(default=42, ge=0, lt=1 << 31)
    keep_frac: float = Field(default=0.1, gt=0, le=1)
    """The card has the threshold that keeps this share of the text of the pool, in bytes."""
    fasttext: FastText = FastText()
    output: str
    """The model, a file `.bin`; its card is beside it."""

    _sources: list[tuple[str | None, Source]] = PrivateAttr(default=[])
    _pool: list[Source] = PrivateAttr(default=[])

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        preset = PRESETS.get(str(values.get("preset", "dclm")), {})
        own = values.get("fasttext") or {}
        if not isinstance(own, dict):
            return {**preset, **values}
        return {**preset, **values, "fasttext": {**preset.get("fasttext", {}), **own}}

    @field_validator("output")
    @classmethod
    def _output_is_a_local_model(cls, value: str) -> str:
        if "://" in value or not value.endswith(".bin"):
            raise ConfigError(f"output is a local file that ends in .bin: {value}")
        if Path(value).is_dir():
            raise ConfigError(f"output is a file, this is a folder: {value}")
        return value

    @model_validator(mode="after")
    def _parts_are_readable(self) -> "TrainClassifier":
        if self.fasttext.minn > self.fasttext.maxn:
            raise ConfigError(f"fasttext.minn is above fasttext.maxn: {self.fasttext.minn}")
        if self.is_graded != (self.preset == "edu"):
            raise ConfigError(f"a grade belongs to preset edu, labels to the others: {self.preset}")
        self._check_grades() if self.is_graded else self._check_labels()
        if self.labels:
            self._check_sources()
        elif not self.examples:
            raise ConfigError("examples has no source")
        self._sources = [
            (label, parse_source(entry, f"labels.{label}[{index}]"))
            for label, entries in self.labels.items()
            for index, entry in enumerate(entries)
        ]
        self._sources += [
            (None, parse_source(entry, f"examples[{index}]")) for index, entry in enumerate(self.examples)
        ]
        self._pool = [parse_source(entry, f"pool[{index}]") for index, entry in enumerate(self.pool)]
        return self

    def _check_grades(self) -> None:
        if self.labels or self.label or self.values or self.positive is not None:
            raise ConfigError(f"labels and positive have no place beside grade: {self.grade}")
        if self.min_grade > self.max_grade:
            raise ConfigError(f"min_grade is above max_grade: {self.min_grade}")

    def _check_labels(self) -> None:
        names = self.label_names
        if (self.label is None) != (not self.values) or (self.label is not None and self.labels):
            raise ConfigError(f"label and values go together, without labels: {self.label}")
        if len(set(names)) < max(2, len(names)):
            raise ConfigError(f"labels needs two or more, all different: {', '.join(names) or 'none'}")
        for label in names:
            if not label or len(label.split()) != 1 or label.split()[0] != label or "\0" in label:
                raise ConfigError(f"a label is one word: {label!r}")
        if self.positive is not None and self.positive not in names:
            raise ConfigError(f"positive is not one of {', '.join(names)}: {self.positive}")

    def _check_sources(self) -> None:
        if self.examples:
            raise ConfigError("examples belongs to label or grade, with labels each has sources of its own")
        for label, entries in self.labels.items():
            if not entries:
                raise ConfigError(f"labels.{label} has no source")

    @property
    def is_graded(self) -> bool:
        """Whether examples have grades instead of labels."""
        return self.grade is not None

    @property
    def sources(self) -> list[tuple[str | None, Source]]:
        """Label and source of all examples; the label is None where each has one of its own."""
        return self._sources

    @property
    def pool_sources(self) -> list[Source]:
        """Sources of the pool."""
        return self._pool

    @property
    def label_names(self) -> list[str]:
        """All labels, in order: as given, or the grades."""
        if self.is_graded:
            return [str(grade) for grade in range(self.max_grade + 1)]
        return self.values or list(self.labels)

    @property
    def positive_label(self) -> str:
        """The label whose probability is the score; of no meaning for grades."""
        names = self.label_names
        usual = (label for label in ("hq", "1") if label in names)
        return self.positive or next(usual, next(iter(names), ""))

    @property
    def model_path(self) -> Path:
        """Where the model goes."""
        return Path(self.output)

    @property
    def card_path(self) -> Path:
        """Where its card goes."""
        return self.model_path.with_suffix(".card.json")

    def public(self) -> dict[str, Any]:
        """The settings as JSON, without the output and how object stores are reached."""
        values = self.model_dump(mode="json", exclude={"output"})
        for entries in (*values["labels"].values(), values["examples"], values["pool"]):
            for entry in entries:
                entry.pop("storage_options", None)
        return values


def parse_source(values: dict[str, Any], at: str) -> Source:
    """Build a source of the kind that its keys say.

    Raises:
        ConfigError: it is of none or several kinds, or a setting is wrong.
    """
    kinds: dict[str, type[Source]] = {
        "paths": ShardSource,
        "run": RunSource,
        "fasttext_file": FileSource,
    }
    found = [key for key in kinds if key in values]
    if len(found) != 1:
        raise ConfigError(f"{at} has one of {', '.join(kinds)}: {', '.join(found) or 'none'}")
    return build(kinds[found[0]], values, at=at)
