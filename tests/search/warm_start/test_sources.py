"""Runs that a search cannot start from are refused in one line, before anything is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store.run_info import RunInfo, to_json
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from depthweave.search.preparation import create_run
from depthweave.search.spec.loading import SpecError, load_spec, make_spec
from depthweave.search.warm_start.sources import check_sources, open_sources
from tests.search.warm_runs import prepared_of, source_run


def _refusal(values: dict[str, Any], sources: Sequence[Path], *, out: Path) -> str:
    spec = make_spec({**values, "search": {**values["search"], "warm_start": [str(item) for item in sources]}})
    with pytest.raises(ValueError, match="warm_start") as caught:
        check_sources(spec, out=Storage(out))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_without_results_are_refused(small_spec: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "no such folder" in _refusal(small_spec, [tmp_path / "gone"], out=out)
    (tmp_path / "empty").mkdir()
    assert "holds no run (no run.json)" in _refusal(small_spec, [tmp_path / "empty"], out=out)
    create_run(prepared_of(small_spec), out=tmp_path / "begun")
    assert "has no complete record" in _refusal(small_spec, [tmp_path / "begun"], out=out)


def test_run_itself_and_the_same_run_twice_are_refused(small_spec: dict[str, Any], tmp_path: Path) -> None:
    first = tmp_path / "first"
    store = source_run(prepared_of(small_spec), first, losses=(2.0,))
    link = tmp_path / "link"
    link.symlink_to(first)
    assert "the folder of this search itself" in _refusal(small_spec, [first], out=link)
    assert f"{first} and {link} are the same run" in _refusal(small_spec, [first, link], out=tmp_path / "run")
    spec = make_spec({**small_spec, "search": {"warm_start": [str(first)]}})
    with pytest.raises(ValueError, match="this run itself"):
        open_sources(spec, own_id=store.info.run_id)


def test_other_task_and_other_quality_are_refused(small_spec: dict[str, Any], tmp_path: Path) -> None:
    first = tmp_path / "first"
    info = source_run(prepared_of(small_spec), first, losses=(2.0,)).info
    for changes, message in (
        ({"task": "token_classification"}, "is token_classification, this search's is language_modelling"),
        ({"quality": "error"}, "judges by error, this search by validation perplexity"),
    ):
        _rewrite(first, info, **changes)
        assert message in _refusal(small_spec, [first], out=tmp_path / "run")
    # Runs of earlier versions name no quality.
    _rewrite(first, info, quality="")
    assert open_sources(make_spec({**small_spec, "search": {"warm_start": [str(first)]}}))


def _rewrite(folder: Path, info: RunInfo, **changes: Any) -> None:
    (folder / "run.json").write_text(to_json(dataclasses.replace(info, **changes)), encoding="utf-8")


def test_spec_refuses_other_samplers_empty_names_and_repetitions() -> None:
    with pytest.raises(SpecError, match=r"is tpe: search\.warm_start needs known-cost; change one"):
        make_spec({"search": {"sampler": "tpe", "warm_start": ["runs/a"]}})
    with pytest.raises(SpecError, match="names runs/a twice"):
        make_spec({"search": {"warm_start": ["runs/a", "runs/a"]}})
    with pytest.raises(SpecError, match="empty entry"):
        make_spec({"search": {"warm_start": [" "]}})


def test_spec_keeps_its_sources(tmp_path: Path) -> None:
    spec = make_spec({"search": {"warm_start": ["runs/a", "s3://bucket/b"]}})
    (tmp_path / "spec.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    assert load_spec(tmp_path / "spec.yaml") == spec
    # Earlier versions read a spec without sources.
    assert "warm_start" not in make_spec({}).to_yaml()


def test_command_line_adds_sources_and_refuses_before_a_folder_is_made(
    spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    values = yaml.safe_load(spec_file.read_text(encoding="utf-8"))
    first, out = tmp_path / "first", tmp_path / "run"
    source_run(prepared_of(values), first, losses=(2.0,))
    assert "gone: no such folder" in fault("search", spec_file, "--out", out, "--warm-start", tmp_path / "gone")
    twice = ("--warm-start", first, "--warm-start", first)
    assert f"names {first} twice" in fault("search", spec_file, "--out", out, *twice)
    spec_file.write_text(yaml.safe_dump({**values, "search": {"warm_start": [str(first)]}}), encoding="utf-8")
    assert f"names {first} twice" in fault("search", spec_file, "--out", out, "--warm-start", first)
    assert not out.exists()


def test_sources_of_a_resumed_search_are_those_that_it_began_with(
    spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    values = yaml.safe_load(spec_file.read_text(encoding="utf-8"))
    first, out = tmp_path / "first", tmp_path / "run"
    source_run(prepared_of(values), first, losses=(2.0,))
    create_run(prepared_of(values, sources=[first]), out=out)
    assert RunStore.open(out).spec_yaml.count(str(first)) == 1
    resume = ("search", "--resume", "--out", out)
    line = fault(*resume, "--warm-start", tmp_path / "other")
    assert f"the runs that {out} started from are kept: {first}; leave the option out" in line
    # The same is accepted: the next fault is found.
    assert "recipe.steps is 7, was 6" in fault(*resume, "--warm-start", first, "--set", "recipe.steps=7")
    named = fault(*resume[:1], spec_file, *resume[1:], "--warm-start", first, "--set", "recipe.steps=7")
    assert "recipe.steps is 7, was 6" in named
    assert "search.warm_start is None" in fault(*resume[:1], spec_file, *resume[1:])
