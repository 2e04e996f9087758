"""Slow, obvious twins of `curate.selection`: one document at a time, sorting everything in memory."""

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction

from curate import _rust


def hash_uniform(doc_id: bytes, seed: int, purpose: str) -> float:
    """The number of one document, from the definition."""
    digest = bytes.fromhex(_rust.blake3_hex(doc_id + struct.pack("<Q", seed) + purpose.encode()))
    return float((Fraction(int.from_bytes(digest[:8], "little") >> 12) + Fraction(1, 2)) / 2**52)


def gumbel(doc_id: bytes, seed: int, purpose: str) -> float:
    """Standard Gumbel noise of one document."""
    return -math.log(-math.log(hash_uniform(doc_id, seed, purpose)))


def take(keys: Sequence[float], tokens: Sequence[int], budget: int | None) -> set[int]:
    """Positions taken: largest key first, ties by position, until the budget is reached; None takes all."""
    if budget is None or budget >= sum(tokens):
        return set(range(len(keys)))
    taken: set[int] = set()
    count = 0
    for position in sorted(range(len(keys)), key=lambda i: (-keys[i], i)):
        if budget is not None and count >= budget:
            break
        taken.add(position)
        count += tokens[position]
    return taken


def shares(budget: int, tokens: Mapping[str, int]) -> dict[str, int]:
    """Split a budget in proportion to tokens: floors, then one to each of the largest remainders."""
    total = sum(tokens.values())
    exact = {
        name: Fraction(budget * count, total) if total else Fraction(0) for name, count in tokens.items()
    }
    out = {name: math.floor(share) for name, share in exact.items()}
    left = budget - sum(out.values()) if total else 0
    for name in sorted(tokens, key=lambda name: (out[name] - exact[name], name))[:left]:
        out[name] += 1
    return out


def zscores(scores: Sequence[float]) -> list[float]:
    """(x - mean) / standard deviation over the finite scores; 0 where all finite scores are equal."""
    finite = [score for score in scores if math.isfinite(score)]
    if not finite:
        return list(scores)
    mean = math.fsum(finite) / len(finite)
    spread = math.sqrt(math.fsum((score - mean) * (score - mean) for score in finite) / len(finite))
    return [(score - mean) / (spread or 1.0) for score in scores]


def select(
    docs: Sequence[Mapping], settings: Mapping, budgets: Mapping[str, int | None] | int | None
) -> list[str]:
    """What becomes of each document: `kept`, `gone` (it did not survive) or the reason.

    `docs` have doc_id, tokens, survived, pool, score, weight; `budgets` is one to share, or one a pool.
    """
    method, drawn = settings["method"], settings["method"] in ("uniform", "weighted")
    fate, values = ["gone"] * len(docs), [math.nan] * len(docs)
    for i, doc in enumerate(docs):
        if doc["survived"]:
            fate[i], values[i] = _value(doc, settings)
    chosen = [i for i, said in enumerate(fate) if said == "may"]
    keys = dict(zip(chosen, (values[i] for i in chosen), strict=True))
    if method == "weighted" and settings.get("normalize") == "zscore":
        keys = dict(zip(chosen, zscores([values[i] for i in chosen]), strict=True))
    if drawn:
        temperature = settings.get("temperature", 1.0) if method == "weighted" else 1.0
        seed = settings.get("seed", 42)
        keys = {
            i: key / temperature + gumbel(docs[i]["doc_id"], seed, "plan.sample") for i, key in keys.items()
        }
    pools: dict[str, list[int]] = {doc["pool"]: [] for doc in docs if doc["survived"]}
    for i in chosen:
        pools[docs[i]["pool"]].append(i)
    if isinstance(budgets, int):
        budgets = shares(
            budgets, {name: sum(docs[i]["tokens"] for i in members) for name, members in pools.items()}
        )
    for name, members in pools.items():
        budget = None if budgets is None else budgets[name]
        kept = take([keys[i] for i in members], [docs[i]["tokens"] for i in members], budget)
        least = min((keys[members[position]] for position in kept), default=math.inf)
        for position, i in enumerate(members):
            tie = method == "threshold" and bool(kept) and keys[i] >= least
            left = {"top": "plan.over_budget", "threshold": "plan.below_threshold"}.get(
                method, "plan.not_sampled"
            )
            fate[i] = "kept" if position in kept or tie else left
    return fate


