"""One rank that uses Accelerate or a Trainer; prints what came of it as JSON."""

import json
import os
import sys
import warnings

import torch
import torch.distributed as dist

from curate.errors import ConfigError


def wrapped(case, out):
    """Iterate what Accelerate makes of a DataLoader on several ranks."""
    import accelerate

    from curate.loader.world import World
    from tests.loader.interop import opened

    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    configuration = accelerate.DataLoaderConfiguration(dispatch_batches=case == "dispatch")
    accelerator = accelerate.Accelerator(cpu=True, dataloader_config=configuration)
    data = opened(world=World())
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=int(case == "workers"))
    if case == "as it is":
        return unwrapped(accelerator, out)
    try:
        next(iter(accelerator.prepare(loader)))
    except ConfigError as exc:
        return str(exc)
    return ""


def unwrapped(accelerator, out):
    """Take batches of the loader itself; Accelerate saves what rank 0 says."""
    from curate.loader.data import AllRanks
    from curate.loader.world import World
    from tests.loader.interop import opened

    data = opened("exp3", world=World())
    loader = accelerator.prepare(data.loader())
    accelerator.register_for_checkpointing(AllRanks(loader))
    for batch in loader:
        if batch["step"] == 3:
            break
    accelerator.save_state(f"{out}/state")
    return ""


def trained(out):
    """Train with a Trainer on several ranks."""
    from curate.loader import huggingface
    from curate.loader.world import World
    from tests.loader.interop import opened
    from tests.loader.test_huggingface import Seen, arguments, model, transformers

    seen, tokens = Seen(), []
    args = arguments(f"{out}/two", per_device_train_batch_size=2, ddp_backend="gloo")
    trainer = transformers.Trainer(model=model(), args=args, callbacks=[seen])
    huggingface.attach(trainer, opened("exp3", world=World()).loader(1))
    trainer.model.register_forward_pre_hook(
        lambda _, args, given: tokens.append(given["input_ids"].clone()), with_kwargs=True
    )
    trainer.train()
    steps = [torch.cat(tokens[i : i + 2]).tolist() for i in range(0, len(tokens), 2)]
    return {"tokens": steps, "losses": seen.losses}


def main(case, out, size, rank):
    warnings.simplefilter("ignore")
    os.environ.update(RANK=rank, WORLD_SIZE=size, LOCAL_RANK=rank, LOCAL_WORLD_SIZE=size)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
    dist.init_process_group(
        "gloo", init_method=f"file://{out}/rendezvous-{case}", rank=int(rank), world_size=int(size)
    )
    if case == "trainer":
        said = trained(out)
    else:
        said = {name: wrapped(name, out) for name in ("dispatch", "shard", "workers", "as it is")}
    print(json.dumps(said))
    sys.stdout.flush()
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
