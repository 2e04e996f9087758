"""What lanes have served of an index, and what that leaves of another: how a plan follows one in mid-epoch.

Model-aware selection moves to the next plan while documents of the last one are partly served. A document
counts as served once its first token was; the rest of it is not served after the change. What counts is,
pool by pool, the epoch that is not over for every lane. In its first epoch the new plan gives each document
as often as it repeats it, less what was served; from the second on as it says.

Cost: a pass over the documents of both plans, 10 bytes a document while it works. Not here: when plans
change (run.py).
"""

import numpy as np
import numpy.typing as npt

from curate.loader.index import Index
from curate.loader.order import BLOCKS_AT_ONCE, PoolOrder, pool_order
from curate.loader.settings import Constants
from curate.loader.state import EMPTY, OFFSET, WINDOW, Ints

Counts = npt.NDArray[np.uint16]


def served_counts(index: Index, constants: Constants, cursor: Ints, pieces: Ints) -> npt.NDArray[np.int32]:
    """How often each document of the index was served in the current epoch of its pool.

    Args:
        index: the documents.
        constants: of the run.
        cursor: of all lanes, [lanes, pools, 3].
        pieces: of all lanes, which the packers hold and have not served, [lanes, pieces, 6].
    """
    counts = np.zeros(len(index.tokens), np.int32)
    orders = [pool_order(index, constants, pool) for pool in range(len(index.pools))]
    for pool, order in enumerate(orders):
        if order.end == 0:
            continue
        epoch = _open_epoch(order, cursor[:, pool])
        _add_whole_windows(counts, order, cursor[:, pool, WINDOW], epoch)
        _add_open_windows(counts, order, cursor[:, pool], epoch)
    for lane in range(len(pieces)):
        _take_back_unserved(counts, orders, lane, cursor[lane], pieces[lane])
    return np.maximum(counts, 0)


def _open_epoch(order: PoolOrder, cursor: Ints) -> int:
    """The epoch that is not over for every lane."""
    blocks = cursor[:, WINDOW] * order.window_blocks * order.num_lanes + order.place(np.arange(len(cursor)))
    epochs = blocks // order.levels.num_blocks
    if order.head_windows is not None:
        for lane in np.flatnonzero(cursor[:, WINDOW] >= order.head_windows).tolist():
            epochs[lane] = _epoch_of_next(order, lane, *cursor[lane, :OFFSET].tolist())
    return int(epochs.min())


def _epoch_of_next(order: PoolOrder, lane: int, window: int, item: int) -> int:
    """The epoch of what a lane serves next of a remainder; the last one where nothing is left."""
    epochs = order.window_epochs(lane, window)
    while 0 < len(epochs) <= item:
        window, item = window + 1, 0
        epochs = order.window_epochs(lane, window)
    assert order.end is not None
    return int(epochs[item]) if len(epochs) else (order.end - 1) // order.levels.num_blocks


def _add_whole_windows(counts: np.ndarray, order: PoolOrder, windows: Ints, epoch: int) -> None:
    heads = windows if order.head_windows is None else np.minimum(windows, order.head_windows)
    limits = np.zeros(order.num_lanes, np.int64)
    limits[order.place(np.arange(len(windows)))] = heads * order.window_blocks
    stop = int(limits.max(initial=0)) * order.num_lanes
    for start in range(epoch * order.levels.num_blocks, stop, BLOCKS_AT_ONCE):
        blocks = np.arange(start, min(start + BLOCKS_AT_ONCE, stop))
        blocks = blocks[blocks // order.num_lanes < limits[blocks % order.num_lanes]]
        for part in order.parts(blocks) if len(blocks) else []:
            np.add.at(counts, order.documents(part), 1)
    for lane, (head, window) in enumerate(zip(heads.tolist(), windows.tolist(), strict=True)):
        for number in range(head, window):
            docs = order.window(lane, number)
            if docs is not None:
                np.add.at(counts, docs[order.window_epochs(lane, number) >= epoch], 1)


def _add_open_windows(counts: np.ndarray, order: PoolOrder, cursor: Ints, epoch: int) -> None:
    for lane, (window, item, offset) in enumerate(cursor.tolist()):
        num_docs = item + (offset > 0)
        if num_docs:
            docs, epochs = order.window(lane, window), order.window_epochs(lane, window)
            assert docs is not None
            np.add.at(counts, docs[:num_docs][epochs[:num_docs] >= epoch], 1)


def _take_back_unserved(
    counts: np.ndarray, orders: list[PoolOrder], lane: int, cursor: Ints, pieces: Ints
) -> None:
    """Take back the documents of which all that the cursor has passed is in the packer's buffer."""
    held: dict[tuple[int, int, int], list[int]] = {}
    for pool, window, item, _, num_tokens, total in pieces[pieces[:, 0] != EMPTY].tolist():
        held.setdefault((pool, window, item), [total]).append(num_tokens)
    for (pool, window, item), (total, *parts) in held.items():
        is_open = tuple(cursor[pool, :OFFSET].tolist()) == (window, item)
        if sum(parts) == (cursor[pool, OFFSET] if is_open else total):
            docs = orders[pool].window(lane, window)
            assert docs is not None
            counts[docs[item]] -= 1


def left_to_give(index: Index, served: npt.NDArray[np.int32], new: Index, left: Counts) -> Counts:
    """What is left of `left`, copies of each document of `new`, after `index` served some of them.

    Documents are the same where shard key and row are.
    """
    numbers = {key: number for number, key in enumerate(index.shard_keys)}
    old_shards = np.array([numbers.get(key, -1) for key in new.shard_keys], np.int64)
    positions = np.flatnonzero(served)
    if not len(positions):
        return left
    known = _row_keys(index.shard[positions].astype(np.int64), index.row[positions])
    order = np.argsort(known)
    known, times = known[order], served[positions[order]]
    shards = old_shards[new.shard]
    wanted = _row_keys(np.maximum(shards, 0), new.row[:])
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = (shards >= 0) & (known[places] == wanted)
    return np.maximum(left.astype(np.int64) - np.where(found, times[places], 0), 0).astype(np.uint16)


def _row_keys(shards: Ints, rows: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    return (shards.astype(np.uint64) << np.uint64(32)) | rows.astype(np.uint64)
