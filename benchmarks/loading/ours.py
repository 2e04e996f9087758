"""Our side, in a process of its own: steady state, or a state after many sequences and what follows it.

ours.py '{"what": ..., "workers": 2, "seconds": 5, ...}'
"""

import json
import pickle
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import torch  # noqa: E402

import curate.loader as cl  # noqa: E402
from loading.clock import steady  # noqa: E402


def opened(config: dict[str, Any], seq_len: int) -> Any:
    """Four pools of equal weight."""
    return cl.open(
        config["what"],
        seq_len=seq_len,
        global_batch=config["batch"],
        tokenizer=config["tokenizer"],
        mixer="uniform",
        access=cl.Access(cache_dir=config["cache"]),
    )


def resume(config: dict[str, Any]) -> dict[str, Any]:
    """Hand out sequences, save, and go on in a data set that is opened anew."""
    data, start = opened(config, config["short"]), time.perf_counter()
    batches = iter(data.loader(config["workers"]))
    for _ in islice(batches, -(-config["sequences"] // config["batch"])):
        pass
    found: dict[str, Any] = {"reach_s": time.perf_counter() - start, "sequences": data.step * config["batch"]}
    state = data.state_dict()
    wanted = next(batches)["input_ids"]
    batches.close()
    found["state_bytes"] = len(pickle.dumps(state))
    lanes = [value for name, value in state.items() if name.startswith("lane_")]
    found["lane_bytes"] = sum(map(len, lanes)) / len(lanes)
    start = time.perf_counter()
    data = opened(config, config["short"])
    data.load_state_dict(state)
    got = next(iter(data.loader(0)))["input_ids"]
    found["resume_s"] = time.perf_counter() - start
    found["is_exact"] = float(torch.equal(wanted, got))
    return found


def main() -> int:
    config = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    if config["command"] == "resume":
        print(json.dumps(resume(config)))
        return 0
    start = time.perf_counter()
    data = opened(config, config["seq_len"])
    found = steady(
        data.loader(config["workers"]), warm=config["warm"], seconds=config["seconds"], start=start
    )
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
