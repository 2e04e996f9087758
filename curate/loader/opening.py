"""Open a run, a plan, delivered shards or files of tokens as training data.

    import curate.loader as cl

    data = cl.open("runs/web", tokenizer="tokenizer.json", seq_len=2048, global_batch=512)
    for batch in data.loader(num_workers=4):
        ...

The first time the documents are arranged in an index on the local disk (seconds for ten million documents),
later it is found there. Not here: what a batch is (batch.py), how weights change (weights.py).
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.config import build
from curate.errors import ConfigError, MissingExtra
from curate.loader.building import build_index
from curate.loader.corpus import Corpus
from curate.loader.delivered import open_delivered
from curate.loader.mixers import make_mixer, swaps_of
from curate.loader.reading import CACHE_BYTES, Reader
from curate.loader.settings import Constants
from curate.loader.sources import Source, open_plan
from curate.loader.tokenfiles import TokenSource, open_tokens
from curate.loader.tokenizer import Tokenizer
from curate.pipeline.openrun import OpenRun, open_run
from curate.pipeline.output import MANIFEST
from curate.pipeline.planfile import PlanFile
from curate.selection.mixers import MixerSpec

if TYPE_CHECKING:
    from curate.loader.data import Data

PLAN_MARK = "#"
TOKEN_SUFFIXES = (".bin", ".idx", ".npy")


@dataclass(frozen=True, kw_only=True)
class Access:
    """How documents are read; of these only `by`, `text`, `dtype` and `eos` decide what they are."""

    memory_bytes: int = 1 << 30
    """What a process (each worker) holds of texts and tokens, about."""
    cache_dir: str | Path | None = None
    """Folder of indexes and of ranges of remote shards; None is `curate` in the user's cache folder."""
    cache_bytes: int = CACHE_BYTES
    """Most bytes of remote ranges on disk; 0 keeps none."""
    storage_options: dict[str, str] | None = None
    """How to reach an object store, as in a recipe's input."""
    relocate: Mapping[str, str] = field(default_factory=dict)
    """Places of shards that moved: old to new."""
    by: str | None = None
    """Column of the pools of delivered shards; None is the folder they are split into, or `source`."""
    text: str | None = None
    """Column of the text of delivered shards; None is `text`, or what the recipe says."""
    dtype: str = "uint16"
    """How flat files of tokens store one: uint16 or uint32."""
    eos: int | None = None
    """Token that ends a document in flat files; None is that of the tokenizer."""

    @property
    def folder(self) -> Path:
        """The cache folder."""
        if self.cache_dir is not None:
            return Path(self.cache_dir)
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "curate" / "loader"


def open(  # over: the one call that says a training's data
    what: Any,
    *,
    seq_len: int,
    global_batch: int,
    tokenizer: str | Path | Tokenizer | None = None,
    mixer: MixerSpec = "natural",
    log: str | Path | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    group: Any = None,
    read_threads: int = 2,
    access: Access | None = None,
    **constants: Any,
) -> "Data":
    """Open training data; every rank and every resumed process calls it alike.

    Args:
        what: a run (folder, or `OpenRun`), a plan, a folder or URL of delivered shards, Megatron prefixes or
            flat `.npy` files, or a mapping from pools to such files.
        seq_len: tokens of a sequence.
        global_batch: sequences of a step, over all ranks.
        tokenizer: makes tokens of texts: a `tokenizer.json` and the like; None is that of the run's recipe.
        mixer: weights of the pools; see `curate.selection.mixers`.
        log: file that gets a line for each block of steps: weights, tokens and documents by pool.
        rank: of this process, with `world_size`; None asks torch.distributed.
        world_size: number of ranks that share each global batch (data-parallel ones).
        group: a process group of these ranks with the gloo backend.
        read_threads: threads that read ahead where no workers do.
        access: how documents are read.
        constants: see `curate.loader.settings.Constants`.

    Raises:
        MissingExtra: torch is not installed.
        ConfigError: a setting is wrong.
        DataError: a shard or the tokenizer is not what the plan says.
        StateError: the run has no plan.
    """
    try:
        from curate.loader.data import Data
        from curate.loader.world import World
    except ModuleNotFoundError as exc:
        if exc.name != "torch":
            raise
        raise MissingExtra("the loader needs torch", hint="pip install 'curate[torch]'") from exc
    settings = _constants({"seq_len": seq_len, "global_batch": global_batch, **constants})
    opener = partial(open_corpus, tokenizer=tokenizer, constants=settings, access=access or Access())
    source = source_name(what)
    data = Data(
        opener(what),
        make_mixer(mixer),
        World(rank, world_size, group),
        source=source,
        opener=opener,
        log=None if log is None else Path(log),
        swaps=swaps_of(mixer),
    )
    data.read_threads = read_threads
    return data


