"""Train a tiny GPT on curated text, kill it in mid-run, go on with other processes: the same run again.

    pip install 'curate[torch]'           # beside the clone; nothing else is needed, no GPU, no download
    python examples/train_tiny.py         # the whole show, about a minute on two cores

Everything is in this file: the recipe, the tokenizer (every byte is a token), the model, the training loop.
The show trains three times for 40 steps of 2,048 tokens: once without a break on one process; once on two
processes of which one gets SIGKILL; and on from the last checkpoint with four. Then it compares: every global
batch is the same to the last bit, every loss within 1e-4 (sums of floats depend on who adds what). Last, it
makes all batches once more from the token log alone, without a model.

    --mixer exp3                weights of the sources follow the losses that the loop gives back (so they
                                agree as floats do; batches differ only where two sources are as close)
    --swap                      a second plan (the half with the best scores) takes over in mid-run
    --processes 2               no show, just train with so many; also --steps, --workers, --name, --kill-at
    --processes 4 --resume      go on from the newest checkpoint of that name, on any number of processes
    --replay LOG                no model: batches from the log of a run, compared with what that run saw

Cost: 0.13M parameters, about 0.1 s a step on one core; most of the minute goes into starting Python. What is
here for the eye and not for speed: gradients are summed by hand instead of by DDP, and each batch is hashed.
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

import curate
import curate.loader as cl

ROOT = Path(__file__).resolve().parents[1]
SEQ_LEN, GLOBAL_BATCH, BLOCK_STEPS = 128, 16, 4  # the weights of the sources may change every 4 steps
SAVE_EVERY, TOLERANCE = 10, 1e-4
# As published exp3 moves slowly, for runs of many thousand blocks; ten blocks want a greater rate.
MIXERS = {"exp3": {"exp3": {"rate": 3.0}}}
VOCAB, WIDTH, HEADS, LAYERS = 257, 64, 4, 2

# ----------------------------------------------------------------------------------------------------
# The data: sample shards -> columns -> plan. No text is copied: the loader reads the shards in place.


def write_tokenizer(path):
    """A tokenizer.json in which every byte is a token and 256 ends a document: BPE without any merge."""
    visible = [
        *range(33, 127),
        *range(161, 173),
        *range(174, 256),
    ]  # GPT-2 writes other bytes as 256, 257, ...
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = {chr(byte): byte for byte in visible} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
    path.write_text(
        json.dumps(
            {
                "added_tokens": [{"id": 256, "content": "<|endoftext|>", "special": True, "normalized": False}
                                 | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)],
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                                  "use_regex": False},
                "model": {"type": "BPE", "vocab": letters, "merges": []},
            }
        )
    )  # fmt: skip


def make_data(out):
    """Run the recipe twice with other plans; the second time costs no reading. What is done is not redone."""
    tokenizer = out / "tokenizer.json"
    if not tokenizer.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_tokenizer(tokenizer)
    recipe = {
        "input": {"paths": str(ROOT / "sample" / "*.parquet"), "text": "text", "source": "source"},
        "measure": ["heuristics", {"tokens": {"tokenizer": str(tokenizer), "mode": "exact"}}],
        "dedup": {"exact": {"keep": "first"}},
        "store": str(out / "store"),
    }
    # A model of your own would score documents; here a measured column stands in for its opinion.
    best = {"budget": 0.5, "select": {"method": "top", "score": "gopher.alpha_word_frac"}}
    for name, plan in (("all", {}), ("best", best)):
        run = recipe | {"plan": {"pools": {"by": "source"}} | plan, "run": str(out / name)}
        curate.run(run, num_threads=2, write=False)


# ----------------------------------------------------------------------------------------------------
# The model: rotary positions, QK norm, relu^2, no biases, no learned norms. A document sees only itself.


def norm(x):
    return F.rms_norm(x, (x.size(-1),))


def rotate(x, positions):
    """Rotary embedding by the place in the document, which the loader gives; not by the place in the row."""
    half = x.size(-1) // 2
    angles = positions[:, None, :, None] * (1.0 / 10_000 ** (torch.arange(half) / half))
    a, b = x.split(half, dim=-1)
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x, positions, mask):
        split = self.qkv(norm(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        q, k = (norm(rotate(part, positions)) for part in split[:2])
        y = F.scaled_dot_product_attention(q, k, split[2], attn_mask=mask)
        x = x + self.proj(y.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(norm(x))).square())


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, VOCAB, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, tokens, positions):
        # positions are 0 where a document (or what is left of one) begins: count those to number the spans.
        # With flash-attn, doc_spans has the lengths for cu_seqlens; plain causal attention works, too.
        span = (positions == 0).cumsum(1)
        mask = (span[:, :, None] == span[:, None, :]).tril()[:, None]
        x = norm(self.embed(tokens))
        for block in self.blocks:
            x = block(x, positions, mask)
        return self.head(norm(x))


# ----------------------------------------------------------------------------------------------------
# Training, seen from one of the processes.


def open_data(out, mixer, log=None):
    return cl.open(
        out / "all", seq_len=SEQ_LEN, global_batch=GLOBAL_BATCH, mixer=mixer, log=log, block_steps=BLOCK_STEPS
    )


def train(rank, size, rendezvous, options):
    """One rank: take a batch, learn from it, tell the loader the losses, save now and then."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=size)
    out, folder = Path(options["out"]), Path(options["out"]) / options["name"]
    torch.manual_seed(0)
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0)

    # The loader: open, iterate, save with the rest. It knows rank and world size from torch.distributed.
    data = open_data(out, MIXERS.get(options["mixer"], options["mixer"]), folder / "log.jsonl")
    loader = data.loader(num_workers=options["workers"])

    def state():
        return {"model": model, "optimizer": get_optimizer_state_dict(model, optimizer), "data": data}

    if options["resume"]:
        loaded = state()
        dcp.load(loaded, checkpoint_id=newest_checkpoint(folder))
        set_optimizer_state_dict(model, optimizer, loaded["optimizer"])
    for batch in islice(loader, options["steps"] - data.step):
        step = batch["step"]
        if step == options["kill_at"] and rank == size - 1:
            os.kill(os.getpid(), signal.SIGKILL)  # no exception, no flush, no goodbye
        losses, mean = learn(model, optimizer, batch)
        loader.feedback(batch["source_id"], losses, step=step)  # does nothing for a fixed mixture
        if step == options["swap_at"]:
            data.swap_plan(out / "best")  # from the next block on that is not promised to anybody yet
        digest = batch_hash(batch, size)
        if rank == 0:
            line = {"step": step, "loss": mean, "hash": digest, "processes": size}
            with (folder / "steps.jsonl").open("a") as lines:
                lines.write(json.dumps(line) + "\n")
        if data.step % SAVE_EVERY == 0:
            dcp.save(state(), checkpoint_id=folder / f"step{data.step:05d}")
    dist.destroy_process_group()


