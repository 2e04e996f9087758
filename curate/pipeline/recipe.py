"""The recipe: every setting of a run, on one page, in the order of the four steps.

`Recipe` only holds and checks settings; each section's model lives beside the code that reads it.
Fingerprints of parts decide what is redone after a change: measured columns depend on their stage alone,
resolved artefacts on columns, the plan on everything but the output.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr, field_validator, model_validator

from curate.config import apply_overrides, build, read_source
from curate.dedup.exact import Exact
from curate.dedup.near import Near
from curate.dedup.parts import DuplicateParts, NgramOverlap
from curate.errors import ConfigError
from curate.files import hash_file
from curate.filters.entries import parse_filters
from curate.filters.rules import Rule
from curate.measure import STAGES, Document, Heuristics, Identity, MinHash, StageModel, Tokens
from curate.pipeline.plansettings import Plan
from curate.pipeline.transform import TRANSFORMS, Transform
from curate.schema import Settings, fingerprint
from curate.shards import Input


class Dedup(Settings):
    """Which copies go."""

    exact: Exact | None = None
    """Documents with the same bytes of text; null leaves copies in."""
    minhash: Near | None = None
    """Documents that are nearly the same; `measure` needs `minhash`. Null leaves them in."""


class Output(Settings):
    """Where and how the curated shards are written."""

    path: str
    storage_options: dict[str, str] = Field(default={})
    """How to reach an object store, as for the input."""
    columns: list[str] | None = None
    """Input and measured columns to write; null means the text and every column of the input."""
    rows_per_file: int = Field(default=1_000_000, ge=1)
    max_file_bytes: int = Field(default=512 << 20, ge=1 << 10)
    """Uncompressed bytes after which a new file begins."""
    row_group_bytes: int = Field(default=512 << 10, ge=1 << 10)
    """Uncompressed bytes of a row group. The training loader reads whole row groups for blocks of 256 KiB of
    text, so they are small; 32 MiB would make files 3 % smaller."""
    compression_level: int = Field(default=3, ge=1, le=22)
    """Level of zstd."""
    split_by: str | None = None
    """Column of the input or a measured one: documents go to a folder for each value, `<column>=<value>`,
    such as `language.label=de`, and the column is in no file; null is one folder for all."""
    materialize_repeats: bool = False
    """Write a document as often as the plan repeats it, instead of a column `repeats`."""


class Recipe(Settings):
    """All settings of a run."""

    name: str = "run"
    run: str | None = None
    """Folder of the run; null means `runs/<name>`."""
    store: str | None = None
    """Folder of measured columns, shared by recipes; null means `store` beside the run."""
    input: Input
    measure: list[str | dict[str, dict[str, Any] | None]] = Field(default=["heuristics", "tokens"])
    transform: list[str | dict[str, dict[str, Any] | None]] = Field(default=[])
    """What is removed from texts before they are measured and written, in this order, each at most once:
    `c4_lines`, `duplicate_parts`, `ngram_overlap`; nothing by default."""
    filter: list[dict[str, Any]] = Field(default=[])
    dedup: Dedup = Dedup()
    plan: Plan = Plan()
    output: Output | None = None
    max_bad: float = Field(default=0.001, ge=0, le=1)
    """Share of unreadable rows (null text aside) above which a finished run exits with 3."""

    _stages: tuple[StageModel, ...] = PrivateAttr(default=())
    _rules: tuple[Rule, ...] = PrivateAttr(default=())
    _transforms: tuple[Transform, ...] = PrivateAttr(default=())

    @field_validator("run", "store")
    @classmethod
    def _folder_is_local(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            raise ConfigError(f"the run and the store are local folders, only shards may be URLs: {value}")
        return value

    @model_validator(mode="after")
    def _parts_are_readable(self) -> "Recipe":
        self._stages = parse_stages(self.measure)
        self._rules = parse_filters(self.filter)
        self._transforms = tuple(
            build(TRANSFORMS[name], settings, at=at)
            for name, settings, at in named_entries(self.transform, "transform", TRANSFORMS)
        )
        self._check_dedup()
        names = [each.name for each in self._transforms]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"transform has one twice: {name}")
        return self

    def _check_dedup(self) -> None:
        near = self.dedup.minhash
        if near is None:
            return
        if self.minhash is None:
            raise ConfigError("dedup.minhash needs signatures", hint="add `minhash` under `measure`")
        near.choose_bands(self.minhash.preset, self.minhash.num_hashes)

    @property
    def stages(self) -> tuple[StageModel, ...]:
        """The measuring stages, `identity` and `document` first."""
        return self._stages

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The filter rules, in the order of the recipe."""
        return self._rules

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """The transforms, in the order of the recipe."""
        return self._transforms

    @property
    def rounds(self) -> tuple[DuplicateParts | NgramOverlap, ...]:
        """Those that see the whole corpus."""
        return tuple(each for each in self._transforms if isinstance(each, DuplicateParts | NgramOverlap))

    @property
    def tokens(self) -> Tokens:
        """The stage that counts tokens."""
        return next(stage for stage in self._stages if isinstance(stage, Tokens))

    @property
    def minhash(self) -> MinHash | None:
        """The stage that makes signatures."""
        return next((stage for stage in self._stages if isinstance(stage, MinHash)), None)

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""
        return Path(self.run or f"runs/{self.name}")

    @property
    def store_dir(self) -> Path:
        """Folder of the store."""
        return Path(self.store) if self.store else self.run_dir.parent / "store"

    def located(self) -> "Recipe":
        """The same recipe with absolute paths, which mean the same from any folder."""
        paths = [path if "://" in path else str(Path(path).absolute()) for path in self.input.patterns]
        output = self.output
        if output is not None and "://" not in output.path:
            output = output.model_copy(update={"path": str(Path(output.path).absolute())})
        places = {"run": str(self.run_dir.absolute()), "store": str(self.store_dir.absolute())}
        source = self.input.model_copy(update={"paths": paths})
        stages = [_with_absolute_paths(entry) for entry in self.measure]
        parts = {
            "input": source,
            "output": output,
            "measure": stages,
            "dedup": self._located_dedup(),
            "plan": self._located_plan(),
        }
        return self.model_copy(update={**parts, **places})

    def _located_dedup(self) -> Dedup:
        near = self.dedup.minhash
        if near is None or near.index is None:
            return self.dedup
        index = near.index.model_copy(update={"path": str(Path(near.index.path).absolute())})
        near = near.model_copy(update={"index": index})
        return self.dedup.model_copy(update={"minhash": near})

    def _located_plan(self) -> Plan:
        allocate = self.plan.allocate
        if allocate is None:
            return self.plan
        paths = {key: getattr(allocate, key) for key in ("evidence", "law")}
        update = {key: str(Path(path).absolute()) for key, path in paths.items() if path is not None}
        return self.plan.model_copy(update={"allocate": allocate.model_copy(update=update)})

    @property
    def has_secrets(self) -> bool:
        """Whether it says how to reach an object store."""
        return bool(self.input.storage_options or (self.output and self.output.storage_options))

    def plan_fingerprint(self) -> str:
        """Fingerprint of every setting that decides the plan, but not of its inputs."""
        return fingerprint(["plan", 1, self.plan_settings()])

    def plan_settings(self) -> dict[str, Any]:
        """The settings that decide the plan, as JSON values; filters as the rules that they stand for."""
        parts = self.model_dump(mode="json", include={"dedup", "plan"})
        if self.dedup.minhash is not None and self.dedup.minhash.index is not None:
            # What is in the index counts, not where it is, nor what happens to it later.
            parts["dedup"]["minhash"]["index"] = {"mode": self.dedup.minhash.index.mode}
        for key in ("evidence", "law") if self.plan.allocate is not None else ():
            # What is in the file counts, not where it is.
            path = parts["plan"]["allocate"][key]
            parts["plan"]["allocate"][key] = None if path is None else hash_file(Path(path))
        return {**parts, "filter": [rule.model_dump(mode="json") for rule in self._rules]}

    @property
    def repeats_vary(self) -> bool:
        """Whether a document may be delivered more than once."""
        return self.plan.allocate is not None


