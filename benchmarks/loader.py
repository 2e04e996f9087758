"""The training loader: tokens by second, resuming, state, against Streaming, datasets and litdata.

All sides serve the same documents of four pools, a quarter of the tokens from each, in sequences of 2048
tokens and batches of 64, shuffled, from the local disk and its cache, with no worker and with two, in
turns. A side is a process of its own: it is measured for some seconds after its first batches. Figures are
tokens by second of wall time on two cores, and by CPU second of the process with its workers; medians.

On the fly, documents are text: ours from shards delivered by pool, and from the source shards in place, as
a plan says. Peers tokenise with `tokenizers` in batches of documents. Streaming and litdata cannot join and
cut documents while they read, so a loop does that around them, which their states do not know; datasets
does it in `map` (iterable; the rest of each thousand documents is dropped) or has the loop (map-style).
Tokenised, ours cuts documents of flat files as it goes; the peers read sequences that were cut beforehand,
ten times over so that no epoch ends, and give these alone, where ours gives labels, positions, pools,
documents, too.

Resuming: a million sequences of 128 tokens, from text, are really served; then a new object goes on from
the state. The corpus is read many times over for that. For datasets it is `IterableDataset.state_dict` on
files that are named that often, and beside it what a loop costs that skips batches: all of the time up to
there.

Data: `../shared/data` (`--data`); without it there is nothing to measure.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from heuristics import ROOT, quotients, report
from loading import data
from loading.data import Made

PEERS = ("streaming", "datasets, map-style", "datasets, iterable", "litdata")
SEQ_LEN, BATCH, SHORT = 2048, 64, 128
GOALS = {"text": 3, "tokens": 1}
NAMES = {"text": "on the fly", "tokens": "tokenised"}
GOAL_RESUME_S, GOAL_RESUME = 1.0, 50
WARM = {"text": 6, "tokens": 30}


def child(python: str, script: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """What a side prints; None where it fails, which is told."""
    command = [python, "-W", "ignore", str(script), json.dumps(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        name = config.get("side", "ours")
        print(f"{name} fails: {done.stderr.strip()[-400:]}", file=sys.stderr, flush=True)
        return None
    found: dict[str, Any] = json.loads(lines[-1])
    return found


class Sides:
    """Starts all sides on the same data."""

    def __init__(self, made: Made, peers: Path | None, times: int) -> None:
        self.made, self.peers = made, peers
        self.common = {
            "folder": str(made.folder),
            "cache": str(made.folder / "cache"),
            "pools": made.pools,
            "tokenizer": str(made.tokenizer),
            "seq_len": SEQ_LEN,
            "batch": BATCH,
            "times": times,
        }

    def ours(self, what: Any, **more: Any) -> dict[str, Any] | None:
        """Our side on one of the forms of the documents."""
        script = ROOT / "benchmarks" / "loading" / "ours.py"
        return child(sys.executable, script, {"command": "run", **self.common, "what": what, **more})

    def peer(self, command: str, **more: Any) -> dict[str, Any] | None:
        """A peer."""
        script = ROOT / "benchmarks" / "peers" / "loader.py"
        return child(str(self.peers), script, {"command": command, **self.common, **more})


def ours_of(made: Made, form: str) -> dict[str, Any]:
    """What our side opens, by name."""
    if form == "tokens":
        return {"flat files": made.token_files}
    return {"delivered": str(made.folder / "delivered"), "in place": str(made.folder / "run")}


def compare(sides: Sides, form: str, workers: int, *, runs: int, seconds: float) -> None:
    """All sides in turns."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in range(runs):
        print(f"{NAMES[form]}, {workers} workers: run {run + 1} of {runs}", file=sys.stderr, flush=True)
        settings = {"workers": workers, "seconds": seconds, "warm": WARM[form]}
        turns = {name: sides.ours(what, **settings) for name, what in ours_of(sides.made, form).items()}
        for peer in PEERS if sides.peers else ():
            turns[peer] = sides.peer("run", side=peer, form=form, **settings)
        for name, one in turns.items():
            found.setdefault(name, []).extend([one] if one else [])
    peers = [peer for peer in PEERS if len(found.get(peer, ())) == runs]
    for ours in ours_of(sides.made, form):
        if len(found[ours]) == runs:
            _report(f"{NAMES[form]}, {ours}, {workers} workers", found[ours], found, peers, GOALS[form])


