"""Candidates, components, clusters and keepers in plain Python: dictionaries, sets and loops."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from tests.reference.minhash import F0, F1, band_keys, fold

NO_BUCKET = (1 << 32) - 1


def hash_number(number: int) -> int:
    """The hash of one number."""
    return fold(number ^ F0, F1)


def keys(signature: bytes, num_bands: int, num_rows: int, scope: int | None) -> list[int]:
    """The keys of a document; those of different scopes differ."""
    data = band_keys(signature, num_bands, num_rows)
    found = struct.unpack(f"<{num_bands}Q", data)
    return [key if scope is None else fold(key ^ hash_number(scope), F1) for key in found]


def components(edges: Iterable[tuple[int, int]]) -> dict[int, int]:
    """The smallest member of the component of every node with an edge, by walking through it."""
    beside: dict[int, set[int]] = {}
    for a, b in edges:
        beside.setdefault(a, set()).add(b)
        beside.setdefault(b, set()).add(a)
    found: dict[int, int] = {}
    for start in sorted(beside):
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in found:
                found[node] = start
                waiting.extend(beside[node])
    return found


def is_made(a: int, b: int, num_indexed: int, mode: str) -> bool:
    """Whether a pair of two documents with a common key is a candidate."""
    old = (a < num_indexed) + (b < num_indexed)
    return old in {"both": (0, 1), "within": (0,), "against": (1,)}[mode]


def candidates(
    docs: Mapping[int, tuple[bytes, int | None]],
    num_bands: int,
    num_rows: int,
    *,
    max_group: int,
    num_indexed: int = 0,
    mode: str = "both",
) -> dict[str, Any]:
    """Counts, pairs (a, b, band), hot records (node, key, band) and components of documents."""
    groups: dict[tuple[int, int], list[int]] = {}
    if mode == "within":
        docs = {node: doc for node, doc in docs.items() if node >= num_indexed}
    for node, (signature, scope) in sorted(docs.items()):
        for band, key in enumerate(keys(signature, num_bands, num_rows, scope)):
            groups.setdefault((key, band), []).append(node)
    pairs: dict[tuple[int, int], int] = {}
    hot = []
    edges = []
    num_hot = 0
    for (key, band), members in sorted(groups.items()):
        made = [
            (a, b)
            for at, a in enumerate(members)
            for b in members[at + 1 :]
            if is_made(a, b, num_indexed, mode)
        ]
        if made and len(members) > max_group:
            num_hot += 1
            hot += [(node, key, band) for node in members]
            edges += [(members[0], node) for node in members]
        elif made:
            for pair in made:
                pairs[pair] = min(band, pairs.get(pair, band))
    found = components([*pairs, *edges])
    counts = {
        "num_docs": len(docs),
        "num_keys": len(groups),
        "num_groups": sum(len(members) > 1 for members in groups.values()),
        "largest_group": max(map(len, groups.values()), default=0),
        "num_pairs": len(pairs),
        "num_hot_groups": num_hot,
        "num_hot_docs": len({node for node, _, _ in hot}),
        "num_candidates": len(found),
    }
    listed = sorted((a, b, band) for (a, b), band in pairs.items())
    return {"counts": counts, "pairs": listed, "hot": sorted(hot), "components": found}


def bucket(found: Mapping[int, int], node: int, num_buckets: int) -> int:
    """The bucket of a document, by its component."""
    return hash_number(found[node]) % num_buckets if node in found else NO_BUCKET


def clusters(num_nodes: int, edges: Iterable[tuple[int, int, float]]) -> list[dict[str, Any]]:
    """One row per node: its cluster with its size, and the other end of its strongest edge."""
    edges = list(edges)
    found = components((a, b) for a, b, _ in edges)
    sizes: dict[int, int] = {}
    for cluster in found.values():
        sizes[cluster] = sizes.get(cluster, 0) + 1
    strongest: dict[int, tuple[float, int]] = {}
    for a, b, similarity in edges:
        for node, other in ((a, b), (b, a)):
            strongest[node] = min(strongest.get(node, (2.0, 0)), (-similarity, other))
    rows = []
    for node in range(num_nodes):
        similarity, other = strongest.get(node, (None, -1))
        rows.append(
            {
                "cluster_id": found.get(node, -1),
                "cluster_size": sizes[found[node]] if node in found else 1,
                "nearest": other,
                "similarity": None if similarity is None else -similarity,
            }
        )
    return rows


def choose_keepers(
    docs: list[tuple[int, int, int]], edges: Iterable[tuple[int, int, float]], connected: bool
) -> list[tuple[int, int, float | None]]:
    """Every dropped document with its keeper and their similarity; `docs` are of cluster, document, node."""
    similarities: dict[tuple[int, int], float] = {}
    for a, b, similarity in edges:
        for pair in ((a, b), (b, a)):
            similarities[pair] = max(similarity, similarities.get(pair, similarity))

    def alike(a: int, b: int) -> float | None:
        return 1.0 if a == b else similarities.get((a, b))

    dropped = []
    for cluster in sorted({cluster for cluster, _, _ in docs}):
        kept: list[tuple[int, int]] = []
        for _, doc, node in (row for row in docs if row[0] == cluster):
            if connected and kept:
                dropped.append((doc, kept[0][0], alike(kept[0][1], node)))
                continue
            found = [(keeper, alike(other, node)) for keeper, other in kept]
            near = [
                (similarity, -rank, keeper) for rank, (keeper, similarity) in enumerate(found) if similarity
            ]
            if near:
                similarity, _, keeper = max(near)
                dropped.append((doc, keeper, similarity))
            else:
                kept.append((doc, node))
    return dropped
