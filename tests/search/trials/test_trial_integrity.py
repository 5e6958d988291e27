"""A trial whose checkpoint is damaged starts again, reaches the same losses, and says so in one line."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from depthweave.search.preparation import PreparedSearch
from depthweave.search.progress import LiveProgress, PlainProgress
from depthweave.search.trials.checkpoints import PROGRESS_FILE, Checkpoints, trial_folder
from depthweave.search.trials.trial import read_progress
from depthweave.spaces.checksums import CHECKSUM_SUFFIX
from depthweave.spaces.files import MODEL_FILE
from depthweave.trainers.checkpoint import STATE_FILE
from tests.search.ledger_runs import Run, make_evaluation, make_report
from tests.search.search_runs import prepared_search
from tests.search.trials.test_trial import Worker, losses, next_report


@pytest.fixture(scope="module")
def prepared(small_spec: dict[str, Any]) -> PreparedSearch:
    return prepared_search(small_spec)


def _flip(path: Path, *, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("name", [STATE_FILE, PROGRESS_FILE, STATE_FILE + CHECKSUM_SUFFIX])
def test_damaged_checkpoint_is_named_and_trained_again_to_the_same_losses(
    prepared: PreparedSearch, tmp_path: Path, name: str
) -> None:
    worker = Worker(prepared, tmp_path)
    first, _ = next_report(worker.begin())
    path = trial_folder(tmp_path, 0) / name
    _flip(path, bit=8 * (path.stat().st_size // 2))
    again = worker.begin(num_reported=1)
    report, _ = next_report(again)
    assert losses(report) == losses(first)
    assert report.attempts == 1
    damaged = STATE_FILE if name.startswith(STATE_FILE) else PROGRESS_FILE
    assert report.note.startswith(f"trial 0: {trial_folder(tmp_path, 0) / damaged}")
    assert "damaged" in report.note
    assert report.note.endswith("; it starts again")
    # Once, and not for the next part of the run.
    assert next_report(again)[0].note == ""
    saved = read_progress(Checkpoints(tmp_path), 0)
    assert saved is not None
    assert saved.note == ""


def test_checkpoint_of_an_earlier_version_continues(prepared: PreparedSearch, tmp_path: Path) -> None:
    worker = Worker(prepared, tmp_path)
    next_report(worker.begin())
    (trial_folder(tmp_path, 0) / (STATE_FILE + CHECKSUM_SUFFIX)).unlink()
    report, _ = next_report(worker.begin(num_reported=1))
    assert ([item.index for item in report.evaluations], report.note) == ([0, 1], "")


def test_kept_weights_have_their_checksum_beside_them(prepared: PreparedSearch, tmp_path: Path) -> None:
    trial = Worker(prepared, tmp_path).begin()
    assert [next_report(trial)[1] for _ in range(3)] == [False, False, True]
    Checkpoints(tmp_path).drop(0, keep_weights=True)
    assert {path.name for path in trial_folder(tmp_path, 0).iterdir()} == {MODEL_FILE, MODEL_FILE + CHECKSUM_SUFFIX}
    assert Checkpoints(tmp_path).drop(0, keep_weights=False) > 0
    assert not trial_folder(tmp_path, 0).exists()


def test_both_displays_print_a_trials_note(tmp_path: Path) -> None:
    run = Run(tmp_path)
    entry = run.start("a")
    note = "trial 0: state.pt is damaged; it starts again"
    for live in (False, True):
        out = io.StringIO()
        console = Console(file=out, width=100)
        progress = (
            LiveProgress(console, name="run", objectives=("perplexity", "latency"))
            if live
            else PlainProgress(console, objectives=("perplexity", "latency"))
        )
        for text in (note, ""):
            entry.last_report = dataclasses.replace(make_report(make_evaluation(0, loss=2.0)), note=text)
            progress.on_evaluation(entry)
        assert out.getvalue().count(note) == 1