def _report(
    name: str,
    ours: list[dict[str, Any]],
    found: dict[str, list[dict[str, Any]]],
    peers: list[str],
    goal: float,
) -> None:
    """Figures of one of ours against each peer; the goal is the best of them."""
    for clock, words in (("wall_s", "a second"), ("cpu_s", "a CPU second")):
        rates = [one["tokens"] / one[clock] / 1e6 for one in ours]
        theirs = {peer: [one["tokens"] / one[clock] / 1e6 for one in found[peer]] for peer in peers}
        best = max(peers, key=lambda peer: statistics.median(theirs[peer]), default=None)
        unit = f"Mtokens {words}"
        if best is None:
            report(f"loader {name}", rates, rates, unit=unit, peer="none", goal=None)
        for peer in peers:
            label = f"{peer}, {statistics.median(theirs[peer]):.3g}"
            judged = goal if peer == best and clock == "wall_s" else None
            report(
                f"loader {name}", rates, quotients(rates, theirs[peer]), unit=unit, peer=label, goal=judged
            )
    first = [one["first_s"] for one in ours]
    others = ", ".join(
        f"{peer} {statistics.median(one['first_s'] for one in found[peer]):.2g}" for peer in peers
    )
    report(f"loader {name}, first batch", first, first, unit="s", peer=others or "none", goal=None)


def resume(sides: Sides, num_sequences: int) -> None:
    """Go on after many short sequences."""
    settings = {"sequences": num_sequences, "short": SHORT, "workers": 0}
    ours = sides.ours(str(sides.made.folder / "delivered"), **settings, command="resume")
    if ours is None:
        return
    figure("loader resumes exactly", ours["is_exact"], "", goal=1, met=ours["is_exact"] == 1)
    met = ours["resume_s"] < GOAL_RESUME_S
    name = f"loader after {ours['sequences']} sequences"
    figure(f"{name}, first batch", ours["resume_s"], "s", goal=GOAL_RESUME_S, met=met)
    figure("loader state, a lane of four pools", ours["lane_bytes"], "bytes")
    figure("loader state, all", ours["state_bytes"], "bytes")
    if sides.peers is None:
        return
    times = 2 + num_sequences * SHORT // sides.made.num_tokens
    theirs = sides.peer("resume", sequences=num_sequences, times=times, seq_len=SHORT)
    if theirs is None:
        return
    for key, peer in (("resume_s", "datasets, state_dict"), ("reach_s", "datasets, skipping batches")):
        ratio = theirs[key] / ours["resume_s"]
        exact = f", exact: {bool(theirs['is_exact'])}" if key == "resume_s" else ""
        figure(
            f"{name}, times as fast",
            ratio,
            "",
            peer=f"{peer}, {theirs[key]:.3g} s{exact}",
            goal=GOAL_RESUME,
            met=ratio >= GOAL_RESUME,
        )


def figure(name: str, value: float, unit: str, **more: Any) -> None:
    """Print one figure that is measured once."""
    value = round(float(value), 5)
    keys = {"peer": None, "ratio": None, "goal": None, "met": None, "runs": 1, "spread": [value, value]}
    print(json.dumps({"name": name, "value": value, "unit": unit, **keys, **more}), flush=True)


def peers_python(peers: str | None) -> Path | None:
    """The interpreter of the loader's peers, beside that of the others."""
    if peers is None:
        return None
    python = Path(f"{Path(peers).absolute().parents[1]}-loader") / "bin" / "python"
    if not python.exists():
        print(f"the peers of the loader are not there (make bench): {python}", file=sys.stderr)
        return None
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, sequences and seconds")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--peers", help="interpreter of the peers; none: skip them")
    parser.add_argument("--runs", type=int, help="how often all sides take a turn")
    parser.add_argument("--only", choices=["text", "tokens", "resume"], help="measure this alone")
    arguments = parser.parse_args()
    tokenizer = arguments.data / "models" / "gpt2_bpe"
    if not (arguments.data / "corpus").is_dir() or not tokenizer.is_dir():
        print(f"no corpus and tokenizer under {arguments.data}: nothing is measured", file=sys.stderr)
        return 0
    runs, seconds, count = (2, 3.0, 10**5) if arguments.quick else (5, 5.0, 10**6)
    runs = arguments.runs or runs
    with tempfile.TemporaryDirectory() as name:
        made = data.make(arguments.data / "corpus", Path(name), tokenizer)
        data.plan(made)
        (made.folder / "rows").mkdir()
        for pool in made.pools:
            np.save(made.folder / "rows" / f"{pool}.npy", data.rows(made, pool, SEQ_LEN))
        sides = Sides(made, peers_python(arguments.peers), times=10)
        if sides.peers is not None and arguments.only != "resume":
            print(f"preparing {made.num_tokens} tokens for the peers", file=sys.stderr, flush=True)
            subprocess.run(
                [
                    *(str(sides.peers), "-W", "ignore", str(ROOT / "benchmarks" / "peers" / "loader.py")),
                    json.dumps({"command": "prepare", **sides.common}),
                ],
                check=True,
                capture_output=True,
            )
        for form in ("text", "tokens"):
            for workers in (2, 0):
                if arguments.only in (None, form):
                    compare(sides, form, workers, runs=runs, seconds=seconds)
        if arguments.only in (None, "resume"):
            resume(sides, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
