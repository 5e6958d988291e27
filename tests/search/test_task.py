"""A task that is plugged in by one file and one registry row: search, table, report, resume and the refused export."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.page.page import write_report
from depthweave.reports.store.objectives import OBJECTIVES
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import SearchResult, run_search
from depthweave.search.preparation import prepare
from depthweave.search.run_folder.resuming import resumed
from depthweave.search.spec.loading import SpecError, make_spec
from depthweave.trainers.tasks import TASKS
from tests.search.commandline import Cli
from tests.search.regression import make_regression
from tests.search.search_runs import RecordingProgress, prepared_search, search

# Ray's processes start slowly where the machine is busy.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "regression", make_regression())
        yield


@pytest.fixture(scope="module")
def values(small_spec: dict[str, Any]) -> dict[str, Any]:
    """The small spec with the other task."""
    return {**small_spec, "task": "regression", "search": {"trials": 3, "pruner": "none"}}


@pytest.fixture(scope="module")
def result(values: dict[str, Any], ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    return search(prepared_search(values), out=tmp_path_factory.mktemp("regression") / "run", address=ray_address)


def test_search_records_the_quality_of_the_task(result: SearchResult) -> None:
    assert [it.state for it in result.records] == ["complete"] * 3
    for record in result.records:
        assert (record.perplexity, record.bits_per_byte) == (None, None)
        assert record.error == record.loss
        assert record.error is not None
        assert math.isfinite(record.error)
        assert (record.corpus, record.vocabulary) == ("numbers", 8)
    assert len({it.error for it in result.records}) == 3, "architectures differ"
    info = RunStore.open(result.store.where).info
    assert (info.task, info.quality) == ("regression", "mean squared error")
    assert info.objectives == ("error", "latency", "memory_bytes")


def test_report_names_the_task_and_the_best_error(result: SearchResult) -> None:
    page = Path(write_report(result.store)).read_text(encoding="utf-8")
    best = min(it.error or 0.0 for it in result.records)
    assert f"The lowest validation error is {best:.3f}" in page
    assert "regression; a model is judged by its mean squared error" in page
    assert "The lowest perplexity" not in page


def test_show_prints_the_error_of_the_front(result: SearchResult, run: Cli) -> None:
    code, out, _ = run("show", result.store.where)
    assert code == 0
    assert "error" in out
    assert "perplexity" not in out
    code, out, _ = run("show", result.store.where, "--json")
    (best,) = [row for row in json.loads(out) if "best" in row["selected_by"]]
    assert best["error"] == min(it.error or 0.0 for it in result.records)


def test_export_of_a_task_without_an_exporter_is_one_line(result: SearchResult, run: Cli, tmp_path: Path) -> None:
    code, _, err = run("export", result.store.where, "--out", tmp_path / "export")
    assert code == 2
    assert err.count("\n") == 1
    assert "its task is regression, whose models cannot be exported" in err
    assert not (tmp_path / "export").exists()


def test_confirmation_of_a_task_without_likelihoods_is_one_line(
    result: SearchResult, values: dict[str, Any], run: Cli
) -> None:
    code, _, err = run("confirm", result.store.where, "--seeds", "2")
    assert code == 2
    assert "the task regression has no confirmation" in err
    with pytest.raises(ValueError, match="the task regression has no confirmation"):
        prepare(make_spec(values, overrides=["search.confirm=2"]))


def test_resumed_search_goes_on_with_the_same_task(result: SearchResult, ray_address: str) -> None:
    store = RunStore.open(result.store.where)
    prepared = resumed(store, given=None, overrides=["search.trials=4"], local=True, say=lambda line: None)
    assert prepared.task is TASKS["regression"]
    more = run_search(prepared, store, address=ray_address, progress=RecordingProgress())
    assert len(more.records) == 4
    before, after = ({it.trial: it.error for it in records} for records in (result.records, more.records))
    assert before.items() <= after.items()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=regresion"], "task 'regresion' is not known: did you mean 'regression'?"),
        (["objectives=[perplexity,latency]"], "perplexity is not measured by the task regression: use error"),
        (["objectives=[latency]"], "are all costs, which need no training: add error"),
        (["task=language_modelling", "objectives=[error]"], "use perplexity or bits_per_byte"),
        (["task=[1]"], "task"),
    ],
)
def test_spec_with_an_unsuitable_task_is_one_line(values: dict[str, Any], overrides: list[str], message: str) -> None:
    with pytest.raises(SpecError) as error:
        make_spec(values, overrides=overrides)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_spec_of_the_default_task_is_written_as_earlier_versions_wrote_it(small_spec: dict[str, Any]) -> None:
    assert "task" not in make_spec(small_spec).to_yaml()
    assert "task: regression" in make_spec({**small_spec, "task": "regression"}).to_yaml()


@pytest.mark.parametrize("name", TASKS)
def test_qualities_of_every_task_are_objectives_that_training_shows(name: str) -> None:
    for column in TASKS[name].quality.columns:
        assert not OBJECTIVES[column].cost