def _constants(values: dict[str, Any]) -> Constants:
    unknown = sorted(set(values) - set(Constants.model_fields))
    if unknown:
        known = ", ".join(sorted(Constants.model_fields))
        raise ConfigError(f"open has no argument {', '.join(unknown)}; constants are: {known}")
    return build(Constants, values)


def open_corpus(
    what: Any, *, tokenizer: str | Path | Tokenizer | None, constants: Constants, access: Access
) -> Corpus:
    """Arrange the documents of what is opened, and say how they are read."""
    if tokenizer is not None and not isinstance(tokenizer, Tokenizer):
        tokenizer = Tokenizer.open(tokenizer)
    if access.eos is None and tokenizer is not None:
        access = replace(access, eos=tokenizer.eos_id)
    source, own = _open_source(what, access)
    made = tokenizer if tokenizer is not None else own
    if isinstance(source, TokenSource):
        made = None
    elif made is None:
        raise ConfigError(
            f"nothing says which tokenizer makes tokens of texts: {source_name(what)}",
            hint="pass tokenizer=, the path of a tokenizer.json or the like",
        )
    index = build_index(
        source,
        access.folder,
        num_lanes=constants.num_lanes,
        block_tokens=constants.block_tokens,
        ordered=constants.order == "plan",
    )
    reader: Callable[[], Reader] = partial(
        Reader,
        index,
        made,
        memory_bytes=access.memory_bytes // 2,
        cache_dir=access.folder / "ranges" if access.cache_bytes else None,
        cache_bytes=access.cache_bytes,
    )
    identity = None if made is None else f"{made.content}:{made.bos_id}:{made.eos_id}"
    return Corpus(index, constants, reader, access.memory_bytes, identity)


def source_name(what: Any) -> str:
    """The text by which a state names what was opened; `open` takes it, too.

    Of a run it has the plan, `runs/web#<fingerprint>`: the run may be planned anew later.
    """
    if isinstance(what, OpenRun):
        return f"{Path(what.path).absolute()}{PLAN_MARK}{what.plan_file.fingerprint}"
    if isinstance(what, str | Path) and (Path(what) / "run.json").is_file():
        current = open_run(what).session.run.current_plan
        return f"{Path(what).absolute()}{PLAN_MARK}{current}" if current else str(Path(what).absolute())
    if isinstance(what, PlanFile):
        what = what.path
    if isinstance(what, Mapping | list | tuple):
        return json.dumps(what, default=lambda path: str(Path(path).absolute()), sort_keys=True)
    text = str(what)
    return text if "://" in text or text[:1] in "[{" else str(Path(text).absolute())


def _open_source(what: Any, access: Access) -> tuple[Source, Tokenizer | None]:
    """The documents, and the tokenizer with which a run counted their tokens."""
    if isinstance(what, str) and what[:1] in "[{":
        what = json.loads(what)
    if isinstance(what, Mapping | list | tuple):
        return open_tokens(what, dtype=access.dtype, eos=access.eos), None
    if isinstance(what, str | Path):
        opened = _open_path(str(what), access)
        if not isinstance(opened, OpenRun | PlanFile):
            return opened, None
        what = opened
    if not isinstance(what, OpenRun | PlanFile):
        raise ConfigError(f"this is no run, plan, folder or file of tokens: {what!r}")
    source = open_plan(
        what, text=access.text, storage_options=access.storage_options, relocate=access.relocate
    )
    return source, _run_tokenizer(what) if isinstance(what, OpenRun) else None


def _open_path(path: str, access: Access) -> Source | OpenRun | PlanFile:
    if "://" not in path:
        folder = Path(path)
        run, mark, plan = path.rpartition(PLAN_MARK)
        if mark and (Path(run) / "run.json").is_file():
            found = open_run(run, relocate=access.relocate)
            found.plan_file = PlanFile.open(found.session.run.root / "plans" / plan)
            return found
        if (folder / "run.json").is_file():
            return open_run(folder, relocate=access.relocate)
        if (folder / "plan.json").is_file():
            return PlanFile.open(folder)
        if folder.suffix in TOKEN_SUFFIXES or Path(f"{path}.idx").is_file():
            return open_tokens(path, dtype=access.dtype, eos=access.eos)
        if not (folder / MANIFEST).is_file():
            raise ConfigError(
                f"there is nothing to train on at {path}",
                hint=f"name a run, a plan, a delivered folder with {MANIFEST}, or files of tokens",
            )
    return open_delivered(
        path, by=access.by, text=access.text or "text", storage_options=access.storage_options
    )


def _run_tokenizer(run: OpenRun) -> Tokenizer | None:
    """The tokenizer of a run's recipe; None where its tokens are estimates without one."""
    counted = run.session.recipe.tokens
    if counted.tokenizer is None:
        return None
    return Tokenizer.open(counted.tokenizer, pattern=counted.pattern)
