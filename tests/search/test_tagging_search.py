"""A search over heads: trials on their worker, without Ray."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from safetensors.torch import load_file

from depthweave.search.confirmation import targets_of
from depthweave.search.preparation import PreparedSearch
from depthweave.search.trials.checkpoints import trial_folder
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import RecordMaker, outcome_of
from depthweave.search.trials.trial import REPORT, ArchitectureTrial, TrialPlan
from depthweave.spaces.hosted import HostedArchitecture, architecture_from_dict
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.trainers.tagging.few_shot_data import FewShotData
from tests.reports.synthetic import BEGIN, make_record
from tests.search.search_runs import prepared_search
from tests.search.tagging_runs import write_ner_files


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_ner_files(tmp_path_factory.mktemp("ner"))


@pytest.fixture(scope="module")
def prepared(values: dict[str, Any]) -> PreparedSearch:
    return prepared_search(values)


def plan_of(prepared: PreparedSearch, folder: Path, *, evaluates_test: bool = False) -> TrialPlan:
    return TrialPlan(
        task=prepared.task,
        reference=prepared.reference.architecture,
        recipe=prepared.spec.recipe,
        device="cpu",
        threads=1,
        measure_limit_s=0.05,
        kinds=("forward", "step"),
        measured={},
        measured_on="",
        locks=str(folder),
        checkpoints=str(folder),
        evaluates_test=evaluates_test,
    )


def begin(prepared: PreparedSearch, plan: TrialPlan, *, head: str, data: FewShotData) -> ArchitectureTrial:
    trial = ArchitectureTrial.__new__(ArchitectureTrial)
    architecture = next(it.architecture for it in prepared.space if it.architecture.fusion == head)
    trial.setup({"trial": 0, "architecture": architecture.to_dict()}, data=data, plan=plan)
    return trial


def record_of(prepared: PreparedSearch, live: LiveTrial) -> Any:
    maker = RecordMaker(
        run_id="run",
        reference_id=prepared.reference.architecture.id,
        recipe=prepared.spec.recipe,
        task=prepared.task,
        data=prepared.data,
        software="",
        device="cpu",
    )
    outcome = outcome_of(live, crashed=False, steps=maker.schedule.steps, max_loss=prepared.task.quality.max_loss)
    return maker.rows(live, outcome=outcome)


def run_trial(trial: ArchitectureTrial, live: LiveTrial) -> None:
    while True:
        result = trial.step()
        live.add_report(result[REPORT])
        if result["done"]:
            return


def live_of(prepared: PreparedSearch, head: str) -> LiveTrial:
    candidate = next(it for it in prepared.space if it.architecture.fusion == head)
    return LiveTrial(number=0, candidate=candidate, started_at=BEGIN)


def test_trial_trains_all_draws_and_fills_the_record(prepared: PreparedSearch, tmp_path: Path) -> None:
    assert isinstance(prepared.data, FewShotData)
    live = live_of(prepared, "dwa")
    plan = plan_of(prepared, tmp_path)
    run_trial(begin(prepared, plan, head="dwa", data=prepared.data.without_test()), live)
    record, evaluations, _ = record_of(prepared, live)
    assert (record.state, record.steps, len(evaluations)) == ("complete", 2 * 2 * 12, 2)
    assert (record.fusion, record.dilation, record.period, record.depth) == ("dwa", 1, 1, 2)
    last = [it.f1 for it in record.entity_scores if it.step == 12]
    assert len(last) == 4
    assert record.error == pytest.approx(1 - fmean(last))
    assert (record.f1, record.loss) == (pytest.approx(fmean(last)), record.error)
    assert (record.perplexity, record.test_error, record.test_f1) == (None, None, None)
    assert fmean(json.loads(record.text_losses)) == pytest.approx(record.error, abs=1e-5)
    assert record.latency is not None
    assert record.latency > 0.5
    assert record.memory_bytes > 0
    # The host is in memory too where texts are tagged.
    assert record.forward_memory_bytes > 4 * record.embedding_parameters
    shape = json.loads(record.head)
    assert architecture_from_dict(shape) == live.candidate.architecture
    weights = load_file(Path(trial_folder(tmp_path, 0)) / MODEL_FILE)
    assert {name.partition(".")[0] for name in weights} == {"head"}


def test_trial_that_is_killed_after_a_draw_equals_an_uninterrupted_one(
    prepared: PreparedSearch, tmp_path: Path
) -> None:
    assert isinstance(prepared.data, FewShotData)
    data = prepared.data.without_test()
    records = []
    for name, killed in (("whole", False), ("killed", True)):
        folder = tmp_path / name
        folder.mkdir()
        live, plan = live_of(prepared, "mix"), plan_of(prepared, folder)
        if killed:
            begin(prepared, plan, head="mix", data=data).step()
        run_trial(begin(prepared, plan, head="mix", data=data), live)
        records.append(record_of(prepared, live).record)
    whole, again = records
    assert again.attempts == 2
    for column in ("error", "entity_scores", "type_scores", "text_losses", "steps", "last_train_loss"):
        assert getattr(again, column) == getattr(whole, column)


def test_confirmation_of_a_trial_reads_the_test_part(prepared: PreparedSearch, tmp_path: Path) -> None:
    assert isinstance(prepared.data, FewShotData)
    live = live_of(prepared, "last")
    plan = plan_of(prepared, tmp_path, evaluates_test=True)
    run_trial(begin(prepared, plan, head="last", data=prepared.data), live)
    record = record_of(prepared, live).record
    assert record.test_error == pytest.approx(1 - record.test_f1)
    assert record.test_loss is None


def test_confirmation_trains_the_deeper_head_of_the_same_budget_beside_the_classifier_alone(
    values: dict[str, Any],
) -> None:
    budgets = [6000, 9000]
    prepared = prepared_search({**values, "space": {**values["space"], "budgets": budgets}, "objectives": ["error"]})
    ids = {(it.architecture.fusion, it.budget): it.architecture.id for it in prepared.space}
    record = make_record(0, run_id="run", architecture_id=ids["concat", budgets[1]], error=0.5)
    found = targets_of(prepared, [record], tolerances={}, all_members=False)
    assert found == [ids["concat", budgets[1]], prepared.reference.architecture.id, ids["deeper", budgets[1]]]


def test_host_of_other_weights_on_a_worker_is_one_line(prepared: PreparedSearch, tmp_path: Path) -> None:
    reference = prepared.reference.architecture
    assert isinstance(reference, HostedArchitecture)
    values = reference.to_dict()
    values["host"]["sha256"] = "0" * 64
    other = architecture_from_dict(values)
    with pytest.raises(ValueError, match="has other weights here than the search's host"):
        prepared.task.measure(
            [other],
            reference=other,
            recipe=prepared.spec.recipe,
            device=None,
            time_limit_s=0.1,
            lock=None,
            kinds=("forward",),
        )
