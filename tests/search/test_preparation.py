"""What a search needs before it starts, and what a resumed one must find unchanged."""

from __future__ import annotations

import itertools
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import trial_limit
from depthweave.search.preparation import create_run, prepare, tokenizer_of
from depthweave.search.run_folder.resuming import check_same_space, check_same_text, spec_to_resume
from depthweave.search.spec.loading import SpecError, make_spec
from tests.search.ledger_runs import as_earlier_version
from tests.search.search_runs import prepared_search


def test_changed_corpus_is_refused_before_any_trial_has_ended(
    small_spec: dict[str, Any], corpus_folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    shutil.copytree(corpus_folder, text)
    spec = {**small_spec, "corpus": {**small_spec["corpus"], "paths": [str(text)]}}
    create_run(prepared_search(spec), out=tmp_path / "run")
    store = RunStore.open(tmp_path / "run")
    check_same_text(store, prepared_search(spec).data)
    (text / "more.txt").write_text("and a word more\n" * 40, encoding="utf-8")
    with pytest.raises(ValueError, match="give the same text, or start a new run"):
        check_same_text(store, prepared_search(spec).data)


def test_budget_beyond_the_memory_is_refused_before_ray_starts(small_spec: dict[str, Any]) -> None:
    huge = make_spec({**small_spec, "space": {**small_spec["space"], "fusions": ["none"], "budgets": [10**15]}})
    with pytest.raises(ValueError, match=r"^the weights of architecture \w+ take [\d,]+ GB, this machine has"):
        prepare(huge)
    # The machines of a cluster may have more.
    assert len(prepare(huge, local=False).space)


def test_more_trials_than_architectures_are_said(small_spec: dict[str, Any]) -> None:
    size = len(prepared_search(small_spec).space)
    for trials, taken_over, limit, line in (
        (size, 0, size, []),
        (size + 5, 0, size, [f"search.trials is {size + 5}: the space has {size} architectures, and {size} are tried"]),
        (
            size,
            2,
            size - 2,
            [
                f"search.trials is {size}: the space has {size} architectures, 2 of them taken over, "
                f"and {size - 2} are tried"
            ],
        ),
        (size, size, 0, []),
    ):
        said: list[str] = []
        prepared = prepared_search(small_spec, f"search.trials={trials}")
        assert trial_limit(prepared, taken_over=taken_over, say=said.append) == limit
        assert said == line


def test_run_keeps_its_resolved_spec_and_reference(small_spec: dict[str, Any], tmp_path: Path) -> None:
    prepared = prepared_search(small_spec)
    store = create_run(prepared, out=tmp_path / "run")
    assert store.spec_yaml == prepared.spec.to_yaml()
    assert store.info.reference_id == prepared.reference.architecture.id
    assert prepared.reference.architecture.depth == 6


def test_run_of_an_earlier_version_that_names_its_precision_goes_on_with_it(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    prepared = prepared_search({**small_spec, "recipe": {**small_spec["recipe"], "precision": "float32"}})
    store = create_run(prepared, out=tmp_path / "run")
    given = tmp_path / "spec.yaml"
    given.write_text(yaml.safe_dump({**small_spec, "seed": prepared.spec.seed}), encoding="utf-8")
    assert "precision: float32" in store.spec_yaml
    assert spec_to_resume(store, given=given, overrides=[]) == prepared.spec
    with pytest.raises(SpecError, match=r"recipe\.precision is 'bfloat16', was 'float32'"):
        spec_to_resume(store, given=given, overrides=["recipe.precision=bfloat16"])


def test_run_of_an_earlier_version_draws_first_weights_as_it_did(small_spec: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    create_run(prepared_search(small_spec), out=out)
    as_earlier_version(out, without_keys=["recipe.initialisation"])
    given = tmp_path / "spec.yaml"
    given.write_text(yaml.safe_dump(small_spec), encoding="utf-8")
    for path in (None, given):
        resumed = spec_to_resume(RunStore.open(out), given=path, overrides=[])
        assert resumed.recipe.initialisation == "by_shape"


def test_run_from_before_rates_by_width_keeps_its_one_rate(small_spec: dict[str, Any], tmp_path: Path) -> None:
    store = create_run(prepared_search(small_spec, "recipe.learning_rate=0.004"), out=tmp_path / "run")
    given = tmp_path / "spec.yaml"
    given.write_text(yaml.safe_dump(small_spec), encoding="utf-8")
    assert "learning_rate" not in given.read_text(encoding="utf-8")
    for path in (None, given):
        resumed = spec_to_resume(store, given=path, overrides=[])
        assert (resumed.rate_by_width, resumed.recipe.learning_rate) == (False, 0.004)
    with pytest.raises(SpecError, match=r"recipe\.learning_rate is 'auto', was 0\.004"):
        spec_to_resume(store, given=given, overrides=["recipe.learning_rate=auto"])


def _unsized(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec whose space depends on the rule for sizes: 2 blocks have width 24 by `nearest` and 32 by `ratio`."""
    return {**spec, "space": {**spec["space"], "depths": [2, 4], "budgets": [18_000]}}


def _earlier_run(spec: dict[str, Any], out: Path) -> RunStore:
    """A run as it was written before specs had a rule for sizes."""
    create_run(prepared_search(spec, "space.sizing=nearest"), out=out)
    as_earlier_version(out, without_keys=["space.sizing"])
    return RunStore.open(out)


@pytest.mark.parametrize("is_given", [False, True])
def test_run_from_before_the_rule_for_sizes_resumes_with_the_architectures_it_began_with(
    small_spec: dict[str, Any], tmp_path: Path, is_given: bool
) -> None:
    spec = _unsized(small_spec)
    store = _earlier_run(spec, tmp_path / "run")
    given = tmp_path / "spec.yaml" if is_given else None
    if given is not None:
        given.write_text(yaml.safe_dump(spec), encoding="utf-8")
    resumed = prepare(spec_to_resume(store, given=given, overrides=["search.trials=9"]))
    check_same_space(store, resumed)
    assert list(resumed.space) == list(prepared_search(spec, "space.sizing=nearest").space)
    # A new run of the same spec is another space: the test would hold for nothing otherwise.
    assert list(resumed.space) != list(prepared_search(spec).space)


@pytest.mark.parametrize("is_given", [False, True])
def test_run_from_before_the_test_part_resumes_with_its_text_and_another_rule_is_refused(
    small_spec: dict[str, Any], tmp_path: Path, is_given: bool
) -> None:
    begun = prepared_search(small_spec, "corpus.division=documents")
    create_run(begun, out=tmp_path / "run")
    keys = ["corpus.division", "corpus.test_frac"]
    as_earlier_version(tmp_path / "run", without=["spec", "corpus_bytes"], without_keys=keys)
    store = RunStore.open(tmp_path / "run")
    given = tmp_path / "spec.yaml" if is_given else None
    if given is not None:
        given.write_text(yaml.safe_dump(small_spec), encoding="utf-8")
    resumed = prepare(spec_to_resume(store, given=given, overrides=[]))
    check_same_text(store, resumed.data)
    assert resumed.data.valid.tolist() == begun.data.valid.tolist()
    assert len(resumed.data.test) == 0
    with pytest.raises(ValueError, match="give the same text"):
        check_same_text(store, prepared_search(small_spec).data)
    with pytest.raises(SpecError, match=r"corpus\.division is 'text', was 'documents'; what may change is"):
        spec_to_resume(store, given=given, overrides=["corpus.division=text"])


def test_run_goes_on_with_its_own_tokenizer(
    small_spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**small_spec, "tokenizer": "bpe:280"}
    begun = prepared_search(values)
    store = create_run(begun, out=tmp_path / "run")
    # Another version of the tokenizers library may learn another one.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    monkeypatch.delattr("depthweave.trainers.tokens.train_tokenizer")
    resumed = prepare(spec_to_resume(store, given=None, overrides=[]), tokenizer_json=tokenizer_of(store))
    assert resumed.data.tokenizer_json == begun.data.tokenizer_json
    assert (resumed.data.train == begun.data.train).all()
    with pytest.raises(NameError):
        prepared_search(values)


def test_prepare_says_how_the_text_is_divided_and_what_takes_long(
    small_spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    prepared = prepare(make_spec({**small_spec, "tokenizer": "bpe:280"}), say=said.append)
    shares = r"text of files: .* to train on \((\d+) %\), .* validate on \((\d+) %\), .* test on \((\d+) %\)"
    found = re.fullmatch(shares, said[0])
    assert found is not None
    assert sum(map(int, found.groups())) in (99, 100, 101)
    assert said[-1].startswith("learning a vocabulary of 280 tokens from ")
    assert create_run(prepared, out=tmp_path / "run").info.corpus_bytes == prepared.corpus_bytes


def test_prepare_with_a_test_part_of_less_than_a_sequence_says_so(small_spec: dict[str, Any]) -> None:
    said: list[str] = []
    prepared = prepare(make_spec(small_spec, overrides=["corpus.test_frac=0.001"]), say=said.append)
    assert 0 < len(prepared.data.test) <= 32
    assert "no test perplexity" in said[-1]


def test_run_whose_rule_for_sizes_is_changed_is_refused(small_spec: dict[str, Any], tmp_path: Path) -> None:
    store = _earlier_run(_unsized(small_spec), tmp_path / "run")
    with pytest.raises(SpecError, match=r"space\.sizing is 'ratio', was 'nearest'; what may change is name, "):
        spec_to_resume(store, given=None, overrides=["space.sizing=ratio"])


def test_run_whose_space_is_spanned_otherwise_here_is_refused_in_one_line(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    store = create_run(prepared_search(small_spec), out=tmp_path / "run")
    check_same_space(store, prepared_search(small_spec))
    with pytest.raises(ValueError, match=r"spans 9 architectures .* and 14 with .* or start a new run$") as caught:
        check_same_space(store, prepared_search(small_spec, "space.depths=[2, 4]"))
    assert "\n" not in str(caught.value)


def test_large_space_is_talked_about_while_it_is_enumerated(
    small_spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that goes on by a second whenever it is looked at.
    seconds = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
    said: list[str] = []
    space = {"fusions": ["none"], "depths": [4], "budgets": list(range(10**6, 10**6 + 5000))}
    prepare(make_spec({**small_spec, "space": space}), say=said.append)
    message = [line for line in said if "enumerating" in line]
    assert message == [
        "enumerating the space: 2,000 of 5,000 combinations",
        "enumerating the space: 4,000 of 5,000 combinations",
    ]