def _with_absolute_paths(entry: str | dict[str, Any]) -> str | dict[str, Any]:
    """The entry of a stage; the paths of a tokenizer or model in it are made absolute."""
    if isinstance(entry, str):
        return entry
    name, settings = next(iter(entry.items()))
    paths = {key: settings[key] for key in STAGES[name].paths if settings and settings.get(key)}
    if not paths:
        return entry
    return {name: {**(settings or {}), **{key: str(Path(path).absolute()) for key, path in paths.items()}}}


Entries = list[str | dict[str, dict[str, Any] | None]]


def named_entries(entries: Entries, section: str, known: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield name, settings and key path of each entry of a section: `name` or `name: {settings}`.

    Raises:
        ConfigError: an entry is not one of the known.
    """
    for position, entry in enumerate(entries):
        at = f"{section}[{position}]"
        pairs = [(entry, None)] if isinstance(entry, str) else list(entry.items())
        if len(pairs) != 1:
            raise ConfigError(f"{at} must hold one name: {', '.join(name for name, _ in pairs) or 'none'}")
        name, settings = pairs[0]
        if name not in known:
            raise ConfigError(f"{at} is not known, there are {', '.join(sorted(known))}: {name}")
        yield name, settings or {}, f"{at}.{name}"


def parse_stages(entries: Entries) -> tuple[StageModel, ...]:
    """Build the stages of `measure:`, `identity` and `document` first, `tokens` added where it is missing.

    Raises:
        ConfigError: an unknown stage, one that stands twice, or a setting that is wrong.
    """
    stages: list[StageModel] = [Identity(), Document()]
    for name, settings, at in named_entries(entries, "measure", STAGES):
        stages.append(build(STAGES[name], settings, at=at))
    if not any(isinstance(stage, Tokens) for stage in stages):
        stages.append(Tokens())
    for stage in stages:
        if isinstance(stage, Heuristics):
            stages[1] = Document(words=stage.words)
    names = [stage.key for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"measure has a stage twice: {name}")
    return tuple(stages)


def load_recipe(source: str | Path | dict[str, Any], *, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe from a file, a mapping, or YAML text with a line break, and apply `a.b=c` overrides.

    Raises:
        ConfigError: with every wrong key.
        FileNotFoundError: there is no such file.
    """
    return build(Recipe, apply_overrides(read_source(source, name="recipe"), overrides or []))
