from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from curate.errors import ConfigError
from curate.loader.mixers import make_mixer
from curate.loader.tokenlog import TokenLog
from curate.selection.mixer import Mixer
from curate.selection.odm import Odm
from tests.loader.logs import HEADER, block, write


@dataclass
class Pool:
    name: str
    num_tokens: int = 1
    num_unique_tokens: int = 1


def start(mixer: Mixer, names: tuple[str, ...] = HEADER.pools) -> Mixer:
    mixer.start([Pool(name) for name in names], np.full(len(names), 1 / len(names)))
    return mixer


def test_a_replay_gives_the_logged_weights_bit_by_bit(tmp_path: Path) -> None:
    shares = [0.1, 1 / 3, 0.7000000000000001]
    with TokenLog(tmp_path / "log", HEADER) as log:
        for number, share in enumerate(shares):
            log.append(block(number, code=share))
    mixer = start(make_mixer({"replay": tmp_path / "log"}))
    for number, share in enumerate(shares):
        assert mixer.weights(number, number * 10, 1).tolist() == [share, 1 - share]
    assert mixer.weights(9, 90, 1).tolist() == [shares[2], 1 - shares[2]]
    assert not mixer.needs_feedback


def test_a_replay_may_end_with_its_log(tmp_path: Path) -> None:
    write(tmp_path / "log", 2)
    mixer = start(make_mixer({"replay": {"path": str(tmp_path / "log"), "after": "fail"}}))
    mixer.weights(1, 19, 1)
    with pytest.raises(ConfigError, match="ends before step 20: 20"):
        mixer.weights(2, 20, 1)


def test_wrong_replays_are_named(tmp_path: Path) -> None:
    TokenLog(tmp_path / "log", HEADER).close()
    for spec, message in (
        ("replay", "needs the path"),
        ({"replay": tmp_path / "log"}, "no blocks"),
        ({"replay": {"file": "x"}}, "mixer.replay.file is not a known key"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_mixer(spec)  # type: ignore[arg-type]
    write(tmp_path / "log", 1)
    with pytest.raises(ConfigError, match="no pool is named 'code'; there are: 'web'"):
        start(make_mixer({"replay": tmp_path / "log"}), ("web",)).weights(0, 0, 1)
    with pytest.raises(FileNotFoundError):
        make_mixer({"replay": tmp_path / "none"})


def test_other_mixers_are_those_of_selection() -> None:
    assert isinstance(make_mixer("odm"), Odm)
    assert make_mixer().needs_feedback is False
