"""Specs: defaults, files, overrides, one line for everything that is wrong, and what a resumed search may change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.spec.loading import SpecError, load_spec, make_spec, parse_spec, validated
from depthweave.search.spec.schema import Spec, differences, to_dict
from depthweave.trainers import Recipe

FULL: dict[str, Any] = {
    "name": "all keys",
    "seed": 7,
    "corpus": {"kind": "files", "paths": ["a.txt", "b/*.txt"], "separator": "\n\n", "validation_frac": 0.1},
    "tokenizer": "bpe:512",
    "space": {
        "fusions": ["dwa"],
        "dilations": [1, 3],
        "periods": [2, "depth"],
        "depths": [4],
        "budgets": [90_000],
        "head_width": 16,
        "width": 48,
    },
    "reference": {"depth": 4, "budget": 90_000},
    "recipe": {"steps": 20, "betas": [0.8, 0.9], "grad_clip": None, "num_evaluations": 4, "precision": "bfloat16"},
    "objectives": ["bits_per_byte", "forward_flops"],
    "search": {
        "sampler": "nsga2",
        "pruner": "percentile",
        "pruner_options": {"percentile": 25.0, "n_warmup_steps": 1},
        "trials": 9,
        "time_budget_s": 60.0,
        "retries": 0,
    },
    "resources": {"device": "cpu", "cpus_per_trial": 2, "max_concurrent": 1, "measure_limit_s": 0.5},
}


def _fault(values: Any, **given: Any) -> str:
    """The error's message, which is one line."""
    with pytest.raises(SpecError) as caught:
        make_spec(values, **given)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_empty_spec_is_the_default_one() -> None:
    spec = make_spec({})
    assert spec == Spec()
    assert spec.search.trials >= 20
    assert spec.objectives == ("perplexity", "latency", "memory_bytes")


@pytest.mark.parametrize("values", [{}, FULL], ids=["default", "full"])
def test_yaml_round_trip_is_equal(values: dict[str, Any]) -> None:
    spec = make_spec(values)
    assert parse_spec(spec.to_yaml()) == spec


def test_file_is_read_and_every_default_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("space: {depths: [3]}\n", encoding="utf-8")
    spec = load_spec(path)
    assert spec.space.depths == (3,)
    for word in ("sampler: known-cost", "validation_frac", "learning_rate", "measure_limit_s", "period"):
        assert word in spec.to_yaml()


@pytest.mark.parametrize("text", ["", " \n\n", "# nothing yet\n", "---\n...\n", "null\n"])
def test_file_that_says_nothing_is_refused_with_where_to_start(text: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    for overrides in ([], ["seed=1"]):
        with pytest.raises(SpecError, match=f"^{re.escape(str(path))}: is empty; start from examples/quick.yaml"):
            load_spec(path, overrides=overrides)


def test_file_that_asks_for_every_default_is_the_default_spec(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("{}\n", encoding="utf-8")
    assert load_spec(path) == Spec()


def test_overrides_are_parsed_and_nested_keys_kept() -> None:
    spec = make_spec(
        {"recipe": {"batch": 8}},
        overrides=["recipe.steps=100", "recipe.learning_rate=1e-3", "space.periods=[1, depth]", "search.pruner=none"],
    )
    assert (spec.recipe.batch, spec.recipe.steps, spec.recipe.learning_rate) == (8, 100, 0.001)
    assert spec.space.periods == (1, "depth")
    assert spec.search.pruner == "none"


def test_overrides_leave_the_given_values_alone() -> None:
    values: dict[str, Any] = {"recipe": {"batch": 8}}
    make_spec(values, overrides=["recipe.batch=4"])
    assert values == {"recipe": {"batch": 8}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("recipe.stops=3", "key 'recipe.stops' is not known: did you mean 'recipe.steps'?"),
        ("recipe.steps=0", "recipe.steps is 0; it must be at least 1"),
        ("recipe.steps", "--set recipe.steps: write KEY=VALUE"),
        ("=3", "--set =3: write KEY=VALUE"),
        ("seed.x=3", "seed is a single value, so it has no keys below it"),
        ("space.depths=[1", "cannot be read as YAML"),
        ("recipe=3", "recipe is 3: give a section with keys"),
    ],
)
def test_overrides_pass_the_same_checks(override: str, expected: str) -> None:
    assert expected in _fault({"seed": 1}, overrides=[override])


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ("llama", "llama"),
        ({"kind": "llama"}, "llama"),
        ({"kind": "gpt", "heads_per_kv": 1}, "gpt"),
        ({"kind": "llama", "heads_per_kv": 2}, {"kind": "llama", "heads_per_kv": 2, "qk_norm": False}),
    ],
)
def test_block_is_kept_in_its_shortest_form(block: Any, kept: Any) -> None:
    assert make_spec({"space": {"block": block}}).space.block == kept
    assert make_spec({}).space.block == "gpt"


