import pytest

from curate.config import MAX_BYTES, apply_overrides, build, parse_yaml, read_yaml
from curate.errors import ConfigError
from curate.pipeline import Recipe, load_recipe

MINIMAL = {"input": {"paths": "data/*.parquet"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1\nb: *x", "anchors and aliases"),
        ("a: 1\na: 2", "stands twice"),
        ("- 1\n- 2", "mapping of sections"),
        ("a: [1", "not valid YAML"),
        ("1: 2", "must be text"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
        ("a: " + "x" * MAX_BYTES, "larger than"),
        ("[" * 100_000, "not valid YAML"),
    ],
)
def test_yaml_that_could_hurt_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text)


def test_an_empty_recipe_is_an_empty_mapping():
    assert parse_yaml("# nothing") == {}


def test_a_recipe_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "plan.budget=3B",
            {"plan": {"budget": "3B"}, "filter": [{"preset": "gopher"}], "measure": ["tokens"]},
        ),
        ("filter.0.min_words=5", {"filter": [{"preset": "gopher", "min_words": 5}], "measure": ["tokens"]}),
        (
            "filter.gopher.min_words=5",
            {"filter": [{"preset": "gopher", "min_words": 5}], "measure": ["tokens"]},
        ),
        (
            "measure.tokens.mode=exact",
            {"measure": [{"tokens": {"mode": "exact"}}], "filter": [{"preset": "gopher"}]},
        ),
        ("filter=[]", {"filter": [], "measure": ["tokens"]}),
    ],
)
def test_overrides_reach_sections_and_list_entries(override, expected):
    values = {"filter": [{"preset": "gopher"}], "measure": ["tokens"]}
    assert apply_overrides(values, [override]) == expected
    assert values == {"filter": [{"preset": "gopher"}], "measure": ["tokens"]}


@pytest.mark.parametrize("override", ["plan.budget", "=3", "measure.minhash.bands=3", "a.b.c=1"])
def test_an_override_that_leads_nowhere_is_refused(override):
    with pytest.raises(ConfigError):
        apply_overrides({"measure": ["tokens"], "a": {"b": 1}}, [override])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fliter": []}, "fliter is not a known key, did you mean `filter`"),
        ({"input": {"path": "x"}}, "input.path is not a known key"),
        (
            {"measure": ["heuristic"]},
            "measure.0. is not known, there are classifier, hashed_linear, .*: heuristic",
        ),
        ({"measure": ["tokens", "tokens"]}, "measure has a stage twice: tokens"),
        ({"plan": {"budget": "3X"}}, "3X"),
        ({"plan": {"select": {"budget": 1}}}, "written as `plan.budget`"),
        ({"plan": {"order": "sideways"}}, "plan.order"),
        ({"filter": [{"reason": "Bad", "drop": "x > 1"}]}, "reason"),
        ({"filter": [{"preset": "gofer"}]}, "gofer"),
        ({"output": {"path": "x", "rows_per_file": 0}}, "output.rows_per_file"),
        ({"max_bad": 2}, "max_bad"),
        ({"run": "s3://bucket/run"}, "local folders, only shards may be URLs: s3://bucket/run"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(change, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe({**MINIMAL, **change})


def test_all_problems_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        build(Recipe, {"input": {"paths": "x", "txt": "y"}, "pln": {}})
    assert len(str(caught.value).splitlines()) == 2


def test_a_recipe_without_stages_named_measures_everything():
    names = [stage.key for stage in load_recipe(MINIMAL).stages]
    assert names == ["identity", "document", "heuristics", "tokens"]


def test_words_of_the_counts_follow_the_heuristics():
    recipe = load_recipe({**MINIMAL, "measure": [{"heuristics": {"words": "datatrove-en"}}]})
    assert recipe.stages[1].words == "datatrove-en"
