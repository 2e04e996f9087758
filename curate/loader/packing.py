"""Packing pieces of documents into a sequence without cutting them.

`best_fit` takes the largest piece that fits, again and again (Ding et al. 2024, arXiv:2404.10830, over a
buffer instead of the whole corpus); `first_fit` goes through the buffer once. The oldest piece always goes
in, so none waits for ever. Documents longer than a sequence come as pieces of a sequence and a rest.
"""

import bisect
from dataclasses import dataclass

from curate.loader.stream import Tokens


@dataclass
class Piece:
    """Consecutive tokens of one document, at most a sequence."""

    pool: int
    window: int
    item: int
    offset: int
    """Where it begins in the document."""
    tokens: Tokens
    document: int
    """Position in the index."""
    total: int
    """Tokens of the document."""

    @property
    def ends(self) -> bool:
        """Whether the document ends with it."""
        return self.offset + len(self.tokens) == self.total

    def numbers(self) -> tuple[int, ...]:
        """What a state has of it."""
        return (self.pool, self.window, self.item, self.offset, len(self.tokens), self.total)


def pack(buffer: list[Piece], room: int, *, best: bool) -> list[Piece]:
    """Take pieces that fit into `room` tokens together out of `buffer`, which is oldest first."""
    if not buffer:
        return []
    lengths = [len(piece.tokens) for piece in buffer]
    taken = (_best_fit if best else _first_fit)(lengths, room)
    pieces = [buffer[number] for number in taken]
    chosen = set(taken)
    buffer[:] = [piece for number, piece in enumerate(buffer) if number not in chosen]
    return pieces


def _first_fit(lengths: list[int], room: int) -> list[int]:
    taken = []
    for number, length in enumerate(lengths):
        if length <= room:
            taken.append(number)
            room -= length
    return taken


def _best_fit(lengths: list[int], room: int) -> list[int]:
    """The oldest, then always the largest that fits; of equal ones the oldest."""
    taken, room = [0], room - lengths[0]
    rest = sorted((length, -number) for number, length in enumerate(lengths) if number)
    while rest:
        place = bisect.bisect_right(rest, (room, 1)) - 1
        if place < 0:
            break
        length, number = rest.pop(place)
        taken.append(-number)
        room -= length
    return taken
