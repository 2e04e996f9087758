"""The state of a run as a dictionary: bytes for each lane, and one JSON text for the rest.

A distributed checkpoint of all ranks holds every lane under its own key, so another number of ranks finds
those that it hosts. `torch.load` reads it with `weights_only`. Not here: what the numbers mean (state.py,
weights.py).
"""

import base64
import contextlib
import json
import logging
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from curate.errors import CurateError, StateError
from curate.loader.feedback import Feedback
from curate.loader.rewind import KEPT_STEPS
from curate.loader.settings import Constants
from curate.loader.stages import Stage
from curate.loader.state import LaneArrays
from curate.loader.weights import WeightLog

FORMAT = 2
"""Format 1 had pools with an end in another order."""
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


def lane_states(arrays: LaneArrays, feedback: Feedback, lanes: range) -> dict[str, bytes]:
    """The arrays of each lane, packed."""
    return {
        lane_key(lane): pack(arrays.lane(number) | {SUMS: feedback.sums[number]})
        for number, lane in enumerate(lanes)
    }


def load_lanes(arrays: LaneArrays, feedback: Feedback, lanes: range, state: Mapping[str, Any]) -> None:
    """Take over the arrays of each lane.

    Raises:
        StateError: a lane is missing, damaged, or of another shape.
    """
    for number, lane in enumerate(lanes):
        key = lane_key(lane)
        if key not in state:
            raise StateError(
                f"the state has no {key}, which this rank hosts",
                hint="save the states of all ranks (torch.distributed.checkpoint), or full_state_dict()",
            )
        parts = unpack(state[key], key)
        sums = parts.pop(SUMS, np.zeros(0))
        arrays.set_lane(number, parts, key)
        if sums.shape != feedback.sums[number].shape:
            raise StateError(
                f"{SUMS} of {key} has another shape than this run: {sums.shape} and "
                f"{feedback.sums[number].shape}"
            )
        feedback.sums[number] = sums


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Some arrays as one string of bytes: a JSON line that describes them, their numbers, a checksum."""
    described = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    data = json.dumps(described).encode() + b"\n" + b"".join(array.tobytes() for array in arrays.values())
    return data + zlib.crc32(data).to_bytes(4, "little")


def unpack(data: Any, name: str) -> dict[str, np.ndarray]:
    """The arrays that were packed.

    Raises:
        StateError: these are no packed arrays, or they are damaged.
    """
    if not isinstance(data, bytes) or zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        raise StateError(f"the state of {name} is damaged")
    line, _, numbers = data[:-4].partition(b"\n")
    arrays, at = {}, 0
    for key, (dtype, shape) in json.loads(line).items():
        size = math.prod(shape) * np.dtype(dtype).itemsize
        arrays[key] = np.frombuffer(numbers[at : at + size], dtype).reshape(shape)
        at += size
    return arrays


def read_common(state: Mapping[str, Any]) -> dict[str, Any]:
    """What is common to all lanes.

    Raises:
        StateError: there is none, or of another format.
    """
    if not isinstance(state.get(RUN), str):
        raise StateError(f"the state has no text {RUN!r}; its keys are: {', '.join(sorted(state)[:5])}")
    common = json.loads(state[RUN])
    if common.get("format") != FORMAT:
        raise StateError(
            f"the state has format {common.get('format')}, this version reads format {FORMAT}",
            hint="go on with the version that wrote it, or pass on_mismatch='restart'",
        )
    return dict(common)


@contextlib.contextmanager
def damage_named() -> Iterator[None]:
    """Turn what a state that is not of our making does into a StateError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, zlib.error) as exc:
        if isinstance(exc, CurateError):
            raise
        raise StateError(f"the state is damaged: {type(exc).__name__}: {exc}") from exc


def check_position(
    constants: Constants, common: Mapping[str, Any], log: WeightLog, names: Sequence[str]
) -> None:
    """See that step, pools and sealed weights of a state go together.

    Raises:
        StateError: they do not.
    """
    step, first = common["step"], common["stages"][-1]["first_step"]
    if type(step) is not int or not 0 <= first <= step < 1 << 60:
        raise StateError(f"the state's step must be a number from {first}: {step!r}")
    if list(common["pools"]) != list(names):
        raise StateError(
            f"the pools of the state and of its plan differ: {common['pools']} and {list(names)}"
        )
    last = constants.block_of(max(step - 1, first))
    most = (step + KEPT_STEPS + constants.max_in_flight) // constants.block_steps + 1
    if not last < log.sealed <= most or any(block not in log.blocks for block in range(last, log.sealed)):
        raise StateError(f"the state of step {step} cannot have sealed the weights of {log.sealed} blocks")
    for block, weights in log.blocks.items():
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise StateError(
                f"the weights of block {block} are not finite and at least 0: {weights.tolist()}"
            )


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
    """A stage, with where all lanes were at its end."""
    record: dict[str, Any] = {"source": stage.source, "plan": stage.plan, "first_step": stage.first_step}
    if stage.cursor is not None and stage.pieces is not None:
        packed = pack({"cursor": stage.cursor, "pieces": stage.pieces})
        record["lanes"] = base64.b64encode(zlib.compress(packed)).decode()
    return record


def stage_from_json(record: Mapping[str, Any]) -> Stage:
    """The stage that was written.

    Raises:
        StateError: where the lanes were is damaged.
    """
    arrays = {}
    if "lanes" in record:
        arrays = unpack(zlib.decompress(base64.b64decode(record["lanes"])), f"stage {record['source']}")
    return Stage(record["source"], record["plan"], record["first_step"], **arrays)
