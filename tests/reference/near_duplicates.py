"""Near duplicates by brute force: sets, dictionaries and loops over a whole corpus."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from tests.reference import minhash


def nodes(texts: Sequence[str | None], scopes: Sequence[object]) -> list[int]:
    """For each document the first one with the same text in the same scope; a null text has no equal."""
    first: dict[tuple[object, str], int] = {}
    return [
        at if text is None else first.setdefault((scope, text), at)
        for at, (text, scope) in enumerate(zip(texts, scopes, strict=True))
    ]


def candidates(
    texts: Sequence[str | None],
    scopes: Sequence[object],
    settings: dict[str, Any],
    num_bands: int,
    num_rows: int,
) -> set[tuple[int, int]]:
    """Pairs of nodes that share the slots of a band."""
    groups = defaultdict(list)
    for at, (node, text, scope) in enumerate(zip(nodes(texts, scopes), texts, scopes, strict=True)):
        signature = None if text is None else minhash.row(text, settings)["minhash.signature"]
        if node != at or signature is None:
            continue
        for band in range(num_bands):
            slots = signature[4 * num_rows * band : 4 * num_rows * (band + 1)]
            groups[band, slots, scope].append(at)
    return {pair for group in groups.values() for pair in combinations(group, 2)}


def shingle_set(text: str | None, settings: dict[str, Any]) -> set[tuple[str, ...]]:
    """The shingles of a text."""
    words = minhash.words(text or "", settings["normalize"])
    return minhash.shingles(words, settings["unit"], settings["ngram"])


def similarity(a: set[Any], b: set[Any], measure: str) -> float:
    """Jaccard similarity, or the share of the smaller set."""
    if not a or not b:
        return 0.0
    return len(a & b) / (len(a | b) if measure == "jaccard" else min(len(a), len(b)))


def edges(
    texts: Sequence[str | None],
    pairs: set[tuple[int, int]],
    settings: dict[str, Any],
    measure: str,
    least: float,
) -> dict[tuple[int, int], float]:
    """Pairs that are similar enough."""
    sets = {at: shingle_set(texts[at], settings) for pair in pairs for at in pair}
    found = {(a, b): similarity(sets[a], sets[b], measure) for a, b in pairs}
    return {pair: value for pair, value in sorted(found.items()) if value >= least}


def clusters(node_of: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each document the least one that it is linked with, by pairs and by the same text."""
    least = list(range(len(node_of)))
    links = [*pairs, *((node, at) for at, node in enumerate(node_of))]
    changed = True
    while changed:
        changed = False
        for a, b in links:
            low = min(least[a], least[b])
            changed |= least[a] != low or least[b] != low
            least[a] = least[b] = low
    return least
