"""Run the command line as `python -m curate.cli`."""

from curate.cli import main

main()
