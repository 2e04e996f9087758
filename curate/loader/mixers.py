"""Mixers of a training: those that settings name (curate.selection), and the replay of a token log.

`{replay: PATH}` gives every step the weights that it had in the log, to the last bit, whatever the length of
blocks; `{replay: {path: PATH, after: fail}}` refuses steps that the log has not.

Cost: a replay holds all weights of the log in memory. Not here: writing logs (tokenlog.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from curate.config import build
from curate.errors import ConfigError
from curate.loader.tokenlog import read_log
from curate.schema import Settings
from curate.selection.fixed import Replay
from curate.selection.mixer import Mixer
from curate.selection.mixers import MixerSpec
from curate.selection.mixers import make_mixer as make_learning_mixer

REPLAY = "replay"


class ReplaySettings(Settings):
    """Which log is replayed."""

    path: Path
    """File of the token log."""
    after: Literal["hold", "fail"] = "hold"
    """After the last block of the log keep its weights, or refuse."""


def make_mixer(spec: MixerSpec = "natural") -> Mixer:
    """Make the mixer that `spec` says, `replay` included.

    Raises:
        ConfigError: The name or a setting is not known or wrong, or the log has no blocks.
        DataError: The log is damaged.
    """
    if isinstance(spec, Mapping) and list(spec) == [REPLAY]:
        value = spec[REPLAY]
        table = dict(value) if isinstance(value, Mapping) else {"path": value}
        return replay(build(ReplaySettings, table, at=f"mixer.{REPLAY}"))
    if spec == REPLAY:
        raise ConfigError("mixer.replay needs the path of a token log: None", hint="write `replay: PATH`")
    return make_learning_mixer(spec)


def replay(settings: ReplaySettings) -> Replay:
    """Make a mixer of the weights in a log."""
    _, blocks = read_log(settings.path)
    first_steps, tables, end = [], [], 0
    for block in blocks:
        first_steps.append(block.first_step)
        tables.append(block.weights)
        end = block.first_step + block.num_steps
    return Replay(first_steps, tables, end_step=end if settings.after == "fail" else None)


def swaps_of(spec: MixerSpec) -> list[tuple[int, str]]:
    """First step and source of every plan that a log which is replayed moved to."""
    if not isinstance(spec, Mapping) or list(spec) != [REPLAY]:
        return []
    value = spec[REPLAY]
    path = value["path"] if isinstance(value, Mapping) else value
    _, blocks = read_log(Path(path))
    events = [event for block in blocks for event in block.events]
    return [(int(event["first_step"]), str(event["swap"])) for event in events if "swap" in event]