def test_block_that_is_not_known_is_refused_in_one_line() -> None:
    assert "space.block: block 'lama' is not known: did you mean 'llama'?" in _fault({"space": {"block": "lama"}})


def test_seed_reaches_the_recipe() -> None:
    assert make_spec({"seed": 5}).recipe.seed == 5
    assert make_spec({}, overrides=["seed=6"]).recipe.seed == 6
    assert Spec(seed=5, recipe=Recipe(steps=20)).recipe == Recipe(steps=20, seed=5)


def test_recipe_seed_is_refused_in_favour_of_seed() -> None:
    assert "key 'recipe.seed' is not known: give the seed of all as 'seed' instead" in _fault({"recipe": {"seed": 3}})


@pytest.mark.parametrize(
    ("values", "near"),
    [
        ({"spac": {}}, "key 'spac' is not known: did you mean 'space'?"),
        ({"corpus": {"path": []}}, "key 'corpus.path' is not known: did you mean 'corpus.paths'?"),
        ({"space": {"fusion": []}}, "key 'space.fusion' is not known: did you mean 'space.fusions'?"),
        ({"reference": {"dept": 6}}, "key 'reference.dept' is not known: did you mean 'reference.depth'?"),
        ({"recipe": {"lr": 1}}, "key 'recipe.lr' is not known: did you mean 'recipe."),
        ({"search": {"samplers": 1}}, "key 'search.samplers' is not known: did you mean 'search.sampler'?"),
        ({"resources": {"gpus": 1}}, "key 'resources.gpus' is not known: did you mean 'resources.gpus_per_trial'?"),
        ({"search": {"pruner_options": {"levels": 1}}}, "pruner 'pareto': option 'levels' is not known: did you"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(values: dict[str, Any], near: str) -> None:
    assert near in _fault(values)


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"space": {"fusions": ["dwx"]}}, "space.fusions", "'dwx' is not known: did you mean 'dwa'? Known: none"),
        ({"objectives": ["perplexty"]}, "objectives", "'perplexty' is not known: did you mean 'perplexity'? Known"),
        ({"search": {"sampler": "tpx"}}, "search.sampler", "'tpx' is not known: did you mean 'tpe'? Known"),
        ({"search": {"pruner": "medan"}}, "search.pruner", "'medan' is not known: did you mean 'median'? Known"),
        ({"search": {"pruner": "threshold"}}, "search.pruner_options", "do not suit pruner 'threshold'"),
        ({"search": {"pruner": "percentile"}}, "search.pruner_options", "needs percentile"),
        (
            {"search": {"pruner": "hyperband", "pruner_options": {"min_resource": "a"}}},
            "search.pruner_options",
            "option 'min_resource' of pruner 'hyperband' is 'a'",
        ),
        (
            {"search": {"pruner": "patient", "pruner_options": {"patience": 1, "wrapped_pruner": 3}}},
            "search.pruner_options",
            "option 'wrapped_pruner' of pruner 'patient' is 3",
        ),
        ({"search": {"pruner_options": {"grace": True}}}, "search.pruner_options", "is True"),
        ({"space": {"dilations": [1, 0]}}, "space.dilations", "0 is below 1: give a whole number of at least 1"),
        ({"space": {"periods": [-2]}}, "space.periods", "-2 is below 1"),
        ({"space": {"periods": ["dept"]}}, "space.periods", "'dept' is not a period: give whole numbers"),
        ({"space": {"depths": [0]}}, "space.depths", "0 is below 1"),
        ({"space": {"budgets": [0]}}, "space.budgets", "0 is below 1"),
        ({"space": {"depths": [6, 6]}}, "space.depths", "[6, 6] has a repeated value"),
        ({"space": {"depths": [6.5]}}, "space.depths", "6.5"),
        ({"space": {"depths": [True]}}, "space.depths", "True is not a whole number"),
        ({"space": {"depths": 6}}, "space.depths", "should be a list (given: 6): write [6]"),
        ({"space": {"fusions": "dwa"}}, "space.fusions", "should be a list (given: 'dwa'): write [dwa]"),
        ({"space": {"head_width": 3}}, "space.head_width", "multiple of 2 (given: 3)"),
        ({"space": {"width": 33}}, "space.width", "33 is not a multiple of head_width, which is 32"),
        *(({"space": {axis: []}}, f"space.{axis}", "the list is empty: give at least one")
          for axis in ("fusions", "dilations", "periods", "depths", "budgets")),
        ({"objectives": []}, "objectives", "no objective: give at least one"),
        ({"objectives": ["perplexity"] * 2}, "objectives", "names an objective twice: list each once"),
        ({"objectives": ["latency", "memory_bytes"]}, "objectives", "are all costs"),
        ({"seed": "x"}, "seed", "(given: 'x')"),
        ({"seed": -1}, "seed", "greater than or equal to 0 (given: -1)"),
        ({"name": "../elsewhere"}, "name", "'../elsewhere' cannot name a folder"),
        ({"name": 3}, "name", "(given: 3)"),
        ({"tokenizer": "bpe:3"}, "tokenizer", "bpe:3"),
        ({"corpus": {"kind": "web"}}, "corpus.kind", "'stdlib', 'files' or 'hub' (given: 'web')"),
        ({"corpus": {"kind": "files"}}, "corpus.paths", "needs at least one file"),
        ({"recipe": {"steps": "many"}}, "recipe.steps", "(given: 'many')"),
        ({"recipe": {"steps": 5}}, "recipe.num_evaluations", "at most recipe.steps, 5"),
        ({"recipe": {"precision": "fp8"}}, "recipe.precision", "(given: 'fp8')"),
        ({"search": {"trials": 0}}, "search.trials", "greater than or equal to 1 (given: 0)"),
        ({"search": {"time_budget_s": float("inf")}}, "search.time_budget_s", "finite"),
        ({"resources": {"cpus_per_trial": 0}}, "resources.cpus_per_trial", "(given: 0)"),
        ({"resources": {"device": "cuda"}}, "resources", "give a share, such as 0.5"),
        ({"space": None}, "space", "is empty: give a section with keys, or leave it out"),
        ({"space": [1]}, "space", "is [1]: give a section"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)  # fmt: skip
def test_bad_value_is_one_line_with_key_value_and_rule(values: dict[str, Any], key: str, expected: str) -> None:
    message = _fault(values, where="my.yaml")
    assert message.startswith(f"my.yaml: {key}")
    assert expected in message


@pytest.mark.parametrize("values", [[1], "text", 3, None], ids=repr)
def test_spec_that_is_no_mapping_is_one_line(values: Any) -> None:
    assert "is not a mapping of keys" in _fault(values)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"space: [1, 2", "cannot be read as YAML"),
        (b"- a\n- list\n", "is not a mapping of keys"),
        (b"just text", "is not a mapping of keys"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"name: \x00", "cannot be read as YAML"),
        (b"seed: 1\nname: a\nseed: 2\n", "seed is given twice"),
        (b"recipe: {steps: 20, steps: 30}\n", "steps is given twice"),
        (b"name: !!python/object:os.system x\n", "cannot be read as YAML"),
        (b"seed: !!int x\n", "cannot be read as YAML"),
    ],
)
def test_file_that_is_no_spec_is_one_line_with_its_name(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=re.escape(expected)) as caught:
        load_spec(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"no such file; give a spec such as"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="is a folder: give a regular file, a spec such as"):
        load_spec(tmp_path)


