"""Token logs for tests."""

from pathlib import Path

from curate.loader.tokenlog import LogBlock, LogHeader, TokenLog

HEADER = LogHeader(pools=("code", "web"), settings={"seq_len": 8, "seed": 1}, plan="abc")


def block(number: int, code: float = 0.1) -> LogBlock:
    return LogBlock(
        block=number,
        first_step=number * 10,
        num_steps=10,
        weights={"code": code, "web": 1 - code},
        tokens={"code": 100 + number, "web": 900 + number},
        docs={"code": 1, "web": 9},
        total_tokens={"code": 100 * (number + 1), "web": 900 * (number + 1)},
        epochs={"code": 0.1 * (number + 1), "web": 1 / 3},
        loss={"code": 2.5 - number / 100, "web": None},
        events=({"kind": "set"},) if number == 1 else (),
    )


def write(path: Path, num_blocks: int, *, header: LogHeader = HEADER) -> list[LogBlock]:
    blocks = [block(number) for number in range(num_blocks)]
    with TokenLog(path, header) as log:
        for each in blocks:
            log.append(each)
    return blocks