def learn(model, optimizer, batch):
    """One step; gives the loss of each token (NaN where there is none) and the mean over all ranks."""
    logits = model(batch["input_ids"], batch["positions"])[:, :-1]
    labels = batch["labels"][:, 1:]  # labels are the tokens themselves; -100 at the first of a document
    losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)
    optimizer.zero_grad()
    losses.sum().backward()
    # One all-reduce for everything: gradients of the sum, the sum, the count. Dividing by the count of *all*
    # ranks is what makes the step the same on any number of them; a mean of means would not be.
    parameters = list(model.parameters())
    count = (labels != -100).sum()
    packed = torch.cat([*(p.grad.flatten() for p in parameters), losses.detach().sum()[None], count[None]])
    dist.all_reduce(packed)
    total, count = packed[-2:]
    for p, grad in zip(parameters, packed.split([p.numel() for p in parameters] + [2])[:-1], strict=True):
        p.grad.copy_((grad / count).view_as(p))
    optimizer.step()
    return losses.detach().masked_fill(labels == -100, torch.nan), float(total / count)


def batch_hash(batch, size=1):
    """Hash of the global batch: rows of the ranks in their order are the rows of one process."""
    mine = torch.stack([batch["input_ids"], batch["labels"], batch["positions"], batch["source_id"]], dim=1)
    parts = [mine]
    if size > 1:
        parts = [torch.empty_like(mine) for _ in range(size)]
        dist.all_gather(parts, mine)
    return hashlib.blake2b(torch.cat(parts).numpy().tobytes(), digest_size=8).hexdigest()


