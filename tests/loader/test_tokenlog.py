import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import DataError, StateError
from curate.loader.tokenlog import LogBlock, LogHeader, TokenLog, read_log
from tests.loader.logs import HEADER, block, write


def read(path: Path) -> list[LogBlock]:
    return list(read_log(path)[1])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    blocks = write(tmp_path / "log", 3)
    header, found = read_log(tmp_path / "log")
    assert header == HEADER
    assert list(found) == blocks


@given(
    st.dictionaries(st.text(max_size=9), st.floats(0, allow_infinity=False), max_size=5),
    st.dictionaries(
        st.text(max_size=9), st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))
    ),
    st.integers(0, 2**63 - 1),
)
def test_names_and_numbers_survive_exactly(
    weights: dict[str, float], loss: dict[str, float | None], count: int
) -> None:
    given_block = replace(block(0), weights=weights, loss=loss, tokens=dict.fromkeys(weights, count))
    line = given_block.to_line()
    assert line.isascii() and line.count(b"\n") == 1
    from curate.loader.tokenlog import _block

    assert _block(json.loads(line), "here") == given_block


def test_numpy_numbers_are_written_and_unknown_losses_are_null(tmp_path: Path) -> None:
    given_block = replace(
        block(0), tokens={"web": np.int64(7)}, weights={"web": np.float64(0.1)}, loss={"web": float("nan")}
    )
    value = json.loads(given_block.to_line())
    assert (
        value["tokens"] == {"web": 7} and value["weights"] == {"web": 0.1} and value["loss"] == {"web": None}
    )


def test_going_on_cuts_blocks_that_are_done_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 5)
    with TokenLog(path, HEADER, next_block=2) as log:
        assert [each.block for each in read(path)] == [0, 1]
        log.append(block(2, code=0.5))
    assert [(each.block, each.weights["code"]) for each in read(path)] == [(0, 0.1), (1, 0.1), (2, 0.5)]


def test_starting_over_leaves_the_header(tmp_path: Path) -> None:
    write(tmp_path / "log", 2)
    TokenLog(tmp_path / "log", HEADER).close()
    assert read(tmp_path / "log") == []


def test_interrupted_and_resumed_is_the_same_file(tmp_path: Path) -> None:
    write(tmp_path / "whole", 6)
    write(tmp_path / "cut", 5)
    with TokenLog(tmp_path / "cut", HEADER, next_block=3) as log:
        for number in range(3, 6):
            log.append(block(number))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "cut").read_bytes()


def test_every_torn_end_reads_as_the_lines_before_and_can_be_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, 2)
    data = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(data) if byte == 10]
    for length in range(ends[0], len(data)):
        path.write_bytes(data[:length])
        whole = sum(length >= end for end in ends) - 1
        assert len(read(path)) == whole
        with TokenLog(path, HEADER, next_block=whole) as log:
            for number in range(whole, 2):
                log.append(block(number))
        assert path.read_bytes() == data


def test_a_torn_header_is_written_anew_and_is_an_error_to_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for data in (b"", HEADER.to_line()[:-1]):
        path.write_bytes(data)
        with pytest.raises(DataError, match="no whole line"):
            read_log(path)
        TokenLog(path, HEADER).close()
        assert path.read_bytes() == HEADER.to_line()


def test_a_last_line_of_zeros_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log"
    blocks = write(path, 2)
    for tail in (b"\0" * 100, b"\0" * 100 + b"\n"):
        data = path.read_bytes()
        path.write_bytes(data + tail)
        assert read(path) == blocks
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("plan",), "plan: abc, not x"),
        (("pools",), r"pools: \('code', 'web'\), not \('web',\)"),
        (("settings",), "settings.seed: 1, not 2"),
    ],
)
def test_a_log_of_another_training_is_refused_by_name(
    tmp_path: Path, change: tuple[str], message: str
) -> None:
    other = {"plan": "x", "pools": ("web",), "settings": {"seq_len": 8, "seed": 2}}
    write(tmp_path / "log", 1)
    with pytest.raises(StateError, match=message):
        TokenLog(tmp_path / "log", replace(HEADER, **{change[0]: other[change[0]]}))
    assert len(read(tmp_path / "log")) == 1


