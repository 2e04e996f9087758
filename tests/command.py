"""Call the command line inside this process."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from curate import cli


class Done(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def errors(self) -> list[str]:
        """Lines of stderr that are not progress."""
        steps = ("measure: ", "resolve: ", "plan: ", "write: ")
        return [line for line in self.err.splitlines() if not line.startswith(steps)]


Curate = Callable[..., Done]


def caller(capsys: pytest.CaptureFixture[str]) -> Curate:
    """A function that runs one command."""

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, out, err)

    return call
