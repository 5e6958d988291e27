"""What a search does for one trial does not grow with the number of trials before it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from depthweave.search.parameters import Parameters
from depthweave.search.progress import PlainProgress
from depthweave.search.study.studies import TRIAL
from tests.search.ledger_runs import OBJECTIVES, REFERENCE, SPACE, Run


def operations_of(work: Callable[[], object]) -> int:
    """Instructions of Python that the work takes, in any module: the same on a busy machine as on an idle one."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        count += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(former)
    return count


def add_ended(run: Run, *, count: int) -> None:
    """The journal has so many more trials that ended, in both studies; as lines of text, for through Optuna it takes
    half a minute.
    """
    studies, parameters = run.studies, Parameters(SPACE)
    ended: dict[str, Any] = {
        "state": TrialState.COMPLETE,
        "params": parameters.spelling(REFERENCE.architecture.id),
        "distributions": dict(parameters.distributions),
    }
    for study, values in ((studies.objectives, [9.0] * len(OBJECTIVES)), (studies.curves, [9.0])):
        study.add_trial(optuna.create_trial(values=values, user_attrs={TRIAL: -1}, **ended))
    journal = run.folder / "study.journal"
    pair = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()[-2:]]
    first = len(studies.trials)
    with journal.open("a", encoding="utf-8") as file:
        for number in range(first, first + count - 1):
            file.writelines(json.dumps(line | {"user_attrs": {TRIAL: number}}) + "\n" for line in pair)
    assert len(studies.trials) == len(studies.curves.get_trials(deepcopy=False)) == first + count - 1


def test_a_trial_takes_as_many_operations_after_2000_as_after_200(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    run = Run(tmp_path, sampler="random", max_trials=10_000)
    progress = PlainProgress(Console(file=io.StringIO()), objectives=OBJECTIVES)
    run.ledger._listener = progress
    progress.on_begin(records=[], max_trials=10_000, workers=1)
    run.start("first")
    run.train("first")
    stopped = dataclasses.replace(run.ledger.records[0], state="pruned", perplexity=None, loss=None)

    def one_more() -> None:
        run.start("next")
        run.train("next", last_loss=2.0)

    def taken_after(ended: int) -> int:
        missing = ended - len(run.ledger.records)
        add_ended(run, count=missing)
        for _ in range(missing):
            run.ledger.records.append(stopped)
            progress.on_finish(stopped)
        one_more()  # takes in what was added
        return operations_of(one_more)

    few, many = taken_after(200), taken_after(2000)
    assert few > 10_000, "nothing was counted"
    assert many < 1.1 * few
