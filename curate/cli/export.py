"""`curate export`: the documents of a run as files that trainers read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from curate.cli.opening import read_places
from curate.cli.options import AsJson, Memory, Quiet, Relocate, RunPath, Threads, app, print_result

_NONE = "none"


def _token(text: str | None) -> str | int | None:
    """A token by its name or id; `none` is no token."""
    if text is None or text == _NONE:
        return None
    return int(text) if text.isdecimal() else text


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@app.command()
def export(  # over: the options of a command are its parameters
    run_dir: RunPath,
    to: Annotated[str, typer.Option("--to", help="Format: megatron, olmo, mds or hf.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files, empty or new.")],
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", help="Tokenizer; default: the one that the run counted tokens with."),
    ] = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="How a tiktoken file splits text, such as cl100k_base.")
    ] = None,
    eos: Annotated[
        str, typer.Option("--eos", help="Token after each document, name or id, or `none`.")
    ] = "auto",
    bos: Annotated[str, typer.Option("--bos", help="Token before each document, name or id.")] = _NONE,
    dtype: Annotated[str, typer.Option("--dtype", help="auto, uint16, int32 or uint32.")] = "auto",
    content: Annotated[str, typer.Option("--content", help="Of MDS: tokens or text.")] = "tokens",
    seq_len: Annotated[
        int | None, typer.Option("--seq-len", help="Of MDS: pack documents to samples of so many tokens.")
    ] = None,
    compression: Annotated[str | None, typer.Option("--compression", help="Of MDS: zstd.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Columns beside the text (hf, MDS text): a,b,c.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of hf: name of the split.")] = "train",
    pools: Annotated[
        list[str] | None, typer.Option("--pool", help="Export this pool; may be given several times.")
    ] = None,
    repeats: Annotated[
        bool,
        typer.Option("--repeats/--no-repeats", help="Write documents as often as the plan repeats them."),
    ] = True,
    max_file_bytes: Annotated[
        str, typer.Option("--max-file-bytes", help="Begin a new file there; 0 is the format's default.")
    ] = "0",
    threads: Threads = None,
    memory: Memory = "2GiB",
    relocate: Relocate = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the kept documents of a run for a trainer: files for each pool, and their planned shares."""
    from curate import pipeline
    from curate.config import build
    from curate.export import Export
    from curate.export import export as export_files

    settings = build(
        Export,
        {
            "to": to,
            "tokenizer": tokenizer,
            "pattern": pattern,
            "eos": _token(eos),
            "bos": _token(bos),
            "dtype": dtype,
            "content": content,
            "seq_len": seq_len,
            "compression": compression,
            "columns": _names(columns),
            "split": split,
            "pools": pools or None,
            "repeats": repeats,
            "max_file_bytes": pipeline.parse_bytes(max_file_bytes),
        },
    )
    stop = pipeline.Stop()
    stop.listen(lambda text: print(text, file=sys.stderr, flush=True))
    run = pipeline.open_run(
        run_dir,
        limits=pipeline.Limits.of(threads, memory),
        relocate=read_places(relocate),
        progress=pipeline.Silent() if quiet else pipeline.terminal_progress(),
        stop=stop,
    )
    found = export_files(run, output, settings)
    print_result(found.as_dict(), as_json, found.as_text())