def test_long_value_is_cut_in_the_message() -> None:
    assert len(_fault({"name": ["x" * 10_000]})) < 300


def test_validated_names_the_key_of_a_part() -> None:
    with pytest.raises(SpecError, match=r"--set: batch: .*\(given: 'big'\)"):
        validated({"batch": "big"}, kind=Recipe, where="--set")


def test_differences_name_what_changed_and_leave_out_what_may() -> None:
    ours = make_spec(FULL)
    free = ["search.trials=50", "search.time_budget_s=3600", "search.retries=3", "name=other"]
    free += ["resources.max_concurrent=4", "resources.measure_limit_s=9.5"]
    assert differences(make_spec(FULL, overrides=free), ours) == []
    other_machine = ["resources.device=auto", "resources.cpus_per_trial=1"]
    assert len(differences(make_spec(FULL, overrides=other_machine), ours)) == 2
    changed = make_spec(FULL, overrides=["recipe.steps=21", "seed=8", "space.depths=[4, 5]", "search.sampler=tpe"])
    assert differences(changed, ours) == [
        "recipe.steps is 21, was 20",
        "search.sampler is 'tpe', was 'nsga2'",
        "seed is 8, was 7",
        "space.depths is [4, 5], was [4]",
    ]


def test_every_key_that_shapes_the_result_counts_as_a_difference() -> None:
    overrides = {
        "corpus.validation_frac": "0.2",
        "tokenizer": "bytes",
        "space.width": "32",
        "reference.depth": "null",
        "recipe.grad_clip": "2.0",
        "objectives": "[perplexity]",
        "search.pruner_options": "{percentile: 30.0}",
    }
    ours = make_spec(FULL)
    for key, value in overrides.items():
        found = differences(make_spec(FULL, overrides=[f"{key}={value}"]), ours)
        assert found, key
        assert all(line.startswith(key) for line in found)


