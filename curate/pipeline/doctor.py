"""`curate doctor`: is this installation fit to work?"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from curate import _rust
from curate.pipeline.limits import default_threads

_CORE = ("curate", "pyarrow", "polars", "numpy", "pydantic")
_EXTRAS = ("torch", "ray", "s3fs", "tokenizers")


def doctor() -> dict[str, str]:
    """Facts about the interpreter, the native extension, the machine and optional packages."""
    facts = {"python": sys.version.split()[0], "platform": platform.platform()}
    facts |= {name: importlib.metadata.version(name) for name in _CORE}
    facts["native extension"] = _rust.BUILD_PROFILE + (
        "" if _rust.BUILD_PROFILE == "release" else " (slow: build with --release)"
    )
    facts["threads"] = str(default_threads())
    facts["memory"] = _memory()
    facts["scratch"] = (
        f"{shutil.disk_usage(tempfile.gettempdir()).free / 1e9:.1f} GB free in {tempfile.gettempdir()}"
    )
    for name in _EXTRAS:
        facts[name] = (
            importlib.metadata.version(name) if importlib.util.find_spec(name) else "not installed (optional)"
        )
    return facts


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        total = min(total, int(text))
    return f"{total / 1e9:.1f} GB"
