"""Read the next batches while the last one is computed on.

One thread and a queue of a few items: the reader decodes (and releases the GIL) while the native pass runs.
Order is kept. Memory: at most `depth` items wait, beside the one in work and the one being read.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL_S = 0.1


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterable[T], *, depth: int = 1) -> Iterator[T]:
    """Yield `items` in order, reading up to `depth` of them ahead in a thread.

    An exception of the reader is raised here, after the items before it. When the consumer stops early the
    thread ends after the item that it is reading.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: T | _End) -> None:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def read() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as exc:  # handed to the consumer, which raises it
            error = exc
        put(_End(error))

    thread = threading.Thread(target=read, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stopped.set()
        thread.join()


def map_ahead(job: Callable[[T], R], items: Iterable[T], *, depth: int) -> Iterator[R]:
    """Yield `job(item)` in the order of the items, computing up to `depth` of them at a time in threads.

    An exception is raised where its result would be yielded; what is being computed then, or when the
    consumer stops early, is waited for.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(depth, thread_name_prefix="map-ahead") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(job, item))
                del item  # the job holds it, and gives it back when it is done
                if len(waiting) == depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