def test_tolerances_stand_beside_their_objectives_and_default_else() -> None:
    spec = make_spec(
        {**FULL, "objectives": ["perplexity", {"name": "latency", "tolerance": 0.05}, {"name": "parameters"}]}
    )
    assert spec.objectives == ("perplexity", "latency", "parameters")
    assert spec.tolerances == {"perplexity": 0.005, "latency": 0.05, "parameters": 0.01}
    assert parse_spec(spec.to_yaml()) == spec
    assert to_dict(spec)["objectives"] == ["perplexity", {"name": "latency", "tolerance": 0.05}, "parameters"]


def test_resumed_search_keeps_its_tolerances_and_an_old_spec_has_the_defaults() -> None:
    old = make_spec({**FULL, "objectives": ["perplexity", "latency"]})
    spelt = make_spec({**FULL, "objectives": ["perplexity", {"name": "latency", "tolerance": 0.02}]})
    assert differences(spelt, old) == []
    other = make_spec({**FULL, "objectives": ["perplexity", {"name": "latency", "tolerance": 0.1}]})
    (difference,) = differences(other, old)
    assert difference.startswith("objectives is ['perplexity', {'name': 'latency', 'tolerance': 0.1}], was ")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"objectives": [{"name": "latency", "tolerance": 2}]}, "tolerance of latency is 2: give a share from 0"),
        ({"objectives": [{"name": "latency", "tolerance": "a lot"}]}, "'a lot', which is not a number"),
        ({"objectives": [{"name": "latency", "tolerance": True}]}, "True, which is not a number"),
        ({"objectives": [{"name": "latncy", "tolerance": 0.1}]}, "did you mean 'latency'?"),
        ({"objectives": [{"latency": 0.1}]}, "write a name, or {name: latency, tolerance: 0.02}"),
        ({"tolerances": {"latency": 0.1}}, "key 'tolerances' is not known"),
    ],
)
def test_tolerance_that_is_none_is_one_line(values: dict[str, Any], told: str) -> None:
    assert told in _fault(values)


def _space(**given: Any) -> tuple[Any, ...]:
    space = make_spec({"space": given}).space
    return space.wirings, space.dilations, space.periods


def test_wirings_alone_leave_dilations_and_periods_empty() -> None:
    wirings = ["first:2", "edges:2-7+0-3", {"edges": [[7, 2]]}, "all"]
    assert _space(wirings=wirings) == (("first:2", "edges:0-3+2-7", "skip:2-7", "all"), (), ())
    assert _space(wirings="all") == (("all",), (), ())
    assert _space(wirings=["mirror"], dilations=[], periods=[]) == (("mirror",), (), ())
    assert _space(wirings=["mirror"], dilations=[2]) == (("mirror",), (2,), (1, 2, 4, "depth"))
    assert _space() == _space(wirings=[]) == ((), (1, 2, 4), (1, 2, 4, "depth"))


def test_spec_with_wirings_round_trips() -> None:
    spec = make_spec({"space": {"wirings": ["first:2 from:7", {"edges": [[3, 0], [7, 2]]}, "all"]}})
    assert parse_spec(spec.to_yaml()) == spec
    assert differences(spec, parse_spec(spec.to_yaml())) == []
    assert "space.wirings" in differences(spec, Spec(), free=())[-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"wirings": ["frist:2"]}, "space.wirings: wiring 'frist:2' is not known: did you mean 'first:N'?"),
        ({"wirings": ["al"]}, "did you mean 'all'?"),
        ({"wirings": ["embed", "one:0"]}, "space.wirings: ['embed', 'embed'] has a repeated value: list each once"),
        ({"wirings": [{"first": 2}]}, "space.wirings: wiring {'first': 2} is not known"),
        ({"wirings": [{"edges": [[3, 3]]}]}, "space.wirings: wiring has a connection 3-3"),
        ({"heads_per_kv": 2}, "give it to the blocks: space.block: {kind: llama, heads_per_kv: 2}"),
        ({"dilations": []}, "space.dilations: the list is empty: give at least one value"),
        (
            {"wirings": ["embed"], "dilations": [1], "periods": []},
            "space.periods: one of dilations and periods is empty",
        ),
    ],
)
def test_wirings_that_cannot_be_are_one_line(given: dict[str, Any], message: str) -> None:
    assert message in _fault({"space": given})
