"""Batches of the training loader, computed the plain way: one lane after another, with Python's own numbers.

Windows of documents come from `order` (tested by itself); scheduling, packing and changes of weights are
written out here as the documentation says them.
"""

import math

from curate.loader.order import pool_order
from curate.loader.schedule import first_passes, phases


class Lane:
    def __init__(self, index, constants, read, number, first_weights):
        self.constants, self.read, self.number = constants, read, number
        self.orders = [pool_order(index, constants, pool) for pool in range(len(index.pools))]
        ahead = phases(index, constants, number, number + 1)[0]
        self.ahead = [float(value) for value in ahead]
        self.weights = [float(value) for value in first_weights]
        passes = first_passes(index, constants, first_weights, number, number + 1)[0]
        self.passes = [float(value) for value in passes]
        self.clock = 0.0
        self.documents = [self._documents(pool) for pool in range(len(self.orders))]
        self.open = [None] * len(self.orders)
        self.buffer = []

    def _documents(self, pool):
        number = 0
        while (window := self.orders[pool].window(self.number, number)) is not None:
            yield from (int(doc) for doc in window)
            number += 1

    def set_weights(self, new):
        if list(new) == self.weights:
            return
        for pool, (old, weight) in enumerate(zip(self.weights, new, strict=True)):
            tokens = (self.passes[pool] - self.clock) * old if old > 0 else self.ahead[pool]
            self.passes[pool] = self.clock + tokens / weight if weight > 0 else math.inf
            if self.documents[pool] is None:
                self.passes[pool] = math.inf
        self.weights = [float(value) for value in new]

    def take(self, most, held=()):
        """The next piece; pools count what is `held` of them as served."""
        while True:
            passes = list(self.passes)
            for piece in held:
                passes[piece[0]] += self.cost(piece)
            pool = min(range(len(passes)), key=lambda pool: (passes[pool], pool))
            if passes[pool] == math.inf:
                return None
            if self.open[pool] is None:
                doc = next(self.documents[pool], None)
                if doc is None:
                    self.passes[pool], self.documents[pool] = math.inf, None
                    continue
                self.open[pool] = [doc, 0]
            doc, offset = self.open[pool]
            tokens = self.read(doc)
            part = tokens[offset : offset + most]
            self.open[pool] = None if offset + len(part) == len(tokens) else [doc, offset + len(part)]
            return (pool, doc, offset, part)

    def cost(self, piece):
        weight = self.weights[piece[0]]
        return len(piece[3]) * (1.0 / weight) if weight > 0 else math.inf

    def serve(self, piece):
        """The clock goes by tokens over the weights of the pools that have something left."""
        if self.passes[piece[0]] < math.inf:
            live = 0.0
            for weight, least in zip(self.weights, self.passes, strict=True):
                if least < math.inf:  # one after another: sum() of Python 3.12 rounds in another way
                    live += weight
            self.clock += len(piece[3]) * (1.0 / live)
            self.passes[piece[0]] += self.cost(piece)

    def sequence(self):
        """Pieces of one sequence, with where each begins; None where it cannot be filled."""
        pieces, at, seq_len = [], 0, self.constants.seq_len
        if self.constants.packing == "split":
            while at < seq_len:
                piece = self.take(seq_len - at)
                if piece is None:
                    return None
                self.serve(piece)
                pieces.append((at, piece))
                at += len(piece[3])
            return pieces
        while (
            len(self.buffer) < self.constants.pack_pieces
            and sum(len(piece[3]) for piece in self.buffer) < 8 * seq_len
            and (piece := self.take(seq_len, self.buffer))
        ):
            self.buffer.append(piece)
        if not self.buffer:
            return None
        due = min((self.passes[piece[0]], piece[0]) for piece in self.buffer)[1]
        piece = next(piece for piece in self.buffer if piece[0] == due)
        while piece is not None:
            self.buffer = [other for other in self.buffer if other is not piece]
            self.serve(piece)
            pieces.append((at, piece))
            at += len(piece[3])
            fitting = [piece for piece in self.buffer if len(piece[3]) <= seq_len - at]
            piece = fitting[0] if fitting else None
            if fitting and self.constants.packing == "best_fit":
                piece = max(fitting, key=lambda piece: len(piece[3]))
        return pieces


def batches(index, constants, read, weights_of, num_steps, first_step=0):
    """Token rows and spans of each step, as lists; ends early where a lane has nothing left."""
    first_block = first_step // constants.block_steps
    lanes = [
        Lane(index, constants, read, number, weights_of(first_block)) for number in range(constants.num_lanes)
    ]
    for step in range(first_step, first_step + num_steps):
        rows, spans = [], []
        for lane in lanes:
            if step % constants.block_steps == 0 and step != first_step:
                lane.set_weights([float(value) for value in weights_of(step // constants.block_steps)])
            for _ in range(constants.rows):
                pieces = lane.sequence()
                if pieces is None:
                    return
                tokens = []
                for start, (pool, doc, offset, part) in pieces:
                    spans.append([len(rows), start, len(part), pool, doc, offset])
                    tokens += [int(token) for token in part]
                rows.append(tokens + [constants.pad_id] * (constants.seq_len - len(tokens)))
        yield rows, spans
