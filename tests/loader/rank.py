"""One rank of a run: takes batches, writes what it saw, saves its state with torch.distributed.checkpoint."""

import json
import sys
from datetime import timedelta
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

from tests.loader.test_processes import INDEX, corpus, give_back, make_mixer


def main(settings):
    from curate.loader.data import Data
    from curate.loader.world import World

    out = Path(settings["out"])
    dist.init_process_group(
        "gloo",
        init_method=f"file://{settings['rendezvous']}",
        rank=settings["rank"],
        world_size=settings["size"],
        timeout=timedelta(seconds=40),
    )
    data = Data(corpus(INDEX, block_steps=2), make_mixer("exp3"), World())
    saved = sorted(int(path.name.removeprefix("saved-")) for path in out.glob("saved-*"))
    if settings["resume"]:
        dcp.load({"data": data}, checkpoint_id=out / f"checkpoint-{saved[-1]}")
    if settings.get("disagree"):
        data.set_weights({"a": 1.0 + settings["rank"], "b": 1.0})
    loader = data.loader(settings["workers"])
    for number, batch in enumerate(islice(loader, settings["steps"])):
        name = f"step{batch['step']}-rank{settings['rank']}.pt"
        torch.save({"input_ids": batch["input_ids"], "weights": data.weights()}, out / f".{name}")
        (out / f".{name}").rename(out / name)
        give_back(data, batch)
        if "save_every" in settings and (number + 1) % settings["save_every"] == 0:
            save(out, data)
    save(out, data)
    dist.destroy_process_group()


def save(out, data):
    dcp.save({"data": data}, checkpoint_id=out / f"checkpoint-{data.step}")
    dist.barrier()
    (out / f"saved-{data.step}").touch()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
