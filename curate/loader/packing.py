"""Packing pieces of documents into a sequence without cutting them.

`best_fit` takes the largest piece that fits, again and again (Ding et al. 2024, arXiv:2404.10830, over a
buffer instead of the whole corpus); `first_fit` goes through the buffer once. A sequence begins with the
oldest piece of the pool that is due, so shares follow the weights and no piece waits for ever. Documents
longer than a sequence come as pieces of a sequence and a rest.
"""

import bisect
from dataclasses import dataclass

from curate.loader.stream import Tokens


@dataclass(slots=True)
class Piece:
    """Consecutive tokens of one document, at most a sequence."""

    pool: int
    window: int
    item: int
    offset: int
    """Where it begins in the document."""
    tokens: Tokens
    num_tokens: int
    document: int
    """Position in the index."""
    total: int
    """Tokens of the document."""

    @property
    def ends(self) -> bool:
        """Whether the document ends with it."""
        return self.offset + self.num_tokens == self.total

    def numbers(self) -> tuple[int, ...]:
        """What a state has of it."""
        return (self.pool, self.window, self.item, self.offset, self.num_tokens, self.total)


def pack(buffer: list[Piece], room: int, *, due: int, best: bool) -> list[Piece]:
    """Take pieces that fit into `room` tokens together out of `buffer`, which is oldest first.

    The oldest piece of the pool `due` comes first.
    """
    lengths = [piece.num_tokens for piece in buffer]
    first = next(number for number, piece in enumerate(buffer) if piece.pool == due)
    taken = (_best_fit if best else _first_fit)(lengths, first, room)
    pieces = [buffer[number] for number in taken]
    chosen = set(taken)
    buffer[:] = [piece for number, piece in enumerate(buffer) if number not in chosen]
    return pieces


def _first_fit(lengths: list[int], first: int, room: int) -> list[int]:
    taken, room = [first], room - lengths[first]
    for number, length in enumerate(lengths):
        if length <= room and number != first:
            taken.append(number)
            room -= length
    return taken


def _best_fit(lengths: list[int], first: int, room: int) -> list[int]:
    """The first, then always the largest that fits; of equal ones the oldest."""
    taken, room = [first], room - lengths[first]
    rest = sorted((length, -number) for number, length in enumerate(lengths) if number != first)
    while rest:
        place = bisect.bisect_right(rest, (room, 1)) - 1
        if place < 0:
            break
        length, number = rest.pop(place)
        taken.append(-number)
        room -= length
    return taken