def test_blocks_grow(tmp_path: Path) -> None:
    with TokenLog(tmp_path / "log", HEADER) as log:
        log.append(block(3))
        with pytest.raises(StateError, match="block 3 already, then comes block 3"):
            log.append(block(3))
    with TokenLog(tmp_path / "log", HEADER, next_block=4) as log, pytest.raises(StateError):
        log.append(block(3))


def line(**changes: object) -> bytes:
    return json.dumps({**json.loads(block(0).to_line()), **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([b"[]\n"], "line 1 is not the header"),
        ([b'{"format": 2}\n'], "reads token logs of format 1: 2"),
        ([b'{"format": 1, "pools": [1]}\n'], "pools are a list of names"),
        ([b'{"format": 1, "pools": [], "settings": 1, "plan": ""}\n'], "settings are an object"),
        ([HEADER.to_line(), b"{torn\n", line()], "line 2 is not JSON"),
        ([HEADER.to_line(), b"\xff\n", line()], "line 2 is not JSON"),
        ([HEADER.to_line(), b"[" * 100_000 + b"\n", line()], "line 2 is not JSON"),
        ([HEADER.to_line(), b'{"block": NaN}\n', line()], "NaN is not a JSON number"),
        ([HEADER.to_line(), b"[]\n"], "line 2 is not a block"),
        ([HEADER.to_line(), line(block=-1)], "block is no whole number from 0: -1"),
        ([HEADER.to_line(), line(block=True)], "no whole number"),
        ([HEADER.to_line(), line(tokens={"web": 1.5})], "tokens of 'web' is no whole number from 0: 1.5"),
        ([HEADER.to_line(), line(weights={"web": "1"})], "weights of 'web' is no number"),
        (
            [HEADER.to_line(), line(weights={"web": 10**400})],
            "weights of 'web' is above 9223372036854775807: 0x",
        ),
        ([HEADER.to_line(), line(weights=[])], "weights is not an object by pool"),
        ([HEADER.to_line(), line(loss={"web": []})], "loss of 'web'"),
        ([HEADER.to_line(), line(events=1)], "events are a list"),
        ([HEADER.to_line(), line(), line()], "line 3: block 0 comes after block 0"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, lines: list[bytes], message: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_number_beyond_a_float_in_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(HEADER.to_line() + line(weights={"web": 0}).replace(b'"web": 0}', b'"web": 1e999}', 1))
    with pytest.raises(DataError, match="not finite"):
        read(path)


WRITER = """
import sys
from pathlib import Path
from tests.loader.logs import HEADER, block
from curate.loader.tokenlog import TokenLog
with TokenLog(Path(sys.argv[1]), HEADER) as log:
    for number in range(10**9):
        log.append(block(number))
        print(number, flush=True)
"""


def test_what_was_appended_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(0.3)
    os.kill(writer.pid, signal.SIGKILL)
    said = writer.stdout.read().splitlines()
    writer.stdout.close()
    writer.wait()
    whole = [number for number in said if number.isdecimal()]
    found = [each.block for each in read(path)]
    assert found == list(range(len(found))) and len(found) >= len(whole)
    with TokenLog(path, HEADER, next_block=len(found)) as log:
        log.append(block(len(found)))
    assert read(path) == [block(number) for number in range(len(found) + 1)]


def test_settings_are_compared_as_json(tmp_path: Path) -> None:
    header = LogHeader(pools=("web",), settings={"sizes": (1, 2)}, plan="p")
    TokenLog(tmp_path / "log", header).close()
    TokenLog(tmp_path / "log", header).close()
