"""The state of a run as a dictionary: tensors of fixed shape for each lane, and one JSON text for the rest.

A distributed checkpoint of all ranks holds every lane under its own key, so another number of ranks finds
those that it hosts. `torch.load` reads it with `weights_only`. Not here: what the numbers mean (state.py,
weights.py).
"""

import base64
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from curate.errors import StateError
from curate.loader.feedback import Feedback
from curate.loader.settings import Constants
from curate.loader.stages import Stage
from curate.loader.state import LaneArrays

FORMAT = 1
RUN = "run"
"""Key of what is common to all lanes."""
SUMS = "feedback"
"""Key of a lane's sums of losses."""
OnMismatch = Literal["error", "append", "restart"]
APPENDABLE = ("seq_len", "global_batch", "end", "max_epochs", "pad_id")
"""Constants that may change where a run goes on with `append`."""

_log = logging.getLogger(__name__)


def lane_key(lane: int) -> str:
    """Key of a lane."""
    return f"lane_{lane:05d}"


def lane_states(arrays: LaneArrays, feedback: Feedback, lanes: range) -> dict[str, Any]:
    """Tensors of each lane."""
    state = {}
    for number, lane in enumerate(lanes):
        parts = arrays.lane(number) | {SUMS: feedback.sums[number].copy()}
        state[lane_key(lane)] = {name: torch.from_numpy(array) for name, array in parts.items()}
    return state


def load_lanes(arrays: LaneArrays, feedback: Feedback, lanes: range, state: Mapping[str, Any]) -> None:
    """Take over the tensors of each lane.

    Raises:
        StateError: a lane is missing, or of another shape.
    """
    for number, lane in enumerate(lanes):
        key = lane_key(lane)
        if key not in state:
            raise StateError(
                f"the state has no {key}, which this rank hosts",
                hint="save the states of all ranks (torch.distributed.checkpoint), or full_state_dict()",
            )
        parts = {name: value.numpy() for name, value in state[key].items()}
        sums = parts.pop(SUMS, np.zeros(0))
        arrays.set_lane(number, parts, key)
        if sums.shape != feedback.sums[number].shape:
            raise StateError(
                f"{SUMS} of {key} has another shape than this run: {sums.shape} and "
                f"{feedback.sums[number].shape}"
            )
        feedback.sums[number] = sums


def read_common(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is common to all lanes.

    Raises:
        StateError: there is none, or of another format.
    """
    if not isinstance(state.get(RUN), str):
        raise StateError(f"the state has no text {RUN!r}; its keys are: {', '.join(sorted(state)[:5])}")
    common = json.loads(state[RUN])
    if common.get("format") != FORMAT:
        raise StateError(f"the state has format {common.get('format')}, this version reads format {FORMAT}")
    return dict(common)


def check_constants(mine: Constants, theirs: Mapping[str, Any], on_mismatch: OnMismatch) -> None:
    """See that the constants of a state are those of the run.

    Raises:
        StateError: names the field and both values.
    """
    own = mine.model_dump(mode="json")
    for name in sorted(own.keys() | theirs.keys()):
        if own.get(name) == theirs.get(name):
            continue
        if on_mismatch == "append" and name in APPENDABLE:
            _log.warning("%s changes from %s to %s", name, theirs.get(name), own.get(name))
            continue
        can = "'append' or 'restart'" if name in APPENDABLE else "'restart'"
        raise StateError(
            f"{name} of the state and of this run differ: {theirs.get(name)} and {own.get(name)}",
            hint=f"open with the state's value, or pass on_mismatch={can}",
        )


def stage_to_json(stage: Stage) -> dict[str, Any]:
    """A stage with its arrays, packed."""
    record: dict[str, Any] = {"source": stage.source, "plan": stage.plan, "first_step": stage.first_step}
    for name, array in (("cursor", stage.cursor), ("pieces", stage.pieces)):
        if array is not None:
            packed = base64.b64encode(zlib.compress(np.ascontiguousarray(array, "<i8").tobytes())).decode()
            record[name] = {"shape": list(array.shape), "zlib": packed}
    return record


def stage_from_json(record: Mapping[str, Any]) -> Stage:
    """The stage that was packed."""
    arrays = {}
    for name in ("cursor", "pieces"):
        if name in record:
            data = zlib.decompress(base64.b64decode(record[name]["zlib"]))
            arrays[name] = np.frombuffer(data, "<i8").reshape(record[name]["shape"]).astype(np.int64)
    return Stage(record["source"], record["plan"], record["first_step"], **arrays)
