import pytest

from curate.errors import ConfigError
from curate.selection.mixer import Mixer
from curate.selection.mixers import KINDS, make_mixer

WITH = {
    "fixed": {"web": 1},
    "schedule": [{"step": 0, "weights": "natural"}],
    "unimax": "6B",
    "excess_loss": {"reference": {"web": 1}},
    "doremi": {"reference": {"web": 1}},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_name_makes_a_mixer(name: str) -> None:
    mixer = make_mixer({name: WITH[name]} if name in WITH else name)
    assert isinstance(mixer, Mixer)
    assert make_mixer(mixer) is mixer
    learns = name in ("exp3", "odm", "ucb", "excess_loss", "doremi")
    assert mixer.needs_feedback == learns


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("odn", "there are natural, uniform.*'odn'"),
        ({"odm": {}, "ucb": {}}, r"one name with its settings.*\['odm', 'ucb'\]"),
        ({}, "one name"),
        (3, "a function: 3"),
        ({"natural": {"x": 1}}, "mixer.natural has no settings: {'x': 1}"),
        ({"odm": {"smooting": 0.5}}, "mixer.odm.smooting is not a known key, did you mean `smoothing`"),
        ({"odm": {"smoothing": 1.5}}, "mixer.odm.smoothing.*1.5"),
        ({"exp3": {"gamma": float("nan")}}, "mixer.exp3.gamma.*nan"),
        ({"exp3": 0.1}, "mixer.exp3 is a table of settings: 0.1"),
        ({"temperature": 0}, "mixer.temperature.temperature.*0"),
        ("fixed", "a table of weights by pool: None"),
        ({"fixed": {}}, "a table of weights by pool"),
        ({"fixed": {"web": "much"}}, "mixer.fixed.web: a weight is a number: 'much'"),
        ({"fixed": {"web": -0.1}}, "not below 0: -0.1"),
        ({"fixed": {"web": 0, "code": 0.0}}, "all are: 0"),
        ({"unimax": "10%"}, "not a fraction, above 0: 10%"),
        ("doremi", "mixer.doremi.reference"),
    ],
    ids=str,
)
def test_wrong_specs_are_named(spec: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_mixer(spec)  # type: ignore[arg-type]


def test_a_near_name_is_offered() -> None:
    with pytest.raises(ConfigError) as caught:
        make_mixer("unifrom")
    assert caught.value.hint == "did you mean `uniform`?"
