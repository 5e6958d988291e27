"""`depthweave show --watch` prints the front again when the run has changed, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthweave.reports.store import RunStore
from depthweave.search.commands import results
from tests.reports.synthetic import make_info, make_record, make_trial
from tests.search.commandline import Cli


def test_watch_prints_the_front_whenever_it_changes(tmp_path: Path, run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="name: quick\n")
    looks = iter([0, None, 1])

    def wait(_: float) -> None:
        """Between the looks: a trial ends, nothing happens, another ends, Ctrl-C."""
        try:
            number = next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None
        if number is not None:
            trial = make_trial(make_record(number, architecture_id=f"{number}" * 12, latency=1.0 + number))
            store.append(trial.record, evaluations=trial.evaluations, weights=trial.weights)

    monkeypatch.setattr(results.time, "sleep", wait)
    code, printed, _ = run("show", tmp_path / "run", "--watch")
    assert code == 130
    # Empty, with one trial, with two.
    assert printed.count("perplexity") == 3