def newest_checkpoint(folder):
    """The last checkpoint that is whole: `.metadata` is written when every rank has written its part."""
    return max(folder.glob("step*/.metadata")).parent


# ----------------------------------------------------------------------------------------------------
# Runs of several processes, and what they saw.


def launch(processes, **options):
    """Start the processes of a run and wait; they meet in a file and talk over loopback."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    folder = Path(options["out"]) / options["name"]
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            mp.spawn(train, (processes, f"{scratch}/rendezvous", options), nprocs=processes)
            how = "done"
        except mp.ProcessExitedException as exc:
            if exc.signal_name != "SIGKILL" or options["kill_at"] is None:
                raise
            how = "killed"
    seen = read_steps(folder)
    last, elapsed = max(seen), time.perf_counter() - start
    what = f"{options['name']:>12}  {processes} processes  {how} after step {last}"
    print(f"{what}, loss {seen[last]['loss']:.4f}, {elapsed:.1f} s", flush=True)


def read_steps(folder):
    """What a run saw, by step; a step that was done again after a crash counts as it was done last."""
    lines = map(json.loads, (folder / "steps.jsonl").read_text().splitlines())
    return {line["step"]: line for line in lines}


def replay(out, log):
    """Make the batches of a run again from its log, and compare their hashes with what the run saw."""
    seen = read_steps(log.parent)
    num_steps = len(seen) // BLOCK_STEPS * BLOCK_STEPS  # the log has whole blocks only
    data = open_data(out, {"replay": log})
    wrong = [b["step"] for b in islice(data, num_steps) if batch_hash(b) != seen[b["step"]]["hash"]]
    print(f"replay of {log}: {num_steps - len(wrong)} of {num_steps} batches are the same")
    return not wrong


def show(processes, options):
    """Train without a break, train with one, compare."""
    out = Path(options["out"])
    launch(1, **options | {"name": "unbroken", "workers": 2})
    launch(processes, **options | {"name": "broken", "kill_at": options["steps"] * 5 // 8})
    launch(2 * processes, **options | {"name": "broken", "resume": True})
    wanted, got = read_steps(out / "unbroken"), read_steps(out / "broken")
    same = sum(got[step]["hash"] == wanted[step]["hash"] for step in wanted)
    furthest = max(abs(got[step]["loss"] - wanted[step]["loss"]) for step in wanted)
    print(f"batches: {same} of {len(wanted)} are the same; losses: at most {furthest:.1e} apart")
    is_replayed = replay(out, out / "unbroken" / "log.jsonl")
    print(
        f"what was asked of each source and what it gave: curate report --loader-log {out}/broken/log.jsonl"
    )
    return same == len(wanted) == len(got) and furthest <= TOLERANCE and is_replayed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "tiny", help="everything goes here")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--mixer", default="natural", help="natural, uniform, exp3, odm, ucb")
    parser.add_argument("--swap", action="store_true", help="move to the second plan in mid-run")
    parser.add_argument("--processes", type=int, help="train with so many, instead of the show")
    parser.add_argument("--workers", type=int, default=0, help="loader processes of each process")
    parser.add_argument("--name", default="mine", help="of the run that --processes trains")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-at", type=int, metavar="STEP")
    parser.add_argument("--replay", type=Path, metavar="LOG")
    options = vars(parser.parse_args())
    processes, log, swap = (options.pop(name) for name in ("processes", "replay", "swap"))
    options["swap_at"] = options["steps"] // 2 - 3 if swap else None
    make_data(options["out"])
    if log is not None:
        sys.exit(not replay(options["out"], log))
    if processes is not None or options["resume"]:
        launch(processes or 1, **options)
    else:
        sys.exit(not show(2, options))


if __name__ == "__main__":
    main()
