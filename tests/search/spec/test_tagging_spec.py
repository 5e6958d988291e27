"""Specs of the task `token_classification`: defaults, what may be given, and bad input in one line each."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from depthweave.search.preparation import prepare
from depthweave.search.spec.loading import SpecError, load_spec, make_spec, parse_spec
from depthweave.search.spec.schema import Spec, differences
from depthweave.search.spec.tagging_spec import TaggingSpec
from depthweave.spaces.heads import HEADS
from depthweave.trainers.tagging.tagging_state import TAG_RECIPES
from tests.import_reader import ROOT
from tests.search.tagging_runs import write_ner_files


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_ner_files(tmp_path_factory.mktemp("ner"))


def small(values: dict[str, Any]) -> dict[str, Any]:
    """Returns the host and the text alone."""
    return {name: values[name] for name in ("task", "host", "corpus")}


def test_defaults_are_all_heads_and_the_recipe_of_the_weights(values: dict[str, Any]) -> None:
    spec = make_spec(small(values))
    assert isinstance(spec, TaggingSpec)
    assert spec.space.fusions == tuple(HEADS)
    assert (spec.shots, spec.draws, spec.objectives) == ((50, 100, 400), 3, ("error", "latency", "parameters"))
    assert spec.recipe == TAG_RECIPES["frozen"]
    given = make_spec(small(values), overrides=["recipe.steps=20", "seed=4"]).recipe
    assert given == dataclasses.replace(TAG_RECIPES["frozen"], steps=20, seed=4)


def test_spec_reads_back_equal_from_its_yaml(values: dict[str, Any]) -> None:
    for spec in (make_spec(values), make_spec(small(values), overrides=["shot_unit=entities", "space.wirings=embed"])):
        again = parse_spec(spec.to_yaml())
        assert again == spec
        assert differences(again, spec, free=()) == []
        # What the task does not have is not in the file.
        assert {"tokenizer: ", "head_width", "block", "depths"} & set(spec.to_yaml().split()) == set()


def test_example_names_a_path_and_is_complete() -> None:
    spec = load_spec(ROOT / "examples" / "ner.yaml")
    assert isinstance(spec, TaggingSpec)
    assert parse_spec(spec.to_yaml()) == spec
    assert spec.space.fusions == tuple(HEADS)
    assert len(spec.shots) >= 3
    assert "pip install" in (ROOT / "examples" / "ner.yaml").read_text(encoding="utf-8")


def test_spec_of_language_models_is_written_as_before() -> None:
    text = Spec().to_yaml()
    assert {"host", "shots", "shot_unit", "draws", "task"}.isdisjoint(parse_key(line) for line in text.splitlines())


def parse_key(line: str) -> str:
    return line.partition(":")[0].strip()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["space.fusions=[last, dwat]"], "head 'dwat' is not known: did you mean 'dwatt'"),
        (["space.fusions=[none, dwa]"], "head 'none' is not known"),
        (["space.depths=[6]"], "space.depths is [6]: the host has its own depth; leave the key out"),
        (["space.sparse={connections: [4]}"], "a head has one site"),
        (["tokenizer=bpe:512"], "tokenizer is 'bpe:512': the host brings its own"),
        (["reference.depth=6"], "reference.depth is 6: the host has its own depth"),
        (["host.weights=frozn"], "host.weights"),
        (["host.kind=decoder"], "host.kind is 'decoder'; the task token_classification needs transformers"),
        (["host.wegihts=full"], "key 'host.wegihts' is not known: did you mean 'host.weights'"),
        (["corpus={validation: x.conll}"], "corpus.train is missing"),
        (["corpus.paths=[x]"], "key 'corpus.paths' is not known"),
        (["corpus={train: a, dataset: {name: b}}"], "corpus.dataset and files are both given"),
        (["corpus={dataset: {nam: b}}"], "key 'corpus.dataset.nam' is not known: did you mean 'corpus.dataset.name'"),
        (["space.periods=[often]"], "'often' is not a period"),
        (["space.dilations=[0]"], "0 is below 1"),
        (["shots=[]"], "shots is []; list sizes of at least 1"),
        (["shots=[100, 50]"], "ascending"),
        (["shots=50"], "shots"),
        (["draws=0"], "draws is 0; it must be from 1 to 1,000"),
        (["shot_unit=words"], "shot_unit"),
        (
            ["objectives=[perplexity, latency]"],
            "is not measured by the task token_classification: use error",
        ),
        (["objectives=[error, decode_latency]"], "decode_latency has no meaning for the task token_classification"),
        (["objectives=[latency]"], "are all costs"),
        (["recipe.steps=0"], "recipe.steps is 0"),
    ],
)
def test_bad_value_is_one_line(values: dict[str, Any], overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as error:
        make_spec(values, overrides=overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "token_classification"}, "corpus is missing: give {train: FILE"),
        ({"host": {"path": "x"}}, "key 'host' is not known"),
        ({"task": "language_modelling", "shots": [5]}, "key 'shots' is not known"),
        ({"space": {"fusions": ["last"]}}, "fusion 'last' is not known"),
    ],
)
def test_keys_of_the_other_task_are_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        make_spec(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["host.path="], "host.path is missing"),
        (
            ["host.path=sentence-transformers/all-MiniLM-L6-v2"],
            "there is no such folder; give the folder of a model, or hub:ORG/NAME for one of the Hugging Face hub",
        ),
        (["host.path=absent"], "host.path is"),
        (["host.path=hub:-x"], "host.path is hub:-x: it is no name of a model on the hub"),
        (["host.path=."], "has no config.json"),
        (["corpus.train=absent.conll"], "absent.conll"),
        (["shots=[50, 400]"], "shots is 400 sentences; the training part has 60: give at most that"),
        (["shots=[90]", "shot_unit=entities"], "shots is 90 entities of each type"),
        (["recipe.context=64", "recipe.evaluation_tokens=640"], "recipe.context is 64; host"),
        (["space.budgets=[20]"], "the reference (last, depth 2, budget 20) is not in the space"),
        (["recipe.compile=true"], "recipe.compile is true"),
        (["resources.device=cuda", "resources.gpus_per_trial=1"], "device is 'cuda'"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(
    values: dict[str, Any], overrides: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        prepare(make_spec(values, overrides=overrides))
    assert "\n" not in str(error.value)


def test_text_without_a_test_part_is_said_before_the_search(values: dict[str, Any]) -> None:
    lines: list[str] = []
    corpus = {name: path for name, path in values["corpus"].items() if name != "test"}
    prepare(make_spec({**values, "corpus": corpus}), say=lines.append)
    assert [line for line in lines if "no test part: a confirmation will have no test F1" in line]


def test_dilation_that_selects_nothing_new_is_left_out_with_its_reason(values: dict[str, Any]) -> None:
    space = prepare(make_spec(values, overrides=["space.dilations=[1, 5]", "space.fusions=[last, dwa]"])).space
    assert len(space) == 2
    assert {item.reason for item in space.infeasible} == {
        "wiring 5x1 selects no state of 2 layers but the last: take a smaller dilation or period"
    }
