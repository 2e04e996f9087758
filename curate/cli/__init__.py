"""The command line: parse, call one function, print.

Results go to stdout (one JSON object with `--json`), everything else to stderr. Exit codes: 0 done, 1
failed, 2 a setting or the usage is wrong, 3 done but too many rows were unreadable, 4 `verify` found
damage, 130 interrupted (what was committed stays; the first Ctrl-C lets the task at hand finish). Commands
import what they call when they run, so that `--help` is quick. Only this package prints or exits.
"""

from curate.cli import dedup, export, laws, mix, model, train, verbs
from curate.cli.failures import main
from curate.cli.options import app

__all__ = ["app", "dedup", "export", "laws", "main", "mix", "model", "train", "verbs"]