def _value(doc: Mapping, settings: Mapping) -> tuple[str, float]:
    method = settings["method"]
    score, weight = doc["score"], doc["weight"]
    needs_score = (
        settings.get("threshold") is not None or method in ("top", "threshold") or "weight" not in settings
    )
    if method == "uniform" and settings.get("threshold") is None:
        needs_score = False
    if needs_score and (score is None or math.isnan(score)):
        return "plan.null_score", math.nan
    if "weight" in settings and (weight is None or not 0 <= weight < math.inf):
        return "plan.null_score", math.nan
    if settings.get("threshold") is not None and score < settings["threshold"]:
        return "plan.below_threshold", math.nan
    value = 0.0 if method == "uniform" else score
    if "weight" in settings:
        value = -math.inf if weight == 0 else math.log(weight)
    if method == "weighted" and value == -math.inf:
        return "plan.not_sampled", math.nan
    return "may", value


def content(doc_ids: Sequence[bytes]) -> str:
    """The content of a pool: the sum of the hashes of its documents, modulo 2^128."""
    total = 0
    for doc_id in doc_ids:
        digest = bytes.fromhex(_rust.blake3_hex(doc_id + bytes(8) + b"pool"))
        total += int.from_bytes(digest[:16], "little")
    return f"{total % 2**128:032x}"


def repeats(docs: Sequence[Mapping], settings: Mapping, budgets: Mapping[str, int]) -> list[int]:
    """How often each document is taken where a budget may be above what a pool has."""
    may = [fate == "kept" for fate in select(docs, settings, None)]
    out, rests = [0] * len(docs), {}
    for name, budget in budgets.items():
        supply = sum(
            doc["tokens"] for doc, is_one in zip(docs, may, strict=True) if is_one and doc["pool"] == name
        )
        whole, rests[name] = divmod(budget, supply) if supply else (0, budget)
        for i, doc in enumerate(docs):
            out[i] += whole * (may[i] and doc["pool"] == name)
    for i, fate in enumerate(select(docs, settings, rests)):
        out[i] += fate == "kept"
    return out


def mix(docs: Sequence[Mapping], settings: Mapping, budget: int) -> list[str]:
    """What becomes of each document where every criterion goes down a list of its own."""
    temperature, drawn = settings["temperature"] or 1.0, settings["temperature"] > 0
    reached: dict[int, float] = {}
    for number, criterion in enumerate(settings["of"]):
        name = criterion["score"].removeprefix("q.")
        scores = {
            i: float(doc[name])
            for i, doc in enumerate(docs)
            if doc["survived"] and doc[name] is not None and not math.isnan(doc[name])
        }
        if drawn:
            scores = {i: score for i, score in scores.items() if score > -math.inf}
        if settings["normalize"] == "zscore":
            scores = dict(zip(scores, zscores(list(scores.values())), strict=True))
        keys = {i: score / temperature for i, score in scores.items()}
        if drawn:
            keys = {
                i: key + gumbel(docs[i]["doc_id"], 42, f"plan.sample.{number}") for i, key in keys.items()
            }
        before: dict[str, int] = {}
        for i in sorted(keys, key=lambda i: (-keys[i], i)):
            tokens = before.setdefault(docs[i]["pool"], 0)
            reached[i] = min(reached.get(i, math.inf), tokens / criterion["share"])
            before[docs[i]["pool"]] = tokens + docs[i]["tokens"]
    fate = ["plan.null_score" if doc["survived"] else "gone" for doc in docs]
    pools: dict[str, list[int]] = {doc["pool"]: [] for doc in docs if doc["survived"]}
    for i in sorted(reached):
        pools[docs[i]["pool"]].append(i)
    parts = shares(budget, {name: sum(docs[i]["tokens"] for i in mine) for name, mine in pools.items()})
    for name, mine in pools.items():
        kept = take([-reached[i] for i in mine], [docs[i]["tokens"] for i in mine], parts[name])
        for position, i in enumerate(mine):
            left = "plan.not_sampled" if drawn else "plan.over_budget"
            fate[i] = "kept" if position in kept else left
    return fate
